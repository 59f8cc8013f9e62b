// SQLite, by its API table in a loadable extension and by its names where it is linked in
// (SQLITE_CORE).

#ifndef TURSO_VFS_SQLITE_H_
#define TURSO_VFS_SQLITE_H_

#include <sqlite3ext.h>

#ifndef SQLITE_CORE
extern "C" {
extern const sqlite3_api_routines* sqlite3_api;
}
#endif

#endif  // TURSO_VFS_SQLITE_H_
