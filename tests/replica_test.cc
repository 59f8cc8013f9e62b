// A replica through SQLite and the VFS, with a primary that fails when it is told to.

#include "src/replica/replica.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>

#include "extension/turso_vfs.h"
#include "src/replica/sidecar.h"
#include "tests/support/fake_world.h"
#include "tests/support/temp_dir.h"
#include "vfs/connection.h"
#include "vfs/lower.h"
#include "vfs/result_codes.h"
#include "vfs/vfs.h"

namespace turso {
namespace {

using ::testing::HasSubstr;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << bytes;
}

class ReplicaFaults : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(turso_vfs_register(0), SQLITE_OK);
    db_ = Open();
    ASSERT_EQ(Run("CREATE TABLE t(a INTEGER PRIMARY KEY, b)"), SQLITE_OK);
  }
  void TearDown() override { sqlite3_close(db_); }

  sqlite3* Open(const std::string& more = "") {
    sqlite3* db = nullptr;
    std::string uri = "file:" + path_ +
                      "?vfs=turso&url=http://primary.test/app&sync_interval=off&timeout=1s" + more;
    int code = sqlite3_open_v2(
        uri.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, nullptr);
    EXPECT_EQ(code, SQLITE_OK) << LastOpenError().value_or("");
    return db;
  }
  void Reopen() {
    sqlite3_close(db_);
    db_ = Open();
  }
  int Run(const std::string& sql) { return Run(db_, sql); }
  static int Run(sqlite3* db, const std::string& sql) {
    int code = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr);
    return code == SQLITE_OK ? code : sqlite3_extended_errcode(db);
  }
  std::string Ask(const std::string& sql) { return Ask(db_, sql); }
  static std::string Ask(sqlite3* db, const std::string& sql) {
    std::string answer;
    auto row = [](void* out, int, char** values, char**) {
      *static_cast<std::string*>(out) += values[0] == nullptr ? "NULL" : values[0];
      return 0;
    };
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), row, &answer, nullptr), SQLITE_OK)
        << sqlite3_errmsg(db);
    return answer;
  }
  // A transaction at the primary that does not come from here.
  void ElsewhereRun(const std::string& sql) {
    std::string copy = dir_.File("elsewhere.db");
    Bytes file = world_.primary().File();
    WriteFile(copy, std::string(AsText(file)));
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open_v2(copy.c_str(), &db, SQLITE_OPEN_READWRITE, "unix"), SQLITE_OK);
    ASSERT_EQ(Run(db, sql), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
    world_.primary().WriteFile(AsBytes(ReadFile(copy)));
  }
  // The replica's file, with all of its log in it, as other programs may not see it: byte 18 as at
  // the primary.
  void ExpectEqualToPrimary() {
    ASSERT_EQ(Run("PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
    std::string ours = ReadFile(path_);
    EXPECT_EQ(ours.at(18), 3);
    ours[18] = 2;
    Bytes theirs = world_.primary().File();
    EXPECT_TRUE(ours == AsText(theirs))
        << ours.size() << " bytes here, " << theirs.size() << " there";
    EXPECT_EQ(Ask("PRAGMA integrity_check"), "ok");
  }
  std::vector<std::string> SetAside() {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
      std::string name = entry.path().string();
      if (name.find(".aside-") != std::string::npos) found.push_back(name);
    }
    return found;
  }

  FakeWorld world_;
  TempDir dir_;
  std::string path_ = dir_.File("app.db");
  sqlite3* db_ = nullptr;
};

TEST_F(ReplicaFaults, EveryCommitIsAtThePrimaryByteForByte) {
  for (int i = 0; i < 20; i++)
    ASSERT_EQ(Run("INSERT INTO t(b) VALUES(randomblob(5000))"), SQLITE_OK);
  EXPECT_EQ(world_.primary().commits(), 21);
  ExpectEqualToPrimary();
}

TEST_F(ReplicaFaults, WhatOthersCommittedIsPulledWhole) {
  ElsewhereRun("INSERT INTO t(b) VALUES('theirs')");
  EXPECT_EQ(Ask("SELECT count(*) FROM t"), "0");
  EXPECT_EQ(Ask("SELECT turso_sync()"), std::string(world_.primary().revision().text()));
  EXPECT_EQ(Ask("SELECT b FROM t"), "theirs");
  ExpectEqualToPrimary();
}

TEST_F(ReplicaFaults, TheAgeOfWhatIsReadCountsFromTheQuestionNotFromItsAnswer) {
  constexpr milliseconds kUnderWay(50);
  world_.asker().set_before([&](const std::string& call) {
    const Instant asked = Instant::Now();
    while (call == "pull" && Instant::Now() - asked < kUnderWay) std::this_thread::yield();
  });
  Ask("SELECT turso_sync()");
  EXPECT_GE(std::stoll(Ask("SELECT turso_lag()")), kUnderWay / milliseconds(1));
}

TEST_F(ReplicaFaults, AReplicaByOneProtocolIsNotOpenedByAnother) {
  sqlite3_close(std::exchange(db_, nullptr));
  const std::string uri = "file:" + path_ + "?vfs=turso&protocol=libsql";
  sqlite3* db = nullptr;
  EXPECT_EQ(sqlite3_open_v2(uri.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, nullptr),
            SQLITE_CANTOPEN);
  EXPECT_THAT(sqlite3_errmsg(db), ::testing::HasSubstr("is a replica by the protocol"));
  sqlite3_close(db);
}

TEST_F(ReplicaFaults, AWriteCatchesUpFirst) {
  sqlite3_busy_timeout(db_, 2000);
  ElsewhereRun("INSERT INTO t(b) VALUES('theirs')");
  std::this_thread::sleep_for(milliseconds(150));  // The lease of the CREATE ends.
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES('ours')"), SQLITE_OK);
  EXPECT_EQ(Ask("SELECT group_concat(b) FROM t"), "theirs,ours");
  ExpectEqualToPrimary();
}

TEST_F(ReplicaFaults, AStreamOfTransactionsPaysForTheLeaseOnce) {
  int leases = world_.CallsOf("lease");
  for (int i = 0; i < 10; i++) ASSERT_EQ(Run("INSERT INTO t(b) VALUES(1)"), SQLITE_OK);
  EXPECT_LE(world_.CallsOf("lease") - leases, 1);
  EXPECT_EQ(world_.CallsOf("commit"), 11);
}

TEST_F(ReplicaFaults, ACommitOnAnOldBaseIsBusySnapshotAndRolledBack) {
  ASSERT_EQ(Run("BEGIN IMMEDIATE; INSERT INTO t(b) VALUES('ours')"), SQLITE_OK);
  ElsewhereRun("INSERT INTO t(b) VALUES('theirs')");
  EXPECT_EQ(Run("COMMIT"), SQLITE_BUSY_SNAPSHOT);
  EXPECT_NE(sqlite3_get_autocommit(db_), 0);
  sqlite3_busy_timeout(db_, 2000);
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES('again')"), SQLITE_OK);
  EXPECT_EQ(Ask("SELECT group_concat(b) FROM t"), "theirs,again");
  ExpectEqualToPrimary();
}

TEST_F(ReplicaFaults, ATransactionThatReadSomethingStaleCannotWrite) {
  ASSERT_EQ(Run("BEGIN"), SQLITE_OK);
  EXPECT_EQ(Ask("SELECT count(*) FROM t"), "0");
  ElsewhereRun("INSERT INTO t(b) VALUES('theirs')");
  std::this_thread::sleep_for(milliseconds(150));
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES('ours')"), SQLITE_BUSY_SNAPSHOT);
  EXPECT_EQ(Ask("SELECT count(*) FROM t"), "0");
  EXPECT_EQ(Run("ROLLBACK"), SQLITE_OK);
  EXPECT_EQ(Ask("SELECT b FROM t"), "theirs");
}

TEST_F(ReplicaFaults, ALostAnswerIsSettledAndTheCommitIsThereOnce) {
  world_.caller().LoseAnswer(1, "commit");
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES('once')"), SQLITE_OK);
  EXPECT_EQ(world_.CallsOf("settle"), 1);
  EXPECT_EQ(Ask("SELECT count(*) FROM t"), "1");
  ExpectEqualToPrimary();
}

TEST_F(ReplicaFaults, ACommitThatDidNotReachThePrimaryIsACleanFailure) {
  world_.caller().FailCall(1, Code::kUnavailable, "commit");
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES('never')"), SQLITE_IOERR);
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES('ours')"), SQLITE_OK);
  EXPECT_EQ(Ask("SELECT group_concat(b) FROM t"), "ours");
  ExpectEqualToPrimary();
}

TEST_F(ReplicaFaults,
       AnUnknownOutcomeIsNeverReportedAsSuccessNorAsFailureAndIsSettledByTheNextWrite) {
  world_.caller().LoseAnswer(1, "commit");
  world_.caller().set_before([&](const std::string& call) {
    if (call == "commit") world_.Disconnect();
  });
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES('which')"), kIoErrOutcomeUnknown);
  EXPECT_THAT(Ask("SELECT turso_last_error()"), HasSubstr("unknown"));
  EXPECT_EQ(Ask("SELECT state FROM turso_status"), "settling");
  EXPECT_EQ(Ask("SELECT count(*) FROM t"), "0");
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES('too early')"), SQLITE_IOERR);
  world_.caller().set_before(nullptr);
  world_.Reconnect();
  sqlite3_busy_timeout(db_, 2000);
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES('next')"), SQLITE_OK);
  EXPECT_EQ(Ask("SELECT group_concat(b) FROM t"), "which,next");
  EXPECT_EQ(Ask("SELECT state FROM turso_status"), "live");
  ExpectEqualToPrimary();
}

TEST_F(ReplicaFaults, AnUnknownOutcomeOutlivesTheProcess) {
  world_.caller().LoseAnswer(1, "commit");
  world_.caller().set_before([&](const std::string& call) {
    if (call == "commit") world_.Disconnect();
  });
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES('which')"), kIoErrOutcomeUnknown);
  world_.caller().set_before(nullptr);
  Reopen();
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES('too early')"), SQLITE_IOERR);
  world_.Reconnect();
  Ask("SELECT turso_sync()");
  EXPECT_EQ(Ask("SELECT group_concat(b) FROM t"), "which");
  ExpectEqualToPrimary();
}

TEST_F(ReplicaFaults, AReplicaWhoseIdentityAnotherUsesGetsOneOfItsOwnAndGoesOn) {
  ASSERT_EQ(Run("INSERT INTO t(b) VALUES(1)"), SQLITE_OK);
  const auto before = Sidecar::Peek(Sidecar::PathFor(path_))->replica_id;
  world_.CopyHasCommitted(*Sidecar::Peek(Sidecar::PathFor(path_)));
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES(2)"), SQLITE_BUSY_SNAPSHOT);
  EXPECT_THAT(Ask("SELECT turso_last_error()"), HasSubstr("under the identity of " + path_));
  EXPECT_NE(Sidecar::Peek(Sidecar::PathFor(path_))->replica_id, before);
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES(2)"), SQLITE_OK);
  EXPECT_EQ(Ask("SELECT group_concat(b) FROM t"), "1,2");
  ExpectEqualToPrimary();
}

TEST_F(ReplicaFaults, AnOutcomeThatTheCommitsOfACopyHaveMadeUntellableDoesNotHoldTheReplicaUp) {
  world_.caller().LoseAnswer(1, "commit");
  world_.caller().set_before([&](const std::string& call) {
    if (call == "commit") world_.Disconnect();
  });
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES('which')"), kIoErrOutcomeUnknown);
  world_.caller().set_before(nullptr);
  world_.CopyHasCommitted(*Sidecar::Peek(Sidecar::PathFor(path_)));
  world_.Reconnect();
  sqlite3_busy_timeout(db_, 2000);
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES('next')"), SQLITE_OK);
  EXPECT_EQ(Ask("SELECT group_concat(b) FROM t"), "which,next");
  EXPECT_EQ(Ask("SELECT state FROM turso_status"), "live");
  ExpectEqualToPrimary();
}

// The sidecar as it was when the commit was sent, beside a log that has the commit: a death right
// behind the header.
TEST_F(ReplicaFaults, ADeathBehindTheCommitHeaderIsExplainedByTheIntent) {
  std::string sidecar;
  world_.caller().set_before([&](const std::string& call) {
    if (call == "commit") sidecar = ReadFile(path_ + "-turso");
  });
  ASSERT_EQ(Run("INSERT INTO t(b) VALUES('mine')"), SQLITE_OK);
  const std::string log = ReadFile(path_ + "-wal");
  sqlite3_close(db_);
  std::fstream file(path_ + "-turso", std::ios::in | std::ios::out | std::ios::binary);
  file.write(sidecar.data(), 16384);
  file.close();
  WriteFile(path_ + "-wal", log);  // The close has emptied it.
  db_ = Open();
  ElsewhereRun("INSERT INTO t(b) VALUES('theirs')");
  Ask("SELECT turso_sync()");
  EXPECT_EQ(Ask("SELECT group_concat(b) FROM t"), "mine,theirs");
  EXPECT_EQ(world_.CallsOf("hashes"), 0);
  ExpectEqualToPrimary();
}

TEST_F(ReplicaFaults, ALogThatSomebodyRemovedIsRepairedFromThePrimary) {
  ASSERT_EQ(Run("INSERT INTO t(b) VALUES(randomblob(9000))"), SQLITE_OK);
  // As a death leaves it, which brings nothing of the log into the database.
  const std::string database = ReadFile(path_), sidecar = ReadFile(path_ + "-turso");
  sqlite3_close(db_);
  WriteFile(path_, database);
  WriteFile(path_ + "-turso", sidecar);
  std::filesystem::remove(path_ + "-wal");
  std::filesystem::remove(path_ + "-shm");
  db_ = Open();
  Ask("SELECT turso_sync()");
  EXPECT_EQ(Ask("SELECT count(*) FROM t"), "1");
  EXPECT_EQ(world_.CallsOf("hashes"), 1);
  EXPECT_THAT(SetAside(), ::testing::IsEmpty()) << "byte 18 says that nobody wrote";
  ExpectEqualToPrimary();
}

TEST_F(ReplicaFaults, ALogThatTookNothingWithItIsNotMissed) {
  ASSERT_EQ(Run("INSERT INTO t(b) VALUES(randomblob(9000))"), SQLITE_OK);
  sqlite3_close(db_);
  std::filesystem::remove(path_ + "-wal");
  std::filesystem::remove(path_ + "-shm");
  db_ = Open();
  Ask("SELECT turso_sync()");
  EXPECT_EQ(Ask("SELECT count(*) FROM t"), "1");
  EXPECT_EQ(world_.CallsOf("hashes"), 0);
  ExpectEqualToPrimary();
}

TEST_F(ReplicaFaults, StockSqliteReadsTheFileAndRefusesToWriteIt) {
  ASSERT_EQ(Run("PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
  ASSERT_EQ(Run("INSERT INTO t(b) VALUES(7)"), SQLITE_OK);
  sqlite3* plain = nullptr;
  ASSERT_EQ(sqlite3_open_v2(path_.c_str(), &plain, SQLITE_OPEN_READWRITE, "unix"), SQLITE_OK);
  EXPECT_EQ(Ask(plain, "SELECT b FROM t"), "7");
  EXPECT_EQ(Run(plain, "INSERT INTO t(b) VALUES(8)"), SQLITE_READONLY);
  sqlite3_close(plain);
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES(9)"), SQLITE_OK);
  EXPECT_EQ(world_.CallsOf("hashes"), 0);
}

TEST_F(ReplicaFaults, WhatAForeignHandWroteIsSetAsideAndNeverPushed) {
  ASSERT_EQ(Run("INSERT INTO t(b) VALUES('ours')"), SQLITE_OK);
  ASSERT_EQ(Run("PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
  sqlite3_close(db_);
  std::string bytes = ReadFile(path_);
  bytes[18] = 2;
  WriteFile(path_, bytes);
  sqlite3* plain = nullptr;
  ASSERT_EQ(sqlite3_open_v2(path_.c_str(), &plain, SQLITE_OPEN_READWRITE, "unix"), SQLITE_OK);
  ASSERT_EQ(Run(plain, "INSERT INTO t(b) VALUES('foreign')"), SQLITE_OK);
  sqlite3_close(plain);
  ASSERT_EQ(std::filesystem::exists(path_ + "-wal"), false);
  db_ = Open();
  sqlite3_busy_timeout(db_, 2000);
  ElsewhereRun("INSERT INTO t(b) VALUES('theirs')");
  Ask("SELECT turso_sync()");
  EXPECT_EQ(Ask("SELECT group_concat(b) FROM t"), "ours,theirs");
  ASSERT_EQ(SetAside().size(), 1u);
  sqlite3* aside = nullptr;
  ASSERT_EQ(sqlite3_open_v2(SetAside()[0].c_str(), &aside, SQLITE_OPEN_READWRITE, "unix"),
            SQLITE_OK);
  EXPECT_EQ(Ask(aside, "SELECT group_concat(b) FROM t"), "ours,foreign");
  sqlite3_close(aside);
  ExpectEqualToPrimary();
}

TEST_F(ReplicaFaults, APrimaryThatWentBackInTimeIsNoticedAndWhatItLacksIsSetAside) {
  Bytes before = world_.primary().File();
  ASSERT_EQ(Run("INSERT INTO t(b) VALUES('gone')"), SQLITE_OK);
  world_.primary().WriteFile(before);
  world_.primary().ForgetHistory();
  Ask("SELECT turso_sync()");
  EXPECT_EQ(Ask("SELECT count(*) FROM t"), "0");
  EXPECT_EQ(SetAside().size(), 1u);
  ExpectEqualToPrimary();
}

TEST_F(ReplicaFaults, NoTableIsTakenForAnotherAfterThePrimaryWentBackInTime) {
  for (const bool looks_in_between : {false, true}) {
    Bytes before = world_.primary().File();
    sqlite3* other = Open();
    ASSERT_EQ(Run("CREATE TABLE x(a)"), SQLITE_OK);
    ASSERT_EQ(Run("INSERT INTO x VALUES('x')"), SQLITE_OK);
    ASSERT_EQ(Ask(other, "SELECT a FROM x"), "x");
    world_.primary().WriteFile(before);
    world_.primary().ForgetHistory();
    if (looks_in_between) Ask("SELECT turso_sync()");
    // As many changes of the schema as were lost.
    ElsewhereRun("CREATE TABLE y(b, c); INSERT INTO y VALUES('b', 'c')");
    Ask("SELECT turso_sync()");
    for (sqlite3* db : {other, db_}) {
      EXPECT_EQ(Run(db, "SELECT a FROM x"), SQLITE_ERROR);
      EXPECT_EQ(Ask(db, "SELECT b || c FROM y"), "bc");
      EXPECT_EQ(Run(db, "INSERT INTO x VALUES('wrong')"), SQLITE_ERROR);
    }
    ElsewhereRun("ALTER TABLE y ADD COLUMN d DEFAULT 'd'");
    Ask("SELECT turso_sync()");
    EXPECT_EQ(Ask(other, "SELECT b || c || d FROM y"), "bcd");
    // Our own go on from the cookie that is shown here.
    ASSERT_EQ(Run("DROP TABLE y"), SQLITE_OK);
    EXPECT_EQ(Run(other, "SELECT b FROM y"), SQLITE_ERROR);
    sqlite3_close(other);
    ExpectEqualToPrimary();
  }
}

TEST_F(ReplicaFaults, ARestartedPrimaryNamesTheSameContentAnewAndWritesGoOn) {
  ASSERT_EQ(Run("INSERT INTO t(b) VALUES(1)"), SQLITE_OK);
  std::this_thread::sleep_for(milliseconds(150));
  world_.primary().Restart();
  EXPECT_EQ(Ask("SELECT turso_sync()"), std::string(world_.primary().revision().text()));
  EXPECT_EQ(Ask("SELECT turso_revision()"), std::string(world_.primary().revision().text()));
  world_.primary().Restart();
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES(2)"), SQLITE_OK);
  EXPECT_EQ(world_.CallsOf("hashes"), 0);
  ExpectEqualToPrimary();
}

TEST_F(ReplicaFaults, AnOpenSnapshotKeepsItsAnswersAndItsRevision) {
  sqlite3* reader = Open();
  ASSERT_EQ(Run("INSERT INTO t(b) VALUES('first')"), SQLITE_OK);
  ASSERT_EQ(Run(reader, "BEGIN"), SQLITE_OK);
  EXPECT_EQ(Ask(reader, "SELECT count(*) FROM t"), "1");
  std::string revision = Ask(reader, "SELECT turso_revision()");
  for (int i = 0; i < 50; i++) {
    ElsewhereRun("INSERT INTO t(b) VALUES(randomblob(3000))");
    Ask("SELECT turso_sync()");
    if (i % 10 == 0) Run("PRAGMA wal_checkpoint(PASSIVE)");
  }
  EXPECT_EQ(Ask("SELECT count(*) FROM t"), "51");
  EXPECT_EQ(Ask(reader, "SELECT count(*) FROM t"), "1");
  EXPECT_EQ(Ask(reader, "SELECT turso_revision()"), revision);
  EXPECT_EQ(Run(reader, "COMMIT"), SQLITE_OK);
  EXPECT_EQ(Ask(reader, "SELECT turso_revision()"),
            std::string(world_.primary().revision().text()));
  EXPECT_EQ(Ask(reader, "SELECT count(*) FROM t"), "51");
  sqlite3_close(reader);
}

TEST_F(ReplicaFaults, AReplicaThatClosesGivesItsLeaseBack) {
  ASSERT_EQ(Run("INSERT INTO t(b) VALUES(1)"), SQLITE_OK);
  sqlite3_close(db_);
  path_ = dir_.File("other.db");
  db_ = Open();
  sqlite3_busy_timeout(db_, 0);
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES(2)"), SQLITE_OK) << "the lease is not free";
  EXPECT_EQ(Ask("SELECT count(*) FROM t"), "2");
}

TEST_F(ReplicaFaults, ReadsGoOnWithoutAPrimary) {
  ASSERT_EQ(Run("INSERT INTO t(b) VALUES(1)"), SQLITE_OK);
  std::this_thread::sleep_for(milliseconds(150));
  world_.Disconnect();
  EXPECT_EQ(Ask("SELECT count(*) FROM t"), "1");
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES(2)"), SQLITE_IOERR);
  Reopen();
  EXPECT_EQ(Ask("SELECT count(*) FROM t"), "1");
  world_.Reconnect();
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES(2)"), SQLITE_OK);
}

// SQLite's side of a replica whose files another program has locked for a moment: it is just
// opening the wal-index, or closing the database as the last.
class BusyHost : public ReplicaHost {
 public:
  BusyHost(std::string path, int times_busy) : path_(std::move(path)), times_busy_(times_busy) {}
  Result<std::unique_ptr<WalFiles>> OpenFiles() override {
    if (times_busy_-- > 0) return Status(Code::kBusy, "locked for a moment");
    return OpenWalFiles(path_);
  }
  Status RecoverBySqlite() override { return OkStatus(); }
  Status CheckpointBySqlite() override { return OkStatus(); }
  Result<Found> LookAtDatabase() override { return Found{4096, true}; }
  Result<bool> IsUnused() override { return true; }
  Status EnterWalMode() override { return OkStatus(); }
  ScratchMaker* scratch() override { return nullptr; }
  int times_busy() const { return times_busy_; }

 private:
  std::string path_;
  int times_busy_;
};

TEST_F(ReplicaFaults, ASyncOutlastsAnotherProgramThatIsJustOpeningOrClosing) {
  ElsewhereRun("INSERT INTO t(b) VALUES('theirs')");
  Options options;
  options.url = "http://primary.test/app";
  auto host = std::make_unique<BusyHost>(path_, 8);
  BusyHost* asked = host.get();
  Result<std::shared_ptr<Replica>> replica = Replica::Open(path_, options, std::move(host));
  ASSERT_TRUE(replica.ok()) << replica.status().text();
  Result<Revision> reached = (*replica)->Sync(nullptr);
  ASSERT_TRUE(reached.ok()) << reached.status().text();
  EXPECT_LT(asked->times_busy(), 0);
  EXPECT_EQ(reached->text(), world_.primary().revision().text());
  (*replica)->Stop();
  EXPECT_EQ(Ask("SELECT b FROM t"), "theirs");
}

}  // namespace
}  // namespace turso
