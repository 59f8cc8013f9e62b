#include "src/remote/log_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <new>

#include "src/remote/remote.h"
#include "tests/support/log_writer.h"
#include "tests/support/scripted_server.h"

namespace turso {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Duration kShort = milliseconds(50);
constexpr Duration kLong = seconds(20);

std::string Chunk(const std::string& bytes) {
  char size[20];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  return size + bytes + "\r\n";
}

const std::string kHead =
    "HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web+proto\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";
const std::string kEnd = Chunk(LogWriter::kTrailers) + "0\r\n\r\n";

class Numbers : public FrameSink {
 public:
  Status Frame(const LogFrame& frame) override {
    numbers.push_back(frame.number);
    ends_whole = frame.size_after != 0;
    return OkStatus();
  }
  std::vector<uint64_t> numbers;
  bool ends_whole = true;
};

// Transactions of the frames 0 and 1, 2 and 3, 4 and 5.
LogWriter ThreePairs() {
  LogWriter log;
  for (int i = 0; i < 3; i++) {
    log.Add(1, 0, static_cast<uint8_t>(i));
    log.Add(2, 2, static_cast<uint8_t>(i + 9));
  }
  return log;
}

class LogStreamTest : public ::testing::Test {
 protected:
  void Open(const ScriptedServer& server, uint64_t next) {
    HttpRequest request;
    request.url = server.url();
    stream_.Open(request, next, call_.timeout);
  }
  Result<bool> Read(uint64_t next, Duration wait) {
    frames_ = {};
    return stream_.Read(next, &frames_, wait, call_);
  }

  const LogWriter log_ = ThreePairs();
  Remote::Traffic traffic_;
  Call call_;
  LogStream stream_{&traffic_};
  Numbers frames_;
};

TEST_F(LogStreamTest, GivesTransactionsAsTheyComeAndOnlyWhole) {
  ScriptedServer server([&](ScriptedServer::Connection& client) {
    client.Read();
    client.Send(kHead + Chunk(log_.Stream(0, 3)));
    client.Pause(kShort);
    const std::string rest = log_.Stream(3, 4);
    client.Send(Chunk(rest.substr(0, 3)));
    client.Pause(kShort);
    client.Send(Chunk(rest.substr(3, 500)) + Chunk(rest.substr(503)));
    client.WaitForClose();
  });
  Open(server, 0);
  std::vector<uint64_t> numbers;
  while (numbers.size() < 4) {
    Result<bool> came = Read(numbers.size(), kLong);
    ASSERT_TRUE(came.ok()) << came.status().text();
    ASSERT_TRUE(*came);
    EXPECT_TRUE(frames_.ends_whole);
    numbers.insert(numbers.end(), frames_.numbers.begin(), frames_.numbers.end());
  }
  EXPECT_THAT(numbers, ElementsAre(0, 1, 2, 3));
  EXPECT_TRUE(stream_.Has(4));
  EXPECT_FALSE(stream_.Has(3));
  EXPECT_EQ(traffic_.round_trips, 0u);
  stream_.Close();
  EXPECT_EQ(traffic_.round_trips, 1u);
  EXPECT_GT(traffic_.bytes_received, log_.Stream(0, 4).size());
}

TEST_F(LogStreamTest, SaysNothingOfASilence) {
  ScriptedServer server([&](ScriptedServer::Connection& client) {
    client.Read();
    client.Send(kHead);
    client.WaitForClose();
  });
  Open(server, 6);
  Result<bool> came = Read(6, kShort);
  ASSERT_TRUE(came.ok()) << came.status().text();
  EXPECT_FALSE(*came);
  EXPECT_TRUE(stream_.Has(6));
}

TEST_F(LogStreamTest, PassesOverWhatCameByAnotherWay) {
  ScriptedServer server([&](ScriptedServer::Connection& client) {
    client.Read();
    client.Send(kHead + Chunk(log_.Stream(0, 6)));
    client.WaitForClose();
  });
  Open(server, 0);
  EXPECT_TRUE(stream_.Has(2));
  std::vector<uint64_t> numbers;
  while (numbers.size() < 4) {
    Result<bool> came = Read(2 + numbers.size(), kLong);
    ASSERT_TRUE(came.ok() && *came);
    numbers.insert(numbers.end(), frames_.numbers.begin(), frames_.numbers.end());
  }
  EXPECT_THAT(numbers, ElementsAre(2, 3, 4, 5));
}

TEST_F(LogStreamTest, GivesAboutABatchAtATime) {
  constexpr uint64_t kTransactions = 3000;
  LogWriter log;
  for (uint64_t i = 0; i < kTransactions; i++) log.Add(1, 1, static_cast<uint8_t>(i));
  ScriptedServer server([&](ScriptedServer::Connection& client) {
    client.Read();
    client.Send(kHead + Chunk(log.Stream(0, kTransactions)));
    client.WaitForClose();
  });
  Open(server, 0);
  for (uint64_t next = 0; next < kTransactions; next += frames_.numbers.size()) {
    Result<bool> came = Read(next, kLong);
    ASSERT_TRUE(came.ok() && *came);
    EXPECT_EQ(frames_.numbers.front(), next);
    EXPECT_LE(frames_.numbers.size(), 1024u);
  }
}

TEST_F(LogStreamTest, FailsWhereATransactionDoesNotGoOn) {
  call_.timeout = milliseconds(300);
  for (bool closes : {false, true}) {
    ScriptedServer server([&](ScriptedServer::Connection& client) {
      client.Read();
      client.Send(kHead + Chunk(log_.Stream(0, 1)) + (closes ? kEnd : ""));
      client.WaitForClose();
    });
    Open(server, 0);
    Result<bool> came = Read(0, kLong);
    EXPECT_EQ(came.status().code(), Code::kUnavailable);
    EXPECT_THAT(came.status().text(), HasSubstr(server.url()));
    EXPECT_FALSE(stream_.Has(0));
  }
}

TEST_F(LogStreamTest, TakesNothingThatIsNoMessageWithAFrame) {
  const std::string long_head("\0\x7f\xff\xff\xff", 5);
  for (const std::string& body :
       {long_head, GrpcWebRequest("nonsense"), GrpcWebRequest(""), "\x05" + log_.Stream(0, 2)}) {
    ScriptedServer server([&](ScriptedServer::Connection& client) {
      client.Read();
      client.Send(kHead + Chunk(body));
      client.WaitForClose();
    });
    Open(server, 0);
    Result<bool> came = Read(0, kLong);
    EXPECT_EQ(came.status().code(), Code::kCorrupt) << came.status().text();
    EXPECT_THAT(came.status().text(), HasSubstr(server.url()));
    EXPECT_FALSE(stream_.Has(0));
  }
}

TEST_F(LogStreamTest, DoesNotAskAllTheTimeWhereItIsRefused) {
  for (const std::string& answer :
       {kHead + kEnd, std::string("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        std::string()}) {
    ScriptedServer server([&](ScriptedServer::Connection& client) {
      client.Read();
      client.Send(answer);
    });
    LogStream stream(&traffic_);
    HttpRequest request;
    request.url = server.url();
    EXPECT_TRUE(stream.MayOpen());
    stream.Open(request, 0, call_.timeout);
    Result<bool> came = stream.Read(0, &frames_, kLong, call_);
    ASSERT_TRUE(came.ok()) << came.status().text();
    EXPECT_FALSE(*came);
    EXPECT_FALSE(stream.Has(0));
    EXPECT_FALSE(stream.MayOpen());
  }
}

TEST_F(LogStreamTest, IsAskedAgainAtOnceAfterOneThatBroughtFrames) {
  ScriptedServer server([&](ScriptedServer::Connection& client) {
    client.Read();
    client.Send(kHead + Chunk(log_.Stream(0, 2)) + kEnd);
  });
  Open(server, 0);
  Result<bool> came = Read(0, kLong);
  ASSERT_TRUE(came.ok() && *came);
  came = Read(2, kLong);
  ASSERT_TRUE(came.ok());
  EXPECT_FALSE(*came);
  EXPECT_TRUE(stream_.MayOpen());
}

TEST_F(LogStreamTest, IsNotReadOnBehindASinkThatRanOutOfMemory) {
  class Full : public FrameSink {
    Status Frame(const LogFrame&) override { throw std::bad_alloc(); }
  } full;
  ScriptedServer server([&](ScriptedServer::Connection& client) {
    client.Read();
    client.Send(kHead + Chunk(log_.Stream(0, 2)));
    client.WaitForClose();
  });
  Open(server, 0);
  EXPECT_THROW((void)stream_.Read(0, &full, kLong, call_), std::bad_alloc);
  EXPECT_FALSE(stream_.Has(0));
  EXPECT_FALSE(stream_.Has(2));
  Open(server, 0);
  Result<bool> came = Read(0, kLong);
  ASSERT_TRUE(came.ok() && *came);
  EXPECT_THAT(frames_.numbers, ElementsAre(0, 1));
}

TEST_F(LogStreamTest, EndsAtOnceWhenItIsCancelled) {
  std::atomic<bool> cancelled{false};
  ScriptedServer server([&](ScriptedServer::Connection& client) {
    client.Read();
    client.Send(kHead);
    cancelled = true;
    stream_.Cancel();
    client.WaitForClose();
  });
  call_.cancelled = &cancelled;
  Open(server, 0);
  EXPECT_EQ(Read(0, kLong).status().code(), Code::kInterrupted);
}

}  // namespace
}  // namespace turso
