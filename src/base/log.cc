#include "src/base/log.h"

#include <atomic>

#include "src/base/fork_gate.h"

namespace turso {

namespace {
std::atomic<LogSink> g_sink{nullptr};
}  // namespace

void SetLogSink(LogSink sink) { g_sink.store(sink); }

void Log(LogLevel level, const std::string& line) {
  LogSink sink = g_sink.load();
  if (sink == nullptr) return;
  // The application's callback may wait for what the thread has that forks: Python's lock, for one.
  ForkGate::Away away;
  sink(level, line.c_str());
}

}  // namespace turso
