// The copies of SQLite in this process, and libturso_vfs in each of them.
//
// A copy is known by the library, or program, that it is in. Any thread.

#ifndef TURSO_EXTENSION_PRELOAD_COPIES_H_
#define TURSO_EXTENSION_PRELOAD_COPIES_H_

#include <link.h>

#include <atomic>

#include "extension/preload/preload.h"

namespace turso::preload {

constexpr int kMaxCopies = 16;
constexpr int kMaxReason = 512;

struct Copy {
  enum class State { kUntouched, kLoaded, kFailed };

  const link_map* library = nullptr;
  Open open = nullptr;
  OpenV2 open_v2 = nullptr;
  Open16 open16 = nullptr;
  int (*close)(sqlite3*) = nullptr;
  int (*db_config)(sqlite3*, int, ...) = nullptr;
  int (*load_extension)(sqlite3*, const char*, const char*, char**) = nullptr;
  void (*free)(void*) = nullptr;
  sqlite3_vfs* (*vfs_find)(const char*) = nullptr;

  std::atomic<State> state{State::kUntouched};
  char reason[kMaxReason] = "";         // With kFailed.
  const sqlite3_vfs* lower = nullptr;   // The default VFS before ours.
  const link_map* extension = nullptr;  // libturso_vfs as this copy has it.
};

// The copy that code at this address reaches by the name sqlite3_open_v2 where we are not in
// between; null if there is none.
Copy* CopyOfCaller(const void* address);

// The copy of which this is a function.
Copy* CopyOfFunction(const void* function);

int IndexOf(const Copy* copy);
Copy* CopyAt(int index);

// Loads libturso_vfs unless that was done, or tried. False: `reason` says why replicas cannot be
// opened in this copy.
bool HasExtension(Copy* copy);

// The function of a copy through which `address`, a function of it, can be replaced: for symbols
// that are asked for by dlsym. Null if there are too many copies.
void* Wrapper(const Copy* copy, OpenKind kind);

}  // namespace turso::preload

#endif  // TURSO_EXTENSION_PRELOAD_COPIES_H_
