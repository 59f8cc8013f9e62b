#include "src/http/http_client.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "src/base/fork_gate.h"
#include "src/http/curl.h"

namespace turso {

namespace {

constexpr Duration kAskInterval = milliseconds(50);
constexpr uint64_t kProgressBytes = 1024;
constexpr long kBufferBytes = 128 << 10;
constexpr size_t kReserveMax = 16u << 20;
constexpr uint64_t kBodySentWithHeaderMax = 64 << 10;
constexpr size_t kHeadersMax = 64 << 10;

// Blocks signals while libcurl runs: threads it starts inherit the mask and so handle none of the
// host's signals, and a SIGPIPE from a TLS library's write stays pending, to be taken away here.
class QuietSignals {
 public:
  QuietSignals() {
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    sigset_t blocked;
    sigfillset(&blocked);
    // Faults of this very thread, which must not be held back.
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS}) {
      sigdelset(&blocked, fault);
    }
    pthread_sigmask(SIG_BLOCK, &blocked, &before_);
  }
  ~QuietSignals() {
    sigset_t pending;
    sigpending(&pending);
    if (!was_pending_ && sigismember(&pending, SIGPIPE) == 1) {
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      timespec none{};
      while (sigtimedwait(&pipe, nullptr, &none) == -1 && errno == EINTR) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  QuietSignals(const QuietSignals&) = delete;
  QuietSignals& operator=(const QuietSignals&) = delete;

 private:
  bool was_pending_ = false;
  sigset_t before_;
};

// Empty for no URL; nothing if there is no memory for it.
std::optional<std::string> HostOf(const std::string& url) {
  CURLU* parts = curl_url();
  if (parts == nullptr) return std::nullopt;
  char* text = nullptr;
  CURLUcode code = curl_url_set(parts, CURLUPART_URL, url.c_str(), 0);
  if (code == CURLUE_OK) code = curl_url_get(parts, CURLUPART_HOST, &text, 0);
  std::optional<std::string> host;
  if (code == CURLUE_OK) host = text;
  if (code != CURLUE_OK && code != CURLUE_OUT_OF_MEMORY) host = "";
  curl_free(text);
  curl_url_cleanup(parts);
  return host;
}

int Milliseconds(Duration d) {
  constexpr int64_t kMax = 3600 * 1000;
  // Rounded up, or the last millisecond would be spent spinning.
  return static_cast<int>(std::clamp<int64_t>((d.count() + 999999) / 1000000, 0, kMax));
}

std::string Text(Duration d) {
  int64_t ms = std::chrono::duration_cast<milliseconds>(d).count();
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + " s" : std::to_string(ms) + " ms";
}

// "Name: value\r\n" for each; of several with one name the last.
std::map<std::string, std::string> HeadersOf(std::string_view lines) {
  std::map<std::string, std::string> headers;
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find("\r\n"));
    lines.remove_prefix(std::min(lines.size(), line.size() + 2));
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    std::string name(line.substr(0, colon));
    for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    std::string_view value = line.substr(colon + 1);
    value.remove_prefix(std::min(value.size(), value.find_first_not_of(" \t")));
    value = value.substr(0, value.find_last_not_of(" \t") + 1);
    headers[name] = value;
  }
  return headers;
}

}  // namespace

bool IsLoopback(const std::string& host) {
  std::string lower;
  for (char c : host) lower += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  if (lower == "localhost" || lower == "[::1]" || lower == "::1") return true;
  if (lower.rfind("127.", 0) != 0) return false;
  return lower.find_first_not_of("0123456789.") == std::string::npos;
}

// The handles, and the exchange that is under way on them.
class HttpClient::Transfer {
 public:
  Transfer();
  ~Transfer();

  CURLM* multi() const { return multi_; }
  bool InOtherProcess() const { return getpid() != process_; }
  bool usable() const { return multi_ != nullptr && easy_ != nullptr; }
  bool under_way() const { return request_ != nullptr; }

  void Begin(const HttpRequest& request, Duration timeout);
  void Perform();
  HttpOutcome Finish(const Patience& patience);
  Result<bool> Move(Duration duration, const Patience& patience);
  Status Rest(Duration duration, const Patience& patience);
  HttpOutcome Abandon();
  void End();
  // In a child process: closes this process's copies of the sockets and nothing else.
  void DropSockets();

 private:
  enum class Phase { kConnecting, kSending, kWaiting, kReceiving };
  struct Progress {
    Phase phase = Phase::kConnecting;
    uint64_t moved = 0;
  };

  static curl_socket_t OpenSocket(void* self, curlsocktype purpose, curl_sockaddr* address);
  static int CloseSocket(void* self, curl_socket_t socket);
  static size_t TakeBody(char* bytes, size_t size, size_t count, void* self);
  static size_t TakeHeader(char* bytes, size_t size, size_t count, void* self);
  bool PassOn(ByteView bytes);

  Status SetOptions(const HttpRequest& request, Duration timeout);
  bool HasDeadConnection() const;
  bool AddHeader(const std::string& line);
  void Start();
  bool ShouldRepeat() const;
  Status WaitUntilDone(const Patience& patience);
  Progress Measure() const;
  Status Failure() const;
  HttpOutcome Outcome(Status status) const;
  long LongOf(CURLINFO which) const;
  uint64_t SizeOf(CURLINFO which) const;

  const pid_t process_ = getpid();
  CURLM* multi_ = nullptr;
  CURL* easy_ = nullptr;
  curl_slist* headers_ = nullptr;
  std::vector<curl_socket_t> sockets_;  // A kept one, and one that is to replace it.
  char detail_[CURL_ERROR_SIZE] = "";

  const HttpRequest* request_ = nullptr;
  Status begin_status_;
  std::string body_;
  std::string header_lines_;
  uint64_t sunk_ = 0;
  Status sink_status_;
  bool attached_ = false;
  bool done_ = false;
  bool repeated_ = false;
  bool repeat_refused_ = false;
  bool body_too_long_ = false;
  bool no_memory_for_body_ = false;
  CURLcode result_ = CURLE_OK;
};

HttpClient::Transfer::Transfer() {
  multi_ = curl_multi_init();
  easy_ = curl_easy_init();
  if (!usable()) return;
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, 1L);
  curl_easy_setopt(easy_, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy_, CURLOPT_ERRORBUFFER, detail_);
  curl_easy_setopt(easy_, CURLOPT_FOLLOWLOCATION, 0L);
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(easy_, CURLOPT_PROTOCOLS_STR, "http,https");
#else
  curl_easy_setopt(easy_, CURLOPT_PROTOCOLS, static_cast<long>(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
  // Without it, giving up on a name that does not resolve waits for the resolver all the same.
  curl_easy_setopt(easy_, CURLOPT_QUICK_EXIT, 1L);
#endif
  curl_easy_setopt(easy_, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy_, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(easy_, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy_, CURLOPT_TCP_KEEPIDLE, 30L);
  curl_easy_setopt(easy_, CURLOPT_TCP_KEEPINTVL, 15L);
  curl_easy_setopt(easy_, CURLOPT_BUFFERSIZE, kBufferBytes);
  curl_easy_setopt(easy_, CURLOPT_USERAGENT, "turso_vfs");
  curl_easy_setopt(easy_, CURLOPT_OPENSOCKETFUNCTION, &Transfer::OpenSocket);
  curl_easy_setopt(easy_, CURLOPT_OPENSOCKETDATA, this);
  curl_easy_setopt(easy_, CURLOPT_CLOSESOCKETFUNCTION, &Transfer::CloseSocket);
  curl_easy_setopt(easy_, CURLOPT_CLOSESOCKETDATA, this);
  curl_easy_setopt(easy_, CURLOPT_WRITEFUNCTION, &Transfer::TakeBody);
  curl_easy_setopt(easy_, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(easy_, CURLOPT_HEADERFUNCTION, &Transfer::TakeHeader);
  curl_easy_setopt(easy_, CURLOPT_HEADERDATA, this);
  const char* authorities = secure_getenv("SSL_CERT_FILE");
  if (authorities != nullptr && *authorities != 0) {
    curl_easy_setopt(easy_, CURLOPT_CAINFO, authorities);
  }
}

HttpClient::Transfer::~Transfer() {
  End();
  QuietSignals quiet;
  curl_easy_cleanup(easy_);
  curl_multi_cleanup(multi_);
  curl_slist_free_all(headers_);
}

void HttpClient::Transfer::DropSockets() {
  for (curl_socket_t socket : sockets_) close(socket);
}

curl_socket_t HttpClient::Transfer::OpenSocket(void* self, curlsocktype, curl_sockaddr* address) {
  auto* transfer = static_cast<Transfer*>(self);
  // libcurl itself sends a request again if a kept connection dies before the answer begins. (H2)
  if (transfer->request_ && transfer->request_->repeat == Repeat::kNever &&
      transfer->LongOf(CURLINFO_REQUEST_SIZE) > 0) {
    transfer->repeat_refused_ = true;
    return CURL_SOCKET_BAD;
  }
  curl_socket_t opened =
      socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (opened == CURL_SOCKET_BAD) return opened;
  try {
    transfer->sockets_.push_back(opened);
  } catch (const std::bad_alloc&) {
    close(opened);
    return CURL_SOCKET_BAD;
  }
  return opened;
}

int HttpClient::Transfer::CloseSocket(void* self, curl_socket_t socket) {
  std::erase(static_cast<Transfer*>(self)->sockets_, socket);
  return close(socket);
}

size_t HttpClient::Transfer::TakeBody(char* bytes, size_t size, size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  size_t length = size * count;
  std::string& body = transfer->body_;
  if (transfer->request_->sink != nullptr && transfer->LongOf(CURLINFO_RESPONSE_CODE) == 200) {
    return transfer->PassOn(AsBytes({bytes, length})) ? length : 0;
  }
  if (length > transfer->request_->answer_max - body.size()) {
    transfer->body_too_long_ = true;
    return 0;
  }
  // Nothing may be thrown through libcurl: it would take its handles for still being in here.
  try {
    if (body.empty()) {
      curl_off_t announced = -1;
      curl_easy_getinfo(transfer->easy_, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
      if (announced > 0) {
        body.reserve(std::min(
            {static_cast<size_t>(announced), transfer->request_->answer_max, kReserveMax}));
      }
    }
    body.append(bytes, length);
  } catch (const std::bad_alloc&) {
    transfer->no_memory_for_body_ = true;
    return 0;
  }
  return length;
}

// To the request's sink.
bool HttpClient::Transfer::PassOn(ByteView bytes) {
  try {
    sink_status_ = request_->sink->Take(bytes);
  } catch (const std::bad_alloc&) {
    no_memory_for_body_ = true;
    return false;
  }
  sunk_ += bytes.size();
  return sink_status_.ok();
}

size_t HttpClient::Transfer::TakeHeader(char* bytes, size_t size, size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  const size_t length = size * count;
  std::string& lines = transfer->header_lines_;
  if (lines.size() + length > kHeadersMax) return length;
  try {
    // Of an interim answer, which another one follows.
    if (std::string_view(bytes, length).substr(0, 5) == "HTTP/") lines.clear();
    lines.append(bytes, length);
  } catch (const std::bad_alloc&) {
    transfer->no_memory_for_body_ = true;
    return 0;
  }
  return length;
}

Status HttpClient::Transfer::SetOptions(const HttpRequest& request, Duration timeout) {
  const Status no_memory(Code::kNoMemory, request.url + ": no memory for libcurl");
  if (request.token.find_first_of("\r\n") != std::string::npos) {
    return Status(Code::kInvalid, request.url + ": the token has a line break in it");
  }
  curl_slist_free_all(headers_);
  headers_ = nullptr;
  if (!AddHeader("Expect:") || !AddHeader("Content-Type: " + request.content_type) ||
      (!request.token.empty() && !AddHeader("Authorization: Bearer " + request.token))) {
    return no_memory;
  }
  for (const std::string& header : request.headers) {
    if (!AddHeader(header)) return no_memory;
  }
  const std::optional<std::string> host = HostOf(request.url);
  if (!host) return no_memory;
  // Not the environment's: with both said, libcurl does not look there, which while another thread
  // of the program changes it is not safe.
  const char* proxy = IsLoopback(*host) ? "" : nullptr;
  if (curl_easy_setopt(easy_, CURLOPT_URL, request.url.c_str()) != CURLE_OK ||
      curl_easy_setopt(easy_, CURLOPT_PROXY, proxy) != CURLE_OK ||
      curl_easy_setopt(easy_, CURLOPT_NOPROXY, proxy) != CURLE_OK) {
    return no_memory;
  }
  curl_easy_setopt(easy_, CURLOPT_HTTPHEADER, headers_);
  curl_easy_setopt(easy_, CURLOPT_POST, 1L);
  curl_easy_setopt(easy_, CURLOPT_POSTFIELDS, request.body.data());
  curl_easy_setopt(easy_, CURLOPT_POSTFIELDSIZE_LARGE,
                   static_cast<curl_off_t>(request.body.size()));
  // Measure() enforces (H1); this one makes libcurl share the time out among several addresses.
  curl_easy_setopt(easy_, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(std::max(1, Milliseconds(timeout))));
  return OkStatus();
}

// Nobody speaks on an idle connection; so what can be read is its end. libcurl looks, too, but not
// through TLS, and there it would take the first write for a request that was sent.
bool HttpClient::Transfer::HasDeadConnection() const {
  return std::any_of(sockets_.begin(), sockets_.end(), [](curl_socket_t socket) {
    pollfd kept{socket, POLLIN | POLLRDHUP, 0};
    return poll(&kept, 1, 0) > 0;
  });
}

bool HttpClient::Transfer::AddHeader(const std::string& line) {
  curl_slist* longer = curl_slist_append(headers_, line.c_str());
  if (longer != nullptr) headers_ = longer;
  return longer != nullptr;
}

void HttpClient::Transfer::Begin(const HttpRequest& request, Duration timeout) {
  End();  // One whose caller ran out of memory before it could finish it.
  repeated_ = false;
  repeat_refused_ = false;
  begin_status_ = SetOptions(request, timeout);
  request_ = &request;
  if (!begin_status_.ok()) return;
  curl_easy_setopt(easy_, CURLOPT_FRESH_CONNECT, HasDeadConnection() ? 1L : 0L);
  Start();
}

void HttpClient::Transfer::Start() {
  QuietSignals quiet;
  if (attached_) curl_multi_remove_handle(multi_, easy_);
  body_.clear();
  header_lines_.clear();
  sunk_ = 0;
  sink_status_ = OkStatus();
  body_too_long_ = false;
  no_memory_for_body_ = false;
  done_ = false;
  detail_[0] = 0;
  attached_ = curl_multi_add_handle(multi_, easy_) == CURLM_OK;
  if (!attached_)
    begin_status_ = Status(Code::kNoMemory, request_->url + ": no memory for libcurl");
}

void HttpClient::Transfer::End() {
  QuietSignals quiet;
  if (attached_) curl_multi_remove_handle(multi_, easy_);
  attached_ = false;
  request_ = nullptr;
}

void HttpClient::Transfer::Perform() {
  if (!attached_ || done_) return;
  QuietSignals quiet;
  int running = 0;
  CURLMcode code = curl_multi_perform(multi_, &running);
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    done_ = true;
    result_ = message->data.result;
  }
  if (code != CURLM_OK && !done_) {
    done_ = true;
    result_ = code == CURLM_OUT_OF_MEMORY ? CURLE_OUT_OF_MEMORY : CURLE_FAILED_INIT;
  }
}

long HttpClient::Transfer::LongOf(CURLINFO which) const {
  long value = 0;
  curl_easy_getinfo(easy_, which, &value);
  return value;
}

uint64_t HttpClient::Transfer::SizeOf(CURLINFO which) const {
  curl_off_t value = 0;
  curl_easy_getinfo(easy_, which, &value);
  return value > 0 ? static_cast<uint64_t>(value) : 0;
}

HttpClient::Transfer::Progress HttpClient::Transfer::Measure() const {
  auto requested = static_cast<uint64_t>(LongOf(CURLINFO_REQUEST_SIZE));
  uint64_t uploaded = SizeOf(CURLINFO_SIZE_UPLOAD_T);
  auto headers = static_cast<uint64_t>(LongOf(CURLINFO_HEADER_SIZE));
  uint64_t downloaded = SizeOf(CURLINFO_SIZE_DOWNLOAD_T);
  Progress progress;
  progress.moved = requested + uploaded + headers + downloaded;
  if (headers + downloaded > 0) {
    progress.phase = Phase::kReceiving;
  } else if (requested > 0) {
    progress.phase = uploaded >= request_->body.size() ? Phase::kWaiting : Phase::kSending;
  }
  return progress;
}

// Returns when the transfer is done, or why it is given up.
Status HttpClient::Transfer::WaitUntilDone(const Patience& patience) {
  Instant mark = Instant::Now();
  Instant next_ask = mark;
  Progress at_mark = Measure();
  for (;;) {
    if (patience.cancelled && patience.cancelled->load()) {
      return Status(Code::kInterrupted, request_->url + ": cancelled");
    }
    Instant now = Instant::Now();
    if (patience.interrupted && now >= next_ask) {
      if (patience.interrupted())
        return Status(Code::kInterrupted, request_->url + ": interrupted");
      next_ask = now + kAskInterval;
    }
    Perform();
    if (done_) return OkStatus();
    if (request_->sink != nullptr) now = Instant::Now();
    Progress progress = Measure();
    if (progress.phase != at_mark.phase || progress.moved - at_mark.moved >= kProgressBytes) {
      mark = now;
      at_mark = progress;
    }
    Duration allowed = patience.timeout;
    if (progress.phase == Phase::kWaiting) allowed += request_->answer_wait;
    Duration remaining = mark + allowed - now;
    if (remaining <= Duration::zero()) {
      static const char* const kDoing[] = {"no connection", "the request was not taken",
                                           "no answer", "the answer stopped coming"};
      return Status(Code::kUnavailable, request_->url + ": " +
                                            kDoing[static_cast<int>(progress.phase)] + " within " +
                                            Text(allowed));
    }
    if (patience.interrupted) remaining = std::min(remaining, kAskInterval);
    ForkGate::Away away;
    curl_multi_poll(multi_, nullptr, 0, Milliseconds(remaining), nullptr);
  }
}

// (H2): the connection was a kept one, nothing of an answer came, and it is not the second time.
bool HttpClient::Transfer::ShouldRepeat() const {
  if (request_->repeat == Repeat::kNever || repeated_) return false;
  if (result_ != CURLE_SEND_ERROR && result_ != CURLE_RECV_ERROR && result_ != CURLE_GOT_NOTHING) {
    return false;
  }
  return LongOf(CURLINFO_NUM_CONNECTS) == 0 && LongOf(CURLINFO_HEADER_SIZE) == 0;
}

Status HttpClient::Transfer::Failure() const {
  const std::string& url = request_->url;
  if (body_too_long_) {
    return Status(Code::kCorrupt, url + ": the answer is longer than " +
                                      std::to_string(request_->answer_max) + " bytes");
  }
  if (no_memory_for_body_) return Status(Code::kNoMemory, url + ": no memory for the answer");
  if (!sink_status_.ok()) return sink_status_.While(url);
  if (repeat_refused_) {
    return Status(Code::kUnavailable, url + ": the connection broke before an answer came");
  }
  std::string detail = detail_[0] ? detail_ : curl_easy_strerror(result_);
  if (long os_error = LongOf(CURLINFO_OS_ERRNO); os_error != 0) {
    detail += std::string(" (") + strerror(static_cast<int>(os_error)) + ")";
  }
  switch (result_) {
    case CURLE_COULDNT_CONNECT:
      return Status(Code::kUnavailable, url + ": " + detail + "; is the primary running there?");
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return Status(Code::kUnavailable,
                    url + ": " + detail + "; check the host name and the network");
    case CURLE_SSL_CONNECT_ERROR:
      return Status(Code::kUnavailable, url + ": " + detail + "; does that port speak TLS?");
    case CURLE_PEER_FAILED_VERIFICATION:
      return Status(Code::kUnavailable,
                    url + ": " + detail + "; its certificate is not trusted here");
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      // libcurl says "unsupported protocol" of an answer that is not HTTP, too.
      if (LongOf(CURLINFO_REQUEST_SIZE) == 0) return Status(Code::kInvalid, url + ": " + detail);
      [[fallthrough]];
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
      return Status(Code::kCorrupt, url + ": " + detail + "; that is no HTTP server");
    case CURLE_OUT_OF_MEMORY: return Status(Code::kNoMemory, url + ": " + detail);
    default: return Status(Code::kUnavailable, url + ": " + detail);
  }
}

HttpOutcome HttpClient::Transfer::Outcome(Status status) const {
  HttpOutcome outcome;
  outcome.status = std::move(status);
  if (!attached_) return outcome;
  auto requested = static_cast<uint64_t>(LongOf(CURLINFO_REQUEST_SIZE));
  outcome.sent = requested > 0;
  // A small body goes out with the header, and libcurl then counts it as part of the request, too.
  uint64_t uploaded = SizeOf(CURLINFO_SIZE_UPLOAD_T);
  outcome.bytes_sent =
      uploaded < kBodySentWithHeaderMax ? std::max(requested, uploaded) : requested + uploaded;
  outcome.bytes_received =
      static_cast<uint64_t>(LongOf(CURLINFO_HEADER_SIZE)) + body_.size() + sunk_;
  if (!outcome.status.ok()) return outcome;
  HttpAnswer& answer = outcome.answer;
  answer.status = static_cast<int>(LongOf(CURLINFO_RESPONSE_CODE));
  char* text = nullptr;
  if (curl_easy_getinfo(easy_, CURLINFO_CONTENT_TYPE, &text) == CURLE_OK && text) {
    answer.content_type = text;
  }
  text = nullptr;
  if (curl_easy_getinfo(easy_, CURLINFO_REDIRECT_URL, &text) == CURLE_OK && text) {
    answer.redirect = text;
  }
  if (uint64_t wait = SizeOf(CURLINFO_RETRY_AFTER); wait > 0) {
    answer.retry_after = seconds(static_cast<int64_t>(std::min<uint64_t>(wait, 86400)));
  }
  answer.headers = HeadersOf(header_lines_);
  return outcome;
}

HttpOutcome HttpClient::Transfer::Finish(const Patience& patience) {
  assert(request_);
  struct Ending {
    Transfer* transfer;
    ~Ending() { transfer->End(); }
  } ending{this};
  Status status = begin_status_;
  while (status.ok()) {
    status = WaitUntilDone(patience);
    if (!status.ok() || result_ == CURLE_OK) break;
    if (!ShouldRepeat()) {
      status = Failure();
      break;
    }
    repeated_ = true;
    curl_easy_setopt(easy_, CURLOPT_FRESH_CONNECT, 1L);
    Start();
    status = begin_status_;
  }
  HttpOutcome outcome = Outcome(std::move(status));
  outcome.answer.body = std::move(body_);
  body_.clear();
  return outcome;
}

HttpOutcome HttpClient::Transfer::Abandon() {
  HttpOutcome outcome = Outcome(Status(Code::kInterrupted, request_->url + ": given up"));
  End();
  return outcome;
}

Result<bool> HttpClient::Transfer::Move(Duration duration, const Patience& patience) {
  assert(request_);
  if (patience.cancelled && patience.cancelled->load()) {
    return Status(Code::kInterrupted, request_->url + ": cancelled");
  }
  if (patience.interrupted) {
    if (patience.interrupted()) return Status(Code::kInterrupted, request_->url + ": interrupted");
    duration = std::min(duration, kAskInterval);
  }
  if (!attached_ || done_) return false;
  {
    ForkGate::Away away;
    curl_multi_poll(multi_, nullptr, 0, Milliseconds(duration), nullptr);
  }
  Perform();
  return !done_;
}

Status HttpClient::Transfer::Rest(Duration duration, const Patience& patience) {
  const Instant end = Instant::Now() + duration;
  for (;;) {
    if (patience.cancelled && patience.cancelled->load()) {
      return Status(Code::kInterrupted, "waiting to ask again: cancelled");
    }
    if (patience.interrupted && patience.interrupted()) {
      return Status(Code::kInterrupted, "waiting to ask again: interrupted");
    }
    Duration remaining = end - Instant::Now();
    if (remaining <= Duration::zero()) return OkStatus();
    if (patience.interrupted) remaining = std::min(remaining, kAskInterval);
    ForkGate::Away away;
    curl_multi_poll(multi_, nullptr, 0, Milliseconds(remaining), nullptr);
  }
}

HttpClient::HttpClient() = default;

HttpClient::~HttpClient() {
  if (!transfer_ || !transfer_->InOtherProcess()) return;
  // (H4) libcurl's own cleanup would say goodbye on the parent's connection.
  transfer_->DropSockets();
  transfer_.release();
}

void HttpClient::Begin(const HttpRequest& request, Duration timeout) {
  if (!LoadCurl()) return;
  if (!transfer_) {
    auto transfer = std::make_unique<Transfer>();
    if (!transfer->usable()) return;
    transfer_ = std::move(transfer);
    wakeable_.store(transfer_->multi());
  }
  if (transfer_->InOtherProcess()) return;
  transfer_->Begin(request, timeout);
}

void HttpClient::Advance() {
  if (transfer_ && !transfer_->InOtherProcess() && transfer_->under_way()) transfer_->Perform();
}

Result<bool> HttpClient::Move(Duration duration, const Patience& patience) {
  if (!transfer_ || transfer_->InOtherProcess()) return false;
  return transfer_->Move(duration, patience);
}

HttpOutcome HttpClient::Finish(const Patience& patience) {
  if (!transfer_) {
    HttpOutcome without;
    const std::string problem = CurlProblem();
    without.status = problem.empty() ? Status(Code::kNoMemory, "no memory for libcurl")
                                     : Status(Code::kUnavailable, problem);
    return without;
  }
  if (transfer_->InOtherProcess()) {
    HttpOutcome refused;
    refused.status =
        Status(Code::kInvalid,
               "this connection to the primary was opened before fork(): it belongs to "
               "the parent process; open the database anew in the child");
    return refused;
  }
  return transfer_->Finish(patience);
}

HttpOutcome HttpClient::Abandon() {
  if (!transfer_ || transfer_->InOtherProcess() || !transfer_->under_way()) return {};
  return transfer_->Abandon();
}

Status HttpClient::Rest(Duration duration, const Patience& patience) {
  if (!transfer_ || transfer_->InOtherProcess() || !transfer_->multi()) return OkStatus();
  return transfer_->Rest(duration, patience);
}

HttpOutcome HttpClient::Exchange(const HttpRequest& request, const Patience& patience) {
  Begin(request, patience.timeout);
  return Finish(patience);
}

void HttpClient::Cancel() {
  if (void* multi = wakeable_.load()) curl_multi_wakeup(static_cast<CURLM*>(multi));
}

}  // namespace turso
