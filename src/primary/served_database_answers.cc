// What a served database sends: pages at one revision, to those who ask and to those who wait.

#include <algorithm>

#include "src/primary/page_check.h"
#include "src/primary/served_database.h"
#include "src/wal/apply.h"

namespace turso {

namespace {

constexpr size_t kPartBytes = size_t{8} << 20;
constexpr size_t kWithLeaseBytes = size_t{1} << 20;
constexpr size_t kSharedAnswerBytes = size_t{1} << 20;
constexpr Duration kPullWaitMax = seconds(30);
constexpr Duration kLeaseHoldMax = milliseconds(250);

std::string Encode(nlohmann::json head, PageCodec codec, const PagePart& part) {
  head["revision"] = part.revision.text();
  head["page_size"] = part.page_size;
  head["db_size"] = part.db_size;
  MessageWriter writer(head, codec, part.page_size);
  writer.Reserve(part.numbers.size());
  writer.Add(part.numbers, part.images);
  return writer.Finish();
}

std::shared_ptr<const std::string> Shared(std::string text) {
  return std::make_shared<const std::string>(std::move(text));
}

std::shared_ptr<const std::string> NotGranted() {
  return Shared(MessageWriter({{"granted", false}}, PageCodec::kRaw).Finish());
}

}  // namespace

Result<Overview> ServedDatabase::Identify() {
  Lock lock(mutex_);
  TURSO_RETURN_IF_ERROR(Ready(&lock));
  return Overview{log_->database_id(), page_size_, history_.db_size(), history_.head()};
}

std::optional<int> ServedDatabase::Compare(const std::string& a, const std::string& b) {
  std::optional<RevisionId> left = RevisionId::Parse(a);
  std::optional<RevisionId> right = RevisionId::Parse(b);
  if (!left || !right) return std::nullopt;
  Lock lock(mutex_);
  std::optional<uint64_t> first = history_.Find(*left);
  std::optional<uint64_t> second = history_.Find(*right);
  if (!first || !second) return std::nullopt;
  return *first < *second ? -1 : *first > *second ? 1 : 0;
}

// ---- Pages

Status ServedDatabase::ReadImage(PageNo page, MutableByteView out) {
  // A restart leaves page numbers of the new log in the index before its header says so; the file
  // has everything.
  if (restart_follows_ || head_.frames == 0) {
    return files_->ReadDatabase(uint64_t{page.value - 1} * page_size_, out);
  }
  return ReadPage(files_.get(), head_, page, out);
}

Result<PagePart> ServedDatabase::ReadPart(const std::vector<PageNo>& pages) {
  PagePart part;
  part.revision = history_.head();
  part.page_size = page_size_;
  part.db_size = history_.db_size();
  part.numbers = pages;
  part.images.resize(pages.size() * page_size_);
  for (size_t i = 0; i < pages.size(); i++) {
    TURSO_RETURN_IF_ERROR(
        ReadImage(pages[i], MutableByteView(part.images).subspan(i * page_size_, page_size_)));
  }
  counts_.pages_sent += pages.size();
  return part;
}

Result<PagePart> ServedDatabase::ReadChanges(std::optional<uint64_t> since, PageNo after,
                                             size_t bytes_max) {
  // Every counter is above 0. One more than fits tells whether something is left.
  const size_t pages_max = std::max<size_t>(1, bytes_max / page_size_);
  std::vector<PageNo> pages = history_.ChangedSince(since.value_or(0), after, pages_max + 1);
  PageNo next_after;
  if (pages.size() > pages_max) {
    pages.pop_back();
    next_after = pages.back();
  }
  std::erase(pages, LockBytePage(page_size_));
  Result<PagePart> part = ReadPart(pages);
  if (part.ok()) part->next_after = next_after;
  return part;
}

Result<PagePart> ServedDatabase::Read(PageNo after, uint32_t limit) {
  Lock lock(mutex_);
  TURSO_RETURN_IF_ERROR(Ready(&lock));
  const uint32_t pages_max =
      std::clamp<uint32_t>(limit, 1, static_cast<uint32_t>(kPartBytes / page_size_));
  std::vector<PageNo> pages;
  for (uint32_t page = after.value + 1; page <= history_.db_size() && pages.size() < pages_max;
       page++) {
    pages.push_back({page});
  }
  Result<PagePart> part = ReadPart(pages);
  if (part.ok() && !pages.empty() && pages.back().value < history_.db_size())
    part->next_after = pages.back();
  return part;
}

Result<PagePart> ServedDatabase::Fetch(const std::vector<PageNo>& wanted) {
  Lock lock(mutex_);
  TURSO_RETURN_IF_ERROR(Ready(&lock));
  if (wanted.size() > kPartBytes / page_size_) {
    return Status(Code::kInvalid,
                  "more than " + std::to_string(kPartBytes / page_size_) + " pages at once");
  }
  std::vector<PageNo> pages;
  for (PageNo page : wanted) {
    if (page.value >= 1 && page.value <= history_.db_size()) pages.push_back(page);
  }
  return ReadPart(pages);
}

// ---- Pulls

void ServedDatabase::Pull(const PullRequest& request, AnswerDone done) {
  Lock lock(mutex_);
  Status status = Ready(&lock);
  std::optional<uint64_t> since;
  if (status.ok() && !request.since.empty()) {
    std::optional<RevisionId> revision = RevisionId::Parse(request.since);
    if (revision) since = history_.Find(*revision);
    if (!since) {
      status = Status(Code::kConflict,
                      "revision " + request.since + " is not of this database's history");
    }
  }
  if (!status.ok()) {
    lock.unlock();
    return done(status);
  }
  bool news = request.since != history_.head().text() || request.after.value != 0;
  if (news || request.wait <= Duration::zero() || !waiting_allowed_) {
    return AnswerPull(std::move(lock), request, since, done);
  }
  Instant deadline = Instant::Now() + std::min(request.wait, kPullWaitMax);
  followers_.push_back({request, deadline, std::move(done)});
  alarm_->At(deadline, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->AnswerFollowers();
  });
}

void ServedDatabase::AnswerPull(Lock lock, const PullRequest& request,
                                std::optional<uint64_t> since, const AnswerDone& done) {
  const AnswerKey key{since.value_or(0), !since, request.codec};
  if (request.after.value == 0 && !request.since_moved) {
    if (auto it = encoded_.find(key); it != encoded_.end()) {
      std::shared_ptr<const std::string> answer = it->second;
      lock.unlock();
      return done(answer);
    }
  }
  Result<PagePart> part = ReadChanges(since, request.after, kPartBytes);
  lock.unlock();
  if (!part.ok()) return done(Status(Code::kUnavailable, part.status().text()));
  nlohmann::json head = {{"next_after_page", part->next_after.value}};
  if (request.since_moved) head["since"] = request.since;
  auto answer = Shared(Encode(head, request.codec, *part));
  if (!request.since_moved && request.after.value == 0 && part->next_after.value == 0 &&
      answer->size() <= kSharedAnswerBytes) {
    lock.lock();
    if (history_.head() == part->revision) encoded_[key] = answer;
    lock.unlock();
  }
  done(answer);
}

void ServedDatabase::MoveFollowers(const CommitRecord& commit, const std::string& base) {
  if (commit.source != CommitSource::kReplica) return;
  for (Follower& follower : followers_) {
    if (follower.request.replica != commit.replica || follower.request.since != base) continue;
    follower.request.since = history_.head().text();
    follower.request.since_moved = true;
  }
}

void ServedDatabase::WakeFollowers() {
  if (followers_.empty()) return;
  alarm_->Soon([weak = weak_from_this()] {
    if (auto self = weak.lock()) self->AnswerFollowers();
  });
}

void ServedDatabase::AnswerFollowers() {
  std::list<Follower> ready;
  {
    Lock lock(mutex_);
    // The end of the commit wakes them again.
    if (phase_ == SqlPhase::kCommitting && failure_.ok()) return;
    const Instant now = Instant::Now();
    const std::string head = history_.head().text();
    for (auto it = followers_.begin(); it != followers_.end();) {
      auto next = std::next(it);
      if (!failure_.ok() || it->request.since != head || it->deadline <= now) {
        ready.splice(ready.end(), followers_, it);
      }
      it = next;
    }
  }
  for (Follower& follower : ready) {
    // Its time is over or there are news: either way it is answered now.
    follower.request.wait = Duration::zero();
    Pull(follower.request, std::move(follower.done));
  }
}

// ---- Leases

void ServedDatabase::WakeLeases(Instant when) {
  if (asks_.empty()) return;
  alarm_->At(when, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->PassLeaseOn();
  });
}

void ServedDatabase::AskLease(const LeaseAsk& ask, AnswerDone done) {
  std::list<WaitingAsk> replaced;
  Lock lock(mutex_);
  Status status = Ready(&lock);
  if (!status.ok()) {
    lock.unlock();
    return done(status);
  }
  const Instant now = Instant::Now();
  for (auto it = asks_.begin(); it != asks_.end();) {
    auto next = std::next(it);
    if (it->ask.holder == ask.holder) replaced.splice(replaced.end(), asks_, it);
    it = next;
  }
  std::optional<uint64_t> fence = leases_.Ask(ask.holder, Tenure::kRenewed, now);
  std::optional<Answer> answer;
  if (fence) {
    answer = LeaseGranted(ask, *fence);
  } else if (ask.hold <= Duration::zero() || !waiting_allowed_) {
    answer = NotGranted();
  } else {
    Instant deadline = now + std::min(ask.hold, kLeaseHoldMax);
    asks_.push_back({ask, deadline, std::move(done)});
    WakeLeases(deadline);
    if (std::optional<Instant> change = leases_.NextChange(now)) WakeLeases(*change);
  }
  lock.unlock();
  for (WaitingAsk& old : replaced) old.done(NotGranted());
  if (answer) done(*answer);
}

Answer ServedDatabase::LeaseGranted(const LeaseAsk& ask, uint64_t fence) {
  std::optional<RevisionId> base = RevisionId::Parse(ask.base);
  std::optional<uint64_t> since;
  if (base) since = history_.Find(*base);
  PagePart part;
  part.revision = history_.head();
  part.page_size = page_size_;
  part.db_size = history_.db_size();
  bool pages_sent = false;
  if (since) {
    Result<PagePart> changes = ReadChanges(since, {}, kWithLeaseBytes);
    pages_sent = changes.ok() && changes->next_after.value == 0;
    if (pages_sent) part = std::move(*changes);
  }
  nlohmann::json head{{"granted", true},
                      {"fence", fence},
                      {"lifetime_ms", LeaseTable::kLifetime / milliseconds(1)},
                      {"pages_sent", pages_sent}};
  return Shared(Encode(std::move(head), ask.codec, part));
}

void ServedDatabase::PassLeaseOn() {
  std::vector<std::pair<AnswerDone, Answer>> answers;
  {
    Lock lock(mutex_);
    const Instant now = Instant::Now();
    for (auto it = asks_.begin(); it != asks_.end();) {
      std::optional<uint64_t> fence;
      if (failure_.ok()) fence = leases_.Ask(it->ask.holder, Tenure::kRenewed, now);
      std::optional<Answer> answer;
      if (!failure_.ok()) {
        answer = failure_;
      } else if (fence) {
        answer = LeaseGranted(it->ask, *fence);
      } else if (it->deadline <= now) {
        answer = NotGranted();
      }
      if (!answer) {
        ++it;
        continue;
      }
      answers.emplace_back(std::move(it->done), std::move(*answer));
      it = asks_.erase(it);
    }
    if (std::optional<Instant> change = leases_.NextChange(now)) WakeLeases(*change);
  }
  for (auto& [done, answer] : answers) done(answer);
}

}  // namespace turso
