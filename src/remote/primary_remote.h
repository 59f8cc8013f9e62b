// A primary of this project, over the protocol of src/primary/README.md.
//
// Every call is one POST of a message to BASE/_turso/v1/CALL, a pull as many as it has parts; while
// the sink takes one part, the next is on its way.
//   (PR1) What a sink is given was verified: checksum, page size, page numbers within the size of
//         the database, parts that move forward.
//   (PR2) A commit is kOutcomeUnknown unless the primary itself said what became of it, or surely
//         nothing of it was sent, or it was turned away before it reached the primary.
//   (PR3) The token is in no text and in no field of an error.
//   (PR4) Who answers 429 or 503 and says when to come again is asked again then, if that is before
//         the call's timeout has gone by since it was asked first; else the text says what it said.

#ifndef TURSO_SRC_REMOTE_PRIMARY_REMOTE_H_
#define TURSO_SRC_REMOTE_PRIMARY_REMOTE_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/http/http_client.h"
#include "src/remote/bearer_token.h"
#include "src/remote/remote.h"
#include "src/wire/message.h"

namespace turso {

struct PrimaryAddress {
  std::string base;  // http(s)://host[:port]/database, no credentials, no slash at the end.
  std::string token;
  std::string token_file;             // Wins over token.
  PageCodec codec = PageCodec::kLz4;  // For pages in either direction.
};

class PrimaryRemote : public Remote {
 public:
  explicit PrimaryRemote(PrimaryAddress address);

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
  void Cancel() override { http_.Cancel(); }

 private:
  // An answer of the primary's that decoded.
  struct Answer {
    std::unique_ptr<const std::string> bytes;  // Does not move: `message` looks into it.
    Message message;
  };
  struct Part;
  class PullInParts;

  // A call without pages in its request.
  Result<Answer> Ask(const char* name, const HeadText& head, const Call& call);
  // The same in two steps, with something else in between. Begin may be called only when nothing is
  // under way.
  void Begin(const char* name, std::string body, Repeat repeat, Duration answer_wait,
             const Call& call);
  Result<Answer> Finish(const Call& call);
  HttpOutcome Exchanged(const Patience& patience);

  Result<Answer> Judge(HttpOutcome outcome) const;
  Status JudgeRefusal(const HttpAnswer& answer) const;
  Status JudgeStranger(const HttpAnswer& answer) const;
  Status OutcomeUnknown(const std::string& why) const;
  Status Corrupt(const Status& what) const;
  const char* CodecName() const;

  Result<Part> ReadPart(const Answer& answer) const;
  Status FeedPages(const Answer& answer, const Part& part, PageSink* sink);
  Result<HashesAnswer> HashesOnce(const Call& call);
  Result<Revision> FetchOnce(const std::vector<PageNo>& pages, PageSink* sink, const Call& call);

  const PrimaryAddress address_;
  BearerToken token_;
  HttpClient http_;
  HttpRequest request_;
  Instant begun_at_;
  Traffic traffic_;
};

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_PRIMARY_REMOTE_H_
