#include "src/primary/worker_pool.h"

#include <algorithm>
#include <system_error>
#include <utility>

namespace turso {

namespace {
constexpr unsigned kThreadsAtOnce = 4;
// A task that nobody has taken for this long finds every thread blocked, or busy with a long one.
constexpr milliseconds kBlockedAfter(2);
}  // namespace

WorkerPool::WorkerPool(unsigned threads_max, milliseconds idle_max)
    : threads_max_(threads_max), idle_max_(idle_max), growing_([this] { Grow(); }) {}

WorkerPool::~WorkerPool() {
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    submitted_.notify_all();
    waiting_.notify_all();
  }
  growing_.join();
  std::unique_lock lock(mutex_);
  if (!tasks_.empty() && threads_ == 0) AddThreads(1);
  ended_.wait(lock, [this] { return threads_ == 0; });
}

void WorkerPool::Submit(std::function<void()> task) {
  std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
  if (!HasWaitingTask()) {
    submitted_.notify_one();
  } else if (threads_ < std::min(kThreadsAtOnce, threads_max_)) {
    AddThreads(1);
  } else {
    submitted_.notify_one();
    waiting_.notify_one();
  }
}

unsigned WorkerPool::threads() const {
  std::lock_guard lock(mutex_);
  return threads_;
}

void WorkerPool::AddThreads(size_t count) {
  for (size_t i = 0; i < count && threads_ < threads_max_; ++i) {
    try {
      ++threads_;
      std::thread([this] { Work(); }).detach();
    } catch (const std::system_error&) {
      // The machine gives no more threads: the tasks wait for those that are there.
      --threads_;
      return;
    }
  }
}

void WorkerPool::Grow() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    waiting_.wait(lock, [this] { return stopping_ || HasWaitingTask(); });
    uint64_t taken = taken_;
    waiting_.wait_for(lock, kBlockedAfter, [this] { return stopping_; });
    if (HasWaitingTask() && taken == taken_) AddThreads(tasks_.size() - idle_);
  }
}

void WorkerPool::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    ++idle_;
    submitted_.wait_for(lock, idle_max_, [this] { return !tasks_.empty() || stopping_; });
    --idle_;
    if (tasks_.empty()) break;
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    ++taken_;
    lock.unlock();
    task();
    task = nullptr;
    lock.lock();
  }
  // Notified under the lock: once the destructor sees no thread, this one touches the pool no more.
  --threads_;
  ended_.notify_all();
}

}  // namespace turso
