// What the replica makes of its primary's answers. The HTTP client is replaced: answers come from
// the input.
// Input: call u8 | answers: kind u8, HTTP status code u8, content type u8, then by kind
//        0: no answer: code u8, sent u8      1: a body (length u16)
//        2: a message, sealed (length u16)   3: a head (length u16) and pages: page size code u8,
//        number u8, each u32

#include <deque>

#include "src/http/http_client.h"
#include "src/remote/primary_remote.h"
#include "tests/fuzz/fuzz.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace turso {

namespace {
std::deque<HttpOutcome> outcomes;
std::optional<HttpOutcome> last_outcome;
bool under_way = false;
}  // namespace

class HttpClient::Transfer {};
HttpClient::HttpClient() = default;
HttpClient::~HttpClient() = default;
void HttpClient::Begin(const HttpRequest& request, Duration) {
  TURSO_REQUIRE(!under_way && !request.url.empty());
  under_way = true;
}
void HttpClient::Advance() {}
HttpOutcome HttpClient::Finish(const Patience&) {
  TURSO_REQUIRE(under_way);
  under_way = false;
  last_outcome.emplace();
  last_outcome->status = Status(Code::kUnavailable, "no more answers");
  if (!outcomes.empty()) {
    last_outcome = std::move(outcomes.front());
    outcomes.pop_front();
  }
  return *last_outcome;
}
HttpOutcome HttpClient::Abandon() {
  under_way = false;
  return {};
}
HttpOutcome HttpClient::Exchange(const HttpRequest& request, const Patience& patience) {
  Begin(request, patience.timeout);
  return Finish(patience);
}
Status HttpClient::Rest(Duration duration, const Patience&) {
  TURSO_REQUIRE(!under_way && duration <= seconds(10));
  return OkStatus();
}
void HttpClient::Cancel() {}
bool IsLoopback(const std::string&) { return false; }

namespace {

using nlohmann::json;

constexpr std::string_view kToken = "the-s3cret-token";
constexpr size_t kOutcomesMax = 8;

class CheckingSink : public PageSink {
 public:
  void Base(const Revision& revision) override { TURSO_REQUIRE(!revision.empty()); }
  Status Size(uint32_t page_size, uint32_t db_size) override {
    TURSO_REQUIRE(IsPageSize(page_size) && (page_size_ == 0 || page_size == page_size_));
    page_size_ = page_size;
    db_size_ = db_size;
    return OkStatus();
  }
  // (PR1)
  Status Page(PageNo page, ByteView image) override {
    TURSO_REQUIRE(image.size() == page_size_);
    TURSO_REQUIRE(page.value >= 1 && page.value <= db_size_);
    return OkStatus();
  }

 private:
  uint32_t page_size_ = 0;
  uint32_t db_size_ = 0;
};

std::string MadeMessage(fuzz::Input* in) {
  json head = json::parse(in->Text(), nullptr, false);
  if (!head.is_object()) head = json::object();
  const uint32_t page_size = 512u << in->U8() % 3;
  const int count = in->U8() % 16;
  if (count > 0 && !head.contains("page_size")) head["page_size"] = page_size;
  MessageWriter writer(head, PageCodec::kLz4, page_size);
  const Bytes image(page_size, 7);
  for (int i = 0; i < count; i++) writer.Add({std::max(in->U32(), 1u)}, image);
  return writer.Finish();
}

std::string SealedMessage(std::string_view body) {
  std::string sealed(body);
  if (sealed.size() < 16) return sealed;
  sealed.replace(0, 4, "TVP1");
  const size_t end = sealed.size() - 8;
  StoreBig64(reinterpret_cast<uint8_t*>(sealed.data()) + end, XXH3_64bits(sealed.data(), end));
  return sealed;
}

HttpOutcome TakeOutcome(fuzz::Input* in) {
  static constexpr int kStatus[] = {200, 204, 301, 400, 401, 403, 404, 405, 408,
                                    409, 413, 418, 429, 500, 502, 503, 507, 599};
  static const char* const kTypes[] = {"application/x-turso-vfs", "",
                                       "application/x-turso-vfs; charset=utf-8", "text/html",
                                       "text/\x1b[31m\xff"};
  static constexpr Code kFailures[] = {Code::kUnavailable, Code::kCorrupt, Code::kInterrupted,
                                       Code::kInvalid, Code::kNoMemory};
  HttpOutcome outcome;
  const uint8_t kind = in->U8() % 4;
  outcome.answer.status = kStatus[in->U8() % std::size(kStatus)];
  outcome.answer.content_type = kTypes[in->U8() % std::size(kTypes)];
  outcome.sent = true;
  if (outcome.answer.status == 301)
    outcome.answer.redirect = "http://h/\x07?" + std::string(kToken);
  if (outcome.answer.status == 429) outcome.answer.retry_after = seconds(7);
  if (kind == 0) {
    outcome.status = Status(kFailures[in->U8() % std::size(kFailures)], "it failed");
    outcome.sent = in->U8() % 2 != 0;
  } else if (kind == 1) {
    outcome.answer.body = in->Text();
  } else if (kind == 2) {
    outcome.answer.body = SealedMessage(in->Text());
  } else {
    outcome.answer.body = MadeMessage(in);
  }
  return outcome;
}

// (PR2) What a commit may be said to have come to, from the last answer alone.
void CheckCommit(const Result<CommitAnswer>& commit) {
  const HttpOutcome& outcome = *last_outcome;
  const Code code = commit.ok() ? Code::kOk : commit.status().code();
  if (!outcome.status.ok()) {
    TURSO_REQUIRE(code == (outcome.sent ? Code::kOutcomeUnknown : outcome.status.code()));
    return;
  }
  Result<Message> message = Message::Decode(AsBytes(outcome.answer.body));
  const bool speaks = message.ok() && outcome.answer.content_type.rfind("application/x-t", 0) == 0;
  if (outcome.answer.status < 300) {
    TURSO_REQUIRE(code == Code::kOk || code == Code::kOutcomeUnknown);
    TURSO_REQUIRE(code != Code::kOk || (speaks && message->head().Has("revision")));
    return;
  }
  TURSO_REQUIRE(code != Code::kOk);
  const bool explains = speaks && message->head().Has("error");
  if (outcome.answer.status >= 500 && !explains) TURSO_REQUIRE(code == Code::kOutcomeUnknown);
}

Status Run(PrimaryRemote* remote, uint8_t call_number) {
  const Call call;
  CheckingSink sink;
  const Revision since = *Revision::Parse("0123456789abcdef-7");
  switch (call_number % 10) {
    case 0: return remote->Identify(call).status();
    case 1: return remote->Pull(since, seconds(1), &sink, call).status();
    case 2: return remote->Pull({}, {}, &sink, call).status();
    case 3: return remote->AcquireLease({{1}, since}, &sink, call).status();
    case 4: {
      Result<Duration> lifetime = remote->RenewLease({1}, 2, call);
      if (lifetime.ok()) TURSO_REQUIRE(*lifetime >= Duration::zero());
      return lifetime.status();
    }
    case 5: {
      PageSet pages(512);
      std::memset(pages.Slot({1}), 5, 512);
      pages.set_db_size(1);
      Result<CommitAnswer> commit = remote->Commit({{{1}, 2}, since, 0, &pages}, call);
      CheckCommit(commit);
      return commit.status();
    }
    case 6: return remote->Settle({{1}, 2}, call).status();
    case 7: return remote->Hashes(call).status();
    case 8: return remote->Fetch({{1}, {2}}, &sink, call).status();
    default: return remote->Compare(since, since, call).status();
  }
}

}  // namespace
}  // namespace turso

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turso;
  fuzz::Input in({data, size});
  const uint8_t call = in.U8();
  outcomes.clear();
  under_way = false;
  while (!in.empty() && outcomes.size() < kOutcomesMax) outcomes.push_back(TakeOutcome(&in));
  PrimaryAddress address;
  address.base = "http://127.0.0.1/app";
  address.token = kToken;
  PrimaryRemote remote(address);
  fuzz::AllocationMeter meter;
  const Status status = Run(&remote, call);
  // A page of the largest size, packed, takes 255 times less.
  TURSO_REQUIRE(meter.peak() <= 300 * size + (1u << 20));
  TURSO_REQUIRE(!under_way);
  if (status.ok()) return 0;
  fuzz::RequireSays(status);
  TURSO_REQUIRE_OF(status.text().find(kToken) == std::string::npos, status.text());
  return 0;
}
