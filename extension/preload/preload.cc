#include "extension/preload/preload.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <utility>

#include "extension/preload/copies.h"
#include "extension/preload/deep_bind.h"
#include "extension/preload/replica_name.h"

#define TURSO_INTERPOSE extern "C" __attribute__((visibility("default"), used, noinline))

TURSO_INTERPOSE int sqlite3_open(const char* name, sqlite3** db);
TURSO_INTERPOSE int sqlite3_open_v2(const char* name, sqlite3** db, int flags, const char* vfs);
TURSO_INTERPOSE int sqlite3_open16(const void* name, sqlite3** db);

namespace turso::preload {

namespace {

constexpr char kWho[] = "libturso_preload";

// With one write, so that what other threads and processes say does not come in between.
void Say(const char* text) {
  const ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
  static_cast<void>(ignored);
}

void SayOnce(const Copy& copy) {
  static std::atomic<bool> said{false};
  if (said.exchange(true)) return;
  char text[kMaxReason + 256];
  snprintf(text, sizeof text,
           "%s: libturso_vfs is not loaded, and databases that are replicas cannot be opened: %s "
           "(TURSO_VFS_EXTENSION can name the path of libturso_vfs.so)\n",
           kWho, copy.reason);
  Say(text);
}

// A connection whose only use is its error message. SQLite has one with a text of the caller's.
int Refuse(const Copy& copy, sqlite3** db) {
  char vfs[kMaxReason + 64];
  snprintf(vfs, sizeof vfs, "turso (libturso_vfs is not loaded: %s)", copy.reason);
  copy.open_v2(":memory:", db, kReadWrite, vfs);
  return kCannotOpen;
}

int NoCopy(sqlite3** db) {
  Say("libturso_preload: no SQLite is found in this process that sqlite3_open could go to\n");
  if (db != nullptr) *db = nullptr;
  return kError;
}

// Whether the open of this name goes on. `is_replica` is asked only where it matters.
template <class IsReplicaName>
bool MayOpen(Copy* copy, IsReplicaName is_replica) {
  if (TheMode() == Mode::kOff || HasExtension(copy)) return true;
  const bool replica = is_replica();
  // A second copy of SQLite, which cannot have replicas, may well have other databases.
  const bool is_second = strstr(copy->reason, "another copy of SQLite") != nullptr;
  if (replica || !is_second) SayOnce(*copy);
  return !replica;
}

int OpenIn(Copy* copy, const char* name, sqlite3** db) {
  if (copy == nullptr) return NoCopy(db);
  if (!MayOpen(copy, [name] { return IsReplica(name); })) return Refuse(*copy, db);
  return copy->open(name, db);
}
int OpenV2In(Copy* copy, const char* name, sqlite3** db, int flags, const char* vfs) {
  if (copy == nullptr) return NoCopy(db);
  if (!MayOpen(copy, [name] { return IsReplica(name); })) return Refuse(*copy, db);
  return copy->open_v2(name, db, flags, vfs);
}
int Open16In(Copy* copy, const void* name, sqlite3** db) {
  if (copy == nullptr) return NoCopy(db);
  if (!MayOpen(copy, [name] { return IsReplica16(name); })) return Refuse(*copy, db);
  return copy->open16(name, db);
}

// What dlsym gives: a function that knows its copy, since a call through a pointer can come from
// code that belongs to no library.
struct Wrappers {
  Open open;
  OpenV2 open_v2;
  Open16 open16;
};
template <int index>
constexpr Wrappers MakeWrappers() {
  return {
      [](const char* name, sqlite3** db) { return OpenIn(CopyAt(index), name, db); },
      [](const char* name, sqlite3** db, int flags, const char* vfs) {
        return OpenV2In(CopyAt(index), name, db, flags, vfs);
      },
      [](const void* name, sqlite3** db) { return Open16In(CopyAt(index), name, db); },
  };
}
struct AllWrappers {
  Wrappers of[kMaxCopies];
};
template <int... index>
constexpr AllWrappers MakeAllWrappers(std::integer_sequence<int, index...>) {
  return {{MakeWrappers<index>()...}};
}
constexpr AllWrappers kWrappers = MakeAllWrappers(std::make_integer_sequence<int, kMaxCopies>());

template <class Function>
Function NextOf(const char* name) {
  // The name dlsym itself is ours; its version is that of glibc's first release for the processor.
#if defined(__x86_64__)
  constexpr char kVersion[] = "GLIBC_2.2.5";
#else
  constexpr char kVersion[] = "GLIBC_2.17";
#endif
  return reinterpret_cast<Function>(dlvsym(RTLD_NEXT, name, kVersion));
}

Mode ReadMode() {
  const char* value = secure_getenv("TURSO_VFS_PRELOAD");
  if (value == nullptr || *value == '\0') return Mode::kAll;
  if (strcmp(value, "off") == 0) return Mode::kOff;
  if (strcmp(value, "linked") == 0) return Mode::kLinked;
  return Mode::kAll;
}

// Only for one of the three names, and a real handle.
void* FindOpen(void* handle, const char* symbol, OpenKind kind) {
  void* found = RealDlsym()(handle, symbol);
  if (found == nullptr || found == OurOpen(kind)) return found;
  void* wrapper = nullptr;
  if (const Copy* copy = CopyOfFunction(found)) wrapper = Wrapper(copy, kind);
  dlerror();  // None of ours is the caller's.
  return wrapper != nullptr ? wrapper : found;
}

}  // namespace

void* Wrapper(const Copy* copy, OpenKind kind) {
  const Wrappers& wrappers = kWrappers.of[IndexOf(copy)];
  switch (kind) {
    case OpenKind::kOpen:
      return copy->open == nullptr ? nullptr : reinterpret_cast<void*>(wrappers.open);
    case OpenKind::kOpenV2:
      return copy->open_v2 == nullptr ? nullptr : reinterpret_cast<void*>(wrappers.open_v2);
    case OpenKind::kOpen16:
      return copy->open16 == nullptr ? nullptr : reinterpret_cast<void*>(wrappers.open16);
    case OpenKind::kNone: break;
  }
  return nullptr;
}

void* OurOpen(OpenKind kind) {
  switch (kind) {
    case OpenKind::kOpen: return reinterpret_cast<void*>(&sqlite3_open);
    case OpenKind::kOpenV2: return reinterpret_cast<void*>(&sqlite3_open_v2);
    case OpenKind::kOpen16: return reinterpret_cast<void*>(&sqlite3_open16);
    case OpenKind::kNone: break;
  }
  return nullptr;
}

OpenKind KindOf(const char* symbol) {
  if (symbol == nullptr || symbol[0] != 's') return OpenKind::kNone;
  for (int i = 0; i < 3; ++i) {
    if (strcmp(symbol, kOpenNames[i]) == 0) return static_cast<OpenKind>(i);
  }
  return OpenKind::kNone;
}

Dlopen RealDlopen() {
  static std::atomic<Dlopen> real{nullptr};
  Dlopen function = real.load(std::memory_order_relaxed);
  if (function == nullptr) real.store(function = NextOf<Dlopen>("dlopen"));
  return function;
}

Dlsym RealDlsym() {
  static std::atomic<Dlsym> real{nullptr};
  Dlsym function = real.load(std::memory_order_relaxed);
  if (function == nullptr) real.store(function = NextOf<Dlsym>("dlsym"));
  return function;
}

Mode TheMode() {
  static std::atomic<int> mode{-1};
  int value = mode.load(std::memory_order_relaxed);
  if (value < 0) mode.store(value = static_cast<int>(ReadMode()));
  return static_cast<Mode>(value);
}

}  // namespace turso::preload

using turso::preload::CopyOfCaller;

int sqlite3_open(const char* name, sqlite3** db) {
  return turso::preload::OpenIn(CopyOfCaller(__builtin_return_address(0)), name, db);
}

int sqlite3_open_v2(const char* name, sqlite3** db, int flags, const char* vfs) {
  return turso::preload::OpenV2In(CopyOfCaller(__builtin_return_address(0)), name, db, flags, vfs);
}

int sqlite3_open16(const void* name, sqlite3** db) {
  return turso::preload::Open16In(CopyOfCaller(__builtin_return_address(0)), name, db);
}

// glibc looks at the return address of dlopen and dlsym, for the paths of their caller and for
// RTLD_NEXT. So the calls at the end of these two must be jumps (LP5): the target is compiled for
// that, and a test looks.
TURSO_INTERPOSE void* dlopen(const char* file, int flags) {
  using namespace turso::preload;
  if ((flags & RTLD_DEEPBIND) != 0 && file != nullptr && strchr(file, '/') != nullptr &&
      TheMode() == Mode::kAll) {
    return OpenDeepBound(file, flags);
  }
  return RealDlopen()(file, flags);
}

TURSO_INTERPOSE void* dlsym(void* handle, const char* symbol) {
  using namespace turso::preload;
  if (const OpenKind kind = KindOf(symbol); kind != OpenKind::kNone && handle != RTLD_DEFAULT &&
                                            handle != RTLD_NEXT && TheMode() == Mode::kAll) {
    return FindOpen(handle, symbol, kind);
  }
  return RealDlsym()(handle, symbol);
}
