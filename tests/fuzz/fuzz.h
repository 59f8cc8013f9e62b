// What the fuzz targets share. A target is a file tests/fuzz/NAME_fuzz.cc, a program for libFuzzer
// (https://llvm.org/docs/LibFuzzer.html), with its corpus in tests/fuzz/corpus/NAME.
//
// Bytes from outside mostly carry checksums, which no mutation gets right. So a target reads its
// input twice, as it is and sealed: with the checksums put right.

#ifndef TURSO_TESTS_FUZZ_FUZZ_H_
#define TURSO_TESTS_FUZZ_FUZZ_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "src/base/bytes.h"
#include "src/base/status.h"

// What a target promises of every input. Ends the program, which libFuzzer takes for a finding.
#define TURSO_REQUIRE(condition) \
  ((condition) ? void() : ::turso::fuzz::Broken(__FILE__, __LINE__, #condition, ""))
#define TURSO_REQUIRE_OF(condition, what) \
  ((condition) ? void() : ::turso::fuzz::Broken(__FILE__, __LINE__, #condition, what))

namespace turso::fuzz {

[[noreturn]] inline void Broken(const char* file, int line, const char* condition,
                                const std::string& what) {
  std::fprintf(stderr, "%s:%d: does not hold: %s %s\n", file, line, condition, what.c_str());
  std::abort();
}

// A failure must say what is wrong, in text that a terminal shows as it is.
inline void RequireSays(const Status& status) {
  TURSO_REQUIRE(!status.ok() && !status.text().empty());
  for (char c : status.text()) {
    TURSO_REQUIRE_OF(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, status.text());
  }
}

// Takes values off the front of an input; zeros when it is used up. Integers are little-endian.
class Input {
 public:
  explicit Input(ByteView bytes) : rest_(bytes) {}

  bool empty() const { return rest_.empty(); }
  ByteView rest() const { return rest_; }
  uint8_t U8() { return static_cast<uint8_t>(Number(1)); }
  uint16_t U16() { return static_cast<uint16_t>(Number(2)); }
  uint32_t U32() { return static_cast<uint32_t>(Number(4)); }
  uint64_t U64() { return Number(8); }
  // At most `size` bytes.
  ByteView Take(size_t size) {
    ByteView taken = rest_.first(std::min(size, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  // A length in two bytes, and so many bytes.
  std::string_view Text() { return AsText(Take(U16())); }

 private:
  uint64_t Number(size_t size) {
    uint64_t value = 0;
    ByteView bytes = Take(size);
    for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | bytes[i];
    return value;
  }

  ByteView rest_;
};

// How many bytes were allocated at once at most, beyond those at its making. One at a time, and for
// one thread.
class AllocationMeter {
 public:
  AllocationMeter();
  ~AllocationMeter();
  AllocationMeter(const AllocationMeter&) = delete;
  AllocationMeter& operator=(const AllocationMeter&) = delete;

  size_t peak() const;
};

}  // namespace turso::fuzz

#endif  // TURSO_TESTS_FUZZ_FUZZ_H_
