// Processes that work on the same files until they are told to stop, some of them killed at random
// and started anew.
//
// The parent opens none of the files (see child.h). A worker returns 0 when it is done; anything
// else is a failure of the test, told with the worker's name.

#ifndef TURSO_TESTS_SUPPORT_CREW_H_
#define TURSO_TESTS_SUPPORT_CREW_H_

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>

#include <functional>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/child.h"
#include "tests/support/seed.h"

namespace turso {

// A value that all processes of a test share. T holds atomics only.
template <typename T>
class Shared {
 public:
  Shared()
      : value_(new (::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                           -1, 0)) T()) {}
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { ::munmap(value_, sizeof(T)); }
  T* operator->() const { return value_; }

 private:
  T* value_;
};

class Crew {
 public:
  // Gets a seed of its own each time it is started.
  using Work = std::function<int(uint64_t seed)>;

  explicit Crew(uint64_t seed) : rng_(seed) {}
  ~Crew() {
    for (Worker& worker : workers_) {
      if (worker.pid == 0) continue;
      ::kill(worker.pid, SIGKILL);
      Wait(worker.pid);
    }
  }

  void Add(std::string name, Work work) {
    workers_.push_back({std::move(name), std::move(work), 0});
    Start(&workers_.back());
  }
  // Kills one of those that still work, and starts it anew.
  void KillOne() {
    Worker& worker =
        workers_[static_cast<size_t>(Between(&rng_, 0, static_cast<int>(workers_.size()) - 1))];
    if (worker.pid == 0) return;
    ::kill(worker.pid, SIGKILL);
    const int end = Wait(worker.pid);
    worker.pid = 0;
    if (end != -SIGKILL) {
      Ended(worker, end);
      return;
    }
    ++kills_;
    Start(&worker);
  }
  // Notes who has ended. Whether all is well so far.
  bool Look() {
    for (Worker& worker : workers_) {
      int end = 0;
      if (worker.pid == 0 || !HasEnded(worker.pid, &end)) continue;
      worker.pid = 0;
      Ended(worker, end);
    }
    return !failed_;
  }
  // Waits for all to end by themselves.
  void WaitForAll() {
    for (Worker& worker : workers_) {
      if (worker.pid == 0) continue;
      const int end = Wait(worker.pid);
      worker.pid = 0;
      Ended(worker, end);
    }
  }
  int kills() const { return kills_; }
  bool failed() const { return failed_; }

 private:
  struct Worker {
    std::string name;
    Work work;
    pid_t pid;
  };

  void Start(Worker* worker) {
    const uint64_t seed = rng_();
    worker->pid = Fork([worker, seed] { return worker->work(seed); });
  }
  void Ended(const Worker& worker, int end) {
    EXPECT_EQ(end, 0) << worker.name << " ended with " << end;
    failed_ = failed_ || end != 0;
  }

  Rng rng_;
  std::vector<Worker> workers_;
  int kills_ = 0;
  bool failed_ = false;
};

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_CREW_H_
