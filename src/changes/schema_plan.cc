#include "src/changes/schema_plan.h"

#include <algorithm>
#include <map>

#include "src/changes/alter_table.h"
#include "src/changes/sql.h"

namespace turso {

namespace {

enum class Mode { kAlter, kRebuild };

const SchemaRow* Find(const std::vector<SchemaRow>& rows, const std::string& type,
                      const std::string& name) {
  for (const SchemaRow& row : rows)
    if (row.type == type && row.name == name) return &row;
  return nullptr;
}

bool IsVirtual(const SchemaRow& row) { return row.type == "table" && row.root.value == 0; }
bool IsReserved(const std::string& name) { return name.compare(0, 7, "sqlite_") == 0; }

std::string DropStatement(const SchemaRow& row) {
  std::string type = row.type;
  for (char& c : type) c = static_cast<char>(c - ('a' - 'A'));
  return "DROP " + type + " " + QuoteName(row.name);
}

// One way to get there.
class Attempt {
 public:
  Attempt(const std::vector<SchemaRow>& before, const std::vector<SchemaRow>& after,
          Scratch* scratch, Scratch* described_before, Scratch* described_after)
      : before_(before),
        after_(after),
        scratch_(scratch),
        described_before_(described_before),
        described_after_(described_after) {
    for (const SchemaRow& row : before)
      if (row.type == "table") origins_[row.name] = TableOrigin{row.name, row.name, false, {}};
  }

  Result<SchemaPlan> Make(Mode mode) {
    // What is in the way of ALTER TABLE or would be edited by it is made afresh at the end.
    TURSO_RETURN_IF_ERROR(DropWhereDifferent("trigger"));
    TURSO_RETURN_IF_ERROR(DropWhereDifferent("view"));
    TURSO_RETURN_IF_ERROR(DropLostIndexes());
    if (mode == Mode::kAlter) TURSO_RETURN_IF_ERROR(AlterTables());
    TURSO_RETURN_IF_ERROR(DropTables());
    TURSO_RETURN_IF_ERROR(CreateTables());
    TURSO_RETURN_IF_ERROR(DropWhatCameToo());
    TURSO_RETURN_IF_ERROR(DropWhereDifferent("index"));
    for (const char* type : {"index", "view", "trigger"})
      TURSO_RETURN_IF_ERROR(CreateMissing(type));
    TURSO_RETURN_IF_ERROR(Verify());
    for (const SchemaRow& row : after_)
      if (row.type == "table" && !IsVirtual(row)) plan_.origins.push_back(origins_[row.name]);
    return std::move(plan_);
  }

 private:
  Result<std::vector<SchemaRow>> Now() { return scratch_->Rows(); }

  Status Run(const std::string& sql, std::vector<std::string>* list) {
    const Status status = scratch_->Run(sql);
    if (status.code() == Code::kInvalid) {
      return Status(Code::kReadOnly, status.text()).While("trying " + sql);
    }
    TURSO_RETURN_IF_ERROR(status);
    list->push_back(sql);
    return OkStatus();
  }

  Status DropWhereDifferent(const std::string& type) {
    Result<std::vector<SchemaRow>> now = Now();
    if (!now.ok()) return now.status();
    for (const SchemaRow& row : *now) {
      // An index without text belongs to a constraint.
      if (row.type != type || row.sql.empty()) continue;
      const SchemaRow* wanted = Find(after_, type, row.name);
      if (!wanted || !SameObject(*wanted, row))
        TURSO_RETURN_IF_ERROR(
            Run(DropStatement(row), type == "trigger" ? &plan_.drop_triggers : &plan_.tables));
    }
    return OkStatus();
  }

  // They could keep a column from being dropped.
  Status DropLostIndexes() {
    for (const SchemaRow& row : before_)
      if (row.type == "index" && !row.sql.empty() && !Find(after_, "index", row.name))
        TURSO_RETURN_IF_ERROR(Run(DropStatement(row), &plan_.tables));
    return OkStatus();
  }

  Status AlterTables() {
    // Virtual tables rename their shadow tables.
    for (const bool virtual_tables : {true, false})
      for (const SchemaRow& was : before_) {
        if (was.type != "table" || IsReserved(was.name) || IsVirtual(was) != virtual_tables)
          continue;
        for (const SchemaRow& is : after_)
          if (is.type == "table" && is.rowid == was.rowid && IsVirtual(is) == virtual_tables)
            TURSO_RETURN_IF_ERROR(AlterTableInPlace(was, is));
      }
    return OkStatus();
  }

  Status AlterTableInPlace(const SchemaRow& was, const SchemaRow& is) {
    Result<std::vector<SchemaRow>> now = Now();
    if (!now.ok()) return now.status();
    const SchemaRow* there = Find(*now, "table", is.name);
    if (there && there->sql == is.sql) {
      // Nothing to do, or done by a virtual table that was renamed.
      if (was.name != is.name && !Find(*now, "table", was.name)) Move(was.name, is.name, {});
      return OkStatus();
    }
    const SchemaRow* from = Find(*now, "table", was.name);
    if (!from) return OkStatus();
    std::optional<Table> before;
    std::optional<Table> after;
    if (!IsVirtual(was)) {
      Result<Table> table_before = described_before_->Describe(was.name);
      if (!table_before.ok()) return table_before.status();
      before = std::move(*table_before);
      Result<Table> table_after = described_after_->Describe(is.name);
      if (!table_after.ok()) return table_after.status();
      after = std::move(*table_after);
    }
    Result<Alteration> alteration =
        FindAlteration(*from, before ? &*before : nullptr, is, after ? &*after : nullptr, scratch_);
    if (!alteration.ok())
      return alteration.status().code() == Code::kNotFound ? OkStatus() : alteration.status();
    plan_.tables.insert(plan_.tables.end(), alteration->statements.begin(),
                        alteration->statements.end());
    Move(was.name, is.name, alteration->columns);
    return OkStatus();
  }

  void Move(const std::string& from, const std::string& to,
            std::vector<std::optional<size_t>> columns) {
    TableOrigin origin = origins_[from];
    origins_.erase(from);
    origin.name = to;
    origin.columns = std::move(columns);
    origins_[to] = std::move(origin);
  }

  Status DropTables() {
    for (const bool virtual_tables : {true, false}) {
      Result<std::vector<SchemaRow>> now = Now();
      if (!now.ok()) return now.status();
      for (const SchemaRow& row : *now) {
        if (row.type != "table" || IsVirtual(row) != virtual_tables) continue;
        const SchemaRow* wanted = Find(after_, "table", row.name);
        if (wanted && wanted->sql == row.sql) continue;
        TURSO_RETURN_IF_ERROR(Run(DropStatement(row), &plan_.tables));
        origins_.erase(row.name);
      }
    }
    // With a virtual table went its shadow tables.
    Result<std::vector<SchemaRow>> now = Now();
    if (!now.ok()) return now.status();
    for (auto it = origins_.begin(); it != origins_.end();)
      it = Find(*now, "table", it->first) ? std::next(it) : origins_.erase(it);
    return OkStatus();
  }

  Status CreateTables() {
    for (const bool virtual_tables : {true, false})
      for (const SchemaRow& row : after_) {
        if (row.type != "table" || IsVirtual(row) != virtual_tables) continue;
        Result<std::vector<SchemaRow>> now = Now();
        if (!now.ok()) return now.status();
        if (Find(*now, "table", row.name)) {
          // Unless it was there before, a virtual table that was just created made it.
          origins_.try_emplace(row.name, TableOrigin{row.name, std::nullopt, true, {}});
          continue;
        }
        TURSO_RETURN_IF_ERROR(Create(row));
        origins_[row.name] = TableOrigin{row.name, std::nullopt, false, {}};
      }
    return OkStatus();
  }

  // Somebody dropped one of the tables that a virtual table has.
  Status DropWhatCameToo() {
    Result<std::vector<SchemaRow>> now = Now();
    if (!now.ok()) return now.status();
    for (const SchemaRow& row : *now)
      if (row.type == "table" && !IsReserved(row.name) && !Find(after_, "table", row.name))
        TURSO_RETURN_IF_ERROR(Run(DropStatement(row), &plan_.tables));
    return OkStatus();
  }

  Status Create(const SchemaRow& row) {
    if (row.name == "sqlite_sequence") {
      TURSO_RETURN_IF_ERROR(
          Run("CREATE TABLE _turso_scratch(x INTEGER PRIMARY KEY AUTOINCREMENT)", &plan_.tables));
      return Run("DROP TABLE _turso_scratch", &plan_.tables);
    }
    if (IsReserved(row.name))
      return {Code::kReadOnly,
              "ANALYZE made the table " + row.name +
                  ", and the primary takes no statement that makes it: leave it out, or run "
                  "ANALYZE at the primary if that can"};
    TURSO_RETURN_IF_ERROR(Run(row.sql, &plan_.tables));
    if (!IsVirtual(row)) return OkStatus();
    Result<bool> as_wanted = HasTablesAsWanted();
    if (!as_wanted.ok()) return as_wanted.status();
    if (*as_wanted) return OkStatus();
    // It was made under another name and renamed, which shows in its shadow tables.
    TURSO_RETURN_IF_ERROR(scratch_->Run(DropStatement(row)));
    plan_.tables.pop_back();
    return CreateAndRename(row);
  }

  // Of those that are there.
  Result<bool> HasTablesAsWanted() {
    Result<std::vector<SchemaRow>> now = Now();
    if (!now.ok()) return now.status();
    return std::all_of(now->begin(), now->end(), [&](const SchemaRow& row) {
      const SchemaRow* wanted = Find(after_, "table", row.name);
      return row.type != "table" || !wanted || wanted->sql == row.sql;
    });
  }

  Status CreateAndRename(const SchemaRow& row) {
    const std::vector<Token> tokens = Tokens(row.sql);
    if (tokens.size() < 4) return {Code::kReadOnly, row.sql + " makes no virtual table"};
    const std::string name = QuoteName("_turso_" + row.name);
    const auto at = static_cast<size_t>(tokens[3].text.data() - row.sql.data());
    std::string create = row.sql;
    TURSO_RETURN_IF_ERROR(Run(create.replace(at, tokens[3].text.size(), name), &plan_.tables));
    return Run("ALTER TABLE " + name + " RENAME TO " + QuoteName(row.name), &plan_.tables);
  }

  Status CreateMissing(const std::string& type) {
    Result<std::vector<SchemaRow>> now = Now();
    if (!now.ok()) return now.status();
    for (const SchemaRow& row : after_)
      if (row.type == type && !row.sql.empty() && !Find(*now, type, row.name))
        TURSO_RETURN_IF_ERROR(Run(row.sql, &plan_.the_rest));
    return OkStatus();
  }

  Status Verify() {
    Result<std::vector<SchemaRow>> now = Now();
    if (!now.ok()) return now.status();
    for (const SchemaRow& row : after_) {
      const SchemaRow* made = Find(*now, row.type, row.name);
      if (!made || !SameObject(*made, row))
        return {Code::kReadOnly, "no statements make the " + row.type + " " + row.name + " as " +
                                     "this transaction left it"};
    }
    for (const SchemaRow& row : *now)
      if (!Find(after_, row.type, row.name))
        return {Code::kReadOnly, "no statements take away the " + row.type + " " + row.name};
    return OkStatus();
  }

  const std::vector<SchemaRow>& before_;
  const std::vector<SchemaRow>& after_;
  Scratch* scratch_;
  Scratch* described_before_;
  Scratch* described_after_;
  SchemaPlan plan_;
  std::map<std::string, TableOrigin> origins_;  // By the name that the table has now.
};

std::vector<SchemaRow> TablesAndIndexes(const std::vector<SchemaRow>& rows) {
  std::vector<SchemaRow> some;
  for (const SchemaRow& row : rows)
    if (row.type == "index" || (row.type == "table" && !IsVirtual(row))) some.push_back(row);
  return some;
}

bool SameObjects(const std::vector<SchemaRow>& a, const std::vector<SchemaRow>& b) {
  auto in = [](const std::vector<SchemaRow>& rows, const SchemaRow& row) {
    const SchemaRow* found = Find(rows, row.type, row.name);
    return found && SameObject(*found, row);
  };
  return a.size() == b.size() &&
         std::all_of(a.begin(), a.end(), [&](const SchemaRow& row) { return in(b, row); });
}

}  // namespace

Result<SchemaPlan> PlanSchema(const std::vector<SchemaRow>& before,
                              const std::vector<SchemaRow>& after, TextEncoding encoding,
                              ScratchMaker* maker) {
  if (SameObjects(before, after)) {
    SchemaPlan plan;
    for (const SchemaRow& row : after)
      if (row.type == "table" && !IsVirtual(row))
        plan.origins.push_back({row.name, row.name, false, {}});
    return plan;
  }
  Result<std::unique_ptr<Scratch>> described_before =
      maker->Make(TablesAndIndexes(before), encoding);
  if (!described_before.ok()) return described_before.status();
  Result<std::unique_ptr<Scratch>> described_after = maker->Make(TablesAndIndexes(after), encoding);
  if (!described_after.ok()) return described_after.status();
  Status why;
  for (Mode mode : {Mode::kAlter, Mode::kRebuild}) {
    Result<std::unique_ptr<Scratch>> scratch = maker->Make(before, encoding);
    if (!scratch.ok()) return scratch.status();
    Result<SchemaPlan> plan =
        Attempt(before, after, scratch->get(), described_before->get(), described_after->get())
            .Make(mode);
    if (plan.ok() || plan.status().code() == Code::kNoMemory) return plan;
    if (why.ok()) why = plan.status();
  }
  return why.While("this change of the schema cannot be sent to the primary");
}

}  // namespace turso
