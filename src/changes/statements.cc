#include "src/changes/statements.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "src/changes/row_statements.h"
#include "src/changes/sql.h"
#include "src/format/text.h"

namespace turso {

namespace {

constexpr const char* kScratchView = "_turso_cookie";
// Statements that only raise the schema cookie.
constexpr uint32_t kCookieStepsMax = 2000;
// Objects of the schema that one guard compares.
constexpr size_t kObjectsAtOnce = 100;

Statement Plain(std::string sql) { return {std::move(sql), {}}; }

// Outside of a trigger nothing but an error of a function's makes a statement fail: the smallest
// integer has no absolute value.
constexpr std::string_view kGuard = "SELECT abs(-9223372036854775807 - (NOT (";

class Writer {
 public:
  Writer(const Changes& changes, const PrimaryRules& rules, Statements* out)
      : changes_(changes), rules_(rules), body_(&out->body), setup_(&out->setup) {}

  Status Write(const std::optional<CookieDemand>& cookie) {
    TURSO_RETURN_IF_ERROR(Check());
    TURSO_RETURN_IF_ERROR(WriteTables());
    AddForeignKeyGuard();
    AddList(changes_.plan.drop_triggers);
    for (const SchemaRow* trigger : quiet_) {
      body_->push_back(Plain("DROP TRIGGER " + QuoteName(trigger->name)));
      ++cookie_steps_;
    }
    for (RowStatements& rows : rows_) {
      if (!rows.on_new_table) Move(&rows.statements.deletes);
    }
    AddList(changes_.plan.tables);
    for (RowStatements& rows : rows_) {
      if (rows.on_new_table) Move(&rows.statements.deletes);
      Move(&rows.statements.updates);
      Move(&rows.statements.inserts);
    }
    for (RowStatements& rows : rows_) {
      for (Statement& same : rows.statements.computed)
        body_->push_back(Guard(same.sql, std::move(same.arguments)));
    }
    AddList(changes_.plan.the_rest);
    for (const SchemaRow* trigger : quiet_) {
      body_->push_back(Plain(trigger->sql));
      ++cookie_steps_;
    }
    AddSequence();
    if (changes_.user_version)
      body_->push_back(Plain("PRAGMA user_version=" + std::to_string(*changes_.user_version)));
    if (cookie && (cookie_steps_ != 0 || changes_.cookie_changed))
      TURSO_RETURN_IF_ERROR(RaiseCookie(*cookie));
    AddSchemaGuards();
    return CheckLengths();
  }

 private:
  struct RowStatements {
    turso::RowStatements statements;
    bool on_new_table;
  };

  Status Check() const {
    if (changes_.user_version && !rules_.takes_user_version)
      return {Code::kReadOnly,
              "the transaction set user_version, which the primary does not let "
              "anybody set"};
    for (const TableChanges& table : changes_.tables) TURSO_RETURN_IF_ERROR(CheckTable(table));
    return OkStatus();
  }

  Status CheckTable(const TableChanges& table) const {
    for (const std::string& closed : rules_.closed_tables)
      if (EqualNames(table.after.name, closed))
        return {Code::kReadOnly, "the primary lets nobody write the table " + closed};
    for (const RowChange& change : table.rows) {
      if (change.after && !HasWholeTexts(*change.after))
        return {Code::kReadOnly, "the table " + table.after.name +
                                     " has a text in UTF-16 of half a character, which no "
                                     "statement makes"};
      if (change.after && HasNumberForText(table.after, *change.after))
        return {Code::kReadOnly,
                "a row of the table " + table.after.name +
                    " shows a number in a column of TEXT, by its DEFAULT TRUE, and no statement "
                    "keeps it so: give the column's old rows a value of their own first"};
      if (change.after && change.after->bytes > rules_.row_bytes_max)
        return {Code::kReadOnly, "a row of the table " + table.after.name + " has " +
                                     std::to_string(change.after->bytes) +
                                     " bytes; the primary takes at most " +
                                     std::to_string(rules_.row_bytes_max)};
    }
    return OkStatus();
  }

  static bool HasNumberForText(const Table& table, const Row& row) {
    for (size_t i = 0; i < table.columns.size(); ++i) {
      const Value::Type type = row.values[i].type;
      if (table.columns[i].text && !table.columns[i].generated() &&
          (type == Value::Type::kInteger || type == Value::Type::kReal))
        return true;
    }
    return false;
  }

  bool HasWholeTexts(const Row& row) const {
    return changes_.encoding == TextEncoding::kUtf8 ||
           std::none_of(row.values.begin(), row.values.end(), [](const Value& value) {
             return value.type == Value::Type::kText && value.bytes.size() % 2 != 0;
           });
  }

  Status CheckLengths() const {
    for (const Statement& statement : *body_)
      if (statement.sql.size() > rules_.sql_bytes_max)
        return {Code::kReadOnly,
                "the transaction needs a statement of " + std::to_string(statement.sql.size()) +
                    " bytes; the primary takes at most " + std::to_string(rules_.sql_bytes_max)};
    return OkStatus();
  }

  void AddList(const std::vector<std::string>& list) {
    for (const std::string& sql : list) body_->push_back(Plain(sql));
    cookie_steps_ += static_cast<uint32_t>(list.size());
  }
  void Move(std::vector<Statement>* from) {
    std::move(from->begin(), from->end(), std::back_inserter(*body_));
  }

  // The triggers of a table that are there before and afterwards. New ones come after the rows,
  // and those of a table that is created anew went with the old one.
  std::vector<const SchemaRow*> TriggersOf(const TableChanges& table) const {
    std::vector<const SchemaRow*> triggers;
    if (!table.origin.before) return triggers;
    for (const SchemaRow& row : changes_.schema_after) {
      if (row.type != "trigger" || !EqualNames(row.table, table.after.name)) continue;
      if (std::any_of(changes_.schema_before.begin(), changes_.schema_before.end(),
                      [&](const SchemaRow& was) { return SameObject(row, was); }))
        triggers.push_back(&row);
    }
    return triggers;
  }

  Status WriteTables() {
    for (const TableChanges& table : changes_.tables) {
      const std::vector<const SchemaRow*> triggers = TriggersOf(table);
      auto has = [&](TriggerEvent event) {
        return std::any_of(triggers.begin(), triggers.end(), [&](const SchemaRow* trigger) {
          return EventOf(trigger->sql) == event;
        });
      };
      // A row that is deleted and inserted again fires no trigger for updates.
      const bool replace =
          has(TriggerEvent::kUpdate) && !has(TriggerEvent::kInsert) && !has(TriggerEvent::kDelete);
      Result<turso::RowStatements> rows = WriteRows(
          table, changes_.encoding, replace ? ChangedRows::kReplace : ChangedRows::kUpdate);
      if (!rows.ok()) return rows.status();
      for (const SchemaRow* trigger : triggers)
        if (Fires(EventOf(trigger->sql), *rows)) quiet_.push_back(trigger);
      if (table.after.autoincrement && !rows->inserts.empty()) numbered_.insert(table.after.name);
      rows_.push_back({std::move(*rows), !table.origin.before});
    }
    return OkStatus();
  }

  // (ST3)
  static bool Fires(TriggerEvent event, const turso::RowStatements& rows) {
    switch (event) {
      case TriggerEvent::kInsert: return !rows.inserts.empty();
      case TriggerEvent::kUpdate: return !rows.updates.empty();
      case TriggerEvent::kDelete: return !rows.deletes.empty();
      case TriggerEvent::kUnknown: return true;
    }
    return true;
  }

  // (ST4)
  void AddForeignKeyGuard() {
    auto refers = [](const std::vector<SchemaRow>& schema) {
      return std::any_of(schema.begin(), schema.end(), [](const SchemaRow& row) {
        return row.type == "table" && HasKeyword(row.sql, "REFERENCES");
      });
    };
    if (!refers(changes_.schema_before) && !refers(changes_.schema_after)) return;
    setup_->push_back(Plain("PRAGMA foreign_keys=OFF"));
    body_->push_back(Guard("(SELECT foreign_keys FROM pragma_foreign_keys) IS 0", {}));
  }

  // The primary numbered the rows that it got; here is what it must have come to.
  void AddSequence() {
    if (!changes_.plan.empty()) {
      if (std::none_of(changes_.schema_after.begin(), changes_.schema_after.end(),
                       [](const SchemaRow& row) { return row.name == "sqlite_sequence"; }))
        return;
      body_->push_back(Plain("DELETE FROM sqlite_sequence"));
      for (const Row& row : changes_.sequence) InsertSequence(row);
      return;
    }
    std::set<int64_t> rowids;
    for (const RowChange& change : changes_.sequence_changes)
      rowids.insert(change.before ? change.before->rowid : change.after->rowid);
    if (rowids.empty() && numbered_.empty()) return;
    for (const Row& row : changes_.sequence)
      if (IsNumbered(row)) rowids.insert(row.rowid);
    for (int64_t rowid : rowids)
      body_->push_back({"DELETE FROM sqlite_sequence WHERE rowid=?", {Value::Integer(rowid)}});
    for (const std::string& name : numbered_)
      body_->push_back({"DELETE FROM sqlite_sequence WHERE name=?", {Value::Text(name)}});
    for (const Row& row : changes_.sequence)
      if (rowids.count(row.rowid)) InsertSequence(row);
  }
  bool IsNumbered(const Row& row) const {
    if (row.values.empty() || row.values[0].type != Value::Type::kText) return false;
    const std::optional<std::string> name = ToUtf8(row.values[0].bytes, changes_.encoding);
    return name && numbered_.count(*name);
  }
  void InsertSequence(const Row& row) {
    Statement statement{"INSERT INTO sqlite_sequence(rowid,name,seq) VALUES(?", {}};
    statement.arguments.push_back(Value::Integer(row.rowid));
    for (const Value& value : row.values) {
      statement.sql += ',';
      AppendValue(value, changes_.encoding, &statement.sql, &statement.arguments);
    }
    statement.sql += ')';
    body_->push_back(std::move(statement));
  }

  // Each statement that changes the schema raises the cookie by at least one.
  Status RaiseCookie(const CookieDemand& cookie) {
    const uint64_t reached = uint64_t{cookie.now} + cookie_steps_;
    if (reached > cookie.above) return OkStatus();
    const uint64_t missing = cookie.above + uint64_t{1} - reached;
    if (missing > kCookieStepsMax)
      return {Code::kReadOnly, "the schema cookie of this replica is " + std::to_string(missing) +
                                   " ahead of the primary's, more than can be made up for"};
    std::string name = kScratchView;
    while (std::any_of(changes_.schema_after.begin(), changes_.schema_after.end(),
                       [&](const SchemaRow& row) { return EqualNames(row.name, name); }))
      name += '_';
    for (uint64_t i = 0; i < missing; i += 2) {
      body_->push_back(Plain("CREATE VIEW " + QuoteName(name) + " AS SELECT 1"));
      body_->push_back(Plain("DROP VIEW " + QuoteName(name)));
    }
    return OkStatus();
  }

  // (ST5)
  void AddSchemaGuards() {
    std::vector<const SchemaRow*> looked_at = quiet_;
    // An ALTER TABLE may edit any of them.
    if (!changes_.plan.empty()) {
      looked_at.clear();
      for (const SchemaRow& row : changes_.schema_after) {
        if (!EqualNames(row.table, rules_.own_table)) looked_at.push_back(&row);
      }
      body_->push_back(Guard(
          "(SELECT count(*) FROM sqlite_master WHERE lower(tbl_name)<>lower(?))=?",
          {Value::Text(rules_.own_table), Value::Integer(static_cast<int64_t>(looked_at.size()))}));
    }
    for (size_t from = 0; from < looked_at.size(); from += kObjectsAtOnce)
      AddSchemaGuard({looked_at.begin() + static_cast<ptrdiff_t>(from),
                      looked_at.begin() + static_cast<ptrdiff_t>(
                                              std::min(from + kObjectsAtOnce, looked_at.size()))});
  }
  void AddSchemaGuard(const std::vector<const SchemaRow*>& rows) {
    std::string wanted;
    std::vector<Value> arguments;
    for (const SchemaRow* row : rows) {
      wanted += wanted.empty() ? "(?,?,?,?)" : ",(?,?,?,?)";
      for (const std::string* text : {&row->type, &row->name, &row->table})
        arguments.push_back(Value::Text(*text));
      arguments.push_back(row->sql.empty() ? Value::Null() : Value::Text(row->sql));
    }
    arguments.push_back(Value::Integer(static_cast<int64_t>(rows.size())));
    body_->push_back(
        Guard("(SELECT count(*) FROM (VALUES " + wanted +
                  ") AS v JOIN sqlite_master AS m ON m.type=v.column1 AND m.name=v.column2 AND "
                  "m.tbl_name=v.column3 AND m.sql IS v.column4)=?",
              std::move(arguments)));
  }

  const Changes& changes_;
  const PrimaryRules& rules_;
  std::vector<Statement>* body_;
  std::vector<Statement>* setup_;
  std::vector<RowStatements> rows_;
  std::vector<const SchemaRow*> quiet_;  // Triggers that must not fire.
  std::set<std::string> numbered_;       // AUTOINCREMENT tables that get rows.
  uint32_t cookie_steps_ = 0;            // Statements that raise the cookie.
};

}  // namespace

Statement Guard(const std::string& condition, std::vector<Value> arguments) {
  return {std::string(kGuard) + condition + ")))", std::move(arguments)};
}

bool IsGuard(const Statement& statement) { return statement.sql.rfind(kGuard, 0) == 0; }

bool IsGuardOfComputed(const Statement& statement) {
  return IsGuard(statement) && statement.sql.find(kComputedValues) != std::string::npos;
}

Result<Statements> WriteStatements(const Changes& changes, const PrimaryRules& rules,
                                   const std::optional<CookieDemand>& cookie) {
  Statements statements;
  if (changes.empty() && !(cookie && changes.cookie_changed)) return statements;
  TURSO_RETURN_IF_ERROR(Writer(changes, rules, &statements).Write(cookie));
  return statements;
}

}  // namespace turso
