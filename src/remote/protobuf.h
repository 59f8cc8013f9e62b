// Protocol Buffers' wire format, as much of it as two servers' small messages need:
// https://protobuf.dev/programming-guides/encoding/
//
//   message := field*            field := key value          key := number << 3 | wire type
//   value   := varint | 8 bytes | 4 bytes | length bytes
//
// Our own, and no library: the extension lives in other programs' processes, where a second copy of
// a protobuf library ends in crashes, and the one long message of these protocols (a transaction's
// frames, up to 4 GiB) must be read as a stream, which libraries do not (src/remote/libsql_log.h).
// Pure. A reader's views are into the bytes that it was given.

#ifndef TURSO_SRC_REMOTE_PROTOBUF_H_
#define TURSO_SRC_REMOTE_PROTOBUF_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/bytes.h"
#include "src/base/status.h"

namespace turso {

enum class WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct ProtobufField {
  uint32_t number = 0;
  WireType type = WireType::kVarint;
  uint64_t value = 0;  // Of all but kBytes.
  ByteView bytes;      // Of kBytes.

  std::string_view text() const { return AsText(bytes); }
};

// Field after field of one message.
class ProtobufReader {
 public:
  explicit ProtobufReader(ByteView message) : rest_(message) {}
  // Nothing at the end. kCorrupt for what is no field.
  Result<std::optional<ProtobufField>> Next();

 private:
  std::optional<uint64_t> Varint();

  ByteView rest_;
};

class ProtobufWriter {
 public:
  ProtobufWriter& Varint(uint32_t number, uint64_t value);
  ProtobufWriter& ZigZag(uint32_t number, int64_t value);
  ProtobufWriter& Double(uint32_t number, double value);
  ProtobufWriter& Bytes(uint32_t number, std::string_view bytes);

  const std::string& message() const { return message_; }
  std::string Take() { return std::move(message_); }

 private:
  void Put(uint64_t varint);
  void Key(uint32_t number, WireType type);

  std::string message_;
};

int64_t FromZigZag(uint64_t value);

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_PROTOBUF_H_
