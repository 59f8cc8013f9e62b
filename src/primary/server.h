// The embedded primary, put together: the databases of a directory behind HTTP, for replicas and
// for SQL clients.
//
// One server at a time serves a directory; a lock on DIR/turso-primary.lock sees to that.

#ifndef TURSO_SRC_PRIMARY_SERVER_H_
#define TURSO_SRC_PRIMARY_SERVER_H_

#include <memory>
#include <string>

#include "src/base/status.h"
#include "src/primary/access.h"
#include "src/primary/databases.h"
#include "src/primary/hrana_service.h"
#include "src/primary/http_server.h"
#include "src/primary/replica_api.h"
#include "src/primary/router.h"

namespace turso {

struct ServerOptions {
  std::string directory;
  OnMissing on_missing = OnMissing::kRefuse;
  NewDatabase new_database;  // What one begins with that was missing.
  Tokens tokens;
  HttpServerOptions http;
  HranaServiceOptions hrana;
};

// HOST and PORT of "HOST:PORT" or "[HOST]:PORT". kInvalid for anything else.
Status ParseListen(const std::string& listen, HttpServerOptions* http);

class Server {
 public:
  // Makes the directory if it is not there. kBusy if another server serves it; kInvalid without
  // tokens on an address that is not a loopback one.
  static Result<std::unique_ptr<Server>> Start(ServerOptions options);
  ~Server();

  // "http://127.0.0.1:8080"
  std::string url() const;
  HttpCounts http_counts() const { return http_->counts(); }

  // Answers what is open, and leaves the databases as ordinary files: their failure, if there is
  // one. Idempotent.
  Status Stop();

 private:
  Server() = default;
  std::string Metrics() const;

  // In the order in which they are built. They end in the other one.
  struct DirectoryLock {
    DirectoryLock() = default;
    DirectoryLock(const DirectoryLock&) = delete;
    DirectoryLock& operator=(const DirectoryLock&) = delete;
    ~DirectoryLock();
    Status Take(const std::string& directory);
    int fd = -1;
  };
  std::string host_;
  std::string scheme_;
  DirectoryLock lock_;
  std::unique_ptr<Databases> databases_;
  std::unique_ptr<ReplicaApi> replica_api_;
  std::unique_ptr<HranaService> hrana_;
  std::unique_ptr<Router> router_;
  std::unique_ptr<HttpServer> http_;
};

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_SERVER_H_
