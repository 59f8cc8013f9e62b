#include "src/changes/key_order.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "src/format/text.h"

namespace turso {

namespace {

int Sign(bool less, bool greater) { return less ? -1 : greater ? 1 : 0; }

int CompareBytes(ByteView a, ByteView b) {
  const size_t common = std::min(a.size(), b.size());
  const int order = common ? std::memcmp(a.data(), b.data(), common) : 0;
  return order ? order : Sign(a.size() < b.size(), a.size() > b.size());
}

// Exact: not every integer has a REAL that equals it.
int CompareIntegerReal(int64_t integer, double real) {
  if (real < -9223372036854775808.0) return 1;
  if (real >= 9223372036854775808.0) return -1;
  const auto whole = static_cast<int64_t>(real);
  if (integer != whole) return Sign(integer < whole, true);
  const double back = static_cast<double>(whole);
  return Sign(back<real, back> real);
}

int CompareNumbers(const Value& a, const Value& b) {
  const bool a_real = a.type == Value::Type::kReal;
  const bool b_real = b.type == Value::Type::kReal;
  if (a_real && b_real) return Sign(a.real<b.real, a.real> b.real);
  if (a_real) return -CompareIntegerReal(b.integer, a.real);
  if (b_real) return CompareIntegerReal(a.integer, b.real);
  return Sign(a.integer<b.integer, a.integer> b.integer);
}

// NOCASE and RTRIM look at UTF-8, whatever the database keeps.
std::string Collated(const Bytes& text, KeyField::Collation collation, TextEncoding encoding) {
  std::string utf8 = ToUtf8(text, encoding).value_or(std::string(AsText(text)));
  if (collation == KeyField::Collation::kNoCase) return FoldCase(utf8);
  while (!utf8.empty() && utf8.back() == ' ') utf8.pop_back();
  return utf8;
}

int CompareTexts(const Bytes& a, const Bytes& b, KeyField::Collation collation,
                 TextEncoding encoding) {
  if (collation == KeyField::Collation::kBinary) return CompareBytes(a, b);
  const std::string left = Collated(a, collation, encoding);
  const std::string right = Collated(b, collation, encoding);
  return CompareBytes(AsBytes(left), AsBytes(right));
}

int Rank(const Value& value) {
  switch (value.type) {
    case Value::Type::kNull: return 0;
    case Value::Type::kInteger:
    case Value::Type::kReal: return 1;
    case Value::Type::kText: return 2;
    case Value::Type::kBlob: return 3;
  }
  return 4;
}

int CompareValues(const Value& a, const Value& b, KeyField::Collation collation,
                  TextEncoding encoding) {
  if (Rank(a) != Rank(b)) return Rank(a) - Rank(b);
  switch (Rank(a)) {
    case 0: return 0;
    case 1: return CompareNumbers(a, b);
    case 2: return CompareTexts(a.bytes, b.bytes, collation, encoding);
    default: return CompareBytes(a.bytes, b.bytes);
  }
}

}  // namespace

int CompareKeys(const std::vector<Value>& a, const std::vector<Value>& b,
                const std::vector<KeyField>& key, TextEncoding encoding) {
  for (size_t i = 0; i < key.size(); ++i) {
    if (i >= a.size() || i >= b.size()) return Sign(a.size() < b.size(), a.size() > b.size());
    const int order = CompareValues(a[i], b[i], key[i].collation, encoding);
    if (order != 0) return key[i].descending ? -order : order;
  }
  return 0;
}

bool KnowsOrder(const std::vector<KeyField>& key) {
  return std::none_of(key.begin(), key.end(), [](const KeyField& field) {
    return field.collation == KeyField::Collation::kOther;
  });
}

}  // namespace turso
