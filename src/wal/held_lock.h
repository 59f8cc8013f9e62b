// Exclusive locks of the wal-index for the length of a scope, however it is left: also by an
// exception, where memory runs out.

#ifndef TURSO_SRC_WAL_HELD_LOCK_H_
#define TURSO_SRC_WAL_HELD_LOCK_H_

#include "src/base/status.h"
#include "src/wal/wal_files.h"

namespace turso {

class HeldLock {
 public:
  HeldLock(WalFiles* files, WalLock first, int count)
      : files_(files), first_(first), count_(count) {}
  HeldLock(const HeldLock&) = delete;
  HeldLock& operator=(const HeldLock&) = delete;
  ~HeldLock() { Release(); }

  // False when somebody else has one of them.
  Result<bool> Try() {
    Result<bool> got = files_->TryLock(first_, count_);
    held_ = got.ok() && *got;
    return got;
  }
  void Release() {
    if (held_) files_->Unlock(first_, count_);
    held_ = false;
  }

 private:
  WalFiles* files_;
  WalLock first_;
  int count_;
  bool held_ = false;
};

}  // namespace turso

#endif  // TURSO_SRC_WAL_HELD_LOCK_H_
