#include "src/wal/newest_snapshots.h"

#include <optional>

#include "src/wal/wal_index.h"

namespace turso {

namespace {

constexpr int kFirstMark = 1;  // Mark 0 is for readers of the database file alone.
constexpr int kLastMark = 4;

WalLock LockOf(int mark) { return static_cast<WalLock>(static_cast<int>(WalLock::kRead0) + mark); }

}  // namespace

Result<bool> NewestSnapshots::LockMark(int mark) {
  Result<bool> locked = files_->TryLock(LockOf(mark), 1);
  if (locked.ok() && *locked) held_.push_back(mark);
  return locked;
}

Result<bool> NewestSnapshots::LockAllOf(uint32_t newest) {
  WalIndex index(files_);
  for (int mark = kFirstMark; mark <= kLastMark; mark++) {
    Result<uint32_t> frame = index.ReadMark(mark);
    if (!frame.ok()) return frame.status();
    if (*frame != newest) continue;
    Result<bool> locked = LockMark(mark);
    if (!locked.ok() || !*locked) return locked;
  }
  if (!held_.empty()) return true;
  // As a reader would: a mark that nobody needs is made one of the newest frame.
  for (int mark = kFirstMark; mark <= kLastMark; mark++) {
    Result<bool> locked = LockMark(mark);
    if (!locked.ok()) return locked;
    if (!*locked) continue;
    TURSO_RETURN_IF_ERROR(index.SetReadMark(mark, newest));
    return true;
  }
  return false;
}

Result<bool> NewestSnapshots::KeepOff() {
  Result<std::optional<WalIndexHeader>> header = WalIndex(files_).ReadHeader();
  if (!header.ok()) return header.status();
  if (!header->has_value()) return Status(Code::kBusy, "SQLite must recover the wal-index first");
  Result<bool> off = LockAllOf((*header)->frames);
  if (!off.ok() || !*off) Release();
  return off;
}

void NewestSnapshots::Release() {
  for (int mark : held_) files_->Unlock(LockOf(mark), 1);
  held_.clear();
}

}  // namespace turso
