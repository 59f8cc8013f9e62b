// The VFS below: the host's default one at the time when "turso" was registered, and handles of our
// own on it.

#ifndef TURSO_VFS_LOWER_H_
#define TURSO_VFS_LOWER_H_

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "src/replica/content.h"
#include "src/replica/replica.h"
#include "src/wal/wal_files.h"
#include "vfs/sqlite.h"

namespace turso {

// Null until RegisterVfs.
sqlite3_vfs* LowerVfs();
void SetLowerVfs(sqlite3_vfs* vfs);

// A file object of the VFS below, in memory of its own; closed with it.
class LowerFile {
 public:
  LowerFile();
  ~LowerFile() { Close(); }
  LowerFile(const LowerFile&) = delete;
  LowerFile& operator=(const LowerFile&) = delete;

  sqlite3_file* get() { return reinterpret_cast<sqlite3_file*>(room_.get()); }
  // SQLite's codes. SQLite wants a file closed also where its open failed and left methods: done.
  int Open(const char* name, int flags, int* out_flags = nullptr);
  int Close();

 private:
  std::unique_ptr<uint8_t[]> room_;
};

// WalFiles over two open files of the VFS below, which somebody else closes. The database file's
// locks are those of its handle.
class LowerFiles : public WalFiles {
 public:
  LowerFiles(sqlite3_file* database, sqlite3_file* wal, std::string path);
  ~LowerFiles() override;
  LowerFiles(const LowerFiles&) = delete;
  LowerFiles& operator=(const LowerFiles&) = delete;
  // Whether handles of this process, on another file than the one that `path` has now, are open on
  // the very log or wal-index that it has.
  static bool OthersHaveLogOrIndexOf(const std::string& path);

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
  Status CheckPlaces() override;

  void set_wal(sqlite3_file* wal) { wal_ = wal; }
  // What is open is the file that has this name now: the database with this suffix.
  enum Place { kDatabase, kLog, kIndex, kPlaces };
  void NotePlace(Place place);
  // kIo if the name leads to another file than the one that was noted, or to none.
  Status CheckPlace(Place place) const;

 protected:
  Status Failure(const char* doing, int code) const;

  sqlite3_file* database_;
  sqlite3_file* wal_;
  std::string path_;

 private:
  std::array<std::optional<Footprint>, kPlaces> places_;  // Changed with RegistryMutex held.
};

// What CheckPlaces says of `name`, a file of `database`.
Status Replaced(const std::string& name, const std::string& database);

// How the database at `path` is found before a connection of ours opens it.
Result<ReplicaHost::Found> LookAtDatabase(const std::string& path);
// Whether no connection of any process uses it.
Result<bool> IsUnused(const std::string& path);
// Lets stock SQLite roll back what a dead program left half done, and bring it into WAL mode.
Status EnterWalMode(const std::string& path);

}  // namespace turso

#endif  // TURSO_VFS_LOWER_H_
