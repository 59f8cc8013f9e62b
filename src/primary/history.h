// What the primary knows of the past of one database: not the old pages, but which revision last
// changed each page, what became of every replica's latest commit, and which revisions there ever
// were.
//
//   revision := epoch-counter            16 hexadecimal digits, a dash, a decimal number
//   counter     grows by one with every change, over all starts of the server
//   epoch       random, new with every start
//
//   epochs   A [1 .. 7]   B [7 .. 7]   C [7 .. now]     the counters that each has seen
//
//   (HI1) A revision is known if its epoch is on the list and its counter within that epoch's
//        range. Known revisions with the same counter have the same content. All others are
//        unrelated: they come from another past, such as the one that a restored backup does not
//        remember.
//   (HI2) A page that differs between known revisions a < b has a counter above a's at b. So a page
//        that was cut off and came back counts as changed.
//   (HI3) Of each replica the highest commit number is kept, with its outcome. A committed one is
//        never forgotten: a replica may ask years later. A refused one may be after a while, if
//        there is a newer revision than there was when it was refused: then the base of a request
//        that still travels is not the newest, and never will be again.
// Not for use by several threads at once.

#ifndef TURSO_SRC_PRIMARY_HISTORY_H_
#define TURSO_SRC_PRIMARY_HISTORY_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/page_set.h"

namespace turso {

struct RevisionId {
  uint64_t epoch = 0;
  uint64_t counter = 0;
  friend bool operator==(const RevisionId&, const RevisionId&) = default;

  std::string text() const;
  static std::optional<RevisionId> Parse(std::string_view text);
};

using ReplicaId = std::array<uint8_t, 16>;

enum class Outcome : uint8_t {
  kCommitted = 1,
  kRefused = 2,
  kLost = 3,  // Cannot be told: another program changed the file after a crash and before the
              // server looked.
};

struct LatestCommit {
  uint64_t number = 0;
  Outcome outcome = Outcome::kRefused;
  uint64_t counter = 0;  // Of the revision that it made; or the newest when it was refused.
  int64_t heard_of = 0;  // Unix time, in seconds.
  friend bool operator==(const LatestCommit&, const LatestCommit&) = default;
};

struct Epoch {
  uint64_t id = 0;
  uint64_t start = 0;
  friend bool operator==(const Epoch&, const Epoch&) = default;
};

// Pages first, first+1, ... of the same counter.
struct PageRun {
  uint32_t pages = 0;
  uint64_t counter = 0;
  friend bool operator==(const PageRun&, const PageRun&) = default;
};

class History {
 public:
  // Everything, for the log's snapshot.
  struct State {
    uint64_t counter = 0;
    std::vector<Epoch> epochs;
    std::vector<PageRun> runs;
    std::map<ReplicaId, LatestCommit> commits;
    friend bool operator==(const State&, const State&) = default;
  };

  History() = default;
  explicit History(const State& state);
  State state() const;

  void StartEpoch(uint64_t id) { epochs_.push_back({id, counter_}); }
  // The next revision: `pages` changed, and the database has `db_size` pages.
  void Advance(std::span<const PageNo> pages, uint32_t db_size);
  // The next revision: any page may have changed.
  void AdvanceAll(uint32_t db_size);

  uint64_t counter() const { return counter_; }
  uint32_t db_size() const { return static_cast<uint32_t>(changed_.size()); }
  RevisionId head() const { return {epochs_.empty() ? 0 : epochs_.back().id, counter_}; }
  // How often the server has started with this database.
  uint32_t starts() const { return static_cast<uint32_t>(epochs_.size()); }
  // The counter of a revision that is known (HI1).
  std::optional<uint64_t> Find(const RevisionId& revision) const;
  // The revision that was announced when `counter` was made.
  RevisionId RevisionAt(uint64_t counter) const;
  // The first `limit` pages above `after` that changed after `since`, in ascending order.
  std::vector<PageNo> ChangedSince(uint64_t since, PageNo after, size_t limit) const;

  void NoteCommit(const ReplicaId& replica, const LatestCommit& commit) {
    commits_[replica] = commit;
  }
  const LatestCommit* FindCommit(const ReplicaId& replica) const;
  // Drops refused commits not heard of since `before` (Unix time), as far as (HI3) allows.
  void ForgetRefused(int64_t before);

 private:
  uint64_t counter_ = 0;
  std::vector<Epoch> epochs_;
  std::vector<uint64_t> changed_;  // By page, from page 1: the counter that last changed it.
  std::map<ReplicaId, LatestCommit> commits_;
};

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_HISTORY_H_
