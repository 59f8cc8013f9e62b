#include "src/primary/served_database.h"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <ctime>

#include "src/base/log.h"
#include "src/primary/fault_point.h"
#include "src/primary/page_check.h"
#include "src/wal/apply.h"
#include "src/wal/wal_index.h"

namespace turso {

namespace {

// Longer than any sync takes on a disk that still works.
constexpr Duration kCommitDecidedMax = seconds(30);
constexpr Duration kForeignWait = milliseconds(500);
// For WRITE, against a transaction of the server's SQL.
constexpr Duration kWriteWait = seconds(2);
constexpr uint32_t kCheckpointFrames = 1000;
// Beyond this, commits wait for the checkpoint: else a steady stream of them would let the WAL grow
// for ever.
constexpr uint32_t kCheckpointNowFrames = 8000;
constexpr uint64_t kLogBytesMax = uint64_t{16} << 20;
// For tests: a log that counts as long sooner.
constexpr const char* kLogBytesMaxVariable = "TURSO_PRIMARY_TEST_LOG_BYTES_MAX";
constexpr int64_t kRefusedKeptSeconds = int64_t{30} * 24 * 3600;

Status Unavailable(const std::string& path, const std::string& why) {
  return Status(Code::kUnavailable, path + ": " + why);
}

bool SameFrames(const WalIndexHeader& a, const WalIndexHeader& b) {
  if (a.frames == 0 && b.frames == 0) return true;
  return a.frames == b.frames && a.salts == b.salts && a.frame_checksum == b.frame_checksum;
}

uint64_t LogBytesMax() {
  static const char* const given = std::getenv(kLogBytesMaxVariable);
  return given == nullptr ? kLogBytesMax : std::strtoull(given, nullptr, 10);
}

int64_t UnixNow() { return static_cast<int64_t>(time(nullptr)); }

}  // namespace

ServedDatabase::ServedDatabase(std::string path, Alarm* alarm, Alarm* background)
    : path_(std::move(path)), alarm_(alarm), background_(background) {}

// ---- Common ground

Status ServedDatabase::Ready(Lock* lock) {
  bool decided =
      changed_.wait_for(*lock, kCommitDecidedMax, [&] { return phase_ != SqlPhase::kCommitting; });
  if (!failure_.ok()) return failure_;
  if (stopped_) return Unavailable(path_, "the server is stopping");
  if (!decided) return Unavailable(path_, "a commit does not come to its end");
  return NoticeForeignChange(lock, Write::kNotHeld, Instant::Now() + kForeignWait);
}

void ServedDatabase::Fail(const Status& why) {
  if (!failure_.ok()) return;
  failure_ = Unavailable(path_, "out of service: " + why.text());
  Log(LogLevel::kError, failure_.text());
  changed_.notify_all();
  WakeFollowers();
  WakeLeases(Instant{0});
}

bool ServedDatabase::OutOfService() {
  Lock lock(mutex_);
  return !failure_.ok();
}

bool ServedDatabase::LetGo() {
  StopWaiting();
  {
    Lock lock(mutex_);
    assert(!failure_.ok());
    if (phase_ != SqlPhase::kNone) return false;
    log_.reset();
  }
  CloseFiles();
  return true;
}

Result<WalIndexHeader> ServedDatabase::ReadHeader() {
  WalIndex index(files_.get());
  for (int attempt = 0; attempt < 3; attempt++) {
    Result<std::optional<WalIndexHeader>> header = index.ReadHeader();
    if (!header.ok()) return header.status();
    if (*header) return **header;
    TURSO_RETURN_IF_ERROR(ReadByCheckpointer());
  }
  return Unavailable(path_, "its wal-index does not come to rest");
}

bool ServedDatabase::Expected(const WalIndexHeader& header) const {
  return SameFrames(header, head_) || (header.frames == 0 && restart_follows_);
}

Status ServedDatabase::NoticeForeignChange(Lock* lock, Write write, Instant deadline) {
  // Whoever has WRITE and came through the gate has looked already, and keeps all others out.
  if (phase_ != SqlPhase::kNone) return OkStatus();
  for (;;) {
    Result<WalIndexHeader> header = ReadHeader();
    if (!header.ok()) return header.status();
    if (Expected(*header)) return OkStatus();
    Result<bool> locked = true;
    if (write == Write::kNotHeld) locked = files_->TryLock(WalLock::kWrite, 1);
    if (!locked.ok()) return locked.status();
    if (*locked) {
      header = ReadHeader();
      Status status = header.ok() ? OkStatus() : header.status();
      if (status.ok() && !Expected(*header)) status = TakeForeignChange(*header);
      if (write == Write::kNotHeld) files_->Unlock(WalLock::kWrite, 1);
      return status;
    }
    if (Instant::Now() >= deadline) return Unavailable(path_, "another program is writing to it");
    changed_.wait_for(*lock, milliseconds(1));
    if (!failure_.ok()) return failure_;
    if (phase_ != SqlPhase::kNone) return OkStatus();
  }
}

Status ServedDatabase::TakeForeignChange(const WalIndexHeader& header) {
  Log(LogLevel::kWarning, path_ + ": another program has written to it while it is served");
  CommitRecord found;
  found.counter = history_.counter() + 1;
  found.source = CommitSource::kFound;
  found.committed_at = UnixNow();
  found.after = {header.salts, header.frames};
  Result<uint32_t> db_size = SizeAt(header);
  if (!db_size.ok()) return db_size.status();
  found.db_size = *db_size;
  if (head_.frames > 0 && header.salts == head_.salts && header.frames > head_.frames) {
    Result<PageSet> pages =
        CollectFrames(files_.get(), page_size_, {head_.frames}, {header.frames}, found.db_size);
    if (!pages.ok()) return pages.status();
    for (const auto& [page, image] : *pages) found.pages.push_back(page);
  } else {
    found.every_page = true;
  }
  if (header.frames > 0) TURSO_RETURN_IF_ERROR(files_->SyncWal());  // (D1)
  TURSO_RETURN_IF_ERROR(LogCommit(found));
  Publish(found, header);
  return OkStatus();
}

CommitRecord ServedDatabase::NewCommit(CommitSource source, const PageSet& pages,
                                       const FramePlan& frames) const {
  CommitRecord commit;
  commit.counter = history_.counter() + 1;
  commit.source = source;
  commit.committed_at = UnixNow();
  commit.db_size = pages.db_size();
  commit.before = {frames.salts, frames.base.value};
  commit.after = {frames.salts, frames.last.value};
  commit.hash = pages.Hash();
  for (const auto& [page, image] : pages) commit.pages.push_back(page);
  return commit;
}

Status ServedDatabase::LogCommit(const CommitRecord& commit) {
  Status status = log_->Write({commit});
  if (!status.ok() && log_->broken()) Fail(status);
  return status;
}

void ServedDatabase::Publish(const CommitRecord& commit, const WalIndexHeader& header) noexcept {
  const std::string base = history_.head().text();
  AddCommit(commit, &history_);
  MoveFollowers(commit, base);
  if (commit.source == CommitSource::kReplica) {
    history_.NoteCommit(commit.replica,
                        {commit.number, Outcome::kCommitted, commit.counter, commit.committed_at});
  }
  head_ = header;
  point_ = {header.salts, header.frames};
  if (header.frames == 0) point_ = {};
  restart_follows_ = false;
  encoded_.clear();
  CompactIfLong();
  changed_.notify_all();
  WakeFollowers();
}

SnapshotRecord ServedDatabase::Snapshot() const {
  return {history_.state(), point_, restart_follows_, started_at_};
}

void ServedDatabase::CompactIfLong() {
  if (log_->size() < std::max(LogBytesMax(), 2 * log_->size_at_compaction())) return;
  Status status = Compact();
  if (!status.ok()) Log(LogLevel::kWarning, "compacting: " + status.text());
}

Status ServedDatabase::Compact() {
  history_.ForgetRefused(UnixNow() - kRefusedKeptSeconds);
  Status status = log_->Compact(Snapshot());
  if (!status.ok() && log_->broken()) Fail(status);
  return status;
}

Status ServedDatabase::CompactLog() {
  Lock lock(mutex_);
  TURSO_RETURN_IF_ERROR(Ready(&lock));
  return Compact();
}

Status ServedDatabase::NoteRestart() {
  if (restart_follows_) return OkStatus();
  Status status = log_->Write({ResolvedRecord{history_.counter(), point_, true}});
  if (!status.ok() && log_->broken()) Fail(status);
  if (status.ok()) restart_follows_ = true;
  return status;
}

// ---- Page commits

std::optional<Result<Committed>> ServedDatabase::AnsweredBefore(const PageCommit& commit) const {
  const LatestCommit* latest = history_.FindCommit(commit.replica);
  if (latest == nullptr || commit.number > latest->number) return std::nullopt;
  // Two copies of one replica: what became of this commit may have been forgotten for the other's.
  if (commit.number < latest->number) {
    return Result<Committed>(Status(
        Code::kInvalid, "commit " + std::to_string(commit.number) +
                            " comes after a later one of the same replica, " +
                            std::to_string(latest->number) +
                            ": it is a copy or was restored, and needs an identity of its own"));
  }
  if (latest->outcome == Outcome::kLost) {
    return Result<Committed>(
        Status(Code::kOutcomeUnknown, "what became of this commit is not known here"));
  }
  if (latest->outcome == Outcome::kCommitted) {
    return Result<Committed>(Committed{history_.RevisionAt(latest->counter), false});
  }
  return Result<Committed>(Status(Code::kConflict, "this commit was refused before"));
}

bool ServedDatabase::BaseIsNewest(const PageCommit& commit) const {
  std::optional<RevisionId> base = RevisionId::Parse(commit.base);
  return base && history_.Find(*base) == history_.counter();
}

// (D2) For good. A base that is not the newest never is again, so the log may learn of it later;
// what would be taken when it comes once more must be on disk.
Status ServedDatabase::Refuse(const PageCommit& commit, const Status& why) {
  const int64_t now = UnixNow();
  history_.NoteCommit(commit.replica, {commit.number, Outcome::kRefused, history_.counter(), now});
  log_->Add(RefusedRecord{commit.replica, commit.number, now});
  if (why.code() == Code::kConflict) counts_.conflicts++;
  // Behind a commit of SQL that is under way, the record would say that it has happened (CL2).
  if (BaseIsNewest(commit) && phase_ != SqlPhase::kCommitting) {
    Status noted = log_->Write();
    if (!noted.ok() && log_->broken()) Fail(noted);
    if (!noted.ok() && why.code() == Code::kConflict)
      return Status(Code::kOutcomeUnknown, noted.text());
  }
  return why;
}

Result<Committed> ServedDatabase::Commit(const PageCommit& commit) {
  Lock lock(mutex_);
  const Status ready = Ready(&lock);
  if (std::optional<Result<Committed>> before = AnsweredBefore(commit)) return *before;
  Result<Committed> committed = ready.ok() ? TryCommit(&lock, commit) : ready;
  if (committed.ok() || committed.status().code() == Code::kOutcomeUnknown) return committed;
  // Nothing can be noted any more that would keep it out when it comes once more.
  if (!failure_.ok() || stopped_) return Status(Code::kOutcomeUnknown, committed.status().text());
  // While it waited, the same request may have come a second time and been answered.
  if (std::optional<Result<Committed>> before = AnsweredBefore(commit)) return *before;
  return Refuse(commit, committed.status());
}

Result<Committed> ServedDatabase::TryCommit(Lock* lock, const PageCommit& commit) {
  if (!BaseIsNewest(commit)) {
    return Status(Code::kConflict, "the primary is at " + history_.head().text() +
                                       ", the commit is based on " + commit.base);
  }
  // Safe to take; but who has a lease relies on being the only one who moves the revision.
  if (leases_.HeldByOther(commit.replica, commit.fence, Instant::Now()))
    return Status(Code::kConflict, "somebody else has the lease");
  TURSO_RETURN_IF_ERROR(TakeWrite(lock, commit));
  // While it waited, the same request may have come a second time and been answered.
  std::optional<Result<Committed>> before = AnsweredBefore(commit);
  Status status = before ? OkStatus() : CheckAndWrite(commit);
  if (!lent_) files_->Unlock(WalLock::kWrite, 1);
  if (before) return *before;
  if (status.code() == Code::kBusy) {
    status = ReadByCheckpointer();
    if (status.ok())
      status = Status(Code::kUnavailable, path_ + ": its wal-index is being recovered");
  }
  if (!status.ok()) return status;
  counts_.page_commits++;
  Committed committed{history_.head(),
                      leases_.Committed(commit.replica, commit.fence, Instant::Now())};
  if (committed.lease_ended) {
    changed_.notify_all();
    WakeLeases(Instant{0});
  }
  CheckpointIfLong(head_);
  return committed;
}

Status ServedDatabase::TakeWrite(Lock* lock, const PageCommit& commit) {
  const Instant deadline = Instant::Now() + kWriteWait;
  for (;;) {
    if (phase_ == SqlPhase::kNone && lent_) return OkStatus();
    Result<bool> locked = files_->TryLock(WalLock::kWrite, 1);
    if (!locked.ok()) return locked.status();
    if (*locked) return OkStatus();
    // One that commits is about to move the base.
    if (Instant::Now() >= deadline && phase_ != SqlPhase::kCommitting) {
      return Status(Code::kConflict, "an SQL transaction of the server itself is under way");
    }
    if (Instant::Now() >= deadline + kCommitDecidedMax)
      return Unavailable(path_, "a commit does not come to its end");
    TURSO_RETURN_IF_ERROR(FaultPoint("commit:waits"));
    // Who has WRITE may be a connection on its way into Enter, which wants mutex_.
    changed_.wait_for(*lock, milliseconds(1));
    if (!failure_.ok()) return failure_;
    if (stopped_) return Unavailable(path_, "the server is stopping");
    if (!BaseIsNewest(commit))
      return Status(Code::kConflict, "the primary has moved on to " + history_.head().text());
  }
}

Status ServedDatabase::CheckAndWrite(const PageCommit& commit) {
  Result<WalIndexHeader> header = ReadHeader();
  if (!header.ok()) return header.status();
  if (!Expected(*header)) TURSO_RETURN_IF_ERROR(TakeForeignChange(*header));
  if (!BaseIsNewest(commit))
    return Status(Code::kConflict, "the primary has moved on to " + history_.head().text());
  Bytes page1(page_size_);
  TURSO_RETURN_IF_ERROR(ReadImage({1}, page1));
  TURSO_RETURN_IF_ERROR(CheckPages(commit.pages, page1, history_.db_size()));
  return WritePages(commit);
}

Status ServedDatabase::WritePages(const PageCommit& commit) {
  std::optional<CommitRecord> logged;
  ApplyOptions options;
  options.sync = Sync::kYes;
  options.before_restart = [&](const WalIndexHeader&) { return NoteRestart(); };
  options.before_frames = [&](const FramePlan& frames) {
    CommitRecord record = NewCommit(CommitSource::kReplica, commit.pages, frames);
    record.replica = commit.replica;
    record.number = commit.number;
    Status status = LogCommit(record);
    if (!status.ok()) {
      // Written and not synced: it may be found at the next start. Cut off again: it never was.
      return log_->broken() ? Lose(status) : status;
    }
    logged = std::move(record);
    return FaultPoint("commit:logged");
  };
  Result<WalIndexHeader> header = Apply(files_.get(), commit.pages, options);
  if (!header.ok()) {
    return logged ? Lose(header.status()) : header.status();
  }
  if (Status status = FaultPoint("commit:written"); !status.ok()) return Lose(status);
  Publish(*logged, *header);
  return OkStatus();
}

// (D4) The next start will tell.
Status ServedDatabase::Lose(const Status& why) {
  Fail(why);
  return Status(Code::kOutcomeUnknown, why.text());
}

Result<Settled> ServedDatabase::Settle(const ReplicaId& replica, uint64_t number) {
  Lock lock(mutex_);
  TURSO_RETURN_IF_ERROR(Ready(&lock));
  const LatestCommit* latest = history_.FindCommit(replica);
  Settled settled;
  if (latest == nullptr || number > latest->number) {
    history_.NoteCommit(replica, {number, Outcome::kRefused, history_.counter(), UnixNow()});
    log_->Add(RefusedRecord{replica, number, UnixNow()});
  } else if (number < latest->number) {
    // Two copies of one replica; see AnsweredBefore.
    settled.outcome = Outcome::kLost;
  } else if (latest->outcome == Outcome::kCommitted) {
    return Settled{Outcome::kCommitted, history_.RevisionAt(latest->counter)};
  } else {
    settled.outcome = latest->outcome;
  }
  // On disk before anybody relies on it.
  Status status = log_->Write();
  if (!status.ok()) {
    if (log_->broken()) Fail(status);
    return Unavailable(path_, status.text());
  }
  return settled;
}

// ---- Leases

Result<Duration> ServedDatabase::RenewLease(const ReplicaId& holder, uint64_t fence) {
  Lock lock(mutex_);
  std::optional<Duration> lifetime = leases_.Renew(holder, fence, Instant::Now());
  if (!lifetime) return Status(Code::kConflict, "the lease is lost");
  return *lifetime;
}

void ServedDatabase::ReleaseLease(const ReplicaId& holder, uint64_t fence) {
  Lock lock(mutex_);
  leases_.Release(holder, fence, Instant::Now());
  changed_.notify_all();
  WakeLeases(Instant{0});
}

// ---- Checkpoints

void ServedDatabase::CheckpointIfLong(const WalIndexHeader& header) {
  if (header.frames < kCheckpointFrames) return;
  if (header.frames >= kCheckpointNowFrames) return Checkpoint();
  if (checkpoint_coming_) return;
  checkpoint_coming_ = true;
  background_->Soon([weak = weak_from_this()] {
    std::shared_ptr<ServedDatabase> self = weak.lock();
    if (!self) return;
    {
      Lock lock(self->mutex_);
      self->checkpoint_coming_ = false;
      if (self->stopped_ || !self->failure_.ok()) return;
    }
    self->Checkpoint();
  });
}

// PASSIVE only: the others hold WRITE while they wait for readers.
void ServedDatabase::Checkpoint() {
  if (Status status = CheckpointBy(SQLITE_CHECKPOINT_PASSIVE);
      !status.ok() && status.code() != Code::kBusy) {
    Log(LogLevel::kWarning, status.text());
  }
}

// A file that could not be opened for writing for a moment is read by SQLite for the life of the
// connection: such a one is replaced.
Status ServedDatabase::CheckpointBy(int mode) {
  for (bool is_new = false;; is_new = true) {
    Status status = ReadByCheckpointer();
    std::lock_guard lock(checkpointer_mutex_);
    if (!checkpointer_) return Unavailable(path_, "closed");
    if (status.ok()) {
      int code = sqlite3_wal_checkpoint_v2(checkpointer_.get(), "main", mode, nullptr, nullptr);
      if (code == SQLITE_OK) return OkStatus();
      status = Status(code == SQLITE_BUSY ? Code::kBusy : Code::kIo,
                      "checkpointing " + path_ + ": " + sqlite3_errmsg(checkpointer_.get()));
    }
    if (status.code() == Code::kBusy || is_new) return status;
    Result<SqlConnection> fresh = OpenConnection(SqlAccess::kWrite);
    if (!fresh.ok()) return status;
    checkpointer_ = std::move(*fresh);
  }
}

DatabaseCounts ServedDatabase::counts() {
  Lock lock(mutex_);
  DatabaseCounts counts = counts_;
  counts.waiting = followers_.size();
  counts.sql_waits = lent_;
  counts.counter = history_.counter();
  counts.db_size = history_.db_size();
  return counts;
}

}  // namespace turso
