// Makes a database that a server can then serve: `turso-primary create`.

#ifndef TURSO_SRC_PRIMARY_CREATE_DATABASE_H_
#define TURSO_SRC_PRIMARY_CREATE_DATABASE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "src/base/status.h"

namespace turso {

struct NewDatabase {
  std::optional<std::string> from;
  uint32_t page_size = 4096;  // Of an empty one; a copy has that of what it is copied from.
};

// DIRECTORY/NAME.db: empty, or a copy of the SQLite database `content.from` as its last commit left
// it. It appears whole, or not at all; a server may be running on the directory. kConflict if it
// exists, kInvalid for an impossible name or a `from` that is no database. Returns the path.
Result<std::string> CreateDatabase(const std::string& directory, const std::string& name,
                                   const NewDatabase& content);

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_CREATE_DATABASE_H_
