// What became of a database since its log last spoke: told from the end of the log and from the WAL
// as it is found.
//
//   the log ends with   the WAL has                       so the last commit   another program
//   a clean stop        nothing, file as it was           -                    did nothing
//   a commit            its frames, and they fit          happened             did nothing
//   a commit            less than them                    did not happen       did nothing
//   anything            frames behind the explained ones  as above             wrote those frames
//   anything            nothing that the log explains     as the file shows    may have changed all
//
// Pure, but for the questions that it asks through Evidence.

#ifndef TURSO_SRC_PRIMARY_RECOVERY_H_
#define TURSO_SRC_PRIMARY_RECOVERY_H_

#include <functional>
#include <optional>

#include "src/primary/commit_log.h"
#include "src/wal/wal_index.h"

namespace turso {

// The end of the log, record by record.
class LogTail {
 public:
  // kCorrupt if the record cannot stand here.
  Status Take(const LogRecord& record);

  const History& history() const { return history_; }
  History* mutable_history() { return &history_; }
  // The commit that is in the log and of which nothing more is known. `history` does not have it
  // yet.
  const std::optional<CommitRecord>& undecided() const { return undecided_; }
  // Where the revision of `history` stands in the WAL, or stood before a restart.
  const WalPoint& point() const { return point_; }
  bool restart_follows() const { return restart_follows_; }
  // How the file looked when the server last stopped cleanly, or started, and since when only the
  // WAL was written.
  const Fingerprint& fingerprint() const { return fingerprint_; }

  // The undecided commit has happened.
  void Happened();
  // It has not.
  void Aborted(Outcome outcome);

 private:
  Status TakeSnapshot(const SnapshotRecord& snapshot);
  Status TakeCommit(const CommitRecord& commit);

  History history_;
  std::optional<CommitRecord> undecided_;
  WalPoint point_;
  bool restart_follows_ = false;
  Fingerprint fingerprint_;
};

// Adds a commit that has happened to a history.
void AddCommit(const CommitRecord& commit, History* history);

// The files as they are found, after SQLite has recovered the wal-index.
struct Evidence {
  std::optional<uint64_t> wal_bytes;  // Before anything was opened; nothing: there was no WAL.
  Salts wal_salts{};                  // Of the WAL's header.
  WalIndexHeader header;
  Fingerprint fingerprint;  // Before anything was opened.
  // PageSet::Hash() of frames base+1 to last.
  std::function<Result<uint64_t>(FrameNo base, FrameNo last, uint32_t db_size)> frames_hash;
  // The same of pages as they are now.
  std::function<Result<uint64_t>(const std::vector<PageNo>& pages, uint32_t db_size)> pages_hash;
};

struct Verdict {
  enum class Last { kNone, kHappened, kDidNot, kUnknown };
  enum class Foreign { kNone, kFrames, kAnything };
  Last last = Last::kNone;
  Foreign foreign = Foreign::kNone;
  FrameNo foreign_base;  // For kFrames: they begin after this one.
};

Result<Verdict> Judge(const LogTail& tail, const Evidence& evidence);

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_RECOVERY_H_
