// A server that dies, or whose disk fails, at every step of a commit, a restart of the WAL, a
// compaction and a stop: nothing acknowledged is lost, nothing is there by half, and what a replica
// is told of its commit is what the next start finds.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "src/primary/create_database.h"
#include "src/primary/fault_point.h"
#include "tests/support/connection.h"
#include "tests/support/served.h"
#include "tests/support/temp_dir.h"

namespace turso {
namespace {

namespace fs = std::filesystem;

// What a crash can leave of bytes that were written and not yet synced.
enum class Unsynced { kKept, kTorn, kLost };

// The files as a crash at one step would leave them, and what had been promised by then.
struct Crash {
  std::string directory;
  std::string what;
  int acknowledged = 0;
  int begun = 0;              // As acknowledged, or one more.
  uint64_t number_begun = 0;  // Of the commit of the replica that is under way; 0 if it is none.
  uint64_t number_acknowledged = 0;
  std::string revision;  // The newest that was announced.
  Bytes image;           // The replica's, at `replica_revision`.
  std::string replica_revision;
};

class PrimaryCrash : public ::testing::Test {
 protected:
  void TearDown() override { FaultHook() = nullptr; }

  void Make(const std::string& directory) {
    fs::create_directories(directory);
    Result<std::string> made = CreateDatabase(directory, "app", {});
    ASSERT_TRUE(made.ok()) << made.status().text();
    path_ = *made;
  }

  // By another program: closing the files in this process would drop its locks on them.
  static void Copy(const std::string& from, const std::string& to) {
    ASSERT_EQ(std::system(("cp -a '" + from + "' '" + to + "'").c_str()), 0);
  }

  void Note(const char* point, Unsynced unsynced) {
    Crash crash = now_;
    crash.directory = directory_.File("crash" + std::to_string(steps_));
    crash.what = std::string(point) + ", step " + std::to_string(steps_) +
                 (unsynced == Unsynced::kKept   ? ""
                  : unsynced == Unsynced::kTorn ? ", torn"
                                                : ", lost");
    steps_++;
    Copy(live_, crash.directory);
    if (unsynced != Unsynced::kKept) {
      const std::string name = std::string(point) == "log:sync" ? "/app.db-log" : "/app.db-wal";
      const std::string file = crash.directory + name;
      const uint64_t synced = name == "/app.db-log" ? log_synced_ : 0;
      const uint64_t size = fs::file_size(file);
      const uint64_t cut = name == "/app.db-wal" ? 100 : size - synced;
      if (cut > size) return;
      fs::resize_file(file, size - (unsynced == Unsynced::kLost ? cut : cut / 2));
    }
    crashes_.push_back(std::move(crash));
  }

  void Watch() {
    FaultHook() = [this](const char* point) {
      const std::string name = point;
      Note(point, Unsynced::kKept);
      if (name == "log:write") log_synced_ = fs::file_size(live_ + "/app.db-log");
      // Frames of the newest transaction are the last bytes of a log that was never longer.
      bool tears = name == "log:sync" || (name == "wal:sync" && wal_grows_);
      if (tears) {
        Note(point, Unsynced::kTorn);
        Note(point, Unsynced::kLost);
      }
      points_.insert(name);
      return OkStatus();
    };
  }

  void CommitOfReplica() {
    Result<size_t> pulled = replica_.Pull(database_.get());
    ASSERT_TRUE(pulled.ok()) << pulled.status().text();
    now_.image = replica_.image();
    now_.replica_revision = replica_.revision();
    PageCommit commit = replica_.Prepare(
        "INSERT INTO t VALUES (" + std::to_string(now_.acknowledged + 1) + ", randomblob(6000))");
    now_.begun = now_.acknowledged + 1;
    now_.number_begun = commit.number;
    Result<Committed> committed = database_->Commit(commit);
    ASSERT_TRUE(committed.ok()) << committed.status().text();
    replica_.Took(committed->revision);
    now_.number_begun = 0;
    now_.number_acknowledged = commit.number;
    Acknowledged(committed->revision.text());
  }
  void CommitOfSql(const SqlConnection& sql) {
    now_.begun = now_.acknowledged + 1;
    const std::string insert =
        "INSERT INTO t VALUES (" + std::to_string(now_.begun) + ", randomblob(6000))";
    ASSERT_EQ(sqlite3_exec(sql.get(), insert.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(sql.get());
    Acknowledged(database_->Identify()->revision.text());
  }
  void Acknowledged(const std::string& revision) {
    now_.acknowledged = now_.begun;
    now_.revision = revision;
    Note("acknowledged", Unsynced::kKept);
  }

  void Check(const Crash& crash) {
    SCOPED_TRACE(crash.what);
    std::shared_ptr<ServedDatabase> database = host_.MustOpen(crash.directory + "/app.db");
    ASSERT_TRUE(database);
    MemoryReplica fresh(9);
    Result<size_t> pulled = fresh.Pull(database.get());
    ASSERT_TRUE(pulled.ok()) << pulled.status().text();
    const int found = std::stoi(fresh.Text("SELECT count(*) FROM t"));
    EXPECT_EQ(fresh.Text("SELECT coalesce(max(k), 0) FROM t"), std::to_string(found));
    EXPECT_EQ(fresh.Text("PRAGMA integrity_check"), "ok");
    EXPECT_GE(found, crash.acknowledged);
    EXPECT_LE(found, crash.begun);
    // What was announced is known, and nothing else has happened since but the commit under way.
    std::optional<int> order = database->Compare(crash.revision, fresh.revision());
    ASSERT_TRUE(order);
    EXPECT_EQ(*order, found == crash.acknowledged ? 0 : -1);
    // The replica's commits are what they were answered to be.
    if (crash.number_begun != 0) {
      Result<Settled> settled = database->Settle(replica_.id(), crash.number_begun);
      ASSERT_TRUE(settled.ok()) << settled.status().text();
      EXPECT_EQ(settled->outcome,
                found > crash.acknowledged ? Outcome::kCommitted : Outcome::kRefused);
    } else if (crash.number_acknowledged != 0) {
      Result<Settled> settled = database->Settle(replica_.id(), crash.number_acknowledged);
      ASSERT_TRUE(settled.ok()) << settled.status().text();
      EXPECT_EQ(settled->outcome, Outcome::kCommitted);
    }
    // A replica goes on from where it stood.
    if (!crash.image.empty()) {
      Bytes image = crash.image;
      PullRequest request;
      request.since = crash.replica_revision;
      Answer answer = PullNow(database.get(), request);
      ASSERT_TRUE(answer.ok()) << answer.status().text();
      Result<Message> message = Message::Decode(AsBytes(**answer));
      ASSERT_TRUE(message.ok());
      image.resize(*NumberField(message->head(), "db_size") * 4096);
      ASSERT_TRUE(message
                      ->ForEachPage([&](PageNo page, ByteView bytes) {
                        std::copy(bytes.begin(), bytes.end(),
                                  image.begin() + (page.value - 1) * 4096);
                        return OkStatus();
                      })
                      .ok());
      EXPECT_EQ(image, fresh.image());
    }
    Result<Committed> next = fresh.Commit(database.get(), "INSERT INTO t VALUES (1000, 'next')");
    EXPECT_TRUE(next.ok()) << next.status().text();
    Status stopped = database->Stop();
    EXPECT_TRUE(stopped.ok()) << stopped.text();
    std::ifstream file(crash.directory + "/app.db", std::ios::binary);
    EXPECT_EQ(Bytes(std::istreambuf_iterator<char>(file), {}), fresh.image());
  }

  TempDir directory_;
  std::string live_ = directory_.File("live");
  std::string path_;
  ServedHost host_;
  std::shared_ptr<ServedDatabase> database_;
  MemoryReplica replica_{1};
  Crash now_;
  std::vector<Crash> crashes_;
  std::set<std::string> points_;
  int steps_ = 0;
  uint64_t log_synced_ = 0;
  bool wal_grows_ = false;
};

TEST_F(PrimaryCrash, LosesNothingAcknowledgedAtAnyStep) {
  Make(live_);
  database_ = host_.MustOpen(path_);
  {
    Result<SqlConnection> sql = database_->OpenConnection(SqlAccess::kWrite);
    ASSERT_TRUE(sql.ok());
    ASSERT_EQ(sqlite3_exec(sql->get(), "CREATE TABLE t(k INTEGER PRIMARY KEY, v)", nullptr, nullptr,
                           nullptr),
              SQLITE_OK);
  }
  ASSERT_TRUE(database_->Stop().ok());
  Watch();
  database_ = host_.MustOpen(path_);
  now_.revision = database_->Identify()->revision.text();
  // Before that, nothing was announced that could be looked for.
  crashes_.clear();
  Result<SqlConnection> sql = database_->OpenConnection(SqlAccess::kWrite);
  ASSERT_TRUE(sql.ok());
  wal_grows_ = true;
  CommitOfReplica();
  CommitOfReplica();
  CommitOfSql(*sql);
  ASSERT_TRUE(database_->CompactLog().ok());
  Note("compacted", Unsynced::kKept);
  CommitOfReplica();
  wal_grows_ = false;
  for (int round = 0; round < 2; round++) {
    // Everything is backfilled, so that the next writer starts the WAL afresh.
    ASSERT_EQ(sqlite3_exec(sql->get(), "PRAGMA wal_checkpoint", nullptr, nullptr, nullptr),
              SQLITE_OK);
    if (round == 1) {
      ASSERT_TRUE(database_->CompactLog().ok());
    }
    if (round == 0) {
      CommitOfReplica();
    } else {
      CommitOfSql(*sql);
    }
    CommitOfReplica();
  }
  ASSERT_EQ(sqlite3_exec(sql->get(), "PRAGMA wal_checkpoint(TRUNCATE)", nullptr, nullptr, nullptr),
            SQLITE_OK);
  Note("truncated", Unsynced::kKept);
  ASSERT_TRUE(database_->CompactLog().ok());
  Note("truncated, compacted", Unsynced::kKept);
  CommitOfReplica();
  sql->reset();
  ASSERT_TRUE(database_->Stop().ok());
  Note("stopped", Unsynced::kKept);
  database_ = host_.MustOpen(path_);
  now_.revision = database_->Identify()->revision.text();
  Note("started", Unsynced::kKept);
  CommitOfReplica();
  database_.reset();
  FaultHook() = nullptr;
  for (const Crash& crash : crashes_) Check(crash);
  for (const char* point : {"log:write", "log:sync", "wal:write", "wal:sync", "wal:barrier",
                            "commit:logged", "commit:written", "sql:logged", "sql:written",
                            "log:rename", "stop:checkpointed", "stop:ended"}) {
    EXPECT_TRUE(points_.count(point)) << point << " was never reached";
  }
  std::printf("%zu crashes\n", crashes_.size());
}

// Every step of a commit fails once; after the failure the server is started again.
TEST_F(PrimaryCrash, AnswersAFailedCommitAsTheNextStartFindsIt) {
  int outcomes[3] = {};
  for (int failing = 1;; failing++) {
    SCOPED_TRACE("call " + std::to_string(failing) + " fails");
    Make(directory_.File("run" + std::to_string(failing)));
    MemoryReplica replica(1);
    int calls = 0;
    bool armed = false;
    std::string failed;
    FaultHook() = [&](const char* point) {
      if (!armed || std::string(point) == "wal:barrier" || ++calls != failing) return OkStatus();
      failed = point;
      return Status(Code::kIo, "failed by the test");
    };
    database_ = host_.MustOpen(path_);
    ASSERT_TRUE(replica.Pull(database_.get()).ok());
    ASSERT_TRUE(replica.Commit(database_.get(), "CREATE TABLE t(k)").ok());
    armed = true;
    Result<Committed> committed =
        replica.Commit(database_.get(), "INSERT INTO t VALUES (randomblob(9000))");
    armed = false;
    // Whatever it was, the same commit may not be taken a second time.
    database_.reset();
    FaultHook() = nullptr;
    database_ = host_.MustOpen(path_);
    ASSERT_TRUE(database_);
    MemoryReplica fresh(2);
    ASSERT_TRUE(fresh.Pull(database_.get()).ok());
    const bool is_there = fresh.Text("SELECT count(*) FROM t") == "1";
    EXPECT_EQ(fresh.Text("PRAGMA integrity_check"), "ok");
    if (committed.ok()) {
      EXPECT_TRUE(is_there);
      outcomes[0]++;
    } else if (committed.status().code() == Code::kOutcomeUnknown) {
      outcomes[2]++;
    } else {
      EXPECT_FALSE(is_there) << committed.status().text();
      outcomes[1]++;
    }
    Result<Settled> settled = database_->Settle(replica.id(), replica.number());
    ASSERT_TRUE(settled.ok()) << settled.status().text();
    EXPECT_EQ(settled->outcome, is_there ? Outcome::kCommitted : Outcome::kRefused) << failed;
    database_.reset();
    if (failed.empty()) break;
  }
  EXPECT_EQ(outcomes[0], 1);
  EXPECT_GE(outcomes[1], 1);
  EXPECT_GE(outcomes[2], 3);
}

// The frames were written and not synced when the server was killed. The machine lives, so the next
// start finds them and says that the commit happened: only then may they no longer get lost.
TEST_F(PrimaryCrash, SyncsTheFramesThatADeadServerWroteBeforeItAnswersForThem) {
  Make(live_);
  std::string crashed;
  FaultHook() = [&](const char* point) {
    if (crashed.empty() && std::string(point) == "wal:sync" && replica_.number() == 2) {
      crashed = directory_.File("crashed");
      Copy(live_, crashed);
    }
    return OkStatus();
  };
  database_ = host_.MustOpen(path_);
  ASSERT_TRUE(replica_.Pull(database_.get()).ok());
  ASSERT_TRUE(replica_.Commit(database_.get(), "CREATE TABLE t(v)").ok());
  ASSERT_TRUE(replica_.Commit(database_.get(), "INSERT INTO t VALUES (1)").ok());
  ASSERT_FALSE(crashed.empty());
  database_.reset();
  std::vector<std::string> points;
  bool fails = true;
  FaultHook() = [&](const char* point) {
    const std::string name = point;
    if (name != "wal:barrier") points.push_back(name);
    return fails && name == "wal:sync" ? Status(Code::kIo, "failed by the test") : OkStatus();
  };
  EXPECT_EQ(host_.Open(crashed + "/app.db").status().code(), Code::kIo);
  fails = false;
  points.clear();
  database_ = host_.MustOpen(crashed + "/app.db");
  ASSERT_GE(points.size(), 2u);
  EXPECT_EQ(points[0], "wal:sync");
  EXPECT_EQ(points[1], "log:write");
  EXPECT_EQ(database_->Settle(replica_.id(), 2)->outcome, Outcome::kCommitted);
  MemoryReplica fresh(2);
  ASSERT_TRUE(fresh.Pull(database_.get()).ok());
  EXPECT_EQ(fresh.Text("SELECT count(*) FROM t"), "1");
  database_.reset();
}

TEST_F(PrimaryCrash, IsOutOfServiceAfterAFailureOfUnknownOutcome) {
  Make(live_);
  bool armed = false;
  FaultHook() = [&](const char* point) {
    return armed && std::string(point) == "wal:sync" ? Status(Code::kIo, "failed by the test")
                                                     : OkStatus();
  };
  database_ = host_.MustOpen(path_);
  ASSERT_TRUE(replica_.Pull(database_.get()).ok());
  armed = true;
  EXPECT_EQ(replica_.Commit(database_.get(), "CREATE TABLE t(v)").status().code(),
            Code::kOutcomeUnknown);
  armed = false;
  EXPECT_EQ(database_->Settle(replica_.id(), replica_.number()).status().code(),
            Code::kUnavailable);
  EXPECT_EQ(database_->Identify().status().code(), Code::kUnavailable);
  EXPECT_EQ(replica_.Pull(database_.get()).status().code(), Code::kUnavailable);
}

TEST_F(PrimaryCrash, AnswersSqlAFailedCommitAsTheNextStartFindsIt) {
  for (const std::string point : {"log:write", "log:sync", "sql:logged"}) {
    SCOPED_TRACE(point);
    Make(directory_.File(point));
    bool armed = false;
    FaultHook() = [&](const char* at) {
      return armed && point == at ? Status(Code::kIo, "failed by the test") : OkStatus();
    };
    database_ = host_.MustOpen(path_);
    {
      Result<SqlConnection> sql = database_->OpenConnection(SqlAccess::kWrite);
      ASSERT_TRUE(sql.ok());
      auto run = [&](const char* text) {
        return sqlite3_exec(sql->get(), text, nullptr, nullptr, nullptr);
      };
      ASSERT_EQ(run("CREATE TABLE t(v)"), SQLITE_OK);
      armed = true;
      EXPECT_NE(run("INSERT INTO t VALUES (1)"), SQLITE_OK);
      armed = false;
      // A log that could be cut back goes on.
      EXPECT_EQ(run("INSERT INTO t VALUES (2)") == SQLITE_OK, point == "log:write");
    }
    database_.reset();
    FaultHook() = nullptr;
    database_ = host_.MustOpen(path_);
    MemoryReplica fresh(2);
    ASSERT_TRUE(fresh.Pull(database_.get()).ok());
    EXPECT_EQ(fresh.Text("SELECT count(*) FROM t WHERE v = 1"), "0");
    EXPECT_EQ(fresh.Text("SELECT count(*) FROM t"), point == "log:write" ? "1" : "0");
    database_.reset();
  }
}

// A crash between record and frames; then another program's frames stand where the commit's would
// have, and it dies too.
TEST_F(PrimaryCrash, DoesNotTakeFramesOfAnotherProgramForTheCommitThatWasUnderWay) {
  Make(live_);
  FaultHook() = [&](const char*) { return OkStatus(); };
  database_ = host_.MustOpen(path_);
  ASSERT_TRUE(replica_.Pull(database_.get()).ok());
  ASSERT_TRUE(replica_.Commit(database_.get(), "CREATE TABLE t(v)").ok());
  const std::string crashed = directory_.File("crashed");
  FaultHook() = [&](const char* point) {
    if (std::string(point) == "commit:logged") Copy(live_, crashed);
    return OkStatus();
  };
  ASSERT_TRUE(replica_.Commit(database_.get(), "INSERT INTO t VALUES (1)").ok());
  FaultHook() = nullptr;
  database_.reset();
  const std::string twice = directory_.File("twice");
  {
    Connection other(crashed + "/app.db");
    other.Run("INSERT INTO t VALUES (2)");
    other.Run("INSERT INTO t VALUES (3)");
    Copy(crashed, twice);
  }
  database_ = host_.MustOpen(twice + "/app.db");
  MemoryReplica fresh(2);
  ASSERT_TRUE(fresh.Pull(database_.get()).ok());
  EXPECT_EQ(fresh.Text("SELECT group_concat(v) FROM t"), "2,3");
  EXPECT_EQ(database_->Settle(replica_.id(), replica_.number())->outcome, Outcome::kRefused);
}

// A crash between record and frames, and then somebody's sqlite3 before the server.
TEST_F(PrimaryCrash, SaysThatItDoesNotKnowWhereAnotherProgramHasWipedTheTraces) {
  Make(live_);
  FaultHook() = [&](const char*) { return OkStatus(); };
  database_ = host_.MustOpen(path_);
  ASSERT_TRUE(replica_.Pull(database_.get()).ok());
  ASSERT_TRUE(replica_.Commit(database_.get(), "CREATE TABLE t(v)").ok());
  std::string crashed;
  FaultHook() = [&](const char* point) {
    if (std::string(point) == "commit:logged") {
      crashed = directory_.File("crashed");
      Copy(live_, crashed);
    }
    return OkStatus();
  };
  ASSERT_TRUE(replica_.Commit(database_.get(), "INSERT INTO t VALUES (1)").ok());
  FaultHook() = nullptr;
  database_.reset();
  ASSERT_EQ(std::system(("sqlite3 '" + crashed + "/app.db' 'INSERT INTO t VALUES (2)'").c_str()),
            0);
  database_ = host_.MustOpen(crashed + "/app.db");
  MemoryReplica fresh(2);
  ASSERT_TRUE(fresh.Pull(database_.get()).ok());
  EXPECT_EQ(fresh.Text("SELECT v FROM t"), "2");
  EXPECT_EQ(database_->Settle(replica_.id(), replica_.number())->outcome, Outcome::kLost);
  PageCommit again = replica_.Prepare("SELECT 1");
  again.number = replica_.number() - 1;
  EXPECT_EQ(database_->Commit(again).status().code(), Code::kOutcomeUnknown);
}

}  // namespace
}  // namespace turso
