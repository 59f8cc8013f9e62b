// Whether a name that a program opens is a replica's, as far as that can be told without
// libturso_vfs: for refusing it where that cannot be loaded.

#ifndef TURSO_EXTENSION_PRELOAD_REPLICA_NAME_H_
#define TURSO_EXTENSION_PRELOAD_REPLICA_NAME_H_

namespace turso::preload {

// `name` is what sqlite3_open was given: a path, or a URI. True where it has a sidecar or the mark
// of a replica, where its query has vfs=turso, and where the environment calls it a replica.
bool IsReplica(const char* name);

// The same of a name in UTF-16 of the machine's byte order.
bool IsReplica16(const void* name);

}  // namespace turso::preload

#endif  // TURSO_EXTENSION_PRELOAD_REPLICA_NAME_H_
