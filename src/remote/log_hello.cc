#include "src/remote/log_hello.h"

#include <algorithm>
#include <optional>

#include "src/remote/protobuf.h"

namespace turso {

namespace {

constexpr size_t kUuidChars = 36;

// "550e8400-e29b-41d4-a716-446655440000"
std::optional<LogId> ParseUuid(std::string_view text) {
  std::string digits;
  for (char c : text) {
    if (c != '-') digits += c;
  }
  const std::optional<Bytes> bytes = FromHex(digits);
  LogId id{};
  if (text.size() != kUuidChars || !bytes || bytes->size() != id.size()) return std::nullopt;
  std::copy(bytes->begin(), bytes->end(), id.begin());
  return id;
}

}  // namespace

Result<LogHello> ParseLogHello(ByteView message) {
  LogHello hello;
  bool has_log = false;
  ProtobufReader reader(message);
  for (;;) {
    Result<std::optional<ProtobufField>> field = reader.Next();
    if (!field.ok()) return field.status();
    if (!field->has_value()) break;
    const ProtobufField& f = **field;
    if (f.number == 3 && f.type == WireType::kBytes) {
      const std::optional<LogId> log = ParseUuid(f.text());
      if (!log) return Status(Code::kCorrupt, "a log without an id");
      hello.log = *log;
      has_log = true;
    } else if (f.number == 4 && f.type == WireType::kBytes) {
      // It goes into a header line of every request.
      if (!ParseUuid(f.text())) return Status(Code::kCorrupt, "a session without a token");
      hello.session = f.text();
    } else if (f.number == 5 && f.type == WireType::kVarint) {
      if (f.value == UINT64_MAX) return Status(Code::kCorrupt, "a log without an end");
      hello.end = f.value + 1;
    }
  }
  if (!has_log || hello.session.empty()) {
    return Status(Code::kCorrupt, "a log without an id, or a session without a token");
  }
  return hello;
}

}  // namespace turso
