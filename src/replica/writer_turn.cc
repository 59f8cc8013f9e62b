#include "src/replica/writer_turn.h"

namespace turso {

namespace {

constexpr int kWriterBits = 12;
constexpr uint32_t kWriterMask = (1u << kWriterBits) - 1;
constexpr uint32_t kTimeMask = ~uint32_t{0} >> kWriterBits;

uint32_t WriterIn(uint32_t word) { return word & kWriterMask; }
// Different writers may look the same, which costs fairness between them and nothing else.
uint32_t Shown(uint32_t writer) { return writer % kWriterMask + 1; }

uint32_t Milliseconds(Instant at) {
  return static_cast<uint32_t>(at.nanoseconds / 1'000'000) & kTimeMask;
}

bool HasEnded(uint32_t word, Instant now) {
  const uint32_t left = ((word >> kWriterBits) - Milliseconds(now)) & kTimeMask;
  return left == 0 || left > WriterTurn::kLasts / milliseconds(1);
}

}  // namespace

bool WriterTurn::Take(uint32_t writer, Instant now) {
  const uint32_t mine = Milliseconds(now + kLasts) << kWriterBits | Shown(writer);
  uint32_t word = word_->load();
  do {
    if (WriterIn(word) != 0 && WriterIn(word) != Shown(writer) && !HasEnded(word, now))
      return false;
  } while (!word_->compare_exchange_weak(word, mine));
  return true;
}

void WriterTurn::End(uint32_t writer) {
  uint32_t word = word_->load();
  while (WriterIn(word) == Shown(writer) && !word_->compare_exchange_weak(word, 0)) {
  }
}

}  // namespace turso
