#include "src/remote/slots.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "src/base/fork_gate.h"

namespace turso {
namespace {

Slot Named(const std::string& baton) {
  Slot slot;
  slot.stream.baton = baton;
  return slot;
}

// Whether a child in which `act` is true ends well; one that waits for ever is killed.
template <typename Act>
bool ChildSays(Act act) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(act() ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(Slots, AreTakenOnceByTheirFence) {
  const uint64_t one = KeepSlot(Named("one")), two = KeepSlot(Named("two"));
  EXPECT_NE(one, two);
  EXPECT_EQ(TakeSlot(two)->stream.baton, "two");
  EXPECT_FALSE(TakeSlot(two).has_value());
  EXPECT_EQ(TakeSlot(one)->stream.baton, "one");
  EXPECT_FALSE(TakeSlot(0).has_value());
}

TEST(Slots, AreForgottenWhenTheServerHasForgottenThem) {
  const Instant now = Instant::Now();
  const uint64_t left = KeepSlot(Named("left"), now);
  const uint64_t kept = KeepSlot(Named("kept"), now + seconds(10));
  EXPECT_FALSE(TakeSlot(kept + 1, now + seconds(11)).has_value());
  // Not as seen from then, when it would be there if it were anywhere.
  EXPECT_FALSE(TakeSlot(left, now).has_value());
  EXPECT_EQ(TakeSlot(kept, now + seconds(12))->stream.baton, "kept");
}

TEST(Slots, AreNotAChilds) {
  const uint64_t fence = KeepSlot(Named("parent's"));
  EXPECT_TRUE(ChildSays([&] { return !TakeSlot(fence).has_value(); }));
  EXPECT_TRUE(ChildSays([&] { return TakeSlot(KeepSlot(Named("own"))).has_value(); }));
  EXPECT_EQ(TakeSlot(fence)->stream.baton, "parent's");
}

TEST(Slots, CanBeUsedInAChildOfAProcessWhoseThreadsUseThem) {
  ASSERT_EQ(
      pthread_atfork(ForkGate::BeforeFork, ForkGate::AfterForkInParent, ForkGate::AfterForkInChild),
      0);
  std::atomic<bool> done{false};
  std::vector<std::thread> users;
  for (int i = 0; i < 2; i++) {
    users.emplace_back([&] {
      while (!done) TakeSlot(KeepSlot(Named("somebody's")));
    });
  }
  for (int i = 0; i < 100 && !HasFailure(); i++) {
    EXPECT_TRUE(ChildSays([] { return TakeSlot(KeepSlot(Named("own"))).has_value(); })) << i;
  }
  done = true;
  for (std::thread& user : users) user.join();
}

}  // namespace
}  // namespace turso
