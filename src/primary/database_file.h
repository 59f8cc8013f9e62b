// The database file itself, before a server opens it and after: its mode, and how it looks from
// outside.

#ifndef TURSO_SRC_PRIMARY_DATABASE_FILE_H_
#define TURSO_SRC_PRIMARY_DATABASE_FILE_H_

#include <string>

#include "src/base/status.h"
#include "src/primary/commit_log.h"

namespace turso {

// Brings the database into WAL mode if it is not. kInvalid if it is no SQLite database.
Status EnsureWalMode(const std::string& path);
// Lets SQLite, without our VFS, end the WAL: afterwards there is none, unless another process has
// the database open.
Status EndWal(const std::string& path);

// A database or its WAL, to the disk: bytes, length, and the time of the last change, which
// SQLite's own syncs leave out. To be called while this process does not have the database open:
// closing a file drops the locks on it.
Status SyncFile(const std::string& path);
// Size and time of the last change, without opening it.
Result<Fingerprint> FingerprintOf(const std::string& path);
// Bytes in the WAL; nothing if there is no WAL.
Result<std::optional<uint64_t>> WalBytesOf(const std::string& path);

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_DATABASE_FILE_H_
