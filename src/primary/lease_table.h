// Who may write next: one lease, and the queue for it.
//
//   free --Ask--> held --Renew--> held --Release, commit while others wait, lifetime over--> free
//
// Fairness only: a commit is decided by its base revision, whoever holds the lease.
//   (L1) Fences only grow, also over restarts: the number of the start is in their upper half.
//   (L2) While others wait, a holder keeps the lease at most kTenureMax, however often it renews.
//   (L3) A waiter keeps its place for kPlaceKept after it last asked; a free lease goes to the
//        first in the queue, or waits for it that long.
//   (L4) The holder that asks again gets a new fence at once: one of its processes may have died
//        with the old one.
// A pure function of the calls and of the times that they name. Not for use by several threads at
// once.

#ifndef TURSO_SRC_PRIMARY_LEASE_TABLE_H_
#define TURSO_SRC_PRIMARY_LEASE_TABLE_H_

#include <cstdint>
#include <deque>
#include <optional>

#include "src/base/clock.h"
#include "src/primary/history.h"

namespace turso {

// How long a lease lasts: until it is not renewed, or as long as its holder does not give it back
// (a transaction of the server's own SQL, which holds SQLite's WRITE lock and cannot be passed by).
enum class Tenure { kRenewed, kUntilReleased };

class LeaseTable {
 public:
  static constexpr Duration kLifetime = seconds(2);
  static constexpr Duration kTenureMax = seconds(30);
  static constexpr Duration kPlaceKept = seconds(1);

  // `starts`: how often the server has started with this database.
  explicit LeaseTable(uint32_t starts) : fence_(uint64_t{starts} << 32) {}

  // The fence of the lease if `holder` has it now; otherwise it is in the queue.
  std::optional<uint64_t> Ask(const ReplicaId& holder, Tenure tenure, Instant now);
  // The new lifetime; nothing if the lease is not the holder's any more.
  std::optional<Duration> Renew(const ReplicaId& holder, uint64_t fence, Instant now);
  void Release(const ReplicaId& holder, uint64_t fence, Instant now);
  // A commit of `replica` under `fence` was taken. True if its lease ended with it, because
  // somebody waits. Either names the lease: an ask of the replica's own that came late may have
  // given it another fence meanwhile.
  bool Committed(const ReplicaId& replica, uint64_t fence, Instant now);
  // Leaves the queue.
  void Forget(const ReplicaId& holder);

  // Whether a lease is alive that is neither of `replica` nor of `fence`.
  bool HeldByOther(const ReplicaId& replica, uint64_t fence, Instant now) const;
  size_t waiting(Instant now) const;
  // When time alone may change who gets the lease; nothing if it never will.
  std::optional<Instant> NextChange(Instant now) const;

 private:
  struct Lease {
    ReplicaId holder{};
    uint64_t fence = 0;
    Tenure tenure = Tenure::kRenewed;
    Instant since;    // Held without a gap since then.
    Instant expires;  // Not for kUntilReleased.
  };
  struct Waiter {
    ReplicaId holder{};
    Instant place_until;
  };

  bool Live(Instant now) const;
  bool IsOf(const ReplicaId& replica, uint64_t fence) const;
  bool OthersWait(const ReplicaId& holder, Instant now) const;
  void DropLate(Instant now);
  Instant Expiry(Instant now) const;

  uint64_t fence_;
  std::optional<Lease> lease_;
  std::deque<Waiter> queue_;
};

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_LEASE_TABLE_H_
