#include "src/format/text.h"

namespace turso {

namespace {

bool IsUtf8(ByteView text) {
  for (size_t i = 0; i < text.size();) {
    const uint8_t lead = text[i];
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || text.size() - i < length) return false;
    uint32_t point = lead & (0x7f >> length);
    for (size_t k = 1; k < length; ++k) {
      if ((text[i + k] & 0xc0) != 0x80) return false;
      point = point << 6 | (text[i + k] & 0x3f);
    }
    const bool shortest = length == 2 || (length == 3 ? point >= 0x800 : point >= 0x10000);
    if (!shortest || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
    i += length;
  }
  return true;
}

void AppendUtf8(uint32_t point, std::string* out) {
  if (point < 0x80) {
    *out += static_cast<char>(point);
    return;
  }
  if (point < 0x800) {
    *out += static_cast<char>(0xc0 | point >> 6);
  } else {
    if (point < 0x10000) {
      *out += static_cast<char>(0xe0 | point >> 12);
    } else {
      *out += static_cast<char>(0xf0 | point >> 18);
      *out += static_cast<char>(0x80 | (point >> 12 & 0x3f));
    }
    *out += static_cast<char>(0x80 | (point >> 6 & 0x3f));
  }
  *out += static_cast<char>(0x80 | (point & 0x3f));
}

}  // namespace

std::optional<std::string> ToUtf8(ByteView text, TextEncoding encoding) {
  if (encoding == TextEncoding::kUtf8) {
    if (!IsUtf8(text)) return std::nullopt;
    return std::string(AsText(text));
  }
  if (text.size() % 2 != 0) return std::nullopt;
  const size_t high = encoding == TextEncoding::kUtf16Big ? 0 : 1;
  auto unit = [&](size_t i) -> uint32_t { return text[i + high] << 8 | text[i + 1 - high]; };
  std::string out;
  for (size_t i = 0; i < text.size(); i += 2) {
    uint32_t point = unit(i);
    if (point >= 0xd800 && point < 0xe000) {
      if (point >= 0xdc00 || i + 2 >= text.size()) return std::nullopt;
      const uint32_t low = unit(i + 2);
      if (low < 0xdc00 || low >= 0xe000) return std::nullopt;
      point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
      i += 2;
    }
    AppendUtf8(point, &out);
  }
  return out;
}

std::string FoldCase(std::string_view text) {
  std::string folded(text);
  for (char& c : folded)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  return folded;
}

bool EqualNames(std::string_view a, std::string_view b) {
  return a.size() == b.size() && FoldCase(a) == FoldCase(b);
}

}  // namespace turso
