// A libSQL server that hosts itself (sqld): its pages come by its replication log.
//
// A revision is a place in that log (LogPlace). The log begins anew, under another id, whenever the
// server was not stopped cleanly; then all earlier revisions are unrelated to those that come.
//   (LR1) A sink is given whole transactions, each verified (LL1); if a pull fails, what it was
//         given counts for nothing.
//   (LR2) An empty answer means "nothing new" only from a server process that was at least that far
//         before: of what lies behind its end, the log says nothing, too.
// Writing is not in this version: kReadOnly.

#ifndef TURSO_SRC_REMOTE_LIBSQL_REMOTE_H_
#define TURSO_SRC_REMOTE_LIBSQL_REMOTE_H_

#include <optional>
#include <string>
#include <vector>

#include "src/remote/log_client.h"
#include "src/remote/remote.h"

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

  const Traffic& traffic() const override { return traffic_; }
  void Cancel() override { log_.Cancel(); }

 private:
  Status Hello(const Call& call);
  Status CheckKnown(const LogPlace& place, const Call& call);
  Status ReadOn(LogFeed* feed, const Call& call);
  Result<LogClient::Outcome> ReadSnapshot(LogFeed* feed, const Call& call);
  Result<LogPlace> PullFrom(const LogPlace& since, PageSink* sink, const Call& call);
  Result<LogPlace> PullAll(PageSink* sink, const Call& call);
  Status ReadOnly() const;

  const LibsqlAddress address_;
  Traffic traffic_;
  LogClient log_;
  std::optional<LogHello> hello_;
  uint64_t end_ = 0;  // How many frames this server process surely has. (LR2)
};

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_LIBSQL_REMOTE_H_
