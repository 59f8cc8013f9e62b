#include "vfs/connection.h"

#include <mutex>

#include "src/base/log.h"
#include "vfs/gated_file.h"
#include "vfs/recognise.h"

#ifdef SQLITE_CORE
// Absent before 3.41.
extern "C" int sqlite3_is_interrupted(sqlite3*) __attribute__((weak));
#endif

namespace turso {

namespace {

#if !defined(SQLITE_CORE) && SQLITE_VERSION_NUMBER >= 3040000 && SQLITE_VERSION_NUMBER < 3041000
// The API table only grows: a newer host's has these members behind those of the headers that we
// are built with.
struct LaterRoutines {
  sqlite3_api_routines known;
  int (*is_interrupted)(sqlite3*);  // 3.41
};
#endif

struct OpenError {
  std::mutex mutex;
  std::string text;
};

OpenError& LastOpenFailure() {
  static auto* error = new OpenError;
  return *error;
}

Session* SessionOf(sqlite3* db, const char* schema) {
  sqlite3_file* file = nullptr;
  if (sqlite3_file_control(db, schema, SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK)
    return nullptr;
  return turso::SessionOf(file);
}

Interrupted Watch(sqlite3* db) {
  if (db == nullptr || sqlite3_libversion_number() < 3041000) return nullptr;
#if defined(SQLITE_CORE)
  if (sqlite3_is_interrupted == nullptr) return nullptr;
  return [db] { return sqlite3_is_interrupted(db) != 0; };
#elif SQLITE_VERSION_NUMBER >= 3041000
  return [db] { return sqlite3_is_interrupted(db) != 0; };
#elif SQLITE_VERSION_NUMBER >= 3040000
  auto* later = reinterpret_cast<const LaterRoutines*>(sqlite3_api);
  return [db, later] { return later->is_interrupted(db) != 0; };
#else
  return nullptr;
#endif
}

}  // namespace

std::optional<OpenReplica> FindReplica(sqlite3* db, const char* schema) {
  Session* session = SessionOf(db, schema);
  if (session == nullptr || (**session->database).replica == nullptr) return std::nullopt;
  OpenReplica open{(**session->database).replica, std::nullopt};
  if (session->read_locks != 0) open.snapshot = session->snapshot;
  return open;
}

std::vector<std::shared_ptr<Replica>> OpenReplicas() { return ReplicasInUse(); }

Interrupted InterruptedBy(sqlite3* db) { return Watch(db); }

Interrupted InterruptedBy(Session* session) {
  return Watch(session->connection == nullptr ? nullptr : *session->connection);
}

Status MakeReplica(const std::string& path, const std::string& url) {
  std::vector<char> full(static_cast<size_t>(LowerVfs()->mxPathname) + 1);
  int code = LowerVfs()->xFullPathname(LowerVfs(), path.c_str(), static_cast<int>(full.size()),
                                       full.data());
  if ((code & 0xff) != SQLITE_OK) return Status(Code::kInvalid, path + ": no such path can be");
  auto uri = [&](const char* name) { return std::string(name) == "url" ? url.c_str() : nullptr; };
  auto environment = [](const char* name) -> const char* { return std::getenv(name); };
  Result<Options> options = ResolveOptions(uri, "", environment);
  if (!options.ok()) return options.status();
  return Replica::Create(full.data(), *options);
}

void RememberOpenError(const Status& status) {
  Log(LogLevel::kError, status.text());
  std::lock_guard lock(LastOpenFailure().mutex);
  LastOpenFailure().text = status.text();
}

std::optional<std::string> LastOpenError() {
  std::lock_guard lock(LastOpenFailure().mutex);
  if (LastOpenFailure().text.empty()) return std::nullopt;
  return LastOpenFailure().text;
}

}  // namespace turso
