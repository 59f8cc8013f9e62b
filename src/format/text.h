// Text as a database keeps it, and as UTF-8. Pure. Any thread.

#ifndef TURSO_SRC_FORMAT_TEXT_H_
#define TURSO_SRC_FORMAT_TEXT_H_

#include <optional>
#include <string>
#include <string_view>

#include "src/base/bytes.h"
#include "src/format/database_header.h"

namespace turso {

// The bytes as UTF-8; nothing if they are not well-formed text of that encoding (in UTF-8 too:
// overlong forms, surrogates, what lies above U+10FFFF).
std::optional<std::string> ToUtf8(ByteView text, TextEncoding encoding);

// SQL's idea of equal names: ASCII letters in either case.
std::string FoldCase(std::string_view text);
bool EqualNames(std::string_view a, std::string_view b);

}  // namespace turso

#endif  // TURSO_SRC_FORMAT_TEXT_H_
