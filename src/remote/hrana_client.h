// SQL at a libSQL server: Hrana 3 over HTTP.
//
// A stream ends after ten seconds without a request, and what it had begun is rolled back then.
//   (HC1) A request on a stream that is open is sent at most once, but for one that was turned
//         away, and `sent` is false only if no byte of it left or it was turned away. One that
//         opens a stream may be sent again where a kept connection turns out to be dead; so it
//         commits nothing.
// One thread at a time, but for Cancel().

#ifndef TURSO_SRC_REMOTE_HRANA_CLIENT_H_
#define TURSO_SRC_REMOTE_HRANA_CLIENT_H_

#include <vector>

#include "src/http/http_client.h"
#include "src/remote/bearer_token.h"
#include "src/remote/hrana_message.h"
#include "src/remote/log_client.h"
#include "src/remote/remote.h"

namespace turso {

class HranaClient {
 public:
  HranaClient(const LibsqlAddress& address, Remote::Traffic* traffic);

  // On success `stream` is as the answer leaves it; kFull, of a request that is too large, leaves
  // it as it was; else it is lost. `sent`: see (HC1).
  Result<std::vector<HranaResult>> Ask(const HranaRequest& request, HranaStream* stream, bool* sent,
                                       const Call& call);
  // As HttpClient::Rest, once something was asked.
  Status Rest(Duration duration, const Call& call);
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
