// A local copy of a database whose primary is elsewhere.
//
//   NAME, NAME-wal, NAME-shm   an ordinary SQLite database in WAL mode
//   NAME-turso                 which revision of which primary that database is
//
// Invariants. Code that upholds one and tests that attack one cite it: (R2).
//   (R1) A reader's snapshot is one revision. It never shows part of a pull, or part of a commit.
//   (R2) NAME-turso never names a revision whose pages a crash could still take away.
//   (R3) A commit the application was told of is at the primary.
//   (R4) Pages pulled since R are applied only to a replica that is at R.
//   (R5) A commit whose outcome is unknown is settled before anything else is written or pulled.
//   (R6) No mutex is held over a network wait, except the one that serialises the calls of one
//        Remote.
// One object per database and process, shared by its connections. Functions are for any thread.

#ifndef TURSO_SRC_REPLICA_REPLICA_H_
#define TURSO_SRC_REPLICA_REPLICA_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/remote/remote.h"
#include "src/replica/options.h"
#include "src/wal/wal.h"
#include "src/wal/wal_files.h"
#include "src/wal/write_gate.h"

namespace turso {

struct ReplicaStatus {
  std::string path, url, protocol, database_id, revision;
  int64_t lag_ms = -1;        // -1: the primary was never heard.
  int64_t last_sync_ms = -1;  // Since pages were last applied; -1: never.
  std::string state;          // live, offline, settling, stale
  std::string lease;          // none, idle, held
  int64_t page_count = 0, pages_present = 0, pulls = 0, pages_pulled = 0, commits = 0,
          conflicts = 0;
  int64_t round_trips = 0, bytes_sent = 0, bytes_received = 0;
  std::optional<std::string> last_error;
};

// What the replica needs from SQLite's side; the VFS provides it.
class ReplicaHost {
 public:
  virtual ~ReplicaHost() = default;
  // Handles of the replica's own, for its background thread.
  virtual Result<std::unique_ptr<WalFiles>> OpenFiles() = 0;
  // Lets SQLite itself recover the log, by a read.
  virtual Status RecoverBySqlite() = 0;
  // Lets SQLite checkpoint the log, as far as nobody is in the way.
  virtual Status CheckpointBySqlite() = 0;

  // Before the replica is open. The database as it is found:
  struct Found {
    uint32_t page_size = 0;  // 0: it is no database.
    bool is_wal = false;     // And nothing is left to roll back.
  };
  virtual Result<Found> LookAtDatabase() = 0;
  // Whether no connection of any process uses it.
  virtual Result<bool> IsUnused() = 0;
  // Lets stock SQLite bring it back into WAL mode.
  virtual Status EnterWalMode() = 0;
  // For a primary that takes rows and schema in the place of pages. Used by whoever holds WRITE.
  virtual ScratchMaker* scratch() = 0;
};

class Replica : public WriteGate {
 public:
  // Makes `database` from its primary: pulls the whole of it under a temporary name, then puts it
  // in place.
  // kInvalid if a file is there already that is no replica; kUnavailable, kDenied, kNotFound as the
  // primary says.
  static Status Create(const std::string& database, const Options& options);
  // An existing replica. No exchange with the network, unless options.url is another one than the
  // sidecar's: then the same database must answer there.
  static Result<std::shared_ptr<Replica>> Open(const std::string& database, const Options& options,
                                               std::unique_ptr<ReplicaHost> host);

  // Background work starts with the first connection and has ended when Stop returns.
  virtual void Start() = 0;
  virtual void Stop() = 0;

  // Pulls now. The revision reached.
  virtual Result<Revision> Sync(const Interrupted& interrupted) = 0;
  // Of a read transaction started now.
  virtual Result<Revision> CurrentRevision() = 0;
  // Of a snapshot at this state of the log. kNotFound if it is too old to be known.
  virtual Result<Revision> RevisionAt(const WalPosition& position) = 0;
  // True when this replica has `revision` or a later one, false at the deadline.
  virtual Result<bool> WaitFor(const Revision& revision, Duration timeout,
                               const Interrupted& interrupted) = 0;
  // Since the replica was last known to be current; nothing if never.
  virtual std::optional<Duration> Lag() = 0;
  virtual std::optional<std::string> LastError() = 0;
  virtual ReplicaStatus status() = 0;
  // The VFS has refused something by itself: becomes the last error.
  virtual void Refused(const Status& why) = 0;

  // Before a read transaction takes its snapshot, on replicas with max_staleness only.
  virtual bool has_staleness_bound() const = 0;
  virtual Status BeforeRead(const Interrupted& interrupted) = 0;

  // In the child of a fork: no thread, no lock and no socket of the parent's is touched, everything
  // is refused.
  virtual void AbandonAfterFork() = 0;
};

}  // namespace turso

#endif  // TURSO_SRC_REPLICA_REPLICA_H_
