// Where SQLite, or the program that we are linked into, takes us up.
//
//   (E1) Of a SQLite that is too old no member of the API table is touched but two that every
//        version has.
//   (E2) One copy of SQLite per process: `sqlite3_api` never changes once a load has succeeded.
//   (E3) Once SQLite has a pointer into this library, an entry point returns
//        SQLITE_OK_LOAD_PERMANENTLY and nothing else: at any other code SQLite unloads the library.
//   (E4) Nothing here can make the open of a connection fail, but to say why its database, a
//        replica, cannot be opened.

#include <mutex>

#include "extension/functions.h"
#include "extension/status.h"
#include "extension/turso_vfs.h"
#include "src/base/log.h"
#include "vfs/connection.h"
#include "vfs/refusal.h"
#include "vfs/sqlite.h"
#include "vfs/vfs.h"

#ifndef SQLITE_CORE
extern "C" {
const sqlite3_api_routines* sqlite3_api = nullptr;
}
#endif

namespace turso {
namespace {

constexpr int kBusyTimeoutMilliseconds = 5000;

std::mutex g_loading;

void LogToSqlite(LogLevel level, const char* line) noexcept {
  sqlite3_log(level == LogLevel::kInfo ? SQLITE_NOTICE : SQLITE_WARNING, "turso: %s", line);
}

void AddToConnection(sqlite3* db) noexcept {
  // Only want of memory can fail here, and a connection without the functions still serves.
  if (AddFunctions(db) == SQLITE_OK) AddStatusTable(db);
}

// Called for every connection at the end of its open (E4).
int OnConnection(sqlite3* db, char** message, const sqlite3_api_routines*) noexcept {
  if (const Refusal* refusal = RefusalOf(db)) {
    *message = sqlite3_mprintf("%s", refusal->sentence.c_str());
    return refusal->code;
  }
  AddToConnection(db);
  try {
    // A write that finds the primary ahead has SQLite begin its statement afresh, by way of the
    // busy handler. The application's own call comes later and counts.
    if (FindReplica(db, "main")) sqlite3_busy_timeout(db, kBusyTimeoutMilliseconds);
  } catch (...) {  // Want of memory.
  }
  return SQLITE_OK;
}

// g_loading is held.
int Register(Default make_default) {
  using AutoExtension = void (*)();
  const auto on_connection = reinterpret_cast<AutoExtension>(OnConnection);
  SetLogSink(LogToSqlite);
  SetPragmaFunction(AnswerPragma);
  int rc = sqlite3_auto_extension(on_connection);
  if (rc != SQLITE_OK) return rc;
  ExplainRefusals();
  // Registering it again would take the default away that an earlier load gave it.
  if (make_default == Default::kNo && sqlite3_vfs_find("turso") != nullptr) return SQLITE_OK;
  rc = RegisterVfs(make_default);
  if (rc != SQLITE_OK && sqlite3_vfs_find("turso") == nullptr) {
    sqlite3_cancel_auto_extension(on_connection);
  }
  return rc;
}

#ifndef SQLITE_CORE

constexpr int kOldestHost = 3032000;

// The sentence belongs to the SQLite that asked, not to the one in sqlite3_api.
int Refuse(const sqlite3_api_routines* api, char** message, const char* sentence) {
  if (message != nullptr) *message = api->mprintf("%s", sentence);
  return SQLITE_ERROR;
}

int Load(sqlite3* db, char** message, const sqlite3_api_routines* api,
         Default make_default) noexcept {
  if (api->libversion_number() < kOldestHost) {
    return Refuse(api, message, "libturso_vfs needs SQLite 3.32 or newer");
  }
  if (api->xthreadsafe() == 0) {
    return Refuse(api, message, "libturso_vfs needs a SQLite that was compiled to be thread-safe");
  }
  try {
    const std::lock_guard<std::mutex> lock(g_loading);
    if (sqlite3_api != nullptr && sqlite3_api != api) {
      return Refuse(api, message,
                    "libturso_vfs is in use by another copy of SQLite in this process; two copies "
                    "cannot share the "
                    "locks of a replica");
    }
    const bool first = sqlite3_api == nullptr;
    sqlite3_api = api;
    const int rc = Register(make_default);
    if (rc != SQLITE_OK && first) {
      sqlite3_api = nullptr;
      return rc;
    }
  } catch (...) {
    return SQLITE_NOMEM;
  }
  AddToConnection(db);
  return SQLITE_OK_LOAD_PERMANENTLY;
}

#endif  // SQLITE_CORE

}  // namespace
}  // namespace turso

#ifdef SQLITE_CORE

extern "C" int turso_vfs_register(int make_default) {
  try {
    const std::lock_guard<std::mutex> lock(turso::g_loading);
    return turso::Register(make_default != 0 ? turso::Default::kYes : turso::Default::kNo);
  } catch (...) {
    return SQLITE_NOMEM;
  }
}

#else

#define TURSO_EXPORT extern "C" __attribute__((visibility("default")))

TURSO_EXPORT int sqlite3_tursovfs_init(sqlite3* db, char** message,
                                       const sqlite3_api_routines* api) {
  return turso::Load(db, message, api, turso::Default::kNo);
}

// For a copy of the library under another file name.
TURSO_EXPORT int sqlite3_extension_init(sqlite3* db, char** message,
                                        const sqlite3_api_routines* api) {
  return turso::Load(db, message, api, turso::Default::kNo);
}

TURSO_EXPORT int sqlite3_tursovfs_default_init(sqlite3* db, char** message,
                                               const sqlite3_api_routines* api) {
  return turso::Load(db, message, api, turso::Default::kYes);
}

#endif  // SQLITE_CORE
