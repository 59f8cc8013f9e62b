// The one Replica there is, in parts: replica.cc (opening, asking), standing.cc (which revision the
// files show), repair.cc (what to do when that is not known), write.cc (a write transaction),
// pull.cc (pages from the primary), converging.cc (the primary's in the place of ours),
// schema_cookie.cc (what open connections know a schema by), asking.cc (what is asked with a
// deadline), lease.cc.
//
// Locks, in the order in which they are taken:
//   WRITE of the wal-index   the sidecar's record and the log may change only under it; it belongs
//                            to a WalFiles
//   asking_                  the turn to use asker_, for questions; over network waits (R6). Taken
//                            before WRITE, and never by who has it
//   caller_mutex_            caller_, the connection of write transactions; over network waits (R6)
//   apply_mutex_             apply_files_, through which WRITE is held for a pull; over a network
//                            wait only where a commit must be settled or pages compared first
//   files_mutex_             own_files_, for looking at the wal-index; never over a network wait
//   mutex_                   counters, texts, what the threads are told
//
// Commits at a primary that takes no pages (Remote::TakesPages), until its own pages are here:
//   (CV1) A commit is put on a provisional state only if the primary is known to hold just that
//         content: its history ends with our commits, and nobody else's are among them. The
//         primary's revision says so (Remote::Compare finds it equal), and its compare-and-swap
//         holds for it as for any other base. So the pages since converged always bring all of
//         ours, and the state before each is the content that the primary applied its changes to.
//   (CV2) While nobody else has written, pages that say the same are not put before a transaction
//         that has read and may still write: to SQLite its snapshot would be stale. They wait until
//         no snapshot of the newest state is open, or for kUnreadPatience, or until the log holds
//         kProvisionalMax frames of ours.
//   (CV3) A crash leaves of several commits what it leaves of one: each has its intent, the
//         converged mark stays that of the first, and the next pull replaces them all.

#ifndef TURSO_SRC_REPLICA_REPLICA_IMPL_H_
#define TURSO_SRC_REPLICA_REPLICA_IMPL_H_

#include <condition_variable>
#include <mutex>
#include <thread>

#include "src/format/page_reader.h"
#include "src/replica/content.h"
#include "src/replica/identity.h"
#include "src/replica/replica.h"
#include "src/replica/sidecar.h"
#include "src/replica/writer_turn.h"

namespace turso {

// Collects the pages of a pull; gives up with kBusy at a deadline.
class PageCollector : public PageSink {
 public:
  explicit PageCollector(std::optional<Instant> deadline = std::nullopt) : deadline_(deadline) {}
  void Base(const Revision& base) override { base_ = base; }
  Status Size(uint32_t page_size, uint32_t db_size) override;
  Status Page(PageNo page, ByteView image) override;

  PageSet& pages() { return pages_; }
  // What the pages build on, if it is not what was asked for.
  const std::optional<Revision>& base() const { return base_; }

 private:
  std::optional<Instant> deadline_;
  std::optional<Revision> base_;
  PageSet pages_;
};

// Whether the record names `current` for this state of the log.
bool IsAsRecorded(const SidecarRecord& record, const WalPosition& position);

// Whose turn it is to use a Remote. Unlike a mutex it is waited for no longer than a deadline.
class Turn {
 public:
  // Ends a turn that was taken, also where memory runs out meanwhile.
  class Ending {
   public:
    explicit Ending(Turn* turn) : turn_(turn) {}
    ~Ending() { turn_->End(); }
    Ending(const Ending&) = delete;
    Ending& operator=(const Ending&) = delete;

   private:
    Turn* turn_;
  };

  // kUnavailable at the deadline, kInterrupted.
  Status Take(Instant deadline, const Interrupted& interrupted);

 private:
  void End();

  std::mutex mutex_;
  std::condition_variable ended_;
  bool taken_ = false;
};

// The database as it was when a transaction began to write. WRITE held.
class BasePages : public PageReader {
 public:
  BasePages(WalFiles* files, const WalIndexHeader& header) : files_(files), header_(header) {}
  Status Read(PageNo page, MutableByteView out) override;

 private:
  WalFiles* files_;
  const WalIndexHeader header_;
};

class ReplicaImpl : public Replica {
 public:
  ReplicaImpl(std::string path, Options options, std::unique_ptr<Sidecar> sidecar,
              std::unique_ptr<ReplicaHost> host);
  ~ReplicaImpl() override;
  Status Connect();
  // The same database, reached at another URL from now on.
  Status MoveTo(const std::string& url);

  void Start() override;
  void Stop() override;
  Result<Revision> Sync(const Interrupted& interrupted) override;
  Result<Revision> CurrentRevision() override;
  Result<Revision> RevisionAt(const WalPosition& position) override;
  Result<bool> WaitFor(const Revision& revision, Duration timeout,
                       const Interrupted& interrupted) override;
  std::optional<Duration> Lag() override;
  std::optional<std::string> LastError() override;
  ReplicaStatus status() override;
  void Refused(const Status& why) override { Note(why); }
  bool has_staleness_bound() const override { return options_.max_staleness.has_value(); }
  Status BeforeRead(const Interrupted& interrupted) override;
  void AbandonAfterFork() override;

  bool TakeTurn(Instant since) override { return WriterTurn(&sidecar_->shared().turn).Take(since); }
  void EndTurn(Instant since) override { WriterTurn(&sidecar_->shared().turn).End(since); }
  Status Enter(WalFiles* files, HasRead has_read, const Interrupted& interrupted) override;
  Status Commit(WalFiles* files, const PageSet& pages, const FramePlan& frames,
                const Interrupted& interrupted) override;
  void Leave(WalFiles* files) override;
  Status MayCheckpoint() override;
  Status BeforeRestart(WalFiles* files) override;
  Status BeforeCheckpoint() override;
  void AfterCheckpoint() override;

 private:
  struct Counters {
    int64_t pulls = 0, pages_pulled = 0, commits = 0, conflicts = 0;
  };
  // From Enter to Leave; guarded by WRITE.
  struct Write {
    SidecarRecord record;
    uint64_t fence = 0;
    bool committed = false;
    bool outnumbered = false;  // The primary knows a later commit of this identity.
    FramePlan frames;
  };
  enum class Checkpoint { kNo, kWanted };

  // What else is known when the record does not tell the revision.
  struct Doubt {
    Revision announced = {};  // The intent's, if it happened.
    uint64_t announced_digest = 0;
    bool power_lost = false;  // The machine may have lost what was written last.
    bool went_back = false;   // The primary does not know the revision that the record tells.
    bool is_ours = false;     // The content is what we left, though not the primary's pages.
  };

  // standing.cc. All with WRITE held.
  Result<WalIndexHeader> Header(WalFiles* files);
  // The record, made true for the log as it is found: `current` is the revision that the files
  // show. Asks the primary only if a commit is unsettled or nothing explains the log.
  Result<SidecarRecord> Stand(WalFiles* files, Remote* remote, const Call& call);
  // The same without the primary: nothing if that is not possible.
  Result<std::optional<SidecarRecord>> StandAlone(WalFiles* files, const WalIndexHeader& header);
  Result<bool> Explains(WalFiles* files, const WalIndexHeader& header, const SidecarRecord& record);
  // Whether record and log tell the revision. An intent is taken into the record.
  Result<bool> KnownAlone(WalFiles* files, const WalIndexHeader& header, SidecarRecord* record);
  // The revision of the commit; none if it was refused.
  Result<Revision> SettleIntent(SidecarRecord* record, bool frames_present,
                                const WalIndexHeader& header, Remote* remote, const Call& call);
  // With no commit pending: that is settled under the old one. (I2)
  Status TakeNewIdentity(SidecarRecord* record, const std::string& why);
  // The primary's pages have another size: nothing more can be applied here.
  Status Outdate(SidecarRecord* record);
  Status Outdated() const;
  // The digest of the content after `pages`.
  Result<uint64_t> ContentAfter(WalFiles* files, const SidecarRecord& record, const PageSet& pages);
  void RememberState(const WalIndexHeader& header, const Revision& revision);
  Status Promote(WalFiles* files, SidecarRecord* record);
  // To `target`, by `pages`, which may be none if only the name of the revision is new.
  Status Advance(WalFiles* files, PageSet* pages, const Revision& target, SidecarRecord* record);
  Status Rename(const WalIndexHeader& header, const Revision& target, SidecarRecord* record);
  Status ApplyPages(WalFiles* files, PageSet* pages, const Revision& target, SidecarRecord* record);

  // schema_cookie.cc
  bool KeepsSchema(WalFiles* files, const WalIndexHeader& header, const PageSet& pages);
  Status ChooseCookie(WalFiles* files, PageSet* pages, SidecarRecord* record);

  // repair.cc. All with WRITE held, but for the checkpoints'.
  // kIo if files were replaced or removed under us.
  Status CheckPlaces(WalFiles* files) const;
  // Whether the database file is as our checkpoints left it.
  Result<bool> IsFileUntouched(WalFiles* files);
  Footprint StoredFootprint() const;
  void StoreFootprint(const Footprint& print);  // CHECKPOINT held.
  // The content tells the revision, or it is repaired.
  Status Verify(WalFiles* files, const WalIndexHeader& header, Doubt doubt, SidecarRecord* record,
                Remote* remote, const Call& call);
  Status Rebind(WalFiles* files, const WalIndexHeader& header, SidecarRecord* record);
  Status Repair(WalFiles* files, const WalIndexHeader& header, const Doubt& doubt,
                SidecarRecord* record, Remote* remote, const Call& call);
  Result<bool> SomebodyWrote(WalFiles* files, const WalIndexHeader& header, bool power_lost,
                             const SidecarRecord& record);
  Status SetAside(WalFiles* files, const WalIndexHeader& header, uint64_t digest);

  void NotePublished(const WalIndexHeader& header, const Revision& revision, SidecarRecord* record);
  Status Provisional() const;

  // converging.cc
  // With so many frames of ours a write that begins afresh brings the primary's pages first...
  static constexpr uint32_t kProvisionalLong = 1000;
  // ...and with so many any write does.
  static constexpr uint32_t kProvisionalMax = 4000;
  Result<uint32_t> ProvisionalFrames(WalFiles* files, const SidecarRecord& record);
  bool ShowsTheSame(Remote* remote, const SidecarRecord& record, const Revision& reached,
                    const Call& call);
  Result<bool> ConvergeUnread(WalFiles* files, PageSet* pages, const Revision& target,
                              SidecarRecord* record);
  bool WasReadLong(const WalPosition& position);
  Result<uint32_t> SizeAt(WalFiles* files, FrameNo frame, uint32_t page_size);
  Status AddPreImages(WalFiles* files, PageSet* pages, SidecarRecord* record);
  Status WaitForCheckpoint(WalFiles* files);

  // pull.cc
  void Follow();
  Duration FollowOnce(Remote* remote);
  // What was pulled since `origin`, and not applied yet.
  struct Pulled {
    Revision origin, reached;
    PageCollector news = PageCollector();
  };
  // What becomes of the primary's pages of our own commits: they are put in place now; unless
  // somebody writes here; or reads (CV2); or after a little waiting for who reads.
  enum class Manner { kAtOnce, kIfFree, kWhenUnread, kAwaitUnread };
  // Pulls through `remote` what is newer and applies it. kBusy if WRITE was not to be had, or
  // others were faster. `pulled` keeps what was left for later.
  Result<Revision> PullAndApply(Remote* remote, Duration wait, const Call& call, Manner manner,
                                Pulled* pulled);
  Result<Revision> PullAnew(Remote* remote, const Revision& current, const Call& call);
  // False: left for later.
  Result<bool> ApplyPulled(Pulled* pulled, const Revision& since, Manner manner, Duration patience);
  Result<bool> ApplyWhenUnread(Pulled* pulled, const Revision& since, Duration patience);
  Result<bool> ApplyInManner(Remote* remote, Pulled* pulled, const Revision& since,
                             const Call& call, Manner manner);
  Status CheckIsOurs(const Revision& reached);
  enum class WriteLock { kFree, kBusy, kMustRecover };
  Result<WriteLock> LookAtWriteLock();
  // Holds WRITE through apply_files_ for `body`; kBusy at the deadline.
  Status WithWriteLock(Duration patience, const std::function<Status(WalFiles*)>& body);
  using Look = std::function<Status(WalFiles*, const WalIndexHeader&)>;
  // Looks at the wal-index through own_files_, which are not closed meanwhile. kIo once Stop has
  // closed them: nothing is opened for a replica that nobody has open.
  Status LookAtFiles(const Look& look);
  Result<WalIndexHeader> OwnHeader();
  struct Stance {
    Revision current;
    Revision origin;  // Where to pull from.
  };
  Result<Stance> KnownStance(Remote* remote, const Call& call);
  void CheckpointIfLong();

  // asking.cc
  Result<Revision> SyncUntil(Instant deadline, const Interrupted& interrupted);
  Result<Revision> PullInTurn(Instant deadline, const Interrupted& interrupted, Manner manner);
  Result<Order> CompareUntil(const Revision& a, const Revision& b, Instant deadline,
                             const Interrupted& interrupted);
  bool HeardSince(Instant time) const;
  bool IsHopeless();
  void NoteHopeless();
  Status CheckNotForked() const;
  Call CallUntil(Instant deadline, const Interrupted& interrupted) const;

  // write.cc
  Status CatchUp(WalFiles* files, HasRead has_read, Write* write, const Interrupted& interrupted);
  Status CatchUpOtherwise(WalFiles* files, const Status& why, Write* write, const Call& call);
  Status Send(WalFiles* files, const PageSet& pages, Write* write, uint64_t number,
              const Interrupted& interrupted);
  Status SettleSent(Write* write, Instant deadline, const Status& why,
                    const Interrupted& interrupted);

  // lease.cc
  bool TakeIdleLease(uint64_t* fence);
  void HoldLease(const LeaseAnswer& answer, Instant asked);
  void DropLease();
  void RestLease(Duration linger);
  void KeepLease();
  Duration KeepOnce(Remote* remote);
  void GiveLeaseBack();
  enum class Ending { kNo, kYes };
  void ReleaseRestingLease(Remote* remote, Duration timeout, Ending ending);

  Call CallWith(const Interrupted& interrupted) const;
  ReplicaIdentity identity() const;
  void SetIdentity(const ReplicaIdentity& id);
  void Note(const Status& status);  // Remembers a failure as the last error.
  void NoteReached();
  void NoteCurrent(Instant when);  // The primary had nothing newer at that time.
  std::thread StartThread(void (ReplicaImpl::*body)());
  bool Stopping() const { return stopping_.load(std::memory_order_relaxed); }

  const std::string path_;
  Options options_;
  std::unique_ptr<Sidecar> sidecar_;
  std::unique_ptr<ReplicaHost> host_;

  std::mutex files_mutex_;
  std::unique_ptr<WalFiles> own_files_;
  std::mutex apply_mutex_;
  std::unique_ptr<WalFiles> apply_files_;

  Turn asking_;
  std::mutex caller_mutex_;
  std::unique_ptr<Remote> asker_, caller_, follower_, keeper_;

  Write write_;
  // This process checkpoints, and the file was as we left it. Changed by who has CHECKPOINT.
  std::atomic<bool> checkpointing_{false};

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string url_, database_id_, protocol_;
  ReplicaIdentity replica_id_{};
  Counters counters_;
  std::optional<std::string> last_error_;
  Instant offline_since_;  // When a call last failed for want of the primary; zero if none did.
  Duration hopeless_{};    // How long after that a read does not try again.
  // The newest state when a pull was first put off for readers of it, and since when.
  WalPosition read_position_;
  Instant read_since_;
  bool pull_wanted_ = false;
  bool writing_ = false;
  bool lease_touched_ = false;
  Duration lease_linger_{};

  Pulled unread_;  // The follow thread's.

  std::atomic<bool> stopping_{false};
  std::atomic<bool> abandoned_{false};
  std::thread follow_thread_;
  std::thread keep_thread_;
};

}  // namespace turso

#endif  // TURSO_SRC_REPLICA_REPLICA_IMPL_H_
