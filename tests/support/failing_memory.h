// The memory of C++, of which one request fails. It replaces operator new, so only the one source
// of a test's program includes it.

#ifndef TURSO_TESTS_SUPPORT_FAILING_MEMORY_H_
#define TURSO_TESTS_SUPPORT_FAILING_MEMORY_H_

#include <cstddef>
#include <cstdlib>
#include <new>

namespace {
// Which request for memory of this thread fails, counted from now on; 0: none.
thread_local int g_failing_request = 0;
}  // namespace

// Not inlined: GCC would see free() where it expects a delete.
[[gnu::noinline]] void* operator new(size_t size) {
  if (g_failing_request > 0 && --g_failing_request == 0) throw std::bad_alloc();
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

#endif  // TURSO_TESTS_SUPPORT_FAILING_MEMORY_H_
