// WalFiles over the stock "unix" VFS of the linked SQLite: what a connection without the shim would
// do.
//
// SHARED on the database file is held from Open until destruction, so nobody deletes the log
// meanwhile.

#ifndef TURSO_TESTS_SUPPORT_HOST_WAL_FILES_H_
#define TURSO_TESTS_SUPPORT_HOST_WAL_FILES_H_

#include <sqlite3.h>

#include <memory>
#include <string>

#include "src/wal/apply.h"
#include "src/wal/wal_files.h"

namespace turso {

class HostWalFiles : public WalFiles {
 public:
  // The database must exist; its log is created if absent.
  static Result<std::unique_ptr<HostWalFiles>> Open(const std::string& path);
  ~HostWalFiles() override;

  const std::string& path() const { return path_; }

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

 private:
  // An sqlite3_file of the host's, opened and closed with its owner.
  class File;

  explicit HostWalFiles(std::string path);

  std::string path_;
  const char* name_ = nullptr;  // From sqlite3_create_filename.
  std::unique_ptr<File> database_;
  std::unique_ptr<File> wal_;
};

// Takes WRITE, waiting up to ten seconds for it.
Status LockWrite(HostWalFiles* files);

// Apply() with WRITE taken (waiting up to ten seconds for it) and given back. Where SQLite must
// recover first, a connection of its own does. `through` forwards to `files`, and is what Apply()
// gets; null for `files` itself.
Result<WalIndexHeader> ApplyLocked(HostWalFiles* files, const PageSet& pages,
                                   const ApplyOptions& options, WalFiles* through = nullptr);

// The header of the wal-index, recovered by SQLite if need be.
Result<WalIndexHeader> CurrentHeader(HostWalFiles* files);

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_HOST_WAL_FILES_H_
