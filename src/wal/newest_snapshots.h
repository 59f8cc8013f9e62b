// The readers whose snapshot is the newest state of the log: those that could still write. To them
// the next state, also one of the same content, is SQLITE_BUSY_SNAPSHOT.
//
// A reader holds the lock of a read mark, and takes one that names the newest frame if there is
// one: https://sqlite.org/walformat.html#wal_locks. Whoever has all marks of the newest frame
// exclusively knows that there is no such reader; one that comes finds the mark locked, and SQLite
// tries again until it is free or the log has moved.
//   (NS1) What it says errs to one side only while marks are to be had: a reader that found all
//         four in the hands of older snapshots goes by one of theirs, and is not told from them.

#ifndef TURSO_SRC_WAL_NEWEST_SNAPSHOTS_H_
#define TURSO_SRC_WAL_NEWEST_SNAPSHOTS_H_

#include <vector>

#include "src/base/status.h"
#include "src/wal/wal_files.h"

namespace turso {

// WRITE held, from construction to destruction.
class NewestSnapshots {
 public:
  // Room for all marks first: nothing may fail between a lock and its entry.
  explicit NewestSnapshots(WalFiles* files) : files_(files) { held_.reserve(4); }
  ~NewestSnapshots() { Release(); }
  NewestSnapshots(const NewestSnapshots&) = delete;
  NewestSnapshots& operator=(const NewestSnapshots&) = delete;

  // True: there are none, and none begins until Release. False: there is one, or it cannot be told;
  // nothing is held.
  Result<bool> KeepOff();
  void Release();

 private:
  Result<bool> LockMark(int mark);
  Result<bool> LockAllOf(uint32_t newest);

  WalFiles* files_;
  std::vector<int> held_;
};

}  // namespace turso

#endif  // TURSO_SRC_WAL_NEWEST_SNAPSHOTS_H_
