#include "src/base/log.h"

#include <atomic>

namespace turso {

namespace {
std::atomic<LogSink> g_sink{nullptr};
}  // namespace

void SetLogSink(LogSink sink) { g_sink.store(sink); }

void Log(LogLevel level, const std::string& line) {
  if (LogSink sink = g_sink.load()) sink(level, line.c_str());
}

}  // namespace turso
