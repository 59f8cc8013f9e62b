#include "src/changes/changes.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "src/changes/overflow_owners.h"
#include "src/changes/sql.h"
#include "src/changes/tree_diff.h"

namespace turso {

namespace {

constexpr const char* kSequence = "sqlite_sequence";

Status Refuse(const std::string& what) {
  return {Code::kReadOnly, what + ": that cannot be sent to the primary"};
}

// The numbers in the header that no statement could set.
Status CheckHeaders(const DatabaseState& before, const DatabaseState& after) {
  const DatabaseHeader& was = before.header();
  const DatabaseHeader& is = after.header();
  if (after.db_size() == 0) return Refuse("the database is to become empty");
  if (was.page_size != is.page_size || was.reserved != is.reserved)
    return Refuse("the transaction changed the size of the pages");
  if (before.db_size() == 0) return OkStatus();
  if (was.encoding != is.encoding) return Refuse("the transaction changed the text encoding");
  if (was.application_id != is.application_id) return Refuse("the transaction set application_id");
  if (was.default_cache_size != is.default_cache_size)
    return Refuse("the transaction set default_cache_size");
  if (was.has_pointer_map() != is.has_pointer_map() ||
      was.incremental_vacuum != is.incremental_vacuum)
    return Refuse("the transaction changed auto_vacuum");
  return OkStatus();
}

bool IsVirtualTable(const SchemaRow& row) {
  // SQLite writes the beginning itself.
  const std::vector<Token> tokens = Tokens(std::string_view(row.sql).substr(0, 32));
  return row.type == "table" && tokens.size() > 1 && IsKeyword(tokens[1], "VIRTUAL");
}

// What PRAGMA writable_schema lets anybody leave, and plans do not look at.
Status CheckSchema(const std::vector<SchemaRow>& rows) {
  std::set<std::pair<std::string, std::string>> seen;
  for (const SchemaRow& row : rows) {
    const std::string object = "the " + row.type + " " + row.name;
    if (!seen.insert({row.type, row.name}).second)
      return Refuse("the transaction left " + object + " twice in sqlite_schema");
    const bool has_pages = row.type == "index" || (row.type == "table" && !IsVirtualTable(row));
    if (has_pages ? row.root.value <= 1 : row.root.value != 0)
      return Refuse("the transaction left " + object + " with a root page that it cannot have");
  }
  return OkStatus();
}

// VACUUM writes every page and changes the cookie, and nothing of what SQL shows.
bool IsVacuum(const DatabaseState& before, const DatabaseState& after, const PageNumbers& written) {
  if (before.header().schema_cookie == after.header().schema_cookie) return false;
  return after.db_size() > 1 && written.size() + 2 >= after.db_size() - after.header().free_pages &&
         written.count({1}) && after.header().free_pages == 0;
}

class Finder {
 public:
  Finder(DatabaseState* before, DatabaseState* after, const PageNumbers& written,
         ScratchMaker* maker)
      : before_{before, {}, {}, {}, {}, {}},
        after_{after, {}, {}, {}, {}, {}},
        written_(written),
        maker_(maker) {}

  Result<Changes> Find() {
    TURSO_RETURN_IF_ERROR(CheckHeaders(*before_.state, *after_.state));
    changes_.encoding = after_.state->header().encoding;
    changes_.cookie_changed =
        before_.state->header().schema_cookie != after_.state->header().schema_cookie;
    if (before_.state->header().user_version != after_.state->header().user_version)
      changes_.user_version = after_.state->header().user_version;
    TURSO_RETURN_IF_ERROR(ReadSchemas());
    Result<SchemaPlan> plan = PlanSchema(before_.schema, after_.schema, changes_.encoding, maker_);
    if (!plan.ok()) return plan.status();
    changes_.plan = std::move(*plan);
    for (Side* side : {&before_, &after_}) TURSO_RETURN_IF_ERROR(ListTrees(side));
    TURSO_RETURN_IF_ERROR(FindWhereToLook());
    for (const TableOrigin& origin : changes_.plan.origins) TURSO_RETURN_IF_ERROR(FindRows(origin));
    if (changes_.empty() && IsVacuum(*before_.state, *after_.state, written_))
      return Refuse("the transaction is a VACUUM");
    TURSO_RETURN_IF_ERROR(ReadSequence());
    changes_.schema_before = std::move(before_.schema);
    changes_.schema_after = std::move(after_.schema);
    return std::move(changes_);
  }

 private:
  struct Side {
    DatabaseState* state;
    std::vector<SchemaRow> schema;
    std::vector<RowTree> trees;
    std::map<std::string, size_t> tree_of;  // By the table's name.
    std::map<std::string, std::unique_ptr<Table>> described;
    std::vector<PageNumbers> paths;  // By tree.

    TreeSide Of(size_t tree) const { return {state, trees[tree], &paths[tree]}; }
  };

  Status ReadSchemas() {
    for (Side* side : {&before_, &after_}) {
      Result<std::vector<SchemaRow>> rows = ReadSchema(side->state);
      if (!rows.ok()) return rows.status();
      side->schema = std::move(*rows);
    }
    return CheckSchema(after_.schema);
  }

  Result<const Table*> Describe(Side* side, const std::string& name) {
    // Where the schema stayed, so did what it says of a table.
    if (changes_.plan.empty()) side = &after_;
    std::unique_ptr<Table>& table = side->described[name];
    if (table) return table.get();
    std::vector<SchemaRow> rows;
    for (const SchemaRow& row : side->schema)
      if (row.root.value != 0 && row.table == name) rows.push_back(row);
    Result<Table> described = maker_->Describe(rows, changes_.encoding, name);
    if (!described.ok()) return described.status();
    table = std::make_unique<Table>(std::move(*described));
    // Old files keep even descending keys in ascending order.
    if (side->state->header().schema_format < 4)
      for (KeyField& field : table->key) field.descending = false;
    return table.get();
  }

  Status ListTrees(Side* side) {
    for (const SchemaRow& row : side->schema) {
      if (row.type != "table" || row.root.value == 0) continue;
      RowTree tree{row.root, nullptr};
      // A cheap sign, to describe and look at those only that may be.
      if (HasKeyword(row.sql, "WITHOUT")) {
        Result<const Table*> table = Describe(side, row.name);
        if (!table.ok()) return table.status();
        if ((*table)->without_rowid) tree.keyed = *table;
      }
      side->tree_of[row.name] = side->trees.size();
      side->trees.push_back(tree);
    }
    return OkStatus();
  }

  Status FindWhereToLook() {
    Result<PageNumbers> overwritten = PerhapsOverwritten(before_.state, after_.state, written_);
    if (!overwritten.ok()) return overwritten.status();
    if (!overwritten->empty()) equal_cells_ = EqualCells::kPerhaps;
    Result<PageNumbers> owners =
        FindOverflowOwners(after_.state, after_.trees, written_, std::move(*overwritten));
    if (!owners.ok()) return owners.status();
    written_.insert(owners->begin(), owners->end());
    for (Side* side : {&before_, &after_}) {
      Result<std::vector<PageNumbers>> paths = FindPaths(side->state, side->trees, written_);
      if (!paths.ok()) return paths.status();
      side->paths = std::move(*paths);
    }
    return OkStatus();
  }

  Status FindRows(const TableOrigin& origin) {
    auto is_there = after_.tree_of.find(origin.name);
    auto was_there = before_.tree_of.find(origin.before.value_or(""));
    if (is_there == after_.tree_of.end() || (origin.before && was_there == before_.tree_of.end()))
      return {Code::kCorrupt, "the table " + origin.name + " has no root page"};
    if (!origin.before) return ReadAll(origin, after_.trees[is_there->second]);
    const TreeSide was = before_.Of(was_there->second);
    const TreeSide is = after_.Of(is_there->second);
    if (was.tree.root == is.tree.root && was.paths->empty() && is.paths->empty()) return OkStatus();
    if ((was.tree.keyed != nullptr) != (is.tree.keyed != nullptr))
      return {Code::kCorrupt, origin.name + " is WITHOUT ROWID on one side only"};
    TableChanges changes;
    changes.origin = origin;
    Result<const Table*> before = Describe(&before_, *origin.before);
    if (!before.ok()) return before.status();
    Result<const Table*> after = Describe(&after_, origin.name);
    if (!after.ok()) return after.status();
    changes.before = **before;
    changes.after = **after;
    TURSO_RETURN_IF_ERROR(
        DiffTrees(was, is, written_, equal_cells_,
                  [&](int64_t rowid, const Bytes* old_row, const Bytes* new_row) -> Status {
                    return AddChange(rowid, old_row, new_row, &changes);
                  }));
    if (changes.rows.empty()) return OkStatus();
    if (origin.name == kSequence) {
      changes_.sequence_changes = std::move(changes.rows);
    } else {
      changes_.tables.push_back(std::move(changes));
    }
    return OkStatus();
  }

  static Status AddChange(int64_t rowid, const Bytes* before, const Bytes* after,
                          TableChanges* changes) {
    RowChange change;
    if (before) {
      Result<Row> row = DecodeRow(changes->before, rowid, *before);
      if (!row.ok()) return row.status();
      change.before = Mapped(std::move(*row), *changes);
    }
    if (after) {
      Result<Row> row = DecodeRow(changes->after, rowid, *after);
      if (!row.ok()) return row.status();
      change.after = std::move(*row);
    }
    // A record may be written anew, longer or otherwise, and mean the same.
    if (change.before && change.after && change.before->values == change.after->values)
      return OkStatus();
    changes->rows.push_back(std::move(change));
    return OkStatus();
  }

  // What ALTER TABLE makes of the row.
  static Row Mapped(Row row, const TableChanges& changes) {
    if (changes.origin.columns.empty()) return row;
    Row mapped;
    mapped.rowid = row.rowid;
    mapped.bytes = row.bytes;
    for (size_t i = 0; i < changes.origin.columns.size(); ++i) {
      const std::optional<size_t>& from = changes.origin.columns[i];
      mapped.values.push_back(from ? std::move(row.values[*from])
                                   : changes.after.columns[i].missing);
    }
    return mapped;
  }

  Status ReadAll(const TableOrigin& origin, const RowTree& tree) {
    Result<const Table*> table = Describe(&after_, origin.name);
    if (!table.ok()) return table.status();
    TableChanges changes;
    changes.origin = origin;
    changes.after = **table;
    TURSO_RETURN_IF_ERROR(
        ForEachCell(after_.state, tree.root, [&](const BtreePage&, const Cell& cell) -> Status {
          Result<Bytes> payload = ReadPayload(after_.state, cell);
          if (!payload.ok()) return payload.status();
          return AddChange(cell.rowid, nullptr, &*payload, &changes);
        }));
    if (origin.name == kSequence) {
      changes_.sequence_changes = std::move(changes.rows);
    } else if (!changes.rows.empty() || origin.filled) {
      changes_.tables.push_back(std::move(changes));
    }
    return OkStatus();
  }

  Status ReadSequence() {
    auto tree = after_.tree_of.find(kSequence);
    if (changes_.empty() || tree == after_.tree_of.end()) return OkStatus();
    Result<const Table*> table = Describe(&after_, kSequence);
    if (!table.ok()) return table.status();
    return ForEachCell(after_.state, after_.trees[tree->second].root,
                       [&](const BtreePage&, const Cell& cell) -> Status {
                         Result<Bytes> payload = ReadPayload(after_.state, cell);
                         if (!payload.ok()) return payload.status();
                         Result<Row> row = DecodeRow(**table, cell.rowid, *payload);
                         if (!row.ok()) return row.status();
                         changes_.sequence.push_back(std::move(*row));
                         return OkStatus();
                       });
  }

  Side before_;
  Side after_;
  PageNumbers written_;  // And the pages that lead to overflow pages written in place.
  ScratchMaker* maker_;
  EqualCells equal_cells_ = EqualCells::kEqualPayloads;
  Changes changes_;
};

}  // namespace

Result<Changes> FindChanges(DatabaseState* before, DatabaseState* after, const PageNumbers& written,
                            ScratchMaker* maker) {
  return Finder(before, after, written, maker).Find();
}

}  // namespace turso
