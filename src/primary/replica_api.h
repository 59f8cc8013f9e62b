// The calls of the `primary` protocol (src/primary/README.md), from HTTP body to HTTP answer.
//
// No call waits for another replica in the caller's thread: a pull with `wait_ms` and a lease that
// somebody has are answered later, through `respond`, from a thread of the databases. Any thread.

#ifndef TURSO_SRC_PRIMARY_REPLICA_API_H_
#define TURSO_SRC_PRIMARY_REPLICA_API_H_

#include <string_view>

#include "src/base/bytes.h"
#include "src/primary/access.h"
#include "src/primary/databases.h"
#include "src/primary/http_server.h"

namespace turso {

inline constexpr char kReplicaApiContentType[] = "application/x-turso-vfs";
// A request body above this is not worth reading: a commit of more is refused as `full`.
inline constexpr uint64_t kReplicaApiBodyMax = uint64_t{1} << 30;

class ReplicaApi {
 public:
  // `databases` must outlive it.
  explicit ReplicaApi(Databases* databases) : databases_(databases) {}

  // Answers `POST /DATABASE/_turso/v1/CALL`. Calls `respond` exactly once, here or later. `body` is
  // not used after the return.
  void Handle(std::string_view database, std::string_view call, Access access, ByteView body,
              Respond respond);

  // A failure in the protocol's own words, for what is refused before it comes to Handle().
  static HttpResponse Failure(const Status& status);

 private:
  Databases* databases_;
};

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_REPLICA_API_H_
