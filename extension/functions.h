// What can be asked of a replica in SQL. Each question is a function and a pragma with one answer:
//
//   turso_version turso_sync turso_revision turso_wait turso_lag turso_last_error
//
// Functions take a schema as optional last argument, "main" if it is missing. Failures are a
// sentence with the code of vfs/result_codes.h. turso_replica(path, url) and turso_default(), which
// are asked of no replica, are functions only. They, turso_sync and turso_wait are for top-level
// SQL alone: a trigger or a view in somebody's file must not reach the network. turso_last_error,
// asked of a database that is no replica, tells why the last open of one failed in this process.

#ifndef TURSO_EXTENSION_FUNCTIONS_H_
#define TURSO_EXTENSION_FUNCTIONS_H_

#include <optional>
#include <string>

#include "vfs/connection.h"

namespace turso {

// Adds the functions to a connection; a second time is harmless. SQLite's code.
int AddFunctions(sqlite3* db) noexcept;

// The PragmaFunction of vfs/connection.h. An empty text where a function says NULL: SQLite makes
// the answer the name of the column as well, and a column without a name stops some drivers.
std::optional<Result<std::string>> AnswerPragma(Replica* replica,
                                                const std::optional<WalPosition>& snapshot,
                                                const char* name, const char* argument,
                                                const Interrupted& interrupted);

}  // namespace turso

#endif  // TURSO_EXTENSION_FUNCTIONS_H_
