#include "src/replica/writer_turn.h"

#include <gtest/gtest.h>

namespace turso {
namespace {

constexpr Instant kNow{123'456'789'000'000};
constexpr Instant kFirst{kNow.nanoseconds - 70'000'000};
constexpr Instant kSecond{kNow.nanoseconds - 69'000'000};

TEST(WriterTurn, IsOfWhoWaitedLongestUntilItEnds) {
  std::atomic<uint32_t> word{0};
  WriterTurn turn(&word);
  EXPECT_TRUE(turn.Take(kFirst, kNow));
  EXPECT_TRUE(turn.Take(kFirst, kNow));
  EXPECT_FALSE(turn.Take(kSecond, kNow));
  EXPECT_FALSE(turn.Take(kNow, kNow));
  turn.End(kSecond);
  EXPECT_FALSE(turn.Take(kSecond, kNow));
  turn.End(kFirst);
  EXPECT_TRUE(turn.Take(kSecond, kNow));
  EXPECT_TRUE(turn.Take(kFirst, kNow)) << "of one who came later";
  EXPECT_FALSE(turn.Take(kSecond, kNow));
}

TEST(WriterTurn, EndsForOneWhoDoesNotAskAgain) {
  std::atomic<uint32_t> word{0};
  WriterTurn turn(&word);
  EXPECT_TRUE(turn.Take(kFirst, kNow));
  EXPECT_FALSE(turn.Take(kSecond, kNow + WriterTurn::kLasts / 2));
  EXPECT_TRUE(turn.Take(kFirst, kNow + WriterTurn::kLasts / 2));
  EXPECT_FALSE(turn.Take(kSecond, kNow + WriterTurn::kLasts));
  EXPECT_TRUE(turn.Take(kSecond, kNow + WriterTurn::kLasts * 3 / 2));
}

TEST(WriterTurn, GoesOnWhereTheMillisecondsBeginAnew) {
  for (int64_t milliseconds_in_all : {int64_t{1} << 12, int64_t{1} << 20}) {
    for (int64_t before = 1; before < 20; before++) {
      std::atomic<uint32_t> word{0};
      WriterTurn turn(&word);
      const Instant late{(5 * milliseconds_in_all - before) * 1'000'000};
      const Instant later = late + milliseconds(1);
      EXPECT_TRUE(turn.Take(late, late));
      EXPECT_FALSE(turn.Take(later, late + WriterTurn::kLasts / 2)) << before;
      EXPECT_TRUE(turn.Take(later, late + WriterTurn::kLasts)) << before;
    }
  }
}

TEST(WriterTurn, IsOfWhoWaitedLongestHoweverLong) {
  std::atomic<uint32_t> word{0};
  WriterTurn turn(&word);
  const Instant long_ago{kNow.nanoseconds - Duration(WriterTurn::kWaitMax).count()};
  EXPECT_TRUE(turn.Take(kNow, kNow));
  EXPECT_TRUE(turn.Take(long_ago, kNow));
  EXPECT_FALSE(turn.Take(kNow, kNow));
}

// A machine that was started anew, a writer that is gone for long, bytes of somebody else.
TEST(WriterTurn, NobodyWaitsLongForWhateverTheWordHolds) {
  for (uint32_t foreign : {0u, 1u, 0xfffu, 0xffffffffu, 0x80000001u, 0x12345678u}) {
    std::atomic<uint32_t> word{foreign};
    WriterTurn turn(&word);
    EXPECT_TRUE(turn.Take(kFirst, kNow) || turn.Take(kFirst, kNow + WriterTurn::kLasts)) << foreign;
  }
}

TEST(WriterTurn, LeavesNothingBehindWhereItEnds) {
  std::atomic<uint32_t> word{0};
  WriterTurn turn(&word);
  EXPECT_TRUE(turn.Take(kFirst, kNow));
  turn.End(kFirst);
  EXPECT_EQ(word.load(), 0u);
}

}  // namespace
}  // namespace turso
