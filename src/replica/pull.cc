// Pages from the primary: on demand, on an interval, and by following it.

#include <algorithm>
#include <utility>

#include "src/base/fork_gate.h"
#include "src/base/log.h"
#include "src/replica/replica_impl.h"
#include "src/wal/held_lock.h"

namespace turso {

namespace {

constexpr Duration kFollowWait =
    milliseconds(900);  // A follower hears from the primary at least once a second.
constexpr Duration kElection =
    milliseconds(250);  // How often those who do not pull ask whether they should.
constexpr Duration kRetryMin = milliseconds(100);
constexpr Duration kRetryMax = seconds(2);
constexpr Duration kLockPatience = seconds(2);
// As often the primary is asked while its pages wait for readers.
constexpr Duration kUnreadWait = milliseconds(200);
constexpr uint32_t kLongLog = 1000;  // Frames; as SQLite's own wal_autocheckpoint.

// For WRITE: whoever asks with a deadline does not wait past it for a transaction of this replica.
Duration PatienceOf(const Call& call) { return std::min(kLockPatience, call.timeout); }

}  // namespace

Status PageCollector::Size(uint32_t page_size, uint32_t db_size) {
  if (pages_.page_size() == 0) {
    pages_ = PageSet(page_size);
  } else if (pages_.page_size() != page_size) {
    return Status(Code::kCorrupt, "the page size changed during a pull");
  }
  pages_.set_db_size(db_size);
  return OkStatus();
}

Status PageCollector::Page(PageNo page, ByteView image) {
  if (image.size() != pages_.page_size()) return Status(Code::kCorrupt, "a page of another size");
  if (deadline_.has_value() && Instant::Now() > *deadline_) {
    return Status(Code::kBusy, "there is more to catch up with than a write should wait for");
  }
  pages_.Put(page, image.data());
  return OkStatus();
}

// With apply_mutex_ held. Whoever opens the database or its wal-index first, or closes it last, has
// it locked for a moment: that is kBusy like WRITE held by another.
Result<ReplicaImpl::WriteLock> ReplicaImpl::LookAtWriteLock() {
  const auto busy = [](const Status& status) -> Result<WriteLock> {
    if (status.code() == Code::kBusy) return WriteLock::kBusy;
    return status;
  };
  if (apply_files_ == nullptr) {
    Result<std::unique_ptr<WalFiles>> files = host_->OpenFiles();
    if (!files.ok()) return busy(files.status());
    apply_files_ = *std::move(files);
  }
  TURSO_RETURN_IF_ERROR(CheckPlaces(apply_files_.get()));
  Result<std::optional<WalIndexHeader>> header = WalIndex(apply_files_.get()).ReadHeader();
  if (!header.ok()) return busy(header.status().While("reading the wal-index of " + path_));
  if (!header->has_value()) return WriteLock::kMustRecover;
  return WriteLock::kFree;
}

Status ReplicaImpl::WithWriteLock(Duration patience, const std::function<Status(WalFiles*)>& body) {
  const Instant deadline = Instant::Now() + patience;
  Duration pause = std::chrono::microseconds(200);
  bool recovered = false;
  for (;;) {
    bool must_recover = false;
    {
      // Whoever has it may be waiting for the primary.
      std::unique_lock lock(apply_mutex_, std::try_to_lock);
      Result<WriteLock> state = lock.owns_lock() ? LookAtWriteLock() : WriteLock::kBusy;
      if (!state.ok()) return state.status();
      if (*state == WriteLock::kFree) {
        HeldLock write(apply_files_.get(), WalLock::kWrite, 1);
        Result<bool> locked = write.Try();
        if (!locked.ok()) return locked.status();
        if (*locked) return body(apply_files_.get());
      }
      must_recover = *state == WriteLock::kMustRecover;
    }
    if (must_recover) {
      Status read = host_->RecoverBySqlite();
      if (!read.ok() && (recovered || read.code() != Code::kBusy)) return read;
      recovered = true;
    }
    if (Instant::Now() > deadline || Stopping()) {
      return Status(Code::kBusy, path_ + ": a write transaction is open on this replica");
    }
    ForkGate::Away away;
    std::this_thread::sleep_for(pause);
    pause = std::min<Duration>(pause * 2, milliseconds(10));
  }
}

Status ReplicaImpl::LookAtFiles(const Look& look) {
  for (int turn = 0;; turn++) {
    {
      std::lock_guard lock(files_mutex_);
      if (own_files_ == nullptr) {
        // turso_status asks replicas that another thread may be closing.
        if (Stopping()) return Status(Code::kIo, path_ + " is being closed");
        Result<std::unique_ptr<WalFiles>> files = host_->OpenFiles();
        if (!files.ok() && (files.status().code() != Code::kBusy || turn == 3))
          return files.status();
        if (files.ok()) own_files_ = *std::move(files);
      }
      if (own_files_ != nullptr) {
        Result<WalIndexHeader> header = Header(own_files_.get());
        if (header.ok()) return look(own_files_.get(), *header);
        if (header.status().code() != Code::kBusy || turn == 3) return header.status();
      }
    }
    TURSO_RETURN_IF_ERROR(host_->RecoverBySqlite());
  }
}

Result<WalIndexHeader> ReplicaImpl::OwnHeader() {
  WalIndexHeader found;
  TURSO_RETURN_IF_ERROR(LookAtFiles([&](WalFiles*, const WalIndexHeader& header) {
    found = header;
    return OkStatus();
  }));
  return found;
}

// Where to pull from. Usually the record says; if the log is in another state, that is cleared up
// under WRITE.
Result<ReplicaImpl::Stance> ReplicaImpl::KnownStance(Remote* remote, const Call& call) {
  std::optional<Stance> known;
  TURSO_RETURN_IF_ERROR(LookAtFiles([&](WalFiles* files, const WalIndexHeader& header) {
    Result<SidecarRecord> record = sidecar_->Read();
    if (!record.ok()) return record.status();
    if (record->intent.kind != IntentKind::kNone || !IsAsRecorded(*record, header.position()))
      return OkStatus();
    Result<bool> untouched = IsFileUntouched(files);
    if (!untouched.ok()) return untouched.status();
    if (*untouched) known = Stance{record->current, record->origin()};
    return OkStatus();
  }));
  if (known.has_value()) return *known;
  Stance stance;
  TURSO_RETURN_IF_ERROR(WithWriteLock(PatienceOf(call), [&](WalFiles* files) {
    Result<SidecarRecord> standing = Stand(files, remote, call);
    if (!standing.ok()) return standing.status();
    stance = {standing->current, standing->origin()};
    return OkStatus();
  }));
  return stance;
}

Result<bool> ReplicaImpl::ApplyPulled(Pulled* pulled, const Revision& since, Manner manner,
                                      Duration patience) {
  bool applied = true, has_lock = false;
  const bool waits = manner == Manner::kWhenUnread;
  Status done = WithWriteLock(patience, [&](WalFiles* files) {
    has_lock = true;
    Result<WalIndexHeader> header = Header(files);
    if (!header.ok()) return header.status();
    Result<std::optional<SidecarRecord>> record = StandAlone(files, *header);
    if (!record.ok()) return record.status();
    // (R4) Somebody else was faster, or something is to be settled first.
    if (!record->has_value() || !((*record)->current == since)) {
      return Status(Code::kBusy, path_ + ": the replica moved during a pull");
    }
    PageSet* pages = &pulled->news.pages();
    if (!waits) return Advance(files, pages, pulled->reached, &**record);
    Result<bool> converged = ConvergeUnread(files, pages, pulled->reached, &**record);
    if (converged.ok()) applied = *converged;
    return converged.status();
  });
  // Nothing is missing here as long as others write.
  if (manner != Manner::kAtOnce && !has_lock && done.code() == Code::kBusy) return false;
  if (!done.ok()) return done;
  return applied;
}

// Waits a little for a moment without readers. (CV2)
Result<bool> ReplicaImpl::ApplyWhenUnread(Pulled* pulled, const Revision& since,
                                          Duration patience) {
  const Instant end = Instant::Now() + kUnreadWait;
  Duration pause = milliseconds(1);
  for (;;) {
    Result<bool> applied = ApplyPulled(pulled, since, Manner::kWhenUnread, patience);
    if (!applied.ok() || *applied || Instant::Now() >= end || Stopping()) return applied;
    ForkGate::Away away;
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, pause, [&] { return Stopping() || pull_wanted_; })) {
      pull_wanted_ = false;
      return false;
    }
    pause = std::min<Duration>(pause * 2, milliseconds(10));
  }
}

Result<bool> ReplicaImpl::ApplyInManner(Remote* remote, Pulled* pulled, const Revision& since,
                                        const Call& call, Manner manner) {
  Result<Order> order = remote->Compare(pulled->reached, since, call);
  // Others have written: readers are stale in any case.
  if (!order.ok() || *order != Order::kEqual) manner = Manner::kAtOnce;
  Duration patience = PatienceOf(call);
  {
    // Whoever asks may be the one that writes.
    std::lock_guard lock(mutex_);
    if (writing_ && manner != Manner::kAtOnce) patience = milliseconds(1);
  }
  return manner == Manner::kAwaitUnread ? ApplyWhenUnread(pulled, since, patience)
                                        : ApplyPulled(pulled, since, manner, patience);
}

// A pull that brought nothing but our own commit. It is not ours yet if its answer was lost or its
// process died, and never if a copy of this replica has our identity.
Status ReplicaImpl::CheckIsOurs(const Revision& reached) {
  Result<SidecarRecord> record = sidecar_->Read();
  if (!record.ok()) return record.status();
  const bool coming =
      record->intent.kind == IntentKind::kCommitted && record->intent.target == reached;
  if (!coming && !(record->current == reached))
    return Status(Code::kBusy, path_ + ": the replica is not where its primary takes it to be");
  return OkStatus();
}

// The primary does not know our revision: it is another history. Compare page by page.
Result<Revision> ReplicaImpl::PullAnew(Remote* remote, const Revision& current, const Call& call) {
  Revision reached;
  TURSO_RETURN_IF_ERROR(WithWriteLock(PatienceOf(call), [&](WalFiles* files) {
    Result<WalIndexHeader> header = Header(files);
    if (!header.ok()) return header.status();
    Result<SidecarRecord> record = Stand(files, remote, call);
    if (!record.ok()) return record.status();
    Status repaired = OkStatus();
    if (record->current == current)
      repaired = Repair(files, *header, Doubt{.went_back = true}, &*record, remote, call);
    reached = record->current;
    return repaired;
  }));
  return reached;
}

Result<Revision> ReplicaImpl::PullAndApply(Remote* remote, Duration wait, const Call& call,
                                           Manner manner, Pulled* pulled) {
  Result<Stance> stance = KnownStance(remote, call);
  if (!stance.ok()) return stance.status();
  Revision current = stance->current;
  const bool provisional = !(current == stance->origin);
  Pulled begun = std::exchange(*pulled, Pulled{});
  if (!provisional || !(begun.origin == stance->origin)) {
    begun = Pulled{stance->origin, stance->origin, PageCollector()};
  }
  Revision since = begun.reached;
  const Instant asked = Instant::Now();
  if (provisional) wait = Duration{};
  Result<Revision> reached = remote->Pull(since, wait, &begun.news, call);
  if (reached.status().code() == Code::kConflict) return PullAnew(remote, current, call);
  if (!reached.ok()) return reached.status().While("pulling from " + options_.url);
  begun.reached = *reached;
  if (begun.news.base().has_value()) {
    current = since = *begun.news.base();
    if (*reached == since) TURSO_RETURN_IF_ERROR(CheckIsOurs(since));
  }
  bool applied = true;
  if (provisional || !(*reached == since)) {
    Result<bool> done = provisional
                            ? ApplyInManner(remote, &begun, current, call, manner)
                            : ApplyPulled(&begun, current, Manner::kAtOnce, PatienceOf(call));
    // What was pulled counts also where the replica has moved meanwhile, as long as `origin` stays.
    applied = done.ok() && *done;
    if (!applied) *pulled = std::move(begun);
    if (!done.ok()) return done.status();
  }
  // Nothing new by the end of the wait: the primary had nothing newer until then.
  const bool waited = *reached == since && !provisional && Instant::Now() - asked >= wait;
  NoteCurrent(waited ? asked + wait : asked);
  return applied ? *reached : current;
}

// Times of several threads and processes come in any order.
void ReplicaImpl::NoteCurrent(Instant when) {
  std::atomic<int64_t>& contact = sidecar_->shared().last_contact;
  int64_t before = contact.load();
  while (before < when.nanoseconds && !contact.compare_exchange_weak(before, when.nanoseconds)) {
  }
}

void ReplicaImpl::CheckpointIfLong() {
  bool is_long = false;
  const Status looked = LookAtFiles([&](WalFiles* files, const WalIndexHeader& header) {
    if (header.frames < kLongLog) return OkStatus();
    Result<uint32_t> backfilled = WalIndex(files).Backfilled();
    is_long = !backfilled.ok() || *backfilled + kLongLog <= header.frames;
    return OkStatus();
  });
  if (!looked.ok() || !is_long) return;
  if (Status done = host_->CheckpointBySqlite(); !done.ok()) Log(LogLevel::kWarning, done.text());
}

Duration ReplicaImpl::FollowOnce(Remote* remote) {
  const bool follow = options_.sync == SyncMode::kFollow;
  // News end a wait early, and do not tell since when they are the newest: then it is asked once
  // more, without waiting, so that the age stays what a follower promises.
  const std::optional<Duration> lag = Lag();
  const bool wait = follow && lag.has_value() && *lag < kFollowWait / 2;
  Result<Revision> reached = PullAndApply(remote, wait ? kFollowWait : Duration{},
                                          CallWith(nullptr), Manner::kAwaitUnread, &unread_);
  if (reached.ok()) {
    NoteReached();
    if (unread_.origin.empty()) CheckpointIfLong();
    return follow ? Duration{} : options_.sync_interval;
  }
  if (Stopping() || reached.status().code() == Code::kBusy) return milliseconds(1);
  Note(reached.status());
  return kRetryMax;
}

void ReplicaImpl::Follow() {
  Duration retry = kRetryMin;
  while (!Stopping()) {
    Duration pause = kElection;
    if (sidecar_->Campaign() == Elected::kYes) {
      pause = FollowOnce(follower_.get());
      if (pause == kRetryMax) {
        pause = retry;
        retry = std::min<Duration>(retry * 2, kRetryMax);
      } else {
        retry = kRetryMin;
      }
    }
    if (pause == Duration{}) continue;
    ForkGate::Away away;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, pause, [&] { return Stopping() || pull_wanted_; });
    pull_wanted_ = false;
  }
}

}  // namespace turso
