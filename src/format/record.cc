#include "src/format/record.h"

#include <bit>
#include <cmath>

#include "src/format/varint.h"

namespace turso {

namespace {

Status NoRecord(const char* why) { return {Code::kCorrupt, std::string("a record ") + why}; }

// Bytes of content that a serial type has; 10 and 11 are reserved.
uint64_t ContentBytes(uint64_t serial) {
  static constexpr uint8_t kFixed[] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0};
  return serial < 12 ? kFixed[serial] : (serial - 12) / 2;
}

int64_t LoadInteger(ByteView bytes) {
  uint64_t value = bytes[0] & 0x80 ? ~uint64_t{0} : 0;
  for (uint8_t byte : bytes) value = value << 8 | byte;
  return static_cast<int64_t>(value);
}

Value DecodeValue(uint64_t serial, ByteView content) {
  if (serial == 0) return Value::Null();
  if (serial <= 6) return Value::Integer(LoadInteger(content));
  if (serial == 7) {
    const double real = std::bit_cast<double>(LoadBig64(content.data()));
    return std::isnan(real) ? Value::Null() : Value::Real(real);
  }
  if (serial <= 9) return Value::Integer(static_cast<int64_t>(serial) - 8);
  return serial % 2 ? Value::Text(content) : Value::Blob(content);
}

// The serial types, and what comes behind them.
struct RecordParts {
  ByteView types;
  ByteView contents;
};

Result<RecordParts> Split(ByteView record) {
  ByteView rest = record;
  uint64_t header = 0;
  if (!TakeVarint(&rest, &header)) return NoRecord("has no header");
  const size_t length = record.size() - rest.size();
  if (header < length || header > record.size()) return NoRecord("has a header longer than itself");
  return RecordParts{record.subspan(length, header - length), record.subspan(header)};
}

}  // namespace

Value Value::Integer(int64_t value) {
  Value v;
  v.type = Type::kInteger;
  v.integer = value;
  return v;
}
Value Value::Real(double value) {
  Value v;
  v.type = Type::kReal;
  v.real = value;
  return v;
}
Value Value::Text(ByteView text) {
  Value v;
  v.type = Type::kText;
  v.bytes.assign(text.begin(), text.end());
  return v;
}
Value Value::Blob(ByteView blob) {
  Value v;
  v.type = Type::kBlob;
  v.bytes.assign(blob.begin(), blob.end());
  return v;
}

bool operator==(const Value& a, const Value& b) {
  if (a.type != b.type) return false;
  switch (a.type) {
    case Value::Type::kNull: return true;
    case Value::Type::kInteger: return a.integer == b.integer;
    case Value::Type::kReal:
      return std::bit_cast<uint64_t>(a.real) == std::bit_cast<uint64_t>(b.real);
    case Value::Type::kText:
    case Value::Type::kBlob: return a.bytes == b.bytes;
  }
  return false;
}

Result<std::vector<Value>> DecodeRecord(ByteView record) {
  Result<RecordParts> parts = Split(record);
  if (!parts.ok()) return parts.status();
  std::vector<Value> values;
  while (!parts->types.empty()) {
    uint64_t serial = 0;
    if (!TakeVarint(&parts->types, &serial)) return NoRecord("ends within a serial type");
    if (serial == 10 || serial == 11) return NoRecord("has a reserved serial type");
    const uint64_t bytes = ContentBytes(serial);
    if (bytes > parts->contents.size()) return NoRecord("is shorter than its fields");
    values.push_back(DecodeValue(serial, parts->contents.first(bytes)));
    parts->contents = parts->contents.subspan(bytes);
  }
  return values;
}

Result<Bytes> RecordPrefix(ByteView record, size_t fields) {
  Result<RecordParts> parts = Split(record);
  if (!parts.ok()) return parts.status();
  ByteView types = parts->types;
  uint64_t content = 0;
  for (size_t i = 0; i < fields && !types.empty(); ++i) {
    uint64_t serial = 0;
    if (!TakeVarint(&types, &serial)) return NoRecord("ends within a serial type");
    const uint64_t bytes = ContentBytes(serial);
    if (bytes > parts->contents.size() - content) return NoRecord("is shorter than its fields");
    content += bytes;
  }
  const ByteView kept = parts->types.first(parts->types.size() - types.size());
  Bytes prefix(kept.begin(), kept.end());
  const ByteView contents = parts->contents.first(content);
  prefix.insert(prefix.end(), contents.begin(), contents.end());
  return prefix;
}

}  // namespace turso
