// The locks of the wal-index, as the points of a transaction:
// https://sqlite.org/walformat.html#wal_locks

#include <algorithm>
#include <cstring>

#include "src/base/log.h"
#include "src/replica/writer_turn.h"
#include "vfs/gated_file.h"
#include "vfs/guarded.h"
#include "vfs/result_codes.h"

namespace turso {

namespace {

constexpr int kWrite = static_cast<int>(WalLock::kWrite);
constexpr int kCheckpoint = static_cast<int>(WalLock::kCheckpoint);
constexpr int kRead0 = static_cast<int>(WalLock::kRead0);
constexpr int kRead1 = static_cast<int>(WalLock::kRead1);
constexpr int kReadersBeyond0 = 4;
constexpr int kLockExclusive = SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE;
constexpr int kUnlockExclusive = SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE;

int Below(Session* session, int first, int count, int flags) {
  return session->lower->pMethods->xShmLock(session->lower, first, count, flags);
}

// Offsets in the wal-index header: https://sqlite.org/walformat.html#the_wal_index_header
constexpr size_t kFramesAt = 16;
constexpr size_t kFrameChecksumAt = 24;
constexpr size_t kSaltsAt = 32;

// The state of the log by its header, once that is mapped. Word by word, as it is written
// (src/wal/wal_index.h).
WalPosition LogNow(const Session* session) {
  const volatile uint8_t* index = session->index;
  if (index == nullptr) return session->snapshot;
  const auto word = [index](size_t at) {
    return __atomic_load_n(reinterpret_cast<const volatile uint32_t*>(index + at),
                           __ATOMIC_RELAXED);
  };
  WalPosition at;
  at.frames = word(kFramesAt);
  at.checksum = {word(kFrameChecksumAt), word(kFrameChecksumAt + 4)};
  const uint32_t salts[2] = {word(kSaltsAt), word(kSaltsAt + 4)};
  static_assert(sizeof salts == sizeof at.salts);
  std::memcpy(at.salts.data(), salts, sizeof salts);
  return at.frames == 0 ? WalPosition{} : at;
}

// The state that a read transaction sees. SQLite compares the header once more after it has the
// lock, and asks for the lock again if it has moved; so a torn copy here never lasts.
void NoteSnapshot(Session* session) { session->snapshot = LogNow(session); }

HasRead Reading(const Session* session) {
  if (session->connection == nullptr || *session->connection == nullptr) return HasRead::kNo;
  sqlite3* db = *session->connection;
#if SQLITE_VERSION_NUMBER >= 3034000
  if (sqlite3_libversion_number() >= 3034000) {
    return sqlite3_txn_state(db, nullptr) == SQLITE_TXN_NONE ? HasRead::kNo : HasRead::kYes;
  }
#endif
  return sqlite3_get_autocommit(db) != 0 ? HasRead::kNo : HasRead::kYes;
}

int Refuse(const Database& database, const std::string& why) {
  Status refused(Code::kReadOnly, "writing " + database.path + ": " + why);
  if (database.replica != nullptr) {
    database.replica->Refused(refused);
  } else {
    Log(LogLevel::kError, refused.text());
  }
  return CodeAtLock(refused, HasRead::kYes);
}

// The lock, if it is this connection's turn.
int TryWrite(Session* session) {
  const bool is_next = (**session->database).gate->TakeTurn(session->waits_since);
  return is_next ? Below(session, kWrite, 1, kLockExclusive) : SQLITE_BUSY;
}

// Also one that gets the lock may have to come again: refused by the primary, or behind an old
// snapshot.
void NoteTry(Session* session) {
  const Instant now = Instant::Now();
  if (now - session->waits_since > WriterTurn::kWaitMax) session->write_tries = 0;
  if (session->write_tries++ == 0) session->waits_since = now;
}

// The lock is also held for some milliseconds while pages from the primary are applied. To one that
// has read SQLite would report that as busy at once, though nobody writes; others it tries again.
int LockWrite(Session* session, HasRead has_read) {
  constexpr int kTries = 100;
  NoteTry(session);
  for (int i = 0;; i++) {
    int code = TryWrite(session);
    const bool busy = (code & 0xff) == SQLITE_BUSY;
    if (!busy || has_read == HasRead::kNo || i == kTries) {
      // Nobody knows whether this one comes again.
      (**session->database).gate->EndTurn(session->waits_since);
      return code;
    }
    LowerVfs()->xSleep(LowerVfs(), 1000);
  }
}

bool RunsWriter(const Session* session) {
  if (session->connection == nullptr || *session->connection == nullptr) return false;
  sqlite3* db = *session->connection;
  for (sqlite3_stmt* statement = sqlite3_next_stmt(db, nullptr); statement != nullptr;
       statement = sqlite3_next_stmt(db, statement)) {
    if (sqlite3_stmt_busy(statement) != 0 && sqlite3_stmt_readonly(statement) == 0) return true;
  }
  return false;
}

// A statement that found another one writing comes again from its busy handler, with a new
// snapshot. Whoever waits for WRITE behind that snapshot has waited in vain: who was in front has
// made it old. And whoever sleeps as long as busy handlers do, finds one that writes in a loop
// every time, since the lock is held while the primary is asked. So the waiting is done here,
// before the snapshot, with many looks, and who looks is next. The longer it waits, the longer it
// looks.
void AwaitTurn(Session* session) {
  constexpr int kTriesMax = 100;
  constexpr int kTriesEach = 20;
  if (!RunsWriter(session)) session->write_tries = 0;
  for (int i = std::min(session->write_tries * kTriesEach, kTriesMax); i > 0; i--) {
    if ((TryWrite(session) & 0xff) != SQLITE_BUSY) {
      Below(session, kWrite, 1, kUnlockExclusive);
      return;
    }
    LowerVfs()->xSleep(LowerVfs(), 1000);
  }
}

int BeginWrite(Session* session) {
  Database& database = **session->database;
  if (session->generation != ForkGeneration()) {
    Log(LogLevel::kError,
        "writing " + database.path +
            ": this connection was opened before fork(); the child needs its own");
    return SQLITE_READONLY;
  }
  if (WritesElsewhere(session)) {
    return Refuse(database,
                  "another replica is being written in this transaction, and no two primaries "
                  "could make that atomic; commit between them");
  }
  const HasRead has_read = Reading(session);
  int code = LockWrite(session, has_read);
  if (code != SQLITE_OK) return code;
  Status entered = Asked(
      [&] { return database.gate->Enter(&*session->files, has_read, InterruptedBy(session)); });
  if (!entered.ok()) {
    Below(session, kWrite, 1, kUnlockExclusive);
    return CodeAtLock(entered, has_read);
  }
  session->entered = true;
  session->agreed = false;
  session->header_held = false;
  return SQLITE_OK;
}

void EndWrite(Session* session) {
  if (!session->entered) return;
  (void)Asked([&] {
    (**session->database).gate->Leave(&*session->files);
    return OkStatus();
  });
  // Who could write has had its turn, also if it rolls back.
  const bool was_stale = !session->agreed && !(session->snapshot == LogNow(session));
  if (!was_stale) session->write_tries = 0;
  session->entered = false;
  session->agreed = false;
  session->header_held = false;
}

// SQLite up to 3.51.2 restarts the log without the CHECKPOINT lock, so that a checkpointer that
// read the header before goes on with stale numbers. Taking the lock for it closes that; SQLite
// just appends when told that it is busy.
int LockForRestart(Session* session) {
  if (!session->checkpoint_held) {
    int code = Below(session, kCheckpoint, 1, kLockExclusive);
    if (code != SQLITE_OK) return code;
    session->checkpoint_borrowed = true;
  }
  int code = Below(session, kRead1, kReadersBeyond0, kLockExclusive);
  if (code == SQLITE_OK) {
    Status ready =
        Asked([&] { return (**session->database).gate->BeforeRestart(&*session->files); });
    if (ready.ok()) return SQLITE_OK;
    Below(session, kRead1, kReadersBeyond0, kUnlockExclusive);
    code = SQLITE_BUSY;
  }
  if (session->checkpoint_borrowed) {
    session->checkpoint_borrowed = false;
    Below(session, kCheckpoint, 1, kUnlockExclusive);
  }
  return code;
}

// Whether a read transaction begins: not the new lock behind a restart inside a write, not a probe
// for a running recovery, not a connection of ours, and not the second try of one that was told so
// before.
bool BeginsRead(Session* session, int first) {
  if (first < kRead0 || session->read_locks != 0 || session->entered || session->is_ours)
    return false;
  bool again = session->retry_expected;
  session->retry_expected = false;
  return !again;
}

int LockShared(Session* session, int first, int count, int flags) {
  Database& database = **session->database;
  if (first >= kRead0 && session->write_tries != 0 && session->read_locks == 0 &&
      !session->entered && !session->checkpoint_held) {
    AwaitTurn(session);
  }
  const bool bounded = database.replica != nullptr && database.replica->has_staleness_bound();
  WalPosition before;
  if (bounded && first >= kRead0) {
    NoteSnapshot(session);
    before = session->snapshot;
    if (BeginsRead(session, first)) {
      Status fresh = Asked([&] { return database.replica->BeforeRead(InterruptedBy(session)); });
      if (!fresh.ok()) return CodeAtRead(fresh);
    }
  }
  int code = Below(session, first, count, flags);
  if (code == SQLITE_OK && first >= kRead0) {
    session->read_locks |= 1u << (first - kRead0);
    NoteSnapshot(session);
    // SQLite's copy of the header is no newer than ours from before: it will see the difference and
    // try again.
    if (bounded) session->retry_expected = !(before == session->snapshot);
  }
  return code;
}

int LockExclusive(Session* session, int first, int count, int flags) {
  // A write: it has a snapshot, and is no checkpoint. A checkpoint holds CHECKPOINT; recovery holds
  // neither.
  if (first == kWrite && count == 1 && session->read_locks != 0 && !session->checkpoint_held) {
    return BeginWrite(session);
  }
  if (first == kRead1 && count == kReadersBeyond0) return LockForRestart(session);
  int code = Below(session, first, count, flags);
  if (code != SQLITE_OK || first != kCheckpoint) return code;
  // A recovery takes it together with RECOVER.
  Status may =
      count > 1 ? OkStatus() : Asked([&] { return (**session->database).gate->MayCheckpoint(); });
  if (!may.ok()) {
    Below(session, first, count, kUnlockExclusive);
    return SQLITE_BUSY;
  }
  session->checkpoint_held = true;
  session->log_synced = false;
  return SQLITE_OK;
}

int UnlockExclusive(Session* session, int first, int count, int flags) {
  if (first == kWrite) EndWrite(session);
  if (first == kCheckpoint) {
    if (session->checkpoint_told) (**session->database).gate->AfterCheckpoint();
    session->checkpoint_told = session->checkpoint_held = false;
  }
  int code = Below(session, first, count, flags);
  if (first == kRead1 && count == kReadersBeyond0 && session->checkpoint_borrowed) {
    session->checkpoint_borrowed = false;
    Below(session, kCheckpoint, 1, kUnlockExclusive);
  }
  return code;
}

}  // namespace

int AnnounceCheckpoint(Session* session) {
  if (session->checkpoint_told) return SQLITE_OK;
  return Guarded(SQLITE_IOERR_FSTAT, [&] {
    Status begun = (**session->database).gate->BeforeCheckpoint();
    session->checkpoint_told = begun.ok();
    return begun.ok() ? SQLITE_OK : SQLITE_IOERR_FSTAT;
  });
}

int LockIndex(Session* session, int first, int count, int flags) {
  if ((flags & SQLITE_SHM_LOCK) != 0) {
    return (flags & SQLITE_SHM_SHARED) != 0 ? LockShared(session, first, count, flags)
                                            : LockExclusive(session, first, count, flags);
  }
  if ((flags & SQLITE_SHM_SHARED) != 0) {
    if (first >= kRead0) session->read_locks &= ~(1u << (first - kRead0));
    return Below(session, first, count, flags);
  }
  return UnlockExclusive(session, first, count, flags);
}

}  // namespace turso
