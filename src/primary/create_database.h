// Makes a database that a server can then serve: `turso-primary create`.

#ifndef TURSO_SRC_PRIMARY_CREATE_DATABASE_H_
#define TURSO_SRC_PRIMARY_CREATE_DATABASE_H_

#include <optional>
#include <string>

#include "src/base/status.h"

namespace turso {

// DIRECTORY/NAME.db: empty, or a copy of the SQLite database `from` as its last commit left it. It
// appears whole, or not at all; a server may be running on the directory. kConflict if it exists,
// kInvalid for an impossible name or a `from` that is no database. Returns the path.
Result<std::string> CreateDatabase(const std::string& directory, const std::string& name,
                                   const std::optional<std::string>& from);

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_CREATE_DATABASE_H_
