// Who writes next, of all connections of all processes of a replica: whoever has waited longest, of
// those who ask.
//
//   word    bits 0..11   the millisecond until which the turn lasts
//           bits 12..31  the millisecond since which its owner waits
//           0            nobody's
//
// A turn ends by itself a few milliseconds after it was last asked for, so nobody who died or went
// away is waited for. It is for fairness alone: the WRITE lock decides. Two who wait since the same
// millisecond look like one. Any thread.

#ifndef TURSO_SRC_REPLICA_WRITER_TURN_H_
#define TURSO_SRC_REPLICA_WRITER_TURN_H_

#include <atomic>
#include <cstdint>

#include "src/base/clock.h"

namespace turso {

class WriterTurn {
 public:
  static constexpr Duration kLasts = milliseconds(10);
  // Who waits for longer than this is not told from a newcomer.
  static constexpr Duration kWaitMax = seconds(500);

  // `word` is shared by all processes; whatever it holds is taken.
  explicit WriterTurn(std::atomic<uint32_t>* word) : word_(word) {}

  // Whether it is the turn of one who waits since then: it was already, or nobody's, or that of one
  // who came later.
  bool Take(Instant since, Instant now = Instant::Now());
  void End(Instant since);

 private:
  std::atomic<uint32_t>* word_;
};

}  // namespace turso

#endif  // TURSO_SRC_REPLICA_WRITER_TURN_H_
