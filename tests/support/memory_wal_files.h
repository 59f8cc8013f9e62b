// WalFiles in memory: one database, its log and its wal-index, for one process. Locks are only
// counted.

#ifndef TURSO_TESTS_SUPPORT_MEMORY_WAL_FILES_H_
#define TURSO_TESTS_SUPPORT_MEMORY_WAL_FILES_H_

#include <algorithm>
#include <bitset>
#include <functional>
#include <memory>
#include <vector>

#include "src/wal/wal_files.h"

namespace turso {

class MemoryWalFiles : public WalFiles {
 public:
  Bytes database;
  Bytes wal;
  // Locks that somebody else holds.
  std::bitset<8> taken;
  // Locks that the code under test holds.
  std::bitset<8> held;
  std::function<void()> on_barrier;

  Status ReadDatabase(uint64_t offset, MutableByteView out) override {
    return Read(database, offset, out);
  }
  Result<uint64_t> DatabaseSize() override { return uint64_t{database.size()}; }
  Status SyncDatabase() override { return OkStatus(); }
  Status ReadWal(uint64_t offset, MutableByteView out) override { return Read(wal, offset, out); }
  Status WriteWal(uint64_t offset, ByteView bytes) override {
    if (wal.size() < offset + bytes.size()) wal.resize(offset + bytes.size());
    std::copy(bytes.begin(), bytes.end(), wal.begin() + static_cast<ptrdiff_t>(offset));
    return OkStatus();
  }
  Status SyncWal() override { return OkStatus(); }
  Result<uint64_t> WalSize() override { return uint64_t{wal.size()}; }
  Result<volatile uint8_t*> MapIndex(int block, Extend extend) override {
    const size_t i = static_cast<size_t>(block);
    if (i >= blocks_.size()) {
      if (extend == Extend::kNo) return static_cast<volatile uint8_t*>(nullptr);
      while (blocks_.size() <= i) blocks_.push_back(std::make_unique<Block>());
    }
    return static_cast<volatile uint8_t*>(blocks_[i]->bytes);
  }
  Result<bool> TryLock(WalLock first, int count) override {
    const std::bitset<8> mask = Mask(first, count);
    if ((taken & mask).any() || (held & mask).any()) return false;
    held |= mask;
    return true;
  }
  void Unlock(WalLock first, int count) override { held &= ~Mask(first, count); }
  void Barrier() override {
    if (on_barrier) on_barrier();
  }

  uint8_t* block(int i) { return blocks_[static_cast<size_t>(i)]->bytes; }
  size_t block_count() const { return blocks_.size(); }

 private:
  struct Block {
    alignas(8) uint8_t bytes[kWalIndexBlockBytes] = {};
  };

  static Status Read(const Bytes& file, uint64_t offset, MutableByteView out) {
    std::fill(out.begin(), out.end(), uint8_t{0});
    if (offset >= file.size()) return OkStatus();
    const size_t size = std::min<size_t>(out.size(), file.size() - static_cast<size_t>(offset));
    std::copy_n(file.begin() + static_cast<ptrdiff_t>(offset), size, out.begin());
    return OkStatus();
  }
  static std::bitset<8> Mask(WalLock first, int count) {
    return std::bitset<8>(((1u << count) - 1) << static_cast<int>(first));
  }

  std::vector<std::unique_ptr<Block>> blocks_;
};

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_MEMORY_WAL_FILES_H_
