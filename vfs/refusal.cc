#include "vfs/refusal.h"

#include <atomic>
#include <cstring>

#include "vfs/connection.h"
#include "vfs/gated_file.h"
#include "vfs/lower.h"
#include "vfs/result_codes.h"

namespace turso {

namespace {

struct RefusedFile {
  sqlite3_file base;
  Refusal* refusal;
};

std::atomic<bool> g_explained{false};

const Refusal* Of(sqlite3_file* file) { return reinterpret_cast<RefusedFile*>(file)->refusal; }

int Close(sqlite3_file* file) {
  delete Of(file);
  file->pMethods = nullptr;
  return SQLITE_OK;
}

// SQLite looks at the header before it has a lock, and takes a short file for an empty one.
int Read(sqlite3_file*, void* out, int count, sqlite3_int64) {
  std::memset(out, 0, static_cast<size_t>(count));
  return SQLITE_IOERR_SHORT_READ;
}

int Lock(sqlite3_file* file, int) { return Of(file)->code; }
int Unlock(sqlite3_file*, int) { return SQLITE_OK; }
int Write(sqlite3_file* file, const void*, int, sqlite3_int64) { return Of(file)->code; }
int Truncate(sqlite3_file* file, sqlite3_int64) { return Of(file)->code; }
int Sync(sqlite3_file* file, int) { return Of(file)->code; }
int FileSize(sqlite3_file* file, sqlite3_int64*) { return Of(file)->code; }
int CheckReservedLock(sqlite3_file* file, int*) { return Of(file)->code; }
int FileControl(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
int SectorSize(sqlite3_file*) { return 4096; }
int DeviceCharacteristics(sqlite3_file*) { return 0; }

constexpr sqlite3_io_methods kMethods = {
    .iVersion = 1,
    .xClose = Close,
    .xRead = Read,
    .xWrite = Write,
    .xTruncate = Truncate,
    .xSync = Sync,
    .xFileSize = FileSize,
    .xLock = Lock,
    .xUnlock = Unlock,
    .xCheckReservedLock = CheckReservedLock,
    .xFileControl = FileControl,
    .xSectorSize = SectorSize,
    .xDeviceCharacteristics = DeviceCharacteristics,
    .xShmMap = nullptr,
    .xShmLock = nullptr,
    .xShmBarrier = nullptr,
    .xShmUnmap = nullptr,
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

// What the file system refuses, SQLite has words of its own for: those stay.
bool IsOurs(Code code, const char* name) {
  if (code == Code::kIo || code == Code::kFull || code == Code::kNoMemory) return false;
  const std::string path = name;
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  int is_there = 1;
  if (!directory.empty()) {
    LowerVfs()->xAccess(LowerVfs(), directory.c_str(), SQLITE_ACCESS_EXISTS, &is_there);
  }
  return is_there != 0;
}

// As small as what gated_file.h has SQLite keep room for.
static_assert(sizeof(RefusedFile) <= sizeof(GatedFile));

}  // namespace

void ExplainRefusals() { g_explained = true; }

int Refuse(const Status& status, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  RememberOpenError(status);
  const int code = CodeAtOpen(status);
  if (!g_explained || !IsOurs(status.code(), name)) return code;
  reinterpret_cast<RefusedFile*>(file)->refusal = new Refusal{code, status.text()};
  file->pMethods = &kMethods;
  if (out_flags != nullptr) *out_flags = flags;
  return SQLITE_OK;
}

const Refusal* RefusalOf(sqlite3* db) {
  sqlite3_file* file = nullptr;
  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
      file == nullptr || file->pMethods != &kMethods) {
    return nullptr;
  }
  return Of(file);
}

}  // namespace turso
