// A commit's id at the primary: it commits once, and every answer about it is the last word,
// whoever asks, however late the request comes and whenever the server dies.

#include <gtest/gtest.h>

#include <utility>

#include "src/primary/create_database.h"
#include "src/primary/fault_point.h"
#include "tests/support/connection.h"
#include "tests/support/served.h"
#include "tests/support/temp_dir.h"

namespace turso {
namespace {

class PrimaryOnce : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<std::string> made = CreateDatabase(directory_.path().string(), "app", {});
    ASSERT_TRUE(made.ok()) << made.status().text();
    path_ = *made;
    database_ = host_.MustOpen(path_);
    ASSERT_TRUE(a_.Pull(database_.get()).ok());
    ASSERT_TRUE(a_.Commit(database_.get(), "CREATE TABLE t(v)").ok());
    ASSERT_TRUE(b_.Pull(database_.get()).ok());
  }
  void TearDown() override { FaultHook() = nullptr; }

  // As after a kill: nothing is written that was not written yet.
  void Crash() {
    database_.reset();
    database_ = host_.MustOpen(path_);
  }
  static void FailAt(const std::string& failing, Code code) {
    FaultHook() = [failing, code](const char* point) {
      return failing == point ? Status(code, "failed by the test") : OkStatus();
    };
  }
  Code CommitCode(const PageCommit& commit) { return database_->Commit(commit).status().code(); }
  Outcome Settle(const PageCommit& commit) {
    Result<Settled> settled = database_->Settle(commit.replica, commit.number);
    EXPECT_TRUE(settled.ok()) << settled.status().text();
    return settled.ok() ? settled->outcome : Outcome::kLost;
  }
  std::string Rows() {
    MemoryReplica fresh(99);
    EXPECT_TRUE(fresh.Pull(database_.get()).ok());
    return fresh.Text("SELECT coalesce(group_concat(v), '') FROM t");
  }
  std::string Head() { return database_->Identify()->revision.text(); }

  TempDir directory_;
  std::string path_;
  ServedHost host_;
  std::shared_ptr<ServedDatabase> database_;
  MemoryReplica a_{1}, b_{2};
};

TEST_F(PrimaryOnce, WhatFailedOnceIsNotTakenWhenItComesAgain) {
  for (const Code code : {Code::kFull, Code::kIo}) {
    FailAt("log:write", code);
    PageCommit commit = a_.Prepare("INSERT INTO t VALUES ('failed')");
    EXPECT_EQ(CommitCode(commit), code);
    FaultHook() = nullptr;
    EXPECT_EQ(CommitCode(commit), Code::kConflict);
    EXPECT_EQ(Settle(commit), Outcome::kRefused);
    Crash();
    EXPECT_EQ(CommitCode(commit), Code::kConflict);
    EXPECT_EQ(Rows(), "");
    ASSERT_TRUE(a_.Pull(database_.get()).ok());
  }
  PageCommit spoilt = a_.Prepare("INSERT INTO t VALUES ('spoilt')");
  const uint32_t size = spoilt.pages.db_size();
  spoilt.pages.set_db_size(0);
  EXPECT_EQ(CommitCode(spoilt), Code::kInvalid);
  spoilt.pages.set_db_size(size);
  EXPECT_EQ(CommitCode(spoilt), Code::kConflict);
  EXPECT_EQ(Rows(), "");
}

// A proxy that asks again may hear the second answer to a request whose first one it lost.
TEST_F(PrimaryOnce, AStoppingServerKnowsWhatItHasTakenAndRefusesNothing) {
  PageCommit taken = a_.Prepare("INSERT INTO t VALUES ('taken')");
  Result<Committed> first = database_->Commit(taken);
  ASSERT_TRUE(first.ok());
  a_.Took(first->revision);
  PageCommit late = a_.Prepare("INSERT INTO t VALUES ('late')");
  ASSERT_TRUE(database_->Stop().ok());
  Result<Committed> again = database_->Commit(taken);
  ASSERT_TRUE(again.ok()) << again.status().text();
  EXPECT_EQ(again->revision, first->revision);
  EXPECT_EQ(CommitCode(late), Code::kOutcomeUnknown);
  Crash();
  EXPECT_TRUE(database_->Commit(late).ok());
}

TEST_F(PrimaryOnce, AServerOutOfServiceSaysOfNoCommitThatItFailed) {
  FaultHook() = [](const char*) { return OkStatus(); };
  Crash();
  FailAt("wal:sync", Code::kIo);
  PageCommit halfway = a_.Prepare("INSERT INTO t VALUES ('halfway')");
  PageCommit other = b_.Prepare("INSERT INTO t VALUES ('other')");
  EXPECT_EQ(CommitCode(halfway), Code::kOutcomeUnknown);
  EXPECT_EQ(CommitCode(halfway), Code::kOutcomeUnknown);
  EXPECT_EQ(CommitCode(other), Code::kOutcomeUnknown);
  EXPECT_EQ(database_->Settle(other.replica, other.number).status().code(), Code::kUnavailable);
  FaultHook() = nullptr;
  Crash();
  EXPECT_EQ(Settle(halfway), Outcome::kCommitted);
  EXPECT_EQ(Settle(other), Outcome::kRefused);
  EXPECT_EQ(Rows(), "halfway");
}

// Another program has SQLite's WRITE lock, so the commit waits; it is settled meanwhile.
TEST_F(PrimaryOnce, ACommitThatIsSettledWhileItWaitsForItsTurnIsNotTaken) {
  sqlite3* plain = nullptr;
  ASSERT_EQ(sqlite3_open_v2(path_.c_str(), &plain, SQLITE_OPEN_READWRITE, "unix"), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(plain, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  std::promise<void> waits;
  bool told = false;
  FaultHook() = [&](const char* point) {
    if (std::string(point) == "commit:waits" && !std::exchange(told, true)) waits.set_value();
    return OkStatus();
  };
  PageCommit commit = a_.Prepare("INSERT INTO t VALUES ('waits')");
  std::future<Code> code = std::async(std::launch::async, [&] { return CommitCode(commit); });
  waits.get_future().get();
  EXPECT_EQ(Settle(commit), Outcome::kRefused);
  ASSERT_EQ(sqlite3_exec(plain, "ROLLBACK", nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_EQ(code.get(), Code::kConflict);
  sqlite3_close(plain);
  EXPECT_EQ(Rows(), "");
  // WRITE was given back.
  EXPECT_TRUE(b_.Commit(database_.get(), "INSERT INTO t VALUES ('next')").ok());
}

TEST_F(PrimaryOnce, ARefusalIsOnDiskBeforeSettleSaysIt) {
  for (const std::string point : {"log:write", "log:sync"}) {
    PageCommit late = a_.Prepare("INSERT INTO t VALUES ('late')");
    FailAt(point, Code::kIo);
    EXPECT_EQ(database_->Settle(late.replica, late.number).status().code(), Code::kUnavailable);
    FaultHook() = nullptr;
    Crash();
    int syncs = 0;
    FaultHook() = [&](const char* at) {
      if (std::string(at) == "log:sync") syncs++;
      return OkStatus();
    };
    EXPECT_EQ(Settle(late), Outcome::kRefused);
    // What the failed sync left was found at the start, and synced with what the start wrote.
    EXPECT_EQ(syncs, point == "log:write" ? 1 : 0);
    FaultHook() = nullptr;
    for (int i = 0; i < 2; i++) {
      EXPECT_EQ(Settle(late), Outcome::kRefused);
      EXPECT_EQ(CommitCode(late), Code::kConflict);
      Crash();
    }
  }
  EXPECT_EQ(Rows(), "");
}

TEST_F(PrimaryOnce, OfANumberThatIsPassedItCannotTellAndKeepsItOut) {
  PageCommit skipped = a_.Prepare("INSERT INTO t VALUES ('skipped')");
  PageCommit next = a_.Prepare("INSERT INTO t VALUES ('next')");
  EXPECT_EQ(Settle(next), Outcome::kRefused);
  EXPECT_EQ(Settle(skipped), Outcome::kLost);
  Crash();
  EXPECT_EQ(CommitCode(skipped), Code::kInvalid);
  EXPECT_EQ(CommitCode(next), Code::kConflict);
  EXPECT_EQ(Rows(), "");
}

TEST(History, ForgetsARefusedCommitOnlyWhenItsBaseCannotBeTheNewestAnyMore) {
  History history;
  history.StartEpoch(7);
  history.AdvanceAll(1);
  history.NoteCommit({1}, {5, Outcome::kRefused, history.counter(), 1000});
  history.NoteCommit({2}, {6, Outcome::kCommitted, history.counter(), 1000});
  history.ForgetRefused(2000);
  EXPECT_NE(history.FindCommit({1}), nullptr);
  history.AdvanceAll(1);
  history.ForgetRefused(1000);
  EXPECT_NE(history.FindCommit({1}), nullptr);
  history.ForgetRefused(2000);
  EXPECT_EQ(history.FindCommit({1}), nullptr);
  EXPECT_NE(history.FindCommit({2}), nullptr);
}

// The log has no number for the newest revision at a refusal: it follows from where it stands.
TEST_F(PrimaryOnce, ARefusedCommitIsRememberedWhileItCouldStillBeTaken) {
  PageCommit late = a_.Prepare("INSERT INTO t VALUES ('late')");
  EXPECT_EQ(Settle(late), Outcome::kRefused);
  Crash();
  LogTail tail;
  database_.reset();
  ASSERT_TRUE(
      CommitLog::Open(path_ + "-log", [&](const LogRecord& r) { return tail.Take(r); }).ok());
  tail.mutable_history()->ForgetRefused(INT64_MAX);
  EXPECT_NE(tail.history().FindCommit(a_.id()), nullptr);
  database_ = host_.MustOpen(path_);
  EXPECT_EQ(CommitCode(late), Code::kConflict);
}

}  // namespace
}  // namespace turso
