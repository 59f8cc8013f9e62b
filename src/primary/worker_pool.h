// Threads for work that may block: as many as are busy at once, up to a bound, and gone when idle
// for a while.
//
// Work is started in the order it came. Beyond the bound it waits for a thread.
// Any thread may call; a task may submit further tasks.

#ifndef TURSO_SRC_PRIMARY_WORKER_POOL_H_
#define TURSO_SRC_PRIMARY_WORKER_POOL_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

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
  void Work();

  const unsigned threads_max_;
  const milliseconds idle_max_;
  mutable std::mutex mutex_;
  std::condition_variable submitted_;
  std::condition_variable ended_;
  std::deque<std::function<void()>> tasks_;
  unsigned threads_ = 0;
  unsigned idle_ = 0;
  bool stopping_ = false;
};

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_WORKER_POOL_H_
