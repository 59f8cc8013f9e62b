// What a real libSQL server said (tests/fixtures/libsql) is what the parsers read.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "src/remote/hrana_client.h"
#include "src/remote/libsql_log.h"
#include "src/remote/log_client.h"
#include "src/remote/protobuf.h"
#include "tests/remote_contract.h"

namespace turso {
namespace {

using ::testing::HasSubstr;

std::string FileOf(const std::string& name) {
  const std::string path = TURSO_FIXTURES "/libsql/" + name;
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Recorded {
  explicit Recorded(const std::string& name) {
    const std::string file = FileOf(name);
    size_t at = 0;
    for (size_t end; (end = file.find('\n', at)) != at && end != std::string::npos; at = end + 1) {
      const std::string line = file.substr(at, end - at);
      const size_t colon = line.find(": ");
      headers[line.substr(0, colon)] = line.substr(colon + 2);
    }
    body = file.substr(at + 1);
  }
  std::map<std::string, std::string> headers;
  std::string body;
};

class Message : public MessageSink {
 public:
  Status BeginMessage(uint32_t) override { return OkStatus(); }
  Status TakeMessage(ByteView piece) override { return text += AsText(piece), OkStatus(); }
  Status EndMessage() override { return OkStatus(); }
  std::string text;
};

LogHello RecordedHello() {
  Message message;
  GrpcWebBody body(&message);
  EXPECT_TRUE(body.Take(AsBytes(Recorded("hello.answer").body)).ok());
  EXPECT_EQ((*body.Finish())->code, GrpcStatus::kOk);
  Result<LogHello> hello = ParseLogHello(AsBytes(message.text));
  EXPECT_TRUE(hello.ok()) << hello.status().text();
  return *hello;
}

void Feed(LogFeed* feed, LogFeed::Kind kind, const std::string& name) {
  FrameScanner scanner(kind == LogFeed::Kind::kBatch ? FrameScanner::Messages::kBatch
                                                     : FrameScanner::Messages::kFrames,
                       feed);
  GrpcWebBody records(&scanner);
  feed->Begin(kind);
  Status taken = records.Take(AsBytes(Recorded(name).body));
  ASSERT_TRUE(taken.ok()) << name << ": " << taken.text();
  EXPECT_EQ((*records.Finish())->code, GrpcStatus::kOk);
  Status end = feed->End();
  ASSERT_TRUE(end.ok()) << name << ": " << end.text();
}

void EqualsFile(const RemoteCopy& copy, const std::string& name) {
  std::string pages;
  for (const Bytes& page : copy.pages()) pages += AsText(page);
  const std::string file = FileOf(name);
  ASSERT_EQ(pages.size(), file.size());
  for (size_t at = 0; at < file.size(); at += kLibsqlPageSize) {
    EXPECT_TRUE(pages.compare(at, kLibsqlPageSize, file, at, kLibsqlPageSize) == 0)
        << "page " << at / kLibsqlPageSize + 1;
  }
}

TEST(RecordedLog, IsTheServersFilePageForPage) {
  const LogHello hello = RecordedHello();
  RemoteCopy copy;
  LogFeed feed({hello.log, 0, 0, 0, false}, &copy);
  Feed(&feed, LogFeed::Kind::kBatch, "batch.answer");
  EXPECT_EQ(feed.place().next, hello.end);
  EXPECT_EQ(feed.frames(), hello.end);
  Feed(&feed, LogFeed::Kind::kBatch, "empty_batch.answer");
  EXPECT_EQ(feed.frames(), 0u);
  ASSERT_TRUE(feed.Finish().ok());
  EqualsFile(copy, "batch.db");
}

TEST(RecordedSnapshot, WithTheLogBehindItIsTheServersFilePageForPage) {
  RemoteCopy copy;
  LogFeed feed({{1}, 0, 0, 0, false}, &copy);
  Feed(&feed, LogFeed::Kind::kSnapshot, "snapshot.answer");
  Message request;
  GrpcWebBody body(&request);
  ASSERT_TRUE(body.Take(AsBytes(Recorded("batch_after_snapshot.request").body)).ok());
  EXPECT_EQ((*ProtobufReader(AsBytes(request.text)).Next())->value, feed.place().next);
  Feed(&feed, LogFeed::Kind::kBatch, "batch_after_snapshot.answer");
  ASSERT_TRUE(feed.Finish().ok());
  EqualsFile(copy, "snapshot.db");
}

TEST(RecordedRefusal, IsReadWithItsCodeAndItsText) {
  struct Case {
    const char* name;
    int code;
    const char* text;
  };
  for (const Case& c :
       {Case{"no_hello.answer", GrpcStatus::kFailedPrecondition, "NO_HELLO"},
        Case{"need_snapshot.answer", GrpcStatus::kFailedPrecondition, "NEED_SNAPSHOT"},
        Case{"unauthenticated.answer", GrpcStatus::kUnauthenticated,
             "AuthError: The JWT is invalid"}}) {
    Result<std::optional<GrpcStatus>> status = GrpcStatusOf(Recorded(c.name).headers);
    ASSERT_TRUE(status.ok() && status->has_value()) << c.name;
    EXPECT_EQ((*status)->code, c.code) << c.name;
    EXPECT_EQ((*status)->message, c.text);
  }
}

TEST(RecordedCommit, HasAResultForEachRequest) {
  Result<HranaAnswer> answer = ParseHranaAnswer(AsBytes(Recorded("hrana_commit.answer").body), 3);
  ASSERT_TRUE(answer.ok()) << answer.status().text();
  EXPECT_TRUE(answer->stream.baton.empty());
  const HranaResult& batch = answer->results[0];
  EXPECT_FALSE(batch.error.has_value());
  EXPECT_EQ(batch.steps_done, 4u);
  const HranaResult& behind = answer->results[1];
  ASSERT_EQ(behind.rows.size(), 1u);
  EXPECT_EQ(behind.rows[0][0].integer, 1);
  EXPECT_TRUE(behind.last_frame.has_value());
}

TEST(RecordedError, IsReadWithItsMessageAndItsCode) {
  Result<HranaAnswer> answer = ParseHranaAnswer(AsBytes(Recorded("hrana_error.answer").body), 2);
  ASSERT_TRUE(answer.ok()) << answer.status().text();
  ASSERT_TRUE(answer->results[0].error.has_value());
  EXPECT_EQ(answer->results[0].error->code, "SQLITE_CONSTRAINT");
  EXPECT_THAT(answer->results[0].error->message, HasSubstr("UNIQUE constraint failed: t.a"));
}

TEST(RecordedExpiry, IsARefusalInTheServersWords) {
  const Recorded recorded("hrana_expired.answer");
  EXPECT_EQ(recorded.headers.at("status"), "400");
  HttpAnswer answer;
  answer.status = 400;
  answer.body = recorded.body;
  const Status status = LibsqlRefusal("http://server", answer);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(status.text(), HasSubstr("stream has expired"));
}

}  // namespace
}  // namespace turso
