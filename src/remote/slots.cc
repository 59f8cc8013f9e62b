#include "src/remote/slots.h"

#include <unistd.h>

#include <map>
#include <mutex>
#include <random>
#include <utility>

#include "src/base/fork_gate.h"

namespace turso {

namespace {

// A stream that nothing was asked on for so long is gone at the server; with it went the slot.
// Whose lease another process took over does not come back for it.
constexpr Duration kKept = seconds(10);

struct Kept {
  Slot slot;
  Instant since;
};

struct Slots {
  std::mutex mutex;
  pid_t owner = 0;
  std::map<uint64_t, Kept> held;

  void Forget(Instant now) {
    if (owner != getpid()) held.clear();
    owner = getpid();
    std::erase_if(held, [&](const auto& entry) { return now - entry.second.since > kKept; });
  }
};

// Never destroyed: threads may end after the library's statics.
Slots& AllSlots() {
  static auto* slots = new Slots;
  return *slots;
}

}  // namespace

uint64_t KeepSlot(Slot slot, Instant now) {
  ForkGate::Inside inside;
  std::random_device random;
  Slots& slots = AllSlots();
  std::lock_guard lock(slots.mutex);
  slots.Forget(now);
  for (;;) {
    const uint64_t fence = uint64_t{random()} << 32 | random();
    if (fence != 0 && slots.held.try_emplace(fence, Kept{slot, now}).second) return fence;
  }
}

void RestSlot(uint64_t fence, Slot slot, Instant now) {
  ForkGate::Inside inside;
  Slots& slots = AllSlots();
  std::lock_guard lock(slots.mutex);
  slots.Forget(now);
  slots.held.insert_or_assign(fence, Kept{std::move(slot), now});
}

std::optional<Slot> TakeSlot(uint64_t fence, Instant now) {
  ForkGate::Inside inside;
  Slots& slots = AllSlots();
  std::lock_guard lock(slots.mutex);
  slots.Forget(now);
  const auto found = slots.held.find(fence);
  if (found == slots.held.end()) return std::nullopt;
  Slot slot = std::move(found->second.slot);
  slots.held.erase(found);
  return slot;
}

}  // namespace turso
