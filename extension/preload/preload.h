// libturso_preload: for LD_PRELOAD, so that a program comes to its replicas with nothing changed.
//
// Put in front of a program it takes the place of sqlite3_open, sqlite3_open_v2 and sqlite3_open16,
// finds the copy of SQLite that the caller means, and at the first open in that copy loads
// libturso_vfs into it as the default VFS. It stands on libc alone: linked to SQLite it would bring
// the system's copy in front of a program's own, and it is in every process that a shell starts.
//
//   (LP1) A program that opens no database is as without us: nothing is loaded, opened or printed.
//   (LP2) SQLite is never initialized earlier than by the program's own first open.
//   (LP3) A call goes to the very function that it would have reached without us.
//   (LP4) Where libturso_vfs cannot be loaded, a replica is not opened at all, and stderr says so
//         once; other databases are.
//   (LP5) dlopen and dlsym look for libraries and symbols on behalf of their caller, as without us.
//
// TURSO_VFS_EXTENSION   the path of libturso_vfs.so; else it is where this library is
// TURSO_VFS_PRELOAD     `off`: do nothing; `linked`: leave dlopen and dlsym alone

#ifndef TURSO_EXTENSION_PRELOAD_PRELOAD_H_
#define TURSO_EXTENSION_PRELOAD_PRELOAD_H_

struct sqlite3;
struct sqlite3_vfs;

namespace turso::preload {

constexpr int kOk = 0;           // SQLITE_OK
constexpr int kError = 1;        // SQLITE_ERROR
constexpr int kCannotOpen = 14;  // SQLITE_CANTOPEN
constexpr int kReadWrite = 2;    // SQLITE_OPEN_READWRITE
constexpr int kCreate = 4;       // SQLITE_OPEN_CREATE

using Open = int (*)(const char* name, sqlite3** db);
using OpenV2 = int (*)(const char* name, sqlite3** db, int flags, const char* vfs);
using Open16 = int (*)(const void* name, sqlite3** db);

// The names that we take the place of, in the order of OpenKind.
enum class OpenKind { kOpen, kOpenV2, kOpen16, kNone };
constexpr const char* kOpenNames[] = {"sqlite3_open", "sqlite3_open_v2", "sqlite3_open16"};

// Our own function of that name.
void* OurOpen(OpenKind kind);
OpenKind KindOf(const char* symbol);

using Dlopen = void* (*)(const char* file, int flags);
using Dlsym = void* (*)(void* handle, const char* symbol);

// Those that the program would call without us.
Dlopen RealDlopen();
Dlsym RealDlsym();

enum class Mode { kOff, kLinked, kAll };
Mode TheMode();

}  // namespace turso::preload

#endif  // TURSO_EXTENSION_PRELOAD_PRELOAD_H_
