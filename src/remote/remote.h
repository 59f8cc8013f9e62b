// The primary, as a replica sees it.
//
// Calls block, keep to the deadline of their Call and can be interrupted. What a failure means is
// the same for every protocol:
//   kUnavailable     No usable answer, and the primary did not act. Try again later.
//   kOutcomeUnknown  A commit was sent and no answer came. Settle it before anything else.
//   kConflict        The primary is no longer at the revision the call was based on.
//   kBusy            Somebody else has the lease.
//   kDenied          The primary does not know us. kReadOnly: it does not let us write.
//   kNotFound        There is no such database at the primary.
//   kCorrupt         The answer does not parse or does not verify. Nothing was applied.
//   kInterrupted     Call::interrupted said so. For a commit already sent: kOutcomeUnknown instead.
// One thread at a time may use a Remote; a replica has one for its writers and one for its
// follower.

#ifndef TURSO_SRC_REMOTE_REMOTE_H_
#define TURSO_SRC_REMOTE_REMOTE_H_

#include <array>
#include <atomic>
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/clock.h"
#include "src/base/page_set.h"
#include "src/base/status.h"

namespace turso {

class PageReader;
class ScratchMaker;

// A state of the primary's database, in the words of its protocol: opaque to all others, equal or
// not. Up to 63 bytes of printable ASCII without blanks; empty means "nothing yet". Trivially
// copyable, so it can lie in a file.
class Revision {
 public:
  static constexpr size_t kMaxLength = 63;

  Revision() = default;
  // Nothing if `text` is too long or has other characters.
  static std::optional<Revision> Parse(std::string_view text);

  std::string_view text() const { return {text_.data()}; }
  bool empty() const { return text_[0] == 0; }
  friend bool operator==(const Revision&, const Revision&) = default;

 private:
  std::array<char, kMaxLength + 1> text_{};
};

// Which replica, and which of its commits. Numbers of one replica only grow; it never sends a
// second one before it knows what became of the first. Copies of a replica may break that.
struct CommitId {
  std::array<uint8_t, 16> replica{};
  uint64_t number = 0;
  friend bool operator==(const CommitId&, const CommitId&) = default;
};

// How long a call may take and who may end it.
struct Call {
  // Bounds connecting, each stretch without progress, and the answer after the last byte sent.
  Duration timeout = seconds(10);
  // Asked several times a second; may be empty.
  std::function<bool()> interrupted;
  // Ends the call at once when it turns true (with Remote::Cancel).
  const std::atomic<bool>* cancelled = nullptr;
  std::array<uint8_t, 16> replica{};  // Who asks; zeros for nobody in particular.
};

// What the primary says of the database itself.
struct Identity {
  std::string database_id;  // The same wherever the database is moved.
  std::string protocol;     // "primary", "libsql", ...
  uint32_t page_size = 0;
  uint64_t db_size = 0;  // In pages, now.
  Revision revision;     // Now.
  // Others may have this `database_id` too. Then those of another are told by their history, which
  // is unrelated; so can be what is left of one's own, and if the replica that asks has committed
  // there, it `knows_replica`.
  bool is_ambiguous = false;
  bool knows_replica = false;
};

// Takes the pages of a pull. A page may come twice: the later image counts. Any failure ends the
// pull.
class PageSink {
 public:
  virtual ~PageSink() = default;
  // Before all others, if the pages do not build on the revision that was asked from but on a later
  // one: a commit of this very replica, which need not be sent back.
  virtual void Base(const Revision&) {}
  // Before the first page, and again whenever the size changes during a long pull.
  virtual Status Size(uint32_t page_size, uint32_t db_size) = 0;
  virtual Status Page(PageNo page, ByteView image) = 0;
};

enum class Order { kBefore, kEqual, kAfter, kUnrelated };

struct LeaseAnswer {
  uint64_t fence = 0;   // Grows with every lease granted.
  Duration lifetime{};  // From before the request was sent.
  Revision revision;  // The primary's, and nobody but the holder can move it while the lease lives.
  bool pages_sent = false;  // The sink got everything from the asked-for base to `revision`.
};

struct LeaseRequest {
  std::array<uint8_t, 16> holder{};
  Revision base;  // What the asking replica can pull from.
  // How long the primary may keep the question open while another has the lease. Short: SQLite's
  // busy handler counts its own sleeps only, so each try makes the application's timeout longer by
  // this. The place in the queue is kept.
  Duration hold = milliseconds(20);
  // Where it stands, if commits of its own are on top of `base`, and the primary's pages of them
  // are not wanted unless others have written. The answer's revision may be this one if nobody has.
  Revision current = {};
};

// What a transaction changes, ready to be sent: the pages, and for a primary that takes rows and
// schema in their place, what those are found from.
struct Transaction {
  CommitId id;
  Revision base;       // Also one that a CommitAnswer named, of a primary that takes no pages.
  uint64_t fence = 0;  // 0: no lease is held; a compare-and-swap alone decides.
  const PageSet* pages = nullptr;
  Revision origin = {};          // What can be pulled from, at `base` or before it.
  PageReader* before = nullptr;  // The database at `base`...
  uint32_t size_before = 0;      // ...which has so many pages.
  ScratchMaker* scratch = nullptr;
};

struct CommitAnswer {
  Revision revision;
  bool lease_ended = false;  // Somebody waits: the primary took the lease back with the commit.
};

// kUnknown: the primary cannot tell any more, but nothing new will become of it.
enum class SettleOutcome { kCommitted, kRefused, kUnknown };
struct SettleAnswer {
  SettleOutcome outcome = SettleOutcome::kRefused;
  Revision revision;  // Of the commit, if it was committed.
};

struct PageHash {
  uint64_t low = 0;
  uint64_t high = 0;
  friend bool operator==(const PageHash&, const PageHash&) = default;
};
// XXH3-128 of a page; for page 1, byte 18 counts as 2 (a replica's file shows 3 there).
PageHash HashPage(PageNo page, ByteView image);

struct HashesAnswer {
  Revision revision;
  std::vector<PageHash> hashes;  // Of pages 1, 2, ... of that revision.
};

class Remote {
 public:
  virtual ~Remote() = default;

  // Whether a commit's pages are the primary's from then on. If not, the primary has made its own
  // pages of the same content, and the revision of a CommitAnswer or a SettleAnswer is one that
  // nothing can be pulled from; pages since the base of the commit bring the primary's. To Compare
  // it equals the revision that they then make if nobody else has written meanwhile.
  virtual bool TakesPages() const { return true; }
  // Whether a lease that rests is taken up without asking, by any process of the replica.
  virtual bool SharesLeases() const { return true; }

  virtual Result<Identity> Identify(const Call& call) = 0;
  // Brings `sink` everything that changed since `since` (empty: the whole database) and returns the
  // revision that the pages then make. kConflict: `since` is unrelated to the primary's history,
  // compare hashes or start again. With `wait` above zero: when there is nothing new, the primary
  // may keep the question open that long.
  virtual Result<Revision> Pull(const Revision& since, Duration wait, PageSink* sink,
                                const Call& call) = 0;
  // `sink` may get the pages that lead from request.base to the answer's revision, when they are
  // few.
  virtual Result<LeaseAnswer> AcquireLease(const LeaseRequest& request, PageSink* sink,
                                           const Call& call) = 0;
  // The new lifetime; kConflict if the lease is lost.
  virtual Result<Duration> RenewLease(const std::array<uint8_t, 16>& holder, uint64_t fence,
                                      const Call& call) = 0;
  virtual Status ReleaseLease(const std::array<uint8_t, 16>& holder, uint64_t fence,
                              const Call& call) = 0;
  // kInvalid: pages that make no database; or a number below one of the same replica that the
  // primary knows. Nothing was done.
  virtual Result<CommitAnswer> Commit(const Transaction& transaction, const Call& call) = 0;
  // Fences: afterwards that commit is in the history for ever or will never be.
  virtual Result<SettleAnswer> Settle(const CommitId& id, const Call& call) = 0;
  virtual Result<HashesAnswer> Hashes(const Call& call) = 0;
  // Some pages as they are now; those beyond the end are left out. Returns the revision that they
  // are of.
  virtual Result<Revision> Fetch(const std::vector<PageNo>& pages, PageSink* sink,
                                 const Call& call) = 0;
  // How `a` stands to `b` in the primary's history.
  virtual Result<Order> Compare(const Revision& a, const Revision& b, const Call& call) = 0;

  // Exchanges and bytes so far. Any thread.
  struct Traffic {
    std::atomic<uint64_t> round_trips{0};
    std::atomic<uint64_t> bytes_sent{0};
    std::atomic<uint64_t> bytes_received{0};
  };
  virtual const Traffic& traffic() const = 0;
  // Ends a call that is under way in another thread, whose Call::cancelled has been set. Any
  // thread.
  virtual void Cancel() = 0;
};

struct Endpoint {
  std::string url;         // As the user gave it.
  std::string token;       // Bearer; empty for none.
  std::string token_file;  // Read at first use and again after a 401; wins over token.
  std::string protocol = "auto";
};

// No exchange with the network. kInvalid for a URL or a protocol that is not known.
Result<std::unique_ptr<Remote>> OpenRemote(const Endpoint& endpoint);

// For tests that need faults on command: from now on OpenRemote asks `opener`; null: as before.
using RemoteOpener = std::function<Result<std::unique_ptr<Remote>>(const Endpoint&)>;
void SetRemoteOpener(RemoteOpener opener);

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_REMOTE_H_
