// One line at a time to whoever listens: sqlite3_log() in the extension, the log file in the
// primary, nobody by default. Never to standard output: it belongs to the application.

#ifndef TURSO_SRC_BASE_LOG_H_
#define TURSO_SRC_BASE_LOG_H_

#include <string>

namespace turso {

enum class LogLevel { kInfo, kWarning, kError };

using LogSink = void (*)(LogLevel level, const char* line);

// Replaces the sink; null for silence. Any thread may call both.
void SetLogSink(LogSink sink);
void Log(LogLevel level, const std::string& line);

}  // namespace turso

#endif  // TURSO_SRC_BASE_LOG_H_
