// The log of a gated database can be recovered after every commit, also where SQLite's own would
// end before it: when a transaction spills, spills again, and rolls back to a savepoint.

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "src/wal/write_gate.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wal_scan.h"
#include "vfs/vfs.h"

namespace turso {
namespace {

class YesGate : public WriteGate {
 public:
  Status Enter(WalFiles*, HasRead, const Interrupted&) override { return OkStatus(); }
  Status Commit(WalFiles*, const PageSet&, const FramePlan&, const Interrupted&) override {
    return OkStatus();
  }
  void Leave(WalFiles*) override {}
  Status BeforeRestart(WalFiles*) override { return OkStatus(); }
};

class WalChain : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(RegisterVfs(Default::kNo), SQLITE_OK);
    db_ = Open("unix", SQLITE_OPEN_CREATE);
    Run("PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
    sqlite3_close(db_);
    ASSERT_TRUE(RegisterGate(path_, &gate_).ok());
    db_ = Open("turso", 0);
    Run("PRAGMA cache_size=2; PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=OFF;"
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<200)"
        "INSERT INTO t SELECT i, zeroblob(1500) FROM c");
  }
  void TearDown() override {
    sqlite3_close(db_);
    UnregisterGate(path_);
  }
  sqlite3* Open(const char* vfs, int flags) {
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open_v2(path_.c_str(), &db, SQLITE_OPEN_READWRITE | flags, vfs), SQLITE_OK);
    return db;
  }
  void Run(const std::string& sql) {
    ASSERT_EQ(sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sql << ": " << sqlite3_errmsg(db_);
  }
  // Rows, and bytes in them.
  static std::string Content(sqlite3* db) {
    std::string content;
    const auto add = [](void* out, int, char** values, char**) {
      *static_cast<std::string*>(out) += values[0];
      return 0;
    };
    EXPECT_EQ(sqlite3_exec(db, "SELECT count(*) || ' ' || sum(a * length(b)) FROM t", add, &content,
                           nullptr),
              SQLITE_OK)
        << sqlite3_errmsg(db);
    return content;
  }
  // What the files hold for whoever comes after a crash, as stock SQLite reads them.
  std::string RecoveredContent() {
    const TempDir elsewhere;
    const std::string copy = elsewhere.File("copy.db");
    for (const char* suffix : {"", "-wal"}) {
      std::filesystem::copy_file(path_ + suffix, copy + suffix);
    }
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open_v2(copy.c_str(), &db, SQLITE_OPEN_READWRITE, "unix"), SQLITE_OK);
    const std::string content = Content(db);
    sqlite3_close(db);
    return content;
  }
  // The live header's idea of the log, and what the bytes of the log say.
  void ExpectWholeChain() {
    const Bytes index = ReadWholeFile(path_ + "-shm");
    uint32_t live_frames = 0;
    ASSERT_GE(index.size(), 20u);
    std::memcpy(&live_frames, index.data() + 16, sizeof live_frames);
    EXPECT_EQ(ScanWal(ReadWholeFile(path_ + "-wal")).committed.frames, live_frames);
  }

  TempDir dir_;
  std::string path_ = dir_.File("gated.db");
  YesGate gate_;
  sqlite3* db_ = nullptr;
};

TEST_F(WalChain, SurvivesARollbackToASavepointBetweenTwoSpills) {
  Run("BEGIN; SAVEPOINT s;"
      "UPDATE t SET b=zeroblob(1501) WHERE a<=60;"
      "UPDATE t SET b=zeroblob(1502) WHERE a BETWEEN 30 AND 60;"
      "UPDATE t SET b=zeroblob(1503) WHERE a BETWEEN 30 AND 60;"
      "ROLLBACK TO s; UPDATE t SET b=zeroblob(1504) WHERE a BETWEEN 100 AND 140; COMMIT");
  ExpectWholeChain();
  Run("INSERT INTO t VALUES(1000, 'after')");
  ExpectWholeChain();
  EXPECT_EQ(RecoveredContent(), Content(db_));
}

TEST_F(WalChain, SurvivesACommitThatEndsBeforeTheFirstRewrittenFrame) {
  Run("BEGIN; SAVEPOINT s;"
      "INSERT INTO t SELECT a + 1000, b FROM t;"
      "UPDATE t SET b=zeroblob(1502) WHERE a BETWEEN 1150 AND 1190;"
      "UPDATE t SET b=zeroblob(1503) WHERE a BETWEEN 1150 AND 1190;"
      "ROLLBACK TO s; INSERT INTO t VALUES(500, 'short'); COMMIT");
  ExpectWholeChain();
  Run("INSERT INTO t VALUES(1000, 'after')");
  ExpectWholeChain();
  EXPECT_EQ(RecoveredContent(), Content(db_));
}

TEST_F(WalChain, SurvivesTheSameInAFreshLog) {
  Run("PRAGMA wal_checkpoint(TRUNCATE)");
  Run("BEGIN; SAVEPOINT s;"
      "UPDATE t SET b=zeroblob(1501) WHERE a<=60;"
      "UPDATE t SET b=zeroblob(1502) WHERE a BETWEEN 30 AND 60;"
      "ROLLBACK TO s; UPDATE t SET b=zeroblob(1504) WHERE a BETWEEN 100 AND 140; COMMIT");
  ExpectWholeChain();
  EXPECT_EQ(RecoveredContent(), Content(db_));
}

TEST_F(WalChain, IsWholeAfterEveryCommitOfRandomTransactions) {
  Rng random(TestSeed());
  const auto below = [&](int limit) {
    return std::to_string(random() % static_cast<unsigned>(limit));
  };
  for (int transaction = 0; transaction < 150 && !HasFailure(); ++transaction) {
    int savepoints = 0;
    Run("BEGIN");
    for (unsigned steps = 1 + random() % 10; steps > 0; --steps) {
      switch (random() % 6) {
        case 0: Run("SAVEPOINT s" + std::to_string(savepoints++)); break;
        case 1:
          if (savepoints == 0) break;
          savepoints = Between(&random, 1, savepoints);  // Those behind it are gone.
          Run("ROLLBACK TO s" + std::to_string(savepoints - 1));
          break;
        case 2: Run("DELETE FROM t WHERE a % 40 = " + below(40)); break;
        case 3: Run("INSERT OR REPLACE INTO t VALUES(" + below(400) + ", zeroblob(9000))"); break;
        default:
          Run("UPDATE t SET b=zeroblob(1000+" + below(900) + ") WHERE a BETWEEN " + below(200) +
              " AND " + below(400));
      }
    }
    Run(random() % 8 == 0 ? "ROLLBACK" : "COMMIT");
    if (random() % 20 == 0) Run("PRAGMA wal_checkpoint(RESTART)");
    ExpectWholeChain();
  }
  EXPECT_EQ(RecoveredContent(), Content(db_));
}

}  // namespace
}  // namespace turso
