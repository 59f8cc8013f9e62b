// An HTTP/1.1 server whose answers may come at any time, on libmicrohttpd.
//
//   reading (one of a few I/O threads) -> Admit(head) -> body -> suspended
//     -> Serve(request, respond) on a worker -> respond(response), then or much later, from any
//     thread -> writing (I/O thread) -> next request
//
// A request that waits for its answer is a suspended connection: it costs a socket, and no thread
// once Serve has returned. So thousands may wait.
//   (WS1) Every request is answered once: by `respond`, or with 500 when the last copy of an
//         uncalled `respond` goes away, or with 503 at Stop(). What comes after that is ignored.
//   (WS2) A client that hangs up while its request waits is noticed at once: Departure says so, and
//         the socket is freed.
//   (WS3) After Stop() returned, no thread of this server is left, and `respond` does nothing.
// libmicrohttpd: https://www.gnu.org/software/libmicrohttpd/manual/

#ifndef TURSO_SRC_PRIMARY_HTTP_SERVER_H_
#define TURSO_SRC_PRIMARY_HTTP_SERVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/clock.h"
#include "src/base/status.h"

namespace turso {

// What a request says before its body.
struct HttpHead {
  std::string method;
  // The path as it was sent: still percent-encoded, without the query.
  std::string path;
  std::vector<std::pair<std::string, std::string>> headers;
  // As announced; nothing for a chunked body.
  std::optional<uint64_t> content_length;

  // The value of the header `name`, in whatever case it was sent.
  std::optional<std::string_view> Header(std::string_view name) const;
};

struct HttpResponse {
  unsigned status = 200;
  std::string content_type = "text/plain";
  // Shared, so that one encoded answer can go to many.
  std::shared_ptr<const std::string> body;
  std::vector<std::pair<std::string, std::string>> headers;

  static HttpResponse Text(unsigned status, std::string text);
  static HttpResponse Json(unsigned status, std::string text);
};

using Respond = std::function<void(HttpResponse)>;

// Whether anybody still waits for the answer. Any thread.
class Departure {
 public:
  bool gone() const;
  // Calls `wake` when the client hangs up or the server stops; at once if that has happened. It is
  // called at most once, must not block, and must not call this object. Replaces an earlier one; an
  // empty one is never called. When this returns, the earlier one is not running.
  void OnGone(std::function<void()> wake);

  // For the server.
  void Announce();

 private:
  mutable std::mutex mutex_;
  bool gone_ = false;
  std::function<void()> wake_;
};

struct ServedRequest {
  HttpHead head;
  std::string body;
  std::shared_ptr<Departure> departure;
};

// Whether to read a request's body.
struct Admission {
  uint64_t body_max = 0;
  // The answer, if it is clear already; the body is then thrown away.
  std::optional<HttpResponse> refusal;
};

class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // On an I/O thread: must not block.
  virtual Admission Admit(const HttpHead& head) = 0;
  // On a worker thread: may block. `respond` may be called here or later.
  virtual void Serve(ServedRequest request, Respond respond) = 0;
};

struct HttpServerOptions {
  // A name or an address, without brackets. Port 0 picks a free one.
  std::string host = "127.0.0.1";
  uint16_t port = 0;
  // Both in PEM, or both empty for plain HTTP.
  std::string tls_certificate;
  std::string tls_key;
  unsigned io_threads = 2;
  unsigned workers_max = 256;
  // A connection with nothing under way, or one that has stopped moving bytes, is closed after this
  // long.
  seconds idle_timeout{75};
  // How long Stop() waits for handlers to answer before it answers in their place.
  milliseconds stop_grace{3000};
};

// What the server has done so far.
struct HttpCounts {
  uint64_t connections_open = 0;
  uint64_t requests = 0;
  uint64_t requests_open = 0;
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;
};

class HttpServer {
 public:
  // Listens, and serves from then on. `handler` must outlive the server. kUnavailable if the
  // address cannot be had, kInvalid if the certificate or its key cannot be used.
  static Result<std::unique_ptr<HttpServer>> Start(HttpServerOptions options, HttpHandler* handler);
  ~HttpServer();

  uint16_t port() const;
  HttpCounts counts() const;

  // Takes no more connections, announces every Departure, waits for the answers of what is under
  // way, and ends the threads. Call it from a thread that is not the server's own. A second call
  // does nothing.
  void Stop();

 private:
  class Core;
  explicit HttpServer(std::unique_ptr<Core> core);
  std::unique_ptr<Core> core_;
};

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_HTTP_SERVER_H_
