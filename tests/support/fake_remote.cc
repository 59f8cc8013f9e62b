#include "tests/support/fake_remote.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace turso {

namespace {

constexpr Duration kPlaceKept = seconds(1);
constexpr Duration kSlice = milliseconds(10);

uint32_t PageSizeOf(ByteView file) {
  uint32_t size = file.size() >= 100 ? LoadBig16(file.data() + 16) : 0;
  return size == 1 ? 65536 : size;
}

}  // namespace

FakePrimary::FakePrimary(ByteView file) : page_size_(PageSizeOf(file)) {
  if (!IsPageSize(page_size_) || file.size() % page_size_ != 0) {
    std::fprintf(stderr, "FakePrimary: not a database file\n");
    std::abort();
  }
  for (size_t at = 0; at < file.size(); at += page_size_) {
    ByteView page = file.subspan(at, page_size_);
    pages_.emplace_back(page.begin(), page.end());
  }
  changed_at_.assign(pages_.size(), counter_);
  epoch_begins_.push_back(counter_);
}

Bytes FakePrimary::EmptyDatabase(uint32_t page_size) {
  Bytes file(page_size);
  uint8_t* header = file.data();  // https://sqlite.org/fileformat2.html#the_database_header
  std::memcpy(header, "SQLite format 3", 16);
  StoreBig16(header + 16, static_cast<uint16_t>(page_size == 65536 ? 1 : page_size));
  header[18] = header[19] = 2;
  header[21] = 64;
  header[22] = header[23] = 32;
  StoreBig32(header + 24, 1);  // Change counter,
  StoreBig32(header + 28, 1);  // size in pages,
  StoreBig32(header + 44, 4);  // schema format,
  StoreBig32(header + 56, 1);  // UTF-8,
  StoreBig32(header + 92, 1);  // the change counter that the size is valid for,
  StoreBig32(header + 96, 3040001);
  header[100] = 13;  // and an empty leaf of a table.
  StoreBig16(header + 105, static_cast<uint16_t>(page_size == 65536 ? 0 : page_size));
  return file;
}

Revision FakePrimary::RevisionOf(uint64_t counter) const {
  auto epoch = std::upper_bound(epoch_begins_.begin(), epoch_begins_.end(), counter) - 1;
  auto index = static_cast<uint64_t>(epoch - epoch_begins_.begin());
  char text[48];
  std::snprintf(text, sizeof text, "%016llx-%llu",
                static_cast<unsigned long long>(first_epoch_ + index),
                static_cast<unsigned long long>(counter));
  return *Revision::Parse(text);
}

std::optional<uint64_t> FakePrimary::CounterOf(const Revision& revision) const {
  std::string text(revision.text());
  size_t dash = text.find('-');
  if (dash == std::string::npos) return std::nullopt;
  uint64_t counter = std::strtoull(text.c_str() + dash + 1, nullptr, 10);
  if (counter < epoch_begins_[0] || counter > counter_) return std::nullopt;
  // The same number in another epoch is another state, or none.
  if (RevisionOf(counter) != revision) return std::nullopt;
  return counter;
}

Revision FakePrimary::revision() const {
  std::lock_guard lock(mutex_);
  return RevisionOf(counter_);
}

Bytes FakePrimary::File() const {
  std::lock_guard lock(mutex_);
  Bytes file;
  file.reserve(pages_.size() * page_size_);
  for (const Bytes& page : pages_) file.insert(file.end(), page.begin(), page.end());
  return file;
}

int FakePrimary::commits() const {
  std::lock_guard lock(mutex_);
  return commits_;
}

Status FakePrimary::Apply(const PageSet& pages) {
  if (pages.page_size() != page_size_ || pages.db_size() == 0) {
    return Status(Code::kInvalid, "a transaction of another page size, or of no pages");
  }
  for (const auto& [page, image] : pages) {
    if (page.value == 0 || page.value > pages.db_size()) {
      return Status(Code::kInvalid, "a page beyond the end of the database");
    }
  }
  counter_++;
  // Pages that a transaction adds without writing them are zeros, and are news all the same.
  pages_.resize(pages.db_size(), Bytes(page_size_));
  changed_at_.resize(pages.db_size(), counter_);
  for (const auto& [page, image] : pages) {
    pages_[page.value - 1].assign(image, image + page_size_);
    changed_at_[page.value - 1] = counter_;
  }
  changed_.notify_all();
  return OkStatus();
}

Revision FakePrimary::Write(const PageSet& pages) {
  std::lock_guard lock(mutex_);
  if (Status status = Apply(pages); !status.ok()) {
    std::fprintf(stderr, "FakePrimary::Write: %s\n", status.text().c_str());
    std::abort();
  }
  return RevisionOf(counter_);
}

Revision FakePrimary::WriteFile(ByteView file) {
  PageSet changes(page_size_);
  {
    std::lock_guard lock(mutex_);
    for (size_t i = 0; (i + 1) * page_size_ <= file.size(); i++) {
      ByteView page = file.subspan(i * page_size_, page_size_);
      if (i < pages_.size() && std::equal(page.begin(), page.end(), pages_[i].begin())) continue;
      changes.Put(PageNo{static_cast<uint32_t>(i + 1)}, page.data());
    }
  }
  changes.set_db_size(static_cast<uint32_t>(file.size() / page_size_));
  return Write(changes);
}

void FakePrimary::Restart() {
  std::lock_guard lock(mutex_);
  counter_++;
  epoch_begins_.push_back(counter_);
  lease_.reset();
  waiters_.clear();
  changed_.notify_all();
}

void FakePrimary::ForgetHistory() {
  std::lock_guard lock(mutex_);
  first_epoch_ += 0x1000;
  epoch_begins_.assign(1, counter_);
  changed_at_.assign(pages_.size(), counter_);
  outcomes_.clear();
  lease_.reset();
  waiters_.clear();
  changed_.notify_all();
}

void FakePrimary::set_lease_lifetime(Duration lifetime) {
  std::lock_guard lock(mutex_);
  lease_lifetime_ = lifetime;
}

void FakePrimary::set_lease_pages_max(size_t pages) {
  std::lock_guard lock(mutex_);
  lease_pages_max_ = pages;
}

std::vector<PageNo> FakePrimary::ChangedSince(uint64_t counter) const {
  std::vector<PageNo> changed;
  for (size_t i = 0; i < pages_.size(); i++) {
    if (changed_at_[i] > counter) changed.push_back(PageNo{static_cast<uint32_t>(i + 1)});
  }
  return changed;
}

bool FakePrimary::LeaseIsLive() const { return lease_ && lease_->expires > Instant::Now(); }

bool FakePrimary::IsOutnumbered(const CommitId& id) const {
  auto later = outcomes_.upper_bound({id.replica, id.number});
  return later != outcomes_.end() && later->first.first == id.replica;
}

void FakePrimary::DropOldWaiters() {
  Instant now = Instant::Now();
  std::erase_if(waiters_, [&](const Waiter& w) { return w.keeps_place_until <= now; });
}

bool FakePrimary::IsFirstInLine(const Holder& holder) {
  DropOldWaiters();
  return waiters_.empty() || waiters_.front().holder == holder;
}

Status FakePrimary::WaitABit(std::unique_lock<std::mutex>* lock, const Call& call) {
  changed_.wait_for(*lock, kSlice);
  if (call.cancelled && call.cancelled->load()) return Status(Code::kInterrupted, "cancelled");
  if (!call.interrupted) return OkStatus();
  lock->unlock();
  bool is_interrupted = call.interrupted();
  lock->lock();
  return is_interrupted ? Status(Code::kInterrupted, "interrupted") : OkStatus();
}

FakeRemote::FakeRemote(std::shared_ptr<FakePrimary> primary) : primary_(std::move(primary)) {}

void FakeRemote::FailCall(int nth, Code code, const char* call) {
  std::lock_guard lock(mutex_);
  faults_.push_back({nth, call ? call : "", code});
}

void FakeRemote::LoseAnswer(int nth, const char* call) {
  std::lock_guard lock(mutex_);
  faults_.push_back({nth, call ? call : "", std::nullopt});
}

void FakeRemote::DelayRequest(int nth) {
  std::lock_guard lock(mutex_);
  delay_ = nth;
}

bool FakeRemote::TakeDelay() {
  std::lock_guard lock(mutex_);
  return delay_ > 0 && --delay_ == 0;
}

void FakeRemote::CutPullAfter(size_t pages) {
  std::lock_guard lock(mutex_);
  cut_pull_after_ = pages;
}

void FakeRemote::Disconnect() {
  std::lock_guard lock(mutex_);
  disconnected_ = true;
}

void FakeRemote::Reconnect() {
  std::lock_guard lock(mutex_);
  disconnected_ = false;
}

void FakeRemote::set_before(std::function<void(const std::string& call)> before) {
  std::lock_guard lock(mutex_);
  before_ = std::move(before);
}

std::vector<std::string> FakeRemote::calls() const {
  std::lock_guard lock(mutex_);
  return calls_;
}

Status FakeRemote::Enter(const char* name, const Call& call, bool* answer_lost) {
  std::function<void(const std::string&)> before;
  Status status;
  {
    std::lock_guard lock(mutex_);
    calls_.push_back(name);
    before = before_;
    for (auto fault = faults_.begin(); fault != faults_.end();) {
      if ((!fault->call.empty() && fault->call != name) || --fault->countdown > 0) {
        ++fault;
        continue;
      }
      if (fault->code)
        status = Status(*fault->code, std::string("fake ") + name + ": told to fail");
      if (!fault->code) *answer_lost = true;
      fault = faults_.erase(fault);
    }
    if (disconnected_) status = Status(Code::kUnavailable, "fake primary: disconnected");
  }
  if (before) before(name);
  TURSO_RETURN_IF_ERROR(status);
  if (call.cancelled && call.cancelled->load()) return Status(Code::kInterrupted, "cancelled");
  traffic_.round_trips++;
  return OkStatus();
}

namespace {
Status AnswerLost() { return Status(Code::kUnavailable, "fake primary: the answer was lost"); }
}  // namespace

Result<Identity> FakeRemote::Identify(const Call& call) {
  bool answer_lost = false;
  TURSO_RETURN_IF_ERROR(Enter("identify", call, &answer_lost));
  std::lock_guard lock(primary_->mutex_);
  if (answer_lost) return AnswerLost();
  return Identity{"fa4e0000000000000000000000000001", "primary", primary_->page_size_,
                  primary_->pages_.size(), primary_->RevisionOf(primary_->counter_)};
}

Result<Revision> FakeRemote::Pull(const Revision& since, Duration wait, PageSink* sink,
                                  const Call& call) {
  bool answer_lost = false;
  TURSO_RETURN_IF_ERROR(Enter("pull", call, &answer_lost));
  std::vector<std::pair<PageNo, Bytes>> images;
  uint32_t db_size = 0;
  Revision revision;
  {
    std::unique_lock lock(primary_->mutex_);
    Instant deadline = Instant::Now() + wait;
    while (primary_->RevisionOf(primary_->counter_) == since && Instant::Now() < deadline) {
      TURSO_RETURN_IF_ERROR(primary_->WaitABit(&lock, call));
    }
    std::optional<uint64_t> counter = since.empty() ? 0 : primary_->CounterOf(since);
    if (!counter) return Status(Code::kConflict, "fake primary: an unknown revision");
    for (PageNo page : primary_->ChangedSince(*counter)) {
      images.emplace_back(page, primary_->pages_[page.value - 1]);
    }
    db_size = static_cast<uint32_t>(primary_->pages_.size());
    revision = primary_->RevisionOf(primary_->counter_);
  }
  if (answer_lost) return AnswerLost();
  std::optional<size_t> cut_after;
  {
    std::lock_guard lock(mutex_);
    std::swap(cut_after, cut_pull_after_);
  }
  if (revision != since) TURSO_RETURN_IF_ERROR(sink->Size(primary_->page_size_, db_size));
  for (size_t i = 0; i < images.size(); i++) {
    if (cut_after == i) return Status(Code::kUnavailable, "fake primary: the pull was cut off");
    traffic_.bytes_received += images[i].second.size();
    TURSO_RETURN_IF_ERROR(sink->Page(images[i].first, images[i].second));
  }
  return revision;
}

Result<LeaseAnswer> FakeRemote::AcquireLease(const LeaseRequest& request, PageSink* sink,
                                             const Call& call) {
  bool answer_lost = false;
  TURSO_RETURN_IF_ERROR(Enter("lease", call, &answer_lost));
  FakePrimary& p = *primary_;
  std::unique_lock lock(p.mutex_);
  Instant deadline = Instant::Now() + request.hold;
  for (;;) {
    bool is_taken = p.LeaseIsLive() && p.lease_->holder != request.holder;
    bool is_first = p.IsFirstInLine(request.holder);
    if (!is_taken && is_first) break;
    auto place = std::find_if(p.waiters_.begin(), p.waiters_.end(),
                              [&](const auto& w) { return w.holder == request.holder; });
    if (place == p.waiters_.end()) place = p.waiters_.insert(place, {request.holder, {}});
    place->keeps_place_until = Instant::Now() + kPlaceKept;
    if (Instant::Now() >= deadline)
      return Status(Code::kBusy, "fake primary: somebody has the lease");
    TURSO_RETURN_IF_ERROR(p.WaitABit(&lock, call));
  }
  std::erase_if(p.waiters_, [&](const auto& w) { return w.holder == request.holder; });
  p.lease_ = {request.holder, ++p.last_fence_, Instant::Now() + p.lease_lifetime_};
  LeaseAnswer answer{p.lease_->fence, p.lease_lifetime_, p.RevisionOf(p.counter_), false};
  std::vector<std::pair<PageNo, Bytes>> images;
  std::optional<uint64_t> base = p.CounterOf(request.base);
  if (base && sink) {
    std::vector<PageNo> changed = p.ChangedSince(*base);
    answer.pages_sent = changed.size() <= p.lease_pages_max_;
    for (PageNo page : changed) images.emplace_back(page, p.pages_[page.value - 1]);
  }
  auto db_size = static_cast<uint32_t>(p.pages_.size());
  lock.unlock();
  if (answer_lost) return AnswerLost();
  if (!answer.pages_sent || answer.revision == request.base) return answer;
  TURSO_RETURN_IF_ERROR(sink->Size(p.page_size_, db_size));
  for (const auto& [page, image] : images) TURSO_RETURN_IF_ERROR(sink->Page(page, image));
  return answer;
}

Result<Duration> FakeRemote::RenewLease(const std::array<uint8_t, 16>& holder, uint64_t fence,
                                        const Call& call) {
  bool answer_lost = false;
  TURSO_RETURN_IF_ERROR(Enter("renew", call, &answer_lost));
  std::lock_guard lock(primary_->mutex_);
  auto& lease = primary_->lease_;
  if (!primary_->LeaseIsLive() || lease->holder != holder || lease->fence != fence) {
    return Status(Code::kConflict, "fake primary: the lease is lost");
  }
  lease->expires = Instant::Now() + primary_->lease_lifetime_;
  if (answer_lost) return AnswerLost();
  return primary_->lease_lifetime_;
}

Status FakeRemote::ReleaseLease(const std::array<uint8_t, 16>& holder, uint64_t fence,
                                const Call& call) {
  bool answer_lost = false;
  TURSO_RETURN_IF_ERROR(Enter("release", call, &answer_lost));
  std::lock_guard lock(primary_->mutex_);
  auto& lease = primary_->lease_;
  if (lease && lease->holder == holder && lease->fence == fence) lease.reset();
  primary_->changed_.notify_all();
  return answer_lost ? AnswerLost() : OkStatus();
}

Result<CommitAnswer> FakePrimary::Commit(const Transaction& transaction) {
  auto key = std::make_pair(transaction.id.replica, transaction.id.number);
  if (auto known = outcomes_.find(key); known != outcomes_.end()) {
    if (known->second.is_committed) return known->second.answer;
    return Status(Code::kConflict, "fake primary: that commit was refused before");
  }
  if (IsOutnumbered(transaction.id)) {
    return Status(Code::kInvalid, "fake primary: that replica has made a later commit");
  }
  bool is_held_by_other = LeaseIsLive() && lease_->fence != transaction.fence;
  if (transaction.base != RevisionOf(counter_) || is_held_by_other) {
    outcomes_[key] = {};
    return Status(Code::kConflict, "fake primary: the base is not the newest revision");
  }
  TURSO_RETURN_IF_ERROR(Apply(*transaction.pages));
  commits_++;
  CommitAnswer answer{RevisionOf(counter_), false};
  DropOldWaiters();
  if (LeaseIsLive() && !waiters_.empty()) {
    answer.lease_ended = true;
    lease_.reset();
  } else if (LeaseIsLive()) {
    lease_->expires = Instant::Now() + lease_lifetime_;
  }
  outcomes_[key] = {true, answer};
  return answer;
}

std::vector<Code> FakePrimary::DeliverLate() {
  std::lock_guard lock(mutex_);
  std::vector<Code> codes;
  for (Late& late : late_) {
    late.transaction.pages = &late.pages;
    codes.push_back(Commit(late.transaction).status().code());
  }
  late_.clear();
  return codes;
}

Result<CommitAnswer> FakeRemote::Commit(const Transaction& transaction, const Call& call) {
  bool answer_lost = false;
  bool delayed = TakeDelay();
  TURSO_RETURN_IF_ERROR(Enter("commit", call, &answer_lost));
  Status unknown(Code::kOutcomeUnknown, "fake primary: the answer to a commit was lost");
  std::lock_guard lock(primary_->mutex_);
  const PageSet& pages = *transaction.pages;
  traffic_.bytes_sent += pages.size() * primary_->page_size_;
  if (delayed) {
    FakePrimary::Late& late = primary_->late_.emplace_back();
    late.transaction = transaction;
    late.pages = PageSet(pages.page_size());
    late.pages.set_db_size(pages.db_size());
    for (const auto& [page, image] : pages) late.pages.Put(page, image);
    return unknown;
  }
  Result<CommitAnswer> answer = primary_->Commit(transaction);
  if (answer_lost) return unknown;
  return answer;
}

Result<SettleAnswer> FakeRemote::Settle(const CommitId& id, const Call& call) {
  bool answer_lost = false;
  TURSO_RETURN_IF_ERROR(Enter("settle", call, &answer_lost));
  std::lock_guard lock(primary_->mutex_);
  if (primary_->IsOutnumbered(id)) return SettleAnswer{SettleOutcome::kUnknown, {}};
  const FakePrimary::Outcome& outcome = primary_->outcomes_[{id.replica, id.number}];
  if (answer_lost) return AnswerLost();
  if (!outcome.is_committed) return SettleAnswer{SettleOutcome::kRefused, {}};
  return SettleAnswer{SettleOutcome::kCommitted, outcome.answer.revision};
}

Result<HashesAnswer> FakeRemote::Hashes(const Call& call) {
  bool answer_lost = false;
  TURSO_RETURN_IF_ERROR(Enter("hashes", call, &answer_lost));
  std::lock_guard lock(primary_->mutex_);
  if (answer_lost) return AnswerLost();
  HashesAnswer answer{primary_->RevisionOf(primary_->counter_), {}};
  for (uint32_t i = 0; i < primary_->pages_.size(); i++) {
    answer.hashes.push_back(HashPage(PageNo{i + 1}, primary_->pages_[i]));
  }
  return answer;
}

Result<Revision> FakeRemote::Fetch(const std::vector<PageNo>& pages, PageSink* sink,
                                   const Call& call) {
  bool answer_lost = false;
  TURSO_RETURN_IF_ERROR(Enter("fetch", call, &answer_lost));
  std::lock_guard lock(primary_->mutex_);
  if (answer_lost) return AnswerLost();
  auto db_size = static_cast<uint32_t>(primary_->pages_.size());
  TURSO_RETURN_IF_ERROR(sink->Size(primary_->page_size_, db_size));
  for (PageNo page : pages) {
    if (page.value == 0 || page.value > db_size) continue;
    TURSO_RETURN_IF_ERROR(sink->Page(page, primary_->pages_[page.value - 1]));
  }
  return primary_->RevisionOf(primary_->counter_);
}

Result<Order> FakeRemote::Compare(const Revision& a, const Revision& b, const Call& call) {
  bool answer_lost = false;
  TURSO_RETURN_IF_ERROR(Enter("compare", call, &answer_lost));
  std::lock_guard lock(primary_->mutex_);
  if (answer_lost) return AnswerLost();
  std::optional<uint64_t> at_a = primary_->CounterOf(a), at_b = primary_->CounterOf(b);
  if (!at_a || !at_b) return Order::kUnrelated;
  return *at_a < *at_b ? Order::kBefore : *at_a > *at_b ? Order::kAfter : Order::kEqual;
}

void FakeRemote::Cancel() { primary_->changed_.notify_all(); }

}  // namespace turso
