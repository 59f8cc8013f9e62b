#include "src/primary/server.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <utility>

#include "extension/turso_vfs.h"
#include "src/base/log.h"
#include "src/primary/errno_text.h"

namespace turso {

namespace {

bool IsLoopback(const addrinfo& address) {
  if (address.ai_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(address.ai_addr);
    return ntohl(in->sin_addr.s_addr) >> 24 == 127;
  }
  if (address.ai_family != AF_INET6) return false;
  return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(address.ai_addr)->sin6_addr);
}

Status RequireLoopback(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int rc = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (rc != 0)
    return Status(Code::kUnavailable, "cannot listen on " + host + ": " + gai_strerror(rc));
  bool loopback = true;
  for (addrinfo* one = found; one; one = one->ai_next) loopback = loopback && IsLoopback(*one);
  freeaddrinfo(found);
  if (loopback) return OkStatus();
  return Status(Code::kInvalid, "without a token file the server listens on loopback only, and " +
                                    host + " is not: give --token-file");
}

// One family of Prometheus's text format:
// https://prometheus.io/docs/instrumenting/exposition_formats/
class Metric {
 public:
  Metric(std::string* out, const char* name, const char* type, const char* help)
      : out_(out), name_(name) {
    *out_ += std::string("# HELP ") + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
  }
  void Set(const std::string& labels, uint64_t value) {
    *out_ +=
        name_ + (labels.empty() ? "" : "{" + labels + "}") + " " + std::to_string(value) + "\n";
  }

 private:
  std::string* const out_;
  const std::string name_;
};

std::string Label(const char* name, const std::string& value) {
  return std::string(name) + "=\"" + value + "\"";
}

using OpenDatabases = std::map<std::string, std::shared_ptr<ServedDatabase>>;

void AppendDatabaseMetrics(const OpenDatabases& databases, std::string* out) {
  std::map<std::string, DatabaseCounts> counts;
  for (const auto& [name, database] : databases) counts[name] = database->counts();
  struct Family {
    const char* name;
    const char* type;
    const char* help;
    uint64_t DatabaseCounts::*field;
  };
  static constexpr Family kFamilies[] = {
      {"turso_page_commits_total", "counter", "Transactions committed by replicas.",
       &DatabaseCounts::page_commits},
      {"turso_sql_commits_total", "counter", "Transactions committed by SQL clients.",
       &DatabaseCounts::sql_commits},
      {"turso_conflicts_total", "counter",
       "Commits refused because their base was not the newest revision.",
       &DatabaseCounts::conflicts},
      {"turso_pages_sent_total", "counter", "Pages sent to replicas.", &DatabaseCounts::pages_sent},
      {"turso_followers", "gauge", "Pulls that wait for something new.", &DatabaseCounts::waiting},
      {"turso_revision", "gauge", "Counter of the newest revision, within the server's epoch.",
       &DatabaseCounts::counter},
      {"turso_database_pages", "gauge", "Size of the database in pages.", &DatabaseCounts::db_size},
  };
  for (const Family& family : kFamilies) {
    Metric metric(out, family.name, family.type, family.help);
    for (const auto& [name, count] : counts)
      metric.Set(Label("database", name), count.*family.field);
  }
}

}  // namespace

Status ParseListen(const std::string& listen, HttpServerOptions* http) {
  size_t colon = listen.rfind(':');
  Status wrong(Code::kInvalid,
               "--listen wants HOST:PORT, as in 127.0.0.1:8080 or [::1]:8080, and not " + listen);
  if (colon == std::string::npos || colon == 0) return wrong;
  std::string host = listen.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string::npos) {
    return wrong;
  }
  const char* begin = listen.data() + colon + 1;
  const char* end = listen.data() + listen.size();
  auto [stopped, error] = std::from_chars(begin, end, http->port);
  if (host.empty() || begin == end || error != std::errc() || stopped != end) return wrong;
  http->host = host;
  return OkStatus();
}

Status Server::DirectoryLock::Take(const std::string& directory) {
  std::string path = directory + "/turso-primary.lock";
  fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return Status(Code::kIo, "cannot open " + path + ": " + ErrnoText());
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return OkStatus();
  if (errno == EWOULDBLOCK) return Status(Code::kBusy, "another turso-primary serves " + directory);
  return Status(Code::kIo, "cannot lock " + path + ": " + ErrnoText());
}

Server::DirectoryLock::~DirectoryLock() {
  if (fd >= 0) close(fd);
}

Result<std::unique_ptr<Server>> Server::Start(ServerOptions options) {
  if (options.tokens.empty()) TURSO_RETURN_IF_ERROR(RequireLoopback(options.http.host));
  std::error_code error;
  std::filesystem::create_directories(options.directory, error);
  if (error) return Status(Code::kIo, "cannot make " + options.directory + ": " + error.message());
  std::string directory = std::filesystem::canonical(options.directory, error).string();
  if (error) return Status(Code::kIo, "cannot find " + options.directory + ": " + error.message());

  std::unique_ptr<Server> server(new Server());
  server->scheme_ = options.http.tls_certificate.empty() ? "http" : "https";
  server->host_ = options.http.host;
  TURSO_RETURN_IF_ERROR(server->lock_.Take(directory));
  Result<std::unique_ptr<Databases>> databases =
      Databases::Open(directory, options.on_missing, options.new_database);
  if (!databases.ok()) return databases.status();
  server->databases_ = std::move(*databases);
  server->replica_api_ = std::make_unique<ReplicaApi>(server->databases_.get());

  Server* self = server.get();
  server->hrana_ = std::make_unique<HranaService>(
      [self](const std::string& name) { return self->databases_->OpenConnection(name); },
      options.hrana);
  RouterParts parts;
  parts.hrana = server->hrana_.get();
  parts.replica_call = [self](std::string_view database, std::string_view call, Access access,
                              ByteView body, Respond respond) {
    self->replica_api_->Handle(database, call, access, body, std::move(respond));
  };
  parts.replica_failure = &ReplicaApi::Failure;
  parts.replica_body_max = kReplicaApiBodyMax;
  parts.metrics = [self] { return self->Metrics(); };
  parts.version = TURSO_VFS_VERSION;
  server->router_ = std::make_unique<Router>(std::move(options.tokens), std::move(parts));
  Result<std::unique_ptr<HttpServer>> http =
      HttpServer::Start(std::move(options.http), server->router_.get());
  if (!http.ok()) return http.status();
  server->http_ = std::move(*http);
  return server;
}

Server::~Server() {
  if (Status status = Stop(); !status.ok()) Log(LogLevel::kError, status.text());
}

std::string Server::url() const {
  std::string host = host_.find(':') == std::string::npos ? host_ : "[" + host_ + "]";
  return scheme_ + "://" + host + ":" + std::to_string(http_->port());
}

Status Server::Stop() {
  if (!databases_) return OkStatus();
  // Followers first, so that their answers go out while the connections still stand.
  databases_->StopWaiting();
  if (http_) http_->Stop();
  if (hrana_) hrana_->Stop();
  return databases_->Stop();
}

std::string Server::Metrics() const {
  std::string out;
  HttpCounts http = http_->counts();
  Metric requests(&out, "turso_http_requests_total", "counter", "Requests by what they asked for.");
  std::map<std::string, uint64_t> by_name;
  for (size_t i = 0; i < kRouteKinds; ++i) {
    auto kind = static_cast<RouteKind>(i);
    by_name[RouteKindName(kind)] += router_->requests(kind);
  }
  for (const auto& [name, count] : by_name) requests.Set(Label("endpoint", name), count);
  Metric(&out, "turso_http_denied_total", "counter",
         "Requests without a token that the server knows.")
      .Set("", router_->denied());
  Metric(&out, "turso_http_requests_open", "gauge", "Requests under way, those that wait included.")
      .Set("", http.requests_open);
  Metric(&out, "turso_http_connections", "gauge", "Open connections.")
      .Set("", http.connections_open);
  Metric(&out, "turso_http_received_bytes_total", "counter", "Bytes of request bodies.")
      .Set("", http.bytes_received);
  Metric(&out, "turso_http_sent_bytes_total", "counter", "Bytes of answer bodies.")
      .Set("", http.bytes_sent);
  HranaService::Counts hrana = hrana_->counts();
  Metric(&out, "turso_sql_streams", "gauge", "Open SQL streams.").Set("", hrana.streams_open);
  Metric(&out, "turso_sql_requests_total", "counter", "Requests on SQL streams.")
      .Set("", hrana.statements);
  AppendDatabaseMetrics(databases_->opened(), &out);
  return out;
}

}  // namespace turso
