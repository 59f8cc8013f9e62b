#include "src/primary/history.h"

#include <algorithm>
#include <charconv>

#include "src/base/bytes.h"

namespace turso {

std::string RevisionId::text() const {
  uint8_t bytes[8];
  StoreBig64(bytes, epoch);
  return ToHex(bytes) + "-" + std::to_string(counter);
}

std::optional<RevisionId> RevisionId::Parse(std::string_view text) {
  if (text.size() < 18 || text[16] != '-') return std::nullopt;
  std::optional<Bytes> epoch = FromHex(text.substr(0, 16));
  if (!epoch) return std::nullopt;
  RevisionId id;
  id.epoch = LoadBig64(epoch->data());
  const char* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data() + 17, end, id.counter);
  // One revision has one text, since texts are compared.
  if (error != std::errc() || stop != end || id.text() != text) return std::nullopt;
  return id;
}

History::History(const State& state)
    : counter_(state.counter), epochs_(state.epochs), commits_(state.commits) {
  for (const PageRun& run : state.runs) changed_.insert(changed_.end(), run.pages, run.counter);
}

History::State History::state() const {
  State state{counter_, epochs_, {}, commits_};
  for (uint64_t counter : changed_) {
    if (!state.runs.empty() && state.runs.back().counter == counter) {
      state.runs.back().pages++;
    } else {
      state.runs.push_back({1, counter});
    }
  }
  return state;
}

void History::Advance(std::span<const PageNo> pages, uint32_t db_size) {
  counter_++;
  changed_.resize(db_size, counter_);
  for (PageNo page : pages) {
    if (page.value >= 1 && page.value <= db_size) changed_[page.value - 1] = counter_;
  }
}

void History::AdvanceAll(uint32_t db_size) {
  counter_++;
  changed_.assign(db_size, counter_);
}

std::optional<uint64_t> History::Find(const RevisionId& revision) const {
  // Newest first: nearly every question is about the running epoch.
  for (size_t i = epochs_.size(); i-- > 0;) {
    if (epochs_[i].id != revision.epoch) continue;
    uint64_t last = i + 1 < epochs_.size() ? epochs_[i + 1].start : counter_;
    if (revision.counter < epochs_[i].start || revision.counter > last) return std::nullopt;
    return revision.counter;
  }
  return std::nullopt;
}

RevisionId History::RevisionAt(uint64_t counter) const {
  for (size_t i = epochs_.size(); i-- > 0;) {
    if (epochs_[i].start < counter || i == 0) return {epochs_[i].id, counter};
  }
  return {0, counter};
}

std::vector<PageNo> History::ChangedSince(uint64_t since, PageNo after, size_t limit) const {
  std::vector<PageNo> pages;
  for (size_t i = after.value; i < changed_.size() && pages.size() < limit; i++) {
    if (changed_[i] > since) pages.push_back({static_cast<uint32_t>(i + 1)});
  }
  return pages;
}

const LatestCommit* History::FindCommit(const ReplicaId& replica) const {
  auto it = commits_.find(replica);
  return it == commits_.end() ? nullptr : &it->second;
}

void History::ForgetRefused(int64_t before) {
  std::erase_if(commits_, [&](const auto& entry) {
    const LatestCommit& commit = entry.second;
    return commit.outcome == Outcome::kRefused && commit.heard_of < before &&
           commit.counter < counter_;
  });
}

}  // namespace turso
