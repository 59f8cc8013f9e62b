#include "src/replica/writer_turn.h"

namespace turso {

namespace {

constexpr int kUntilBits = 12;
constexpr uint32_t kUntilMask = (1u << kUntilBits) - 1;
constexpr uint32_t kSinceMask = ~uint32_t{0} >> kUntilBits;
static_assert(WriterTurn::kWaitMax / milliseconds(1) <= kSinceMask / 2);

uint32_t Milliseconds(Instant at) { return static_cast<uint32_t>(at.nanoseconds / 1'000'000); }

uint32_t SinceIn(uint32_t word) { return word >> kUntilBits; }
uint32_t Shown(Instant since) { return Milliseconds(since) & kSinceMask; }

bool HasEnded(uint32_t word, Instant now) {
  const uint32_t left = (word - Milliseconds(now)) & kUntilMask;
  return left == 0 || left > WriterTurn::kLasts / milliseconds(1);
}

bool IsEarlier(uint32_t since, uint32_t than) {
  const uint32_t by = (than - since) & kSinceMask;
  return by != 0 && by <= kSinceMask / 2;
}

}  // namespace

bool WriterTurn::Take(Instant since, Instant now) {
  const uint32_t until = Milliseconds(now + kLasts) & kUntilMask;
  const uint32_t mine = Shown(since) << kUntilBits | until;
  uint32_t word = word_->load();
  do {
    if (word != 0 && !HasEnded(word, now) && IsEarlier(SinceIn(word), Shown(since))) return false;
  } while (!word_->compare_exchange_weak(word, mine));
  return true;
}

void WriterTurn::End(Instant since) {
  uint32_t word = word_->load();
  while (word != 0 && SinceIn(word) == Shown(since) && !word_->compare_exchange_weak(word, 0)) {
  }
}

}  // namespace turso
