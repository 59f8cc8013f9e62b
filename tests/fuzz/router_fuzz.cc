// The head of a request to the primary: its path, its token, where it comes from.
// Input: flags u8 (1: the server has tokens) | method u8 | path (length u16)
//        | headers: each a name u8 and a value (length u16)

#include <cstring>

#include "src/primary/history.h"
#include "src/primary/router.h"
#include "tests/fuzz/fuzz.h"

namespace turso {

// Requests are admitted here and not served.
void HranaService::Pipeline(HranaVersion, const std::string&, Access, const ServedRequest&,
                            const Respond&) {
  std::abort();
}
void HranaService::Cursor(const std::string&, Access, const ServedRequest&, const Respond&) {
  std::abort();
}

namespace {

constexpr const char* kReadToken = "reader";
constexpr const char* kWriteToken = "writer";

bool CanNameAFile(const std::string& name) {
  return !name.empty() && name.size() <= 64 && name[0] != '.' &&
         name.find("..") == std::string::npos && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

// A path that means something names a database that can be a file of the data directory.
void CheckRoute(const std::string& path) {
  Result<Route> route = ParseRoute(path);
  if (!route.ok()) {
    TURSO_REQUIRE(route.status().code() == Code::kNotFound ||
                  route.status().code() == Code::kInvalid);
    TURSO_REQUIRE(!route.status().text().empty());
    return;
  }
  TURSO_REQUIRE(static_cast<size_t>(route->kind) < kRouteKinds);
  const bool server_wide = route->kind <= RouteKind::kMetrics;
  TURSO_REQUIRE(server_wide ? route->database.empty() : CanNameAFile(route->database));
  if (server_wide) return;
  std::string again = "/" + route->database;
  if (route->kind == RouteKind::kPipeline2) again += "/v2/pipeline";
  if (route->kind == RouteKind::kPipeline3) again += "/v3/pipeline";
  if (route->kind == RouteKind::kCursor) again += "/v3/cursor";
  if (route->kind == RouteKind::kProbe) again += "/v2";
  if (route->kind == RouteKind::kReplica) again += "/_turso/v1/identify";
  Result<Route> same = ParseRoute(again);
  TURSO_REQUIRE(same.ok() && same->kind == route->kind && same->database == route->database);
}

// Only the whole token behind "Bearer" lets anybody in.
void CheckAccess(const Tokens& tokens, const std::string& value) {
  const Access access = tokens.Check(value);
  if (access == Access::kNone) return;
  const char* token = access == Access::kWrite ? kWriteToken : kReadToken;
  const size_t at = value.find(token);
  TURSO_REQUIRE(at != std::string::npos && at >= std::strlen("bearer "));
  TURSO_REQUIRE(value.find_first_not_of(" \t\r\n", at + std::strlen(token)) == std::string::npos);
  TURSO_REQUIRE(strncasecmp(value.c_str(), "bearer ", 7) == 0);
}

// A revision has one text.
void CheckRevision(std::string_view text) {
  std::optional<RevisionId> id = RevisionId::Parse(text);
  if (id) TURSO_REQUIRE(id->text() == text);
}

}  // namespace
}  // namespace turso

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turso;
  static constexpr const char* kMethods[] = {"GET", "POST", "HEAD", "OPTIONS", "PUT"};
  static constexpr const char* kNames[] = {"Authorization",
                                           "Origin",
                                           "Access-Control-Request-Method",
                                           "Access-Control-Request-Headers",
                                           "AUTHORIZATION",
                                           "Content-Length"};
  fuzz::Input in({data, size});
  const bool has_tokens = (in.U8() & 1) != 0;
  Tokens tokens;
  if (has_tokens) {
    tokens.Add(kReadToken, Access::kRead);
    tokens.Add(kWriteToken, Access::kWrite);
  }
  HttpHead head;
  head.method = kMethods[in.U8() % std::size(kMethods)];
  head.path = std::string(in.Text()).c_str();  // As libmicrohttpd hands it on.
  CheckRoute(head.path);
  CheckRevision(head.path);
  while (!in.empty()) {
    const char* name = kNames[in.U8() % std::size(kNames)];
    std::string value = std::string(in.Text()).c_str();
    value.resize(std::min(value.find_first_of("\r\n"), value.size()));
    if (has_tokens) CheckAccess(tokens, value);
    head.headers.emplace_back(name, value);
  }
  RouterParts parts;
  parts.replica_body_max = 1 << 20;
  Router router(tokens, parts);
  const Admission admission = router.Admit(head);
  const Access access = tokens.Check(head.Header("Authorization"));
  Result<Route> route = ParseRoute(head.path);
  if (admission.refusal) {
    TURSO_REQUIRE(admission.refusal->status >= 200 && admission.refusal->body != nullptr);
    for (const auto& [name, value] : admission.refusal->headers)
      TURSO_REQUIRE(value.find_first_of("\r\n") == std::string::npos);
    return 0;
  }
  TURSO_REQUIRE(route.ok());
  const bool anybody = route->kind <= RouteKind::kVersion || route->kind == RouteKind::kProbe;
  TURSO_REQUIRE(anybody || access != Access::kNone);
  TURSO_REQUIRE(admission.body_max == 0 || head.method == "POST");
  return 0;
}
