// The server's own SQL connections: writers like any replica, whose transactions pass here instead
// of the network.

#include <cstring>
#include <new>

#include "src/base/log.h"
#include "src/primary/fault_point.h"
#include "src/primary/served_database.h"

namespace turso {

namespace {

// Longer waits are the busy handler's: it gives WRITE back between its attempts.
constexpr Duration kLeaseWait = milliseconds(250);
constexpr Duration kInterruptedEvery = milliseconds(10);

// One per connection, for as long as it is open. Replicas' ids are random, so none is like these.
ReplicaId HolderOf(const WalFiles* files) {
  ReplicaId holder{'s', 'q', 'l'};
  std::memcpy(&holder[8], &files, sizeof files);
  return holder;
}

}  // namespace

Status ServedDatabase::Enter(WalFiles* files, HasRead, const Interrupted& interrupted) {
  Lock lock(mutex_);
  const ReplicaId holder = HolderOf(files);
  const Instant deadline = Instant::Now() + kLeaseWait;
  std::optional<uint64_t> fence;
  for (;;) {
    if (!failure_.ok()) return failure_;
    if (stopped_) return Status(Code::kUnavailable, path_ + ": the server is stopping");
    fence = leases_.Ask(holder, Tenure::kUntilReleased, Instant::Now());
    if (fence) break;
    if (Instant::Now() >= deadline) return Status(Code::kBusy, "a replica has the lease");
    lent_ = true;
    changed_.notify_all();
    changed_.wait_for(lock, kInterruptedEvery);
    lent_ = false;
    if (interrupted && interrupted()) {
      leases_.Forget(holder);
      return Status(Code::kInterrupted, "interrupted while waiting for the lease");
    }
  }
  Status status;
  try {
    status = NoticeForeignChange(&lock, Write::kHeld, Instant::Now());
  } catch (const std::bad_alloc&) {
    status = Status(Code::kNoMemory, "");
  }
  if (!status.ok()) {
    leases_.Release(holder, *fence, Instant::Now());
    if (status.code() == Code::kNoMemory) return status;
    return Status(Code::kUnavailable, status.text());
  }
  sql_holder_ = holder;
  sql_fence_ = *fence;
  phase_ = SqlPhase::kEntered;
  return OkStatus();
}

Status ServedDatabase::Commit(WalFiles* /*files*/, const PageSet& pages, const FramePlan& frames,
                              const Interrupted& /*interrupted*/) {
  Lock lock(mutex_);
  if (!failure_.ok()) return failure_;
  if (phase_ != SqlPhase::kEntered)
    return Status(Code::kConflict, path_ + ": a commit without a lease");
  CommitRecord commit = NewCommit(CommitSource::kSql, pages, frames);
  Status status = LogCommit(commit);
  if (!status.ok()) return Status(log_->broken() ? Code::kIo : status.code(), status.text());
  sql_commit_ = std::move(commit);
  phase_ = SqlPhase::kCommitting;
  return FaultPoint("sql:logged");
}

void ServedDatabase::Leave(WalFiles* /*files*/) noexcept {
  Lock lock(mutex_);
  if (phase_ == SqlPhase::kNone) return;
  if (phase_ == SqlPhase::kCommitting) {
    (void)FaultPoint("sql:written");
    Result<WalIndexHeader> header = ReadHeader();
    const WalPoint& after = sql_commit_.after;
    if (header.ok() && header->salts == after.salts && header->frames >= after.frames) {
      Publish(sql_commit_, *header);
      counts_.sql_commits++;
    } else {
      // Its header may be in the file without being counted, and come to life in a recovery.
      Fail(header.ok() ? Status(Code::kIo, "SQLite could not finish a commit that was logged")
                       : header.status());
    }
  }
  phase_ = SqlPhase::kNone;
  leases_.Release(sql_holder_, sql_fence_, Instant::Now());
  changed_.notify_all();
  WakeLeases(Instant{0});
}

Status ServedDatabase::BeforeRestart(WalFiles* /*files*/) {
  Lock lock(mutex_);
  if (!failure_.ok()) return failure_;
  // A state that the log does not have must be seen before it goes.
  TURSO_RETURN_IF_ERROR(NoticeForeignChange(&lock, Write::kHeld, Instant::Now()));
  return NoteRestart();
}

}  // namespace turso
