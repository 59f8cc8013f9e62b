#include "src/base/printable.h"

#include <cstdint>

namespace turso {

namespace {

constexpr size_t kBytesMax = 500;

// How many bytes the character that `text` begins with has; 0 if it begins with none.
// https://www.rfc-editor.org/rfc/rfc3629#section-4
size_t CharacterBytes(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = at(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; i++) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xe0 && at(1) < 0xa0) || (lead == 0xf0 && at(1) < 0x90);
  const bool beyond = (lead == 0xed && at(1) >= 0xa0) || (lead == 0xf4 && at(1) >= 0x90);
  return overlong || beyond ? 0 : length;
}

// Of ASCII, and those of ISO 6429 that begin with U+0080.
bool IsControl(std::string_view character) {
  const auto lead = static_cast<uint8_t>(character[0]);
  return lead < 0x20 || lead == 0x7f || (lead == 0xc2 && static_cast<uint8_t>(character[1]) < 0xa0);
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string printable;
  while (!text.empty()) {
    const size_t length = CharacterBytes(text);
    const std::string_view character = text.substr(0, length == 0 ? 1 : length);
    if (printable.size() + character.size() > kBytesMax) return printable + "...";
    printable += length == 0 || IsControl(character) ? "?" : character;
    text.remove_prefix(character.size());
  }
  return printable;
}

}  // namespace turso
