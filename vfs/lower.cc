#include "vfs/lower.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <vector>

#include "src/base/guard.h"
#include "vfs/database.h"
#include "vfs/vfs.h"

namespace turso {

namespace {

std::atomic<sqlite3_vfs*> g_lower{nullptr};

class OwnFiles : public LowerFiles {
 public:
  explicit OwnFiles(const std::string& path) : LowerFiles(nullptr, nullptr, path) {}
  ~OwnFiles() override {
    if (mapped_) database_file_.get()->pMethods->xShmUnmap(database_file_.get(), 0);
    if (locked_) database_file_.get()->pMethods->xUnlock(database_file_.get(), SQLITE_LOCK_NONE);
    // The VFS below keeps the name that it was given, so it goes after the files.
    database_file_.Close();
    wal_file_.Close();
    if (name_ != nullptr) sqlite3_free_filename(name_);
  }

  Status Open() {
    // The VFS below may look for URI parameters around the name, so it has to be laid out as SQLite
    // does.
    name_ = sqlite3_create_filename(path_.c_str(), (path_ + "-journal").c_str(),
                                    (path_ + "-wal").c_str(), 0, nullptr);
    if (name_ == nullptr) return Status(Code::kNoMemory, "opening " + path_ + ": out of memory");
    int code = database_file_.Open(name_, SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE);
    if (code != SQLITE_OK) return Failure("opening", code);
    database_ = database_file_.get();
    NotePlace(kDatabase);
    code = database_->pMethods->xLock(database_, SQLITE_LOCK_SHARED);
    if (code != SQLITE_OK) return Failure("locking", code);
    locked_ = true;
    if (database_->pMethods->iVersion < 2 || database_->pMethods->xShmMap == nullptr) {
      return Status(Code::kInvalid, path_ + ": the VFS below has no shared memory");
    }
    code = wal_file_.Open(sqlite3_filename_wal(name_),
                          SQLITE_OPEN_WAL | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    if (code != SQLITE_OK) return Failure("opening the WAL of", code);
    wal_ = wal_file_.get();
    NotePlace(kLog);
    return OkStatus();
  }

  Result<volatile uint8_t*> MapIndex(int block, Extend extend) override {
    // The VFS below opens it by name: (DB3).
    if (!mapped_) TURSO_RETURN_IF_ERROR(CheckPlace(kDatabase));
    mapped_ = true;
    Result<volatile uint8_t*> mapped = LowerFiles::MapIndex(block, extend);
    if (block == 0 && mapped.ok()) NotePlace(kIndex);
    return mapped;
  }

 private:
  const char* name_ = nullptr;
  LowerFile database_file_;
  LowerFile wal_file_;
  bool locked_ = false;
  bool mapped_ = false;
};

}  // namespace

LowerFile::LowerFile() : room_(new uint8_t[static_cast<size_t>(LowerVfs()->szOsFile)]()) {}

int LowerFile::Open(const char* name, int flags, int* out_flags) {
  const int code = LowerVfs()->xOpen(LowerVfs(), name, get(), flags, out_flags);
  if (code != SQLITE_OK) Close();
  return code;
}

int LowerFile::Close() {
  if (get()->pMethods == nullptr) return SQLITE_OK;
  const int code = get()->pMethods->xClose(get());
  get()->pMethods = nullptr;
  return code;
}

sqlite3_vfs* LowerVfs() { return g_lower.load(std::memory_order_acquire); }
void SetLowerVfs(sqlite3_vfs* vfs) { g_lower.store(vfs, std::memory_order_release); }

Status LowerFiles::Failure(const char* doing, int code) const {
  Code kind = Code::kIo;
  if ((code & 0xff) == SQLITE_FULL) kind = Code::kFull;
  if ((code & 0xff) == SQLITE_NOMEM) kind = Code::kNoMemory;
  if ((code & 0xff) == SQLITE_BUSY) kind = Code::kBusy;
  return Status(kind, std::string(doing) + " " + path_ + ": SQLite code " + std::to_string(code));
}

static int Read(sqlite3_file* file, uint64_t offset, MutableByteView out) {
  int code = file->pMethods->xRead(file, out.data(), static_cast<int>(out.size()),
                                   static_cast<sqlite3_int64>(offset));
  return code == SQLITE_IOERR_SHORT_READ ? SQLITE_OK : code;  // SQLite's VFSes fill up with zeros.
}

Status LowerFiles::ReadDatabase(uint64_t offset, MutableByteView out) {
  int code = Read(database_, offset, out);
  return code == SQLITE_OK ? OkStatus() : Failure("reading", code);
}

Result<uint64_t> LowerFiles::DatabaseSize() {
  sqlite3_int64 size = 0;
  int code = database_->pMethods->xFileSize(database_, &size);
  if (code != SQLITE_OK) return Failure("sizing", code);
  return static_cast<uint64_t>(size);
}

Status LowerFiles::SyncDatabase() {
  int code = database_->pMethods->xSync(database_, SQLITE_SYNC_NORMAL);
  return code == SQLITE_OK ? OkStatus() : Failure("syncing", code);
}

Status LowerFiles::ReadWal(uint64_t offset, MutableByteView out) {
  if (wal_ == nullptr) return Status(Code::kIo, path_ + ": its WAL is not open");
  int code = Read(wal_, offset, out);
  return code == SQLITE_OK ? OkStatus() : Failure("reading the WAL of", code);
}

Status LowerFiles::WriteWal(uint64_t offset, ByteView bytes) {
  if (wal_ == nullptr) return Status(Code::kIo, path_ + ": its WAL is not open");
  int code = wal_->pMethods->xWrite(wal_, bytes.data(), static_cast<int>(bytes.size()),
                                    static_cast<sqlite3_int64>(offset));
  return code == SQLITE_OK ? OkStatus() : Failure("writing the WAL of", code);
}

Status LowerFiles::SyncWal() {
  if (wal_ == nullptr) return Status(Code::kIo, path_ + ": its WAL is not open");
  int code = wal_->pMethods->xSync(wal_, SQLITE_SYNC_NORMAL);
  return code == SQLITE_OK ? OkStatus() : Failure("syncing the WAL of", code);
}

Result<uint64_t> LowerFiles::WalSize() {
  if (wal_ == nullptr) return Status(Code::kIo, path_ + ": its WAL is not open");
  sqlite3_int64 size = 0;
  int code = wal_->pMethods->xFileSize(wal_, &size);
  if (code != SQLITE_OK) return Failure("sizing the WAL of", code);
  return static_cast<uint64_t>(size);
}

Result<volatile uint8_t*> LowerFiles::MapIndex(int block, Extend extend) {
  volatile void* region = nullptr;
  int code = database_->pMethods->xShmMap(database_, block, kWalIndexBlockBytes,
                                          extend == Extend::kYes ? 1 : 0, &region);
  if (code != SQLITE_OK) return Failure("mapping the wal-index of", code);
  return static_cast<volatile uint8_t*>(region);
}

Result<bool> LowerFiles::TryLock(WalLock first, int count) {
  int code = database_->pMethods->xShmLock(database_, static_cast<int>(first), count,
                                           SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE);
  if (code == SQLITE_OK) return true;
  if ((code & 0xff) == SQLITE_BUSY) return false;
  return Failure("locking the wal-index of", code);
}

void LowerFiles::Unlock(WalLock first, int count) {
  database_->pMethods->xShmLock(database_, static_cast<int>(first), count,
                                SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
}

void LowerFiles::Barrier() { database_->pMethods->xShmBarrier(database_); }

namespace {

constexpr const char* kSuffixes[LowerFiles::kPlaces] = {"", "-wal", "-shm"};

// All that there are, under RegistryMutex.
std::vector<LowerFiles*>& OpenFiles() {
  static auto* files = new std::vector<LowerFiles*>;
  return *files;
}

}  // namespace

LowerFiles::LowerFiles(sqlite3_file* database, sqlite3_file* wal, std::string path)
    : database_(database), wal_(wal), path_(std::move(path)) {
  std::lock_guard lock(RegistryMutex());
  OpenFiles().push_back(this);
}

LowerFiles::~LowerFiles() {
  std::lock_guard lock(RegistryMutex());
  std::erase(OpenFiles(), this);
}

void LowerFiles::NotePlace(Place place) {
  if (places_[place]) return;
  const std::optional<Footprint> now = FootprintOf(path_ + kSuffixes[place]);
  std::lock_guard lock(RegistryMutex());
  places_[place] = now;
}

Status LowerFiles::CheckPlace(Place place) const {
  if (!places_[place]) return OkStatus();
  const std::string name = path_ + kSuffixes[place];
  const std::optional<Footprint> now = FootprintOf(name);
  if (now && now->SameFile(*places_[place])) return OkStatus();
  return Replaced(name, path_);
}

Status LowerFiles::CheckPlaces() {
  for (Place place : {kDatabase, kLog, kIndex}) TURSO_RETURN_IF_ERROR(CheckPlace(place));
  return OkStatus();
}

bool LowerFiles::OthersHaveLogOrIndexOf(const std::string& path) {
  const std::optional<Footprint> database = FootprintOf(path);
  for (Place place : {kLog, kIndex}) {
    const std::optional<Footprint> now = FootprintOf(path + kSuffixes[place]);
    if (!now) continue;
    std::lock_guard lock(RegistryMutex());
    for (const LowerFiles* files : OpenFiles()) {
      if (files->path_ != path) continue;
      // Whoever asked about a replica that was just closed may still have it open.
      const std::optional<Footprint>& has = files->places_[kDatabase];
      if (database && has && has->SameFile(*database)) continue;
      const std::optional<Footprint>& theirs = files->places_[place];
      if (theirs && theirs->SameFile(*now)) return true;
    }
  }
  return false;
}

Status Replaced(const std::string& name, const std::string& database) {
  return Status(Code::kIo, name + (FootprintOf(name) ? " was replaced" : " was removed") +
                               " while it was open; nothing was written. Close " + database +
                               " in every program, and open it again");
}

Result<ReplicaHost::Found> LookAtDatabase(const std::string& path) {
  const char* name = sqlite3_create_filename(path.c_str(), (path + "-journal").c_str(),
                                             (path + "-wal").c_str(), 0, nullptr);
  if (name == nullptr) return Status(Code::kNoMemory, "opening " + path + ": out of memory");
  std::array<uint8_t, 100> header{};
  int code;
  {
    LowerFile file;
    code = file.Open(name, SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READONLY);
    if (code == SQLITE_OK) code = Read(file.get(), 0, header);
  }
  sqlite3_free_filename(name);
  if (code != SQLITE_OK)
    return Status(Code::kIo, "opening " + path + ": SQLite code " + std::to_string(code));
  // https://sqlite.org/fileformat2.html#the_database_header
  constexpr char kMagic[] = "SQLite format 3";
  ReplicaHost::Found found;
  if (std::memcmp(header.data(), kMagic, sizeof kMagic) != 0) return found;
  const uint32_t page_size = LoadBig16(&header[16]) == 1 ? 65536 : LoadBig16(&header[16]);
  const std::optional<Footprint> database = FootprintOf(path);
  if (!database) return Status(Code::kIo, "opening " + path + ": its size cannot be told");
  if (database->bytes < page_size) return found;  // Not even its first page.
  found.page_size = page_size;
  const std::optional<Footprint> journal = FootprintOf(path + "-journal");
  found.is_wal = header[kReadVersionAt] == kWalModeVersion && (!journal || journal->bytes == 0);
  return found;
}

Result<bool> IsUnused(const std::string& path) {
  const char* name = sqlite3_create_filename(path.c_str(), (path + "-journal").c_str(),
                                             (path + "-wal").c_str(), 0, nullptr);
  if (name == nullptr) return Status(Code::kNoMemory, "opening " + path + ": out of memory");
  int code;
  {
    LowerFile file;
    code = file.Open(name, SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE);
    for (int level : {SQLITE_LOCK_SHARED, SQLITE_LOCK_RESERVED, SQLITE_LOCK_EXCLUSIVE}) {
      if (code == SQLITE_OK) code = file.get()->pMethods->xLock(file.get(), level);
    }
    if (file.get()->pMethods != nullptr)
      file.get()->pMethods->xUnlock(file.get(), SQLITE_LOCK_NONE);
  }
  sqlite3_free_filename(name);
  if (code == SQLITE_OK) return true;
  if ((code & 0xff) == SQLITE_BUSY) return false;
  return Status(Code::kIo, "locking " + path + ": SQLite code " + std::to_string(code));
}

Status EnterWalMode(const std::string& path) {
  sqlite3* db = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_NOMUTEX;
  int code = sqlite3_open_v2(path.c_str(), &db, flags, LowerVfs()->zName);
  if (code == SQLITE_OK) {
    sqlite3_busy_timeout(db, 2000);
    code = sqlite3_exec(db, "PRAGMA journal_mode=WAL", nullptr, nullptr, nullptr);
  }
  const std::string reason = db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  sqlite3_close(db);
  if (code == SQLITE_OK) return OkStatus();
  return Status((code & 0xff) == SQLITE_BUSY ? Code::kBusy : Code::kIo,
                path +
                    " was taken out of WAL mode by another program, and cannot be brought back (" +
                    reason + "): close it there");
}

Result<std::unique_ptr<WalFiles>> OpenWalFiles(const std::string& path) {
  if (LowerVfs() == nullptr) return Status(Code::kInvalid, "the VFS turso is not registered");
  auto files = std::make_unique<OwnFiles>(path);
  TURSO_RETURN_IF_ERROR(files->Open());
  return std::unique_ptr<WalFiles>(std::move(files));
}

}  // namespace turso
