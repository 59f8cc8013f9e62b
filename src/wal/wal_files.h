// The files of one WAL-mode database, reached under SQLite's own locks.
//
// The implementation goes through the host's VFS objects, because POSIX locks belong to the
// process: a file opened by hand and closed again would drop the locks of every connection. Whoever
// calls holds what each function asks for. All offsets and sizes are in bytes. Not for use by
// several threads at once unless the implementation says so.

#ifndef TURSO_SRC_WAL_WAL_FILES_H_
#define TURSO_SRC_WAL_WAL_FILES_H_

#include <cstddef>
#include <cstdint>

#include "src/base/bytes.h"
#include "src/base/status.h"

namespace turso {

// The eight lock bytes of the wal-index: https://sqlite.org/walformat.html#wal_locks
enum class WalLock : int { kWrite = 0, kCheckpoint = 1, kRecover = 2, kRead0 = 3, kRead1 = 4 };

// The wal-index comes in blocks of this many bytes.
inline constexpr int kWalIndexBlockBytes = 32768;

// No read or write is longer: a frame with the largest page. SQLite's unix VFS takes lengths modulo
// 128 KiB, and fills what it did not read with zeros.
inline constexpr size_t kMoveBytesMax = 65536 + 24;

enum class Extend { kNo, kYes };

class WalFiles {
 public:
  virtual ~WalFiles() = default;

  // Bytes past the end of the file read as zeros.
  virtual Status ReadDatabase(uint64_t offset, MutableByteView out) = 0;
  virtual Result<uint64_t> DatabaseSize() = 0;
  virtual Status SyncDatabase() = 0;

  virtual Status ReadWal(uint64_t offset, MutableByteView out) = 0;
  virtual Status WriteWal(uint64_t offset, ByteView bytes) = 0;
  virtual Status SyncWal() = 0;
  virtual Result<uint64_t> WalSize() = 0;

  // Block `block` (0, 1, ...) of the wal-index as shared memory, valid until the files are closed.
  // Null when it is not there and `extend` is kNo.
  virtual Result<volatile uint8_t*> MapIndex(int block, Extend extend) = 0;
  // Exclusive, `count` locks from `first`, never waits. False when somebody else has one of them.
  virtual Result<bool> TryLock(WalLock first, int count) = 0;
  virtual void Unlock(WalLock first, int count) = 0;
  virtual void Barrier() = 0;
  // kIo if one of the names leads to another file than the one that is open, or to none.
  virtual Status CheckPlaces() { return OkStatus(); }
};

}  // namespace turso

#endif  // TURSO_SRC_WAL_WAL_FILES_H_
