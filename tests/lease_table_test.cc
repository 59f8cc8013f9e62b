#include "src/primary/lease_table.h"

#include <gtest/gtest.h>

namespace turso {
namespace {

// A clock that the test moves, and three who want the lease.
class LeaseTableTest : public ::testing::Test {
 protected:
  void Wait(Duration d) { now_ = now_ + d; }
  std::optional<uint64_t> Ask(const ReplicaId& who) {
    return table_.Ask(who, Tenure::kRenewed, now_);
  }

  const ReplicaId a_{1}, b_{2}, c_{3};
  Instant now_{1'000'000'000};
  LeaseTable table_{7};
};

TEST_F(LeaseTableTest, AFreeLeaseIsGrantedAtOnce) { EXPECT_TRUE(Ask(a_)); }

TEST_F(LeaseTableTest, FencesGrowWithEveryLeaseAndWithEveryStart) {
  std::optional<uint64_t> first = Ask(a_);
  table_.Release(a_, *first, now_);
  std::optional<uint64_t> second = Ask(b_);
  EXPECT_GT(*second, *first);
  LeaseTable restarted(8);
  EXPECT_GT(*restarted.Ask(a_, Tenure::kRenewed, now_), *second);
}

TEST_F(LeaseTableTest, NobodyElseGetsALeaseThatIsAlive) {
  ASSERT_TRUE(Ask(a_));
  Wait(LeaseTable::kLifetime - milliseconds(1));
  EXPECT_FALSE(Ask(b_));
  EXPECT_TRUE(table_.HeldByOther(b_, 0, now_));
  EXPECT_FALSE(table_.HeldByOther(a_, 0, now_));
}

TEST_F(LeaseTableTest, ALeaseThatIsNotRenewedRunsOut) {
  std::optional<uint64_t> fence = Ask(a_);
  Wait(LeaseTable::kLifetime);
  EXPECT_TRUE(Ask(b_));
  EXPECT_FALSE(table_.Renew(a_, *fence, now_));
}

TEST_F(LeaseTableTest, ALeaseThatRanOutUnwantedIsRenewed) {
  std::optional<uint64_t> fence = Ask(a_);
  Wait(seconds(10));
  EXPECT_EQ(table_.Renew(a_, *fence, now_), LeaseTable::kLifetime);
  EXPECT_FALSE(Ask(b_));
}

TEST_F(LeaseTableTest, RenewingKeepsTheLease) {
  std::optional<uint64_t> fence = Ask(a_);
  for (int i = 0; i < 60; i++) {
    Wait(seconds(1));
    EXPECT_TRUE(table_.Renew(a_, *fence, now_));
  }
  EXPECT_FALSE(Ask(b_));
}

TEST_F(LeaseTableTest, OnlyTheHolderOfTheNewestFenceRenewsAndReleases) {
  std::optional<uint64_t> fence = Ask(a_);
  EXPECT_FALSE(table_.Renew(b_, *fence, now_));
  EXPECT_FALSE(table_.Renew(a_, *fence + 1, now_));
  table_.Release(b_, *fence, now_);
  table_.Release(a_, *fence - 1, now_);
  EXPECT_FALSE(Ask(b_));
  table_.Release(a_, *fence, now_);
  EXPECT_TRUE(Ask(b_));
}

TEST_F(LeaseTableTest, TheHolderThatAsksAgainGetsANewFence) {
  std::optional<uint64_t> first = Ask(a_);
  std::optional<uint64_t> second = Ask(a_);
  ASSERT_TRUE(second);
  EXPECT_GT(*second, *first);
  EXPECT_FALSE(table_.Renew(a_, *first, now_));
  EXPECT_TRUE(table_.Renew(a_, *second, now_));
}

TEST_F(LeaseTableTest, WaitersAreServedInTheOrderTheyCame) {
  std::optional<uint64_t> fence = Ask(a_);
  EXPECT_FALSE(Ask(b_));
  EXPECT_FALSE(Ask(c_));
  table_.Release(a_, *fence, now_);
  EXPECT_FALSE(Ask(c_));
  EXPECT_FALSE(Ask(a_));
  fence = Ask(b_);
  ASSERT_TRUE(fence);
  table_.Release(b_, *fence, now_);
  EXPECT_FALSE(Ask(a_));
  EXPECT_TRUE(Ask(c_));
}

TEST_F(LeaseTableTest, AWaiterKeepsItsPlaceForASecondAndNoLonger) {
  std::optional<uint64_t> fence = Ask(a_);
  EXPECT_FALSE(Ask(b_));
  table_.Release(a_, *fence, now_);
  Wait(LeaseTable::kPlaceKept - milliseconds(1));
  EXPECT_FALSE(Ask(c_));
  EXPECT_EQ(table_.NextChange(now_), now_ + milliseconds(1));
  Wait(milliseconds(1));
  EXPECT_TRUE(Ask(c_));
}

TEST_F(LeaseTableTest, AskingAgainKeepsThePlaceAndNotABetterOne) {
  std::optional<uint64_t> fence = Ask(a_);
  EXPECT_FALSE(Ask(b_));
  EXPECT_FALSE(Ask(c_));
  for (int i = 0; i < 6; i++) {
    Wait(milliseconds(300));
    EXPECT_FALSE(Ask(c_));
    EXPECT_FALSE(Ask(b_));
  }
  table_.Release(a_, *fence, now_);
  EXPECT_FALSE(Ask(c_));
  EXPECT_TRUE(Ask(b_));
}

TEST_F(LeaseTableTest, WhileOthersWaitNoRenewalReachesBeyondThirtySeconds) {
  std::optional<uint64_t> fence = Ask(a_);
  const Instant end = now_ + LeaseTable::kTenureMax;
  while (now_ < end) {
    EXPECT_FALSE(Ask(b_));
    std::optional<Duration> left = table_.Renew(a_, *fence, now_);
    ASSERT_TRUE(left);
    EXPECT_LE(now_ + *left, end);
    Wait(milliseconds(500));
  }
  EXPECT_FALSE(table_.Renew(a_, *fence, now_));
  EXPECT_TRUE(Ask(b_));
}

TEST_F(LeaseTableTest, AskingAgainIsNoWayAroundTheThirtySeconds) {
  ASSERT_TRUE(Ask(a_));
  const Instant end = now_ + LeaseTable::kTenureMax;
  while (now_ < end) {
    EXPECT_FALSE(Ask(b_));
    EXPECT_TRUE(Ask(a_));
    Wait(milliseconds(500));
  }
  EXPECT_FALSE(Ask(a_));
  EXPECT_TRUE(Ask(b_));
}

TEST_F(LeaseTableTest, ACommitEndsTheLeaseOnlyIfSomebodyWaits) {
  std::optional<uint64_t> fence = Ask(a_);
  EXPECT_FALSE(table_.Committed(a_, 0, now_));
  EXPECT_TRUE(table_.Renew(a_, *fence, now_));
  EXPECT_FALSE(Ask(b_));
  EXPECT_FALSE(table_.Committed(b_, 0, now_));
  EXPECT_TRUE(table_.Committed(a_, 0, now_));
  EXPECT_FALSE(table_.Renew(a_, *fence, now_));
  EXPECT_TRUE(Ask(b_));
}

TEST_F(LeaseTableTest, OneWhoGaveUpWaitingIsNotWaitedFor) {
  std::optional<uint64_t> fence = Ask(a_);
  EXPECT_FALSE(Ask(b_));
  table_.Forget(b_);
  EXPECT_FALSE(table_.Committed(a_, 0, now_));
  table_.Release(a_, *fence, now_);
  EXPECT_TRUE(Ask(c_));
}

TEST_F(LeaseTableTest, ATransactionOfTheServersOwnSqlKeepsItUntilItIsOver) {
  std::optional<uint64_t> fence = table_.Ask(a_, Tenure::kUntilReleased, now_);
  ASSERT_TRUE(fence);
  EXPECT_FALSE(Ask(b_));
  EXPECT_FALSE(table_.NextChange(now_));
  Wait(seconds(100));
  EXPECT_FALSE(Ask(b_));
  table_.Release(a_, *fence, now_);
  EXPECT_TRUE(Ask(b_));
}

}  // namespace
}  // namespace turso
