// SELECT * FROM turso_status: a row for each replica that this process has open, in the order of
// their paths. A virtual table that is there without CREATE; its rows are of the moment at which
// the query starts.

#ifndef TURSO_EXTENSION_STATUS_H_
#define TURSO_EXTENSION_STATUS_H_

#include "vfs/sqlite.h"

namespace turso {

// Adds the table to a connection; a second time is harmless. SQLite's code.
int AddStatusTable(sqlite3* db) noexcept;

}  // namespace turso

#endif  // TURSO_EXTENSION_STATUS_H_
