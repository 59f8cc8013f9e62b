#include "extension/preload/copies.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "extension/preload/deep_bind.h"

namespace turso::preload {

namespace {

constexpr int kEnableLoadExtension = 1005;  // SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION
constexpr char kEntryPoint[] = "sqlite3_tursovfs_default_init";
constexpr int kMaxObjects = 512;
constexpr char kExtensionName[] = "libturso_vfs.so";

Copy g_copies[kMaxCopies];
std::atomic<int> g_count{0};
pthread_mutex_t g_mutex = PTHREAD_MUTEX_INITIALIZER;

// The copy into which this thread is loading: whoever calls meanwhile belongs to it.
thread_local Copy* t_loading __attribute__((tls_model("initial-exec"))) = nullptr;

class Lock {
 public:
  Lock() { pthread_mutex_lock(&g_mutex); }
  ~Lock() { pthread_mutex_unlock(&g_mutex); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
};

void BeforeFork() {
  if (t_loading == nullptr) pthread_mutex_lock(&g_mutex);
}
void AfterFork() {
  if (t_loading == nullptr) pthread_mutex_unlock(&g_mutex);
}

const link_map* LibraryOf(const void* address) {
  Dl_info info;
  void* library = nullptr;
  if (dladdr1(const_cast<void*>(address), &info, &library, RTLD_DL_LINKMAP) == 0) return nullptr;
  return static_cast<const link_map*>(library);
}

// Where a search that begins in this library goes.
void* ScopeOf(const link_map* library) {
  const char* name = library->l_name[0] == '\0' ? nullptr : library->l_name;
  return RealDlopen()(name, RTLD_LAZY | RTLD_NOLOAD);
}

const void* OurselvesExcepted(const void* function) {
  const link_map* ours = LibraryOf(reinterpret_cast<const void*>(&CopyOfCaller));
  return function != nullptr && LibraryOf(function) != ours ? function : nullptr;
}

const void* InScopeOf(const link_map* library) {
  void* scope = library == nullptr ? nullptr : ScopeOf(library);
  if (scope == nullptr) return nullptr;
  const void* function = OurselvesExcepted(RealDlsym()(scope, "sqlite3_open_v2"));
  dlclose(scope);
  return function;
}

template <class Function>
void Find(void* scope, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(RealDlsym()(scope, name));
}

// g_mutex is held.
Copy* Register(const link_map* library) {
  const int count = g_count.load(std::memory_order_relaxed);
  for (int i = 0; i < count; ++i) {
    if (g_copies[i].library == library) return &g_copies[i];
  }
  // Never given back: what SQLite's list of VFSes points to must not be unmapped with the copy.
  void* scope = count == kMaxCopies ? nullptr : ScopeOf(library);
  if (scope == nullptr) return nullptr;
  Copy& copy = g_copies[count];
  Find(scope, "sqlite3_open", &copy.open);
  Find(scope, "sqlite3_open_v2", &copy.open_v2);
  Find(scope, "sqlite3_open16", &copy.open16);
  Find(scope, "sqlite3_close", &copy.close);
  Find(scope, "sqlite3_db_config", &copy.db_config);
  Find(scope, "sqlite3_load_extension", &copy.load_extension);
  Find(scope, "sqlite3_free", &copy.free);
  Find(scope, "sqlite3_vfs_find", &copy.vfs_find);
  copy.library = library;
  g_count.store(count + 1, std::memory_order_release);
  return &copy;
}

// What is loaded, by the program headers. Under the loader's lock nothing else of it may be called.
struct Loaded {
  const void* objects[kMaxObjects];
  int count = 0;
};

int Note(dl_phdr_info* object, size_t, void* argument) {
  auto* loaded = static_cast<Loaded*>(argument);
  if (loaded->count < kMaxObjects) loaded->objects[loaded->count++] = object->dlpi_phdr;
  return 0;
}

// For callers that no library owns, code that was made at run time, and those whose library does
// not say that it needs SQLite.
Copy* AnyCopy() {
  if (g_count.load(std::memory_order_acquire) > 0) return &g_copies[0];
  Loaded loaded;
  dl_iterate_phdr(Note, &loaded);
  for (int i = 0; i < loaded.count; ++i) {
    if (const void* function = InScopeOf(LibraryOf(loaded.objects[i]))) {
      return CopyOfFunction(function);
    }
  }
  return nullptr;
}

Copy* CopyWithExtension(const link_map* extension) {
  const int count = g_count.load(std::memory_order_acquire);
  for (int i = 0; extension != nullptr && i < count; ++i) {
    if (g_copies[i].state.load(std::memory_order_acquire) == Copy::State::kLoaded &&
        g_copies[i].extension == extension) {
      return &g_copies[i];
    }
  }
  return nullptr;
}

// Empty if it cannot be known.
void FindExtension(char (&path)[PATH_MAX]) {
  path[0] = '\0';
  if (const char* named = secure_getenv("TURSO_VFS_EXTENSION");
      named != nullptr && *named != '\0') {
    snprintf(path, sizeof path, "%s", named);
    return;
  }
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&CopyOfCaller), &info) == 0) return;
  char resolved[PATH_MAX];
  if (realpath(info.dli_fname, resolved) == nullptr) return;
  char* slash = strrchr(resolved, '/');
  if (slash == nullptr) return;
  *slash = '\0';
  if (snprintf(path, sizeof path, "%s/%s", resolved, kExtensionName) >= PATH_MAX) path[0] = '\0';
}

// Once, and before anybody changes the directory: LD_PRELOAD may have named us relative to it.
char g_extension_path[PATH_MAX];
__attribute__((constructor)) void RememberExtension() { FindExtension(g_extension_path); }

bool Fail(Copy* copy, const char* reason) {
  snprintf(copy->reason, sizeof copy->reason, "%s", reason);
  copy->state.store(Copy::State::kFailed, std::memory_order_release);
  return false;
}

bool LoadThrough(Copy* copy, sqlite3* db) {
  // SQLite would only say that it has not found another name that it tried in the end.
  void* library = RealDlopen()(g_extension_path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    return Fail(copy, reason != nullptr ? reason : "its library cannot be loaded");
  }
  copy->db_config(db, kEnableLoadExtension, 1, static_cast<int*>(nullptr));
  char* message = nullptr;
  const int code = copy->load_extension(db, g_extension_path, kEntryPoint, &message);
  if (code != kOk) {
    Fail(copy, message != nullptr ? message : "SQLite does not say why");
    copy->free(message);
    return false;
  }
  copy->extension = LibraryOf(RealDlsym()(library, kEntryPoint));
  copy->state.store(Copy::State::kLoaded, std::memory_order_release);
  return true;
}

// g_mutex is held.
bool Load(Copy* copy) {
  if (copy->db_config == nullptr || copy->load_extension == nullptr || copy->close == nullptr ||
      copy->free == nullptr || copy->vfs_find == nullptr || copy->open_v2 == nullptr) {
    return Fail(copy, "this copy of SQLite was built without the loading of extensions");
  }
  static bool forks_are_watched = false;
  if (!forks_are_watched) {
    forks_are_watched = true;
    pthread_atfork(BeforeFork, AfterFork, AfterFork);
  }
  t_loading = copy;
  if (copy->lower == nullptr) copy->lower = copy->vfs_find(nullptr);
  sqlite3* db = nullptr;
  bool loaded = false;
  if (copy->open_v2(":memory:", &db, kReadWrite | kCreate, nullptr) == kOk) {
    loaded = LoadThrough(copy, db);
  } else {
    Fail(copy, "SQLite cannot open a connection to load it by");
  }
  copy->close(db);
  t_loading = nullptr;
  return loaded;
}

// After a sqlite3_shutdown() SQLite's own VFS is the default again, and callbacks are forgotten.
bool WasForgotten(const Copy* copy) { return copy->vfs_find(nullptr) == copy->lower; }

}  // namespace

Copy* CopyOfFunction(const void* function) {
  const link_map* library = function == nullptr ? nullptr : LibraryOf(function);
  if (library == nullptr) return nullptr;
  const Lock lock;
  return Register(library);
}

Copy* CopyOfCaller(const void* address) {
  if (t_loading != nullptr) return t_loading;
  const link_map* caller = LibraryOf(address);
  // SQLite's table for extensions has our functions in it; whose they are, only we know.
  if (Copy* copy = CopyWithExtension(caller)) return copy;
  const void* function = nullptr;
  if (caller != nullptr && IsDeepBound(caller)) function = InScopeOf(caller);
  if (function == nullptr) {
    function = OurselvesExcepted(RealDlsym()(RTLD_NEXT, "sqlite3_open_v2"));
  }
  if (function == nullptr) function = InScopeOf(caller);
  return function != nullptr ? CopyOfFunction(function) : AnyCopy();
}

int IndexOf(const Copy* copy) { return static_cast<int>(copy - g_copies); }
Copy* CopyAt(int index) { return &g_copies[index]; }

bool HasExtension(Copy* copy) {
  if (t_loading != nullptr) return true;
  if (copy->state.load(std::memory_order_acquire) == Copy::State::kFailed) return false;
  if (copy->state.load(std::memory_order_acquire) == Copy::State::kLoaded && !WasForgotten(copy)) {
    return true;
  }
  const Lock lock;
  if (copy->state.load(std::memory_order_relaxed) == Copy::State::kFailed) return false;
  if (copy->state.load(std::memory_order_relaxed) == Copy::State::kLoaded && !WasForgotten(copy)) {
    return true;
  }
  return Load(copy);
}

}  // namespace turso::preload
