#include "src/replica/writer_turn.h"

#include <gtest/gtest.h>

namespace turso {
namespace {

constexpr Instant kNow{123'456'789'000'000};

TEST(WriterTurn, IsOneWritersUntilItEnds) {
  std::atomic<uint32_t> word{0};
  WriterTurn turn(&word);
  EXPECT_TRUE(turn.Take(1, kNow));
  EXPECT_TRUE(turn.Take(1, kNow));
  EXPECT_FALSE(turn.Take(2, kNow));
  turn.End(2);
  EXPECT_FALSE(turn.Take(2, kNow));
  turn.End(1);
  EXPECT_TRUE(turn.Take(2, kNow));
  EXPECT_FALSE(turn.Take(1, kNow));
}

TEST(WriterTurn, EndsForOneWhoDoesNotAskAgain) {
  std::atomic<uint32_t> word{0};
  WriterTurn turn(&word);
  EXPECT_TRUE(turn.Take(1, kNow));
  EXPECT_FALSE(turn.Take(2, kNow + WriterTurn::kLasts / 2));
  EXPECT_TRUE(turn.Take(1, kNow + WriterTurn::kLasts / 2));
  EXPECT_FALSE(turn.Take(2, kNow + WriterTurn::kLasts));
  EXPECT_TRUE(turn.Take(2, kNow + WriterTurn::kLasts * 3 / 2));
}

TEST(WriterTurn, GoesOnWhereTheMillisecondsBeginAnew) {
  constexpr int64_t kMilliseconds = int64_t{1} << 20;
  for (int64_t before = 1; before < 20; before++) {
    std::atomic<uint32_t> word{0};
    WriterTurn turn(&word);
    const Instant late{(3 * kMilliseconds - before) * 1'000'000};
    EXPECT_TRUE(turn.Take(1, late));
    EXPECT_FALSE(turn.Take(2, late + WriterTurn::kLasts / 2)) << before;
    EXPECT_TRUE(turn.Take(2, late + WriterTurn::kLasts)) << before;
  }
}

// A machine that was started anew, a writer that is gone for long, bytes of somebody else.
TEST(WriterTurn, NobodyWaitsLongForWhateverTheWordHolds) {
  for (uint32_t foreign : {0u, 1u, 0xfffu, 0xffffffffu, 0x80000001u, 0x12345678u}) {
    std::atomic<uint32_t> word{foreign};
    WriterTurn turn(&word);
    EXPECT_TRUE(turn.Take(7, kNow) || turn.Take(7, kNow + WriterTurn::kLasts)) << foreign;
  }
}

TEST(WriterTurn, AnyNumberIsAWriter) {
  for (uint32_t writer : {0u, 1u, 0xffeu, 0xfffu, 0x1000u, 0xffffffffu}) {
    std::atomic<uint32_t> word{0};
    WriterTurn turn(&word);
    EXPECT_TRUE(turn.Take(writer, kNow));
    EXPECT_FALSE(turn.Take(writer + 1, kNow)) << writer;
    turn.End(writer);
    EXPECT_EQ(word.load(), 0u);
  }
}

}  // namespace
}  // namespace turso
