// The write slots of libSQL servers that this process holds between the beginning of a transaction
// and its commit, by their fence. A slot is a Hrana stream in a transaction that has written
// nothing; it can be used by any thread, one at a time: who takes it has it alone.

#ifndef TURSO_SRC_REMOTE_SLOTS_H_
#define TURSO_SRC_REMOTE_SLOTS_H_

#include <cstdint>
#include <optional>

#include "src/remote/hrana_client.h"

namespace turso {

struct Slot {
  HranaStream stream;
  bool current = false;  // Surely at the base of the lease; else that is still to be learned.
};

// The fence under which it is found again: random, so that another process's is not taken for it.
uint64_t KeepSlot(Slot slot);
std::optional<Slot> TakeSlot(uint64_t fence);

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_SLOTS_H_
