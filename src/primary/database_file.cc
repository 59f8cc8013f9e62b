#include "src/primary/database_file.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "src/base/guard.h"
#include "src/primary/sql_connections.h"

namespace turso {

namespace {

Status SystemFailure(const std::string& doing, const std::string& path) {
  return Status(errno == ENOSPC ? Code::kFull : Code::kIo,
                doing + " " + path + ": " + std::strerror(errno));
}

Status SqliteFailure(sqlite3* db, const std::string& path) {
  int code = sqlite3_errcode(db) & 0xff;
  Code kind = code == SQLITE_NOTADB || code == SQLITE_CORRUPT ? Code::kInvalid
              : code == SQLITE_FULL                           ? Code::kFull
              : code == SQLITE_BUSY                           ? Code::kBusy
                                                              : Code::kIo;
  return Status(kind, path + ": " + sqlite3_errmsg(db));
}

// The VFS of the host: these files are nobody's replica, and no gate stands before them yet.
Result<SqlConnection> OpenPlain(const std::string& path, int flags) {
  const char* vfs = nullptr;
  for (sqlite3_vfs* v = sqlite3_vfs_find(nullptr); v != nullptr; v = v->pNext) {
    if (std::strcmp(v->zName, "turso") == 0) continue;
    vfs = v->zName;
    break;
  }
  sqlite3* db = nullptr;
  int code = sqlite3_open_v2(path.c_str(), &db, flags | SQLITE_OPEN_FULLMUTEX, vfs);
  SqlConnection connection(db);
  if (code != SQLITE_OK) return SqliteFailure(db, path);
  sqlite3_busy_timeout(db, 5000);
  return connection;
}

Status Run(sqlite3* db, const char* sql, const std::string& path) {
  if (sqlite3_exec(db, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return SqliteFailure(db, path);
  return OkStatus();
}

}  // namespace

Status EnsureWalMode(const std::string& path) {
  uint8_t header[20]{};
  {
    std::ifstream file(path, std::ios::binary);
    if (!file) return Status(Code::kNotFound, path + ": no such database");
    file.read(reinterpret_cast<char*>(header), sizeof header);
    const bool has_wal =
        header[kWriteVersionAt] == kWalModeVersion && header[kReadVersionAt] == kWalModeVersion;
    if (file && has_wal) return OkStatus();
    if (file.gcount() != 0 && std::memcmp(header, "SQLite format 3", 16) != 0) {
      return Status(Code::kInvalid, path + " is not an SQLite database");
    }
  }
  Result<SqlConnection> db = OpenPlain(path, SQLITE_OPEN_READWRITE);
  if (!db.ok()) return db.status();
  if (header[0] == 0)
    return Run(db->get(), "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; VACUUM;", path);
  return Run(db->get(), "PRAGMA journal_mode=WAL", path);
}

Status EndWal(const std::string& path) {
  Result<SqlConnection> db = OpenPlain(path, SQLITE_OPEN_READWRITE);
  if (!db.ok()) return db.status();
  return Run(db->get(), "PRAGMA schema_version", path);
}

Status SyncFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return SystemFailure("opening", path);
  Status status = fsync(fd) == 0 ? OkStatus() : SystemFailure("syncing", path);
  close(fd);
  return status;
}

Result<Fingerprint> FingerprintOf(const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0) return SystemFailure("looking at", path);
#if defined(__APPLE__)
  timespec modified = st.st_mtimespec;
#else
  timespec modified = st.st_mtim;
#endif
  return Fingerprint{static_cast<uint64_t>(st.st_size),
                     int64_t{modified.tv_sec} * 1'000'000'000 + modified.tv_nsec};
}

Result<std::optional<uint64_t>> WalBytesOf(const std::string& path) {
  struct stat st;
  std::string wal = path + "-wal";
  if (stat(wal.c_str(), &st) == 0)
    return std::optional<uint64_t>(static_cast<uint64_t>(st.st_size));
  if (errno == ENOENT) return std::optional<uint64_t>();
  return SystemFailure("looking at", wal);
}

}  // namespace turso
