// Connections that we open ourselves for a moment, to let SQLite recover or checkpoint a replica's
// log. They go through the VFS "turso" like the application's, but do not keep the replica open.

#ifndef TURSO_VFS_INTERNAL_CONNECTION_H_
#define TURSO_VFS_INTERNAL_CONNECTION_H_

#include <memory>

#include "src/base/status.h"
#include "vfs/database.h"

namespace turso {

// The database that this thread is opening such a connection to, or null.
const std::shared_ptr<Database>& InternalDatabase();

Status ReadOnce(const std::shared_ptr<Database>& database);
// PASSIVE: waits for nobody and stops nobody.
Status CheckpointOnce(const std::shared_ptr<Database>& database);
// Without waiting for anybody: brings all of the log into the database and leaves it empty; or, if
// others use it, as much as a checkpoint does.
Status EmptyLogOnce(const std::shared_ptr<Database>& database);

}  // namespace turso

#endif  // TURSO_VFS_INTERNAL_CONNECTION_H_
