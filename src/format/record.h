// Values, and records as rows and index entries keep them:
// https://sqlite.org/fileformat2.html#record_format
//
//   record := header_length serial_type* content*     all but the content are varints
//
// Pure. Any thread.

#ifndef TURSO_SRC_FORMAT_RECORD_H_
#define TURSO_SRC_FORMAT_RECORD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/status.h"

namespace turso {

// One SQL value. Equal means: of the same type and the same bits.
struct Value {
  enum class Type : uint8_t { kNull, kInteger, kReal, kText, kBlob };

  Type type = Type::kNull;
  int64_t integer = 0;
  double real = 0;
  Bytes bytes;  // Of a text, in the database's encoding unless somebody says otherwise; of a blob.

  static Value Null() { return {}; }
  static Value Integer(int64_t value);
  static Value Real(double value);
  static Value Text(ByteView text);
  static Value Text(std::string_view text) { return Text(AsBytes(text)); }
  static Value Blob(ByteView blob);

  bool is_null() const { return type == Type::kNull; }
  friend bool operator==(const Value& a, const Value& b);
};

// kCorrupt if `record` is not one whole record. A REAL that is not a number reads as NULL, as in
// SQLite.
Result<std::vector<Value>> DecodeRecord(ByteView record);

// The first `fields` fields (all, if there are fewer) as bytes that are equal where they are.
Result<Bytes> RecordPrefix(ByteView record, size_t fields);

}  // namespace turso

#endif  // TURSO_SRC_FORMAT_RECORD_H_
