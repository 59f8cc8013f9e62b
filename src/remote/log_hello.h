// What a libSQL server says to a client that introduces itself.
//
//   HelloResponse := log_id string (field 3) | session_token bytes (4) |
//                    current_replication_index u64 (5)
//
// libsql-replication/proto/replication_log.proto of github.com/tursodatabase/libsql
// Pure.

#ifndef TURSO_SRC_REMOTE_LOG_HELLO_H_
#define TURSO_SRC_REMOTE_LOG_HELLO_H_

#include <string>

#include "src/remote/libsql_log.h"

namespace turso {

struct LogHello {
  LogId log{};
  std::string session;  // A UUID.
  uint64_t end = 0;     // How many frames the log has.
};
// kCorrupt where a part is missing, or is not what it has to be.
Result<LogHello> ParseLogHello(ByteView message);

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_LOG_HELLO_H_
