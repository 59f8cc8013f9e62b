#include "tests/support/fake_remote.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "tests/remote_contract.h"

namespace turso {
namespace {

class FakeFixture : public RemoteFixture {
 public:
  explicit FakeFixture(uint32_t page_size)
      : primary_(std::make_shared<FakePrimary>(FakePrimary::EmptyDatabase(page_size))) {}
  std::unique_ptr<Remote> Connect() override { return std::make_unique<FakeRemote>(primary_); }

 private:
  std::shared_ptr<FakePrimary> primary_;
};

RemoteContractParam Fake(uint32_t page_size) {
  return {"Fake" + std::to_string(page_size),
          [=] { return std::make_unique<FakeFixture>(page_size); }};
}
INSTANTIATE_TEST_SUITE_P(FakeRemote, RemoteContract,
                         ::testing::Values(Fake(512), Fake(4096), Fake(65536)),
                         [](const auto& p) { return p.param.name; });

struct OnePage {
  OnePage(const Bytes& file, Remote* remote) : pages(static_cast<uint32_t>(file.size())) {
    pages.Put(PageNo{1}, file.data());
    pages.set_db_size(1);
    transaction.base = remote->Identify({})->revision;
    transaction.id.number = 1;
    transaction.pages = &pages;
  }
  PageSet pages;
  Transaction transaction;
};

TEST(FakeRemote, FailsTheCallItIsToldToBeforeItActs) {
  Bytes file = FakePrimary::EmptyDatabase();
  auto primary = std::make_shared<FakePrimary>(file);
  FakeRemote remote(primary);
  OnePage one(file, &remote);
  remote.FailCall(2, Code::kUnavailable, "commit");
  remote.FailCall(1, Code::kBusy, "commit");
  EXPECT_EQ(remote.Commit(one.transaction, {}).status().code(), Code::kBusy);
  EXPECT_EQ(remote.Commit(one.transaction, {}).status().code(), Code::kUnavailable);
  EXPECT_EQ(primary->commits(), 0);
  EXPECT_TRUE(remote.Commit(one.transaction, {}).ok());
  EXPECT_EQ(primary->commits(), 1);
}

TEST(FakeRemote, LosesAnAnswerAfterItActed) {
  Bytes file = FakePrimary::EmptyDatabase();
  auto primary = std::make_shared<FakePrimary>(file);
  FakeRemote remote(primary);
  OnePage one(file, &remote);
  remote.LoseAnswer(1, "commit");
  EXPECT_EQ(remote.Commit(one.transaction, {}).status().code(), Code::kOutcomeUnknown);
  EXPECT_EQ(primary->commits(), 1);
  Result<SettleAnswer> settled = remote.Settle(one.transaction.id, {});
  EXPECT_EQ(settled->outcome, SettleOutcome::kCommitted);
}

TEST(FakeRemote, IsOutOfReachWhileDisconnected) {
  FakeRemote remote(std::make_shared<FakePrimary>(FakePrimary::EmptyDatabase()));
  remote.Disconnect();
  EXPECT_EQ(remote.Identify({}).status().code(), Code::kUnavailable);
  remote.Reconnect();
  EXPECT_TRUE(remote.Identify({}).ok());
  EXPECT_EQ(remote.calls(), (std::vector<std::string>{"identify", "identify"}));
}

TEST(FakeRemote, KnowsItsRevisionsAfterARestartButNotAfterARestore) {
  auto primary = std::make_shared<FakePrimary>(FakePrimary::EmptyDatabase());
  FakeRemote remote(primary);
  RemoteCopy copy;
  Revision old = *remote.Pull({}, {}, &copy, {});
  primary->Restart();
  EXPECT_NE(primary->revision(), old);
  EXPECT_TRUE(remote.Pull(old, {}, &copy, {}).ok());
  EXPECT_EQ(remote.Compare(old, primary->revision(), {}).value(), Order::kBefore);
  primary->ForgetHistory();
  EXPECT_EQ(remote.Pull(old, {}, &copy, {}).status().code(), Code::kConflict);
  EXPECT_EQ(remote.Compare(old, primary->revision(), {}).value(), Order::kUnrelated);
}

// The empty database that the fake makes by hand is one for SQLite, too.
TEST(FakeRemote, BeginsWithAnEmptyDatabaseThatSqliteReads) {
  for (uint32_t page_size = 512; page_size <= 65536; page_size *= 2) {
    Bytes file = FakePrimary::EmptyDatabase(page_size);
    file[18] = file[19] = 1;  // sqlite3_deserialize does not take a WAL database.
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(":memory:", &db), SQLITE_OK);
    ASSERT_EQ(
        sqlite3_deserialize(db, "main", file.data(), static_cast<sqlite3_int64>(file.size()),
                            static_cast<sqlite3_int64>(file.size()), SQLITE_DESERIALIZE_READONLY),
        SQLITE_OK);
    std::string answer;
    char* error = nullptr;
    int code = sqlite3_exec(
        db, "PRAGMA integrity_check; PRAGMA page_size",
        [](void* text, int, char** columns, char**) {
          *static_cast<std::string*>(text) += std::string(columns[0]) + " ";
          return 0;
        },
        &answer, &error);
    EXPECT_EQ(code, SQLITE_OK) << error;
    EXPECT_EQ(answer, "ok " + std::to_string(page_size) + " ");
    sqlite3_free(error);
    sqlite3_close(db);
  }
}

}  // namespace
}  // namespace turso
