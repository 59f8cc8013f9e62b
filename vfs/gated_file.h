// The database file and the WAL of a gated database, as SQLite's pager has them open.
//
//   sqlite3_file given by SQLite:   GatedFile or GatedWal -> Session -> files of the VFS below
//
// The files of the VFS below are not behind ours, as in most shims, but elsewhere, so that our
// szOsFile is theirs. PROJ's VFS, for one, computes with the szOsFile of whatever VFS is the
// default one at the moment, and so must not see it change when we become that.
//
// The database file's wal-index locks show where a transaction stands:
//
//   L S READk ............ a read transaction begins: its snapshot is noted
//   L X WRITE  + READk ... a write transaction: gate->Enter
//                          (with CHECKPOINT: a checkpoint; with neither: recovery)
//   L X READ1..READ4 ..... the log is about to be restarted: CHECKPOINT is taken as well,
//                          gate->BeforeRestart
//   U X WRITE ............ gate->Leave
//
// and the WAL's writes show the commit: a frame header that names a database size commits. It is
// held back until its page has been written, the transaction's pages are collected, and the gate
// has agreed.

#ifndef TURSO_VFS_GATED_FILE_H_
#define TURSO_VFS_GATED_FILE_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "src/base/clock.h"
#include "src/wal/wal.h"
#include "vfs/database.h"
#include "vfs/lower.h"
#include "vfs/sqlite.h"

namespace turso {

struct GatedWal;

// What we know of one connection's database file.
struct Session {
  std::unique_ptr<DatabaseUse> database;
  LowerFile lower_file;
  std::optional<LowerFile> lower_wal;
  sqlite3_file* lower = nullptr;
  sqlite3_file* file = nullptr;    // What SQLite has: over `lower`.
  sqlite3_file* wal = nullptr;     // The same of the WAL; null if it is not open.
  const char* name = nullptr;      // The pointer that SQLite's pager gave: also identifies its WAL.
  sqlite3** connection = nullptr;  // SQLITE_FCNTL_PDB.
  std::optional<LowerFiles> files;          // Over `lower`, and over the WAL's once that is open.
  const volatile uint8_t* index = nullptr;  // Block 0 of the wal-index, once mapped.
  std::vector<void volatile*> blocks;       // All that are mapped, of kWalIndexBlockBytes each.
  uint32_t page_size = 0;                   // WAL mode keeps it for ever.
  int generation = 0;

  unsigned read_locks = 0;  // Bit k: READk held shared.
  bool checkpoint_held = false;
  bool log_synced = false;           // Since CHECKPOINT is held.
  bool checkpoint_borrowed = false;  // We took CHECKPOINT for a restart.
  bool checkpoint_told = false;      // The gate knows that this checkpoint writes.
  std::atomic<bool> entered{false};  // gate->Enter succeeded, WRITE held. Others look at it.
  WalPosition snapshot;              // Of the newest shared READk lock.
  bool retry_expected = false;       // The log moved under the last READk lock: SQLite asks again.
  bool is_ours = false;              // An internal connection.
  int write_tries = 0;               // To write, since the last turn: one that found it could.
  Instant waits_since;               // The first of them.

  // The commit header that is held back.
  bool header_held = false;
  bool agreed = false;  // The gate has agreed to this transaction's commit.
  uint64_t held_offset = 0;
  std::array<uint8_t, kFrameHeaderBytes> held{};
};

struct GatedFile {
  sqlite3_file base;
  Session* session;
};

struct GatedWal {
  sqlite3_file base;
  Session* session;
  sqlite3_file* lower;
};

// What SQLite must have room for; the VFS below asks for more.
constexpr int kGatedBytes = std::max<int>(sizeof(GatedFile), sizeof(GatedWal));

// Opens `name` on the VFS below and puts us over it. SQLite's code.
int OpenGatedFile(const char* name, sqlite3_file* file, int flags, int* out_flags,
                  std::unique_ptr<DatabaseUse> database);
int CloseGatedFile(sqlite3_file* file);
// The WAL of an open database file: found by the name's pointer.
Session* SessionOfWal(const char* wal_name);
int OpenGatedWal(const char* name, sqlite3_file* file, int flags, int* out_flags, Session* session);
int CloseGatedWal(sqlite3_file* file);

// Null if `file` is not a GatedFile.
Session* SessionOf(sqlite3_file* file);

// wal_lock.cc
int LockIndex(Session* session, int first, int count, int flags);
// Tells the gate of a checkpoint, before it writes to the database file. SQLite's code.
int AnnounceCheckpoint(Session* session);
// wal_commit.cc
int WriteWal(Session* session, sqlite3_file* lower, const void* bytes, int count,
             sqlite3_int64 offset);
// A failure behind the gate's yes is no clean failure: the transaction is at the primary.
int BehindAgreement(const Session* session, int code);
// wal_chain.cc
// Whether this read of the WAL asks for the checksum from which headers are written anew at a
// commit; and what to do about it once it has been read: `seed` is what SQLite will get. SQLite's
// code.
bool IsChainSeed(const Session* session, int count, sqlite3_int64 offset);
int MendChain(Session* session, sqlite3_int64 offset, uint8_t* seed);
// file_control.cc
int ControlFile(Session* session, int op, void* argument);

// inherited.cc
// In the child of a fork: from now on every call on the session's files is refused, and what SQLite
// still writes into its copy of the wal-index is seen by nobody else.
void Disown(Session* session);
// All that are open, with RegistryMutex held at the fork.
void DisownOpenFiles();

// Ends early when the application calls sqlite3_interrupt, where the host lets us see it.
Interrupted InterruptedBy(Session* session);

// Other sessions of `session`'s connection that are inside a write transaction.
bool WritesElsewhere(const Session* session);

}  // namespace turso

#endif  // TURSO_VFS_GATED_FILE_H_
