#include "tests/support/host_wal_files.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "src/base/clock.h"

namespace turso {
namespace {

sqlite3_vfs* UnixVfs() { return sqlite3_vfs_find("unix"); }

Status Failed(const std::string& doing, int rc) {
  return Status(Code::kIo, doing + ": " + sqlite3_errstr(rc) + " (" + std::to_string(rc) + ")");
}

Status Check(const std::string& doing, int rc) {
  return rc == SQLITE_OK ? OkStatus() : Failed(doing, rc);
}

constexpr auto kLockDeadline = seconds(10);
constexpr useconds_t kLockPauseMicroseconds = 200;

}  // namespace

class HostWalFiles::File {
 public:
  File() : file_(static_cast<sqlite3_file*>(std::calloc(1, size_t(UnixVfs()->szOsFile)))) {}
  ~File() {
    if (file_->pMethods) file_->pMethods->xClose(file_);
    std::free(file_);
  }
  int Open(const char* name, int flags) {
    int out = 0;
    return UnixVfs()->xOpen(UnixVfs(), name, file_, flags, &out);
  }
  bool is_open() const { return file_->pMethods != nullptr; }
  const sqlite3_io_methods* operator->() const { return file_->pMethods; }
  sqlite3_file* get() const { return file_; }

  Status Read(uint64_t offset, MutableByteView out) {
    if (out.size() > kMoveBytesMax) return Status(Code::kInvalid, "xRead of too many bytes");
    const int rc = file_->pMethods->xRead(file_, out.data(), static_cast<int>(out.size()),
                                          static_cast<sqlite3_int64>(offset));
    return rc == SQLITE_IOERR_SHORT_READ ? OkStatus() : Check("xRead", rc);
  }
  Result<uint64_t> Size() {
    sqlite3_int64 size = 0;
    const int rc = file_->pMethods->xFileSize(file_, &size);
    if (rc != SQLITE_OK) return Failed("xFileSize", rc);
    return static_cast<uint64_t>(size);
  }
  Status Sync() { return Check("xSync", file_->pMethods->xSync(file_, SQLITE_SYNC_NORMAL)); }

 private:
  sqlite3_file* file_;
};

HostWalFiles::HostWalFiles(std::string path) : path_(std::move(path)) {
  sqlite3_initialize();
  name_ = sqlite3_create_filename(path_.c_str(), (path_ + "-journal").c_str(),
                                  (path_ + "-wal").c_str(), 0, nullptr);
  database_ = std::make_unique<File>();
  wal_ = std::make_unique<File>();
}

HostWalFiles::~HostWalFiles() {
  File& db = *database_;
  if (db.is_open()) {
    db->xShmUnmap(db.get(), 0);
    db->xUnlock(db.get(), SQLITE_LOCK_NONE);
  }
  wal_.reset();
  database_.reset();
  sqlite3_free_filename(const_cast<char*>(name_));
}

Result<std::unique_ptr<HostWalFiles>> HostWalFiles::Open(const std::string& path) {
  std::error_code ignored;
  std::unique_ptr<HostWalFiles> files(
      new HostWalFiles(std::filesystem::absolute(path, ignored).string()));
  File& db = *files->database_;
  int rc = db.Open(files->name_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_MAIN_DB);
  if (rc != SQLITE_OK) return Failed("opening " + path, rc);
  // Whoever closes a database last holds EXCLUSIVE for a moment.
  const Instant deadline = Instant::Now() + kLockDeadline;
  while ((rc = db->xLock(db.get(), SQLITE_LOCK_SHARED)) == SQLITE_BUSY && Instant::Now() < deadline)
    ::usleep(kLockPauseMicroseconds);
  if (rc != SQLITE_OK) return Failed("locking " + path, rc);
  rc = files->wal_->Open(sqlite3_filename_wal(files->name_),
                         SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_WAL);
  if (rc != SQLITE_OK) return Failed("opening the log of " + path, rc);
  return files;
}

Status HostWalFiles::ReadDatabase(uint64_t offset, MutableByteView out) {
  return database_->Read(offset, out);
}
Result<uint64_t> HostWalFiles::DatabaseSize() { return database_->Size(); }
Status HostWalFiles::SyncDatabase() { return database_->Sync(); }
Status HostWalFiles::ReadWal(uint64_t offset, MutableByteView out) {
  return wal_->Read(offset, out);
}
Status HostWalFiles::WriteWal(uint64_t offset, ByteView bytes) {
  if (bytes.size() > kMoveBytesMax) return Status(Code::kInvalid, "xWrite of too many bytes");
  File& wal = *wal_;
  return Check("xWrite", wal->xWrite(wal.get(), bytes.data(), static_cast<int>(bytes.size()),
                                     static_cast<sqlite3_int64>(offset)));
}
Status HostWalFiles::SyncWal() { return wal_->Sync(); }
Result<uint64_t> HostWalFiles::WalSize() { return wal_->Size(); }

Result<volatile uint8_t*> HostWalFiles::MapIndex(int block, Extend extend) {
  File& db = *database_;
  void volatile* start = nullptr;
  // Whoever opens the wal-index first, or closes it last, has it locked for a moment.
  const Instant deadline = Instant::Now() + kLockDeadline;
  int rc = SQLITE_OK;
  while ((rc = db->xShmMap(db.get(), block, kWalIndexBlockBytes, extend == Extend::kYes, &start)) ==
             SQLITE_BUSY &&
         Instant::Now() < deadline)
    ::usleep(kLockPauseMicroseconds);
  if (rc != SQLITE_OK) return Failed("xShmMap", rc);
  return static_cast<volatile uint8_t*>(start);
}

Result<bool> HostWalFiles::TryLock(WalLock first, int count) {
  File& db = *database_;
  const int rc = db->xShmLock(db.get(), static_cast<int>(first), count,
                              SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE);
  if (rc == SQLITE_BUSY) return false;
  if (rc != SQLITE_OK) return Failed("xShmLock", rc);
  return true;
}
void HostWalFiles::Unlock(WalLock first, int count) {
  File& db = *database_;
  db->xShmLock(db.get(), static_cast<int>(first), count, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
}
void HostWalFiles::Barrier() {
  File& db = *database_;
  db->xShmBarrier(db.get());
}

namespace {

// Runs any read through SQLite, which recovers the wal-index on the way.
Status LetSqliteRecover(const std::string& path) {
  sqlite3* db = nullptr;
  int rc = sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE, "unix");
  if (rc == SQLITE_OK) {
    sqlite3_busy_timeout(db, 10000);
    rc = sqlite3_exec(db, "SELECT count(*) FROM sqlite_schema", nullptr, nullptr, nullptr);
  }
  sqlite3_close(db);
  return Check("recovering " + path, rc);
}

}  // namespace

Status LockWrite(HostWalFiles* files) {
  const Instant deadline = Instant::Now() + kLockDeadline;
  // The locks live in the wal-index's file, which the first mapping opens.
  if (auto mapped = files->MapIndex(0, Extend::kNo); !mapped.ok()) return mapped.status();
  for (;;) {
    Result<bool> got = files->TryLock(WalLock::kWrite, 1);
    if (!got.ok()) return got.status();
    if (*got) return OkStatus();
    if (Instant::Now() >= deadline) return Status(Code::kBusy, "WRITE is held by another");
    ::usleep(kLockPauseMicroseconds);
  }
}

Result<WalIndexHeader> ApplyLocked(HostWalFiles* files, const PageSet& pages,
                                   const ApplyOptions& options, WalFiles* through) {
  for (int attempt = 0;; ++attempt) {
    TURSO_RETURN_IF_ERROR(LockWrite(files));
    Result<WalIndexHeader> applied = Apply(through ? through : files, pages, options);
    files->Unlock(WalLock::kWrite, 1);
    if (applied.ok() || applied.status().code() != Code::kBusy || attempt == 3) return applied;
    TURSO_RETURN_IF_ERROR(LetSqliteRecover(files->path()));
  }
}

Result<WalIndexHeader> CurrentHeader(HostWalFiles* files) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    WalIndex index(files);
    Result<std::optional<WalIndexHeader>> header = index.ReadHeader();
    if (!header.ok()) return header.status();
    if (header->has_value()) return **header;
    TURSO_RETURN_IF_ERROR(LetSqliteRecover(files->path()));
  }
  return Status(Code::kBusy, "the wal-index stays torn");
}

}  // namespace turso
