#include "src/primary/router.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>

#include <vector>

#include "src/primary/json_text.h"

namespace turso {

namespace {

constexpr uint64_t kHranaBodyMax = uint64_t{256} << 20;
constexpr size_t kNameMax = 64;

// The parts between the slashes, each decoded. An empty last part is left out, so a slash at the
// end means nothing.
std::vector<std::string> SplitPath(std::string_view path) {
  std::vector<std::string> parts;
  if (!path.empty() && path.front() == '/') path.remove_prefix(1);
  while (!path.empty()) {
    size_t slash = path.find('/');
    std::string part(path.substr(0, slash));
    // It decodes in place, and leaves a wrong escape as it is.
    part.resize(MHD_http_unescape(part.data()));
    parts.push_back(std::move(part));
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return parts;
}

bool IsName(std::string_view name) {
  if (name.empty() || name.size() > kNameMax || name.front() == '.') return false;
  if (name.find("..") != std::string_view::npos) return false;
  for (char c : name) {
    bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                c == '_' || c == '-' || c == '.';
    if (!good) return false;
  }
  return true;
}

struct Tail {
  std::vector<std::string_view> parts;
  RouteKind kind;
};

const std::vector<Tail>& Tails() {
  static const auto* tails = new std::vector<Tail>{
      {{"v2", "pipeline"}, RouteKind::kPipeline2},
      {{"v3", "pipeline"}, RouteKind::kPipeline3},
      {{"v3", "cursor"}, RouteKind::kCursor},
      {{"_turso", "v1", "*"}, RouteKind::kReplica},
      {{"v2"}, RouteKind::kProbe},
      {{"v3"}, RouteKind::kProbe},
  };
  return *tails;
}

bool EndsWith(const std::vector<std::string>& parts, const std::vector<std::string_view>& tail) {
  if (parts.size() < tail.size()) return false;
  for (size_t i = 0; i < tail.size(); ++i) {
    if (tail[i] != "*" && parts[parts.size() - tail.size() + i] != tail[i]) return false;
  }
  return true;
}

std::optional<RouteKind> ServerWide(const std::vector<std::string>& parts) {
  if (parts.empty()) return RouteKind::kAbout;
  if (parts.size() != 1) return std::nullopt;
  if (parts[0] == "health") return RouteKind::kHealth;
  if (parts[0] == "version") return RouteKind::kVersion;
  if (parts[0] == "metrics") return RouteKind::kMetrics;
  return std::nullopt;
}

bool IsRead(const std::string& method) { return method == "GET" || method == "HEAD"; }

bool WantsPost(RouteKind kind) {
  return kind == RouteKind::kPipeline2 || kind == RouteKind::kPipeline3 ||
         kind == RouteKind::kCursor || kind == RouteKind::kReplica;
}

bool WantsToken(RouteKind kind) { return WantsPost(kind) || kind == RouteKind::kMetrics; }

unsigned HttpStatusOf(const Status& status) {
  switch (status.code()) {
    case Code::kNotFound: return 404;
    case Code::kDenied: return 401;
    default: return 400;
  }
}

// Whether a page's origin, scheme://host[:port], is this machine.
bool IsOfThisMachine(std::string_view origin) {
  size_t scheme = origin.find("://");
  if (scheme == std::string_view::npos) return false;
  std::string_view host = origin.substr(scheme + 3);
  if (host == "[::1]" || host.substr(0, 6) == "[::1]:") return true;
  host = host.substr(0, host.find(':'));
  if (host == "localhost") return true;
  in_addr address{};
  return inet_pton(AF_INET, std::string(host).c_str(), &address) == 1 &&
         ntohl(address.s_addr) >> 24 == 127;
}

// https://fetch.spec.whatwg.org/#http-cors-protocol
void ShowToPages(HttpResponse* response) {
  response->headers.emplace_back("Access-Control-Allow-Origin", "*");
}

}  // namespace

const char* RouteKindName(RouteKind kind) {
  static constexpr const char* kNames[kRouteKinds] = {"about",    "health", "version",
                                                      "metrics",  "probe",  "pipeline",
                                                      "pipeline", "cursor", "replica"};
  return kNames[static_cast<size_t>(kind)];
}

Result<Route> ParseRoute(std::string_view path) {
  std::vector<std::string> parts = SplitPath(path);
  Route route;
  if (std::optional<RouteKind> kind = ServerWide(parts)) {
    route.kind = *kind;
    return route;
  }
  for (const Tail& tail : Tails()) {
    if (!EndsWith(parts, tail.parts) || parts.size() > tail.parts.size() + 1) continue;
    route.kind = tail.kind;
    route.database = parts.size() > tail.parts.size() ? parts.front() : "main";
    if (tail.kind == RouteKind::kReplica) route.call = parts.back();
    if (IsName(route.database)) return route;
    return Status(
        Code::kInvalid,
        "\"" + route.database +
            "\" cannot be the name of a database: letters, digits, - _ and . may be in it, "
            "the . not first and not twice in a row");
  }
  return Status(Code::kNotFound, "nothing is at " + std::string(path));
}

HttpResponse Router::Refusal(RouteKind kind, const Status& status) const {
  if (kind == RouteKind::kReplica && parts_.replica_failure) return parts_.replica_failure(status);
  std::string code = status.code() == Code::kDenied     ? "UNAUTHORIZED"
                     : status.code() == Code::kNotFound ? "NOT_FOUND"
                                                        : "BAD_REQUEST";
  HttpResponse response =
      HttpResponse::Json(HttpStatusOf(status), HranaErrorJson({status.text(), code, ""}));
  if (status.code() == Code::kDenied) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

bool Router::IsForeignPage(const HttpHead& head) const {
  std::optional<std::string_view> origin = head.Header("Origin");
  return origin && tokens_.empty() && !IsOfThisMachine(*origin);
}

Admission Router::Admit(const HttpHead& head) {
  Admission admission;
  if (IsForeignPage(head)) {
    admission.refusal = HttpResponse::Json(
        403, HranaErrorJson({"without a token file, pages from elsewhere may not ask this server",
                             "FORBIDDEN_ORIGIN", ""}));
    return admission;
  }
  if (head.method == "OPTIONS" && head.Header("Access-Control-Request-Method")) {
    admission.refusal = HttpResponse::Text(204, "");
    admission.refusal->headers = {
        {"Access-Control-Allow-Methods", "GET, HEAD, POST"},
        {"Access-Control-Allow-Headers",
         std::string(head.Header("Access-Control-Request-Headers").value_or(""))},
        {"Access-Control-Max-Age", "86400"}};
  } else {
    admission = AdmitRoute(head);
  }
  if (admission.refusal && head.Header("Origin")) ShowToPages(&*admission.refusal);
  return admission;
}

Admission Router::AdmitRoute(const HttpHead& head) {
  Admission admission;
  Result<Route> route = ParseRoute(head.path);
  if (!route.ok()) {
    RouteKind like =
        head.path.find("/_turso/") != std::string::npos ? RouteKind::kReplica : RouteKind::kAbout;
    admission.refusal = Refusal(like, route.status());
    return admission;
  }
  ++requests_[static_cast<size_t>(route->kind)];
  if (WantsPost(route->kind) ? head.method != "POST" : !IsRead(head.method)) {
    const char* allowed = WantsPost(route->kind) ? "POST" : "GET, HEAD";
    admission.refusal = HttpResponse::Json(
        405, HranaErrorJson({"this path wants " + std::string(allowed), "METHOD_NOT_ALLOWED", ""}));
    admission.refusal->headers.emplace_back("Allow", allowed);
    return admission;
  }
  if (WantsToken(route->kind) && tokens_.Check(head.Header("Authorization")) == Access::kNone) {
    ++denied_;
    bool missing = !head.Header("Authorization");
    admission.refusal = Refusal(
        route->kind,
        Status(Code::kDenied, missing ? "this server wants a token (Authorization: Bearer …)"
                                      : "the token is not known"));
    return admission;
  }
  if (WantsPost(route->kind)) {
    admission.body_max =
        route->kind == RouteKind::kReplica ? parts_.replica_body_max : kHranaBodyMax;
  }
  return admission;
}

void Router::Serve(ServedRequest request, Respond respond) {
  Result<Route> route = ParseRoute(request.head.path);
  if (!route.ok()) return respond(Refusal(RouteKind::kAbout, route.status()));
  Access access = tokens_.Check(request.head.Header("Authorization"));
  if (request.head.Header("Origin")) {
    respond = [respond = std::move(respond)](HttpResponse response) {
      ShowToPages(&response);
      respond(std::move(response));
    };
  }
  switch (route->kind) {
    case RouteKind::kAbout:
    case RouteKind::kVersion:
      return respond(HttpResponse::Text(200, "turso-primary " + parts_.version + "\n"));
    case RouteKind::kHealth:
    case RouteKind::kProbe: return respond(HttpResponse::Text(200, ""));
    case RouteKind::kMetrics: {
      HttpResponse response = HttpResponse::Text(200, parts_.metrics());
      response.content_type = "text/plain; version=0.0.4; charset=utf-8";
      return respond(std::move(response));
    }
    case RouteKind::kPipeline2:
      return parts_.hrana->Pipeline(HranaVersion::k2, route->database, access, request, respond);
    case RouteKind::kPipeline3:
      return parts_.hrana->Pipeline(HranaVersion::k3, route->database, access, request, respond);
    case RouteKind::kCursor: return parts_.hrana->Cursor(route->database, access, request, respond);
    case RouteKind::kReplica:
      return parts_.replica_call(route->database, route->call, access, AsBytes(request.body),
                                 std::move(respond));
  }
}

}  // namespace turso
