#include "vfs/internal_connection.h"

#include "vfs/sqlite.h"

namespace turso {

namespace {

thread_local std::shared_ptr<Database> t_database;

class InternalConnection {
 public:
  explicit InternalConnection(const std::shared_ptr<Database>& database) : path_(database->path) {
    t_database = database;
    // One thread has it.
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_NOMUTEX;
    code_ = sqlite3_open_v2(path_.c_str(), &db_, flags, "turso");
    t_database.reset();
  }
  ~InternalConnection() { sqlite3_close(db_); }
  InternalConnection(const InternalConnection&) = delete;
  InternalConnection& operator=(const InternalConnection&) = delete;

  sqlite3* db() { return db_; }

  // Without a read first, a checkpoint is a silent no-op: the connection has not met the log yet.
  // The read is one that needs no schema, which may be long, or malformed.
  Status Read() {
    if (code_ == SQLITE_OK) {
      sqlite3_busy_timeout(db_, 1000);
      code_ = sqlite3_exec(db_, "PRAGMA schema_version", nullptr, nullptr, nullptr);
    }
    if (code_ == SQLITE_OK) return OkStatus();
    std::string reason = db_ != nullptr ? sqlite3_errmsg(db_) : sqlite3_errstr(code_);
    return Status((code_ & 0xff) == SQLITE_BUSY ? Code::kBusy : Code::kIo,
                  "reading " + path_ + ": " + reason);
  }

  // As far as nobody is in the way.
  Status Checkpoint(int mode) {
    int code = sqlite3_wal_checkpoint_v2(db_, nullptr, mode, nullptr, nullptr);
    if (code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY) return OkStatus();
    return Status(Code::kIo, "checkpointing " + path_ + ": " + sqlite3_errmsg(db_));
  }

 private:
  std::string path_;
  sqlite3* db_ = nullptr;
  int code_ = SQLITE_OK;
};

Status Gone() { return Status(Code::kIo, "the replica is closed"); }

}  // namespace

const std::shared_ptr<Database>& InternalDatabase() { return t_database; }

Status ReadOnce(const std::shared_ptr<Database>& database) {
  if (database == nullptr) return Gone();
  return InternalConnection(database).Read();
}

Status CheckpointOnce(const std::shared_ptr<Database>& database) {
  if (database == nullptr) return Gone();
  InternalConnection connection(database);
  TURSO_RETURN_IF_ERROR(connection.Read());
  return connection.Checkpoint(SQLITE_CHECKPOINT_PASSIVE);
}

Status EmptyLogOnce(const std::shared_ptr<Database>& database) {
  InternalConnection connection(database);
  TURSO_RETURN_IF_ERROR(connection.Read());
  sqlite3_busy_timeout(connection.db(), 0);
  return connection.Checkpoint(SQLITE_CHECKPOINT_TRUNCATE);
}

}  // namespace turso
