#include "vfs/vfs.h"

#include <algorithm>
#include <cstring>

#include "src/base/log.h"
#include "vfs/connection.h"
#include "vfs/gated_file.h"
#include "vfs/guarded.h"
#include "vfs/internal_connection.h"
#include "vfs/recognise.h"
#include "vfs/refusal.h"

namespace turso {

namespace {

Through ThroughOf(const sqlite3_vfs* vfs);

int OpenMain(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  const UriParameters literal = TakeExpected(name);
  if (const std::shared_ptr<Database>& database = InternalDatabase();
      database != nullptr && database->path == name) {
    if (!CheckInPlace(*database).ok()) return SQLITE_CANTOPEN;
    return OpenGatedFile(name, file, flags, out_flags,
                         std::make_unique<DatabaseUse>(database, false));
  }
  if (std::unique_ptr<DatabaseUse> gated = UseGated(name)) {
    return OpenGatedFile(name, file, flags, out_flags, std::move(gated));
  }
  Result<Recognised> recognised = Recognise(name, flags, ThroughOf(vfs), literal);
  if (!recognised.ok()) return Refuse(recognised.status(), name, file, flags, out_flags);
  if (!recognised->is_replica) return LowerVfs()->xOpen(LowerVfs(), name, file, flags, out_flags);
  Result<std::unique_ptr<DatabaseUse>> use =
      UseReplica(name, recognised->options, recognised->missing);
  if (!use.ok()) return Refuse(use.status(), name, file, flags, out_flags);
  return OpenGatedFile(name, file, flags, out_flags, std::move(*use));
}

int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  file->pMethods = nullptr;
  return Guarded(SQLITE_CANTOPEN, [&] {
    constexpr int kKinds = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL;
    if (name == nullptr || (flags & kKinds) == 0) {
      return LowerVfs()->xOpen(LowerVfs(), name, file, flags, out_flags);
    }
    if ((flags & SQLITE_OPEN_MAIN_DB) != 0) return OpenMain(vfs, name, file, flags, out_flags);
    Session* session = SessionOfWal(name);
    if (session != nullptr && session->generation != ForkGeneration()) return SQLITE_CANTOPEN;
    if (session == nullptr) return LowerVfs()->xOpen(LowerVfs(), name, file, flags, out_flags);
    if ((flags & SQLITE_OPEN_WAL) != 0) return OpenGatedWal(name, file, flags, out_flags, session);
    // A rollback journal would mean writes beside the log.
    return SQLITE_CANTOPEN;
  });
}

bool IsLogOfOpenDatabase(const char* name) {
  std::string path = name;
  constexpr char kSuffix[] = "-wal";
  constexpr size_t kSuffixLength = sizeof kSuffix - 1;
  if (path.size() <= kSuffixLength ||
      path.compare(path.size() - kSuffixLength, kSuffixLength, kSuffix) != 0) {
    return false;
  }
  path.resize(path.size() - kSuffixLength);
  return IsOpen(path);
}

int Delete(sqlite3_vfs*, const char* name, int sync_directory) {
  return Guarded(SQLITE_IOERR_DELETE, [&] {
    if (IsLogOfOpenDatabase(name)) return SQLITE_IOERR_DELETE;
    return LowerVfs()->xDelete(LowerVfs(), name, sync_directory);
  });
}

int Access(sqlite3_vfs*, const char* name, int flags, int* out) {
  return LowerVfs()->xAccess(LowerVfs(), name, flags, out);
}
int FullPathname(sqlite3_vfs*, const char* name, int size, char* out) {
  return Guarded(SQLITE_CANTOPEN, [&] {
    ExpectNoOpen();
    std::optional<Result<LiteralUri>> uri = ReadLiteralUri(name);
    if (!uri) return LowerVfs()->xFullPathname(LowerVfs(), name, size, out);
    if (!uri->ok()) {
      RememberOpenError(uri->status());
      return SQLITE_CANTOPEN;
    }
    const int code = LowerVfs()->xFullPathname(LowerVfs(), (*uri)->path.c_str(), size, out);
    ExpectOpen(out, std::move((*uri)->parameters));
    return code;
  });
}
void* DlOpen(sqlite3_vfs*, const char* name) { return LowerVfs()->xDlOpen(LowerVfs(), name); }
void DlError(sqlite3_vfs*, int size, char* out) { LowerVfs()->xDlError(LowerVfs(), size, out); }
using Symbol = void (*)();
Symbol DlSym(sqlite3_vfs*, void* library, const char* symbol) {
  return LowerVfs()->xDlSym(LowerVfs(), library, symbol);
}
void DlClose(sqlite3_vfs*, void* library) { LowerVfs()->xDlClose(LowerVfs(), library); }
int Randomness(sqlite3_vfs*, int size, char* out) {
  return LowerVfs()->xRandomness(LowerVfs(), size, out);
}
int Sleep(sqlite3_vfs*, int microseconds) { return LowerVfs()->xSleep(LowerVfs(), microseconds); }
int CurrentTime(sqlite3_vfs*, double* out) { return LowerVfs()->xCurrentTime(LowerVfs(), out); }
int GetLastError(sqlite3_vfs*, int size, char* out) {
  return LowerVfs()->xGetLastError == nullptr ? 0
                                              : LowerVfs()->xGetLastError(LowerVfs(), size, out);
}
int CurrentTimeInt64(sqlite3_vfs*, sqlite3_int64* out) {
  return LowerVfs()->xCurrentTimeInt64(LowerVfs(), out);
}
int SetSystemCall(sqlite3_vfs*, const char* name, sqlite3_syscall_ptr call) {
  return LowerVfs()->xSetSystemCall(LowerVfs(), name, call);
}
sqlite3_syscall_ptr GetSystemCall(sqlite3_vfs*, const char* name) {
  return LowerVfs()->xGetSystemCall(LowerVfs(), name);
}
const char* NextSystemCall(sqlite3_vfs*, const char* name) {
  return LowerVfs()->xNextSystemCall(LowerVfs(), name);
}

sqlite3_vfs g_named;
sqlite3_vfs g_default;

Through ThroughOf(const sqlite3_vfs* vfs) {
  return vfs == &g_named ? Through::kName : Through::kDefault;
}

void Fill(sqlite3_vfs* vfs, const char* name) {
  const sqlite3_vfs* lower = LowerVfs();
  *vfs = {};
  vfs->iVersion = std::min(lower->iVersion, 3);
  vfs->szOsFile = std::max(kGatedBytes, lower->szOsFile);
  vfs->mxPathname = lower->mxPathname;
  vfs->zName = name;
  vfs->xOpen = Open;
  vfs->xDelete = Delete;
  vfs->xAccess = Access;
  vfs->xFullPathname = FullPathname;
  vfs->xDlOpen = DlOpen;
  vfs->xDlError = DlError;
  vfs->xDlSym = DlSym;
  vfs->xDlClose = DlClose;
  vfs->xRandomness = Randomness;
  vfs->xSleep = Sleep;
  vfs->xCurrentTime = CurrentTime;
  vfs->xGetLastError = GetLastError;
  if (vfs->iVersion >= 2 && lower->xCurrentTimeInt64 != nullptr)
    vfs->xCurrentTimeInt64 = CurrentTimeInt64;
  if (vfs->iVersion >= 3) {
    vfs->xSetSystemCall = SetSystemCall;
    vfs->xGetSystemCall = GetSystemCall;
    vfs->xNextSystemCall = NextSystemCall;
  }
}

}  // namespace

int RegisterVfs(Default make_default) {
  return Guarded(SQLITE_ERROR, [&] {
    if (LowerVfs() == nullptr) {
      sqlite3_vfs* lower = sqlite3_vfs_find(nullptr);
      if (lower == nullptr) return SQLITE_ERROR;
      SetLowerVfs(lower);
      Fill(&g_named, "turso");
      Fill(&g_default, "turso-default");
    }
    if (sqlite3_vfs_find("turso") == nullptr) {
      int code = sqlite3_vfs_register(&g_named, 0);
      if (code != SQLITE_OK) return code;
    }
    if (make_default == Default::kYes) return sqlite3_vfs_register(&g_default, 1);
    return SQLITE_OK;
  });
}

}  // namespace turso
