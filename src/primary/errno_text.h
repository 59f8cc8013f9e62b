// What errno says, in words.

#ifndef TURSO_SRC_PRIMARY_ERRNO_TEXT_H_
#define TURSO_SRC_PRIMARY_ERRNO_TEXT_H_

#include <cerrno>
#include <string>
#include <system_error>

namespace turso {

inline std::string ErrnoText() { return std::generic_category().message(errno); }

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_ERRNO_TEXT_H_
