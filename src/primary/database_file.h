// The database file itself, while no server has it open: making one, copying one, and how it looks
// from outside.

#ifndef TURSO_SRC_PRIMARY_DATABASE_FILE_H_
#define TURSO_SRC_PRIMARY_DATABASE_FILE_H_

#include <string>

#include "src/base/status.h"
#include "src/primary/commit_log.h"

namespace turso {

// Makes an empty database in WAL mode, whole or not at all. kInvalid if there is a file already.
Status CreateDatabase(const std::string& path);
// The same with the content of the SQLite database `from`, whose WAL counts. kInvalid if that is
// none.
Status CopyDatabase(const std::string& from, const std::string& path);

// Brings the database into WAL mode if it is not. kInvalid if it is no SQLite database.
Status EnsureWalMode(const std::string& path);
// Lets SQLite, without our VFS, end the WAL: afterwards there is none, unless another process has
// the database open.
Status EndWal(const std::string& path);

// Size and time of the last change, without opening it.
Result<Fingerprint> FingerprintOf(const std::string& path);
// Bytes in the WAL; nothing if there is no WAL.
Result<std::optional<uint64_t>> WalBytesOf(const std::string& path);

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_DATABASE_FILE_H_
