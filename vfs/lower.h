// The VFS below: the host's default one at the time when "turso" was registered, and handles of our
// own on it.

#ifndef TURSO_VFS_LOWER_H_
#define TURSO_VFS_LOWER_H_

#include <memory>
#include <string>

#include "src/wal/wal_files.h"
#include "vfs/sqlite.h"

namespace turso {

// Null until RegisterVfs.
sqlite3_vfs* LowerVfs();
void SetLowerVfs(sqlite3_vfs* vfs);

// WalFiles over two open files of the VFS below, which somebody else closes. The database file's
// locks are those of its handle.
class LowerFiles : public WalFiles {
 public:
  LowerFiles(sqlite3_file* database, sqlite3_file* wal, std::string path)
      : database_(database), wal_(wal), path_(std::move(path)) {}

  Status ReadDatabase(uint64_t offset, MutableByteView out) override;
  Result<uint64_t> DatabaseSize() override;
  Status SyncDatabase() override;
  Status ReadWal(uint64_t offset, MutableByteView out) override;
  Status WriteWal(uint64_t offset, ByteView bytes) override;
  Status SyncWal() override;
  Result<uint64_t> WalSize() override;
  Result<volatile uint8_t*> MapIndex(int block, Extend extend) override;
  Result<bool> TryLock(WalLock first, int count) override;
  void Unlock(WalLock first, int count) override;
  void Barrier() override;

  void set_wal(sqlite3_file* wal) { wal_ = wal; }

 protected:
  Status Failure(const char* doing, int code) const;

  sqlite3_file* database_;
  sqlite3_file* wal_;
  std::string path_;
};

}  // namespace turso

#endif  // TURSO_VFS_LOWER_H_
