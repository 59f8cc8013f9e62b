// The VFS "turso": SQLite's view of databases whose commits are decided elsewhere.
//
// A thin shim over the host's default VFS. A file that is neither a replica nor gated is opened by
// the VFS below and is its file: no call on it ever comes back here. What differs from the VFS
// below for the others: vfs/README.md.
//
//   (V1) Loading changes nothing for other files, other connections, the default VFS, threads and
//        fork().
//   (V2) A lock above SHARED on a gated database file is refused: every write goes through the WAL
//        and its gate.
//   (V3) No commit header reaches the WAL of a gated database without its gate's yes.
//   (V4) The commit header's write never fails with exactly SQLITE_BUSY: SQLite would go on with a
//        broken checksum chain (walFrames in wal.c) and later transactions would be lost at the
//        next recovery.

#ifndef TURSO_VFS_VFS_H_
#define TURSO_VFS_VFS_H_

#include <memory>
#include <string>

#include "src/base/status.h"
#include "src/wal/wal_files.h"
#include "src/wal/write_gate.h"

namespace turso {

enum class Default { kNo, kYes };

// Registers "turso" over the default VFS of this SQLite; a second call only changes the default.
// SQLite's code.
int RegisterVfs(Default make_default);

// From now on whoever opens the database `path` (absolute, an existing WAL-mode database) through
// VFS "turso" in this process commits through `gate`. The gate must outlive the connections. For
// the primary.
Status RegisterGate(const std::string& path, WriteGate* gate);
void UnregisterGate(const std::string& path);

// The files of the existing WAL-mode database `path` through handles of our own on the VFS below,
// which share the locks of SQLite's connections in this process; SHARED is held on the database
// until they are closed. The object is for one thread at a time. The WAL file is created if it is
// absent.
Result<std::unique_ptr<WalFiles>> OpenWalFiles(const std::string& path);

}  // namespace turso

#endif  // TURSO_VFS_VFS_H_
