#include "src/remote/protobuf.h"

#include <bit>

namespace turso {

namespace {

constexpr uint32_t kNumberMax = (1u << 29) - 1;

Status Corrupt(const char* what) { return Status(Code::kCorrupt, what); }

uint64_t LoadLittle(ByteView bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i > 0; i--) value = value << 8 | bytes[i - 1];
  return value;
}

}  // namespace

std::optional<uint64_t> ProtobufReader::Varint() {
  uint64_t value = 0;
  for (size_t i = 0; i < rest_.size() && i < 10; i++) {
    const uint8_t byte = rest_[i];
    if (i == 9 && byte > 1) return std::nullopt;
    value |= uint64_t{byte & 0x7fu} << (7 * i);
    if (byte < 0x80) {
      rest_ = rest_.subspan(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

Result<std::optional<ProtobufField>> ProtobufReader::Next() {
  if (rest_.empty()) return std::optional<ProtobufField>();
  const std::optional<uint64_t> key = Varint();
  if (!key || *key >> 3 == 0 || *key >> 3 > kNumberMax) return Corrupt("a field without a number");
  ProtobufField field;
  field.number = static_cast<uint32_t>(*key >> 3);
  switch (*key & 7) {
    case 0: {
      const std::optional<uint64_t> value = Varint();
      if (!value) return Corrupt("a number that does not end");
      field.value = *value;
      return std::optional(field);
    }
    case 1:
    case 5: {
      const size_t size = (*key & 7) == 1 ? 8 : 4;
      field.type = size == 8 ? WireType::kFixed64 : WireType::kFixed32;
      if (rest_.size() < size) return Corrupt("a message that ends within a field");
      field.value = LoadLittle(rest_.first(size));
      rest_ = rest_.subspan(size);
      return std::optional(field);
    }
    case 2: {
      field.type = WireType::kBytes;
      const std::optional<uint64_t> size = Varint();
      if (!size || *size > rest_.size()) return Corrupt("a message that ends within a field");
      field.bytes = rest_.first(static_cast<size_t>(*size));
      rest_ = rest_.subspan(static_cast<size_t>(*size));
      return std::optional(field);
    }
    default: return Corrupt("a field of a kind that is not known");
  }
}

void ProtobufWriter::Put(uint64_t varint) {
  for (; varint >= 0x80; varint >>= 7) message_ += static_cast<char>(varint | 0x80);
  message_ += static_cast<char>(varint);
}

void ProtobufWriter::Key(uint32_t number, WireType type) {
  Put(uint64_t{number} << 3 | static_cast<uint8_t>(type));
}

ProtobufWriter& ProtobufWriter::Varint(uint32_t number, uint64_t value) {
  Key(number, WireType::kVarint);
  Put(value);
  return *this;
}

ProtobufWriter& ProtobufWriter::ZigZag(uint32_t number, int64_t value) {
  const auto bits = static_cast<uint64_t>(value);
  return Varint(number, bits << 1 ^ (value < 0 ? ~uint64_t{0} : 0));
}

ProtobufWriter& ProtobufWriter::Double(uint32_t number, double value) {
  Key(number, WireType::kFixed64);
  uint64_t bits = std::bit_cast<uint64_t>(value);
  for (int i = 0; i < 8; i++, bits >>= 8) message_ += static_cast<char>(bits & 0xff);
  return *this;
}

ProtobufWriter& ProtobufWriter::Bytes(uint32_t number, std::string_view bytes) {
  Key(number, WireType::kBytes);
  Put(bytes.size());
  message_ += bytes;
  return *this;
}

int64_t FromZigZag(uint64_t value) {
  return static_cast<int64_t>(value >> 1 ^ (value & 1 ? ~uint64_t{0} : 0));
}

}  // namespace turso
