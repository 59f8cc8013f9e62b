// NAME.db-log: what the primary must not forget of one database, in a file that only grows until it
// is compacted.
//
//   log    := header unit*                                          Integers are big-endian.
//   header := "TURSOLOG" | version u32 | 0 u32 | database id, 16 bytes | checksum u64
//   unit   := "TLU1" | length u32 | checksum u64 | record*          `length` bytes of records
//   record                                                          src/primary/log_records.h
//
// A checksum is the XXH3-64 of all before it in the header; of a unit, of its offset, its length
// and its records.
//   (CL1) A unit is written and synced before the next one is begun. So a crash can spoil the last
//         one only: a unit that does not verify, with no unit that does behind it, is a torn end
//         and is cut off. Any other is damage.
//   (CL2) A commit is written here before a frame of it can be valid in the WAL; kAborted follows
//         if it never was. Every other record says that the commit before it has happened.
//   (CL3) Before the WAL is restarted, kResolved is written. So the last commit can always be
//        looked up in the WAL.
//   (CL4) The file is locked (flock) while it is open: one process serves a database.
//   (CL5) A record that Add or Write did not take, also where memory ran out, never gets into the
//         file.
// Not for use by several threads at once.

#ifndef TURSO_SRC_PRIMARY_COMMIT_LOG_H_
#define TURSO_SRC_PRIMARY_COMMIT_LOG_H_

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/status.h"
#include "src/primary/log_records.h"

namespace turso {

using DatabaseId = std::array<uint8_t, 16>;

class CommitLog {
 public:
  using Visitor = std::function<Status(const LogRecord&)>;

  // Makes a new log, whole or not at all, whose first unit is `first`.
  static Result<std::unique_ptr<CommitLog>> Create(const std::string& path, const DatabaseId& id,
                                                   const std::vector<LogRecord>& first);
  // Shows every record in order, and cuts off a torn end. kNotFound if there is no log; kCorrupt,
  // with the offset, for one that is damaged; kBusy if another process has it.
  static Result<std::unique_ptr<CommitLog>> Open(const std::string& path, const Visitor& visit);
  ~CommitLog();
  CommitLog(const CommitLog&) = delete;
  CommitLog& operator=(const CommitLog&) = delete;

  const DatabaseId& database_id() const { return id_; }
  uint64_t size() const { return size_; }
  // How long it was when it was made, opened or last compacted.
  uint64_t size_at_compaction() const { return size_at_compaction_; }

  // Goes into the file with the next Write(), and is lost in a crash before it.
  void Add(const LogRecord& record);
  bool pending() const { return !pending_.empty(); }
  // The log takes nothing more: after a failed sync or cut, what the file holds is not known until
  // it is read again.
  bool broken() const { return broken_; }
  // What was added and `records`, synced, as one unit. After a failure that did not break the log,
  // nothing of it is there, and what was added is still to be written.
  Status Write(const std::vector<LogRecord>& records = {});
  // Puts `snapshot` in place of everything so far. A failure leaves the log as it was.
  Status Compact(const SnapshotRecord& snapshot);

 private:
  CommitLog(std::string path, int fd, const DatabaseId& id);
  Status ReadUnits(const Visitor& visit);

  std::string path_;
  int fd_;
  DatabaseId id_;
  uint64_t size_ = 0;
  uint64_t size_at_compaction_ = 0;
  Bytes pending_;
  bool broken_ = false;
};

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_COMMIT_LOG_H_
