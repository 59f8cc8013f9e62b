// The lease: held by the replica, whichever of its processes writes, and told to the others through
// the sidecar.
//
//   lease_fence 0                      none
//   lease_fence f, idle_since 0        a transaction runs under it
//   lease_fence f, idle_since t        resting since t: the next transaction takes it without
//                                      asking, or the process lease_pid gives it back
//   lease_fence f, idle_since -1       to be given back, and not to be taken
// Whoever moves idle_since away from t has the lease. All of this is fairness and speed: a commit
// under a lease that is gone is decided by the primary's compare-and-swap like any other.

#include <unistd.h>

#include "src/base/fork_gate.h"
#include "src/replica/replica_impl.h"

namespace turso {

namespace {

// A lease that is about to end is not worth starting with.
constexpr Duration kMargin = milliseconds(300);
constexpr Duration kRenewAfter = milliseconds(700);
constexpr int64_t kToBeReleased = -1;

}  // namespace

bool ReplicaImpl::TakeIdleLease(uint64_t* fence) {
  SharedState& shared = sidecar_->shared();
  const uint64_t held = shared.lease_fence.load();
  if (held == 0) return false;
  int64_t since = shared.lease_idle_since.load();
  if (Instant{shared.lease_until.load()} < Instant::Now() + kMargin || since <= 0) return false;
  if (!shared.lease_idle_since.compare_exchange_strong(since, 0)) return false;
  shared.lease_pid.store(static_cast<uint32_t>(getpid()));
  *fence = held;
  return true;
}

void ReplicaImpl::HoldLease(const LeaseAnswer& answer, Instant asked) {
  SharedState& shared = sidecar_->shared();
  shared.lease_idle_since.store(0);
  shared.lease_until.store((asked + answer.lifetime).nanoseconds);
  shared.lease_pid.store(static_cast<uint32_t>(getpid()));
  shared.lease_fence.store(answer.fence);
  std::lock_guard lock(mutex_);
  lease_touched_ = true;
  if (!keep_thread_.joinable() && !Stopping()) {
    keep_thread_ = StartThread(&ReplicaImpl::KeepLease);
  }
  changed_.notify_all();
}

void ReplicaImpl::DropLease() {
  sidecar_->shared().lease_fence.store(0);
  sidecar_->shared().lease_idle_since.store(0);
}

void ReplicaImpl::RestLease(Duration linger) {
  SharedState& shared = sidecar_->shared();
  if (shared.lease_fence.load() == 0) return;
  shared.lease_pid.store(static_cast<uint32_t>(getpid()));
  shared.lease_idle_since.store(Instant::Now().nanoseconds);
  std::lock_guard lock(mutex_);
  lease_linger_ = linger;
  lease_touched_ = true;
  changed_.notify_all();
}

// Nobody here may use it: what it was got for failed.
void ReplicaImpl::GiveLeaseBack() {
  SharedState& shared = sidecar_->shared();
  if (shared.lease_fence.load() == 0) return;
  shared.lease_pid.store(static_cast<uint32_t>(getpid()));
  shared.lease_idle_since.store(kToBeReleased);
  std::lock_guard lock(mutex_);
  lease_touched_ = true;
  changed_.notify_all();
}

void ReplicaImpl::KeepLease() {
  Duration pause{};
  for (;;) {
    {
      ForkGate::Away away;
      std::unique_lock lock(mutex_);
      if (pause == Duration{}) {
        changed_.wait(lock, [&] { return Stopping() || lease_touched_; });
      } else {
        changed_.wait_for(lock, pause, [&] { return Stopping() || lease_touched_; });
      }
      lease_touched_ = false;
    }
    if (Stopping()) return;
    pause = KeepOnce(keeper_.get());
  }
}

// Renews the lease of a running transaction, gives back one that has rested. How long to wait for
// the next time; zero when there is nothing to keep.
Duration ReplicaImpl::KeepOnce(Remote* remote) {
  SharedState& shared = sidecar_->shared();
  const uint64_t fence = shared.lease_fence.load();
  if (fence == 0 || shared.lease_pid.load() != static_cast<uint32_t>(getpid())) return Duration{};
  const Instant now = Instant::Now();
  const int64_t since = shared.lease_idle_since.load();
  if (since == 0) {
    bool writing;
    {
      std::lock_guard lock(mutex_);
      writing = writing_;
    }
    const Duration left = Instant{shared.lease_until.load()} - now;
    if (!writing || left > seconds(2) - kRenewAfter) return kRenewAfter / 2;
    Call call = CallWith(nullptr);
    call.timeout = std::min<Duration>(call.timeout, seconds(2));
    Result<Duration> renewed = remote->RenewLease(identity(), fence, call);
    if (renewed.ok() && shared.lease_fence.load() == fence) {
      shared.lease_until.store((now + *renewed).nanoseconds);
    }
    return kRenewAfter;
  }
  Duration linger;
  {
    std::lock_guard lock(mutex_);
    linger = lease_linger_;
  }
  const Duration rested = now - Instant{since};
  if (since != kToBeReleased && rested < linger)
    return std::max<Duration>(linger - rested, milliseconds(1));
  ReleaseRestingLease(remote, seconds(2), Ending::kNo);
  return Duration{};
}

void ReplicaImpl::ReleaseRestingLease(Remote* remote, Duration timeout, Ending ending) {
  SharedState& shared = sidecar_->shared();
  uint64_t fence = shared.lease_fence.load();
  int64_t since = shared.lease_idle_since.load();
  if (fence == 0 || since == 0 || shared.lease_pid.load() != static_cast<uint32_t>(getpid()))
    return;
  if (!shared.lease_idle_since.compare_exchange_strong(since, 0)) return;
  shared.lease_fence.compare_exchange_strong(fence, 0);
  if (Instant{shared.lease_until.load()} < Instant::Now()) return;
  Call call = CallWith(nullptr);
  call.timeout = std::min(call.timeout, timeout);
  if (ending == Ending::kYes) call.cancelled = nullptr;  // Which says by now that all is over.
  // A lease that cannot be given back ends by itself.
  (void)remote->ReleaseLease(identity(), fence, call);
}

}  // namespace turso
