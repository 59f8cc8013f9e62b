// What a libSQL server answers: frames in messages in records, and its Hello.
// Input: kind u8. Kind 0: a Hello. 1: trailers. Others: flags u8 (1: a snapshot; 2: what follows is
// packed into whole frames), length of the pieces u16, and the body.

#include <vector>

#include "src/remote/libsql_log.h"
#include "src/remote/log_hello.h"
#include "src/remote/protobuf.h"
#include "tests/fuzz/fuzz.h"

namespace turso {
namespace {

class Pages : public PageSink {
 public:
  Status Size(uint32_t page_size, uint32_t db_size) override {
    TURSO_REQUIRE(page_size == kLibsqlPageSize);
    size_ = db_size;
    return OkStatus();
  }
  Status Page(PageNo page, ByteView image) override {
    TURSO_REQUIRE(page.value >= 1 && page.value <= size_ && image.size() == kLibsqlPageSize);
    // Else a hostile size would make this target write zeros for ever.
    return ++pages_ < 100000 ? OkStatus() : Status(Code::kFull, "enough");
  }

 private:
  uint32_t size_ = 0;
  uint64_t pages_ = 0;
};

struct Outcome {
  Code code = Code::kOk;
  std::string text;
  Revision revision;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome Read(ByteView body, LogFeed::Kind kind, size_t piece) {
  Pages pages;
  LogFeed feed(LogPlace{}, &pages);
  feed.Begin(kind);
  FrameScanner scanner(kind == LogFeed::Kind::kBatch ? FrameScanner::Messages::kBatch
                                                     : FrameScanner::Messages::kFrames,
                       &feed);
  GrpcWebBody records(&scanner);
  Status status;
  for (size_t at = 0; status.ok() && at < body.size(); at += piece) {
    status = records.Take(body.subspan(at, std::min(piece, body.size() - at)));
  }
  if (status.ok()) status = records.Finish().status();
  if (status.ok()) status = feed.End();
  if (status.ok()) status = feed.Finish();
  if (!status.ok()) fuzz::RequireSays(status);
  return {status.code(), status.text(), feed.place().ToRevision()};
}

// Frames whose numbers and checksums fit, so that what comes after them is reached.
std::string Packed(fuzz::Input* input, bool snapshot) {
  std::vector<std::string> frames;
  uint64_t previous = 0;
  while (!input->empty() && frames.size() < 8) {
    Bytes frame(kLogFrameBytes);
    const ByteView head = input->Take(6);
    std::copy(head.begin(), head.end(), frame.begin() + 24);
    previous = LogChecksum(previous, ByteView(frame).subspan(24));
    const uint64_t number = snapshot ? 100 - frames.size() : frames.size();
    for (int i = 0; i < 8; i++) {
      frame[static_cast<size_t>(i)] = static_cast<uint8_t>(number >> (8 * i));
      frame[static_cast<size_t>(8 + i)] = static_cast<uint8_t>(previous >> (8 * i));
    }
    frame[16] = input->U8();
    frame[20] = input->U8() % 4;
    frames.push_back(ProtobufWriter().Bytes(1, AsText(frame)).Take());
  }
  if (snapshot) {
    std::string body;
    for (const std::string& frame : frames) body += GrpcWebRequest(frame);
    return body;
  }
  ProtobufWriter batch;
  for (const std::string& frame : frames) batch.Bytes(1, frame);
  return GrpcWebRequest(batch.message());
}

void RequireRoundTrip(const Revision& revision) {
  const std::optional<LogPlace> place = LogPlace::Parse(revision);
  TURSO_REQUIRE(place && place->ToRevision() == revision);
}

}  // namespace
}  // namespace turso

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turso;  // NOLINT(google-build-using-namespace)
  fuzz::Input input(ByteView(data, size));
  const uint8_t what = input.U8();
  if (what == 0) {
    Result<LogHello> hello = ParseLogHello(input.rest());
    if (!hello.ok()) return fuzz::RequireSays(hello.status()), 0;
    TURSO_REQUIRE(hello->session.size() == 36);
    TURSO_REQUIRE(hello->session.find_first_of("\r\n") == std::string::npos);
    return 0;
  }
  if (what == 1) {
    Result<std::optional<GrpcStatus>> status = ParseGrpcTrailers(AsText(input.rest()));
    if (!status.ok()) fuzz::RequireSays(status.status());
    return 0;
  }
  const uint8_t flags = input.U8();
  const auto kind = flags & 1 ? LogFeed::Kind::kSnapshot : LogFeed::Kind::kBatch;
  const size_t piece = input.U16() + size_t{1};
  std::string body;
  if (flags & 2) body = Packed(&input, flags & 1);
  body += AsText(input.rest());
  const Outcome whole = Read(AsBytes(body), kind, SIZE_MAX);
  TURSO_REQUIRE(whole == Read(AsBytes(body), kind, piece));
  if (whole.code == Code::kOk) RequireRoundTrip(whole.revision);
  return 0;
}
