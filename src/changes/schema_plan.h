// From one schema to another by statements, tried on a scratch copy: a plan is made only if its
// statements lead to exactly the texts that are wanted.
//
//   the same name and text      the table stays, whatever became of its rows
//   the same place in           ALTER TABLE: renamed, columns renamed, dropped or added, as the
//   sqlite_schema               texts suggest; SQLite edits the row of such a table, it never moves
//   else                        DROP TABLE and CREATE TABLE by its text: so too what tools do that
//                               create, copy, drop and rename
//
// If ALTERs lead elsewhere, the tables that they touched are dropped and created instead.

#ifndef TURSO_SRC_CHANGES_SCHEMA_PLAN_H_
#define TURSO_SRC_CHANGES_SCHEMA_PLAN_H_

#include <optional>
#include <string>
#include <vector>

#include "src/changes/scratch.h"

namespace turso {

// Where the rows of a table come from, among the rows of the state before.
struct TableOrigin {
  std::string name;                   // Afterwards.
  std::optional<std::string> before;  // The table whose rows it has; none: it begins empty.
  bool filled = false;  // It does not begin empty: what made it, a virtual table, filled it.
  // For each column afterwards, which one it was before; none: added. Empty: as they were.
  std::vector<std::optional<size_t>> columns;
};

struct SchemaPlan {
  // In this order. Rows go from the tables of before after the first list, and come to those of
  // afterwards before the last.
  std::vector<std::string> drop_triggers;
  std::vector<std::string> tables;    // And what is in their way.
  std::vector<std::string> the_rest;  // Indexes, views and triggers that are new.
  std::vector<TableOrigin> origins;   // Of every table with rows of its own.

  bool empty() const { return drop_triggers.empty() && tables.empty() && the_rest.empty(); }
};

// kReadOnly, with the reason, if no statements lead from `before` to `after`.
Result<SchemaPlan> PlanSchema(const std::vector<SchemaRow>& before,
                              const std::vector<SchemaRow>& after, TextEncoding encoding,
                              ScratchMaker* maker);

}  // namespace turso

#endif  // TURSO_SRC_CHANGES_SCHEMA_PLAN_H_
