#include "src/remote/libsql_remote.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "src/base/fork_gate.h"
#include "src/base/guard.h"

namespace turso {

namespace {

// A batch ends with the first transaction that brings it to so many frames; a shorter one with the
// log.
constexpr uint64_t kFramesInBatch = 1024;
constexpr Duration kNewsInterval = milliseconds(100);
constexpr Duration kSnapshotPause = milliseconds(200);

// What a log without frames stands for: page 1 as newDatabase() in SQLite's btree.c makes it.
Bytes EmptyDatabase() {
  Bytes page(kLibsqlPageSize);
  const std::string_view magic("SQLite format 3\0", 16);
  std::copy(magic.begin(), magic.end(), page.begin());
  StoreBig16(&page[16], kLibsqlPageSize);
  page[kWriteVersionAt] = page[kReadVersionAt] = kWalModeVersion;
  page[21] = 64;
  page[22] = page[23] = 32;
  StoreBig32(&page[28], 1);
  page[100] = 0x0d;
  StoreBig16(&page[105], kLibsqlPageSize);
  return page;
}

// What is known of each server process that we have met, by its session.
class Known {
 public:
  // Never destroyed: threads may end after the library's statics.
  static Known& All() {
    static auto* all = new Known;
    return *all;
  }
  // It surely has so many frames.
  void NoteEnd(const std::string& session, uint64_t end) {
    ForkGate::Inside inside;
    std::lock_guard lock(mutex_);
    uint64_t* known = &Of(session)->end;
    *known = std::max(*known, end);
  }
  uint64_t EndOf(const std::string& session) {
    ForkGate::Inside inside;
    std::lock_guard lock(mutex_);
    return Of(session)->end;
  }
  // Its log goes through that place.
  void NoteProven(const std::string& session, const LogPlace& place) {
    ForkGate::Inside inside;
    std::lock_guard lock(mutex_);
    std::map<uint64_t, uint64_t>* proven = &Of(session)->proven;
    (*proven)[place.next] = place.checksum;
    if (proven->size() > kPlacesMax) proven->erase(proven->begin());
  }
  bool IsProven(const std::string& session, const LogPlace& place) {
    ForkGate::Inside inside;
    std::lock_guard lock(mutex_);
    const std::map<uint64_t, uint64_t>& proven = Of(session)->proven;
    const auto found = proven.find(place.next);
    return found != proven.end() && found->second == place.checksum;
  }

 private:
  static constexpr size_t kSessionsMax = 100;
  static constexpr size_t kPlacesMax = 64;

  struct Session {
    uint64_t end = 0;
    std::map<uint64_t, uint64_t> proven;  // Checksums of the frames before, by what is next.
  };
  Session* Of(const std::string& session) {
    if (sessions_.size() >= kSessionsMax && sessions_.count(session) == 0) sessions_.clear();
    return &sessions_[session];
  }

  std::mutex mutex_;
  std::map<std::string, Session> sessions_;
};

// Passes on a batch that begins one frame early, with the last one that came before. (LR7)
class Overlapping : public FrameSink {
 public:
  Overlapping(const LogPlace& place, FrameSink* sink) : place_(place), sink_(sink) {}
  Status Frame(const LogFrame& frame) override {
    if (seen_) return sink_->Frame(frame);
    seen_ = true;
    fits_ = frame.number + 1 == place_.next && frame.checksum == place_.checksum &&
            frame.size_after != 0;
    // What follows is of another history.
    return fits_ ? OkStatus() : Status(Code::kConflict, "another frame");
  }
  bool seen() const { return seen_; }
  bool differs() const { return seen_ && !fits_; }

 private:
  const LogPlace place_;
  FrameSink* sink_;
  bool seen_ = false, fits_ = false;
};

// The last frame that comes.
class LastFrame : public FrameSink {
 public:
  Status Frame(const LogFrame& frame) override {
    last_ = frame;
    last_->image = {};  // It does not outlive the call.
    return OkStatus();
  }
  const std::optional<LogFrame>& last() const { return last_; }

 private:
  std::optional<LogFrame> last_;
};

class Hashing : public PageSink {
 public:
  Status Size(uint32_t, uint32_t db_size) override {
    size_ = db_size;
    return OkStatus();
  }
  Status Page(PageNo page, ByteView image) override {
    if (page.value == 0 || page.value > size_) return Status(Code::kCorrupt, "a page");
    hashes_[page.value] = HashPage(page, image);
    return OkStatus();
  }
  // After a pull that succeeded: only then is it known that there are so many pages. (LL3)
  std::vector<PageHash> Take() {
    std::vector<PageHash> all(size_);
    for (const auto& [page, hash] : hashes_) {
      if (page <= size_) all[page - 1] = hash;
    }
    return all;
  }

 private:
  uint32_t size_ = 0;
  std::map<uint32_t, PageHash> hashes_;
};

// Passes on some pages.
class Choosing : public PageSink {
 public:
  Choosing(const std::vector<PageNo>& pages, PageSink* sink)
      : pages_(pages.begin(), pages.end()), sink_(sink) {}
  Status Size(uint32_t page_size, uint32_t db_size) override {
    return sink_->Size(page_size, db_size);
  }
  Status Page(PageNo page, ByteView image) override {
    return pages_.count(page) != 0 ? sink_->Page(page, image) : OkStatus();
  }

 private:
  const std::set<PageNo> pages_;
  PageSink* sink_;
};

}  // namespace

LibsqlRemote::LibsqlRemote(const LibsqlAddress& address)
    : address_(address), log_(address, &traffic_), hrana_(address, &traffic_) {}

Status LibsqlRemote::Hello(const Call& call) {
  hello_.reset();
  Result<LogHello> hello = log_.Hello(call);
  if (!hello.ok()) return hello.status();
  hello_ = *std::move(hello);
  NoteEnd(hello_->end);
  return OkStatus();
}

void LibsqlRemote::NoteEnd(uint64_t end) {
  if (hello_) Known::All().NoteEnd(hello_->session, end);
}

void LibsqlRemote::NoteProven(const LogPlace& place) {
  if (hello_ && place.next > 0) Known::All().NoteProven(hello_->session, place);
}

// (LR7)
bool LibsqlRemote::IsProven(const LogPlace& place) const {
  return hello_ && place.log == hello_->log &&
         (place.next == 0 || Known::All().IsProven(hello_->session, place));
}

// The server process of the last Hello, as an exact place names it.
uint32_t LibsqlRemote::session() const {
  return hello_ ? static_cast<uint32_t>(LogChecksum(0, AsBytes(hello_->session))) : 0;
}

// Whether what the log has up to `place` is known, in the process that was greeted last. (LR5)
bool LibsqlRemote::IsBaseNow(const LogPlace& place) const {
  if (!place.IsBase()) return false;
  if (!place.exact || !hello_ || place.session == session()) return true;
  return checked_.session == session() && checked_.place == place.ToRevision();
}

// Whether the server's log goes through `place`; kConflict if not. (LR2)
Status LibsqlRemote::CheckKnown(const LogPlace& place, const Call& call) {
  const auto known = [&] {
    return hello_ && place.log == hello_->log && place.next <= Known::All().EndOf(hello_->session);
  };
  if (!known()) TURSO_RETURN_IF_ERROR(Hello(call));
  return known() ? OkStatus() : Conflict();
}

Status LibsqlRemote::Conflict() const {
  return Status(Code::kConflict, address_.base +
                                     ": its log is not the one that this replica was made from, or "
                                     "it went back");
}

// From the feed's place on; with the proof, that the log goes through there. kConflict if not.
Result<LogClient::Outcome> LibsqlRemote::ReadBatch(LogFeed* feed, Proof proof, const Call& call) {
  feed->Begin(LogFeed::Kind::kBatch);
  const LogPlace from = feed->place();
  if (proof == Proof::kNo) return log_.Batch(from.next, feed, call);
  Overlapping overlapping(from, feed);
  Result<LogClient::Outcome> outcome = log_.Batch(from.next - 1, &overlapping, call);
  const bool lacks_frame =
      outcome.ok() && *outcome == LogClient::Outcome::kFrames && !overlapping.seen();
  if (lacks_frame || overlapping.differs()) return Conflict();
  return outcome;
}

// An answer is whole: what is known of the server process by it.
Status LibsqlRemote::EndAnswer(LogFeed* feed) {
  TURSO_RETURN_IF_ERROR(feed->End().While(address_.base));
  NoteEnd(feed->place().next);
  NoteProven(feed->place());
  return OkStatus();
}

// Brings `feed` as far as the log goes now.
Status LibsqlRemote::ReadOn(LogFeed* feed, const Call& call) {
  constexpr int kGreetingsMax = 3;
  int greetings = 0;
  bool skips_proof = false;
  for (;;) {
    const bool proves = !skips_proof && !IsProven(feed->place());
    Result<LogClient::Outcome> outcome = ReadBatch(feed, proves ? Proof::kYes : Proof::kNo, call);
    if (outcome.ok() && *outcome == LogClient::Outcome::kNeedSnapshot) {
      if (proves) {
        // That frame has left the log, where only the newest of each page is kept.
        skips_proof = true;
        continue;
      }
      outcome = ReadSnapshot(feed, call);
      if (outcome.ok() && *outcome == LogClient::Outcome::kFrames) continue;
    }
    if (!outcome.ok()) return outcome.status();
    if (*outcome == LogClient::Outcome::kNoHello) {
      if (++greetings > kGreetingsMax) {
        return Status(Code::kUnavailable, address_.base + ": it forgets its clients at once");
      }
      TURSO_RETURN_IF_ERROR(CheckKnown(feed->place(), call));
      TURSO_RETURN_IF_ERROR(Hello(call));
      TURSO_RETURN_IF_ERROR(CheckKnown(feed->place(), call));
      skips_proof = false;
      continue;
    }
    TURSO_RETURN_IF_ERROR(EndAnswer(feed));
    if (feed->frames() + (proves ? 1 : 0) < kFramesInBatch) return OkStatus();
  }
}

Result<LogClient::Outcome> LibsqlRemote::ReadSnapshot(LogFeed* feed, const Call& call) {
  const Instant deadline = Instant::Now() + call.timeout;
  for (;;) {
    feed->Begin(LogFeed::Kind::kSnapshot);
    Result<LogClient::Outcome> outcome = log_.Snapshot(feed->place().next, feed, call);
    if (!outcome.ok()) return outcome;
    if (*outcome == LogClient::Outcome::kFrames) {
      if (feed->frames() == 0) {
        return Status(Code::kCorrupt, address_.base + ": a snapshot without frames");
      }
      TURSO_RETURN_IF_ERROR(EndAnswer(feed));
    }
    // It is made in the background, after the log was cut.
    if (*outcome != LogClient::Outcome::kNotYet) return outcome;
    if (Instant::Now() >= deadline) {
      return Status(Code::kUnavailable,
                    address_.base + ": makes a snapshot of its log, and is not done yet");
    }
    TURSO_RETURN_IF_ERROR(log_.Rest(kSnapshotPause, call));
  }
}

Result<LogPlace> LibsqlRemote::PullFrom(const LogPlace& since, PageSink* sink, const Call& call) {
  LogFeed feed(since, sink);
  TURSO_RETURN_IF_ERROR(ReadOn(&feed, call));
  TURSO_RETURN_IF_ERROR(feed.Finish().While(address_.base));
  return feed.place();
}

// Nothing if no frames come within `wait`.
Result<std::optional<LogPlace>> LibsqlRemote::AwaitFrom(const LogPlace& since, PageSink* sink,
                                                        Duration wait, const Call& call) {
  LogFeed feed(since, sink);
  feed.Begin(LogFeed::Kind::kBatch);
  Result<bool> came = log_.Await(since.next, &feed, std::max(wait, Duration{}), call);
  if (!came.ok()) return came.status();
  if (!*came) return std::optional<LogPlace>();
  TURSO_RETURN_IF_ERROR(EndAnswer(&feed));
  TURSO_RETURN_IF_ERROR(feed.Finish().While(address_.base));
  last_news_ = Instant::Now();
  return std::optional(feed.place());
}

Result<LogPlace> LibsqlRemote::PullAll(PageSink* sink, const Call& call) {
  if (!hello_) TURSO_RETURN_IF_ERROR(Hello(call));
  LogPlace since;
  since.log = hello_->log;
  Result<LogPlace> place = PullFrom(since, sink, call);
  if (!place.ok() || place->next > 0) {
    if (place.status().code() != Code::kConflict) return place;
    return Status(Code::kUnavailable, address_.base + ": was started anew during the pull");
  }
  place->db_size = 1;
  TURSO_RETURN_IF_ERROR(sink->Size(kLibsqlPageSize, 1));
  TURSO_RETURN_IF_ERROR(sink->Page(PageNo{1}, EmptyDatabase()));
  return place;
}

Result<Revision> LibsqlRemote::Pull(const Revision& since, Duration wait, PageSink* sink,
                                    const Call& call) {
  const Instant end = Instant::Now() + wait;
  if (since.empty()) {
    Result<LogPlace> place = PullAll(sink, call);
    if (!place.ok()) return place.status();
    return place->ToRevision();
  }
  const std::optional<LogPlace> from = LogPlace::Parse(since);
  if (!from || from->provisional) {
    return Status(Code::kConflict,
                  address_.base + ": " + std::string(since.text()) + " is no place in its log");
  }
  TURSO_RETURN_IF_ERROR(CheckKnown(*from, call));
  for (bool asks = wait <= Duration{} || !log_.IsAwaiting(from->next);; asks = true) {
    if (asks) {
      Result<LogPlace> place = PullFrom(*from, sink, call);
      if (!place.ok()) return place.status();
      if (place->next != from->next || Instant::Now() >= end) return place->ToRevision();
    }
    // Who writes in a row is followed in some steps, not in each of his.
    TURSO_RETURN_IF_ERROR(log_.Rest(last_news_ + kNewsInterval - Instant::Now(), call));
    Result<std::optional<LogPlace>> came = AwaitFrom(*from, sink, end - Instant::Now(), call);
    if (!came.ok()) return came.status();
    if (came->has_value()) return (*came)->ToRevision();
  }
}

Result<Identity> LibsqlRemote::Identify(const Call& call) {
  TURSO_RETURN_IF_ERROR(Hello(call));
  LogPlace place;
  place.log = hello_->log;
  place.db_size = 1;
  if (hello_->end > 0) {
    LastFrame frames;
    Result<LogClient::Outcome> outcome = log_.Batch(hello_->end - 1, &frames, call);
    if (outcome.ok() && *outcome == LogClient::Outcome::kNeedSnapshot) {
      outcome = log_.Snapshot(hello_->end - 1, &frames, call);
    }
    if (!outcome.ok()) return outcome.status();
    if (*outcome != LogClient::Outcome::kFrames || !frames.last()) {
      return Status(Code::kUnavailable, address_.base + ": its log moves; try again");
    }
    place.next = frames.last()->number + 1;
    place.checksum = frames.last()->checksum;
    place.db_size = frames.last()->size_after;
    NoteEnd(place.next);
  }
  Result<bool> knows_replica = Knows(call.replica, call);
  if (!knows_replica.ok()) return knows_replica.status();
  return Identity{"libsql:" + address_.database,
                  "libsql",
                  kLibsqlPageSize,
                  place.db_size,
                  place.ToRevision(),
                  true,
                  *knows_replica};
}

Result<HashesAnswer> LibsqlRemote::Hashes(const Call& call) {
  Hashing hashing;
  Result<LogPlace> place = PullAll(&hashing, call);
  if (!place.ok()) return place.status();
  return HashesAnswer{place->ToRevision(), hashing.Take()};
}

// The log has no other way to some pages than through all of them.
Result<Revision> LibsqlRemote::Fetch(const std::vector<PageNo>& pages, PageSink* sink,
                                     const Call& call) {
  Choosing choosing(pages, sink);
  Result<LogPlace> place = PullAll(&choosing, call);
  if (!place.ok()) return place.status();
  return place->ToRevision();
}

Result<Order> LibsqlRemote::Compare(const Revision& a, const Revision& b, const Call&) {
  const std::optional<LogPlace> left = LogPlace::Parse(a), right = LogPlace::Parse(b);
  if (!left || !right || left->log != right->log) return Order::kUnrelated;
  if (a == b) return Order::kEqual;
  if (left->next != right->next) {
    return left->next < right->next ? Order::kBefore : Order::kAfter;
  }
  if (!IsBaseNow(*right)) return Order::kAfter;
  if (!IsBaseNow(*left)) return Order::kBefore;
  // (LR5)
  return left->exact || right->exact ? Order::kEqual : Order::kUnrelated;
}

}  // namespace turso
