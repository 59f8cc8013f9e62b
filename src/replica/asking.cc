// What is asked of a replica with a deadline: pull now, wait for a revision, be no older than that.

#include <algorithm>

#include "src/replica/replica_impl.h"

namespace turso {

namespace {

// A read that rather fails, or is served something old, than waits: what its one try may take.
constexpr Duration kBriefly = seconds(1);
// And how long after a failure nobody tries again, unless the primary was heard meanwhile: longer
// with every failure.
constexpr Duration kHopelessMin = milliseconds(100);
constexpr Duration kHopelessMax = seconds(2);

Status CheckInterrupted(const Interrupted& interrupted, const std::string& doing) {
  if (interrupted && interrupted()) return Status(Code::kInterrupted, doing + ": interrupted");
  return OkStatus();
}

// Sleeps, but not past the deadline, and not through an interruption.
Status Pause(Duration duration, Instant deadline, const Interrupted& interrupted) {
  const Instant end = std::min(Instant::Now() + duration, deadline);
  for (;;) {
    TURSO_RETURN_IF_ERROR(CheckInterrupted(interrupted, "waiting for the primary"));
    const Duration left = end - Instant::Now();
    if (left <= Duration{}) return OkStatus();
    std::this_thread::sleep_for(std::min<Duration>(left, milliseconds(50)));
  }
}

}  // namespace

Status Turn::Take(Instant deadline, const Interrupted& interrupted) {
  std::unique_lock lock(mutex_);
  while (taken_) {
    const Duration left = deadline - Instant::Now();
    if (left <= Duration{}) {
      return Status(Code::kUnavailable, "another question to the primary has no answer yet");
    }
    ended_.wait_for(lock, std::min<Duration>(left, milliseconds(50)));
    TURSO_RETURN_IF_ERROR(
        CheckInterrupted(interrupted, "waiting for another question to the primary"));
  }
  taken_ = true;
  return OkStatus();
}

void Turn::End() {
  std::lock_guard lock(mutex_);
  taken_ = false;
  ended_.notify_one();
}

Status ReplicaImpl::CheckNotForked() const {
  if (!abandoned_) return OkStatus();
  return Status(Code::kInvalid, path_ + ": the replica was open at a fork(); it is the parent's");
}

Call ReplicaImpl::CallUntil(Instant deadline, const Interrupted& interrupted) const {
  Call call = CallWith(interrupted);
  call.timeout = std::clamp<Duration>(deadline - Instant::Now(), milliseconds(1), call.timeout);
  return call;
}

Result<Revision> ReplicaImpl::Sync(const Interrupted& interrupted) {
  return SyncUntil(Instant::Now() + options_.timeout, interrupted);
}

Result<Revision> ReplicaImpl::SyncUntil(Instant deadline, const Interrupted& interrupted) {
  TURSO_RETURN_IF_ERROR(CheckNotForked());
  if (Status turn = asking_.Take(deadline, interrupted); !turn.ok()) {
    return turn.While("pulling from " + options_.url);
  }
  Turn::Ending ending(&asking_);
  return PullInTurn(deadline, interrupted, Manner::kIfFree);
}

// By whoever has the turn to ask.
Result<Revision> ReplicaImpl::PullInTurn(Instant deadline, const Interrupted& interrupted,
                                         Manner manner) {
  for (;;) {
    Pulled pulled;
    Result<Revision> reached =
        PullAndApply(asker_.get(), Duration{}, CallUntil(deadline, interrupted), manner, &pulled);
    if (reached.ok()) {
      NoteReached();
      if (pulled.origin.empty()) CheckpointIfLong();
      return reached;
    }
    // Others have moved the replica meanwhile, and may do so for as long as they write.
    if (reached.status().code() == Code::kBusy && Instant::Now() < deadline) continue;
    Note(reached.status());
    return reached;
  }
}

Result<bool> ReplicaImpl::WaitFor(const Revision& revision, Duration timeout,
                                  const Interrupted& interrupted) {
  TURSO_RETURN_IF_ERROR(CheckNotForked());
  const Instant deadline = Instant::Now() + timeout;
  Revision compared;
  for (;;) {
    Result<Revision> current = CurrentRevision();
    if (!current.ok() && current.status().code() != Code::kNotFound) return current.status();
    if (current.ok() && *current == revision) return true;
    Duration pause = milliseconds(2);
    if (current.ok() && !(*current == compared)) {
      Result<Order> order = CompareUntil(revision, *current, deadline, interrupted);
      if (order.ok()) compared = *current;
      if (order.ok() && (*order == Order::kBefore || *order == Order::kEqual)) return true;
      if (order.ok() && *order == Order::kUnrelated) {
        return Status(Code::kInvalid, "waiting for revision " + std::string(revision.text()) +
                                          ": the primary's history does not have it");
      }
      if (!order.ok() && order.status().code() == Code::kInvalid) return order.status();
      if (!order.ok()) pause = milliseconds(50);
    }
    if (Instant::Now() >= deadline) return false;
    if (options_.sync != SyncMode::kFollow) {
      // Whoever waits wants it; what fails now may go well until the deadline.
      (void)SyncUntil(std::min(deadline, Instant::Now() + options_.timeout), interrupted);
      pause = milliseconds(20);
    }
    TURSO_RETURN_IF_ERROR(Pause(pause, deadline, interrupted).While("turso_wait"));
  }
}

Result<Order> ReplicaImpl::CompareUntil(const Revision& a, const Revision& b, Instant deadline,
                                        const Interrupted& interrupted) {
  TURSO_RETURN_IF_ERROR(asking_.Take(deadline, interrupted));
  Turn::Ending ending(&asking_);
  return asker_->Compare(a, b, CallUntil(deadline, interrupted));
}

bool ReplicaImpl::HeardSince(Instant time) const {
  const int64_t contact = sidecar_->shared().last_contact.load();
  return contact != 0 && Instant{contact} >= time;
}

// The primary could not be reached just now, or it is for the follower to try again.
bool ReplicaImpl::IsHopeless() {
  std::lock_guard lock(mutex_);
  if (offline_since_ == Instant{} || HeardSince(offline_since_)) return false;
  return options_.sync == SyncMode::kFollow || Instant::Now() - offline_since_ < hopeless_;
}

void ReplicaImpl::NoteHopeless() {
  std::lock_guard lock(mutex_);
  hopeless_ = std::clamp(hopeless_ * 2, kHopelessMin, kHopelessMax);
}

Status ReplicaImpl::BeforeRead(const Interrupted& interrupted) {
  TURSO_RETURN_IF_ERROR(CheckNotForked());
  const Instant start = Instant::Now();
  const Instant needed{start.nanoseconds - options_.max_staleness->count()};
  if (HeardSince(needed)) return OkStatus();
  const bool waits = options_.on_stale == OnStale::kWait;
  const Duration patience = waits ? options_.timeout : std::min(options_.timeout, kBriefly);
  const Instant deadline = start + patience;
  Status why(Code::kUnavailable, options_.url + " did not answer a moment ago");
  while (waits || !IsHopeless()) {
    why = asking_.Take(deadline, interrupted);
    if (why.ok()) {
      Turn::Ending ending(&asking_);
      // Others may have asked, while it was their turn.
      if (!HeardSince(needed)) {
        why = PullInTurn(deadline, interrupted, Manner::kWhenUnread).status();
      }
    }
    if (why.ok()) return OkStatus();
    if (why.code() == Code::kInterrupted) return why;
    if (!waits) NoteHopeless();
    if (!waits || Instant::Now() >= deadline) break;
    TURSO_RETURN_IF_ERROR(Pause(milliseconds(50), deadline, interrupted));
  }
  if (options_.on_stale == OnStale::kServe) return OkStatus();
  return Status(why.code() == Code::kBusy ? Code::kUnavailable : why.code(),
                path_ + " is older than max_staleness allows: " + why.text());
}

}  // namespace turso
