#include "src/primary/create_database.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "src/primary/databases.h"
#include "src/primary/errno_text.h"
#include "src/primary/sql_connections.h"

namespace turso {

namespace {

Status SqliteFailure(Code code, const std::string& doing, sqlite3* db) {
  return Status(code, doing + ": " + (db ? sqlite3_errmsg(db) : "out of memory"));
}

Result<SqlConnection> OpenFile(const std::string& path, int flags) {
  sqlite3* db = nullptr;
  int rc = sqlite3_open_v2(path.c_str(), &db, flags, "unix");
  SqlConnection connection(db);
  if (rc != SQLITE_OK) return SqliteFailure(Code::kIo, "opening " + path, db);
  sqlite3_busy_timeout(db, 5000);
  return connection;
}

Status CopyInto(sqlite3* to, const std::string& from) {
  Result<SqlConnection> source = OpenFile(from, SQLITE_OPEN_READONLY);
  if (!source.ok()) return Status(Code::kInvalid, source.status().text());
  sqlite3_backup* backup = sqlite3_backup_init(to, "main", source->get(), "main");
  if (!backup) return SqliteFailure(Code::kIo, "copying " + from, to);
  sqlite3_backup_step(backup, -1);
  // It repeats what the step said, unless that was "done".
  int rc = sqlite3_backup_finish(backup);
  if (rc == SQLITE_OK) return OkStatus();
  return Status(rc == SQLITE_NOTADB || rc == SQLITE_CORRUPT ? Code::kInvalid : Code::kIo,
                "copying " + from + ": " + sqlite3_errstr(rc));
}

Status Fill(const std::string& path, const NewDatabase& content) {
  const std::optional<std::string>& from = content.from;
  Result<SqlConnection> db = OpenFile(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  if (!db.ok()) return db.status();
  if (from) TURSO_RETURN_IF_ERROR(CopyInto(db->get(), *from));
  const std::string pragmas = "PRAGMA page_size=" + std::to_string(content.page_size) +
                              "; PRAGMA synchronous=FULL; PRAGMA journal_mode=WAL";
  if (sqlite3_exec(db->get(), pragmas.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    return SqliteFailure(from ? Code::kInvalid : Code::kIo, "making " + path, db->get());
  }
  return OkStatus();
}

Status SyncFile(const std::string& path, int flags) {
  int fd = open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) return Status(Code::kIo, "cannot open " + path + ": " + ErrnoText());
  int rc = fsync(fd);
  Status status =
      rc == 0 ? OkStatus() : Status(Code::kIo, "cannot sync " + path + ": " + ErrnoText());
  close(fd);
  return status;
}

// Link and not rename: it does not replace what somebody else has put there meanwhile.
Status Publish(const std::string& made, const std::string& path) {
  TURSO_RETURN_IF_ERROR(SyncFile(made, O_RDWR));
  if (link(made.c_str(), path.c_str()) != 0) {
    Code code = errno == EEXIST ? Code::kConflict : Code::kIo;
    return Status(code, "cannot make " + path + ": " + ErrnoText());
  }
  return OkStatus();
}

}  // namespace

Result<std::string> CreateDatabase(const std::string& directory, const std::string& name,
                                   const NewDatabase& content) {
  const std::optional<std::string>& from = content.from;
  if (!IsDatabaseName(name)) {
    return Status(Code::kInvalid,
                  "\"" + name + "\" cannot be the name of a database: letters, digits, - _ and .");
  }
  std::string path = directory + "/" + name + ".db";
  std::error_code error;
  if (std::filesystem::exists(path, error))
    return Status(Code::kConflict, path + " is there already");
  // An empty database in its place would be the next revision of what the log tells of: every
  // replica would follow it into nothing.
  if (std::filesystem::exists(path + "-log", error)) {
    return Status(Code::kUnavailable, path + " is missing, though its log " + path +
                                          "-log is there: put it back, or move the log away to "
                                          "begin a new database");
  }
  if (from && !std::filesystem::exists(*from, error))
    return Status(Code::kInvalid, *from + " is not there");
  std::string scratch = directory + "/.create-XXXXXX";
  if (!mkdtemp(scratch.data())) {
    return Status(Code::kIo, "cannot make a directory in " + directory + ": " + ErrnoText());
  }
  std::string made = scratch + "/new.db";
  Status status = Fill(made, content);
  if (status.ok()) status = Publish(made, path);
  std::filesystem::remove_all(scratch, error);
  if (status.ok()) status = SyncFile(directory, O_RDONLY | O_DIRECTORY);
  if (!status.ok()) return status;
  return path;
}

}  // namespace turso
