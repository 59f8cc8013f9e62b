// One thread that runs short tasks at their time: ends long polls, passes leases on, wakes
// followers.
//
// Tasks run one after another and must not wait for anything. The thread starts with the first
// task. Any thread may call; a task may set further ones. Not from within a task: Stop().

#ifndef TURSO_SRC_PRIMARY_ALARM_H_
#define TURSO_SRC_PRIMARY_ALARM_H_

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "src/base/clock.h"

namespace turso {

class Alarm {
 public:
  Alarm() = default;
  ~Alarm() { Stop(); }
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;

  // Tasks of the same time run in the order they were set. After Stop() they are dropped.
  void At(Instant when, std::function<void()> task);
  void Soon(std::function<void()> task) { At(Instant{0}, std::move(task)); }
  // Waits for the task that runs; those that are not due are dropped.
  void Stop();

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<Instant, std::function<void()>> tasks_;
  std::thread thread_;
  bool stopping_ = false;
};

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_ALARM_H_
