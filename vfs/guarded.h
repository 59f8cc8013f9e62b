// The border between SQLite's C and our C++: no exception passes it.

#ifndef TURSO_VFS_GUARDED_H_
#define TURSO_VFS_GUARDED_H_

#include <exception>
#include <new>

#include "src/base/status.h"
#include "vfs/sqlite.h"

namespace turso {

// Runs `body`, which returns SQLite's code.
template <typename Body>
int Guarded(int code_of_other_failures, Body&& body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return SQLITE_NOMEM;
  } catch (const std::exception&) {
    return code_of_other_failures;
  }
}

// Asks a gate: what it throws is a failure like any other, so that whoever asked can give its locks
// back.
template <typename Question>
Status Asked(Question&& question) noexcept {
  try {
    return question();
  } catch (const std::bad_alloc&) {
    return Status(Code::kNoMemory, {});
  } catch (const std::exception&) {
    return Status(Code::kIo, {});
  }
}

}  // namespace turso

#endif  // TURSO_VFS_GUARDED_H_
