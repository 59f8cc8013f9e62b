// WalFiles that passes every call on, and lets a test watch it, refuse it or die in it.

#ifndef TURSO_TESTS_SUPPORT_SCRIPTED_WAL_FILES_H_
#define TURSO_TESTS_SUPPORT_SCRIPTED_WAL_FILES_H_

#include <functional>
#include <string>

#include "src/wal/wal_files.h"

namespace turso {

class ScriptedWalFiles : public WalFiles {
 public:
  explicit ScriptedWalFiles(WalFiles* below) : below_(below) {}

  // Called before each call, with its name. A failure is what the call returns; a write that fails
  // has written its first half. Unlock and Barrier cannot fail.
  std::function<Status(const std::string& call)> on_call;
  // Whether somebody else has that lock.
  std::function<bool(WalLock first, int count)> is_taken;

  Status ReadDatabase(uint64_t offset, MutableByteView out) override {
    TURSO_RETURN_IF_ERROR(Called("ReadDatabase"));
    return below_->ReadDatabase(offset, out);
  }
  Result<uint64_t> DatabaseSize() override {
    TURSO_RETURN_IF_ERROR(Called("DatabaseSize"));
    return below_->DatabaseSize();
  }
  Status SyncDatabase() override {
    TURSO_RETURN_IF_ERROR(Called("SyncDatabase"));
    return below_->SyncDatabase();
  }
  Status ReadWal(uint64_t offset, MutableByteView out) override {
    TURSO_RETURN_IF_ERROR(Called("ReadWal"));
    return below_->ReadWal(offset, out);
  }
  Status WriteWal(uint64_t offset, ByteView bytes) override {
    if (Status failed = Called("WriteWal"); !failed.ok()) {
      TURSO_RETURN_IF_ERROR(below_->WriteWal(offset, bytes.first(bytes.size() / 2)));
      return failed;
    }
    return below_->WriteWal(offset, bytes);
  }
  Status SyncWal() override {
    TURSO_RETURN_IF_ERROR(Called("SyncWal"));
    return below_->SyncWal();
  }
  Result<uint64_t> WalSize() override {
    TURSO_RETURN_IF_ERROR(Called("WalSize"));
    return below_->WalSize();
  }
  Result<volatile uint8_t*> MapIndex(int block, Extend extend) override {
    TURSO_RETURN_IF_ERROR(Called("MapIndex"));
    Result<volatile uint8_t*> mapped = below_->MapIndex(block, extend);
    if (mapped.ok() && *mapped && on_map) on_map(*mapped);
    return mapped;
  }
  Result<bool> TryLock(WalLock first, int count) override {
    TURSO_RETURN_IF_ERROR(Called("TryLock"));
    if (is_taken && is_taken(first, count)) return false;
    return below_->TryLock(first, count);
  }
  void Unlock(WalLock first, int count) override {
    (void)Called("Unlock").ok();
    below_->Unlock(first, count);
  }
  void Barrier() override {
    (void)Called("Barrier").ok();
    below_->Barrier();
  }

  // Called for each block that was mapped.
  std::function<void(volatile uint8_t* block)> on_map;

 private:
  Status Called(const char* name) { return on_call ? on_call(name) : OkStatus(); }

  WalFiles* below_;
};

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_SCRIPTED_WAL_FILES_H_
