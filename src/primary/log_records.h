// What the primary's log says, record by record, and each record as bytes. src/primary/commit_log.h
// says what they mean together.
//
//   record := kind u8 | fields       Integers are big-endian; log_records.cc has the fields, kind
//   by kind.
//
// Pure: bytes in, values out. Any thread.

#ifndef TURSO_SRC_PRIMARY_LOG_RECORDS_H_
#define TURSO_SRC_PRIMARY_LOG_RECORDS_H_

#include <array>
#include <optional>
#include <variant>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/page_set.h"
#include "src/primary/history.h"
#include "src/wal/wal.h"

namespace turso {

// How a database file looks from outside: enough to notice that somebody used it while the server
// was down.
struct Fingerprint {
  uint64_t bytes = 0;
  int64_t modified_ns = 0;
  friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
};

// A state of the WAL, as far as it can be recognised after a crash. No frames: everything is in the
// database file.
struct WalPoint {
  Salts salts{};
  uint32_t frames = 0;
  friend bool operator==(const WalPoint&, const WalPoint&) = default;
};

enum class CommitSource : uint8_t {
  kReplica = 1,
  kSql = 2,
  kFound = 3,  // Another program's, found in the file: it has happened already.
};

struct CommitRecord {
  uint64_t counter = 0;
  CommitSource source = CommitSource::kSql;
  ReplicaId replica{};       // For kReplica.
  uint64_t number = 0;       // For kReplica.
  int64_t committed_at = 0;  // Unix time, in seconds.
  uint32_t db_size = 0;
  WalPoint
      before;      // For all but kFound: `frames` is the frame before its first, of the same salts.
  WalPoint after;  // Its commit frame.
  uint64_t hash = 0;        // PageSet::Hash() of it. Not for kFound.
  bool every_page = false;  // Any page may have changed; `pages` is empty.
  std::vector<PageNo> pages;
  friend bool operator==(const CommitRecord&, const CommitRecord&) = default;
};

struct AbortedRecord {
  uint64_t counter = 0;
  // What was found out about it, for a commit of a replica: refused, if nothing is known.
  Outcome outcome = Outcome::kRefused;
  friend bool operator==(const AbortedRecord&, const AbortedRecord&) = default;
};

struct RefusedRecord {
  ReplicaId replica{};
  uint64_t number = 0;
  int64_t heard_of = 0;
  friend bool operator==(const RefusedRecord&, const RefusedRecord&) = default;
};

// The database stands at `counter`, which is `point` in the WAL. From here on the WAL may be
// restarted, if so said.
struct ResolvedRecord {
  uint64_t counter = 0;
  WalPoint point;
  bool restart_follows = false;
  friend bool operator==(const ResolvedRecord&, const ResolvedRecord&) = default;
};

// A start of the server.
struct EpochRecord {
  uint64_t id = 0;
  uint64_t counter = 0;
  Fingerprint fingerprint;
  friend bool operator==(const EpochRecord&, const EpochRecord&) = default;
};

// A clean stop: the WAL is empty, and about to be removed.
struct StoppedRecord {
  uint64_t counter = 0;
  Fingerprint fingerprint;
  friend bool operator==(const StoppedRecord&, const StoppedRecord&) = default;
};

// In place of all records before it.
struct SnapshotRecord {
  History::State history;
  WalPoint point;
  bool restart_follows = false;
  Fingerprint fingerprint;  // As of the start of the running epoch.
  friend bool operator==(const SnapshotRecord&, const SnapshotRecord&) = default;
};

using LogRecord = std::variant<CommitRecord, AbortedRecord, RefusedRecord, ResolvedRecord,
                               EpochRecord, StoppedRecord, SnapshotRecord>;

// A record as bytes, appended to `out`.
void EncodeRecord(const LogRecord& record, Bytes* out);
// Nothing if `bytes` are not whole records, exactly as EncodeRecord writes them.
std::optional<std::vector<LogRecord>> DecodeRecords(ByteView bytes);

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_LOG_RECORDS_H_
