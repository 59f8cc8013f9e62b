#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "src/primary/create_database.h"
#include "src/primary/fault_point.h"
#include "src/wire/message.h"
#include "tests/support/connection.h"
#include "tests/support/seed.h"
#include "tests/support/served.h"
#include "tests/support/temp_dir.h"

namespace turso {
namespace {

int Exec(const SqlConnection& db, const std::string& sql) {
  return sqlite3_exec(db.get(), sql.c_str(), nullptr, nullptr, nullptr);
}

class PrimaryDatabase : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<std::string> made = CreateDatabase(directory_.path().string(), "app", {});
    ASSERT_TRUE(made.ok()) << made.status().text();
    path_ = *made;
    Open();
  }
  void TearDown() override { FaultHook() = nullptr; }

  void Open() { database_ = host_.MustOpen(path_); }
  void Stop() {
    Status status = database_->Stop();
    EXPECT_TRUE(status.ok()) << status.text();
    database_.reset();
  }
  SqlConnection Sql() {
    Result<SqlConnection> connection = database_->OpenConnection(SqlAccess::kWrite);
    EXPECT_TRUE(connection.ok()) << connection.status().text();
    return connection.ok() ? std::move(*connection) : nullptr;
  }
  void Pull(MemoryReplica* replica) {
    Result<size_t> pages = replica->Pull(database_.get());
    ASSERT_TRUE(pages.ok()) << pages.status().text();
  }
  void Commit(MemoryReplica* replica, const std::string& sql) {
    Result<Committed> committed = replica->Commit(database_.get(), sql);
    ASSERT_TRUE(committed.ok()) << committed.status().text();
  }
  std::string Head() { return database_->Identify()->revision.text(); }
  Bytes FileBytes() const {
    std::ifstream file(path_, std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(file), {});
  }
  bool Exists(const std::string& suffix) const { return std::filesystem::exists(path_ + suffix); }

  TempDir directory_;
  std::string path_;
  ServedHost host_;
  std::shared_ptr<ServedDatabase> database_;
  MemoryReplica a_{1}, b_{2};
};

TEST_F(PrimaryDatabase, GivesWhatOneReplicaCommitsToAnother) {
  Pull(&a_);
  Commit(&a_, "CREATE TABLE t(v); INSERT INTO t VALUES (1)");
  Commit(&a_, "INSERT INTO t VALUES (2)");
  Pull(&b_);
  EXPECT_EQ(b_.Text("SELECT sum(v) FROM t"), "3");
  EXPECT_EQ(b_.image(), a_.image());
  EXPECT_EQ(b_.revision(), a_.revision());
}

TEST_F(PrimaryDatabase, ShowsSqlWhatReplicasCommitAndReplicasWhatSqlCommits) {
  Pull(&a_);
  Commit(&a_, "CREATE TABLE t(v)");
  SqlConnection sql = Sql();
  for (int i = 0; i < 10; i++) {
    ASSERT_EQ(Exec(sql, "INSERT INTO t VALUES (1)"), SQLITE_OK) << sqlite3_errmsg(sql.get());
    Pull(&a_);
    Commit(&a_, "INSERT INTO t VALUES (100)");
  }
  Pull(&b_);
  EXPECT_EQ(b_.Text("SELECT sum(v) FROM t"), "1010");
  EXPECT_EQ(database_->counts().sql_commits, 10u);
}

TEST_F(PrimaryDatabase, LeavesAnOrdinaryFileWithTheSameBytesWhenItStops) {
  Pull(&a_);
  Commit(&a_, "CREATE TABLE t(v); INSERT INTO t VALUES (randomblob(50000))");
  {
    SqlConnection sql = Sql();
    ASSERT_EQ(Exec(sql, "INSERT INTO t VALUES (randomblob(9000))"), SQLITE_OK);
  }
  Pull(&a_);
  Stop();
  EXPECT_FALSE(Exists("-wal"));
  EXPECT_FALSE(Exists("-shm"));
  EXPECT_EQ(FileBytes(), a_.image());
}

TEST_F(PrimaryDatabase, RefusesACommitWhoseBaseIsNotTheNewestAndForGood) {
  Pull(&a_);
  Pull(&b_);
  PageCommit late = b_.Prepare("CREATE TABLE b(v)");
  Commit(&a_, "CREATE TABLE a(v)");
  EXPECT_EQ(database_->Commit(late).status().code(), Code::kConflict);
  Result<Settled> settled = database_->Settle(late.replica, late.number);
  ASSERT_TRUE(settled.ok());
  EXPECT_EQ(settled->outcome, Outcome::kRefused);
  late.base = Head();
  EXPECT_EQ(database_->Commit(late).status().code(), Code::kConflict);
}

TEST_F(PrimaryDatabase, AnswersARepeatedCommitAsTheFirstTimeAlsoAfterARestart) {
  Pull(&a_);
  PageCommit commit = a_.Prepare("CREATE TABLE t(v)");
  Result<Committed> first = database_->Commit(commit);
  ASSERT_TRUE(first.ok());
  Result<Committed> second = database_->Commit(commit);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->revision, first->revision);
  database_.reset();
  Open();
  second = database_->Commit(commit);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->revision, first->revision);
  EXPECT_EQ(database_->Identify()->revision.counter, first->revision.counter);
}

TEST_F(PrimaryDatabase, KeepsOutACommitThatWasSettledBeforeItCameAlsoAfterACrash) {
  Pull(&a_);
  PageCommit late = a_.Prepare("CREATE TABLE t(v)");
  ASSERT_EQ(database_->Settle(late.replica, late.number)->outcome, Outcome::kRefused);
  database_.reset();
  Open();
  EXPECT_EQ(database_->Commit(late).status().code(), Code::kConflict);
  EXPECT_EQ(database_->Settle(late.replica, late.number)->outcome, Outcome::kRefused);
}

TEST_F(PrimaryDatabase, KeepsOutACommitThatItRefusedForALeaseAlsoAfterACrash) {
  Pull(&a_);
  Pull(&b_);
  std::promise<Answer> lease;
  database_->AskLease({a_.id(), a_.revision(), {}, PageCodec::kRaw},
                      [&](Answer answer) { lease.set_value(std::move(answer)); });
  ASSERT_TRUE(lease.get_future().get().ok());
  PageCommit refused = b_.Prepare("CREATE TABLE b(v)");
  EXPECT_EQ(database_->Commit(refused).status().code(), Code::kConflict);
  database_.reset();
  Open();
  // The base is the newest still, and nobody has the lease.
  EXPECT_EQ(database_->Commit(refused).status().code(), Code::kConflict);
}

TEST_F(PrimaryDatabase, StartsANewEpochWithEveryStartAndKnowsTheOldOnes) {
  Pull(&a_);
  Commit(&a_, "CREATE TABLE t(v)");
  const std::string before = Head();
  for (int i = 0; i < 3; i++) {
    if (i == 1) {
      database_.reset();
    } else {
      Stop();
    }
    Open();
    EXPECT_NE(Head(), before);
    EXPECT_EQ(database_->Compare(before, Head()), 0);
  }
  Result<size_t> pages = a_.Pull(database_.get());
  ASSERT_TRUE(pages.ok());
  EXPECT_EQ(*pages, 0u);
  Commit(&a_, "INSERT INTO t VALUES (1)");
  EXPECT_EQ(database_->Compare(before, Head()), -1);
  EXPECT_EQ(database_->Compare("0123456789abcdef-1", Head()), std::nullopt);
}

TEST_F(PrimaryDatabase, RemembersAllOfItsPastWhenItsLogIsCompacted) {
  Pull(&a_);
  Commit(&a_, "CREATE TABLE t(v); INSERT INTO t VALUES (randomblob(20000))");
  Pull(&b_);
  PageCommit refused = b_.Prepare("CREATE TABLE u(v)");
  PageCommit taken = a_.Prepare("INSERT INTO t VALUES (1)");
  Result<Committed> committed = database_->Commit(taken);
  ASSERT_TRUE(committed.ok());
  EXPECT_EQ(database_->Commit(refused).status().code(), Code::kConflict);
  ASSERT_TRUE(database_->CompactLog().ok());
  database_.reset();
  Open();
  EXPECT_EQ(database_->Commit(taken)->revision, committed->revision);
  refused.base = Head();
  EXPECT_EQ(database_->Commit(refused).status().code(), Code::kConflict);
  Result<size_t> pages = b_.Pull(database_.get());
  ASSERT_TRUE(pages.ok()) << pages.status().text();
  EXPECT_EQ(*pages, taken.pages.size());
}

TEST_F(PrimaryDatabase, CountsPagesThatWentAndCameBackAsChanged) {
  Pull(&a_);
  Pull(&b_);
  Commit(&a_, "CREATE TABLE t(v); INSERT INTO t VALUES (zeroblob(40000))");
  Pull(&b_);
  Commit(&a_, "DROP TABLE t; VACUUM");
  Commit(&a_, "CREATE TABLE t(v); INSERT INTO t VALUES (randomblob(40000))");
  Pull(&b_);
  EXPECT_EQ(b_.image(), a_.image());
}

TEST_F(PrimaryDatabase, TakesWhatAnotherProgramWroteWhileItWasDownAsARevision) {
  Pull(&a_);
  Commit(&a_, "CREATE TABLE t(v)");
  Stop();
  {
    Connection other(path_);
    other.Run("INSERT INTO t VALUES (7)");
  }
  Open();
  EXPECT_EQ(database_->Compare(a_.revision(), Head()), -1);
  Pull(&a_);
  EXPECT_EQ(a_.Text("SELECT v FROM t"), "7");
  Commit(&a_, "INSERT INTO t VALUES (8)");
}

TEST_F(PrimaryDatabase, TakesWhatAnotherProgramWritesWhileItIsServedAsARevision) {
  Pull(&a_);
  Commit(&a_, "CREATE TABLE t(v)");
  // Another process: in this one, closing the file would drop our locks.
  ASSERT_EQ(std::system(("sqlite3 '" + path_ + "' 'INSERT INTO t VALUES (7)'").c_str()), 0);
  EXPECT_EQ(a_.Commit(database_.get(), "INSERT INTO t VALUES (8)").status().code(),
            Code::kConflict);
  Pull(&a_);
  EXPECT_EQ(a_.Text("SELECT v FROM t"), "7");
}

TEST_F(PrimaryDatabase, FindsRevisionsUnrelatedThatARestoredBackupDoesNotRemember) {
  Pull(&a_);
  Commit(&a_, "CREATE TABLE t(v)");
  const std::string kept = Head();
  Stop();
  TempDir backup;
  std::filesystem::copy(directory_.path(), backup.path() / "d");
  Open();
  Pull(&a_);
  Commit(&a_, "INSERT INTO t VALUES (1)");
  const std::string lost = Head();
  Stop();
  std::shared_ptr<ServedDatabase> restored = host_.MustOpen(backup.File("d/app.db"));
  ASSERT_TRUE(restored);
  EXPECT_EQ(a_.Pull(restored.get()).status().code(), Code::kConflict);
  EXPECT_EQ(restored->Compare(lost, lost), std::nullopt);
  EXPECT_NE(restored->Compare(kept, kept), std::nullopt);
}

TEST_F(PrimaryDatabase, RefusesPagesThatMakeNoDatabase) {
  Pull(&a_);
  Commit(&a_, "CREATE TABLE t(v); INSERT INTO t VALUES (randomblob(30000))");
  const std::string before = Head();
  const uint32_t size = static_cast<uint32_t>(a_.image().size() / 4096);
  using Spoil = std::function<void(PageCommit*)>;
  const std::pair<const char*, Spoil> cases[] = {
      {"magic", [](PageCommit* c) { c->pages.Slot({1})[0] = 'X'; }},
      {"page size", [](PageCommit* c) { c->pages.Slot({1})[16] = 0x20; }},
      {"write version", [](PageCommit* c) { c->pages.Slot({1})[18] = 1; }},
      {"read version", [](PageCommit* c) { c->pages.Slot({1})[19] = 1; }},
      {"reserved", [](PageCommit* c) { c->pages.Slot({1})[20] = 8; }},
      {"fractions", [](PageCommit* c) { c->pages.Slot({1})[21] = 65; }},
      {"size in the header", [](PageCommit* c) { c->pages.Slot({1})[31]++; }},
      {"encoding", [](PageCommit* c) { c->pages.Slot({1})[59] = 4; }},
      {"size", [&](PageCommit* c) { c->pages.set_db_size(size + 5); }},
      {"absurd size", [](PageCommit* c) { c->pages.set_db_size(0xffffffff); }},
      {"no size", [](PageCommit* c) { c->pages.set_db_size(0); }},
      {"outside", [&](PageCommit* c) { c->pages.Put({size + 9}, Bytes(4096).data()); }},
      {"no page", [&](PageCommit* c) { c->pages.Put({0}, Bytes(4096).data()); }},
      {"nothing",
       [&](PageCommit* c) {
         c->pages = PageSet(4096);
         c->pages.set_db_size(size);
       }},
      {"gap",
       [&](PageCommit* c) {
         StoreBig32(c->pages.Slot({1}) + 28, size + 3);
         c->pages.set_db_size(size + 3);
         c->pages.Put({size + 3}, Bytes(4096).data());
       }},
      {"other page size",
       [](PageCommit* c) {
         c->pages = PageSet(1024);
         c->pages.set_db_size(1);
         c->pages.Put({1}, Bytes(1024).data());
       }},
  };
  for (const auto& [what, spoil] : cases) {
    PageCommit commit = a_.Prepare("CREATE TABLE u(v)");
    spoil(&commit);
    EXPECT_EQ(database_->Commit(commit).status().code(), Code::kInvalid) << what;
    EXPECT_EQ(Head(), before) << what;
  }
  Commit(&a_, "CREATE TABLE u(v)");
}

TEST_F(PrimaryDatabase, WakesAFollowerWithACommitAndEncodesItsAnswerOnce) {
  Pull(&a_);
  std::vector<std::future<Answer>> answers;
  for (int i = 0; i < 500; i++) {
    auto promise = std::make_shared<std::promise<Answer>>();
    answers.push_back(promise->get_future());
    PullRequest request;
    request.since = a_.revision();
    request.wait = seconds(30);
    database_->Pull(request, [promise](Answer answer) { promise->set_value(std::move(answer)); });
  }
  EXPECT_EQ(database_->counts().waiting, 500u);
  Commit(&a_, "CREATE TABLE t(v)");
  std::shared_ptr<const std::string> first = *answers[0].get();
  for (size_t i = 1; i < answers.size(); i++) EXPECT_EQ(*answers[i].get(), first);
}

TEST_F(PrimaryDatabase, AnswersWhatWaitsWhenItStops) {
  Pull(&a_);
  std::promise<Answer> promise;
  PullRequest request;
  request.since = a_.revision();
  request.wait = seconds(30);
  database_->Pull(request, [&](Answer answer) { promise.set_value(std::move(answer)); });
  Stop();
  EXPECT_EQ(promise.get_future().get().status().code(), Code::kUnavailable);
}

TEST_F(PrimaryDatabase, LetsAReplicaWithTheLeaseCommitWhileSqlWaitsForIt) {
  Pull(&a_);
  Commit(&a_, "CREATE TABLE t(v)");
  std::promise<Answer> lease;
  database_->AskLease({a_.id(), a_.revision(), {}, PageCodec::kRaw},
                      [&](Answer answer) { lease.set_value(std::move(answer)); });
  Answer granted = lease.get_future().get();
  ASSERT_TRUE(granted.ok());
  const uint64_t fence = *NumberField(Message::Decode(AsBytes(**granted))->head(), "fence");
  SqlConnection sql = Sql();
  std::future<int> inserted =
      std::async(std::launch::async, [&] { return Exec(sql, "INSERT INTO t VALUES (1)"); });
  // It asks, waits for a while, lets go of WRITE and asks again.
  bool ended = false;
  while (!ended && inserted.wait_for(seconds(0)) != std::future_status::ready) {
    if (!database_->counts().sql_waits) continue;
    PageCommit commit = a_.Prepare("INSERT INTO t VALUES (10)");
    commit.fence = fence;
    Result<Committed> committed = database_->Commit(commit);
    ASSERT_TRUE(committed.ok()) << committed.status().text();
    a_.Took(committed->revision);
    ended = committed->lease_ended;
  }
  EXPECT_TRUE(ended);
  EXPECT_EQ(inserted.get(), SQLITE_OK);
}

TEST_F(PrimaryDatabase, PullsAreOneRevisionWhileSqlAndReplicasCommit) {
  Pull(&a_);
  Commit(&a_,
         "CREATE TABLE t(k INTEGER PRIMARY KEY, v); CREATE TABLE u(k INTEGER PRIMARY KEY, v);"
         "INSERT INTO t VALUES (1, 0); INSERT INTO u VALUES (1, zeroblob(20000))");
  std::atomic<bool> done{false};
  std::thread writer([&] {
    SqlConnection sql = Sql();
    for (int i = 1; i <= 150; i++) {
      std::string n = std::to_string(i);
      EXPECT_EQ(Exec(sql, "BEGIN IMMEDIATE; UPDATE t SET v = " + n + "; UPDATE u SET v = " + n +
                              " || zeroblob(20000); COMMIT"),
                SQLITE_OK)
          << sqlite3_errmsg(sql.get());
      if (i % 3 == 0) Exec(sql, "PRAGMA wal_checkpoint");
      if (i % 10 == 0) Exec(sql, "PRAGMA wal_checkpoint(TRUNCATE)");
    }
    done = true;
  });
  size_t torn = 0, pulls = 0;
  while (!done) {
    Pull(&b_);
    pulls++;
    if (b_.Text("SELECT t.v = CAST(u.v AS INTEGER) FROM t, u") == "0") torn++;
    if (pulls % 10 == 0) {
      EXPECT_EQ(b_.Text("PRAGMA integrity_check"), "ok");
    }
  }
  writer.join();
  EXPECT_EQ(torn, 0u);
  EXPECT_EQ(database_->counts().sql_commits, 150u);
  Pull(&b_);
  Stop();
  EXPECT_EQ(FileBytes(), b_.image());
}

}  // namespace
}  // namespace turso
