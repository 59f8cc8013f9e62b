// A libSQL server that hosts itself (sqld): its pages come by its replication log, and a
// transaction goes there as the statements that bring about its rows and schema.
//
//   lease     BEGIN IMMEDIATE on a stream, then the log since the replica's base, to catch up; if
//             the slot's answer says that nothing follows, the log is asked while the application
//             goes on: that it is still the log of the same server process; not even that if the
//             stream of the commit before is there still
//   follow    frames as the server sends them; that there are none, it is asked once a wait
//   commit    statements, the row of the commit in _turso_vfs, COMMIT: one exchange. Its place is
//             exact if no other connection has committed by the time that the server says how long
//             its log is: PRAGMA data_version is asked behind that
//   settle    a slot of its own, and that row: it is there, or a refusal is left in its place
//
// The server has one slot for writers and takes it from whoever holds it for five seconds. So a
// slot that is held while the application thinks is given up when it is to be renewed, and taken
// again at the commit.
//
// A revision is a place in that log (LogPlace). The log begins anew, under another id, whenever the
// server was not stopped cleanly; then all earlier revisions are unrelated to those that come.
//   (LR1) A sink is given whole transactions, each verified (LL1); if a pull fails, what it was
//         given counts for nothing.
//   (LR2) An empty answer means "nothing new" only from a server process that was at least that far
//         before: of what lies behind its end, the log says nothing, too. What one Remote has
//         learned of a server process, all of ours know.
//   (LR3) Of a transaction either all statements run and its row is there, or none; and they run
//         only where the log ends with the base that they were made from.
//   (LR4) A number that settle found no row for is refused for ever.
//   (LR5) A transaction may be based on an exact place: the log up to there is the replica's
//         content, and as long as it ends there, nobody else has written. That is so in the server
//         process that took the commit; another one's log may be as long by another way (LR6, LR7),
//         unless the row of that commit is there still. A place that is only a bound (its answer
//         was lost, or somebody committed right behind it) is no base: the log must be read first.
//   (LR6) How long its log is, a server says in numbers that another history may have come to as
//         well: after it was killed, or with another's files. So they count only from a process
//         that is known to have the replica's log: by its session, asked for behind BEGIN, or by a
//         stream that it had when it took a commit, which no other process goes on with.
//   (LR7) A server whose files were put back has its log's id still, and may have come to as many
//         frames again. So what is asked for first of each server process begins with the last
//         frame that came before, whose checksum speaks for all before it.
//   _turso_vfs(replica BLOB, number BLOB, refused INTEGER): the last commit of each replica.

#ifndef TURSO_SRC_REMOTE_LIBSQL_REMOTE_H_
#define TURSO_SRC_REMOTE_LIBSQL_REMOTE_H_

#include <optional>
#include <string>
#include <vector>

#include "src/remote/hrana_client.h"
#include "src/remote/log_client.h"
#include "src/remote/remote.h"
#include "src/remote/slots.h"

namespace turso {

class LibsqlRemote : public Remote {
 public:
  explicit LibsqlRemote(const LibsqlAddress& address);

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

  bool TakesPages() const override { return false; }
  // It is a slot, which a stream of this process has; what the log has is asked for with each.
  bool SharesLeases() const override { return false; }
  const Traffic& traffic() const override { return traffic_; }
  void Cancel() override {
    log_.Cancel();
    hrana_.Cancel();
  }

 private:
  Status Hello(const Call& call);
  void NoteEnd(uint64_t end);
  void NoteProven(const LogPlace& place);
  bool IsProven(const LogPlace& place) const;
  uint32_t session() const;
  bool IsBaseNow(const LogPlace& place) const;
  Status Conflict() const;
  Status CheckKnown(const LogPlace& place, const Call& call);
  enum class Proof { kNo, kYes };  // (LR7)
  Result<LogClient::Outcome> ReadBatch(LogFeed* feed, Proof proof, const Call& call);
  Status EndAnswer(LogFeed* feed);
  Status ReadOn(LogFeed* feed, const Call& call);
  Result<LogClient::Outcome> ReadSnapshot(LogFeed* feed, const Call& call);
  Result<LogPlace> PullFrom(const LogPlace& since, PageSink* sink, const Call& call);
  Result<std::optional<LogPlace>> AwaitFrom(const LogPlace& since, PageSink* sink, Duration wait,
                                            const Call& call);
  Result<LogPlace> PullAll(PageSink* sink, const Call& call);

  // libsql_writing.cc
  Result<bool> Knows(const std::array<uint8_t, 16>& replica, const Call& call);
  Result<Slot> BeginSlot(Duration patience, const Call& call);
  Result<Slot> BeginSlotOnce(const Call& call);
  Result<std::optional<Slot>> GoOn(const Call& call);
  Status MakeTable(HranaStream* stream, const Call& call);
  void Abandon(HranaStream* stream, const Call& call);
  Status CheckCommit(const LogPlace& place, const std::array<uint8_t, 16>& replica,
                     const Revision& now, Slot* slot, const Call& call);
  Result<Slot> SlotAt(const LogPlace& base, const Transaction& transaction, const Call& call);
  Result<CommitAnswer> Send(const std::vector<Statement>& body, const LogPlace& base,
                            const Transaction& transaction, Slot slot, const Call& call);
  Status Refused(const HranaError& error) const;
  Status FailedAt(const Statement& statement, const HranaError& error) const;

  const LibsqlAddress address_;
  Traffic traffic_;
  LogClient log_;
  HranaClient hrana_;
  std::optional<LogHello> hello_;
  // An exact place of an earlier server process whose commit the one of `session` has still.
  struct Checked {
    Revision place;
    uint32_t session = 0;
  };
  Checked checked_;
  Instant last_news_;  // When the server last sent frames by itself.
  // The slot of which the log was asked whether it ends where the lease says.
  uint64_t checked_fence_ = 0;
  uint64_t last_fence_ = 0;  // Of the last lease: its slot may rest.
};

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_LIBSQL_REMOTE_H_
