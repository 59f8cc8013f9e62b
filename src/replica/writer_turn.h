// Whose turn it is to write next, of all connections of all processes of a replica.
//
//   word    bits 0..11 the writer, never 0; bits 12..31 the millisecond until which it is its turn
//
// A turn ends by itself a few milliseconds after it was last asked for, so nobody who died or went
// away is waited for. It is for fairness alone: the WRITE lock decides. Any thread.

#ifndef TURSO_SRC_REPLICA_WRITER_TURN_H_
#define TURSO_SRC_REPLICA_WRITER_TURN_H_

#include <atomic>
#include <cstdint>

#include "src/base/clock.h"

namespace turso {

class WriterTurn {
 public:
  static constexpr Duration kLasts = milliseconds(10);

  // `word` is shared by all processes; whatever it holds is taken.
  explicit WriterTurn(std::atomic<uint32_t>* word) : word_(word) {}

  // Whether it is the writer's turn from now on: it was already, or nobody's.
  bool Take(uint32_t writer, Instant now = Instant::Now());
  void End(uint32_t writer);

 private:
  std::atomic<uint32_t>* word_;
};

}  // namespace turso

#endif  // TURSO_SRC_REPLICA_WRITER_TURN_H_
