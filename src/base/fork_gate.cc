#include "src/base/fork_gate.h"

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace turso {

namespace {

// An application that waits longer for its fork() than this would call it hung; a child that meets
// a lock is the smaller evil then.
constexpr auto kWaitMax = std::chrono::seconds(2);

struct State {
  std::mutex mutex;
  std::condition_variable changed;
  int inside = 0;
  int forks = 0;  // Under way.
};

// Never destroyed: threads may go on after main() has returned. The child has a new one.
State*& TheState() {
  static State* state = new State;
  return state;
}

thread_local int t_depth = 0;

void GoIn() {
  State* state = TheState();
  std::unique_lock lock(state->mutex);
  state->changed.wait(lock, [&] { return state->forks == 0; });
  state->inside++;
}

void GoOut() {
  State* state = TheState();
  std::lock_guard lock(state->mutex);
  if (--state->inside == 0) state->changed.notify_all();
}

}  // namespace

ForkGate::Inside::Inside() {
  if (t_depth++ == 0) GoIn();
}

ForkGate::Inside::~Inside() {
  if (--t_depth == 0) GoOut();
}

ForkGate::Away::Away() : depth_(t_depth) {
  if (depth_ == 0) return;
  t_depth = 0;
  GoOut();
}

ForkGate::Away::~Away() {
  if (depth_ == 0) return;
  GoIn();
  t_depth = depth_;
}

void ForkGate::BeforeFork() {
  State* state = TheState();
  const int own = t_depth > 0 ? 1 : 0;
  std::unique_lock lock(state->mutex);
  state->forks++;
  state->changed.wait_for(lock, kWaitMax, [&] { return state->inside <= own; });
}

void ForkGate::AfterForkInParent() {
  State* state = TheState();
  std::lock_guard lock(state->mutex);
  if (--state->forks == 0) state->changed.notify_all();
}

void ForkGate::AfterForkInChild() {
  auto* fresh = new State;
  fresh->inside = t_depth > 0 ? 1 : 0;
  TheState() = fresh;
}

}  // namespace turso
