// Changes as SQL that brings them about at the primary, in one transaction.
//
//   setup      before BEGIN IMMEDIATE, on the same connection: foreign keys are not enforced
//   body       guard   drop triggers   DELETE   schema   UPDATE, INSERT   indexes, views, triggers
//              sqlite_sequence   user_version   cookie   guards
//
//   (ST1) Whoever applies `body` to the state before, with `setup` done, has the content of the
//         state after: each value by type and bits, each rowid, each text of the schema.
//   (ST2) No uniqueness conflict arises on the way: all that goes, goes first; every set of rows
//         from then on is part of the rows afterwards. An UPDATE in place never touches what a
//         unique index reads.
//   (ST3) No trigger fires: those that an INSERT, UPDATE or DELETE in `body` would fire are dropped
//         before it and made again by their texts after it.
//   (ST4) No foreign key is checked and none acts: SQLite cannot switch them off within a
//         transaction, so `setup` does it before, and a guard fails the body if that was not done.
//   (ST5) A guard is a SELECT that fails unless what it looks for is so: the texts of the schema at
//         the end are compared at the primary, whose SQLite may edit them in another way than ours.
//   (ST6) What cannot be sent exactly is refused here, before anything is: VACUUM; ANALYZE, where
//         it makes its tables; another application_id, auto_vacuum or default_cache_size; a row or
//         a statement over a limit; a table whose columns hide every name of the rowid; UTF-16 of
//         half a character; a table or an index made with functions, collations or modules that
//         only the application has; a number in a column of affinity TEXT, which a row shows that
//         is older than the column and its DEFAULT TRUE, and which no statement writes.
//   (ST7) Generated columns that are kept are computed at the primary, and a guard compares them:
//         incremental blob I/O leaves a STORED column stale, and another SQLite may compute another
//         value.
//
// All statements must be run in order, each only if the one before it succeeded; when one fails,
// roll back. Pure. Any thread.

#ifndef TURSO_SRC_CHANGES_STATEMENTS_H_
#define TURSO_SRC_CHANGES_STATEMENTS_H_

#include <optional>
#include <string>
#include <vector>

#include "src/changes/changes.h"

namespace turso {

// `sql` has a `?` for each argument. Texts are well-formed UTF-8 without NUL: others go through
// CAST.
struct Statement {
  std::string sql;
  std::vector<Value> arguments;
};

struct Statements {
  std::vector<Statement> setup;
  std::vector<Statement> body;
};

// What the primary takes.
struct PrimaryRules {
  uint64_t row_bytes_max = 5'000'000;  // SQLITE_LIMIT_LENGTH at sqld.
  uint64_t sql_bytes_max = 1'000'000;  // SQLITE_LIMIT_SQL_LENGTH, if nobody changed it.
  bool takes_user_version = true;
  // A table that the primary may have, whether or not the replica has seen it.
  std::string own_table;
  std::vector<std::string> closed_tables = {"_litestream_seq", "_litestream_lock",
                                            "libsql_wasm_func_table"};
};

// The primary's schema cookie now, and the number that it must have left behind if the schema was
// touched: the greatest that this replica has shown to anybody, this transaction's own included.
struct CookieDemand {
  uint32_t now = 0;
  uint32_t above = 0;
};

// A SELECT that fails with "integer overflow" unless `condition`, which is never NULL, is true.
// (ST5)
Statement Guard(const std::string& condition, std::vector<Value> arguments);
bool IsGuard(const Statement& statement);
// One that compares generated columns. (ST7)
bool IsGuardOfComputed(const Statement& statement);

// kReadOnly, with a sentence for the user, for what cannot be sent. No statements if nothing
// changed, unless the cookie alone must be raised.
Result<Statements> WriteStatements(const Changes& changes, const PrimaryRules& rules,
                                   const std::optional<CookieDemand>& cookie);

}  // namespace turso

#endif  // TURSO_SRC_CHANGES_STATEMENTS_H_
