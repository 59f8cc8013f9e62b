// Where the SQL that comes over the network gets its SQLite connections.

#ifndef TURSO_SRC_PRIMARY_SQL_CONNECTIONS_H_
#define TURSO_SRC_PRIMARY_SQL_CONNECTIONS_H_

#include <sqlite3.h>

#include <functional>
#include <memory>
#include <string>

#include "src/base/status.h"

namespace turso {

struct CloseSqlConnection {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};
// Closing it rolls back what it had not committed.
using SqlConnection = std::unique_ptr<sqlite3, CloseSqlConnection>;

// Opens a new connection to the database of that name, whose commits the replicas will see. It is
// used by one thread at a time, and belongs to the caller. kNotFound if there is no such database
// (and none is made). Any thread.
using OpenSqlConnection = std::function<Result<SqlConnection>(const std::string& database)>;

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_SQL_CONNECTIONS_H_
