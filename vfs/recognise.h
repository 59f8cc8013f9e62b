// Which files are replicas.
//
// A file is one if it has a sidecar, or if the open names it one: vfs=turso in its URI, the VFS
// argument "turso", a name in TURSO_VFS_FILES, or TURSO_VFS_PROVISION for tests. Nothing else is,
// whatever the environment's URL says.

#ifndef TURSO_VFS_RECOGNISE_H_
#define TURSO_VFS_RECOGNISE_H_

#include <string>

#include "src/base/status.h"
#include "src/replica/options.h"
#include "vfs/database.h"
#include "vfs/literal_uri.h"
#include "vfs/sqlite.h"

namespace turso {

// Through which of our two VFS objects the open came: one is named by whoever opens, the other is
// the default.
enum class Through { kName, kDefault };

struct Recognised {
  bool is_replica = false;
  Missing missing = Missing::kRefuse;
  Options options;
};

// `name` is the main database's, as xOpen has it (URI parameters behind it); `flags` are those of
// xOpen; `literal` are parameters of a URI that SQLite has not read. A failure is the reason why
// the open must not go on.
Result<Recognised> Recognise(const char* name, int flags, Through through,
                             const UriParameters& literal);

}  // namespace turso

#endif  // TURSO_VFS_RECOGNISE_H_
