#include "src/http/http_client.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "tests/support/scripted_server.h"

namespace turso {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Connection = ScriptedServer::Connection;

constexpr const char* kToken = "s3cret-token";

HttpRequest RequestTo(const std::string& url, std::string body = "hello") {
  HttpRequest request;
  request.url = url + "/db/call";
  request.token = kToken;
  request.content_type = "application/x-test";
  request.body = std::move(body);
  return request;
}

Patience PatienceFor(Duration timeout) {
  Patience patience;
  patience.timeout = timeout;
  return patience;
}

struct Timed {
  HttpOutcome outcome;
  Duration took;
};
Timed TimedExchange(HttpClient* client, const HttpRequest& request, const Patience& patience) {
  Instant begin = Instant::Now();
  HttpOutcome outcome = client->Exchange(request, patience);
  EXPECT_THAT(outcome.status.text(), Not(HasSubstr(kToken)));
  if (!outcome.status.ok()) {
    EXPECT_THAT(outcome.status.text(), HasSubstr(request.url));
  }
  return {std::move(outcome), Instant::Now() - begin};
}

// Answers every request with its own body.
void Echo(Connection& connection) {
  while (auto request = connection.Read()) connection.Answer(request->body);
}

TEST(HttpClient, SendsWhatItIsGivenAndTakesTheAnswer) {
  ScriptedServer server(Echo);
  HttpClient client;
  HttpRequest request = RequestTo(server.url(), std::string("a\0b", 3));
  HttpOutcome outcome = client.Exchange(request, PatienceFor(seconds(5)));
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.text();
  EXPECT_TRUE(outcome.sent);
  EXPECT_EQ(outcome.answer.status, 200);
  EXPECT_EQ(outcome.answer.body, request.body);
  EXPECT_EQ(outcome.answer.content_type, "text/plain");
  ScriptedRequest seen = server.requests().at(0);
  EXPECT_EQ(seen.method, "POST");
  EXPECT_EQ(seen.path, "/db/call");
  EXPECT_EQ(seen.headers["content-type"], "application/x-test");
  EXPECT_EQ(seen.headers["authorization"], std::string("Bearer ") + kToken);
  EXPECT_EQ(seen.headers.count("expect"), 0u);
  EXPECT_EQ(outcome.bytes_sent, seen.bytes);
}

// Keeps how much came, and refuses more than `most`.
class Counting : public BodySink {
 public:
  explicit Counting(size_t most) : most_(most) {}
  Status Take(ByteView bytes) override {
    taken += bytes.size();
    return taken <= most_ ? OkStatus() : Status(Code::kCorrupt, "that will do");
  }
  size_t taken = 0;

 private:
  const size_t most_;
};

TEST(HttpClient, PassesABodyOfAnyLengthToTheSinkOfTheRequest) {
  ScriptedServer server(Echo);
  HttpClient client;
  HttpRequest request = RequestTo(server.url(), std::string(5 << 20, 'x'));
  request.answer_max = 1000;
  Counting all(SIZE_MAX);
  request.sink = &all;
  HttpOutcome outcome = client.Exchange(request, PatienceFor(seconds(10)));
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.text();
  EXPECT_EQ(all.taken, request.body.size());
  EXPECT_TRUE(outcome.answer.body.empty());
  EXPECT_GT(outcome.bytes_received, request.body.size());
  Counting some(1 << 20);
  request.sink = &some;
  outcome = client.Exchange(request, PatienceFor(seconds(10)));
  EXPECT_EQ(outcome.status.code(), Code::kCorrupt);
  EXPECT_THAT(outcome.status.text(), HasSubstr("that will do"));
  EXPECT_LT(some.taken, size_t{2} << 20);
}

TEST(HttpClient, SendsFurtherHeaderLinesAndTellsThoseOfTheAnswer) {
  ScriptedServer server([](Connection& connection) {
    connection.Read();
    connection.Send("HTTP/1.1 100 Continue\r\ngrpc-status: 1\r\n\r\n");
    connection.Answer("no", "text/plain", 404, "Grpc-Status:  9 \r\ngrpc-message:\r\n");
  });
  HttpClient client;
  HttpRequest request = RequestTo(server.url());
  Counting sink(SIZE_MAX);
  request.sink = &sink;
  request.headers = {"x-one: 1", "x-two: 2"};
  HttpOutcome outcome = client.Exchange(request, PatienceFor(seconds(5)));
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.text();
  EXPECT_EQ(server.requests().at(0).headers["x-two"], "2");
  EXPECT_EQ(outcome.answer.headers["grpc-status"], "9");
  EXPECT_EQ(outcome.answer.headers["grpc-message"], "");
  // Only a success goes to the sink.
  EXPECT_EQ(outcome.answer.body, "no");
  EXPECT_EQ(sink.taken, 0u);
}

TEST(HttpClient, KeepsItsConnection) {
  ScriptedServer server(Echo);
  HttpClient client;
  for (int i = 0; i < 50; i++) {
    HttpRequest request = RequestTo(server.url(), "request " + std::to_string(i));
    HttpOutcome outcome = client.Exchange(request, PatienceFor(seconds(5)));
    ASSERT_TRUE(outcome.status.ok()) << outcome.status.text();
    ASSERT_EQ(outcome.answer.body, request.body);
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClient, CountsTheBytesOfLargeBodies) {
  ScriptedServer server(Echo);
  HttpClient client;
  HttpRequest request = RequestTo(server.url(), std::string(20 << 20, 'x'));
  HttpOutcome outcome = client.Exchange(request, PatienceFor(seconds(10)));
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.text();
  EXPECT_EQ(outcome.answer.body, request.body);
  EXPECT_EQ(server.requests().at(0).headers.count("expect"), 0u);
  EXPECT_EQ(outcome.bytes_sent, server.requests().at(0).bytes);
  EXPECT_GT(outcome.bytes_received, 20u << 20);
}

TEST(HttpClient, SaysThatNobodyListens) {
  HttpClient client;
  HttpRequest request = RequestTo("http://127.0.0.1:" + std::to_string(UnusedPort()));
  Timed timed = TimedExchange(&client, request, PatienceFor(seconds(5)));
  EXPECT_EQ(timed.outcome.status.code(), Code::kUnavailable);
  EXPECT_FALSE(timed.outcome.sent);
  EXPECT_THAT(timed.outcome.status.text(), HasSubstr("Connection refused"));
  EXPECT_LT(timed.took, seconds(1));
}

TEST(HttpClient, RefusesOtherSchemes) {
  HttpClient client;
  for (const char* url : {"file:///etc/passwd", "ftp://127.0.0.1/x", "http://[::1"}) {
    HttpRequest request = RequestTo(url);
    HttpOutcome outcome = client.Exchange(request, PatienceFor(seconds(5)));
    EXPECT_EQ(outcome.status.code(), Code::kInvalid) << outcome.status.text();
    EXPECT_FALSE(outcome.sent);
  }
}

struct Misbehaviour {
  const char* name;
  ScriptedServer::Script script;
  Code code;
};
class HttpMisbehaviour : public ::testing::TestWithParam<Misbehaviour> {};

TEST_P(HttpMisbehaviour, IsToldWithinTheTimeout) {
  ScriptedServer server(GetParam().script);
  for (Repeat repeat : {Repeat::kOnce, Repeat::kNever}) {
    HttpClient client;
    HttpRequest request = RequestTo(server.url());
    request.repeat = repeat;
    request.answer_max = 1 << 20;
    Timed timed = TimedExchange(&client, request, PatienceFor(milliseconds(500)));
    EXPECT_EQ(timed.outcome.status.code(), GetParam().code) << timed.outcome.status.text();
    EXPECT_TRUE(timed.outcome.sent);
    EXPECT_LT(timed.took, milliseconds(1500));
  }
}

const Misbehaviour kMisbehaviours[] = {
    {"ClosesWithoutAnAnswer", [](Connection& c) { c.Read(); }, Code::kUnavailable},
    {"Resets", [](Connection& c) { c.Read(), c.Reset(); }, Code::kUnavailable},
    {"Stalls", [](Connection& c) { c.Read(), c.Stall(); }, Code::kUnavailable},
    {"StallsInTheHeader",
     [](Connection& c) { c.Read(), c.Send("HTTP/1.1 200 OK\r\nConte"), c.Stall(); },
     Code::kUnavailable},
    {"StallsInTheBody",
     [](Connection& c) {
       c.Read();
       c.Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
       c.Stall();
     },
     Code::kUnavailable},
    {"CutsTheBodyShort",
     [](Connection& c) { c.Read(), c.Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"); },
     Code::kUnavailable},
    {"DripsSlowly",
     [](Connection& c) {
       c.Read();
       c.Send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
       for (int i = 0; i < 100; i++) c.Send("x"), c.Pause(milliseconds(50));
     },
     Code::kUnavailable},
    {"SaysTooMuch", [](Connection& c) { c.Read(), c.Answer(std::string(2 << 20, 'x')); },
     Code::kCorrupt},
    {"SaysTooMuchInChunks",
     [](Connection& c) {
       c.Read();
       c.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
       for (int i = 0; i < 32; i++) c.Send("10000\r\n" + std::string(65536, 'x') + "\r\n");
       c.Stall();
     },
     Code::kCorrupt},
    {"DoesNotSpeakHttp",
     [](Connection& c) { c.Read(), c.Send("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), c.Stall(); },
     Code::kCorrupt},
};
INSTANTIATE_TEST_SUITE_P(All, HttpMisbehaviour, ::testing::ValuesIn(kMisbehaviours),
                         [](const auto& param) { return param.param.name; });

TEST(HttpClient, GivesUpWhereNothingIsTaken) {
  // The listener's queue accepts the connection, and then nobody reads.
  ScriptedServer server([](Connection& c) { c.Stall(); });
  HttpClient client;
  HttpRequest request = RequestTo(server.url(), std::string(64 << 20, 'x'));
  Timed timed = TimedExchange(&client, request, PatienceFor(milliseconds(500)));
  EXPECT_EQ(timed.outcome.status.code(), Code::kUnavailable);
  EXPECT_TRUE(timed.outcome.sent);
  EXPECT_THAT(timed.outcome.status.text(), HasSubstr("not taken"));
  EXPECT_LT(timed.took, milliseconds(1500));
}

TEST(HttpClient, DoesNotGiveUpOnWhatMovesSteadily) {
  ScriptedServer server([](Connection& c) {
    c.Read();
    c.Send("HTTP/1.1 200 OK\r\nContent-Length: 40960\r\n\r\n");
    for (int i = 0; i < 10; i++) c.Send(std::string(4096, 'x')), c.Pause(milliseconds(100));
  });
  HttpClient client;
  HttpRequest request = RequestTo(server.url());
  HttpOutcome outcome = client.Exchange(request, PatienceFor(milliseconds(400)));
  EXPECT_TRUE(outcome.status.ok()) << outcome.status.text();
  EXPECT_EQ(outcome.answer.body.size(), 40960u);
}

TEST(HttpClient, GrantsALongPollItsWait) {
  ScriptedServer server([](Connection& c) {
    while (c.Read()) c.Pause(milliseconds(700)), c.Answer("late");
  });
  HttpClient client;
  HttpRequest request = RequestTo(server.url());
  request.answer_wait = seconds(1);
  EXPECT_TRUE(client.Exchange(request, PatienceFor(milliseconds(300))).status.ok());
  request.answer_wait = Duration::zero();
  EXPECT_EQ(client.Exchange(request, PatienceFor(milliseconds(300))).status.code(),
            Code::kUnavailable);
}

TEST(HttpClient, DoesNotFollowRedirects) {
  ScriptedServer other(Echo);
  ScriptedServer server([&](Connection& c) {
    while (c.Read()) c.Answer("", "text/html", 307, "Location: " + other.url() + "/x?y=1\r\n");
  });
  HttpClient client;
  HttpRequest request = RequestTo(server.url());
  HttpOutcome outcome = client.Exchange(request, PatienceFor(seconds(5)));
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.text();
  EXPECT_EQ(outcome.answer.status, 307);
  EXPECT_EQ(outcome.answer.redirect, other.url() + "/x?y=1");
  EXPECT_EQ(other.connections(), 0);
}

TEST(HttpClient, HandsOnWhenToComeAgain) {
  ScriptedServer server([](Connection& c) {
    while (c.Read()) c.Answer("", "text/plain", 503, "Retry-After: 7\r\n");
  });
  HttpClient client;
  HttpRequest request = RequestTo(server.url());
  HttpOutcome outcome = client.Exchange(request, PatienceFor(seconds(5)));
  EXPECT_EQ(outcome.answer.status, 503);
  EXPECT_EQ(outcome.answer.retry_after, seconds(7));
}

// The first connection answers once and dies while the second request is on it.
void DieOnTheSecondRequest(Connection& c) {
  while (auto request = c.Read()) {
    if (c.index() == 0 && request->body == "second") return;
    c.Answer("answer to " + request->body);
  }
}

TEST(HttpClient, RepeatsOnANewConnectionWhenTheKeptOneDied) {
  ScriptedServer server(DieOnTheSecondRequest);
  HttpClient client;
  HttpRequest first = RequestTo(server.url(), "first"), second = RequestTo(server.url(), "second");
  ASSERT_TRUE(client.Exchange(first, PatienceFor(seconds(5))).status.ok());
  HttpOutcome outcome = client.Exchange(second, PatienceFor(seconds(5)));
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.text();
  EXPECT_EQ(outcome.answer.body, "answer to second");
  EXPECT_EQ(server.requests().size(), 3u);
}

TEST(HttpClient, RepeatsALargeUploadWhenTheKeptConnectionIsReset) {
  ScriptedServer server([](Connection& c) {
    if (c.index() > 0) return Echo(c);
    c.Read();
    c.Answer("first");
    c.ReadHead();
    c.Reset();
  });
  HttpClient client;
  HttpRequest first = RequestTo(server.url()),
              second = RequestTo(server.url(), std::string(32 << 20, 'x'));
  ASSERT_TRUE(client.Exchange(first, PatienceFor(seconds(5))).status.ok());
  HttpOutcome outcome = client.Exchange(second, PatienceFor(seconds(5)));
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.text();
  EXPECT_EQ(outcome.answer.body.size(), second.body.size());
}

TEST(HttpClient, NeverRepeatsWhatMustNotBeRepeated) {
  ScriptedServer server(DieOnTheSecondRequest);
  HttpClient client;
  HttpRequest first = RequestTo(server.url(), "first"), second = RequestTo(server.url(), "second");
  ASSERT_TRUE(client.Exchange(first, PatienceFor(seconds(5))).status.ok());
  second.repeat = Repeat::kNever;
  HttpOutcome outcome = client.Exchange(second, PatienceFor(seconds(5)));
  EXPECT_EQ(outcome.status.code(), Code::kUnavailable);
  EXPECT_TRUE(outcome.sent);
  EXPECT_THAT(outcome.status.text(), HasSubstr("broke"));
  EXPECT_EQ(server.requests().size(), 2u);
  // And the client is as good as new.
  EXPECT_TRUE(client.Exchange(first, PatienceFor(seconds(5))).status.ok());
}

TEST(HttpClient, SendsEvenThatOnANewConnectionWhenTheKeptOneIsKnownToBeClosed) {
  ScriptedServer server([](Connection& c) {
    auto request = c.Read();
    if (request) c.Answer(request->body);
    if (c.index() > 0) Echo(c);
  });
  HttpClient client;
  HttpRequest request = RequestTo(server.url());
  request.repeat = Repeat::kNever;
  ASSERT_TRUE(client.Exchange(request, PatienceFor(seconds(5))).status.ok());
  // The FIN follows the answer on loopback without delay, but not at the same instant.
  std::this_thread::sleep_for(milliseconds(50));
  HttpOutcome outcome = client.Exchange(request, PatienceFor(seconds(5)));
  EXPECT_TRUE(outcome.status.ok()) << outcome.status.text();
  EXPECT_EQ(server.connections(), 2);
}

TEST(HttpClient, CancelEndsALongPollAtOnceAndClosesIt) {
  ScriptedServer server([](Connection& c) {
    if (c.index() > 0) return Echo(c);
    c.Read();
    c.WaitForClose();
  });
  HttpClient client;
  HttpRequest request = RequestTo(server.url());
  request.answer_wait = seconds(60);
  std::atomic<bool> cancelled{false};
  Patience patience = PatienceFor(seconds(60));
  patience.cancelled = &cancelled;
  HttpOutcome outcome;
  std::thread poll([&] { outcome = client.Exchange(request, patience); });
  ASSERT_TRUE(server.WaitForRequests(1));
  Instant begin = Instant::Now();
  cancelled = true;
  client.Cancel();
  poll.join();
  EXPECT_LT(Instant::Now() - begin, milliseconds(100));
  EXPECT_EQ(outcome.status.code(), Code::kInterrupted);
  EXPECT_TRUE(outcome.sent);
  EXPECT_TRUE(server.WaitForCloses(1));
  EXPECT_TRUE(client.Exchange(request, PatienceFor(seconds(5))).status.ok());
}

TEST(HttpClient, SendsNothingOnceItIsCancelled) {
  ScriptedServer server(Echo);
  HttpClient client;
  HttpRequest request = RequestTo(server.url());
  std::atomic<bool> cancelled{true};
  Patience patience = PatienceFor(seconds(5));
  patience.cancelled = &cancelled;
  HttpOutcome outcome = client.Exchange(request, patience);
  EXPECT_EQ(outcome.status.code(), Code::kInterrupted);
  EXPECT_FALSE(outcome.sent);
  EXPECT_TRUE(server.requests().empty());
}

TEST(HttpClient, IsInterruptedWithin200Milliseconds) {
  ScriptedServer server([](Connection& c) { c.Read(), c.Stall(); });
  HttpClient client;
  HttpRequest request = RequestTo(server.url());
  std::atomic<bool> interrupted{false};
  std::atomic<int> asked{0};
  Patience patience = PatienceFor(seconds(60));
  patience.interrupted = [&] { return asked++, interrupted.load(); };
  HttpOutcome outcome;
  std::thread waiting([&] { outcome = client.Exchange(request, patience); });
  ASSERT_TRUE(server.WaitForRequests(1));
  int before = asked;
  std::this_thread::sleep_for(milliseconds(500));
  EXPECT_GE(asked - before, 5);
  EXPECT_LE(asked - before, 15);
  Instant begin = Instant::Now();
  interrupted = true;
  waiting.join();
  EXPECT_LT(Instant::Now() - begin, milliseconds(200));
  EXPECT_EQ(outcome.status.code(), Code::kInterrupted);
}

TEST(HttpClient, MovesOnInTheBackgroundBetweenBeginAndFinish) {
  ScriptedServer server(Echo);
  HttpClient client;
  HttpRequest request = RequestTo(server.url());
  client.Begin(request, seconds(5));
  Instant deadline = Instant::Now() + seconds(10);
  while (server.requests().empty() && Instant::Now() < deadline) client.Advance();
  EXPECT_EQ(server.requests().size(), 1u);
  HttpOutcome outcome = client.Finish(PatienceFor(seconds(5)));
  EXPECT_EQ(outcome.answer.body, request.body);
}

TEST(HttpClient, AbandonsWhatIsUnderWay) {
  ScriptedServer server([](Connection& c) {
    if (c.index() > 0) return Echo(c);
    c.Read();
    c.WaitForClose();
  });
  HttpClient client;
  HttpRequest request = RequestTo(server.url());
  client.Begin(request, seconds(5));
  Instant deadline = Instant::Now() + seconds(10);
  while (server.requests().empty() && Instant::Now() < deadline) client.Advance();
  client.Abandon();
  EXPECT_TRUE(server.WaitForCloses(1));
  EXPECT_TRUE(client.Exchange(request, PatienceFor(seconds(5))).status.ok());
}

TEST(HttpClient, AsksNoProxyForLoopback) {
  ScriptedServer proxy(Echo), server(Echo);
  setenv("http_proxy", proxy.url().c_str(), 1);
  setenv("all_proxy", proxy.url().c_str(), 1);
  HttpClient client;
  HttpRequest request = RequestTo(server.url());
  HttpOutcome outcome = client.Exchange(request, PatienceFor(seconds(5)));
  HttpRequest elsewhere = RequestTo("http://primary.invalid");
  HttpOutcome by_proxy = client.Exchange(elsewhere, PatienceFor(seconds(5)));
  unsetenv("http_proxy");
  unsetenv("all_proxy");
  EXPECT_TRUE(outcome.status.ok()) << outcome.status.text();
  EXPECT_EQ(server.requests().size(), 1u);
  EXPECT_TRUE(by_proxy.status.ok()) << by_proxy.status.text();
  EXPECT_EQ(proxy.requests().size(), 1u);
}

TEST(HttpClient, KnowsLoopbackByItsNames) {
  for (const char* host : {"localhost", "LocalHost", "127.0.0.1", "127.8.9.10", "[::1]"}) {
    EXPECT_TRUE(IsLoopback(host)) << host;
  }
  for (const char* host :
       {"example.com", "127.example.com", "128.0.0.1", "[::2]", "", "localhost.org"}) {
    EXPECT_FALSE(IsLoopback(host)) << host;
  }
}

TEST(HttpClient, RefusesATokenWithALineBreak) {
  ScriptedServer server(Echo);
  HttpClient client;
  HttpRequest request = RequestTo(server.url());
  request.token = "a\r\nX-Injected: yes";
  HttpOutcome outcome = client.Exchange(request, PatienceFor(seconds(5)));
  EXPECT_EQ(outcome.status.code(), Code::kInvalid);
  EXPECT_THAT(outcome.status.text(), Not(HasSubstr("Injected")));
  EXPECT_TRUE(server.requests().empty());
}

TEST(HttpClient, IsRefusedInAChildAndStaysWholeInTheParent) {
  ScriptedServer server(Echo);
  HttpRequest request = RequestTo(server.url());
  auto client = std::make_unique<HttpClient>();
  ASSERT_TRUE(client->Exchange(request, PatienceFor(seconds(5))).status.ok());
  pid_t child = fork();
  if (child == 0) {
    HttpOutcome outcome = client->Exchange(request, PatienceFor(seconds(5)));
    bool as_expected = outcome.status.code() == Code::kInvalid &&
                       outcome.status.text().find("fork") != std::string::npos;
    client.reset();
    _exit(as_expected ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  HttpOutcome outcome = client->Exchange(request, PatienceFor(seconds(5)));
  EXPECT_TRUE(outcome.status.ok()) << outcome.status.text();
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClient, LeavesSignalsAsTheyWere) {
  ScriptedServer server([](Connection& c) { c.Reset(); });
  HttpClient client;
  sigset_t before, after, pending;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  HttpRequest request = RequestTo(server.url(), std::string(8 << 20, 'x'));
  EXPECT_FALSE(client.Exchange(request, PatienceFor(seconds(5))).status.ok());
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  sigpending(&pending);
  for (int signal = 1; signal < SIGRTMAX; signal++) {
    EXPECT_EQ(sigismember(&before, signal), sigismember(&after, signal)) << signal;
  }
  EXPECT_EQ(sigismember(&pending, SIGPIPE), 0);
}

TEST(HttpClient, OpensConnectionsThatExecCloses) {
  ScriptedServer server(Echo);
  HttpClient client;
  HttpRequest request = RequestTo(server.url());
  ASSERT_TRUE(client.Exchange(request, PatienceFor(seconds(5))).status.ok());
  int connections = 0;
  for (int fd = 3; fd < 256; fd++) {
    sockaddr_storage peer;
    socklen_t length = sizeof peer;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) continue;
    if (peer.ss_family != AF_INET) continue;
    connections++;
    EXPECT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC) << fd;
  }
  EXPECT_GE(connections, 1);
}

}  // namespace
}  // namespace turso
