#include "src/changes/alter_table.h"

#include <algorithm>

#include "src/changes/sql.h"
#include "src/format/text.h"

namespace turso {

namespace {

// What became of the columns.
struct ColumnSteps {
  std::vector<size_t> dropped;                     // Of those before.
  std::vector<std::pair<size_t, size_t>> renamed;  // Before, after.
  size_t added = 0;                                // At the end.
  std::vector<std::optional<size_t>> origin;       // Of those after.
};

bool Named(const Table& table, const std::string& name) {
  return std::any_of(table.columns.begin(), table.columns.end(),
                     [&](const Column& column) { return column.name == name; });
}

bool AlikeButForName(const Column& a, const Column& b) {
  return a.kind == b.kind && a.type == b.type && a.not_null == b.not_null &&
         a.default_text == b.default_text;
}

// Nothing if columns changed their order.
std::optional<ColumnSteps> CompareColumns(const Table& before, const Table& after) {
  ColumnSteps steps;
  size_t j = 0;
  for (size_t i = 0; i < before.columns.size(); ++i) {
    const Column& was = before.columns[i];
    if (j < after.columns.size() && was.name == after.columns[j].name) {
      steps.origin.emplace_back(i);
      ++j;
    } else if (Named(after, was.name)) {
      return std::nullopt;
    } else if (j < after.columns.size() && !Named(before, after.columns[j].name) &&
               AlikeButForName(was, after.columns[j])) {
      steps.renamed.emplace_back(i, j);
      steps.origin.emplace_back(i);
      ++j;
    } else {
      steps.dropped.push_back(i);
    }
  }
  for (; j < after.columns.size(); ++j, ++steps.added) {
    if (Named(before, after.columns[j].name)) return std::nullopt;
    steps.origin.emplace_back(std::nullopt);
  }
  return steps;
}

// Whether ALTER TABLE ADD COLUMN takes it for a table that has rows. The scratch has none.
bool CanBeAddedToRows(const Column& column) {
  if (column.generated()) return column.kind == Column::Kind::kVirtual;
  if (column.not_null && column.missing.is_null()) return false;
  return column.default_text.empty() || !column.missing.is_null() ||
         EqualNames(column.default_text, "NULL");
}

class Trial {
 public:
  Trial(Scratch* scratch, const SchemaRow& after) : scratch_(scratch), after_(after) {}

  Status Begin() { return scratch_->Run("SAVEPOINT trial"); }
  Status Undo() {
    statements_.clear();
    return scratch_->Run("ROLLBACK TO trial");
  }
  Status End() { return scratch_->Run("RELEASE trial"); }

  // False also of a failure that says nothing of the statement: see trouble().
  bool Run(const std::string& sql) {
    statements_.push_back(sql);
    const Status status = scratch_->Run(sql);
    if (!status.ok() && status.code() != Code::kInvalid) trouble_ = status;
    return status.ok();
  }
  // The text of the table now.
  std::string Text(const std::string& name) {
    Result<std::vector<SchemaRow>> rows = scratch_->Rows();
    if (!rows.ok()) {
      trouble_ = rows.status();
      return "";
    }
    for (const SchemaRow& row : *rows)
      if (row.type == "table" && row.name == name) return row.sql;
    return "";
  }
  bool Arrived() { return Text(after_.name) == after_.sql; }
  const std::vector<std::string>& statements() const { return statements_; }
  const Status& trouble() const { return trouble_; }

 private:
  Scratch* scratch_;
  const SchemaRow& after_;
  std::vector<std::string> statements_;
  Status trouble_;
};

// Whether a new name of a column stands in quotes in the text; all of them do, or none.
enum class Quotes { kAsNeeded, kAlways };

bool NeedsQuotes(const std::string& name) {
  const std::vector<Token> tokens = Tokens(name);
  return tokens.size() != 1 || tokens[0].kind != Token::Kind::kWord ||
         tokens[0].text.size() != name.size();
}

class AlterTable {
 public:
  AlterTable(const SchemaRow& before, const Table* table_before, const SchemaRow& after,
             const Table* table_after, Trial* trial)
      : before_(before),
        table_before_(table_before),
        after_(after),
        table_after_(table_after),
        trial_(trial) {}

  bool Try(const ColumnSteps& steps, Quotes quotes) {
    if (before_.name != after_.name && !trial_->Run("ALTER TABLE " + QuoteName(before_.name) +
                                                    " RENAME TO " + QuoteName(after_.name)))
      return false;
    const std::string alter = "ALTER TABLE " + QuoteName(after_.name);
    for (size_t column : steps.dropped)
      if (!trial_->Run(alter + " DROP COLUMN " + QuoteName(table_before_->columns[column].name)))
        return false;
    for (const auto& [was, is] : steps.renamed) {
      const std::string& name = table_after_->columns[is].name;
      const bool quoted = quotes == Quotes::kAlways || NeedsQuotes(name);
      if (!trial_->Run(alter + " RENAME COLUMN " + QuoteName(table_before_->columns[was].name) +
                       " TO " + (quoted ? QuoteName(name) : name)))
        return false;
    }
    return steps.added == 0 ? trial_->Arrived() : TryAdding(alter, steps.added);
  }

 private:
  // ADD COLUMN puts ", definition" somewhere into the text, and touches nothing else of it.
  bool TryAdding(const std::string& alter, size_t added) {
    const std::string from = trial_->Text(after_.name);
    const std::string& to = after_.sql;
    if (from.empty() || to.size() < from.size() + 3) return false;
    const size_t inserted = to.size() - from.size();
    const size_t head = static_cast<size_t>(
        std::mismatch(from.begin(), from.end(), to.begin()).first - from.begin());
    const size_t tail = static_cast<size_t>(
        std::mismatch(from.rbegin(), from.rend(), to.rbegin()).first - from.rbegin());
    if (head + tail < from.size()) return false;
    for (size_t at = from.size() - tail; at <= head; ++at) {
      if (to.compare(at, 2, ", ") != 0) continue;
      const std::vector<std::string> definitions =
          SplitAtCommas(std::string_view(to).substr(at + 2, inserted - 2));
      if (definitions.size() == added && TryDefinitions(alter, definitions)) return true;
    }
    return false;
  }

  bool TryDefinitions(const std::string& alter, const std::vector<std::string>& definitions) {
    const std::vector<std::string> so_far = trial_->statements();
    bool ok = true;
    for (const std::string& definition : definitions)
      ok = ok && trial_->Run(alter + " ADD COLUMN " + definition);
    if (ok && trial_->Arrived()) return true;
    // Back to where it was before the columns came.
    if (!trial_->Undo().ok()) return false;
    for (const std::string& statement : so_far)
      if (!trial_->Run(statement)) return false;
    return false;
  }

  const SchemaRow& before_;
  const Table* table_before_;
  const SchemaRow& after_;
  const Table* table_after_;
  Trial* trial_;
};

}  // namespace

Result<Alteration> FindAlteration(const SchemaRow& before, const Table* table_before,
                                  const SchemaRow& after, const Table* table_after,
                                  Scratch* scratch) {
  const Status none(Code::kNotFound, "no ALTER TABLE leads to " + after.name);
  ColumnSteps steps;
  if (table_before && table_after) {
    std::optional<ColumnSteps> compared = CompareColumns(*table_before, *table_after);
    if (!compared) return none;
    steps = std::move(*compared);
    for (size_t i = steps.origin.size() - steps.added; i < steps.origin.size(); ++i)
      if (!CanBeAddedToRows(table_after->columns[i])) return none;
  }
  Trial trial(scratch, after);
  TURSO_RETURN_IF_ERROR(trial.Begin());
  bool found = false;
  for (Quotes quotes : {Quotes::kAsNeeded, Quotes::kAlways}) {
    found = AlterTable(before, table_before, after, table_after, &trial).Try(steps, quotes);
    TURSO_RETURN_IF_ERROR(trial.trouble());
    if (found || steps.renamed.empty()) break;
    TURSO_RETURN_IF_ERROR(trial.Undo());
  }
  const std::vector<std::string> statements = trial.statements();
  if (!found) TURSO_RETURN_IF_ERROR(trial.Undo());
  TURSO_RETURN_IF_ERROR(trial.End());
  if (!found) return none;
  return Alteration{statements, std::move(steps.origin)};
}

}  // namespace turso
