// Somebody's library that uses SQLite, for tests/preload_test.py to call.

#include <dlfcn.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

int Open(const std::string& how, const char* name, sqlite3** db, const char* vfs) {
  if (how == "open") return sqlite3_open(name, db);
  if (how == "open16") {
    std::u16string wide(name, name + std::strlen(name));
    return sqlite3_open16(wide.c_str(), db);
  }
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  return sqlite3_open_v2(name, db, how == "uri" ? flags | SQLITE_OPEN_URI : flags, vfs);
}

int Append(void* text, int count, char** values, char**) {
  for (int i = 0; i < count; ++i) {
    *static_cast<std::string*>(text) += values[i] == nullptr ? "NULL" : values[i];
    *static_cast<std::string*>(text) += '\n';
  }
  return SQLITE_OK;
}

}  // namespace

// What SQL answers, or the message of the code that is returned.
EXPORT int turso_try(const char* how, const char* name, const char* vfs, const char* sql,
                     char* answer, int size) {
  sqlite3* db = nullptr;
  std::string text;
  int code = Open(how, name, &db, vfs);
  if (code == SQLITE_OK) code = sqlite3_exec(db, sql, Append, &text, nullptr);
  if (code != SQLITE_OK) text = db == nullptr ? "no connection" : sqlite3_errmsg(db);
  std::snprintf(answer, static_cast<size_t>(size), "%s", text.c_str());
  sqlite3_close(db);
  return code;
}

// The child that tries, for at most ten seconds; its exit status is the code.
EXPORT int turso_fork_and_try(const char* name, const char* sql) {
  const pid_t child = fork();
  if (child != 0) return child;
  alarm(10);
  char answer[256];
  _exit(turso_try("open_v2", name, nullptr, sql, answer, sizeof answer));
}

EXPORT int turso_configure() { return sqlite3_config(SQLITE_CONFIG_SERIALIZED); }
EXPORT int turso_shutdown() { return sqlite3_shutdown(); }

// Another name for the default VFS, by which this copy of SQLite is known.
EXPORT int turso_mark(const char* name) {
  static sqlite3_vfs mark;
  mark = *sqlite3_vfs_find(nullptr);
  mark.zName = name;
  return sqlite3_vfs_register(&mark, 0);
}

EXPORT int turso_same_name() { return 1; }
EXPORT int turso_finds_its_neighbour() {
  return dlopen("libsqlite3.so.9", RTLD_LAZY) != nullptr ? 1 : 0;
}
// What comes after this library in the order of the search.
EXPORT int turso_next_of_the_same_name() {
  void* next = dlsym(RTLD_NEXT, "turso_same_name");
  return next == nullptr ? 0 : reinterpret_cast<int (*)()>(next)();
}
EXPORT int turso_keeps_an_error() {
  dlerror();
  void* library = dlopen("libsqlite3.so.0", RTLD_LAZY);
  if (library == nullptr || dlsym(library, "sqlite3_open_v2") == nullptr) return -1;
  return dlerror() == nullptr ? 0 : 1;
}
