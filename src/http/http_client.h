// HTTP exchanges with one server, over one connection that is kept from one exchange to the next.
//
//   idle --Begin--> under way --Finish--> idle        Exchange is Begin and Finish.
//                       `------Abandon--> idle        Advance and Move move it on.
//
//   (H1) Connecting, a stretch in which less than 1 KiB moves, and the wait for the answer after
//        the last byte sent each end after the timeout (the last: and HttpRequest::answer_wait).
//   (H2) A request that is Repeat::kNever is written at most once. One that is Repeat::kOnce is
//        written again, on a new connection, if a kept connection turns out to be dead. None is
//        written to a kept connection that is known to be dead.
//   (H3) HttpOutcome::sent is false only if no byte of the request left.
//   (H4) A client belongs to the process that first used it. In a child of that process its use is
//        refused, and neither use nor destruction there touches the parent's connection.
//   (H5) The host sees no SIGPIPE, none of its signal handlers runs on a thread of libcurl's, and
//        no connection survives exec.
// http and https only; redirects are answers, not followed; loopback hosts are never asked through
// a proxy; whom to trust SSL_CERT_FILE says, if it is set, as curl itself has it. One thread at a
// time, but for Cancel(). Failures name the URL, never the token.

#ifndef TURSO_SRC_HTTP_HTTP_CLIENT_H_
#define TURSO_SRC_HTTP_HTTP_CLIENT_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/clock.h"
#include "src/base/status.h"

namespace turso {

enum class Repeat { kOnce, kNever };

// Takes a body as it comes. A failure ends the exchange and is its status.
class BodySink {
 public:
  virtual ~BodySink() = default;
  virtual Status Take(ByteView bytes) = 0;
};

// A POST. Lies still, unchanged, from Begin until the exchange has ended.
struct HttpRequest {
  std::string url;    // Without credentials: errors name it.
  std::string token;  // Sent as a bearer token; empty for none.
  std::string content_type;
  std::vector<std::string> headers;  // More of them: "name: value".
  std::string body;
  Repeat repeat = Repeat::kOnce;
  Duration answer_wait{};         // How long the server was asked to hold its answer back.
  size_t answer_max = 64u << 20;  // A longer body is kCorrupt.
  // Gets the body of a 200, of any length, in the place of HttpAnswer::body. While it works, no
  // time counts against the server.
  BodySink* sink = nullptr;
};

struct HttpAnswer {
  int status = 0;
  std::string content_type;
  std::string redirect;                        // Where to, if it is one.
  std::optional<seconds> retry_after;          // As the server asked.
  std::map<std::string, std::string> headers;  // Names in lower case; 64 KiB of them at most.
  std::string body;
};

// How the end of an exchange came about. With a failure, `answer` means nothing.
//   kUnavailable  No connection, or no whole answer in time.
//   kCorrupt      What answers does not speak HTTP, or too much.
//   kInterrupted  Patience said so.
//   kInvalid      The URL, or a client of a parent process.
struct HttpOutcome {
  Status status;
  bool sent = false;
  HttpAnswer answer;
  uint64_t bytes_sent = 0;
  uint64_t bytes_received = 0;
};

struct Patience {
  Duration timeout = seconds(10);
  std::function<bool()> interrupted;             // Asked about 20 times a second; may be empty.
  const std::atomic<bool>* cancelled = nullptr;  // Seen at once together with Cancel().
};

class HttpClient {
 public:
  HttpClient();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Starts an exchange; nothing else may be under way. What fails here is told by Finish.
  void Begin(const HttpRequest& request, Duration timeout);
  // Writes and reads what can be without waiting.
  void Advance();
  // Waits until something can be written or read, at most that long, and does so. Whether the
  // exchange goes on; else Finish tells at once how it ended. Nothing but patience ends it.
  Result<bool> Move(Duration duration, const Patience& patience);
  HttpOutcome Finish(const Patience& patience);
  // Ends what is under way, if anything is, by closing its connection; what it had come to.
  HttpOutcome Abandon();
  // Nothing happens for that long, unless patience ends: kInterrupted.
  Status Rest(Duration duration, const Patience& patience);

  HttpOutcome Exchange(const HttpRequest& request, const Patience& patience);

  // Wakes Finish in another thread, which then looks at its Patience. Any thread.
  void Cancel();

 private:
  class Transfer;
  std::unique_ptr<Transfer> transfer_;
  std::atomic<void*> wakeable_{nullptr};  // The CURLM, for Cancel.
};

// Whether `host`, as in a URL, is this machine whatever the network: localhost, 127.x.x.x, [::1].
bool IsLoopback(const std::string& host);

}  // namespace turso

#endif  // TURSO_SRC_HTTP_HTTP_CLIENT_H_
