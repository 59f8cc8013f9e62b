#include "src/primary/http_server.h"

#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>
#include <thread>
#include <unordered_map>

#include "src/base/log.h"
#include "src/primary/errno_text.h"
#include "src/primary/worker_pool.h"

namespace turso {

namespace {

// A refused body up to this size is read to its end, so that the connection can go on; the
// connection of a larger one is closed.
constexpr uint64_t kDiscardMax = 1 << 20;
constexpr size_t kReserveMax = 1 << 20;
constexpr size_t kConnectionMemory = 64 << 10;
constexpr rlim_t kFilesWanted = 1 << 16;
constexpr rlim_t kFilesForOthers = 256;

const std::shared_ptr<const std::string>& EmptyBody() {
  static const auto* body = new std::shared_ptr<const std::string>(std::make_shared<std::string>());
  return *body;
}

// The soft limit is a default for programs that use select(); this one may have as many files as
// the hard one allows.
rlim_t RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  rlim_t wanted =
      limit.rlim_max == RLIM_INFINITY ? kFilesWanted : std::min(limit.rlim_max, kFilesWanted);
  if (limit.rlim_cur < wanted) {
    rlimit raised{wanted, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit.rlim_cur = wanted;
  }
  return limit.rlim_cur;
}

std::string WhereText(const std::string& host, uint16_t port) {
  return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" +
         std::to_string(port);
}

Result<int> BindAndListen(const addrinfo& address, const std::string& where) {
  int fd = socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return Status(Code::kUnavailable, "cannot open a socket for " + where + ": " + ErrnoText());
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, address.ai_addr, address.ai_addrlen) != 0 || listen(fd, 4096) != 0) {
    Status status(Code::kUnavailable, "cannot listen on " + where + ": " + ErrnoText());
    close(fd);
    return status;
  }
  return fd;
}

Result<int> OpenListener(const std::string& host, uint16_t port) {
  std::string where = WhereText(host, port);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  int rc = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (rc != 0)
    return Status(Code::kUnavailable, "cannot listen on " + where + ": " + gai_strerror(rc));
  Result<int> fd = BindAndListen(*found, where);
  freeaddrinfo(found);
  return fd;
}

uint16_t BoundPort(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET6)
    return ntohs(reinterpret_cast<sockaddr_in6*>(&address)->sin6_port);
  return ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

// libmicrohttpd says why it does not start in its log only.
thread_local std::string* start_log = nullptr;

void OnMicrohttpdLog(void*, const char* format, va_list arguments) {
  char line[512];
  vsnprintf(line, sizeof line, format, arguments);
  line[strcspn(line, "\r\n")] = '\0';
  if (start_log) {
    *start_log = line;
  } else {
    Log(LogLevel::kWarning, std::string("http: ") + line);
  }
}

// Percent-decoding is the routing's business, after the path was split.
size_t LeaveEscaped(void*, MHD_Connection*, char* text) { return strlen(text); }

MHD_Result CollectHeader(void* cls, MHD_ValueKind, const char* name, const char* value) {
  static_cast<HttpHead*>(cls)->headers.emplace_back(name, value ? value : "");
  return MHD_YES;
}

// The announced length; nothing if there is none that can be believed.
std::optional<uint64_t> AnnouncedLength(const HttpHead& head) {
  if (head.Header("Transfer-Encoding")) return std::nullopt;
  std::optional<std::string_view> text = head.Header("Content-Length");
  if (!text) return 0;
  uint64_t length = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), length);
  if (error != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return length;
}

HttpResponse Failure(unsigned status, const char* code, const std::string& message) {
  return HttpResponse::Json(
      status, std::string("{\"message\":\"") + message + "\",\"code\":\"" + code + "\"}");
}

}  // namespace

std::optional<std::string_view> HttpHead::Header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key.size() == name.size() && strncasecmp(key.data(), name.data(), name.size()) == 0)
      return value;
  }
  return std::nullopt;
}

HttpResponse HttpResponse::Text(unsigned status, std::string text) {
  return {status, "text/plain", std::make_shared<std::string>(std::move(text)), {}};
}

HttpResponse HttpResponse::Json(unsigned status, std::string text) {
  return {status, "application/json", std::make_shared<std::string>(std::move(text)), {}};
}

bool Departure::gone() const {
  std::lock_guard lock(mutex_);
  return gone_;
}

void Departure::OnGone(std::function<void()> wake) {
  std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
  if (!gone_ || !wake_) return;
  wake_();
  wake_ = nullptr;
}

void Departure::Announce() {
  std::lock_guard lock(mutex_);
  gone_ = true;
  if (wake_) wake_();
  wake_ = nullptr;
}

// One request and its answer.
//
//   kReading -> kWaiting -> kAnswered
//                 +-----> kGone
//
// While it is kWaiting, the connection is suspended; whoever takes it out of there resumes it.
struct Exchange {
  enum class State { kReading, kWaiting, kAnswered, kGone };

  uint64_t id = 0;
  MHD_Connection* connection = nullptr;
  int fd = -1;
  ServedRequest request;
  std::shared_ptr<Departure> departure;
  uint64_t body_max = 0;
  uint64_t body_seen = 0;
  std::mutex mutex;
  State state = State::kReading;
  std::optional<HttpResponse> response;
};

class HttpServer::Core {
 public:
  Core(HttpServerOptions options, HttpHandler* handler)
      : options_(std::move(options)),
        handler_(handler),
        workers_(std::make_unique<WorkerPool>(options_.workers_max)) {}

  Status Start();
  void Stop();
  uint16_t port() const { return port_; }
  HttpCounts counts() const;

 private:
  // What a Respond holds on to. It may outlive the server: an exchange that is not kWaiting any
  // more keeps it from `core`.
  struct Answer {
    Answer(Core* c, std::shared_ptr<Exchange> e) : core(c), exchange(std::move(e)) {}
    ~Answer() {
      core->Finish(exchange, Failure(500, "INTERNAL", "the request was dropped without an answer"));
    }
    Core* const core;
    const std::shared_ptr<Exchange> exchange;
  };

  static MHD_Result OnAccess(void* cls, MHD_Connection* connection, const char* url,
                             const char* method, const char*, const char* upload,
                             size_t* upload_size, void** state);
  static void OnCompleted(void* cls, MHD_Connection*, void** state, MHD_RequestTerminationCode);
  static void OnConnection(void* cls, MHD_Connection* connection, void**,
                           MHD_ConnectionNotificationCode code);

  Status StartDaemon(int listener, rlim_t files);
  MHD_Result Begin(MHD_Connection* connection, const char* url, const char* method, void** state);
  MHD_Result Receive(const std::shared_ptr<Exchange>& exchange, const char* upload,
                     size_t* upload_size);
  MHD_Result Complete(const std::shared_ptr<Exchange>& exchange);
  void Dispatch(const std::shared_ptr<Exchange>& exchange);
  MHD_Result Queue(const Exchange& exchange);
  // Takes the exchange out of kWaiting, if it is still there.
  void Finish(const std::shared_ptr<Exchange>& exchange, std::optional<HttpResponse> response);
  void Watch();
  void StopListening();
  std::vector<std::shared_ptr<Exchange>> Waiting();

  const HttpServerOptions options_;
  HttpHandler* const handler_;
  uint16_t port_ = 0;
  MHD_Daemon* daemon_ = nullptr;
  int listener_ = -1;
  int watch_epoll_ = -1;
  int watch_stop_ = -1;
  std::thread watcher_;
  std::unique_ptr<WorkerPool> workers_;

  mutable std::mutex mutex_;
  std::condition_variable emptied_;
  std::unordered_map<uint64_t, std::shared_ptr<Exchange>> waiting_;
  uint64_t next_id_ = 1;
  uint64_t open_ = 0;
  bool stopping_ = false;
  std::atomic<uint64_t> connections_{0};
  std::atomic<uint64_t> requests_{0};
  std::atomic<uint64_t> received_{0};
  std::atomic<uint64_t> sent_{0};
};

Status HttpServer::Core::Start() {
  rlim_t files = RaiseFileLimit();
  Result<int> listener = OpenListener(options_.host, options_.port);
  if (!listener.ok()) return listener.status();
  port_ = BoundPort(*listener);
  watch_epoll_ = epoll_create1(EPOLL_CLOEXEC);
  watch_stop_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (watch_epoll_ < 0 || watch_stop_ < 0) {
    close(*listener);
    return Status(Code::kUnavailable, std::string("cannot watch connections: ") + ErrnoText());
  }
  epoll_event stop{};
  stop.events = EPOLLIN;
  stop.data.u64 = 0;
  epoll_ctl(watch_epoll_, EPOLL_CTL_ADD, watch_stop_, &stop);
  if (Status status = StartDaemon(*listener, files); !status.ok()) {
    close(watch_epoll_);
    close(watch_stop_);
    return status;
  }
  watcher_ = std::thread([this] { Watch(); });
  return OkStatus();
}

Status HttpServer::Core::StartDaemon(int listener, rlim_t files) {
  std::vector<MHD_OptionItem> items;
  auto number = [&items](MHD_OPTION option, uint64_t value) {
    items.push_back({option, static_cast<intptr_t>(value), nullptr});
  };
  number(MHD_OPTION_LISTEN_SOCKET, static_cast<uint64_t>(listener));
  number(MHD_OPTION_CONNECTION_LIMIT,
         files > 2 * kFilesForOthers ? files - kFilesForOthers : files / 2);
  number(MHD_OPTION_CONNECTION_TIMEOUT, static_cast<uint64_t>(options_.idle_timeout.count()));
  number(MHD_OPTION_CONNECTION_MEMORY_LIMIT, kConnectionMemory);
  if (options_.io_threads > 1) number(MHD_OPTION_THREAD_POOL_SIZE, options_.io_threads);
  unsigned flags = MHD_USE_ERROR_LOG | MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME;
  if (!options_.tls_certificate.empty()) {
    flags |= MHD_USE_TLS;
    items.push_back(
        {MHD_OPTION_HTTPS_MEM_CERT, 0, const_cast<char*>(options_.tls_certificate.c_str())});
    items.push_back({MHD_OPTION_HTTPS_MEM_KEY, 0, const_cast<char*>(options_.tls_key.c_str())});
  }
  items.push_back({MHD_OPTION_END, 0, nullptr});
  std::string log;
  start_log = &log;
  daemon_ = MHD_start_daemon(flags, port_, nullptr, nullptr, &Core::OnAccess, this,    //
                             MHD_OPTION_EXTERNAL_LOGGER, &OnMicrohttpdLog, nullptr,    //
                             MHD_OPTION_UNESCAPE_CALLBACK, &LeaveEscaped, nullptr,     //
                             MHD_OPTION_NOTIFY_COMPLETED, &Core::OnCompleted, this,    //
                             MHD_OPTION_NOTIFY_CONNECTION, &Core::OnConnection, this,  //
                             MHD_OPTION_ARRAY, items.data(), MHD_OPTION_END);
  start_log = nullptr;
  if (daemon_) {
    listener_ = listener;  // Closed by the daemon.
    return OkStatus();
  }
  close(listener);
  Code code = options_.tls_certificate.empty() ? Code::kUnavailable : Code::kInvalid;
  return Status(code,
                "cannot serve HTTP on " + WhereText(options_.host, port_) +
                    (log.empty() ? "" : ": " + log) +
                    (code == Code::kInvalid ? " (is the certificate with its key in PEM?)" : ""));
}

void HttpServer::Core::OnConnection(void* cls, MHD_Connection* connection, void**,
                                    MHD_ConnectionNotificationCode code) {
  auto* core = static_cast<Core*>(cls);
  if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
    --core->connections_;
    return;
  }
  ++core->connections_;
  const MHD_ConnectionInfo* info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  if (!info) return;
  // Keep-alive ends the wait of a long poll whose client's machine is gone without a word.
  int on = 1;
  setsockopt(info->connect_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(info->connect_fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

MHD_Result HttpServer::Core::OnAccess(void* cls, MHD_Connection* connection, const char* url,
                                      const char* method, const char*, const char* upload,
                                      size_t* upload_size, void** state) {
  auto* core = static_cast<Core*>(cls);
  try {
    if (!*state) return core->Begin(connection, url, method, state);
    const auto& exchange = *static_cast<std::shared_ptr<Exchange>*>(*state);
    if (*upload_size > 0) return core->Receive(exchange, upload, upload_size);
    return core->Complete(exchange);
  } catch (const std::bad_alloc&) {
    return MHD_NO;
  }
}

void HttpServer::Core::OnCompleted(void* cls, MHD_Connection*, void** state,
                                   MHD_RequestTerminationCode) {
  if (!*state) return;
  auto* core = static_cast<Core*>(cls);
  delete static_cast<std::shared_ptr<Exchange>*>(*state);
  *state = nullptr;
  std::lock_guard lock(core->mutex_);
  if (--core->open_ == 0) core->emptied_.notify_all();
}

MHD_Result HttpServer::Core::Begin(MHD_Connection* connection, const char* url, const char* method,
                                   void** state) {
  auto exchange = std::make_shared<Exchange>();
  exchange->connection = connection;
  const MHD_ConnectionInfo* info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  exchange->fd = info ? info->connect_fd : -1;
  HttpHead& head = exchange->request.head;
  head.method = method;
  head.path = url;
  MHD_get_connection_values(connection, MHD_HEADER_KIND, &CollectHeader, &head);
  head.content_length = AnnouncedLength(head);
  exchange->departure = std::make_shared<Departure>();
  exchange->request.departure = exchange->departure;
  {
    std::lock_guard lock(mutex_);
    exchange->id = next_id_++;
    ++open_;
    if (stopping_) exchange->response = Failure(503, "UNAVAILABLE", "the server is stopping");
  }
  *state = new std::shared_ptr<Exchange>(exchange);
  ++requests_;
  if (!exchange->response) {
    Admission admission = handler_->Admit(head);
    exchange->body_max = admission.body_max;
    exchange->response = std::move(admission.refusal);
    if (!exchange->response && head.content_length.value_or(0) > exchange->body_max) {
      exchange->response =
          Failure(413, "TOO_LARGE",
                  "the request is larger than " + std::to_string(exchange->body_max) + " bytes");
    }
  }
  if (exchange->response) {
    exchange->state = Exchange::State::kAnswered;
    // What is queued before the body was read closes the connection.
    if (head.content_length.value_or(kDiscardMax + 1) > kDiscardMax) return Queue(*exchange);
  } else {
    exchange->request.body.reserve(
        std::min<uint64_t>(head.content_length.value_or(0), kReserveMax));
  }
  return MHD_YES;
}

MHD_Result HttpServer::Core::Receive(const std::shared_ptr<Exchange>& exchange, const char* upload,
                                     size_t* upload_size) {
  size_t size = *upload_size;
  *upload_size = 0;
  received_ += size;
  exchange->body_seen += size;
  if (exchange->state == Exchange::State::kAnswered) {
    return exchange->body_seen > exchange->body_max + kDiscardMax ? MHD_NO : MHD_YES;
  }
  if (exchange->body_seen <= exchange->body_max) {
    exchange->request.body.append(upload, size);
    return MHD_YES;
  }
  exchange->state = Exchange::State::kAnswered;
  exchange->response =
      Failure(413, "TOO_LARGE",
              "the request is larger than " + std::to_string(exchange->body_max) + " bytes");
  exchange->request.body = std::string();
  return MHD_YES;
}

MHD_Result HttpServer::Core::Complete(const std::shared_ptr<Exchange>& exchange) {
  std::unique_lock lock(exchange->mutex);
  if (exchange->state == Exchange::State::kReading) {
    Dispatch(exchange);
    return MHD_YES;
  }
  if (exchange->state == Exchange::State::kWaiting) return MHD_YES;
  return Queue(*exchange);
}

void HttpServer::Core::Dispatch(const std::shared_ptr<Exchange>& exchange) {
  exchange->state = Exchange::State::kWaiting;
  bool stopping;
  {
    std::lock_guard lock(mutex_);
    waiting_.emplace(exchange->id, exchange);
    stopping = stopping_;
  }
  if (stopping) exchange->departure->Announce();
  MHD_suspend_connection(exchange->connection);
  epoll_event event{};
  event.events = EPOLLRDHUP | EPOLLONESHOT;
  event.data.u64 = exchange->id;
  epoll_ctl(watch_epoll_, EPOLL_CTL_ADD, exchange->fd, &event);
  auto answer = std::make_shared<Answer>(this, exchange);
  Respond respond = [answer = std::move(answer)](HttpResponse response) {
    answer->core->Finish(answer->exchange, std::move(response));
  };
  workers_->Submit([this, exchange, respond = std::move(respond)]() mutable {
    ServedRequest request = std::move(exchange->request);
    handler_->Serve(std::move(request), std::move(respond));
  });
}

MHD_Result HttpServer::Core::Queue(const Exchange& exchange) {
  const HttpResponse& answer = *exchange.response;
  auto* body = new std::shared_ptr<const std::string>(answer.body ? answer.body : EmptyBody());
  MHD_Response* response = MHD_create_response_from_buffer_with_free_callback_cls(
      (*body)->size(), const_cast<char*>((*body)->data()),
      [](void* cls) { delete static_cast<std::shared_ptr<const std::string>*>(cls); }, body);
  if (!response) {
    delete body;
    return MHD_NO;
  }
  sent_ += (*body)->size();
  if (!answer.content_type.empty()) {
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer.content_type.c_str());
  }
  for (const auto& [name, value] : answer.headers)
    MHD_add_response_header(response, name.c_str(), value.c_str());
  bool last = exchange.state == Exchange::State::kGone;
  {
    std::lock_guard lock(mutex_);
    last = last || stopping_;
  }
  if (last) MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
  MHD_Result queued = MHD_queue_response(exchange.connection, answer.status, response);
  MHD_destroy_response(response);
  return queued;
}

void HttpServer::Core::Finish(const std::shared_ptr<Exchange>& exchange,
                              std::optional<HttpResponse> response) {
  {
    std::lock_guard lock(exchange->mutex);
    if (exchange->state != Exchange::State::kWaiting) return;
    exchange->state = response ? Exchange::State::kAnswered : Exchange::State::kGone;
    exchange->response =
        response ? std::move(response) : Failure(503, "UNAVAILABLE", "the client hung up");
  }
  // Before the resumption: from then on the descriptor may be closed, and another connection may
  // get its number.
  epoll_ctl(watch_epoll_, EPOLL_CTL_DEL, exchange->fd, nullptr);
  MHD_resume_connection(exchange->connection);
  // Last, and notified under the lock: Stop() takes the core away once nothing is waiting.
  std::lock_guard lock(mutex_);
  waiting_.erase(exchange->id);
  if (waiting_.empty()) emptied_.notify_all();
}

void HttpServer::Core::Watch() {
  epoll_event events[64];
  while (true) {
    int count = epoll_wait(watch_epoll_, events, 64, -1);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == 0) return;
      std::shared_ptr<Exchange> exchange;
      {
        std::lock_guard lock(mutex_);
        auto found = waiting_.find(events[i].data.u64);
        if (found != waiting_.end()) exchange = found->second;
      }
      if (!exchange) continue;
      exchange->departure->Announce();
      Finish(exchange, std::nullopt);
    }
  }
}

std::vector<std::shared_ptr<Exchange>> HttpServer::Core::Waiting() {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Exchange>> all;
  for (const auto& [id, exchange] : waiting_) all.push_back(exchange);
  return all;
}

// MHD_quiesce_daemon, up to libmicrohttpd 1.0, ends the process when one of the daemon's threads is
// just awake: both take the socket out of the same epoll set. So the daemon keeps its descriptor,
// and the socket behind it goes.
void HttpServer::Core::StopListening() {
  int silent = eventfd(0, EFD_CLOEXEC);
  if (silent < 0) return;  // It goes on until MHD_stop_daemon.
  dup3(silent, listener_, O_CLOEXEC);
  close(silent);
}

void HttpServer::Core::Stop() {
  if (!daemon_) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  StopListening();
  for (const auto& exchange : Waiting()) exchange->departure->Announce();
  {
    std::unique_lock lock(mutex_);
    emptied_.wait_for(lock, options_.stop_grace, [this] { return waiting_.empty(); });
  }
  for (const auto& exchange : Waiting())
    Finish(exchange, Failure(503, "UNAVAILABLE", "the server is stopping"));
  {
    std::unique_lock lock(mutex_);
    emptied_.wait(lock, [this] { return waiting_.empty(); });
    // What is written goes out; a client that does not read it is not waited for.
    emptied_.wait_for(lock, seconds(1), [this] { return open_ == 0; });
  }
  MHD_stop_daemon(daemon_);
  daemon_ = nullptr;
  uint64_t one = 1;
  if (write(watch_stop_, &one, sizeof one) == sizeof one) watcher_.join();
  close(watch_stop_);
  close(watch_epoll_);
  workers_.reset();
}

HttpCounts HttpServer::Core::counts() const {
  std::lock_guard lock(mutex_);
  return {connections_, requests_, open_, received_, sent_};
}

Result<std::unique_ptr<HttpServer>> HttpServer::Start(HttpServerOptions options,
                                                      HttpHandler* handler) {
  auto core = std::make_unique<Core>(std::move(options), handler);
  TURSO_RETURN_IF_ERROR(core->Start());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(core)));
}

HttpServer::HttpServer(std::unique_ptr<Core> core) : core_(std::move(core)) {}
HttpServer::~HttpServer() { Stop(); }
uint16_t HttpServer::port() const { return core_->port(); }
HttpCounts HttpServer::counts() const { return core_->counts(); }
void HttpServer::Stop() { core_->Stop(); }

}  // namespace turso
