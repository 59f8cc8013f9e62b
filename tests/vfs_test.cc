// The VFS over a gate of the test's own: what the gate is given, and what SQLite makes of its
// answers.

#include "vfs/vfs.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstdio>
#include <fstream>
#include <functional>
#include <map>
#include <string>

#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"
#include "vfs/lower.h"
#include "vfs/result_codes.h"

namespace turso {
namespace {

class TestGate : public WriteGate {
 public:
  Status Enter(WalFiles*, HasRead, const Interrupted&) override {
    EXPECT_FALSE(inside_) << "entered twice";
    if (!enter_status_.ok()) return enter_status_;
    inside_ = true;
    enters_++;
    return OkStatus();
  }
  Status Commit(WalFiles*, const PageSet& pages, const FramePlan& plan,
                const Interrupted&) override {
    EXPECT_TRUE(inside_);
    EXPECT_LT(plan.base, plan.last);
    if (!commit_status_.ok()) return commit_status_;
    commits_++;
    for (auto it = pages.begin(); it != pages.end(); ++it) {
      EXPECT_LE(it->first.value, pages.db_size());
      image_[it->first.value] = std::string(AsText(pages.image(it)));
    }
    image_.erase(image_.upper_bound(pages.db_size()), image_.end());
    return OkStatus();
  }
  void Leave(WalFiles*) override {
    EXPECT_TRUE(inside_);
    inside_ = false;
  }
  Status BeforeRestart(WalFiles*) override {
    restarts_++;
    return restart_status_;
  }

  bool inside_ = false;
  int enters_ = 0, commits_ = 0, restarts_ = 0;
  Status enter_status_, commit_status_, restart_status_;
  std::map<uint32_t, std::string> image_;
};

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// PROJ's VFS finds its own data behind the szOsFile of whatever VFS is the default one: also when a
// file is closed that was opened before we became that.
TEST(VfsObjects, TakeAsMuchRoomAsTheVfsBelow) {
  sqlite3_vfs* below = sqlite3_vfs_find("unix");
  ASSERT_EQ(RegisterVfs(Default::kYes), SQLITE_OK);
  EXPECT_EQ(sqlite3_vfs_find("turso")->szOsFile, below->szOsFile);
  EXPECT_EQ(sqlite3_vfs_find(nullptr)->szOsFile, below->szOsFile);
  EXPECT_NE(sqlite3_vfs_find(nullptr), below);
  sqlite3_vfs_register(below, 1);
}

class VfsGate : public ::testing::Test {
 protected:
  void Make(int page_size = 4096) {
    ASSERT_EQ(RegisterVfs(Default::kNo), SQLITE_OK);
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    std::string sql = "PRAGMA page_size=" + std::to_string(page_size) +
                      "; PRAGMA auto_vacuum=incremental; PRAGMA journal_mode=wal; CREATE TABLE t(a "
                      "INTEGER PRIMARY KEY, b);";
    ASSERT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(db);
    std::string bytes = ReadFile(path_);
    for (size_t at = 0; at < bytes.size(); at += static_cast<size_t>(page_size)) {
      gate_.image_[static_cast<uint32_t>(at / static_cast<size_t>(page_size)) + 1] =
          bytes.substr(at, static_cast<size_t>(page_size));
    }
    ASSERT_TRUE(RegisterGate(path_, &gate_).ok());
    registered_ = true;
    db_ = Open();
  }
  void TearDown() override {
    sqlite3_close(db_);
    if (registered_) UnregisterGate(path_);
  }
  sqlite3* Open() {
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open_v2(path_.c_str(), &db, SQLITE_OPEN_READWRITE, "turso"), SQLITE_OK);
    return db;
  }
  int Run(const std::string& sql) { return Run(db_, sql); }
  static int Run(sqlite3* db, const std::string& sql) {
    int code = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr);
    return code == SQLITE_OK ? code : sqlite3_extended_errcode(db);
  }
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
  std::string ImageFromCommits() const {
    std::string bytes;
    for (const auto& [page, image] : gate_.image_) bytes += image;
    return bytes;
  }

  TempDir dir_;
  std::string path_ = dir_.File("gated.db");
  TestGate gate_;
  bool registered_ = false;
  sqlite3* db_ = nullptr;
};

TEST_F(VfsGate, SeesEachWriteTransactionOnceAndNoRead) {
  Make();
  EXPECT_EQ(Ask(db_, "SELECT count(*) FROM t"), "0");
  EXPECT_EQ(gate_.enters_, 0);
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES(1)"), SQLITE_OK);
  EXPECT_EQ(gate_.commits_, 1);
  EXPECT_EQ(Run("BEGIN; INSERT INTO t(b) VALUES(2); INSERT INTO t(b) VALUES(3); ROLLBACK"),
            SQLITE_OK);
  EXPECT_EQ(gate_.commits_, 1);
  EXPECT_EQ(Run("BEGIN IMMEDIATE; COMMIT"), SQLITE_OK);
  EXPECT_EQ(gate_.enters_, 3);
  EXPECT_FALSE(gate_.inside_);
  EXPECT_EQ(Run("PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
  EXPECT_EQ(gate_.enters_, 3);
  EXPECT_EQ(gate_.restarts_, 1);
}

// Spills, savepoints, rollbacks, growth, shrinking, VACUUM and checkpoints in all modes: what the
// gate was given, laid over what there was, is what the file holds.
void RunRandomTransactions(sqlite3* db, sqlite3* other, Rng& random, int count,
                           const std::function<int(sqlite3*, const std::string&)>& run) {
  const char* modes[] = {"PASSIVE", "FULL", "RESTART", "TRUNCATE"};
  for (int i = 0; i < count; i++) {
    run(db, "PRAGMA cache_size=" + std::to_string(3 + random() % 48));
    run(db, "BEGIN");
    for (unsigned step = 0; step < 1 + random() % 4; step++) {
      std::string some = std::to_string(random() % 400);
      switch (random() % 6) {
        case 0: run(db, "INSERT INTO t(b) SELECT randomblob(700) FROM t LIMIT " + some); break;
        case 1:
          run(db, "INSERT INTO t(b) VALUES(randomblob(" + std::to_string(random() % 20000) + "))");
          break;
        case 2:
          run(db, "UPDATE t SET b=randomblob(500) WHERE a%7=" + std::to_string(random() % 7));
          break;
        case 3: run(db, "DELETE FROM t WHERE a%5=" + std::to_string(random() % 5)); break;
        case 4:
          run(db, "SAVEPOINT s; UPDATE t SET b=zeroblob(900); ROLLBACK TO s; RELEASE s");
          break;
        default: run(db, "PRAGMA incremental_vacuum(" + some + ")"); break;
      }
    }
    run(db, random() % 5 == 0 ? "ROLLBACK" : "COMMIT");
    if (random() % 40 == 0) run(db, "VACUUM");
    if (random() % 4 == 0)
      run(other, std::string("PRAGMA wal_checkpoint(") + modes[random() % 4] + ")");
  }
}

class VfsGatePageSizes : public VfsGate, public ::testing::WithParamInterface<int> {};

TEST_P(VfsGatePageSizes, IsGivenExactlyThePagesThatEachTransactionLeaves) {
  Make(GetParam());
  Rng random(TestSeed());
  sqlite3* other = Open();
  RunRandomTransactions(db_, other, random, GetParam() == 65536 ? 60 : 150,
                        [](sqlite3* db, const std::string& sql) { return Run(db, sql); });
  sqlite3_close(other);
  ASSERT_GT(gate_.commits_, 20);
  ASSERT_EQ(Ask(db_, "PRAGMA integrity_check"), "ok");
  ASSERT_EQ(Run("PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
  ASSERT_EQ(ReadFile(path_).size(), ImageFromCommits().size());
  EXPECT_TRUE(ReadFile(path_) == ImageFromCommits())
      << "the pages of the commits do not make the file";
}
INSTANTIATE_TEST_SUITE_P(All, VfsGatePageSizes, ::testing::Values(512, 4096, 65536));

TEST_F(VfsGate, RefusalAtTheLockLeavesNothingBehindAndTheNextTryWorks) {
  Make();
  const std::pair<Code, int> cases[] = {{Code::kBusy, SQLITE_BUSY},
                                        {Code::kDenied, SQLITE_AUTH},
                                        {Code::kReadOnly, SQLITE_READONLY},
                                        {Code::kUnavailable, SQLITE_IOERR}};
  for (auto [refusal, code] : cases) {
    gate_.enter_status_ = Status(refusal, "no");
    EXPECT_EQ(Run("INSERT INTO t(b) VALUES(1)"), code);
    gate_.enter_status_ = OkStatus();
    EXPECT_EQ(Run("INSERT INTO t(b) VALUES(1)"), SQLITE_OK);
  }
  EXPECT_EQ(Ask(db_, "SELECT count(*) FROM t"), "4");
}

TEST_F(VfsGate, AnUnreachablePrimaryLeavesAnOpenSnapshotReadable) {
  Make();
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES(1)"), SQLITE_OK);
  gate_.enter_status_ = Status(Code::kUnavailable, "no");
  EXPECT_EQ(Run("BEGIN"), SQLITE_OK);
  EXPECT_EQ(Ask(db_, "SELECT count(*) FROM t"), "1");
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES(1)"), SQLITE_CANTOPEN);
  EXPECT_EQ(Ask(db_, "SELECT count(*) FROM t"), "1");
  EXPECT_EQ(sqlite3_get_autocommit(db_), 0);
  EXPECT_EQ(Run("ROLLBACK"), SQLITE_OK);
}

TEST_F(VfsGate, RefusalAtTheCommitRollsBackAndIsNeverExactlyBusy) {
  Make();
  const std::pair<Code, int> cases[] = {{Code::kBusy, SQLITE_BUSY_SNAPSHOT},
                                        {Code::kConflict, SQLITE_BUSY_SNAPSHOT},
                                        {Code::kUnavailable, SQLITE_IOERR},
                                        {Code::kReadOnly, SQLITE_READONLY},
                                        {Code::kOutcomeUnknown, kIoErrOutcomeUnknown}};
  int rows = 0;
  for (auto [refusal, code] : cases) {
    gate_.commit_status_ = Status(refusal, "no");
    EXPECT_EQ(Run("BEGIN; INSERT INTO t(b) VALUES(1); COMMIT"), code);
    EXPECT_NE(sqlite3_get_autocommit(db_), 0);
    EXPECT_EQ(Run("INSERT INTO t(b) VALUES(1)"), code);
    gate_.commit_status_ = OkStatus();
    EXPECT_EQ(Run("INSERT INTO t(b) VALUES(1)"), SQLITE_OK);
    rows++;
    EXPECT_EQ(Ask(db_, "SELECT count(*) FROM t"), std::to_string(rows));
    sqlite3* fresh = Open();
    EXPECT_EQ(Ask(fresh, "SELECT count(*) FROM t"), std::to_string(rows));
    sqlite3_close(fresh);
  }
}

// SQLite opens log and index by name, at the first read: they may be those of another file by then.
TEST_F(VfsGate, AFileThatWasReplacedBeforeItsFirstReadDoesNotMeetTheOthersLog) {
  Make();
  sqlite3_close(db_);
  db_ = Open();
  ASSERT_EQ(Run("PRAGMA busy_timeout=0"), SQLITE_OK);
  for (const char* suffix : {"", "-wal", "-shm"}) std::remove((path_ + suffix).c_str());
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open_v2(path_.c_str(), &other, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                            LowerVfs()->zName),
            SQLITE_OK);
  ASSERT_EQ(Run(other, "PRAGMA journal_mode=wal; CREATE TABLE theirs(a)"), SQLITE_OK);
  const std::string log = ReadFile(path_ + "-wal"), index = ReadFile(path_ + "-shm");
  EXPECT_EQ(Run("SELECT count(*) FROM t"), SQLITE_CANTOPEN);
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES(1)"), SQLITE_CANTOPEN);
  EXPECT_EQ(gate_.enters_, 0);
  EXPECT_EQ(ReadFile(path_ + "-wal"), log);
  EXPECT_EQ(ReadFile(path_ + "-shm"), index);
  EXPECT_EQ(Ask(other, "SELECT count(*) FROM theirs"), "0");
  sqlite3_close(other);
}

TEST_F(VfsGate, AllHandlesOnALogAreKnownByItsFileAndNotByItsName) {
  Make();
  EXPECT_EQ(Ask(db_, "SELECT count(*) FROM t"), "0");
  EXPECT_FALSE(LowerFiles::OthersHaveLogOrIndexOf(path_)) << "they are this file's own";
  const std::string replaced = path_ + ".replaced";
  ASSERT_EQ(std::rename(path_.c_str(), replaced.c_str()), 0);
  std::ofstream(path_) << "another";
  for (const char* kept : {"-wal", "-shm"}) {
    EXPECT_TRUE(LowerFiles::OthersHaveLogOrIndexOf(path_));
    const std::string aside = path_ + ".aside";
    const char* gone = kept[1] == 'w' ? "-shm" : "-wal";
    ASSERT_EQ(std::rename((path_ + gone).c_str(), aside.c_str()), 0);
    std::ofstream(path_ + gone) << "another";
    EXPECT_TRUE(LowerFiles::OthersHaveLogOrIndexOf(path_));
    const std::string other = path_ + ".other";
    ASSERT_EQ(std::rename((path_ + kept).c_str(), other.c_str()), 0);
    EXPECT_FALSE(LowerFiles::OthersHaveLogOrIndexOf(path_));
    ASSERT_EQ(std::rename(other.c_str(), (path_ + kept).c_str()), 0);
    ASSERT_EQ(std::rename(aside.c_str(), (path_ + gone).c_str()), 0);
  }
  EXPECT_TRUE(LowerFiles::OthersHaveLogOrIndexOf(path_));
  ASSERT_EQ(std::rename(replaced.c_str(), path_.c_str()), 0);
  EXPECT_FALSE(LowerFiles::OthersHaveLogOrIndexOf(path_));
}

TEST_F(VfsGate, StaysInWalModeWhateverIsAskedFor) {
  Make();
  for (const char* mode : {"delete", "truncate", "persist", "memory", "off", "wal"}) {
    EXPECT_EQ(Ask(db_, std::string("PRAGMA journal_mode=") + mode), "wal");
  }
  EXPECT_EQ(Ask(db_, "PRAGMA locking_mode=EXCLUSIVE"), "normal");
  EXPECT_EQ(Run("INSERT INTO t(b) VALUES(1)"), SQLITE_OK);
  EXPECT_EQ(gate_.commits_, 1);
}

TEST_F(VfsGate, CannotBeLeftThroughAPlainMainDatabase) {
  Make();
  sqlite3* plain = nullptr;
  ASSERT_EQ(sqlite3_open_v2(dir_.File("plain.db").c_str(), &plain,
                            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "turso"),
            SQLITE_OK);
  ASSERT_EQ(Run(plain, "ATTACH '" + path_ + "' AS gated"), SQLITE_OK);
  Run(plain, "PRAGMA locking_mode=EXCLUSIVE");
  EXPECT_NE(Run(plain, "INSERT INTO gated.t(b) VALUES(1)"), SQLITE_OK);
  EXPECT_EQ(gate_.commits_, 0);
  Run(plain, "PRAGMA locking_mode=NORMAL");
  Run(plain, "PRAGMA journal_mode=DELETE");
  EXPECT_EQ(Ask(plain, "PRAGMA gated.journal_mode"), "wal");
  EXPECT_EQ(Run(plain, "INSERT INTO gated.t(b) VALUES(1)"), SQLITE_OK);
  EXPECT_EQ(gate_.commits_, 1);
  sqlite3_close(plain);
}

TEST_F(VfsGate, LetsNobodyRestartTheLogAgainstItsWill) {
  Make();
  gate_.restart_status_ = Status(Code::kBusy, "not yet");
  for (int i = 0; i < 5; i++) {
    ASSERT_EQ(Run("INSERT INTO t(b) VALUES(randomblob(3000))"), SQLITE_OK);
    ASSERT_EQ(Run("PRAGMA wal_checkpoint(PASSIVE)"), SQLITE_OK);
  }
  EXPECT_GT(gate_.restarts_, 0);
  EXPECT_GT(ReadFile(path_ + "-wal").size(), 5u * 4096u) << "the log was restarted";
  EXPECT_EQ(Ask(db_, "SELECT count(*) FROM t"), "5");
}

TEST_F(VfsGate, KeepsTheLogWhenTheLastConnectionCloses) {
  Make();
  ASSERT_EQ(Run("INSERT INTO t(b) VALUES(1)"), SQLITE_OK);
  sqlite3_close(db_);
  db_ = nullptr;
  EXPECT_GT(ReadFile(path_ + "-wal").size(), 4096u);
  db_ = Open();
  EXPECT_EQ(Ask(db_, "SELECT count(*) FROM t"), "1");
}

TEST(VfsPassThrough, AFileThatIsNoReplicaBelongsToTheVfsBelow) {
  ASSERT_EQ(RegisterVfs(Default::kNo), SQLITE_OK);
  TempDir dir;
  TestGate gate;
  std::string path = dir.File("plain.db");
  std::string uri = "file:" + dir.File("other.db");
  sqlite3* main = nullptr;
  ASSERT_EQ(sqlite3_open_v2(":memory:", &main, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr),
            SQLITE_OK);
  sqlite3_file* expected = nullptr;
  ASSERT_EQ(sqlite3_exec(main, ("ATTACH '" + path + "' AS a; CREATE TABLE a.t(x)").c_str(), nullptr,
                         nullptr, nullptr),
            SQLITE_OK);
  ASSERT_EQ(sqlite3_file_control(main, "a", SQLITE_FCNTL_FILE_POINTER, &expected), SQLITE_OK);
  ASSERT_EQ(RegisterVfs(Default::kYes), SQLITE_OK);
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  sqlite3_file* file = nullptr;
  ASSERT_EQ(sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file), SQLITE_OK);
  EXPECT_EQ(file->pMethods->xRead, expected->pMethods->xRead);
  EXPECT_EQ(file->pMethods->xWrite, expected->pMethods->xWrite);
  EXPECT_EQ(sqlite3_exec(db, "INSERT INTO t VALUES(1)", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  sqlite3_close(main);
}

}  // namespace
}  // namespace turso
