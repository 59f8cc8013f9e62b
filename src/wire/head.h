// The head of a message: a flat JSON object of numbers, truth values, texts, and lists of either.
//
// Not a JSON document in memory. nlohmann's frees its values with the help of more memory, in a
// destructor: where there is none left, that ends the process, and ours is somebody else's.
// What is received is read event by event into what we understand of it; fields of other kinds
// (null, reals, negative numbers, what is nested deeper) are there and have no value.
// Pure: bytes in, values out. Any thread.

#ifndef TURSO_SRC_WIRE_HEAD_H_
#define TURSO_SRC_WIRE_HEAD_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/page_set.h"
#include "src/base/status.h"

namespace turso {

// Builds a head as text.
class HeadText {
 public:
  HeadText& Add(const char* name, std::string_view text);
  HeadText& Add(const char* name, uint64_t number);
  HeadText& Add(const char* name, std::span<const PageNo> pages);
  std::string text() const { return "{" + fields_ + "}"; }

 private:
  void Begin(const char* name);

  std::string fields_;
};

// A head that was received.
class Head {
 public:
  using Texts = std::vector<std::string>;
  using Numbers = std::vector<uint64_t>;
  // Nothing: a field of another kind. An empty list counts as of either kind, and is `Texts`.
  using Value = std::variant<std::monostate, bool, uint64_t, std::string, Texts, Numbers>;

  // kCorrupt if `text` is not one JSON object in UTF-8. Of a name that comes twice the later
  // counts.
  static Result<Head> Parse(ByteView text);

  // Null if there is no such field.
  const Value* Find(std::string_view name) const;
  bool Has(std::string_view name) const { return Find(name) != nullptr; }

 private:
  class Reader;

  std::map<std::string, Value, std::less<>> fields_;
};

// A field of a head, checked: kCorrupt with the field's name if it is absent or of another type.
Result<std::string> TextField(const Head& head, const char* name);
Result<uint64_t> NumberField(const Head& head, const char* name);
Result<bool> BoolField(const Head& head, const char* name);
Result<Head::Texts> TextsField(const Head& head, const char* name);
Result<Head::Numbers> NumbersField(const Head& head, const char* name);

}  // namespace turso

#endif  // TURSO_SRC_WIRE_HEAD_H_
