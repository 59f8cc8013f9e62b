// What a failure is to SQLite: result codes, by the point at which SQLite learns of it.
//
// What SQLite makes of a code depends on that point, not only on the code:
//   at the read    xShmLock of READ. SQLITE_BUSY would make SQLite try a hundred times and then
//                  answer SQLITE_PROTOCOL.
//   at the lock    xShmLock of WRITE. SQLITE_BUSY goes through the busy handler; SQLITE_IOERR and
//                  SQLITE_FULL roll the whole transaction back, others leave it open for reading.
//   at the commit  The commit header. Every code rolls the transaction back but exactly
//                  SQLITE_BUSY: SQLite keeps it open, and a second COMMIT goes on with a broken
//                  checksum chain.
//   elsewhere      Functions and pragmas: a sentence goes with the code.
//
// Never SQLITE_CORRUPT and never SQLITE_NOTADB: what the network said is no reason to delete a
// file, as some hosts do. Pure; any thread. For users: extension/README.md.

#ifndef TURSO_VFS_RESULT_CODES_H_
#define TURSO_VFS_RESULT_CODES_H_

#include "src/base/status.h"
#include "src/wal/write_gate.h"
#include "vfs/sqlite.h"

namespace turso {

// A commit was sent and no answer came: it may or may not be in the primary's history. SQLite
// numbers its own SQLITE_IOERR_* from 1 upwards and is at 35 after 25 years.
inline constexpr int kIoErrOutcomeUnknown = SQLITE_IOERR | (99 << 8);

// For functions, pragmas and all that is not one of the points below.
inline int SqliteCode(const Status& status) {
  switch (status.code()) {
    case Code::kOk: return SQLITE_OK;
    case Code::kBusy: return SQLITE_BUSY;
    case Code::kConflict: return SQLITE_BUSY_SNAPSHOT;
    case Code::kDenied: return SQLITE_AUTH;
    case Code::kReadOnly: return SQLITE_READONLY;
    case Code::kUnavailable:
    case Code::kCorrupt:
    case Code::kIo: return SQLITE_IOERR;
    case Code::kOutcomeUnknown: return kIoErrOutcomeUnknown;
    case Code::kFull: return SQLITE_FULL;
    case Code::kNoMemory: return SQLITE_NOMEM;
    case Code::kInterrupted: return SQLITE_INTERRUPT;
    case Code::kNotFound:  // Not SQLITE_NOTFOUND: from a file control that means "no such pragma".
    case Code::kInvalid: return SQLITE_ERROR;
  }
  return SQLITE_INTERNAL;
}

// At the open of a database: SQLite has no words of ours to go with it, so the code says that it is
// about the file.
inline int CodeAtOpen(const Status& status) {
  switch (status.code()) {
    case Code::kUnavailable:
    case Code::kNotFound:
    case Code::kOutcomeUnknown:
    case Code::kCorrupt:
    case Code::kIo:
    case Code::kBusy:
    case Code::kConflict:
    case Code::kInvalid: return SQLITE_CANTOPEN;
    default: return SqliteCode(status);
  }
}

// At the read lock, where a bound on staleness is kept. Never SQLITE_BUSY nor one of its kind.
inline int CodeAtRead(const Status& status) {
  switch (status.code()) {
    case Code::kBusy:
    case Code::kConflict:
    case Code::kNotFound:
    case Code::kOutcomeUnknown:  // Of a commit; this transaction has none.
      return SQLITE_IOERR;
    default: return SqliteCode(status);
  }
}

// At the lock. A primary that is not to be reached is SQLITE_IOERR to a transaction that begins
// with this write. To one that has read it is SQLITE_CANTOPEN, since SQLITE_IOERR would take its
// snapshot away.
inline int CodeAtLock(const Status& status, HasRead has_read) {
  switch (status.code()) {
    case Code::kUnavailable:
    case Code::kNotFound:
    case Code::kOutcomeUnknown:  // Of an earlier commit; of this one nothing was sent.
      return has_read == HasRead::kYes ? SQLITE_CANTOPEN : SQLITE_IOERR;
    default: return SqliteCode(status);
  }
}

// At the commit header. Never exactly SQLITE_BUSY.
inline int CodeAtCommit(const Status& status) {
  switch (status.code()) {
    case Code::kBusy: return SQLITE_BUSY_SNAPSHOT;
    case Code::kNotFound: return SQLITE_IOERR;
    default: return SqliteCode(status);
  }
}

}  // namespace turso

#endif  // TURSO_VFS_RESULT_CODES_H_
