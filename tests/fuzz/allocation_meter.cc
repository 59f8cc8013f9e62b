#include <sanitizer/allocator_interface.h>

#include "tests/fuzz/fuzz.h"

namespace turso::fuzz {
namespace {

thread_local bool metered = false;
thread_local ptrdiff_t now = 0;
thread_local ptrdiff_t most = 0;

void OnMalloc(const volatile void*, size_t size) {
  if (!metered) return;
  now += static_cast<ptrdiff_t>(size);
  most = std::max(most, now);
}

void OnFree(const volatile void* pointer) {
  if (!metered || pointer == nullptr) return;
  now -= static_cast<ptrdiff_t>(__sanitizer_get_allocated_size(const_cast<void*>(pointer)));
}

}  // namespace

AllocationMeter::AllocationMeter() {
  static const int installed = __sanitizer_install_malloc_and_free_hooks(OnMalloc, OnFree);
  TURSO_REQUIRE(installed > 0);
  now = most = 0;
  metered = true;
  // Whoever measures nothing promises nothing.
  void* probe = std::malloc(4096);
  asm volatile("" : : "r"(probe) : "memory");
  std::free(probe);
  TURSO_REQUIRE(now == 0 && most >= 4096);
  most = 0;
}

AllocationMeter::~AllocationMeter() { metered = false; }

size_t AllocationMeter::peak() const { return static_cast<size_t>(std::max<ptrdiff_t>(most, 0)); }

}  // namespace turso::fuzz
