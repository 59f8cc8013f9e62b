// From a connection to its replicas: what the SQL functions and pragmas stand on.

#ifndef TURSO_VFS_CONNECTION_H_
#define TURSO_VFS_CONNECTION_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/replica/replica.h"
#include "vfs/sqlite.h"

namespace turso {

struct OpenReplica {
  std::shared_ptr<Replica> replica;
  std::optional<WalPosition> snapshot;  // Of the open read transaction, if there is one.
};

// The replica behind a schema of a connection; nothing if it is another kind of file, or there is
// no such schema.
std::optional<OpenReplica> FindReplica(sqlite3* db, const char* schema);
// All replicas that this process has open, in the order of their paths.
std::vector<std::shared_ptr<Replica>> OpenReplicas();
// sqlite3_is_interrupted where the host has it (3.41); else never.
Interrupted InterruptedBy(sqlite3* db);
// Makes a replica ahead: the SQL function turso_replica(path, url).
Status MakeReplica(const std::string& path, const std::string& url);

// Why the last open through us in this process failed: SQLite has room for a code there, not for a
// sentence. Nothing if none failed.
std::optional<std::string> LastOpenError();
void RememberOpenError(const Status& status);

// Answers PRAGMA turso_*: `name` and `argument` (null for none) as SQLITE_FCNTL_PRAGMA has them.
// Nothing: not ours. Set by the extension; the VFS calls it for its replicas.
using PragmaFunction = std::optional<Result<std::string>> (*)(
    Replica* replica, const std::optional<WalPosition>& snapshot, const char* name,
    const char* argument, const Interrupted& interrupted);
void SetPragmaFunction(PragmaFunction function);

}  // namespace turso

#endif  // TURSO_VFS_CONNECTION_H_
