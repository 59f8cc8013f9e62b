// What SQL at a libSQL server is asked and answered in: the pipeline of Hrana 3, in its Protocol
// Buffers form, which carries every value bit for bit. docs/HRANA_3_SPEC.md and
// libsql-hrana/src/protobuf.rs of github.com/tursodatabase/libsql
//
//   request := baton | request*        answer := baton | base URL | result*
//
// A stream is a connection of the server's, named by a baton that every answer replaces.
//   (HM1) A batch runs within the transaction that its stream has open, or not at all: each step
//         demands that the one before succeeded and that the stream is not in autocommit. So also
//         where the server took the slot from us meanwhile and went on without a transaction.
// Pure. Any thread.

#ifndef TURSO_SRC_REMOTE_HRANA_MESSAGE_H_
#define TURSO_SRC_REMOTE_HRANA_MESSAGE_H_

#include <optional>
#include <string>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/status.h"
#include "src/changes/statements.h"

namespace turso {

struct HranaStream {
  std::string baton;     // Empty: not open.
  std::string base_url;  // Where it goes on; empty: where it began. No other place is asked.
};

struct HranaError {  // In characters that a terminal shows as they are, and not too many.
  std::string message;
  std::string code;  // "SQLITE_BUSY", "TRANSACTION_TIMEOUT"...
};

struct HranaResult {
  std::optional<HranaError> error;
  std::vector<std::vector<Value>> rows;
  std::optional<uint64_t> last_frame;  // The end of the server's log, after it.
  size_t steps_done = 0;  // Of a batch: those that succeeded, all before the first other.
};

// What one exchange asks for, in its order.
class HranaRequest {
 public:
  // By itself: runs whatever became of what was before it.
  HranaRequest& Execute(const Statement& statement);
  HranaRequest& Execute(const char* sql) { return Execute(Statement{sql, {}}); }
  // (HM1)
  HranaRequest& Batch(const Statement* begin, const Statement* end);
  HranaRequest& Close();
  size_t size() const { return count_; }
  // As a body, for a stream with this baton.
  std::string Body(const std::string& baton) const;

 private:
  std::string requests_;
  size_t count_ = 0;
};

struct HranaAnswer {
  HranaStream stream;  // Not open if it was closed.
  std::vector<HranaResult> results;
};
// `asked` results; kCorrupt if there are not so many.
Result<HranaAnswer> ParseHranaAnswer(ByteView body, size_t asked);

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_HRANA_MESSAGE_H_
