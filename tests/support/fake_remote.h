// A primary in memory, and Remotes to it that fail when they are told to.
//
// FakePrimary is one database with its history, leases and commit ids, as src/remote/remote.h
// promises them; any number of FakeRemotes may talk to it. Both are for any thread.

#ifndef TURSO_TESTS_SUPPORT_FAKE_REMOTE_H_
#define TURSO_TESTS_SUPPORT_FAKE_REMOTE_H_

#include <array>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "src/base/bytes.h"
#include "src/remote/remote.h"

namespace turso {

class FakePrimary {
 public:
  // `file` is a whole database file; see EmptyDatabase and, for one made by SQLite, any file's
  // bytes.
  explicit FakePrimary(ByteView file);

  // A valid database of one page, in WAL mode, without tables.
  static Bytes EmptyDatabase(uint32_t page_size = 4096);

  Revision revision() const;
  uint32_t page_size() const { return page_size_; }
  // The database as a file, now.
  Bytes File() const;
  // How many transactions were committed by replicas.
  int commits() const;

  // A transaction that does not come from a replica, whatever lease there is.
  Revision Write(const PageSet& pages);
  // The same, for a whole new content of the database: what differs is what changes.
  Revision WriteFile(ByteView file);
  // As after a restart: a new epoch, no leases; commit ids and history are remembered.
  void Restart();
  // As after a restore from elsewhere: no revision from before is known any more.
  void ForgetHistory();
  void set_lease_lifetime(Duration lifetime);
  // How many pages a lease may bring along.
  void set_lease_pages_max(size_t pages);
  // What FakeRemote::DelayRequest held back arrives, and how each is answered, whoever hears it.
  std::vector<Code> DeliverLate();

 private:
  friend class FakeRemote;
  using Holder = std::array<uint8_t, 16>;
  struct Outcome {
    bool is_committed = false;
    CommitAnswer answer;
  };
  struct Lease {
    Holder holder{};
    uint64_t fence = 0;
    Instant expires;
  };
  struct Waiter {
    Holder holder{};
    Instant keeps_place_until;
  };
  struct Late {
    Transaction transaction;
    PageSet pages;
  };

  Result<CommitAnswer> Commit(const Transaction& transaction);
  Revision RevisionOf(uint64_t counter) const;
  std::optional<uint64_t> CounterOf(const Revision& revision) const;
  Status Apply(const PageSet& pages);
  std::vector<PageNo> ChangedSince(uint64_t counter) const;
  bool LeaseIsLive() const;
  void DropOldWaiters();
  bool IsFirstInLine(const Holder& holder);
  // A later commit of the same replica is known.
  bool IsOutnumbered(const CommitId& id) const;
  // Waits a little, for a change or for Call's word.
  Status WaitABit(std::unique_lock<std::mutex>* lock, const Call& call);

  const uint32_t page_size_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Bytes> pages_;          // Page 1 first.
  std::vector<uint64_t> changed_at_;  // The counter that last changed the page.
  uint64_t counter_ = 1;
  std::vector<uint64_t> epoch_begins_;  // First counter of each epoch known.
  uint64_t first_epoch_ = 0x0123456789abcdef;
  std::map<std::pair<Holder, uint64_t>, Outcome> outcomes_;
  std::optional<Lease> lease_;
  std::deque<Waiter> waiters_;
  uint64_t last_fence_ = 0;
  Duration lease_lifetime_ = seconds(2);
  size_t lease_pages_max_ = 256;
  std::list<Late> late_;
  int commits_ = 0;
};

class FakeRemote : public Remote {
 public:
  explicit FakeRemote(std::shared_ptr<FakePrimary> primary);

  // Faults. `call` is "identify", "pull", "lease", "renew", "release", "commit", "settle",
  // "hashes", "fetch" or "compare"; null is any. nth counts from now on, 1 is the next. The call
  // fails with `code` before it reaches the primary.
  void FailCall(int nth, Code code, const char* call = nullptr);
  // The primary acts, and its answer is lost: kOutcomeUnknown for a commit, else kUnavailable.
  void LoseAnswer(int nth, const char* call = nullptr);
  // The nth commit is still under way when its answer is not waited for any more: kOutcomeUnknown.
  void DelayRequest(int nth);
  // The next pull ends with kUnavailable after that many pages.
  void CutPullAfter(size_t pages);
  // Until Reconnect, nothing reaches the primary.
  void Disconnect();
  void Reconnect();
  // Runs before each call, without a lock held; it may do anything to the primary.
  void set_before(std::function<void(const std::string& call)> before);
  // The names of the calls so far.
  std::vector<std::string> calls() const;

  Result<Identity> Identify(const Call& call) override;
  Result<Revision> Pull(const Revision& since, Duration wait, PageSink* sink,
                        const Call& call) override;
  Result<LeaseAnswer> AcquireLease(const LeaseRequest& request, PageSink* sink,
                                   const Call& call) override;
  Result<Duration> RenewLease(const std::array<uint8_t, 16>& holder, uint64_t fence,
                              const Call& call) override;
  Status ReleaseLease(const std::array<uint8_t, 16>& holder, uint64_t fence,
                      const Call& call) override;
  Result<CommitAnswer> Commit(const Transaction& transaction, const Call& call) override;
  Result<SettleAnswer> Settle(const CommitId& id, const Call& call) override;
  Result<HashesAnswer> Hashes(const Call& call) override;
  Result<Revision> Fetch(const std::vector<PageNo>& pages, PageSink* sink,
                         const Call& call) override;
  Result<Order> Compare(const Revision& a, const Revision& b, const Call& call) override;
  const Traffic& traffic() const override { return traffic_; }
  void Cancel() override;

 private:
  struct Fault {
    int countdown = 0;
    std::string call;          // Empty: any.
    std::optional<Code> code;  // None: the answer is lost.
  };

  bool TakeDelay();
  // Why the call fails before it reaches the primary; *answer_lost if it fails after.
  Status Enter(const char* name, const Call& call, bool* answer_lost);

  const std::shared_ptr<FakePrimary> primary_;
  mutable std::mutex mutex_;
  std::vector<Fault> faults_;
  std::optional<size_t> cut_pull_after_;
  int delay_ = 0;
  bool disconnected_ = false;
  std::function<void(const std::string&)> before_;
  std::vector<std::string> calls_;
  Traffic traffic_;
};

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_FAKE_REMOTE_H_
