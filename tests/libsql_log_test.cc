#include "src/remote/libsql_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "src/remote/log_client.h"
#include "src/remote/protobuf.h"
#include "tests/remote_contract.h"
#include "tests/support/log_writer.h"

namespace turso {
namespace {

using ::testing::HasSubstr;

const LogPlace kStart{{1, 2, 3}, 0, 0, 0, false};

struct Read {
  Status status;
  RemoteCopy copy;
  LogPlace place;
};

// `body` in pieces of `piece` bytes.
Status Feed(LogFeed* feed, LogFeed::Kind kind, const std::string& body, size_t piece = 1000) {
  FrameScanner scanner(kind == LogFeed::Kind::kBatch ? FrameScanner::Messages::kBatch
                                                     : FrameScanner::Messages::kFrames,
                       feed);
  GrpcWebBody records(&scanner);
  feed->Begin(kind);
  for (size_t at = 0; at < body.size(); at += piece) {
    TURSO_RETURN_IF_ERROR(records.Take(AsBytes(body.substr(at, piece))));
  }
  Result<std::optional<GrpcStatus>> end = records.Finish();
  if (!end.ok()) return end.status();
  if (!end->has_value()) return Status(Code::kUnavailable, "no trailers");
  return feed->End();
}

LogWriter ThreeTransactions() {
  LogWriter log;
  log.Add(1, 0, 1);
  log.Add(2, 2, 2);
  log.Add(3, 0, 3);
  log.Add(1, 3, 4);
  log.Add(2, 3, 5);
  return log;
}

TEST(LogChecksum, IsTheOneOfTheServer) {
  const Bytes page = PageOf(3);
  const Bytes turned(page.rbegin(), page.rend());
  EXPECT_EQ(LogChecksum(0, page), 0x4a42a0dd1e7f2ff1u);
  EXPECT_EQ(LogChecksum(0x4a42a0dd1e7f2ff1u, turned), 0x673c5d2d0394f902u);
  EXPECT_EQ(LogChecksum(5, AsBytes("abc")), 0xa776c4efffffffffu);
}

TEST(LogPlace, IsARevisionAndBack) {
  LogPlace place{{0, 255, 7, 63}, 0xfffffffff, UINT64_MAX, UINT32_MAX, false};
  const Revision revision = place.ToRevision();
  ASSERT_FALSE(revision.empty());
  std::optional<LogPlace> back = LogPlace::Parse(revision);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->ToRevision(), revision);
  EXPECT_EQ(back->log, place.log);
  EXPECT_EQ(back->next, place.next);
  EXPECT_EQ(back->checksum, place.checksum);
  EXPECT_EQ(back->db_size, place.db_size);
  place.provisional = true;
  EXPECT_TRUE(LogPlace::Parse(place.ToRevision())->provisional);
  EXPECT_FALSE(LogPlace::Parse(place.ToRevision())->exact);
  place.exact = true;
  EXPECT_TRUE(LogPlace::Parse(place.ToRevision())->provisional);
  place.number = UINT64_MAX;
  place.session = UINT32_MAX;
  EXPECT_TRUE(LogPlace::Parse(place.ToRevision())->exact);
  EXPECT_EQ(LogPlace::Parse(place.ToRevision())->number, place.number);
  EXPECT_EQ(LogPlace::Parse(place.ToRevision())->session, place.session);
  for (const char* other :
       {"", "x", "00112233445566ff-3", "AAAAAAAAAAAAAAAAAAAAAA.1.2", "AAAAAAAAAAAAAAAAAAAAAA.1.x",
        "AAAAAAAAAAAAAAAAAAAAAA.1.x.2.g", "AAAAAAAAAAAAAAAAAAAAAA.1.x.2.111111111",
        "AAAAAAAAAAAAAAAAAAAAAB.1.2.3", "AAAAAAAAAAAAAAAAAAAAAA.1.2.3.4",
        "AAAAAAAAAAAAAAAAAAAAAA.g.2.3", "AAAAAAAAAAAAAAAAAAAAAA..2.3"}) {
    EXPECT_FALSE(LogPlace::Parse(*Revision::Parse(other)).has_value()) << other;
  }
}

TEST(LogFeed, TakesABatchHoweverItIsCutUp) {
  LogWriter log = ThreeTransactions();
  for (size_t piece : {size_t{1}, size_t{7}, size_t{4096}, size_t{1} << 20}) {
    RemoteCopy copy;
    LogFeed feed(kStart, &copy);
    Status status = Feed(&feed, LogFeed::Kind::kBatch, log.Batch(0, 5), piece);
    ASSERT_TRUE(status.ok()) << status.text();
    ASSERT_TRUE(feed.Finish().ok());
    EXPECT_EQ(feed.frames(), 5u);
    EXPECT_EQ(feed.place().next, 5u);
    EXPECT_EQ(feed.place().db_size, 3u);
    EXPECT_TRUE(copy.pages() == (std::vector<Bytes>{PageOf(4), PageOf(5), PageOf(3)}));
  }
}

TEST(LogFeed, GoesOnWhereItWas) {
  LogWriter log = ThreeTransactions();
  RemoteCopy copy;
  LogFeed first(kStart, &copy);
  ASSERT_TRUE(Feed(&first, LogFeed::Kind::kBatch, log.Batch(0, 2)).ok());
  const LogPlace place = *LogPlace::Parse(first.place().ToRevision());
  LogFeed second(place, &copy);
  ASSERT_TRUE(Feed(&second, LogFeed::Kind::kBatch, log.Batch(2, 4)).ok());
  ASSERT_TRUE(Feed(&second, LogFeed::Kind::kBatch, log.Batch(4, 5)).ok());
  EXPECT_EQ(second.place().next, 5u);
  ASSERT_TRUE(Feed(&second, LogFeed::Kind::kBatch, log.Batch(5, 5)).ok());
  EXPECT_EQ(second.frames(), 0u);
}

TEST(LogFeed, TakesNothingThatDoesNotFollow) {
  struct Case {
    const char* says;
    std::function<std::string(LogWriter*)> body;
  };
  const Case cases[] = {
      {"checksum", [](LogWriter* l) { return l->frames()[2].image[99] ^= 1, l->Batch(0, 5); }},
      {"checksum", [](LogWriter* l) { return l->frames()[1].checksum ^= 1, l->Batch(0, 5); }},
      {"due", [](LogWriter* l) { return l->frames()[3].number++, l->Batch(0, 5); }},
      {"due", [](LogWriter* l) { return l->Batch(2, 5); }},
      {"page 0", [](LogWriter* l) { return l->frames()[0].page = 0, l->Batch(0, 5); }},
      {"within a transaction", [](LogWriter* l) { return l->Batch(0, 3); }},
  };
  for (const Case& c : cases) {
    LogWriter log = ThreeTransactions();
    RemoteCopy copy;
    LogFeed feed(kStart, &copy);
    Status status = Feed(&feed, LogFeed::Kind::kBatch, c.body(&log));
    EXPECT_EQ(status.code(), Code::kCorrupt) << c.says;
    EXPECT_THAT(status.text(), HasSubstr(c.says));
    EXPECT_EQ(feed.place().next, 0u);
  }
}

TEST(LogFeed, TakesAChainThatBeginsAnewOnlyWhereATransactionBegins) {
  for (size_t anew : {size_t{2}, size_t{3}}) {
    LogWriter log = ThreeTransactions();
    for (size_t n = anew; n < 5; n++) {
      const uint64_t previous = n == anew ? 0 : log.frames()[n - 1].checksum;
      log.frames()[n].checksum = LogChecksum(previous, log.frames()[n].image);
    }
    RemoteCopy copy;
    LogFeed feed(kStart, &copy);
    Status status = Feed(&feed, LogFeed::Kind::kBatch, log.Batch(0, 5));
    EXPECT_EQ(status.ok(), anew == 2) << status.text();
  }
}

TEST(LogFeed, TakesASnapshotAsOneTransactionAndTheLogAfterIt) {
  LogWriter log = ThreeTransactions();
  log.Add(2, 3, 9);
  RemoteCopy copy;
  LogFeed feed(kStart, &copy);
  ASSERT_TRUE(Feed(&feed, LogFeed::Kind::kSnapshot, log.Snapshot({4, 3, 2}, 3)).ok());
  EXPECT_EQ(feed.place().next, 5u);
  ASSERT_TRUE(Feed(&feed, LogFeed::Kind::kBatch, log.Batch(5, 6)).ok());
  ASSERT_TRUE(feed.Finish().ok());
  EXPECT_TRUE(copy.pages() == (std::vector<Bytes>{PageOf(4), PageOf(9), PageOf(3)}));
}

TEST(LogFeed, TakesNoSnapshotThatIsOutOfOrderOrOutOfRangeOrWithoutItsSize) {
  LogWriter log = ThreeTransactions();
  LogPlace later = kStart;
  later.next = 3;
  for (const auto& [from, body] :
       {std::pair(kStart, log.Snapshot({3, 4, 2}, 3)),
        std::pair(kStart, log.Snapshot({4, 4, 3}, 3)), std::pair(later, log.Snapshot({4, 3, 2}, 3)),
        std::pair(kStart, log.Snapshot({4, 3, 2}, 0))}) {
    RemoteCopy copy;
    LogFeed feed(from, &copy);
    EXPECT_EQ(Feed(&feed, LogFeed::Kind::kSnapshot, body).code(), Code::kCorrupt);
    EXPECT_EQ(feed.place().next, from.next);
  }
}

TEST(LogFeed, GivesZerosForPagesThatNeverCame) {
  LogWriter log;
  log.Add(1, 4, 1);
  log.Add(3, 0, 2);
  log.Add(9, 2, 3);  // Beyond the end: it does not survive the commit.
  log.Add(2, 5, 4);
  RemoteCopy copy;
  LogFeed feed(kStart, &copy);
  ASSERT_TRUE(Feed(&feed, LogFeed::Kind::kBatch, log.Batch(0, 4)).ok());
  ASSERT_TRUE(feed.Finish().ok());
  const Bytes zeros(kLibsqlPageSize);
  EXPECT_TRUE(copy.pages() == (std::vector<Bytes>{PageOf(1), PageOf(4), zeros, zeros, zeros}));
}

TEST(LogFeed, BelievesNoSizeWithoutPages) {
  LogWriter log;
  log.Add(1, 0x7fffffff, 1);
  class Sizes : public PageSink {
   public:
    Status Size(uint32_t, uint32_t) override { return OkStatus(); }
    Status Page(PageNo, ByteView) override { return pages++, OkStatus(); }
    int pages = 0;
  } sink;
  LogFeed feed(kStart, &sink);
  ASSERT_TRUE(Feed(&feed, LogFeed::Kind::kBatch, log.Batch(0, 1)).ok());
  EXPECT_EQ(feed.Finish().code(), Code::kCorrupt);
  EXPECT_EQ(sink.pages, 1);
}

TEST(GrpcWebBody, TellsAnEndFromABreak) {
  LogWriter log = ThreeTransactions();
  const std::string whole = log.Batch(0, 5);
  for (size_t length : {size_t{3}, size_t{5}, size_t{5000}, whole.size() - 1}) {
    RemoteCopy copy;
    LogFeed feed(kStart, &copy);
    EXPECT_FALSE(Feed(&feed, LogFeed::Kind::kBatch, whole.substr(0, length)).ok()) << length;
  }
  const size_t trailers = LogWriter::kTrailers.size();
  RemoteCopy copy;
  LogFeed feed(kStart, &copy);
  EXPECT_EQ(Feed(&feed, LogFeed::Kind::kBatch, whole.substr(0, whole.size() - trailers)).code(),
            Code::kUnavailable);
  EXPECT_EQ(Feed(&feed, LogFeed::Kind::kBatch, whole + "x").code(), Code::kCorrupt);
  EXPECT_EQ(Feed(&feed, LogFeed::Kind::kBatch, "<html>").code(), Code::kCorrupt);
}

TEST(GrpcWebBody, ReadsHowTheCallEnded) {
  const std::string lines = "grpc-status: 9\r\ngrpc-message:a%20%22b%22%zz\r\n";
  Result<std::optional<GrpcStatus>> status = ParseGrpcTrailers(lines);
  ASSERT_TRUE(status.ok() && status->has_value());
  EXPECT_EQ((*status)->code, 9);
  EXPECT_EQ((*status)->message, "a \"b\"%zz");
  EXPECT_FALSE(ParseGrpcTrailers("x:1\r\n")->has_value());
  for (const char* odd : {"grpc-status:\r\n", "grpc-status:1x\r\n", "grpc-status:-1\r\n"}) {
    EXPECT_EQ(ParseGrpcTrailers(odd).status().code(), Code::kCorrupt) << odd;
  }
}

TEST(Protobuf, ReadsWhatItWrites) {
  ProtobufWriter writer;
  writer.Varint(1, UINT64_MAX).ZigZag(2, INT64_MIN).Double(3, -0.1).Bytes(536870911, "x");
  ProtobufReader reader(AsBytes(writer.message()));
  EXPECT_EQ((*reader.Next())->value, UINT64_MAX);
  EXPECT_EQ(FromZigZag((*reader.Next())->value), INT64_MIN);
  EXPECT_EQ((*reader.Next())->type, WireType::kFixed64);
  std::optional<ProtobufField> last = *reader.Next();
  EXPECT_EQ(last->number, 536870911u);
  EXPECT_EQ(last->text(), "x");
  EXPECT_FALSE(reader.Next()->has_value());
}

TEST(LogHello, IsReadWithItsLogAndItsSession) {
  const std::string id = "00112233-4455-6677-8899-aabbccddeeff";
  ProtobufWriter message;
  message.Bytes(1, "ignored").Bytes(3, id).Bytes(4, id).Varint(5, 41).Bytes(6, "config");
  Result<LogHello> hello = ParseLogHello(AsBytes(message.message()));
  ASSERT_TRUE(hello.ok()) << hello.status().text();
  EXPECT_EQ(ToHex(hello->log), "00112233445566778899aabbccddeeff");
  EXPECT_EQ(hello->session, id);
  EXPECT_EQ(hello->end, 42u);
  for (const std::string& session : {std::string("x\r\nevil: header"), id + "0", std::string()}) {
    ProtobufWriter bad;
    bad.Bytes(3, id).Bytes(4, session);
    EXPECT_EQ(ParseLogHello(AsBytes(bad.message())).status().code(), Code::kCorrupt);
  }
}

}  // namespace
}  // namespace turso
