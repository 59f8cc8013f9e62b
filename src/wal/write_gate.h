// Who decides whether a transaction that SQLite has prepared may commit: the replica asks its
// primary, the primary asks its own log.
//
// The VFS calls it at the points of a write transaction, always from the thread that runs the
// statement:
//
//   TakeTurn --> WRITE locked --> EndTurn
//
//   WRITE locked --> Enter --> frames --> Commit --> commit header --> Leave --> WRITE unlocked
//                      |                     |                           ^
//                      +-- refused: unlock   +-- refused: rolled back ---+
//
//   (G1) No commit header reaches the file unless Commit returned OK for it.
//   (G2) After a restart of the log by SQLite, BeforeRestart was called with the state it discards.
// A gate serves the connections of many threads; Enter to Leave is serialised by SQLite's WRITE
// lock.

#ifndef TURSO_SRC_WAL_WRITE_GATE_H_
#define TURSO_SRC_WAL_WRITE_GATE_H_

#include <functional>

#include "src/base/clock.h"
#include "src/base/page_set.h"
#include "src/base/status.h"
#include "src/wal/apply.h"
#include "src/wal/wal_files.h"
#include "src/wal/wal_index.h"

namespace turso {

// True when the application wants a wait to end (sqlite3_interrupt).
using Interrupted = std::function<bool()>;

// Whether the transaction that wants to write has read before. Then SQLite does not call the busy
// handler for it, so that it is worth waiting a little for it here.
enum class HasRead { kNo, kYes };

class WriteGate {
 public:
  virtual ~WriteGate() = default;

  // Before WRITE is asked for by one who waits `since` then: whether nobody is to be let in first.
  // Holds for some milliseconds from each time that it is asked, until EndTurn.
  virtual bool TakeTurn(Instant) { return true; }
  virtual void EndTurn(Instant) {}
  // The WRITE lock is held through `files`. May apply newer pages: SQLite notices by itself. kBusy,
  // kConflict, kDenied, kReadOnly, kUnavailable, kInterrupted: the lock is given back and SQLite
  // told.
  virtual Status Enter(WalFiles* files, HasRead has_read, const Interrupted& interrupted) = 0;
  // The transaction as it will be, all its frames written but the header of the last. Never kBusy.
  virtual Status Commit(WalFiles* files, const PageSet& pages, const FramePlan& frames,
                        const Interrupted& interrupted) = 0;
  // WRITE is about to be released. Called once for each successful Enter, after a commit, a
  // rollback or neither.
  virtual void Leave(WalFiles* files) = 0;
  // The log is about to be restarted, by a writer or a checkpointer that holds WRITE and
  // READ1..READ4.
  virtual Status BeforeRestart(WalFiles* files) = 0;
  // CHECKPOINT was taken for a checkpoint, which a failure keeps from beginning.
  virtual Status MayCheckpoint() { return OkStatus(); }
  // A checkpoint is about to write to the database file, for the first time, which a failure keeps
  // it from; and has ended. CHECKPOINT is held.
  virtual Status BeforeCheckpoint() { return OkStatus(); }
  virtual void AfterCheckpoint() {}
};

}  // namespace turso

#endif  // TURSO_SRC_WAL_WRITE_GATE_H_
