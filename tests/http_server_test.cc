#include "src/primary/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <thread>

namespace turso {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr seconds kPatience(20);

// A client that sees every byte.
class Socket {
 public:
  explicit Socket(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    timeval timeout{kPatience.count(), 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  }
  Socket(Socket&& other) noexcept : fd_(other.fd_), connected_(other.connected_) { other.fd_ = -1; }
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }

  bool connected() const { return connected_; }
  void Send(const std::string& text) {
    for (size_t done = 0; done < text.size();) {
      ssize_t sent = send(fd_, text.data() + done, text.size() - done, MSG_NOSIGNAL);
      if (sent <= 0) return;
      done += static_cast<size_t>(sent);
    }
  }
  void Post(const std::string& path, const std::string& body) {
    Send("POST " + path + " HTTP/1.1\r\nHost: x\r\nX-Test: seen\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body);
  }
  // The next whole answer, head and body; what came of it if the connection ended or went silent.
  std::string Answer() {
    while (true) {
      size_t head = received_.find("\r\n\r\n");
      if (head != std::string::npos) {
        size_t size = head + 4 + ContentLength(received_.substr(0, head));
        if (received_.size() >= size) {
          std::string answer = received_.substr(0, size);
          received_.erase(0, size);
          return answer;
        }
      }
      char bytes[4096];
      ssize_t size = recv(fd_, bytes, sizeof bytes, 0);
      if (size <= 0) return std::exchange(received_, {});
      received_.append(bytes, static_cast<size_t>(size));
    }
  }
  // Whether the server closes the connection, with nothing more said.
  bool Ends() {
    char byte;
    return received_.empty() && recv(fd_, &byte, 1, 0) == 0;
  }

 private:
  static size_t ContentLength(const std::string& head) {
    size_t at = head.find("Content-Length: ");
    return at == std::string::npos ? 0 : std::stoul(head.substr(at + 16));
  }

  int fd_;
  bool connected_ = false;
  std::string received_;
};

// Keeps what is asked of /wait until it is told to answer; answers everything else at once.
class Handler : public HttpHandler {
 public:
  Admission Admit(const HttpHead& head) override {
    Admission admission;
    admission.body_max = 1000;
    if (head.path == "/refused") admission.refusal = HttpResponse::Text(401, "no");
    return admission;
  }

  void Serve(ServedRequest request, Respond respond) override {
    std::unique_lock lock(mutex_);
    if (request.head.path == "/wait") {
      request.departure->OnGone([this] { ++departed; });
      waiting_.push_back({std::move(request), std::move(respond)});
      changed_.notify_all();
    } else if (request.head.path == "/block") {
      ++blocked_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return released_; });
      lock.unlock();
      respond(HttpResponse::Text(200, "released"));
    } else if (request.head.path == "/drop") {
      respond = nullptr;
    } else {
      lock.unlock();
      std::string seen(request.head.Header("x-test").value_or("nothing"));
      respond(HttpResponse::Text(
          200, request.head.method + " " + request.head.path + " " + seen + " " + request.body));
    }
  }

  bool AwaitWaiting(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return waiting_.size() >= count; });
  }
  bool AwaitBlocked(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return blocked_ >= count; });
  }
  void Release() {
    std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }
  void AnswerAll(const HttpResponse& response) {
    std::vector<Waiting> all;
    {
      std::lock_guard lock(mutex_);
      all.swap(waiting_);
    }
    for (Waiting& one : all) one.respond(response);
  }
  size_t waiting() {
    std::lock_guard lock(mutex_);
    return waiting_.size();
  }

  std::atomic<size_t> departed{0};

 private:
  struct Waiting {
    ServedRequest request;
    Respond respond;
  };
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Waiting> waiting_;
  size_t blocked_ = 0;
  bool released_ = false;
};

std::unique_ptr<HttpServer> StartServer(Handler* handler, HttpServerOptions options = {}) {
  Result<std::unique_ptr<HttpServer>> server = HttpServer::Start(std::move(options), handler);
  EXPECT_TRUE(server.ok()) << server.status().text();
  return server.ok() ? std::move(*server) : nullptr;
}

template <typename Condition>
bool Becomes(Condition condition) {
  Instant deadline = Instant::Now() + kPatience;
  while (!condition()) {
    if (Instant::Now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(2));
  }
  return true;
}

int ThreadsOfThisProcess() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.rfind("Threads:", 0) == 0) return std::stoi(line.substr(8));
  }
  return -1;
}

TEST(HttpServer, AnswersARequestWithWhatItSaid) {
  Handler handler;
  auto server = StartServer(&handler);
  Socket client(server->port());
  client.Post("/a%2Fb", "the body");
  std::string answer = client.Answer();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("\r\n\r\nPOST /a%2Fb seen the body"));
}

TEST(HttpServer, KeepsAConnectionForManyQuickRequests) {
  Handler handler;
  auto server = StartServer(&handler);
  Socket client(server->port());
  Instant begin = Instant::Now();
  for (int i = 0; i < 100; ++i) {
    client.Post("/x", std::to_string(i));
    EXPECT_THAT(client.Answer(), HasSubstr("POST /x seen " + std::to_string(i)));
  }
  // Two halves of the stack that wait for each other lose 40 ms a request.
  EXPECT_LT(Instant::Now() - begin, seconds(3));
  EXPECT_EQ(server->counts().requests, 100u);
}

TEST(HttpServer, KeepsHundredsWaitingWithoutAThreadForEach) {
  constexpr size_t kClients = 500;
  Handler handler;
  auto server = StartServer(&handler);
  std::vector<Socket> clients;
  for (size_t i = 0; i < kClients; ++i) {
    clients.emplace_back(server->port());
    ASSERT_TRUE(clients.back().connected());
    clients.back().Post("/wait", "");
  }
  ASSERT_TRUE(handler.AwaitWaiting(kClients));
  // The I/O threads, the watcher, the one of the test, and workers, which end when they are idle.
  EXPECT_TRUE(Becomes([&] { return ThreadsOfThisProcess() < 40; }));
  Socket other(server->port());
  Instant begin = Instant::Now();
  other.Post("/x", "beside");
  EXPECT_THAT(other.Answer(), HasSubstr("beside"));
  EXPECT_LT(Instant::Now() - begin, milliseconds(1500));
  handler.AnswerAll(HttpResponse::Text(200, "news"));
  for (Socket& client : clients) EXPECT_THAT(client.Answer(), HasSubstr("\r\n\r\nnews"));
  EXPECT_EQ(handler.departed, 0u);
}

TEST(HttpServer, NoticesAClientThatHangsUpWhileItWaits) {
  Handler handler;
  auto server = StartServer(&handler);
  {
    Socket client(server->port());
    client.Post("/wait", "");
    ASSERT_TRUE(handler.AwaitWaiting(1));
    EXPECT_EQ(handler.departed, 0u);
  }
  EXPECT_TRUE(Becomes([&] { return handler.departed == 1; }));
  EXPECT_TRUE(Becomes([&] { return server->counts().connections_open == 0; }));
  EXPECT_TRUE(Becomes([&] { return server->counts().requests_open == 0; }));
  handler.AnswerAll(HttpResponse::Text(200, "too late"));
}

TEST(HttpServer, TellsAHandlerAtOnceThatTheClientIsGoneAlready) {
  Departure departure;
  departure.Announce();
  int told = 0;
  departure.OnGone([&] { ++told; });
  departure.Announce();
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(departure.gone());
}

TEST(HttpServer, AnswersInPlaceOfAHandlerThatForgets) {
  Handler handler;
  auto server = StartServer(&handler);
  Socket client(server->port());
  client.Post("/drop", "");
  EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 500 "));
}

TEST(HttpServer, AnswersWhatIsOpenWhenItStops) {
  Handler handler;
  HttpServerOptions options;
  options.stop_grace = milliseconds(50);
  auto server = StartServer(&handler, options);
  uint16_t port = server->port();
  Socket waiting(port);
  waiting.Post("/wait", "");
  ASSERT_TRUE(handler.AwaitWaiting(1));
  Socket idle(port);
  idle.Post("/x", "");
  idle.Answer();
  server->Stop();
  EXPECT_EQ(handler.departed, 1u);
  EXPECT_THAT(waiting.Answer(), StartsWith("HTTP/1.1 503 "));
  EXPECT_TRUE(waiting.Ends());
  EXPECT_TRUE(idle.Ends());
  EXPECT_FALSE(Socket(port).connected());
  // (WS3) The server is gone; its answer functions are not.
  server.reset();
  handler.AnswerAll(HttpResponse::Text(200, "too late"));
}

TEST(HttpServer, LetsAHandlerFinishWhenItStops) {
  Handler handler;
  auto server = StartServer(&handler);
  Socket client(server->port());
  client.Post("/block", "");
  ASSERT_TRUE(handler.AwaitBlocked(1));
  std::thread releasing([&] {
    std::this_thread::sleep_for(milliseconds(30));
    handler.Release();
  });
  server->Stop();
  EXPECT_THAT(client.Answer(), HasSubstr("released"));
  releasing.join();
}

// libmicrohttpd's own way to stop listening (MHD_quiesce_daemon, up to 1.0) ends the process when
// one of its threads is just awake.
TEST(HttpServer, StopsWhileClientsComeAndGo) {
  for (int turn = 0; turn < 50; turn++) {
    Handler handler;
    HttpServerOptions options;
    options.io_threads = 8;
    auto server = StartServer(&handler, options);
    const uint16_t port = server->port();
    std::atomic<bool> enough{false};
    std::vector<std::thread> clients;
    for (int i = 0; i < 3; i++) {
      clients.emplace_back([&] {
        while (!enough && Socket(port).connected()) {
        }
      });
    }
    while (server->counts().connections_open == 0) {
    }
    server->Stop();
    EXPECT_FALSE(Socket(port).connected());
    enough = true;
    for (std::thread& client : clients) client.join();
  }
}

TEST(HttpServer, ServesOthersWhileManyHandlersBlock) {
  Handler handler;
  auto server = StartServer(&handler);
  std::vector<Socket> blocked;
  for (int i = 0; i < 40; ++i) {
    blocked.emplace_back(server->port());
    blocked.back().Post("/block", "");
  }
  ASSERT_TRUE(handler.AwaitBlocked(40));
  Socket client(server->port());
  client.Post("/x", "through");
  EXPECT_THAT(client.Answer(), HasSubstr("through"));
  handler.Release();
  for (Socket& one : blocked) EXPECT_THAT(one.Answer(), HasSubstr("released"));
}

TEST(HttpServer, RefusesABodyThatIsTooLargeBeforeItIsSent) {
  Handler handler;
  auto server = StartServer(&handler);
  Socket client(server->port());
  client.Send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n");
  EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 413 "));
  EXPECT_TRUE(client.Ends());
}

TEST(HttpServer, RefusesABodyThatTurnsOutTooLarge) {
  Handler handler;
  auto server = StartServer(&handler);
  Socket client(server->port());
  client.Send("POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  std::string chunk(900, 'x');
  for (int i = 0; i < 3; ++i) client.Send("384\r\n" + chunk + "\r\n");
  client.Send("0\r\n\r\n");
  EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 413 "));
}

TEST(HttpServer, TakesAChunkedBody) {
  Handler handler;
  auto server = StartServer(&handler);
  Socket client(server->port());
  client.Send("POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  client.Send("2\r\nde\r\n0\r\n\r\n");
  EXPECT_THAT(client.Answer(), HasSubstr("abcde"));
}

TEST(HttpServer, KeepsTheConnectionOfASmallRefusedRequest) {
  Handler handler;
  auto server = StartServer(&handler);
  Socket client(server->port());
  client.Post("/refused", "small");
  EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 401 "));
  client.Post("/x", "next");
  EXPECT_THAT(client.Answer(), HasSubstr("next"));
}

TEST(HttpServer, ClosesAnIdleConnectionAndNotOneThatWaits) {
  Handler handler;
  HttpServerOptions options;
  options.idle_timeout = seconds(1);
  auto server = StartServer(&handler, options);
  Socket waiting(server->port());
  waiting.Post("/wait", "");
  ASSERT_TRUE(handler.AwaitWaiting(1));
  Socket idle(server->port());
  Instant begin = Instant::Now();
  EXPECT_TRUE(idle.Ends());
  EXPECT_GE(Instant::Now() - begin, milliseconds(500));
  Socket later(server->port());
  EXPECT_TRUE(later.Ends());
  handler.AnswerAll(HttpResponse::Text(200, "at last"));
  EXPECT_THAT(waiting.Answer(), HasSubstr("at last"));
}

TEST(HttpServer, SaysWhyItCannotListen) {
  Handler handler;
  auto server = StartServer(&handler);
  HttpServerOptions options;
  options.port = server->port();
  Result<std::unique_ptr<HttpServer>> second = HttpServer::Start(options, &handler);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), Code::kUnavailable);
  EXPECT_THAT(second.status().text(), HasSubstr("127.0.0.1:" + std::to_string(server->port())));
}

TEST(HttpServer, RefusesACertificateThatIsNone) {
  Handler handler;
  HttpServerOptions options;
  options.tls_certificate = "not a certificate";
  options.tls_key = "not a key";
  Result<std::unique_ptr<HttpServer>> server = HttpServer::Start(options, &handler);
  ASSERT_FALSE(server.ok());
  EXPECT_EQ(server.status().code(), Code::kInvalid);
}

// Clients that come, wait, hang up and are answered at the same moments.
TEST(HttpServer, SurvivesClientsThatHangUpWhileTheyAreAnswered) {
  Handler handler;
  auto server = StartServer(&handler);
  std::atomic<bool> done{false};
  std::thread answering([&] {
    while (!done) {
      handler.AnswerAll(HttpResponse::Text(200, "news"));
      std::this_thread::yield();
    }
  });
  std::vector<std::thread> asking;
  for (int t = 0; t < 4; ++t) {
    asking.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        Socket client(server->port());
        client.Post("/wait", "");
        if ((i + t) % 3 == 0) {
          EXPECT_THAT(client.Answer(), HasSubstr("news"));
        }
      }
    });
  }
  for (std::thread& one : asking) one.join();
  EXPECT_TRUE(Becomes([&] { return server->counts().requests_open == 0; }));
  EXPECT_TRUE(Becomes([&] { return server->counts().connections_open == 0; }));
  done = true;
  answering.join();
}

}  // namespace
}  // namespace turso
