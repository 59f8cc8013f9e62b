#include "src/base/fork_gate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "src/base/clock.h"
#include "src/base/log.h"

namespace turso {
namespace {

// What fork() would do in this thread, without a child.
Duration TimeOfAFork() {
  const Instant began = Instant::Now();
  ForkGate::BeforeFork();
  const Duration took = Instant::Now() - began;
  ForkGate::AfterForkInParent();
  return took;
}

// A thread that is inside until it is told to go.
class Insider {
 public:
  Insider() {
    thread_ = std::thread([this] {
      ForkGate::Inside inside;
      inside_.set_value();
      go_.get_future().wait();
      gone_ = true;
    });
    inside_.get_future().wait();
  }
  ~Insider() {
    if (!gone_) Go();
    thread_.join();
  }
  void Go() { go_.set_value(); }
  bool gone() const { return gone_; }

 private:
  std::promise<void> inside_, go_;
  std::atomic<bool> gone_{false};
  std::thread thread_;
};

constexpr Duration kAtOnce = seconds(1);  // Far below the gate's patience.

TEST(ForkGate, LetsAForkThroughWhenNobodyIsInside) { EXPECT_LT(TimeOfAFork(), kAtOnce); }

TEST(ForkGate, LetsAForkWaitForAThreadThatIsInside) {
  Insider insider;
  std::promise<void> asked;
  std::atomic<bool> was_gone{false};
  std::thread forking([&] {
    asked.set_value();
    ForkGate::BeforeFork();
    was_gone = insider.gone();
    ForkGate::AfterForkInParent();
  });
  asked.get_future().wait();
  std::this_thread::sleep_for(milliseconds(50));
  insider.Go();
  forking.join();
  EXPECT_TRUE(was_gone);
}

TEST(ForkGate, KeepsThreadsOutDuringAFork) {
  ForkGate::BeforeFork();
  std::atomic<bool> entered{false};
  std::thread thread([&] {
    ForkGate::Inside inside;
    entered = true;
  });
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_FALSE(entered);
  ForkGate::AfterForkInParent();
  thread.join();
  EXPECT_TRUE(entered);
}

TEST(ForkGate, DoesNotWaitForAThreadThatIsAway) {
  std::promise<void> away, back;
  std::thread thread([&] {
    ForkGate::Inside inside;
    ForkGate::Inside nested;
    ForkGate::Away waiting;
    away.set_value();
    back.get_future().wait();
  });
  away.get_future().wait();
  EXPECT_LT(TimeOfAFork(), kAtOnce);
  back.set_value();
  thread.join();
}

TEST(ForkGate, DoesNotWaitForTheThreadThatForks) {
  ForkGate::Inside inside;
  EXPECT_LT(TimeOfAFork(), kAtOnce);
}

TEST(ForkGate, DoesNotWaitForEver) {
  Insider insider;
  EXPECT_LT(TimeOfAFork(), seconds(20));
  EXPECT_FALSE(insider.gone());
}

// As of a Python program: whoever forks has the lock that its callback needs.
std::promise<void> g_logging, g_fork_is_over;

TEST(ForkGate, DoesNotWaitForACallbackOfTheApplication) {
  SetLogSink([](LogLevel, const char*) {
    g_logging.set_value();
    g_fork_is_over.get_future().wait();
  });
  std::thread thread([] {
    ForkGate::Inside inside;
    Log(LogLevel::kWarning, "the primary is away");
  });
  g_logging.get_future().wait();
  EXPECT_LT(TimeOfAFork(), kAtOnce);
  g_fork_is_over.set_value();
  thread.join();
  SetLogSink(nullptr);
}

}  // namespace
}  // namespace turso
