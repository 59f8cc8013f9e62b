// What every Remote promises (src/remote/remote.h), as tests to be run on each implementation:
//
//   INSTANTIATE_TEST_SUITE_P(Fake, RemoteContract, ::testing::Values(RemoteContractParam{...}));
//
// The tests write what SQLite could have written: a new user_version, pages added to and taken from
// the freelist. So the database at the primary is valid after each of them.

#ifndef TURSO_TESTS_REMOTE_CONTRACT_H_
#define TURSO_TESTS_REMOTE_CONTRACT_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "src/remote/remote.h"

namespace turso {

// A fresh database at a primary, of at least one page, and the way to it. Nobody else writes it.
class RemoteFixture {
 public:
  virtual ~RemoteFixture() = default;
  // One more client of that database.
  virtual std::unique_ptr<Remote> Connect() = 0;
};

struct RemoteContractParam {
  std::string name;
  std::function<std::unique_ptr<RemoteFixture>()> make;
};
inline std::ostream& operator<<(std::ostream& out, const RemoteContractParam& p) {
  return out << p.name;
}

// A copy of the primary's database in memory, fed by pulls.
class RemoteCopy : public PageSink {
 public:
  Status Size(uint32_t page_size, uint32_t db_size) override;
  Status Page(PageNo page, ByteView image) override;

  uint32_t page_size() const { return page_size_; }
  uint32_t db_size() const { return static_cast<uint32_t>(pages_.size()); }
  const Bytes& page(uint32_t number) const { return pages_.at(number - 1); }
  const std::vector<Bytes>& pages() const { return pages_; }
  // Of the pulls since the last call.
  std::multiset<uint32_t> TakePageNumbers();
  uint32_t UserVersion() const;

  Revision revision;

 private:
  uint32_t page_size_ = 0;
  std::vector<Bytes> pages_;
  std::multiset<uint32_t> numbers_;
};

class RemoteContract : public ::testing::TestWithParam<RemoteContractParam> {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Pulls into `copy`, from where it stands.
  static Status PullInto(RemoteCopy* copy, Remote* remote, Duration wait = Duration::zero());
  // What a transaction on `copy` changes: user_version grows by one, and `added` pages come onto
  // the freelist. A negative number takes as many away, which must be those that were added last.
  static PageSet Change(const RemoteCopy& copy, int added = 0);
  static Transaction TransactionOf(const RemoteCopy& copy, const PageSet& pages, CommitId id,
                                   uint64_t fence = 0);
  CommitId NextId();
  LeaseRequest LeaseFor(uint8_t holder, const Revision& base, Duration hold) const;
  // The lease, asked for again while it is kBusy, for at most 10 s.
  Result<LeaseAnswer> AcquirePatiently(Remote* remote, const LeaseRequest& request, PageSink* sink);

  std::unique_ptr<RemoteFixture> fixture_;
  std::unique_ptr<Remote> a_, b_;
  Call call_;
  std::array<uint8_t, 16> run_{};  // Random: the ids of this test.
  uint64_t last_number_ = 0;
};

}  // namespace turso

#endif  // TURSO_TESTS_REMOTE_CONTRACT_H_
