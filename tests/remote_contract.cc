#include "tests/remote_contract.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

namespace turso {

namespace {

// https://sqlite.org/fileformat2.html#the_database_header
constexpr size_t kChangeCounter = 24;
constexpr size_t kSizeInPages = 28;
constexpr size_t kFirstTrunk = 32;
constexpr size_t kFreePages = 36;
constexpr size_t kUserVersion = 60;
constexpr size_t kVersionValidFor = 92;

}  // namespace

Status RemoteCopy::Size(uint32_t page_size, uint32_t db_size) {
  EXPECT_TRUE(page_size_ == 0 || page_size_ == page_size);
  page_size_ = page_size;
  pages_.resize(db_size, Bytes(page_size));
  return OkStatus();
}

Status RemoteCopy::Page(PageNo page, ByteView image) {
  EXPECT_EQ(image.size(), page_size_);
  EXPECT_GE(page.value, 1u);
  EXPECT_LE(page.value, pages_.size());
  if (page.value < 1 || page.value > pages_.size()) return Status(Code::kCorrupt, "page number");
  pages_[page.value - 1].assign(image.begin(), image.end());
  numbers_.insert(page.value);
  return OkStatus();
}

std::multiset<uint32_t> RemoteCopy::TakePageNumbers() { return std::exchange(numbers_, {}); }

uint32_t RemoteCopy::UserVersion() const { return LoadBig32(page(1).data() + kUserVersion); }

void RemoteContract::SetUp() {
  fixture_ = GetParam().make();
  ASSERT_NE(fixture_, nullptr);
  a_ = fixture_->Connect();
  b_ = fixture_->Connect();
  std::random_device random;
  for (uint8_t& byte : run_) byte = static_cast<uint8_t>(random());
}

void RemoteContract::TearDown() {
  a_.reset();
  b_.reset();
  fixture_.reset();
}

Status RemoteContract::PullInto(RemoteCopy* copy, Remote* remote, Duration wait) {
  Result<Revision> revision = remote->Pull(copy->revision, wait, copy, Call{});
  if (revision.ok()) copy->revision = *revision;
  return revision.status();
}

PageSet RemoteContract::Change(const RemoteCopy& copy, int added) {
  PageSet pages(copy.page_size());
  Bytes first = copy.page(1);
  auto add = [&](size_t at, uint32_t by) {
    StoreBig32(&first[at], LoadBig32(&first[at]) + by);
    return LoadBig32(&first[at]);
  };
  StoreBig32(&first[kVersionValidFor], add(kChangeCounter, 1));
  add(kUserVersion, 1);
  uint32_t size = copy.db_size();
  for (; added > 0; added--) {
    // A trunk of the freelist without leaves: the number of the next trunk, then 0.
    uint8_t* trunk = pages.Slot(PageNo{++size});
    std::memset(trunk, 0, copy.page_size());
    StoreBig32(trunk, LoadBig32(&first[kFirstTrunk]));
    StoreBig32(&first[kFirstTrunk], size);
    add(kFreePages, 1);
  }
  for (; added < 0; added++) {
    StoreBig32(&first[kFirstTrunk], LoadBig32(copy.page(size--).data()));
    add(kFreePages, ~0u);
  }
  StoreBig32(&first[kSizeInPages], size);
  pages.Put(PageNo{1}, first.data());
  pages.set_db_size(size);
  return pages;
}

Transaction RemoteContract::TransactionOf(const RemoteCopy& copy, const PageSet& pages, CommitId id,
                                          uint64_t fence) {
  return Transaction{id, copy.revision, fence, &pages};
}

CommitId RemoteContract::NextId() { return CommitId{run_, ++last_number_}; }

LeaseRequest RemoteContract::LeaseFor(uint8_t holder, const Revision& base, Duration hold) const {
  LeaseRequest request{run_, base, hold};
  request.holder[0] = holder;
  return request;
}

Result<LeaseAnswer> RemoteContract::AcquirePatiently(Remote* remote, const LeaseRequest& request,
                                                     PageSink* sink) {
  Instant deadline = Instant::Now() + seconds(10);
  for (;;) {
    Result<LeaseAnswer> lease = remote->AcquireLease(request, sink, call_);
    if (lease.status().code() != Code::kBusy || Instant::Now() > deadline) return lease;
  }
}

TEST_P(RemoteContract, IdentifiesTheDatabaseAlikeToEveryClient) {
  Result<Identity> a = a_->Identify(call_), b = b_->Identify(call_);
  ASSERT_TRUE(a.ok()) << a.status().text();
  ASSERT_TRUE(b.ok()) << b.status().text();
  EXPECT_FALSE(a->database_id.empty());
  EXPECT_FALSE(a->protocol.empty());
  EXPECT_TRUE(IsPageSize(a->page_size));
  EXPECT_GE(a->db_size, 1u);
  EXPECT_FALSE(a->revision.empty());
  EXPECT_EQ(a->database_id, b->database_id);
  EXPECT_EQ(a->revision, b->revision);
}

TEST_P(RemoteContract, APullFromNothingBringsEveryPageOnce) {
  Result<Identity> identity = a_->Identify(call_);
  ASSERT_TRUE(identity.ok()) << identity.status().text();
  RemoteCopy copy;
  Status status = PullInto(&copy, a_.get());
  ASSERT_TRUE(status.ok()) << status.text();
  EXPECT_EQ(copy.revision, identity->revision);
  EXPECT_EQ(copy.page_size(), identity->page_size);
  EXPECT_EQ(copy.db_size(), identity->db_size);
  std::multiset<uint32_t> numbers = copy.TakePageNumbers();
  EXPECT_EQ(numbers.size(), copy.db_size());
  for (uint32_t number = 1; number <= copy.db_size(); number++)
    EXPECT_EQ(numbers.count(number), 1u);
}

TEST_P(RemoteContract, APullWithNothingNewBringsNoPages) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  copy.TakePageNumbers();
  Revision before = copy.revision;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  EXPECT_EQ(copy.revision, before);
  EXPECT_TRUE(copy.TakePageNumbers().empty());
}

TEST_P(RemoteContract, APullSinceARevisionBringsWhatChangedAndNoMore) {
  RemoteCopy writer, reader;
  ASSERT_TRUE(PullInto(&writer, a_.get()).ok());
  PageSet grown = Change(writer, 5);
  Result<CommitAnswer> first = a_->Commit(TransactionOf(writer, grown, NextId()), call_);
  ASSERT_TRUE(first.ok()) << first.status().text();
  ASSERT_TRUE(PullInto(&writer, a_.get()).ok());
  ASSERT_TRUE(PullInto(&reader, b_.get()).ok());
  reader.TakePageNumbers();
  for (int i = 0; i < 3; i++) {
    PageSet pages = Change(writer);
    ASSERT_TRUE(a_->Commit(TransactionOf(writer, pages, NextId()), call_).ok());
    ASSERT_TRUE(PullInto(&writer, a_.get()).ok());
  }
  ASSERT_TRUE(PullInto(&reader, b_.get()).ok());
  // Three changes of one page are one image.
  EXPECT_EQ(reader.TakePageNumbers(), std::multiset<uint32_t>{1});
  EXPECT_EQ(reader.revision, writer.revision);
  RemoteCopy whole;
  ASSERT_TRUE(PullInto(&whole, b_.get()).ok());
  EXPECT_TRUE(whole.pages() == reader.pages());
}

TEST_P(RemoteContract, ADatabaseThatShrankIsPulledShorter) {
  RemoteCopy copy, reader;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  uint32_t size = copy.db_size();
  for (int added : {3, -2}) {
    PageSet pages = Change(copy, added);
    Result<CommitAnswer> answer = a_->Commit(TransactionOf(copy, pages, NextId()), call_);
    ASSERT_TRUE(answer.ok()) << answer.status().text();
    ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
    ASSERT_TRUE(PullInto(&reader, b_.get()).ok());
    EXPECT_EQ(reader.db_size(), pages.db_size());
    EXPECT_TRUE(reader.pages() == copy.pages());
  }
  EXPECT_EQ(copy.db_size(), size + 1);
}

TEST_P(RemoteContract, APullOfManyPartsIsWhole) {
  RemoteCopy copy, reader;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  int pages_in_20_mib = static_cast<int>((20u << 20) / copy.page_size());
  PageSet pages = Change(copy, pages_in_20_mib);
  Result<CommitAnswer> answer = a_->Commit(TransactionOf(copy, pages, NextId()), call_);
  ASSERT_TRUE(answer.ok()) << answer.status().text();
  Status status = PullInto(&reader, b_.get());
  ASSERT_TRUE(status.ok()) << status.text();
  EXPECT_EQ(reader.revision, answer->revision);
  ASSERT_EQ(reader.db_size(), pages.db_size());
  for (const auto& [page, image] : pages) {
    ASSERT_EQ(std::memcmp(reader.page(page.value).data(), image, copy.page_size()), 0)
        << page.value;
  }
  Result<HashesAnswer> hashes = b_->Hashes(call_);
  ASSERT_TRUE(hashes.ok()) << hashes.status().text();
  EXPECT_EQ(hashes->hashes.size(), reader.db_size());
}

TEST_P(RemoteContract, APullSinceAnUnknownRevisionIsAConflict) {
  RemoteCopy copy;
  copy.revision = *Revision::Parse("00112233445566ff-3");
  EXPECT_EQ(PullInto(&copy, a_.get()).code(), Code::kConflict);
  EXPECT_TRUE(copy.TakePageNumbers().empty());
}

TEST_P(RemoteContract, ALongPollEndsWhenSomebodyCommits) {
  RemoteCopy writer, reader;
  ASSERT_TRUE(PullInto(&writer, a_.get()).ok());
  ASSERT_TRUE(PullInto(&reader, b_.get()).ok());
  reader.TakePageNumbers();
  Status polled;
  Instant begin = Instant::Now();
  std::thread poll([&] { polled = PullInto(&reader, b_.get(), seconds(30)); });
  PageSet pages = Change(writer);
  Result<CommitAnswer> answer = a_->Commit(TransactionOf(writer, pages, NextId()), call_);
  poll.join();
  ASSERT_TRUE(answer.ok()) << answer.status().text();
  ASSERT_TRUE(polled.ok()) << polled.text();
  EXPECT_LT(Instant::Now() - begin, seconds(5));
  EXPECT_EQ(reader.revision, answer->revision);
  EXPECT_EQ(reader.TakePageNumbers(), std::multiset<uint32_t>{1});
}

TEST_P(RemoteContract, ALongPollEndsWithNothingWhenItsTimeIsOver) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  copy.TakePageNumbers();
  Revision before = copy.revision;
  Instant begin = Instant::Now();
  Status status = PullInto(&copy, a_.get(), milliseconds(300));
  Duration took = Instant::Now() - begin;
  ASSERT_TRUE(status.ok()) << status.text();
  EXPECT_EQ(copy.revision, before);
  EXPECT_TRUE(copy.TakePageNumbers().empty());
  EXPECT_GE(took, milliseconds(200));
  EXPECT_LT(took, seconds(3));
}

TEST_P(RemoteContract, CancelEndsALongPoll) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  std::atomic<bool> cancelled{false};
  std::atomic<bool> started{false};
  Call call;
  call.cancelled = &cancelled;
  Result<Revision> polled = Revision();
  std::thread poll([&] {
    started = true;
    polled = a_->Pull(copy.revision, seconds(30), &copy, call);
  });
  while (!started) std::this_thread::yield();
  Instant begin = Instant::Now();
  cancelled = true;
  a_->Cancel();
  poll.join();
  EXPECT_LT(Instant::Now() - begin, seconds(1));
  EXPECT_EQ(polled.status().code(), Code::kInterrupted);
  EXPECT_TRUE(PullInto(&copy, a_.get()).ok());
}

TEST_P(RemoteContract, InterruptingEndsALongPoll) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  Instant begin = Instant::Now();
  Call call;
  call.interrupted = [&] { return Instant::Now() - begin > milliseconds(100); };
  Result<Revision> polled = a_->Pull(copy.revision, seconds(30), &copy, call);
  EXPECT_EQ(polled.status().code(), Code::kInterrupted);
  EXPECT_LT(Instant::Now() - begin, milliseconds(1000));
}

TEST_P(RemoteContract, TheLeaseExcludesOthers) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  Result<LeaseAnswer> held = a_->AcquireLease(LeaseFor(1, copy.revision, seconds(0)), &copy, call_);
  ASSERT_TRUE(held.ok()) << held.status().text();
  EXPECT_GT(held->fence, 0u);
  EXPECT_GT(held->lifetime, milliseconds(100));
  EXPECT_EQ(held->revision, copy.revision);
  Instant begin = Instant::Now();
  LeaseRequest other = LeaseFor(2, copy.revision, milliseconds(100));
  EXPECT_EQ(b_->AcquireLease(other, nullptr, call_).status().code(), Code::kBusy);
  EXPECT_LT(Instant::Now() - begin, seconds(2));
  EXPECT_TRUE(a_->ReleaseLease(LeaseFor(1, {}, {}).holder, held->fence, call_).ok());
}

TEST_P(RemoteContract, AReleasedLeasePassesToTheOneWhoWaitsWithALargerFence) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  Result<LeaseAnswer> held = a_->AcquireLease(LeaseFor(1, copy.revision, seconds(0)), &copy, call_);
  ASSERT_TRUE(held.ok()) << held.status().text();
  Result<LeaseAnswer> passed = LeaseAnswer();
  LeaseRequest other = LeaseFor(2, copy.revision, milliseconds(250));
  ASSERT_EQ(b_->AcquireLease(other, nullptr, call_).status().code(), Code::kBusy);
  std::thread waiting([&] { passed = AcquirePatiently(b_.get(), other, nullptr); });
  ASSERT_TRUE(a_->ReleaseLease(LeaseFor(1, {}, {}).holder, held->fence, call_).ok());
  waiting.join();
  ASSERT_TRUE(passed.ok()) << passed.status().text();
  EXPECT_GT(passed->fence, held->fence);
  EXPECT_TRUE(b_->ReleaseLease(other.holder, passed->fence, call_).ok());
}

TEST_P(RemoteContract, ALeaseThatIsNotRenewedRunsOut) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  Result<LeaseAnswer> held = a_->AcquireLease(LeaseFor(1, copy.revision, seconds(0)), &copy, call_);
  ASSERT_TRUE(held.ok()) << held.status().text();
  LeaseRequest other = LeaseFor(2, copy.revision, milliseconds(250));
  Result<LeaseAnswer> passed = AcquirePatiently(b_.get(), other, nullptr);
  ASSERT_TRUE(passed.ok()) << passed.status().text();
  EXPECT_EQ(a_->RenewLease(LeaseFor(1, {}, {}).holder, held->fence, call_).status().code(),
            Code::kConflict);
  EXPECT_TRUE(b_->ReleaseLease(other.holder, passed->fence, call_).ok());
}

TEST_P(RemoteContract, ALeaseCanBeRenewedUntilItIsReleased) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  LeaseRequest request = LeaseFor(1, copy.revision, seconds(0));
  Result<LeaseAnswer> held = a_->AcquireLease(request, &copy, call_);
  ASSERT_TRUE(held.ok()) << held.status().text();
  Result<Duration> renewed = a_->RenewLease(request.holder, held->fence, call_);
  ASSERT_TRUE(renewed.ok()) << renewed.status().text();
  EXPECT_GT(*renewed, milliseconds(100));
  EXPECT_EQ(a_->RenewLease(request.holder, held->fence + 1, call_).status().code(),
            Code::kConflict);
  ASSERT_TRUE(a_->ReleaseLease(request.holder, held->fence, call_).ok());
  EXPECT_EQ(a_->RenewLease(request.holder, held->fence, call_).status().code(), Code::kConflict);
}

TEST_P(RemoteContract, TheLeaseTellsHowFarThePrimaryIs) {
  RemoteCopy writer, late;
  ASSERT_TRUE(PullInto(&writer, a_.get()).ok());
  ASSERT_TRUE(PullInto(&late, b_.get()).ok());
  PageSet pages = Change(writer, 2);
  Result<CommitAnswer> answer = a_->Commit(TransactionOf(writer, pages, NextId()), call_);
  ASSERT_TRUE(answer.ok()) << answer.status().text();
  LeaseRequest request = LeaseFor(2, late.revision, milliseconds(250));
  Result<LeaseAnswer> lease = AcquirePatiently(b_.get(), request, &late);
  ASSERT_TRUE(lease.ok()) << lease.status().text();
  EXPECT_EQ(lease->revision, answer->revision);
  if (!lease->pages_sent) {
    ASSERT_TRUE(PullInto(&late, b_.get()).ok());
  }
  RemoteCopy whole;
  ASSERT_TRUE(PullInto(&whole, a_.get()).ok());
  EXPECT_TRUE(whole.pages() == late.pages());
  EXPECT_TRUE(b_->ReleaseLease(request.holder, lease->fence, call_).ok());
}

TEST_P(RemoteContract, ACommitUnderTheLeaseEndsItWhenSomebodyWaits) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  LeaseRequest request = LeaseFor(1, copy.revision, seconds(0));
  Result<LeaseAnswer> held = a_->AcquireLease(request, &copy, call_);
  ASSERT_TRUE(held.ok()) << held.status().text();
  PageSet pages = Change(copy);
  Result<CommitAnswer> alone = a_->Commit(TransactionOf(copy, pages, NextId(), held->fence), call_);
  ASSERT_TRUE(alone.ok()) << alone.status().text();
  EXPECT_FALSE(alone->lease_ended);
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  LeaseRequest other = LeaseFor(2, copy.revision, seconds(0));
  ASSERT_EQ(b_->AcquireLease(other, nullptr, call_).status().code(), Code::kBusy);
  pages = Change(copy);
  Result<CommitAnswer> beside =
      a_->Commit(TransactionOf(copy, pages, NextId(), held->fence), call_);
  ASSERT_TRUE(beside.ok()) << beside.status().text();
  EXPECT_TRUE(beside->lease_ended);
  EXPECT_EQ(a_->RenewLease(request.holder, held->fence, call_).status().code(), Code::kConflict);
  Result<LeaseAnswer> passed = AcquirePatiently(b_.get(), other, nullptr);
  ASSERT_TRUE(passed.ok()) << passed.status().text();
  EXPECT_EQ(passed->revision, beside->revision);
  EXPECT_TRUE(b_->ReleaseLease(other.holder, passed->fence, call_).ok());
}

TEST_P(RemoteContract, ACommitMovesTheRevisionAndIsSeenByOthers) {
  RemoteCopy copy, other;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  uint32_t version = copy.UserVersion();
  PageSet pages = Change(copy, 1);
  Result<CommitAnswer> answer = a_->Commit(TransactionOf(copy, pages, NextId()), call_);
  ASSERT_TRUE(answer.ok()) << answer.status().text();
  EXPECT_NE(answer->revision, copy.revision);
  Result<Identity> identity = b_->Identify(call_);
  ASSERT_TRUE(identity.ok());
  EXPECT_EQ(identity->revision, answer->revision);
  EXPECT_EQ(identity->db_size, pages.db_size());
  ASSERT_TRUE(PullInto(&other, b_.get()).ok());
  EXPECT_EQ(other.UserVersion(), version + 1);
  EXPECT_EQ(other.db_size(), pages.db_size());
}

TEST_P(RemoteContract, ACommitOnAnOldBaseIsAConflictAndChangesNothing) {
  RemoteCopy a, b;
  ASSERT_TRUE(PullInto(&a, a_.get()).ok());
  ASSERT_TRUE(PullInto(&b, b_.get()).ok());
  PageSet first = Change(a), second = Change(b, 1);
  Result<CommitAnswer> answer = a_->Commit(TransactionOf(a, first, NextId()), call_);
  ASSERT_TRUE(answer.ok()) << answer.status().text();
  CommitId refused = NextId();
  EXPECT_EQ(b_->Commit(TransactionOf(b, second, refused), call_).status().code(), Code::kConflict);
  EXPECT_EQ(b_->Identify(call_)->revision, answer->revision);
  // And it stays refused, also when asked later.
  Result<SettleAnswer> settled = b_->Settle(refused, call_);
  ASSERT_TRUE(settled.ok()) << settled.status().text();
  EXPECT_EQ(settled->outcome, SettleOutcome::kRefused);
}

TEST_P(RemoteContract, ACommitWithoutTheLeaseIsRefusedWhileAnotherHasIt) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  LeaseRequest request = LeaseFor(1, copy.revision, seconds(0));
  Result<LeaseAnswer> held = a_->AcquireLease(request, &copy, call_);
  ASSERT_TRUE(held.ok()) << held.status().text();
  PageSet pages = Change(copy);
  Code code = b_->Commit(TransactionOf(copy, pages, NextId()), call_).status().code();
  EXPECT_TRUE(code == Code::kConflict || code == Code::kBusy) << CodeName(code);
  EXPECT_EQ(b_->Identify(call_)->revision, held->revision);
  EXPECT_TRUE(a_->ReleaseLease(request.holder, held->fence, call_).ok());
}

TEST_P(RemoteContract, ACommitOfALostLeaseWithAnUnmovedBaseIsTaken) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  LeaseRequest request = LeaseFor(1, copy.revision, seconds(0));
  Result<LeaseAnswer> held = a_->AcquireLease(request, &copy, call_);
  ASSERT_TRUE(held.ok()) << held.status().text();
  ASSERT_TRUE(a_->ReleaseLease(request.holder, held->fence, call_).ok());
  PageSet pages = Change(copy);
  Result<CommitAnswer> answer =
      a_->Commit(TransactionOf(copy, pages, NextId(), held->fence), call_);
  EXPECT_TRUE(answer.ok()) << answer.status().text();
}

TEST_P(RemoteContract, ARepeatedCommitIsAnsweredTheSameAndActsOnce) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  PageSet pages = Change(copy);
  CommitId id = NextId();
  Result<CommitAnswer> first = a_->Commit(TransactionOf(copy, pages, id), call_);
  ASSERT_TRUE(first.ok()) << first.status().text();
  Result<CommitAnswer> again = b_->Commit(TransactionOf(copy, pages, id), call_);
  ASSERT_TRUE(again.ok()) << again.status().text();
  EXPECT_EQ(again->revision, first->revision);
  EXPECT_EQ(a_->Identify(call_)->revision, first->revision);
}

TEST_P(RemoteContract, ACommitBehindALaterOneOfItsReplicaIsInvalidAndItsOutcomeUnknown) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  CommitId behind = NextId(), later = NextId();
  PageSet pages = Change(copy);
  ASSERT_TRUE(a_->Commit(TransactionOf(copy, pages, later), call_).ok());
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  pages = Change(copy);
  EXPECT_EQ(b_->Commit(TransactionOf(copy, pages, behind), call_).status().code(), Code::kInvalid);
  Result<SettleAnswer> settled = b_->Settle(behind, call_);
  ASSERT_TRUE(settled.ok()) << settled.status().text();
  EXPECT_EQ(settled->outcome, SettleOutcome::kUnknown);
  EXPECT_EQ(a_->Identify(call_)->revision, copy.revision);
}

TEST_P(RemoteContract, SettleFindsACommitThatWasTaken) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  for (int i = 0; i < 2; i++) {
    PageSet pages = Change(copy);
    CommitId id = NextId();
    Result<CommitAnswer> answer = a_->Commit(TransactionOf(copy, pages, id), call_);
    ASSERT_TRUE(answer.ok()) << answer.status().text();
    Result<SettleAnswer> settled = b_->Settle(id, call_);
    ASSERT_TRUE(settled.ok()) << settled.status().text();
    EXPECT_EQ(settled->outcome, SettleOutcome::kCommitted);
    EXPECT_EQ(settled->revision, answer->revision);
    ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  }
}

TEST_P(RemoteContract, SettleOfAnUnknownCommitKeepsItOutForEver) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  CommitId id = NextId();
  Result<SettleAnswer> settled = b_->Settle(id, call_);
  ASSERT_TRUE(settled.ok()) << settled.status().text();
  EXPECT_EQ(settled->outcome, SettleOutcome::kRefused);
  PageSet pages = Change(copy);
  EXPECT_EQ(a_->Commit(TransactionOf(copy, pages, id), call_).status().code(), Code::kConflict);
  EXPECT_EQ(a_->Identify(call_)->revision, copy.revision);
  EXPECT_EQ(a_->Settle(id, call_)->outcome, SettleOutcome::kRefused);
  // The next one is free to go.
  Result<CommitAnswer> next = a_->Commit(TransactionOf(copy, pages, NextId()), call_);
  EXPECT_TRUE(next.ok()) << next.status().text();
}

TEST_P(RemoteContract, HashesAreThoseOfThePages) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  PageSet pages = Change(copy, 20);
  ASSERT_TRUE(a_->Commit(TransactionOf(copy, pages, NextId()), call_).ok());
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  Result<HashesAnswer> hashes = b_->Hashes(call_);
  ASSERT_TRUE(hashes.ok()) << hashes.status().text();
  EXPECT_EQ(hashes->revision, copy.revision);
  ASSERT_EQ(hashes->hashes.size(), copy.db_size());
  for (uint32_t number = 1; number <= copy.db_size(); number++) {
    EXPECT_EQ(hashes->hashes[number - 1], HashPage(PageNo{number}, copy.page(number))) << number;
  }
}

TEST_P(RemoteContract, FetchBringsThePagesThatThereAre) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  PageSet pages = Change(copy, 300);
  ASSERT_TRUE(a_->Commit(TransactionOf(copy, pages, NextId()), call_).ok());
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  std::vector<PageNo> wanted;
  for (uint32_t n = copy.db_size() + 5; n >= 2; n--) wanted.push_back(PageNo{n});
  RemoteCopy fetched;
  Result<Revision> revision = b_->Fetch(wanted, &fetched, call_);
  ASSERT_TRUE(revision.ok()) << revision.status().text();
  EXPECT_EQ(*revision, copy.revision);
  EXPECT_EQ(fetched.db_size(), copy.db_size());
  std::multiset<uint32_t> numbers = fetched.TakePageNumbers();
  EXPECT_EQ(numbers.size(), copy.db_size() - 1);
  for (uint32_t n : numbers) ASSERT_TRUE(fetched.page(n) == copy.page(n)) << n;
}

TEST_P(RemoteContract, CompareOrdersRevisions) {
  RemoteCopy copy;
  ASSERT_TRUE(PullInto(&copy, a_.get()).ok());
  PageSet pages = Change(copy);
  Result<CommitAnswer> answer = a_->Commit(TransactionOf(copy, pages, NextId()), call_);
  ASSERT_TRUE(answer.ok()) << answer.status().text();
  const Revision& old = copy.revision;
  const Revision stranger = *Revision::Parse("00112233445566ff-3");
  EXPECT_EQ(b_->Compare(old, answer->revision, call_).value(), Order::kBefore);
  EXPECT_EQ(b_->Compare(answer->revision, old, call_).value(), Order::kAfter);
  EXPECT_EQ(b_->Compare(old, old, call_).value(), Order::kEqual);
  EXPECT_EQ(b_->Compare(old, stranger, call_).value(), Order::kUnrelated);
  EXPECT_EQ(b_->Compare(stranger, old, call_).value(), Order::kUnrelated);
}

TEST_P(RemoteContract, TrafficIsCounted) {
  ASSERT_TRUE(a_->Identify(call_).ok());
  uint64_t before = a_->traffic().round_trips;
  EXPECT_GE(before, 1u);
  ASSERT_TRUE(a_->Identify(call_).ok());
  EXPECT_EQ(a_->traffic().round_trips, before + 1);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RemoteContract);

}  // namespace turso
