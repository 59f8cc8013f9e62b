// A write transaction, between SQLite's WRITE lock and its release.

#include <thread>

#include "src/base/log.h"
#include "src/replica/content.h"
#include "src/replica/replica_impl.h"

namespace turso {

namespace {

// More than this of catching up is for the background, if somebody is there: the application gets
// its lock back meanwhile.
constexpr Duration kCatchUpMax = seconds(1);
// A lease rests 100 ms between the transactions of another replica, and has to come back from
// there.
constexpr Duration kHoldAfterReading = milliseconds(250);

}  // namespace

Status ReplicaImpl::Enter(WalFiles* files, HasRead has_read, const Interrupted& interrupted) {
  if (abandoned_)
    return Status(Code::kInvalid, path_ + ": the replica was open at a fork(); it is the parent's");
  write_ = Write{};
  Status entered = CheckPlaces(files);
  if (entered.ok()) entered = CatchUp(files, has_read, &write_, interrupted);
  if (!entered.ok()) {
    if (entered.code() != Code::kBusy) Note(entered);
    if (write_.fence != 0) GiveLeaseBack();
    return entered;
  }
  std::lock_guard lock(mutex_);
  writing_ = true;
  return OkStatus();
}

Status ReplicaImpl::CatchUp(WalFiles* files, HasRead has_read, Write* write,
                            const Interrupted& interrupted) {
  std::lock_guard lock(caller_mutex_);
  const Call call = CallWith(interrupted);
  Result<SidecarRecord> record = Stand(files, caller_.get(), call);
  if (!record.ok()) return record.status();
  write->record = *std::move(record);
  SetIdentity(write->record.replica_id);  // Another process may have taken a new one.
  if (caller_->SharesLeases() && TakeIdleLease(&write->fence)) return OkStatus();

  const bool has_background = options_.sync != SyncMode::kOff;
  PageCollector news(has_background ? std::optional(Instant::Now() + kCatchUpMax) : std::nullopt);
  const Instant asked = Instant::Now();
  const SidecarRecord& standing = write->record;
  // (CV2) Who has read would be refused for pages that say the same.
  Result<uint32_t> ours = ProvisionalFrames(files, standing);
  if (!ours.ok()) return ours.status();
  const bool stays = *ours < (has_read == HasRead::kYes ? kProvisionalMax : kProvisionalLong);
  LeaseRequest request{standing.replica_id, standing.origin()};
  if (standing.provisional() && stays) request.current = standing.current;
  if (has_read == HasRead::kYes) request.hold = kHoldAfterReading;
  Result<LeaseAnswer> lease = caller_->AcquireLease(request, &news, call);
  if (!lease.ok())
    return lease.status().While("asking " + options_.url + " for the right to write");
  NoteReached();
  HoldLease(*lease, asked);
  write->fence = lease->fence;
  if (lease->revision == standing.current) {
    NoteCurrent(asked);
    return OkStatus();
  }
  Revision reached = lease->revision;
  if (!lease->pages_sent && !(reached == standing.origin())) {
    Result<Revision> pulled = caller_->Pull(standing.origin(), Duration{}, &news, call);
    if (!pulled.ok()) return CatchUpOtherwise(files, pulled.status(), write, call);
    reached = *pulled;
  }
  if (stays && has_read == HasRead::kYes && ShowsTheSame(caller_.get(), standing, reached, call)) {
    NoteCurrent(asked);
    return OkStatus();
  }
  TURSO_RETURN_IF_ERROR(Advance(files, &news.pages(), reached, &write->record));
  NoteCurrent(asked);
  return OkStatus();
}

// When the pages did not come within the time that a write may take, or there is no way from our
// revision to theirs.
Status ReplicaImpl::CatchUpOtherwise(WalFiles* files, const Status& why, Write* write,
                                     const Call& call) {
  if (why.code() == Code::kConflict) {
    Result<WalIndexHeader> header = Header(files);
    if (!header.ok()) return header.status();
    return Repair(files, *header, Doubt{.went_back = true}, &write->record, caller_.get(), call);
  }
  if (why.code() == Code::kBusy) {
    std::lock_guard told(mutex_);
    pull_wanted_ = true;
    changed_.notify_all();
  }
  return why;
}

Status ReplicaImpl::Commit(WalFiles* files, const PageSet& pages, const FramePlan& frames,
                           const Interrupted& interrupted) {
  Write& write = write_;
  SidecarRecord& record = write.record;
  Result<uint64_t> digest = ContentAfter(files, record, pages);
  if (!digest.ok()) return digest.status();
  Result<uint64_t> next = NextCommitNumber(record.last_commit_number);
  if (next.status().code() == Code::kFull) {
    TURSO_RETURN_IF_ERROR(TakeNewIdentity(&record, "its commits are numbered to the end"));
    next = NextCommitNumber(record.last_commit_number);
  }
  if (!next.ok()) return next.status();
  const uint64_t number = *next;
  record.last_commit_number = number;
  record.intent = {IntentKind::kCommit, frames, pages.Hash(), {}, record.current, number, *digest};
  TURSO_RETURN_IF_ERROR(sidecar_->Write(&record, turso::Sync::kYes));  // (S4)

  write.frames = frames;
  Status sent = caller_->TakesPages() ? OkStatus() : WaitForCheckpoint(files);
  if (sent.ok()) sent = Send(files, pages, &write, number, interrupted);
  if (sent.ok()) {
    record.intent.kind = IntentKind::kCommitted;
    sidecar_->Remember(WalPosition{frames.salts, frames.last.value, {}}, record.intent.target);
    // Lost to a power cut it is settled again; lost to a full disk it must not make the commit look
    // refused.
    if (Status noted = sidecar_->Write(&record, turso::Sync::kNo); !noted.ok()) Note(noted);
    write.committed = true;
    return OkStatus();
  }
  Note(sent);
  GiveLeaseBack();
  write.fence = 0;
  if (sent.code() == Code::kOutcomeUnknown) {
    sidecar_->shared().unsettled.store(number);
    return sent;
  }
  record.intent = Intent{};
  Status noted = write.outnumbered
                     ? TakeNewIdentity(&record, "another replica commits under its identity")
                     : sidecar_->Write(&record, turso::Sync::kNo);
  if (!noted.ok()) Note(noted);
  std::lock_guard lock(mutex_);
  if (sent.code() == Code::kConflict) counters_.conflicts++;
  pull_wanted_ = true;
  changed_.notify_all();
  return sent;
}

Status ReplicaImpl::Send(WalFiles* files, const PageSet& pages, Write* write, uint64_t number,
                         const Interrupted& interrupted) {
  const SidecarRecord& record = write->record;
  const Instant deadline = Instant::Now() + options_.timeout;
  Result<WalIndexHeader> header = Header(files);
  if (header.ok()) header = WholeHeader(files, *header, record.page_size);
  if (!header.ok()) return header.status();
  BasePages before(files, *header);
  const Transaction transaction{{record.replica_id, number},
                                record.current,
                                write->fence,
                                &pages,
                                record.origin(),
                                &before,
                                header->db_size,
                                host_->scratch()};
  std::lock_guard lock(caller_mutex_);
  const Instant asked = Instant::Now();
  Result<CommitAnswer> answer = caller_->Commit(transaction, CallWith(interrupted));
  if (answer.ok()) {
    NoteReached();
    write->record.intent.target = answer->revision;
    if (answer->lease_ended) {
      write->fence = 0;
      DropLease();
    }
    NoteCurrent(asked);
    return OkStatus();
  }
  const Status& failure = answer.status();
  // kInvalid: the request may have been garbled on its way, or our number be behind the latest.
  if (failure.code() == Code::kOutcomeUnknown || failure.code() == Code::kCorrupt ||
      failure.code() == Code::kInvalid) {
    return SettleSent(write, deadline, failure, interrupted);
  }
  return failure.While("committing to " + options_.url);
}

// No answer came: ask what became of it, which also keeps it from happening later.
Status ReplicaImpl::SettleSent(Write* write, Instant deadline, const Status& why,
                               const Interrupted& interrupted) {
  const CommitId id{write->record.replica_id, write->record.last_commit_number};
  const std::string doing = "committing to " + options_.url + ": ";
  Duration pause = milliseconds(20);
  std::string asked;
  for (;;) {
    const Duration left = deadline - Instant::Now();
    if (left < milliseconds(1) || (interrupted && interrupted())) break;
    Call call = CallWith(interrupted);
    call.timeout = std::min(call.timeout, left);
    Result<SettleAnswer> answer = caller_->Settle(id, call);
    if (answer.ok()) {
      NoteReached();
      if (answer->outcome == SettleOutcome::kCommitted) {
        write->record.intent.target = answer->revision;
        return OkStatus();
      }
      const bool invalid = why.code() == Code::kInvalid;
      if (answer->outcome == SettleOutcome::kUnknown && !invalid) break;
      if (answer->outcome == SettleOutcome::kUnknown) {
        write->outnumbered = true;
        return Status(Code::kConflict, doing +
                                           "another replica has committed under the identity "
                                           "of " +
                                           path_ + ", which gets one of its own: try again");
      }
      if (invalid) return Status(why.code(), doing + why.text());
      return Status(Code::kConflict,
                    doing + "the answer was lost (" + why.text() +
                        "), and the primary now says that it did not commit: try again");
    }
    asked = "; asked what became of it: " + answer.status().text();
    std::this_thread::sleep_for(std::min(pause, std::max(left, Duration{})));
    pause = std::min<Duration>(pause * 2, milliseconds(500));
  }
  return Status(Code::kOutcomeUnknown, doing + "the outcome is unknown, since no answer came (" +
                                           why.text() + asked +
                                           "); the next write asks the primary first");
}

void ReplicaImpl::Leave(WalFiles* files) {
  Write& write = write_;
  bool published = false;
  if (write.committed) {
    Result<WalIndexHeader> header = Header(files);
    published = header.ok() && header->salts == write.frames.salts &&
                header->frames == write.frames.last.value;
    if (published) {
      SidecarRecord& record = write.record;
      NotePublished(*header, record.intent.target, &record);
      record.intent = Intent{};
      if (Status noted = sidecar_->Write(&record, turso::Sync::kNo); !noted.ok()) Note(noted);
    } else {
      Note(Status(Code::kOutcomeUnknown,
                  path_ + ": the primary has the transaction, but it could not be finished "
                          "locally; the next write or pull brings it"));
      GiveLeaseBack();
      write.fence = 0;
    }
  }
  // Kept a moment for the next transaction; a lock that nothing was written under is given back at
  // once.
  constexpr Duration kLinger = milliseconds(100);
  // What rests at a primary whose leases are not shared holds nobody up.
  constexpr Duration kLongLinger = seconds(1);
  const Duration linger = caller_->SharesLeases() ? kLinger : kLongLinger;
  if (write.fence != 0) RestLease(write.committed ? linger : milliseconds(20));
  std::lock_guard lock(mutex_);
  writing_ = false;
  if (published) counters_.commits++;
  pull_wanted_ = pull_wanted_ || write.record.provisional();
  changed_.notify_all();
}

}  // namespace turso
