#include "src/primary/worker_pool.h"

#include <system_error>
#include <thread>
#include <utility>

namespace turso {

WorkerPool::WorkerPool(unsigned threads_max, milliseconds idle_max)
    : threads_max_(threads_max), idle_max_(idle_max) {}

WorkerPool::~WorkerPool() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  submitted_.notify_all();
  ended_.wait(lock, [this] { return threads_ == 0; });
}

void WorkerPool::Submit(std::function<void()> task) {
  std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
  if (idle_ >= tasks_.size() || threads_ >= threads_max_) {
    submitted_.notify_one();
    return;
  }
  try {
    ++threads_;
    std::thread([this] { Work(); }).detach();
  } catch (const std::system_error&) {
    // The machine gives no more threads: the task waits for one that is there. With none there is
    // nobody to run it, and the next Submit tries again.
    --threads_;
  }
}

unsigned WorkerPool::threads() const {
  std::lock_guard lock(mutex_);
  return threads_;
}

void WorkerPool::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    ++idle_;
    bool has_task =
        submitted_.wait_for(lock, idle_max_, [this] { return !tasks_.empty() || stopping_; });
    --idle_;
    if (tasks_.empty() && (!has_task || stopping_)) break;
    if (tasks_.empty()) continue;
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
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
