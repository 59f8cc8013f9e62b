#include "src/primary/lease_table.h"

#include <algorithm>

namespace turso {

bool LeaseTable::Live(Instant now) const {
  return lease_ && (lease_->tenure == Tenure::kUntilReleased || now < lease_->expires);
}

bool LeaseTable::OthersWait(const ReplicaId& holder, Instant now) const {
  return std::any_of(queue_.begin(), queue_.end(), [&](const Waiter& waiter) {
    return waiter.holder != holder && now < waiter.place_until;
  });
}

void LeaseTable::DropLate(Instant now) {
  std::erase_if(queue_, [now](const Waiter& waiter) { return now >= waiter.place_until; });
}

// While others wait, no lifetime reaches beyond the tenure.
Instant LeaseTable::Expiry(Instant now) const {
  Instant expires = now + kLifetime;
  if (OthersWait(lease_->holder, now)) expires = std::min(expires, lease_->since + kTenureMax);
  return expires;
}

std::optional<uint64_t> LeaseTable::Ask(const ReplicaId& holder, Tenure tenure, Instant now) {
  DropLate(now);
  bool mine = Live(now) && lease_->holder == holder;
  if (mine && OthersWait(holder, now) && now >= lease_->since + kTenureMax) {
    lease_.reset();
    mine = false;
  }
  if (!mine) {
    bool first = queue_.empty() || queue_.front().holder == holder;
    if (Live(now) || !first) {
      auto place = std::find_if(queue_.begin(), queue_.end(),
                                [&](const Waiter& waiter) { return waiter.holder == holder; });
      if (place == queue_.end()) place = queue_.insert(place, Waiter{holder, {}});
      place->place_until = now + kPlaceKept;
      return std::nullopt;
    }
    lease_ = Lease{holder, 0, tenure, now, {}};
  }
  Forget(holder);
  lease_->fence = ++fence_;
  lease_->tenure = tenure;
  lease_->expires = Expiry(now);
  return lease_->fence;
}

std::optional<Duration> LeaseTable::Renew(const ReplicaId& holder, uint64_t fence, Instant now) {
  if (!lease_ || lease_->holder != holder || lease_->fence != fence) return std::nullopt;
  // A lease that ran out while nobody else wanted it goes on as if it had not.
  if (OthersWait(holder, now) && (!Live(now) || now >= lease_->since + kTenureMax))
    return std::nullopt;
  lease_->expires = Expiry(now);
  return lease_->expires - now;
}

void LeaseTable::Release(const ReplicaId& holder, uint64_t fence, Instant now) {
  if (lease_ && lease_->holder == holder && lease_->fence == fence) lease_.reset();
  DropLate(now);
}

bool LeaseTable::Committed(const ReplicaId& replica, uint64_t fence, Instant now) {
  if (!lease_ || !IsOf(replica, fence) || !OthersWait(lease_->holder, now)) return false;
  lease_.reset();
  return true;
}

void LeaseTable::Forget(const ReplicaId& holder) {
  std::erase_if(queue_, [&](const Waiter& waiter) { return waiter.holder == holder; });
}

bool LeaseTable::IsOf(const ReplicaId& replica, uint64_t fence) const {
  return lease_->holder == replica || lease_->fence == fence;
}

bool LeaseTable::HeldByOther(const ReplicaId& replica, uint64_t fence, Instant now) const {
  return Live(now) && !IsOf(replica, fence);
}

size_t LeaseTable::waiting(Instant now) const {
  return static_cast<size_t>(
      std::count_if(queue_.begin(), queue_.end(),
                    [now](const Waiter& waiter) { return now < waiter.place_until; }));
}

std::optional<Instant> LeaseTable::NextChange(Instant now) const {
  if (waiting(now) == 0) return std::nullopt;
  if (Live(now)) {
    if (lease_->tenure == Tenure::kUntilReleased) return std::nullopt;
    return lease_->expires;
  }
  for (const Waiter& waiter : queue_) {
    if (now < waiter.place_until) return waiter.place_until;
  }
  return std::nullopt;
}

}  // namespace turso
