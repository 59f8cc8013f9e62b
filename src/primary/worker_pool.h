// Threads for work that may block: a few to begin with, more while those are blocked, up to a
// bound, and gone when idle for a while.
//
// Work is started in the order it came. A burst of short tasks is worked off by the few: threads
// are added only when the oldest task has not been taken for a moment. Any thread may call; a task
// may submit further tasks.

#ifndef TURSO_SRC_PRIMARY_WORKER_POOL_H_
#define TURSO_SRC_PRIMARY_WORKER_POOL_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "src/base/clock.h"

namespace turso {

class WorkerPool {
 public:
  explicit WorkerPool(unsigned threads_max, milliseconds idle_max = seconds(10));
  // Runs what was submitted to its end.
  ~WorkerPool();

  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void Submit(std::function<void()> task);
  unsigned threads() const;

 private:
  // These two want mutex_ held.
  void AddThreads(size_t count);
  bool HasWaitingTask() const { return tasks_.size() > idle_; }

  void Work();
  void Grow();

  const unsigned threads_max_;
  const milliseconds idle_max_;
  mutable std::mutex mutex_;
  std::condition_variable submitted_;
  std::condition_variable waiting_;
  std::condition_variable ended_;
  std::deque<std::function<void()>> tasks_;
  uint64_t taken_ = 0;
  unsigned threads_ = 0;
  unsigned idle_ = 0;
  bool stopping_ = false;
  std::thread growing_;
};

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_WORKER_POOL_H_
