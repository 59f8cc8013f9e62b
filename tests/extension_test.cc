// What a user may ask in SQL: functions, pragmas and the table, on replicas and on other databases.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "extension/functions.h"
#include "extension/turso_vfs.h"
#include "tests/support/fake_replica.h"
#include "vfs/result_codes.h"

namespace turso {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr Code kAllCodes[] = {Code::kOk,          Code::kNotFound,       Code::kBusy,
                              Code::kUnavailable, Code::kConflict,       Code::kDenied,
                              Code::kReadOnly,    Code::kCorrupt,        Code::kIo,
                              Code::kFull,        Code::kOutcomeUnknown, Code::kInvalid,
                              Code::kNoMemory,    Code::kInterrupted};

Status Failure(Code code) { return Status(code, "the reason"); }

// ---- Result codes

TEST(ResultCodes, NameSuccessAtEveryPoint) {
  EXPECT_EQ(SqliteCode(OkStatus()), SQLITE_OK);
  EXPECT_EQ(CodeAtOpen(OkStatus()), SQLITE_OK);
  EXPECT_EQ(CodeAtRead(OkStatus()), SQLITE_OK);
  EXPECT_EQ(CodeAtLock(OkStatus(), HasRead::kYes), SQLITE_OK);
  EXPECT_EQ(CodeAtCommit(OkStatus()), SQLITE_OK);
}

TEST(ResultCodes, NeverTurnAFailureIntoSuccess) {
  for (Code code : kAllCodes) {
    if (code == Code::kOk) continue;
    EXPECT_NE(SqliteCode(Failure(code)), SQLITE_OK) << CodeName(code);
    EXPECT_NE(CodeAtOpen(Failure(code)), SQLITE_OK) << CodeName(code);
    EXPECT_NE(CodeAtRead(Failure(code)), SQLITE_OK) << CodeName(code);
    EXPECT_NE(CodeAtLock(Failure(code), HasRead::kNo), SQLITE_OK) << CodeName(code);
    EXPECT_NE(CodeAtLock(Failure(code), HasRead::kYes), SQLITE_OK) << CodeName(code);
    EXPECT_NE(CodeAtCommit(Failure(code)), SQLITE_OK) << CodeName(code);
  }
}

TEST(ResultCodes, NeverBlameTheFileForWhatTheNetworkSaid) {
  for (Code code : kAllCodes) {
    for (int result : {SqliteCode(Failure(code)), CodeAtOpen(Failure(code)),
                       CodeAtRead(Failure(code)), CodeAtLock(Failure(code), HasRead::kNo),
                       CodeAtLock(Failure(code), HasRead::kYes), CodeAtCommit(Failure(code))}) {
      EXPECT_NE(result & 0xff, SQLITE_CORRUPT) << CodeName(code);
      EXPECT_NE(result & 0xff, SQLITE_NOTADB) << CodeName(code);
      EXPECT_NE(result, SQLITE_NOTFOUND) << CodeName(code);
    }
  }
}

TEST(ResultCodes, AreNeverExactlyBusyAtTheCommit) {
  for (Code code : kAllCodes) EXPECT_NE(CodeAtCommit(Failure(code)), SQLITE_BUSY) << CodeName(code);
}

TEST(ResultCodes, AreNothingThatSqliteRetriesAtTheReadLock) {
  for (Code code : kAllCodes) {
    EXPECT_NE(CodeAtRead(Failure(code)) & 0xff, SQLITE_BUSY) << CodeName(code);
  }
}

TEST(ResultCodes, KeepTheSnapshotOfATransactionThatHasReadWhenThePrimaryIsAway) {
  EXPECT_EQ(CodeAtLock(Failure(Code::kUnavailable), HasRead::kNo), SQLITE_IOERR);
  EXPECT_EQ(CodeAtLock(Failure(Code::kUnavailable), HasRead::kYes), SQLITE_CANTOPEN);
  EXPECT_EQ(CodeAtLock(Failure(Code::kOutcomeUnknown), HasRead::kNo), SQLITE_IOERR);
}

TEST(ResultCodes, AreThoseOfTheContract) {
  EXPECT_EQ(CodeAtLock(Failure(Code::kBusy), HasRead::kNo), SQLITE_BUSY);
  EXPECT_EQ(CodeAtLock(Failure(Code::kConflict), HasRead::kYes), SQLITE_BUSY_SNAPSHOT);
  EXPECT_EQ(CodeAtLock(Failure(Code::kDenied), HasRead::kNo), SQLITE_AUTH);
  EXPECT_EQ(CodeAtLock(Failure(Code::kReadOnly), HasRead::kNo), SQLITE_READONLY);
  EXPECT_EQ(CodeAtLock(Failure(Code::kCorrupt), HasRead::kNo), SQLITE_IOERR);
  EXPECT_EQ(CodeAtCommit(Failure(Code::kConflict)), SQLITE_BUSY_SNAPSHOT);
  EXPECT_EQ(CodeAtCommit(Failure(Code::kUnavailable)), SQLITE_IOERR);
  EXPECT_EQ(CodeAtCommit(Failure(Code::kReadOnly)), SQLITE_READONLY);
  EXPECT_EQ(CodeAtOpen(Failure(Code::kUnavailable)), SQLITE_CANTOPEN);
  EXPECT_EQ(CodeAtOpen(Failure(Code::kDenied)), SQLITE_AUTH);
}

TEST(ResultCodes, HaveANumberOfItsOwnForAnUnknownOutcome) {
  const int code = CodeAtCommit(Failure(Code::kOutcomeUnknown));
  EXPECT_EQ(code, 25354);  // As extension/README.md says.
  EXPECT_EQ(code & 0xff, SQLITE_IOERR);
  for (Code other : kAllCodes) {
    if (other != Code::kOutcomeUnknown) {
      EXPECT_NE(CodeAtCommit(Failure(other)), code);
    }
  }
}

// ---- Pragmas, on a replica that answers what it is told to

class Pragma : public ::testing::Test {
 protected:
  std::optional<Result<std::string>> Ask(const char* name, const char* argument = nullptr) {
    return AnswerPragma(&replica_, snapshot_, name, argument, nullptr);
  }
  std::string Answer(const char* name, const char* argument = nullptr) {
    std::optional<Result<std::string>> answer = Ask(name, argument);
    if (!answer) return "(not ours)";
    return answer->ok() ? **answer : "error: " + answer->status().text();
  }

  FakeReplica replica_;
  std::optional<WalPosition> snapshot_;
};

TEST_F(Pragma, OfAnotherNameIsNotAnswered) {
  EXPECT_FALSE(Ask("journal_mode"));
  EXPECT_FALSE(Ask("turso_"));
  EXPECT_FALSE(Ask("turso_sync2"));
  EXPECT_FALSE(Ask("turso_replica"));
  EXPECT_FALSE(Ask(""));
}

TEST_F(Pragma, IsKnownInUpperCaseAsWell) { EXPECT_EQ(Answer("TURSO_Version"), TURSO_VFS_VERSION); }

TEST_F(Pragma, SyncAnswersTheRevisionReached) { EXPECT_EQ(Answer("turso_sync"), "synced"); }

TEST_F(Pragma, RevisionIsTheCurrentOneWithoutASnapshot) {
  EXPECT_EQ(Answer("turso_revision"), "current");
  EXPECT_FALSE(replica_.asked_position);
}

TEST_F(Pragma, RevisionIsThatOfTheOpenSnapshot) {
  snapshot_ = WalPosition{{1, 2, 3, 4, 5, 6, 7, 8}, 42, {7, 9}};
  EXPECT_EQ(Answer("turso_revision"), "at-position");
  EXPECT_EQ(replica_.asked_position, snapshot_);
}

TEST_F(Pragma, LagIsInMilliseconds) {
  replica_.lag = std::chrono::microseconds(1'234'999);
  EXPECT_EQ(Answer("turso_lag"), "1234");
}

TEST_F(Pragma, LagIsEmptyWhenThePrimaryWasNeverHeard) { EXPECT_EQ(Answer("turso_lag"), ""); }

TEST_F(Pragma, LastErrorIsEmptyWhenNothingFailed) { EXPECT_EQ(Answer("turso_last_error"), ""); }

TEST_F(Pragma, LastErrorIsTheSentence) {
  replica_.last_error = "the primary's own words";
  EXPECT_EQ(Answer("turso_last_error"), "the primary's own words");
}

TEST_F(Pragma, WaitTakesARevisionAndMilliseconds) {
  EXPECT_EQ(Answer("turso_wait", "a:7 500"), "1");
  EXPECT_EQ(replica_.waited_for.text(), "a:7");
  EXPECT_EQ(replica_.waited_timeout, milliseconds(500));
}

TEST_F(Pragma, WaitLastsTenSecondsUnlessTold) {
  replica_.wait = false;
  EXPECT_EQ(Answer("turso_wait", "a:7"), "0");
  EXPECT_EQ(replica_.waited_timeout, seconds(10));
}

TEST_F(Pragma, WaitToleratesBlanksAround) {
  EXPECT_EQ(Answer("turso_wait", "  a:7 \t 0  "), "1");
  EXPECT_EQ(replica_.waited_for.text(), "a:7");
  EXPECT_EQ(replica_.waited_timeout, Duration(0));
}

TEST_F(Pragma, WaitRefusesWhatIsNoRevisionOrNoTime) {
  EXPECT_THAT(Answer("turso_wait"), StartsWith("error: turso_wait: takes a revision"));
  EXPECT_THAT(Answer("turso_wait", ""), HasSubstr("\"\" is no revision"));
  EXPECT_THAT(Answer("turso_wait", "   "), HasSubstr("\"\" is no revision"));
  EXPECT_THAT(Answer("turso_wait", "\xc3\xa9 5"), HasSubstr("is no revision"));
  EXPECT_THAT(Answer("turso_wait", std::string(64, 'a').c_str()), HasSubstr("is no revision"));
  EXPECT_THAT(Answer("turso_wait", "a:7 soon"), HasSubstr("\"soon\" is no number of milliseconds"));
  EXPECT_THAT(Answer("turso_wait", "a:7 5 5"), HasSubstr("\"5 5\" is no number of milliseconds"));
  EXPECT_THAT(Answer("turso_wait", "a:7 -5"), HasSubstr("negative"));
}

TEST_F(Pragma, WaitTakesALongTimeForAVeryLongOne) {
  EXPECT_EQ(Answer("turso_wait", "a:7 99999999999999999999"), "1");
  EXPECT_GT(replica_.waited_timeout, seconds(3600));
  EXPECT_EQ(Answer("turso_wait", "a:7 9223372036854775807"), "1");
  EXPECT_GT(replica_.waited_timeout, seconds(3600));
}

TEST_F(Pragma, ThatTakesNoArgumentRefusesOne) {
  for (const char* name :
       {"turso_version", "turso_sync", "turso_revision", "turso_lag", "turso_last_error"}) {
    EXPECT_EQ(Answer(name, "1"), std::string("error: ") + name + ": takes no argument");
  }
}

TEST_F(Pragma, PassesAFailureOnWithItsName) {
  replica_.sync = Status(Code::kUnavailable, "http://127.0.0.1:1/app: connection refused");
  std::optional<Result<std::string>> answer = Ask("turso_sync");
  ASSERT_TRUE(answer && !answer->ok());
  EXPECT_EQ(answer->status().code(), Code::kUnavailable);
  EXPECT_EQ(answer->status().text(), "turso_sync: http://127.0.0.1:1/app: connection refused");
  replica_.wait = Failure(Code::kInterrupted);
  EXPECT_EQ(Ask("turso_wait", "a:7")->status().code(), Code::kInterrupted);
  snapshot_ = WalPosition{};
  replica_.at_position = Failure(Code::kNotFound);
  EXPECT_EQ(Ask("turso_revision")->status().code(), Code::kNotFound);
}

// ---- Functions and the table, in SQL

using Row = std::vector<std::string>;

// A connection that tells failures instead of asserting them.
class Shell {
 public:
  explicit Shell(const std::string& name) {
    rc_ = sqlite3_open_v2(name.c_str(), &db_,
                          SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, nullptr);
    sqlite3_extended_result_codes(db_, 1);
  }
  ~Shell() { sqlite3_close(db_); }
  Shell(const Shell&) = delete;
  Shell& operator=(const Shell&) = delete;

  // The rows, columns joined by '|', NULL as "NULL"; or one row "error CODE: TEXT".
  Row Rows(const std::string& sql) {
    Row rows;
    char* message = nullptr;
    const auto add = [](void* out, int count, char** values, char**) {
      std::string row;
      for (int i = 0; i < count; ++i)
        row += (i ? "|" : "") + std::string(values[i] ? values[i] : "NULL");
      static_cast<Row*>(out)->push_back(row);
      return 0;
    };
    const int rc = sqlite3_exec(db_, sql.c_str(), add, &rows, &message);
    if (rc != SQLITE_OK) rows = {"error " + std::to_string(rc) + ": " + (message ? message : "")};
    sqlite3_free(message);
    return rows;
  }
  std::string One(const std::string& sql) {
    const Row rows = Rows(sql);
    return rows.empty() ? "(no row)" : rows.front();
  }
  sqlite3* handle() const { return db_; }
  int opened() const { return rc_; }

 private:
  sqlite3* db_ = nullptr;
  int rc_ = 0;
};

class PlainDatabase : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_EQ(turso_vfs_register(0), SQLITE_OK); }
};

TEST_F(PlainDatabase, KnowsTheVersion) {
  Shell shell(":memory:");
  EXPECT_EQ(shell.One("SELECT turso_version()"), TURSO_VFS_VERSION);
  EXPECT_EQ(shell.One("SELECT turso_version('main')"), TURSO_VFS_VERSION);
  EXPECT_EQ(shell.One("SELECT typeof(turso_version())"), "text");
}

TEST_F(PlainDatabase, HasTheVersionOfTheProject) {
  std::ifstream cache(TURSO_BUILD_DIR "/CMakeCache.txt");
  std::string line;
  while (std::getline(cache, line)) {
    const std::string key = "CMAKE_PROJECT_VERSION:STATIC=";
    if (line.rfind(key, 0) == 0) {
      EXPECT_EQ(line.substr(key.size()), TURSO_VFS_VERSION);
      return;
    }
  }
  FAIL() << "no project version in " TURSO_BUILD_DIR "/CMakeCache.txt";
}

TEST_F(PlainDatabase, SaysThatItIsNoReplica) {
  Shell shell(":memory:");
  EXPECT_EQ(shell.One("SELECT turso_sync()"), "error 1: turso_sync: main is not a replica");
  EXPECT_EQ(shell.One("SELECT turso_revision()"), "error 1: turso_revision: main is not a replica");
  EXPECT_EQ(shell.One("SELECT turso_lag()"), "error 1: turso_lag: main is not a replica");
  EXPECT_EQ(shell.One("SELECT turso_wait('a:7', 5)"), "error 1: turso_wait: main is not a replica");
  EXPECT_EQ(shell.One("SELECT turso_sync('temp')"), "error 1: turso_sync: temp is not a replica");
}

TEST_F(PlainDatabase, NamesASchemaThatIsNotThere) {
  Shell shell(":memory:");
  EXPECT_EQ(shell.One("SELECT turso_sync('aux')"), "error 1: turso_sync: no such schema: aux");
  EXPECT_EQ(shell.One("SELECT turso_version('aux')"),
            "error 1: turso_version: no such schema: aux");
  shell.Rows("ATTACH ':memory:' AS aux");
  EXPECT_EQ(shell.One("SELECT turso_sync('aux')"), "error 1: turso_sync: aux is not a replica");
  EXPECT_EQ(shell.One("SELECT turso_wait('a:7', 'aux')"),
            "error 1: turso_wait: aux is not a replica");
  EXPECT_EQ(shell.One("SELECT turso_wait('a:7', 5, 'AUX')"),
            "error 1: turso_wait: AUX is not a replica");
  EXPECT_EQ(shell.One("SELECT turso_wait('a:7', '5', 'aux')"),
            "error 1: turso_wait: aux is not a replica");
  EXPECT_EQ(shell.One("SELECT turso_wait('a:7', NULL, 'aux')"),
            "error 1: turso_wait: aux is not a replica");
}

TEST_F(PlainDatabase, RefusesArgumentsThatMakeNoSense) {
  Shell shell(":memory:");
  EXPECT_THAT(shell.One("SELECT turso_sync(1, 2)"), HasSubstr("wrong number of arguments"));
  EXPECT_THAT(shell.One("SELECT turso_wait()"), HasSubstr("wrong number of arguments"));
  EXPECT_THAT(shell.One("SELECT turso_replica('x')"), HasSubstr("wrong number of arguments"));
  EXPECT_EQ(shell.One("SELECT turso_wait(NULL)"), "error 1: turso_wait: the revision is NULL");
  EXPECT_THAT(shell.One("SELECT turso_wait('')"), HasSubstr("is no revision"));
  EXPECT_THAT(shell.One("SELECT turso_wait('a b')"), HasSubstr("\"a b\" is no revision"));
  EXPECT_THAT(shell.One("SELECT turso_wait('a:7', -1)"), HasSubstr("negative"));
  EXPECT_THAT(shell.One("SELECT turso_wait('a:7', 'x', 'main')"),
              HasSubstr("no number of milliseconds"));
  EXPECT_EQ(shell.One("SELECT turso_replica(NULL, 'http://127.0.0.1:1/x')"),
            "error 1: turso_replica: the path is NULL");
  EXPECT_EQ(shell.One("SELECT turso_replica('x', NULL)"),
            "error 1: turso_replica: the url is NULL");
}

TEST_F(PlainDatabase, HasAnEmptyStatusTable) {
  Shell shell(":memory:");
  EXPECT_THAT(shell.Rows("SELECT * FROM turso_status"), IsEmpty());
  EXPECT_THAT(shell.Rows("SELECT name || ' ' || type FROM pragma_table_info('turso_status')"),
              ElementsAre("path TEXT", "url TEXT", "protocol TEXT", "database_id TEXT",
                          "revision TEXT", "lag_ms INTEGER", "last_sync_ms INTEGER", "state TEXT",
                          "lease TEXT", "page_count INTEGER", "pages_present INTEGER",
                          "pulls INTEGER", "pages_pulled INTEGER", "commits INTEGER",
                          "conflicts INTEGER", "round_trips INTEGER", "bytes_sent INTEGER",
                          "bytes_received INTEGER", "last_error TEXT"));
  EXPECT_THAT(shell.One("CREATE VIRTUAL TABLE t USING turso_status"), StartsWith("error 1"));
  EXPECT_THAT(shell.One("DELETE FROM turso_status"), StartsWith("error 1"));
}

TEST_F(PlainDatabase, KeepsTheNetworkFromTriggersAndViews) {
  Shell shell(":memory:");
  shell.Rows("CREATE VIEW v AS SELECT turso_sync() AS x");
  EXPECT_THAT(shell.One("SELECT x FROM v"), HasSubstr("unsafe use of turso_sync()"));
  shell.Rows("CREATE VIEW w AS SELECT turso_wait('a:7') AS x");
  EXPECT_THAT(shell.One("SELECT x FROM w"), HasSubstr("unsafe use of turso_wait()"));
  shell.Rows("CREATE VIEW x AS SELECT turso_default() AS x");
  EXPECT_THAT(shell.One("SELECT x FROM x"), HasSubstr("unsafe use of turso_default()"));
  shell.Rows(
      "CREATE TABLE t(a); CREATE TRIGGER r AFTER INSERT ON t BEGIN "
      "SELECT turso_replica('x', 'http://127.0.0.1:1/x'); END");
  EXPECT_THAT(shell.One("INSERT INTO t VALUES(1)"), HasSubstr("unsafe use of turso_replica()"));
}

TEST_F(PlainDatabase, LetsViewsOfAnUntrustedFileAskWhatIsHarmless) {
  Shell shell(":memory:");
  shell.Rows("PRAGMA trusted_schema=OFF; CREATE VIEW v AS SELECT turso_version() AS x");
  EXPECT_EQ(shell.One("SELECT x FROM v"), TURSO_VFS_VERSION);
}

TEST_F(PlainDatabase, StaysOpenForWritingWhenAFunctionFails) {
  Shell shell(":memory:");
  shell.Rows("CREATE TABLE t(a); BEGIN; INSERT INTO t VALUES(1)");
  EXPECT_THAT(shell.One("INSERT INTO t SELECT turso_sync() FROM t"), StartsWith("error 1"));
  EXPECT_EQ(sqlite3_get_autocommit(shell.handle()), 0);
  EXPECT_EQ(shell.One("SELECT count(*) FROM t"), "1");
}

TEST_F(PlainDatabase, GetsNoBusyTimeout) {
  Shell shell(":memory:");
  EXPECT_EQ(shell.One("PRAGMA busy_timeout"), "0");
}

TEST_F(PlainDatabase, IsNotBotheredByASecondRegistration) {
  sqlite3_vfs* before = sqlite3_vfs_find(nullptr);
  ASSERT_EQ(turso_vfs_register(0), SQLITE_OK);
  EXPECT_EQ(sqlite3_vfs_find(nullptr), before);
  ASSERT_EQ(turso_vfs_register(1), SQLITE_OK);
  EXPECT_NE(sqlite3_vfs_find(nullptr), before);
  ASSERT_EQ(turso_vfs_register(0), SQLITE_OK);
  EXPECT_NE(sqlite3_vfs_find(nullptr),
            before);  // What another part of the program asked for stays.
  sqlite3_vfs_register(before, 1);
}

}  // namespace
}  // namespace turso
