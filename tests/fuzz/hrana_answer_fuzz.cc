// What a libSQL server answers to SQL: results of a pipeline.
// Input: how many requests were made u8, and the body of the answer.

#include "src/remote/hrana_message.h"
#include "tests/fuzz/fuzz.h"

namespace turso {
namespace {

constexpr size_t kRequestsMax = 16;
// A value of two bytes becomes a Value, in a vector that grows by doubling.
constexpr size_t kMemoryForByte = 256;

bool SameError(const std::optional<HranaError>& a, const std::optional<HranaError>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return a->message == b->message && a->code == b->code;
}

// A REAL that is no number equals nothing.
bool SameRows(const HranaResult& a, const HranaResult& b) {
  if (a.rows.size() != b.rows.size()) return false;
  for (size_t row = 0; row < a.rows.size(); row++) {
    if (a.rows[row].size() != b.rows[row].size()) return false;
    for (size_t column = 0; column < a.rows[row].size(); column++) {
      if (a.rows[row][column].type != b.rows[row][column].type) return false;
      if (a.rows[row][column].bytes != b.rows[row][column].bytes) return false;
    }
  }
  return true;
}

// What was behind the last field is a field of its own: what came before is as it was.
void RequireNothingOfUnknownFields(std::string body, const HranaAnswer& answer) {
  body += "\xf8\x01\x05";  // Number 31.
  Result<HranaAnswer> again = ParseHranaAnswer(AsBytes(body), answer.results.size());
  TURSO_REQUIRE(again.ok());
  TURSO_REQUIRE(again->stream.baton == answer.stream.baton);
  TURSO_REQUIRE(again->stream.base_url == answer.stream.base_url);
  for (size_t i = 0; i < answer.results.size(); i++) {
    const HranaResult &one = answer.results[i], &other = again->results[i];
    TURSO_REQUIRE(SameError(one.error, other.error) && SameRows(one, other));
    TURSO_REQUIRE(one.last_frame == other.last_frame && one.steps_done == other.steps_done);
  }
}

}  // namespace
}  // namespace turso

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turso;
  fuzz::Input in({data, size});
  const size_t asked = in.U8() % kRequestsMax;
  const ByteView body = in.rest();
  fuzz::AllocationMeter meter;
  Result<HranaAnswer> answer = ParseHranaAnswer(body, asked);
  TURSO_REQUIRE(meter.peak() <= 4096 + kMemoryForByte * body.size());
  if (!answer.ok()) {
    TURSO_REQUIRE(answer.status().code() == Code::kCorrupt);
    fuzz::RequireSays(answer.status());
    return 0;
  }
  TURSO_REQUIRE(answer->results.size() == asked);
  for (const HranaResult& result : answer->results) {
    TURSO_REQUIRE(result.steps_done <= body.size());
    if (!result.error) continue;
    fuzz::RequireSays(Status(Code::kInvalid, "it says " + result.error->message));
    fuzz::RequireSays(Status(Code::kInvalid, "it says " + result.error->code));
    TURSO_REQUIRE(result.error->message.size() + result.error->code.size() < 1100);
  }
  RequireNothingOfUnknownFields(std::string(AsText(body)), *answer);
  return 0;
}
