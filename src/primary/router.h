// What each path of the server means, and who may ask it.
//
//   GET  /  /health  /version                    anybody
//   GET  /metrics                                who may read
//   GET  [/NAME]/v2  [/NAME]/v3                  anybody: clients ask so which version is spoken
//   POST [/NAME]/v2/pipeline  …/v3/pipeline  …/v3/cursor
//   POST [/NAME]/_turso/v1/CALL
//
// Pages in browsers may ask like anybody else (CORS) where tokens are wanted: no browser adds one
// by itself. Where none are, a page from elsewhere is refused, since every page that the user of
// this machine looks at could otherwise write to his databases.
//
// Without /NAME the database is `main`. Each part of a path is percent-decoded once, after the path
// was split. Any thread.

#ifndef TURSO_SRC_PRIMARY_ROUTER_H_
#define TURSO_SRC_PRIMARY_ROUTER_H_

#include <array>
#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/bytes.h"
#include "src/base/status.h"
#include "src/primary/access.h"
#include "src/primary/hrana_service.h"
#include "src/primary/http_server.h"

namespace turso {

enum class RouteKind {
  kAbout,
  kHealth,
  kVersion,
  kMetrics,
  kProbe,
  kPipeline2,
  kPipeline3,
  kCursor,
  kReplica
};
inline constexpr size_t kRouteKinds = 9;
// "pipeline", "replica"…: for metrics.
const char* RouteKindName(RouteKind kind);

struct Route {
  RouteKind kind = RouteKind::kAbout;
  std::string database;
  // What follows /_turso/v1/.
  std::string call;
};

// kNotFound for a path that means nothing, kInvalid for an impossible name.
Result<Route> ParseRoute(std::string_view path);

// What the router passes requests on to.
struct RouterParts {
  HranaService* hrana = nullptr;
  std::function<void(std::string_view database, std::string_view call, Access access, ByteView body,
                     Respond respond)>
      replica_call;
  // A failure as replicas read it.
  std::function<HttpResponse(const Status&)> replica_failure;
  uint64_t replica_body_max = 0;
  // Lines in Prometheus's text format.
  std::function<std::string()> metrics;
  std::string version;
};

class Router : public HttpHandler {
 public:
  Router(Tokens tokens, RouterParts parts) : tokens_(std::move(tokens)), parts_(std::move(parts)) {}

  Admission Admit(const HttpHead& head) override;
  void Serve(ServedRequest request, Respond respond) override;

  uint64_t requests(RouteKind kind) const { return requests_[static_cast<size_t>(kind)]; }
  // Requests refused for their token.
  uint64_t denied() const { return denied_; }

 private:
  HttpResponse Refusal(RouteKind kind, const Status& status) const;
  Admission AdmitRoute(const HttpHead& head);
  bool IsForeignPage(const HttpHead& head) const;

  const Tokens tokens_;
  const RouterParts parts_;
  std::array<std::atomic<uint64_t>, kRouteKinds> requests_{};
  std::atomic<uint64_t> denied_{0};
};

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_ROUTER_H_
