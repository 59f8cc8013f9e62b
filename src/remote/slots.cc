#include "src/remote/slots.h"

#include <map>
#include <mutex>
#include <random>
#include <utility>

namespace turso {

namespace {

struct Slots {
  std::mutex mutex;
  std::map<uint64_t, Slot> held;
};

// Never destroyed: threads may end after the library's statics.
Slots& AllSlots() {
  static auto* slots = new Slots;
  return *slots;
}

}  // namespace

uint64_t KeepSlot(Slot slot) {
  std::random_device random;
  Slots& slots = AllSlots();
  std::lock_guard lock(slots.mutex);
  for (;;) {
    const uint64_t fence = uint64_t{random()} << 32 | random();
    if (fence != 0 && slots.held.emplace(fence, slot).second) return fence;
  }
}

std::optional<Slot> TakeSlot(uint64_t fence) {
  Slots& slots = AllSlots();
  std::lock_guard lock(slots.mutex);
  const auto found = slots.held.find(fence);
  if (found == slots.held.end()) return std::nullopt;
  Slot slot = std::move(found->second);
  slots.held.erase(found);
  return slot;
}

}  // namespace turso
