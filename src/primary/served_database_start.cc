// Opening and closing a served database: where the log, the WAL and the file are brought to agree.

#include <sys/random.h>

#include <algorithm>

#include "src/base/log.h"
#include "src/primary/database_file.h"
#include "src/primary/fault_point.h"
#include "src/primary/served_database.h"
#include "src/wal/apply.h"
#include "src/wal/wal_index.h"
#include "vfs/vfs.h"

namespace turso {

namespace {

Status RandomBytes(MutableByteView out) {
  if (getentropy(out.data(), out.size()) == 0) return OkStatus();
  return Status(Code::kIo, "the system gives no random bytes");
}

Result<uint64_t> RandomEpoch() {
  uint8_t raw[8];
  TURSO_RETURN_IF_ERROR(RandomBytes(raw));
  return LoadBig64(raw);
}

// Calls the fault points of a test before every step that changes a file.
class ObservedFiles : public WalFiles {
 public:
  explicit ObservedFiles(std::unique_ptr<WalFiles> files) : files_(std::move(files)) {}

  Status ReadDatabase(uint64_t offset, MutableByteView out) override {
    return files_->ReadDatabase(offset, out);
  }
  Result<uint64_t> DatabaseSize() override { return files_->DatabaseSize(); }
  Status SyncDatabase() override { return files_->SyncDatabase(); }
  Status ReadWal(uint64_t offset, MutableByteView out) override {
    return files_->ReadWal(offset, out);
  }
  Status WriteWal(uint64_t offset, ByteView bytes) override {
    TURSO_RETURN_IF_ERROR(FaultPoint("wal:write"));
    return files_->WriteWal(offset, bytes);
  }
  Status SyncWal() override {
    TURSO_RETURN_IF_ERROR(FaultPoint("wal:sync"));
    return files_->SyncWal();
  }
  Result<uint64_t> WalSize() override { return files_->WalSize(); }
  Result<volatile uint8_t*> MapIndex(int block, Extend extend) override {
    return files_->MapIndex(block, extend);
  }
  Result<bool> TryLock(WalLock first, int count) override { return files_->TryLock(first, count); }
  void Unlock(WalLock first, int count) override { files_->Unlock(first, count); }
  void Barrier() override {
    (void)FaultPoint("wal:barrier");
    files_->Barrier();
  }

 private:
  std::unique_ptr<WalFiles> files_;
};

Status SqliteFailure(sqlite3* db, const std::string& doing, const std::string& path) {
  return Status(Code::kIo,
                doing + " " + path + ": " + (db == nullptr ? "out of memory" : sqlite3_errmsg(db)));
}

}  // namespace

Result<std::shared_ptr<ServedDatabase>> ServedDatabase::Open(const std::string& path, Alarm* alarm,
                                                             Alarm* background) {
  std::shared_ptr<ServedDatabase> database(new ServedDatabase(path, alarm, background));
  Status status = database->Start();
  if (!status.ok()) return status.While("opening " + path);
  return database;
}

ServedDatabase::~ServedDatabase() {
  StopWaiting();
  CloseFiles();
}

Result<SqlConnection> ServedDatabase::OpenConnection(SqlAccess access) {
  sqlite3* db = nullptr;
  int flags = (access == SqlAccess::kWrite ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) |
              SQLITE_OPEN_FULLMUTEX;
  int code = sqlite3_open_v2(path_.c_str(), &db, flags, "turso");
  SqlConnection connection(db);
  if (code != SQLITE_OK) return SqliteFailure(db, "opening", path_);
  // Where a file cannot be opened for writing, SQLite opens it for reading.
  if (access == SqlAccess::kWrite && sqlite3_db_readonly(db, "main") != 0)
    return Status(Code::kIo, "opening " + path_ + ": it can only be read");
  sqlite3_busy_timeout(db, 5000);
  // This reads the schema. One that a transaction left malformed keeps nobody from the pages; SQL
  // is told of it by its own statements.
  for (const char* sql : {"PRAGMA synchronous=FULL",
                          "PRAGMA writable_schema=ON; PRAGMA synchronous=FULL; "
                          "PRAGMA writable_schema=RESET"}) {
    code = sqlite3_exec(db, sql, nullptr, nullptr, nullptr);
    if (code == SQLITE_OK) return connection;
  }
  return SqliteFailure(db, "opening", path_);
}

Status ServedDatabase::OpenFiles() {
  if (RegisterVfs(Default::kNo) != SQLITE_OK)
    return Status(Code::kInvalid, "the VFS turso cannot be registered");
  TURSO_RETURN_IF_ERROR(RegisterGate(path_, this));
  gated_ = true;
  Result<SqlConnection> checkpointer = OpenConnection(SqlAccess::kWrite);
  if (!checkpointer.ok()) return checkpointer.status();
  checkpointer_ = std::move(*checkpointer);
  TURSO_RETURN_IF_ERROR(ReadByCheckpointer());
  Result<std::unique_ptr<WalFiles>> files = OpenWalFiles(path_);
  if (!files.ok()) return files.status();
  files_ = std::move(*files);
  if (FaultHook()) files_ = std::make_unique<ObservedFiles>(std::move(files_));
  uint8_t raw[2];
  TURSO_RETURN_IF_ERROR(files_->ReadDatabase(16, raw));
  page_size_ = LoadBig16(raw) == 1 ? 65536 : LoadBig16(raw);
  if (!IsPageSize(page_size_))
    return Status(Code::kInvalid, path_ + ": no page size in its header");
  return OkStatus();
}

// SQLite recovers the wal-index where that is needed; and a checkpoint by a connection that has
// read nothing does nothing. Read is what needs no schema: a transaction may have left one that
// SQLite calls malformed, and its pages are to be served all the same.
Status ServedDatabase::ReadByCheckpointer() {
  std::lock_guard lock(checkpointer_mutex_);
  if (!checkpointer_) return Status(Code::kUnavailable, path_ + ": closed");
  if (sqlite3_exec(checkpointer_.get(), "PRAGMA schema_version", nullptr, nullptr, nullptr) !=
      SQLITE_OK) {
    return SqliteFailure(checkpointer_.get(), "reading", path_);
  }
  return OkStatus();
}

Result<uint32_t> ServedDatabase::SizeAt(const WalIndexHeader& header) {
  if (header.frames > 0) return header.db_size;
  Result<uint64_t> bytes = files_->DatabaseSize();
  if (!bytes.ok()) return bytes.status();
  return static_cast<uint32_t>(*bytes / page_size_);
}

Status ServedDatabase::Start() {
  Evidence before;
  Result<Fingerprint> fingerprint = FingerprintOf(path_);
  if (!fingerprint.ok()) return fingerprint.status();
  before.fingerprint = *fingerprint;
  Result<std::optional<uint64_t>> wal_bytes = WalBytesOf(path_);
  if (!wal_bytes.ok()) return wal_bytes.status();
  before.wal_bytes = *wal_bytes;

  // The log's lock keeps other servers out, so it comes before anything is changed.
  LogTail tail;
  Result<std::unique_ptr<CommitLog>> log = CommitLog::Open(
      path_ + "-log", [&tail](const LogRecord& record) { return tail.Take(record); });
  if (!log.ok() && log.status().code() != Code::kNotFound) return log.status();
  if (log.ok()) log_ = std::move(*log);

  TURSO_RETURN_IF_ERROR(EnsureWalMode(path_));
  TURSO_RETURN_IF_ERROR(SyncFile(path_));
  TURSO_RETURN_IF_ERROR(OpenFiles());
  Lock lock(mutex_);
  Result<WalIndexHeader> header = ReadHeader();
  if (!header.ok()) return header.status();
  Result<Fingerprint> now = FingerprintOf(path_);
  if (!now.ok()) return now.status();
  started_at_ = *now;
  TURSO_RETURN_IF_ERROR(log_ ? StartFrom(&tail, before, *header) : StartFresh(*header));
  leases_ = LeaseTable(history_.starts());
  CompactIfLong();
  return failure_;
}

Status ServedDatabase::StartFresh(const WalIndexHeader& header) {
  DatabaseId id;
  TURSO_RETURN_IF_ERROR(RandomBytes(id));
  Result<uint64_t> epoch = RandomEpoch();
  if (!epoch.ok()) return epoch.status();
  Result<uint32_t> db_size = SizeAt(header);
  if (!db_size.ok()) return db_size.status();
  history_.AdvanceAll(*db_size);
  history_.StartEpoch(*epoch);
  head_ = header;
  if (header.frames > 0) point_ = {header.salts, header.frames};
  Result<std::unique_ptr<CommitLog>> log = CommitLog::Create(path_ + "-log", id, {Snapshot()});
  if (!log.ok()) return log.status();
  log_ = std::move(*log);
  return OkStatus();
}

Status ServedDatabase::StartFrom(LogTail* tail, const Evidence& found,
                                 const WalIndexHeader& header) {
  Evidence evidence = found;
  evidence.header = header;
  head_ = header;
  uint8_t raw[kWalHeaderBytes];
  TURSO_RETURN_IF_ERROR(files_->ReadWal(0, raw));
  std::copy_n(&raw[16], evidence.wal_salts.size(), evidence.wal_salts.begin());
  evidence.frames_hash = [this](FrameNo base, FrameNo last, uint32_t db_size) -> Result<uint64_t> {
    Result<PageSet> pages = CollectFrames(files_.get(), page_size_, base, last, db_size);
    if (!pages.ok()) return pages.status();
    return pages->Hash();
  };
  evidence.pages_hash = [this](const std::vector<PageNo>& numbers,
                               uint32_t db_size) -> Result<uint64_t> {
    PageSet pages(page_size_);
    pages.set_db_size(db_size);
    for (PageNo page : numbers)
      TURSO_RETURN_IF_ERROR(ReadImage(page, {pages.Slot(page), page_size_}));
    return pages.Hash();
  };
  Result<Verdict> verdict = Judge(*tail, evidence);
  if (!verdict.ok()) return verdict.status();

  std::vector<LogRecord> records;
  if (verdict->last == Verdict::Last::kHappened) {
    tail->Happened();
  } else if (verdict->last != Verdict::Last::kNone) {
    Outcome outcome = verdict->last == Verdict::Last::kUnknown ? Outcome::kLost : Outcome::kRefused;
    records.push_back(AbortedRecord{tail->undecided()->counter, outcome});
    tail->Aborted(outcome);
  }
  history_ = tail->history();
  Result<uint32_t> db_size = SizeAt(header);
  if (!db_size.ok()) return db_size.status();
  if (verdict->foreign == Verdict::Foreign::kNone && *db_size != history_.db_size()) {
    verdict->foreign = Verdict::Foreign::kAnything;
  }
  WalPoint point;
  if (header.frames > 0) point = {header.salts, header.frames};
  if (verdict->foreign != Verdict::Foreign::kNone) {
    Log(LogLevel::kWarning, path_ + ": was changed by another program since it was last served");
    CommitRecord foreign;
    foreign.counter = history_.counter() + 1;
    foreign.source = CommitSource::kFound;
    foreign.db_size = *db_size;
    foreign.after = point;
    if (verdict->foreign == Verdict::Foreign::kFrames) {
      Result<PageSet> pages =
          CollectFrames(files_.get(), page_size_, verdict->foreign_base, {header.frames}, *db_size);
      if (!pages.ok()) return pages.status();
      for (const auto& [page, image] : *pages) foreign.pages.push_back(page);
    } else {
      foreign.every_page = true;
    }
    AddCommit(foreign, &history_);
    records.push_back(std::move(foreign));
  }
  Result<uint64_t> epoch = RandomEpoch();
  if (!epoch.ok()) return epoch.status();
  history_.StartEpoch(*epoch);
  records.push_back(ResolvedRecord{history_.counter(), point, false});
  records.push_back(EpochRecord{*epoch, history_.counter(), started_at_});
  point_ = point;
  restart_follows_ = false;
  // (D1) What is found to have happened may never have reached the disk: who wrote it died before
  // the sync. From here on it is answered for.
  TURSO_RETURN_IF_ERROR(header.frames > 0 ? files_->SyncWal() : files_->SyncDatabase());
  return log_->Write(records);
}

void ServedDatabase::StopWaiting() {
  std::list<Follower> followers;
  std::list<WaitingAsk> asks;
  {
    Lock lock(mutex_);
    waiting_allowed_ = false;
    followers.swap(followers_);
    asks.swap(asks_);
  }
  Status stopping(Code::kUnavailable, path_ + ": the server is stopping");
  for (Follower& follower : followers) follower.done(stopping);
  for (WaitingAsk& ask : asks) ask.done(stopping);
}

void ServedDatabase::CloseFiles() {
  {
    std::lock_guard lock(checkpointer_mutex_);
    checkpointer_.reset();
  }
  Lock lock(mutex_);
  stopped_ = true;
  files_.reset();
  if (gated_) UnregisterGate(path_);
  gated_ = false;
}

Status ServedDatabase::Stop() {
  StopWaiting();
  {
    Lock lock(mutex_);
    if (stopped_) return OkStatus();
    Status status = Ready(&lock);
    stopped_ = true;
    if (status.ok() && phase_ != SqlPhase::kNone) {
      status = Status(Code::kBusy, path_ + ": a transaction is open while the server stops");
    }
    if (!status.ok()) {
      lock.unlock();
      CloseFiles();
      return status;
    }
  }
  Status checkpointed = CheckpointBy(SQLITE_CHECKPOINT_TRUNCATE);
  CloseFiles();
  if (!checkpointed.ok()) return checkpointed.While("the WAL stays");
  TURSO_RETURN_IF_ERROR(FaultPoint("stop:checkpointed"));
  // All is in the file, which only another program could change from here on. A power cut must not
  // bring an earlier length of the WAL back, nor an earlier time of the file's last change.
  TURSO_RETURN_IF_ERROR(SyncFile(path_ + "-wal"));
  TURSO_RETURN_IF_ERROR(SyncFile(path_));
  Result<Fingerprint> fingerprint = FingerprintOf(path_);
  if (!fingerprint.ok()) return fingerprint.status();
  // Before the WAL goes: one that is gone without this record was taken away by somebody else.
  Status status = log_->Write({StoppedRecord{history_.counter(), *fingerprint}});
  log_.reset();
  TURSO_RETURN_IF_ERROR(status);
  TURSO_RETURN_IF_ERROR(FaultPoint("stop:ended"));
  TURSO_RETURN_IF_ERROR(EndWal(path_));
  Result<std::optional<uint64_t>> wal_bytes = WalBytesOf(path_);
  if (!wal_bytes.ok()) return wal_bytes.status();
  if (*wal_bytes) {
    return Status(Code::kBusy, path_ + ": another program has it open, so the WAL stays");
  }
  return OkStatus();
}

}  // namespace turso
