// Text from outside, for a person to read.

#ifndef TURSO_SRC_BASE_PRINTABLE_H_
#define TURSO_SRC_BASE_PRINTABLE_H_

#include <string>
#include <string_view>

namespace turso {

// At most 500 bytes of `text`, then "...": valid UTF-8, with a ? for each control character, which
// a terminal would obey, and for each byte that is part of no character. Any thread.
std::string Printable(std::string_view text);

}  // namespace turso

#endif  // TURSO_SRC_BASE_PRINTABLE_H_
