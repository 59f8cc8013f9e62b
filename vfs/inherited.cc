// What a child of a fork has of its parent's open files: nothing. It may close them, as every
// program does at its end, and that must change nothing for the parent.

#include <sys/mman.h>

#include <cstring>
#include <mutex>

#include "vfs/connection.h"
#include "vfs/gated_file.h"
#include "vfs/guarded.h"

namespace turso {

namespace {

Session* SessionOfDatabase(sqlite3_file* file) {
  return reinterpret_cast<GatedFile*>(file)->session;
}
sqlite3_file* Lower(sqlite3_file* file) { return SessionOfDatabase(file)->lower; }
sqlite3_file* WalLower(sqlite3_file* file) { return reinterpret_cast<GatedWal*>(file)->lower; }

// turso_last_error() finds it where it finds why an open failed: the file is no replica of ours
// here.
int Refuse(sqlite3_file* file) {
  return Guarded(SQLITE_CANTOPEN, [&] {
    RememberOpenError(Status(
        Code::kInvalid, (*SessionOfDatabase(file)->database)->path +
                            ": this connection was opened before fork(), by the parent of this "
                            "process; close it before the fork, and open the database here"));
    return SQLITE_CANTOPEN;
  });
}

int Read(sqlite3_file*, void*, int, sqlite3_int64) { return SQLITE_IOERR_READ; }
int Write(sqlite3_file*, const void*, int, sqlite3_int64) { return SQLITE_IOERR_WRITE; }
int Truncate(sqlite3_file*, sqlite3_int64) { return SQLITE_IOERR_TRUNCATE; }
int Sync(sqlite3_file*, int) { return SQLITE_IOERR_FSYNC; }
int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  return Lower(file)->pMethods->xFileSize(Lower(file), size);
}
int Lock(sqlite3_file* file, int level) {
  return level > SQLITE_LOCK_SHARED ? SQLITE_BUSY : Refuse(file);
}
int Unlock(sqlite3_file*, int) { return SQLITE_OK; }
int CheckReservedLock(sqlite3_file*, int* out) {
  *out = 0;
  return SQLITE_OK;
}
int FileControl(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
int SectorSize(sqlite3_file* file) { return Lower(file)->pMethods->xSectorSize(Lower(file)); }
int DeviceCharacteristics(sqlite3_file* file) {
  return Lower(file)->pMethods->xDeviceCharacteristics(Lower(file));
}
int ShmMap(sqlite3_file*, int, int, int, void volatile** out) {
  *out = nullptr;
  return SQLITE_IOERR_SHMMAP;
}
// The locks are those of the parent's process; there is nothing to unlock.
int ShmLock(sqlite3_file* file, int, int, int flags) {
  return (flags & SQLITE_SHM_LOCK) != 0 ? Refuse(file) : SQLITE_OK;
}
void ShmBarrier(sqlite3_file*) { std::atomic_thread_fence(std::memory_order_seq_cst); }
int ShmUnmap(sqlite3_file* file, int) { return Lower(file)->pMethods->xShmUnmap(Lower(file), 0); }
int Fetch(sqlite3_file*, sqlite3_int64, int, void** out) {
  *out = nullptr;
  return SQLITE_OK;
}
int Unfetch(sqlite3_file* file, sqlite3_int64 offset, void* page) {
  return Lower(file)->pMethods->xUnfetch(Lower(file), offset, page);
}

int WalFileSize(sqlite3_file* file, sqlite3_int64* size) {
  return WalLower(file)->pMethods->xFileSize(WalLower(file), size);
}
int WalSectorSize(sqlite3_file* file) {
  return WalLower(file)->pMethods->xSectorSize(WalLower(file));
}
int WalDeviceCharacteristics(sqlite3_file* file) {
  return WalLower(file)->pMethods->xDeviceCharacteristics(WalLower(file));
}
int WalLock(sqlite3_file*, int) { return SQLITE_OK; }

constexpr sqlite3_io_methods Methods(int version) {
  return {version,
          CloseGatedFile,
          Read,
          Write,
          Truncate,
          Sync,
          FileSize,
          Lock,
          Unlock,
          CheckReservedLock,
          FileControl,
          SectorSize,
          DeviceCharacteristics,
          ShmMap,
          ShmLock,
          ShmBarrier,
          ShmUnmap,
          Fetch,
          Unfetch};
}
const sqlite3_io_methods kMethods2 = Methods(2);
const sqlite3_io_methods kMethods3 = Methods(3);

const sqlite3_io_methods kWalMethods = {1,
                                        CloseGatedWal,
                                        Read,
                                        Write,
                                        Truncate,
                                        Sync,
                                        WalFileSize,
                                        WalLock,
                                        WalLock,
                                        CheckReservedLock,
                                        FileControl,
                                        WalSectorSize,
                                        WalDeviceCharacteristics,
                                        nullptr,
                                        nullptr,
                                        nullptr,
                                        nullptr,
                                        nullptr,
                                        nullptr};

// A connection that is closed in a transaction with spilled pages takes them out of the wal-index
// (walCleanupHash in wal.c), which the parent's transaction goes on to use: the child gets a copy
// of its own at the same address.
void MakePrivate(void volatile* shared) {
  constexpr size_t kBytes = kWalIndexBlockBytes;
  void* copy = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (copy == MAP_FAILED) return;
  std::memcpy(copy, const_cast<void*>(shared), kBytes);
  if (mremap(copy, kBytes, kBytes, MREMAP_MAYMOVE | MREMAP_FIXED, const_cast<void*>(shared)) ==
      MAP_FAILED) {
    munmap(copy, kBytes);
  }
}

}  // namespace

void Disown(Session* session) {
  session->file->pMethods = session->file->pMethods->iVersion >= 3 ? &kMethods3 : &kMethods2;
  if (session->wal != nullptr) session->wal->pMethods = &kWalMethods;
  for (void volatile* block : session->blocks) {
    if (block != nullptr) MakePrivate(block);
  }
}

}  // namespace turso
