#include "src/replica/identity.h"

#include <gtest/gtest.h>

#include <set>

namespace turso {
namespace {

TEST(Identity, IsAnotherEachTime) { EXPECT_NE(*NewIdentity(), *NewIdentity()); }

TEST(CommitNumber, GrowsAndIsAnotherEachTimeThatOneIsFollowed) {  // (I1), (I2)
  std::set<uint64_t> of_copies;
  uint64_t last = 7;  // As numbers were before they had a random half.
  for (int i = 0; i < 100; i++) {
    const uint64_t next = *NextCommitNumber(last);
    EXPECT_GT(next, last);
    for (int copy = 0; copy < 10; copy++) of_copies.insert(*NextCommitNumber(last));
    last = next;
  }
  EXPECT_GE(of_copies.size(), 999u) << "one pair in 2^32 may be alike";
}

TEST(CommitNumber, EndsWithTheIdentity) {
  EXPECT_EQ(NextCommitNumber(UINT64_MAX).status().code(), Code::kFull);
  EXPECT_GT(*NextCommitNumber(uint64_t{UINT32_MAX - 1} << 32), uint64_t{UINT32_MAX} << 32);
}

}  // namespace
}  // namespace turso
