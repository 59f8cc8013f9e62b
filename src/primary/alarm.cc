#include "src/primary/alarm.h"

#include <signal.h>

namespace turso {

void Alarm::At(Instant when, std::function<void()> task) {
  std::lock_guard lock(mutex_);
  if (stopping_) return;
  tasks_.emplace(when, std::move(task));
  if (!thread_.joinable()) {
    // Signals belong to the main thread, which waits for them.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { Run(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  changed_.notify_one();
}

void Alarm::Stop() {
  std::thread ending;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    ending.swap(thread_);
    changed_.notify_one();
  }
  if (ending.joinable()) ending.join();
  std::lock_guard lock(mutex_);
  tasks_.clear();
}

void Alarm::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (tasks_.empty()) {
      changed_.wait(lock);
      continue;
    }
    Duration left = tasks_.begin()->first - Instant::Now();
    if (left > Duration::zero()) {
      changed_.wait_for(lock, left);
      continue;
    }
    auto task = tasks_.extract(tasks_.begin());
    lock.unlock();
    task.mapped()();
    task = {};
    lock.lock();
  }
}

}  // namespace turso
