// One database of the server: takes commits from replicas as pages and from its own SQL connections
// through the gate of the VFS, and knows for every page the revision that last changed it.
//
//   PATH       an ordinary SQLite database in WAL mode; while it is served, -wal and -shm beside it
//   PATH-log   what must not be forgotten: src/primary/commit_log.h
//
//   base checked -> WRITE -> logged, synced -> frames written, synced -> published -> answered
//
// Invariants.
//   (D1) A revision is published, and a commit answered, after its record and its frames are on
//        disk.
//   (D2) A commit id commits once. Every answer about it, now or after a crash, says the same.
//   (D3) Pages of one answer are of one revision. Reading them takes no lock of SQLite's, and so
//        disturbs nobody: WAL and database file change only by commits and restarts of this
//        process, which all pass through mutex_.
//   (D4) When a file operation fails after the commit was logged, nobody knows whether it happened:
//        the database answers kUnavailable from then on, a commit kOutcomeUnknown, and the WAL
//        tells when it is opened anew (Databases does that).
//   (D5) A change by another program, against the rules or while the server was down, becomes a
//        revision of its own.
// Any thread. `done` functions are called without a lock held, exactly once.

#ifndef TURSO_SRC_PRIMARY_SERVED_DATABASE_H_
#define TURSO_SRC_PRIMARY_SERVED_DATABASE_H_

#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "src/base/page_set.h"
#include "src/base/status.h"
#include "src/primary/alarm.h"
#include "src/primary/commit_log.h"
#include "src/primary/history.h"
#include "src/primary/lease_table.h"
#include "src/primary/recovery.h"
#include "src/primary/sql_connections.h"
#include "src/wal/write_gate.h"
#include "src/wire/message.h"

namespace turso {

// A whole encoded message, which may go to many.
using Answer = Result<std::shared_ptr<const std::string>>;
using AnswerDone = std::function<void(Answer)>;

struct PullRequest {
  std::string since;  // A revision, or empty for everything.
  PageNo after;       // The last page of the part before, or 0.
  Duration wait{};    // How long the question may be kept open while there is nothing new.
  PageCodec codec = PageCodec::kRaw;
  ReplicaId replica{};       // Who asks; zeros for nobody in particular.
  bool since_moved = false;  // `since` is not what was asked from any more.
};

struct LeaseAsk {
  ReplicaId holder{};
  std::string base;
  Duration hold{};
  PageCodec codec = PageCodec::kRaw;
};

struct PageCommit {
  ReplicaId replica{};
  uint64_t number = 0;
  std::string base;
  uint64_t fence = 0;
  PageSet pages;
};

struct Committed {
  RevisionId revision;
  bool lease_ended = false;
};

struct Settled {
  Outcome outcome = Outcome::kRefused;
  RevisionId revision;
};

// Some pages at one revision.
struct PagePart {
  RevisionId revision;
  uint32_t page_size = 0;
  uint32_t db_size = 0;
  PageNo next_after;  // 0: nothing is left.
  std::vector<PageNo> numbers;
  Bytes images;  // One after another.

  ByteView image(size_t i) const { return ByteView(images).subspan(i * page_size, page_size); }
};

struct Overview {
  DatabaseId database_id{};
  uint32_t page_size = 0;
  uint32_t db_size = 0;
  RevisionId revision;
};

struct DatabaseCounts {
  uint64_t page_commits = 0;
  uint64_t sql_commits = 0;
  uint64_t conflicts = 0;
  uint64_t pages_sent = 0;
  uint64_t waiting = 0;    // Pulls that are kept open.
  bool sql_waits = false;  // An SQL connection is kept waiting for the lease.
  uint64_t counter = 0;
  uint64_t db_size = 0;
};

enum class SqlAccess { kRead, kWrite };

class ServedDatabase : public WriteGate, public std::enable_shared_from_this<ServedDatabase> {
 public:
  // Opens the database at `path` (absolute), making it fit for WAL mode if it is not, and makes its
  // log if there is none. `alarm` answers what was kept open, `background` checkpoints; both
  // outlive all use of the database.
  static Result<std::shared_ptr<ServedDatabase>> Open(const std::string& path, Alarm* alarm,
                                                      Alarm* background);
  ~ServedDatabase() override;

  // `synchronous` must stay FULL on it, or commits can be lost with the machine's power: keep
  // clients from setting it.
  Result<SqlConnection> OpenConnection(SqlAccess access);

  Result<Overview> Identify();
  void Pull(const PullRequest& request, AnswerDone done);
  void AskLease(const LeaseAsk& ask, AnswerDone done);
  // The new lifetime; kConflict if the lease is lost.
  Result<Duration> RenewLease(const ReplicaId& holder, uint64_t fence);
  void ReleaseLease(const ReplicaId& holder, uint64_t fence);
  // kOutcomeUnknown: ask Settle, perhaps after a restart. After any other failure the commit was
  // refused for good, whoever sends it again. Without a fence, or with that of a lease that was
  // lost, a commit is taken if its base is the newest revision and nobody else has the lease.
  Result<Committed> Commit(const PageCommit& commit);
  // What became of a commit; nothing new will from now on. kLost: it cannot be told, because a
  // later number of the replica is known, or because of what another program did.
  Result<Settled> Settle(const ReplicaId& replica, uint64_t number);
  // Up to `limit` pages above `after` as they are now.
  Result<PagePart> Read(PageNo after, uint32_t limit);
  // Those of `pages` that exist, as they are now.
  Result<PagePart> Fetch(const std::vector<PageNo>& pages);
  // Nothing if the two are unrelated, else less than, equal to or above 0 as `a` stands to `b`.
  std::optional<int> Compare(const std::string& a, const std::string& b);
  DatabaseCounts counts();
  const std::string& path() const { return path_; }

  // Shortens the log to what it amounts to. Happens by itself when the log is long.
  Status CompactLog();
  // Answers all that is kept open, and keeps nothing open any more.
  void StopWaiting();
  // Leaves an ordinary SQLite database without a WAL. All connections are closed.
  Status Stop();
  // Whether it has failed in the way of (D4).
  bool OutOfService();
  // One that is out of service lets go of the files, so that they can be opened anew. SQL
  // connections that are still open on it read, and are refused every write: it must outlive them.
  // False while one of their commits is under way.
  bool LetGo();

  // The gate of the SQL connections.
  Status Enter(WalFiles* files, HasRead has_read, const Interrupted& interrupted) override;
  Status Commit(WalFiles* files, const PageSet& pages, const FramePlan& frames,
                const Interrupted& interrupted) override;
  // Ends the process where memory runs out: what the log has, nobody may go on without.
  void Leave(WalFiles* files) noexcept override;
  Status BeforeRestart(WalFiles* files) override;

 private:
  using Lock = std::unique_lock<std::mutex>;

  // Where the transaction of an SQL connection stands that has WRITE and the lease.
  enum class SqlPhase { kNone, kEntered, kCommitting };

  struct Follower {
    PullRequest request;
    Instant deadline;
    AnswerDone done;
  };
  struct WaitingAsk {
    LeaseAsk ask;
    Instant deadline;
    AnswerDone done;
  };
  struct AnswerKey {
    uint64_t since;
    bool everything;
    PageCodec codec;
    friend auto operator<=>(const AnswerKey&, const AnswerKey&) = default;
  };

  ServedDatabase(std::string path, Alarm* alarm, Alarm* background);

  // Opening and closing: served_database_start.cc.
  Status Start();
  Status OpenFiles();
  Status ReadByCheckpointer();
  Status StartFresh(const WalIndexHeader& header);
  Status StartFrom(LogTail* tail, const Evidence& before, const WalIndexHeader& header);
  Result<uint32_t> SizeAt(const WalIndexHeader& header);
  void CloseFiles();

  // Common ground. All want mutex_ held.
  Status Ready(Lock* lock);
  void Fail(const Status& why);
  enum class Write { kNotHeld, kHeld };
  Status NoticeForeignChange(Lock* lock, Write write, Instant deadline);
  bool Expected(const WalIndexHeader& header) const;
  Status TakeForeignChange(const WalIndexHeader& header);
  Result<WalIndexHeader> ReadHeader();
  // Once it has happened: what the log has, the history must have before anything else is logged.
  // Its pages are of `header`.
  void Publish(const CommitRecord& commit, const WalIndexHeader& header) noexcept;
  CommitRecord NewCommit(CommitSource source, const PageSet& pages, const FramePlan& frames) const;
  Status LogCommit(const CommitRecord& commit);
  Status NoteRestart();
  void CompactIfLong();
  Status Compact();
  SnapshotRecord Snapshot() const;

  // Page commits.
  // What it was answered before, if it was.
  std::optional<Result<Committed>> AnsweredBefore(const PageCommit& commit) const;
  bool BaseIsNewest(const PageCommit& commit) const;
  Result<Committed> TryCommit(Lock* lock, const PageCommit& commit);
  Status Refuse(const PageCommit& commit, const Status& why);
  // Waits for WRITE, which is then held or lent_.
  Status TakeWrite(Lock* lock, const PageCommit& commit);
  Status CheckAndWrite(const PageCommit& commit);
  Status WritePages(const PageCommit& commit);
  Status Lose(const Status& why);
  void CheckpointIfLong(const WalIndexHeader& header);
  void Checkpoint();
  Status CheckpointBy(int mode);

  // Answers: served_database_answers.cc.
  Status ReadImage(PageNo page, MutableByteView out);
  Result<PagePart> ReadPart(const std::vector<PageNo>& pages);
  Result<PagePart> ReadChanges(std::optional<uint64_t> since, PageNo after, size_t bytes_max);
  void AnswerPull(Lock lock, const PullRequest& request, std::optional<uint64_t> since,
                  const AnswerDone& done);
  Answer LeaseGranted(const LeaseAsk& ask, uint64_t fence);
  void AnswerFollowers();
  void PassLeaseOn();
  void WakeFollowers();
  // Whoever follows for the replica that made `commit` has it already.
  void MoveFollowers(const CommitRecord& commit, const std::string& base);
  void WakeLeases(Instant when);

  const std::string path_;
  Alarm* const alarm_;
  Alarm* const background_;

  std::mutex mutex_;
  std::condition_variable changed_;  // phase_, lent_, the lease, head.
  std::unique_ptr<CommitLog> log_;
  History history_;
  std::unique_ptr<WalFiles> files_;
  uint32_t page_size_ = 0;
  Fingerprint started_at_;
  Status failure_;
  bool stopped_ = false;
  bool waiting_allowed_ = true;

  // Where the newest revision stands in the WAL.
  WalIndexHeader head_;
  WalPoint point_;  // The same, as the log has it: a restart does not change it.
  // The log says so: the WAL may be restarted, and all of head_ is in the database file.
  bool restart_follows_ = false;

  LeaseTable leases_{0};  // Made anew at the start.
  SqlPhase phase_ = SqlPhase::kNone;
  ReplicaId sql_holder_{};
  uint64_t sql_fence_ = 0;
  CommitRecord sql_commit_;  // While kCommitting: in the log, and not yet published.
  // An SQL connection that waits for the lease lends its WRITE lock to page commits meanwhile.
  bool lent_ = false;

  std::list<Follower> followers_;
  std::list<WaitingAsk> asks_;
  std::map<AnswerKey, std::shared_ptr<const std::string>> encoded_;  // At head_, small ones.
  DatabaseCounts counts_;

  std::mutex checkpointer_mutex_;
  SqlConnection checkpointer_;
  bool gated_ = false;
  bool checkpoint_coming_ = false;
};

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_SERVED_DATABASE_H_
