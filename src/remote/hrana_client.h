// SQL at a libSQL server: Hrana 3 over HTTP, in its Protocol Buffers form, which carries every
// value bit for bit. docs/HRANA_3_SPEC.md of github.com/tursodatabase/libsql
//
// A stream is a connection of the server's, named by a baton that every answer replaces; it ends
// after ten seconds without a request, and what it had begun is rolled back then.
//   (HC1) A request on a stream that is open is sent at most once, and `sent` is false only if no
//         byte of it left. One that opens a stream may be sent again where a kept connection turns
//         out to be dead; so it commits nothing.
//   (HC2) A batch runs within the transaction that its stream has open, or not at all: each step
//         demands that the one before succeeded and that the stream is not in autocommit. So also
//         where the server took the slot from us meanwhile and went on without a transaction.
// One thread at a time, but for Cancel().

#ifndef TURSO_SRC_REMOTE_HRANA_CLIENT_H_
#define TURSO_SRC_REMOTE_HRANA_CLIENT_H_

#include <optional>
#include <string>
#include <vector>

#include "src/changes/statements.h"
#include "src/http/http_client.h"
#include "src/remote/bearer_token.h"
#include "src/remote/log_client.h"
#include "src/remote/remote.h"

namespace turso {

struct HranaStream {
  std::string baton;     // Empty: not open.
  std::string base_url;  // Where it goes on; empty: where it began. No other place is asked.
};

struct HranaError {
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
  // (HC2)
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

class HranaClient {
 public:
  HranaClient(const LibsqlAddress& address, Remote::Traffic* traffic);

  // On success `stream` is as the answer leaves it; else it is lost. `sent`: see (HC1).
  Result<std::vector<HranaResult>> Ask(const HranaRequest& request, HranaStream* stream, bool* sent,
                                       const Call& call);
  void Cancel() { http_.Cancel(); }

 private:
  Result<std::vector<HranaResult>> AskOnce(const HranaRequest& request, HranaStream* stream,
                                           bool* sent, const Call& call);

  const LibsqlAddress address_;
  Remote::Traffic* traffic_;
  BearerToken token_;
  HttpClient http_;
  HttpRequest request_;
};

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_HRANA_CLIENT_H_
