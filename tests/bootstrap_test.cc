#include "src/replica/bootstrap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include "src/replica/database_writer.h"
#include "src/replica/local_file.h"
#include "src/replica/replica.h"
#include "src/replica/sidecar.h"
#include "tests/support/child.h"
#include "tests/support/connection.h"
#include "tests/support/failing_calls.h"
#include "tests/support/fake_remote.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"

namespace turso {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

constexpr const char* kUrl = "http://127.0.0.1:8080/app";

// A FakeRemote whose pull is the test's.
class ScriptedRemote : public FakeRemote {
 public:
  using Script = std::function<Result<Revision>(PageSink*)>;
  ScriptedRemote(std::shared_ptr<FakePrimary> primary, Script script)
      : FakeRemote(std::move(primary)), script_(std::move(script)) {}
  Result<Revision> Pull(const Revision&, Duration, PageSink* sink, const Call&) override {
    return script_(sink);
  }

 private:
  const Script script_;
};

Bytes FileBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

void WriteText(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

class BootstrapTest : public testing::Test {
 protected:
  BootstrapTest() : database_(temp_.File("app.db")), sidecar_(Sidecar::PathFor(database_)) {
    options_.url = kUrl;
    UsePrimary(4096, 40);
  }

  void UsePrimary(uint32_t page_size, int rows, const std::string& journal_mode = "WAL") {
    const TempDir other;
    {
      Connection db(other.File("p.db"));
      db.Run("PRAGMA page_size=" + std::to_string(page_size));
      db.Run("PRAGMA journal_mode=" + journal_mode);
      db.Run("CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
      db.Run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<" +
             std::to_string(rows) + ") INSERT INTO t SELECT i, randomblob(900) FROM n");
      db.Try("PRAGMA wal_checkpoint(TRUNCATE)");
    }
    primary_ = std::make_shared<FakePrimary>(FileBytes(other.File("p.db")));
  }

  Status Create() {
    auto remote = std::make_unique<FakeRemote>(primary_);
    return CreateFrom(database_, options_, std::move(remote));
  }
  Status CreateBy(ScriptedRemote::Script script) {
    return CreateFrom(database_, options_,
                      std::make_unique<ScriptedRemote>(primary_, std::move(script)));
  }

  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (auto& entry : std::filesystem::directory_iterator(temp_.path()))
      names.push_back(entry.path().filename());
    return names;
  }
  // What the primary has, as a replica shows it.
  Bytes Expected() {
    Bytes file = primary_->File();
    file[18] = 3;
    file[19] = 2;
    return file;
  }
  void ExpectReady() {
    EXPECT_EQ(FileBytes(database_), Expected());
    EXPECT_TRUE(FileBytes(database_ + "-wal").empty());
    Result<SidecarRecord> record = Sidecar::Peek(sidecar_);
    ASSERT_TRUE(record.ok()) << record.status().text();
    EXPECT_EQ(record->url, kUrl);
    EXPECT_EQ(record->database_id, "fa4e0000000000000000000000000001");
    EXPECT_EQ(record->protocol, "primary");
    EXPECT_NE(record->replica_id, (std::array<uint8_t, 16>{}));
    EXPECT_EQ(record->page_size, primary_->page_size());
    EXPECT_EQ(record->durable, primary_->revision());
    EXPECT_EQ(record->current, primary_->revision());
    EXPECT_EQ(record->current_position, WalPosition());
    EXPECT_TRUE(record->current_in_database);
    EXPECT_EQ(record->intent.kind, IntentKind::kNone);
    EXPECT_EQ(record->last_commit_number, 0u);
    WriteText(temp_.File("probe"), "");
    const bool has_attributes =
        ::setxattr(temp_.File("probe").c_str(), "user.turso.test", "1", 1, 0) == 0;
    std::filesystem::remove(temp_.File("probe"));
    EXPECT_EQ(IsMarked(database_), has_attributes);
  }
  void ExpectReadyAndNothingElse() {
    ExpectReady();
    EXPECT_THAT(Names(), UnorderedElementsAre("app.db", "app.db-wal", "app.db-turso"));
  }
  void ExpectRefused(const Status& status, Code code, const std::string& words) {
    EXPECT_EQ(status.code(), code) << status.text();
    EXPECT_THAT(status.text(), AllOf(HasSubstr("app.db"), HasSubstr(words)));
  }

  TempDir temp_;
  std::string database_, sidecar_;
  Options options_;
  std::shared_ptr<FakePrimary> primary_;
};

TEST_F(BootstrapTest, BringsTheWholeDatabaseAndNothingElseIsLeft) {
  Status status = Create();
  ASSERT_TRUE(status.ok()) << status.text();
  ExpectReadyAndNothingElse();
}

TEST_F(BootstrapTest, BringsDatabasesOfEveryPageSize) {
  for (uint32_t page_size = 512; page_size <= 65536; page_size *= 2) {
    SCOPED_TRACE(page_size);
    UsePrimary(page_size, 100);
    Status status = Create();
    ASSERT_TRUE(status.ok()) << status.text();
    ExpectReadyAndNothingElse();
    std::filesystem::remove(database_);
    std::filesystem::remove(sidecar_);
  }
}

TEST_F(BootstrapTest, BringsMoreThanIsWrittenAtOnce) {
  UsePrimary(4096, 8000);
  ASSERT_GT(primary_->File().size(), 3u << 20);
  ASSERT_TRUE(Create().ok());
  ExpectReadyAndNothingElse();
}

TEST_F(BootstrapTest, MakesAFileThatStockSqliteReadsAndRefusesToWrite) {
  for (const char* journal_mode : {"WAL", "DELETE"}) {
    UsePrimary(4096, 40, journal_mode);
    ASSERT_TRUE(Create().ok());
    ExpectReady();
    {
      Connection db(database_);
      EXPECT_EQ(db.Text("PRAGMA integrity_check"), "ok");
      EXPECT_EQ(db.Int("SELECT count(*) FROM t"), 40);
      EXPECT_EQ(db.Try("INSERT INTO t(b) VALUES(1)") & 0xff, SQLITE_READONLY);
    }
    for (const std::string& name : Names()) std::filesystem::remove(temp_.File(name));
  }
}

TEST_F(BootstrapTest, GivesEveryReplicaAnIdentityOfItsOwn) {
  ASSERT_TRUE(Create().ok());
  auto first = Sidecar::Peek(sidecar_)->replica_id;
  database_ = temp_.File("other.db");
  ASSERT_TRUE(Create().ok());
  EXPECT_NE(Sidecar::Peek(Sidecar::PathFor(database_))->replica_id, first);
}

TEST_F(BootstrapTest, IsContentWithAReplicaThatIsThereWithoutAskingThePrimary) {
  ASSERT_TRUE(Create().ok());
  const Bytes sidecar = FileBytes(sidecar_);
  auto remote = std::make_unique<FakeRemote>(primary_);
  remote->Disconnect();
  EXPECT_TRUE(CreateFrom(database_, options_, std::move(remote)).ok());
  options_.url = "";
  EXPECT_TRUE(Create().ok());
  EXPECT_EQ(FileBytes(sidecar_), sidecar);
  ExpectReadyAndNothingElse();
}

TEST_F(BootstrapTest, KeepsNoTokenInTheSidecar) {
  options_.url = "http://me:secret@h/app?authToken=secret";
  ASSERT_TRUE(Create().ok());
  EXPECT_EQ(Sidecar::Peek(sidecar_)->url, "http://h/app");
  const Bytes sidecar = FileBytes(sidecar_);
  EXPECT_EQ(AsText(sidecar).find("secret"), std::string_view::npos);
}

TEST_F(BootstrapTest, TakesPagesInAnyOrderAndTheLastImageOfEach) {
  Rng random(TestSeed());
  const Bytes file = primary_->File();
  const auto pages = static_cast<uint32_t>(file.size() / 4096);
  auto image = [&](uint32_t page) {
    return ByteView(file).subspan((page - 1) * size_t{4096}, 4096);
  };
  for (int round = 0; round < 20; round++) {
    std::vector<uint32_t> order;
    for (uint32_t page = 1; page <= pages; page++) order.push_back(page);
    std::shuffle(order.begin(), order.end(), random);
    Status status = CreateBy([&](PageSink* sink) -> Result<Revision> {
      const Bytes other(4096, 0xaa);
      TURSO_RETURN_IF_ERROR(sink->Size(4096, pages + 7));
      for (uint32_t page : order) TURSO_RETURN_IF_ERROR(sink->Page({page}, other));
      TURSO_RETURN_IF_ERROR(sink->Page({pages + 7}, other));
      TURSO_RETURN_IF_ERROR(sink->Size(4096, pages));
      for (uint32_t page : order) TURSO_RETURN_IF_ERROR(sink->Page({page}, image(page)));
      return primary_->revision();
    });
    ASSERT_TRUE(status.ok()) << status.text();
    ExpectReadyAndNothingElse();
    std::filesystem::remove(database_);
    std::filesystem::remove(sidecar_);
  }
}

TEST_F(BootstrapTest, RefusesAnAnswerThatMakesNoDatabase) {
  const Bytes file = primary_->File();
  const auto pages = static_cast<uint32_t>(file.size() / 4096);
  auto send = [&](PageSink* sink, uint32_t from, uint32_t to) -> Status {
    for (uint32_t page = from; page <= to; page++) {
      TURSO_RETURN_IF_ERROR(
          sink->Page({page}, ByteView(file).subspan((page - 1) * size_t{4096}, 4096)));
    }
    return OkStatus();
  };
  using Script = std::function<Status(PageSink*)>;
  const std::pair<const char*, Script> cases[] = {
      {"nothing at all", [&](PageSink*) { return OkStatus(); }},
      {"no page", [&](PageSink* sink) { return sink->Size(4096, 0); }},
      {"a page before the size", [&](PageSink* sink) { return send(sink, 1, 1); }},
      {"a page size that there is not", [&](PageSink* sink) { return sink->Size(4097, pages); }},
      {"another page size on the way",
       [&](PageSink* sink) {
         TURSO_RETURN_IF_ERROR(sink->Size(4096, pages));
         return sink->Size(8192, pages);
       }},
      {"page 0",
       [&](PageSink* sink) {
         TURSO_RETURN_IF_ERROR(sink->Size(4096, pages));
         return sink->Page({0}, Bytes(4096));
       }},
      {"a page beyond the end",
       [&](PageSink* sink) {
         TURSO_RETURN_IF_ERROR(sink->Size(4096, pages));
         return sink->Page({pages + 1}, Bytes(4096));
       }},
      {"half a page",
       [&](PageSink* sink) {
         TURSO_RETURN_IF_ERROR(sink->Size(4096, pages));
         return sink->Page({1}, Bytes(2048));
       }},
      {"no first page",
       [&](PageSink* sink) {
         TURSO_RETURN_IF_ERROR(sink->Size(4096, pages));
         return send(sink, 2, pages);
       }},
      {"no last page",
       [&](PageSink* sink) {
         TURSO_RETURN_IF_ERROR(sink->Size(4096, pages));
         return send(sink, 1, pages - 1);
       }},
      {"a page lost while the database was shorter",
       [&](PageSink* sink) {
         TURSO_RETURN_IF_ERROR(sink->Size(4096, pages));
         TURSO_RETURN_IF_ERROR(send(sink, 1, pages));
         TURSO_RETURN_IF_ERROR(sink->Size(4096, pages - 1));
         return sink->Size(4096, pages);
       }},
      {"the same, sent out of order",
       [&](PageSink* sink) {
         TURSO_RETURN_IF_ERROR(sink->Size(4096, pages));
         TURSO_RETURN_IF_ERROR(send(sink, pages, pages));
         TURSO_RETURN_IF_ERROR(sink->Size(4096, pages - 1));
         TURSO_RETURN_IF_ERROR(send(sink, 1, pages - 1));
         return sink->Size(4096, pages);
       }},
      {"a first page of something else",
       [&](PageSink* sink) {
         TURSO_RETURN_IF_ERROR(sink->Size(4096, 1));
         return sink->Page({1}, Bytes(4096, 'x'));
       }},
      {"a first page of another page size",
       [&](PageSink* sink) {
         TURSO_RETURN_IF_ERROR(sink->Size(512, 1));
         return sink->Page({1}, ByteView(file).first(512));
       }},
  };
  for (const auto& [what, script] : cases) {
    SCOPED_TRACE(what);
    Status status = CreateBy([&s = script, this](PageSink* sink) -> Result<Revision> {
      TURSO_RETURN_IF_ERROR(s(sink));
      return primary_->revision();
    });
    ExpectRefused(status, Code::kCorrupt, kUrl);
    EXPECT_TRUE(Names().empty());
  }
  Status status = CreateBy([&](PageSink* sink) -> Result<Revision> {
    TURSO_RETURN_IF_ERROR(sink->Size(4096, pages));
    TURSO_RETURN_IF_ERROR(send(sink, 1, pages));
    return Revision();
  });
  ExpectRefused(status, Code::kCorrupt, "revision");
  EXPECT_TRUE(Names().empty());
}

// To /dev/null, which takes a gigabyte quickly: whether all pages came is known before the file is
// looked at, and it cannot be cut to a size.
TEST(DatabaseWriter, DoesWithoutThePageThatHoldsSqlitesLocksAndWithoutNoOther) {
  const uint32_t lock_page = 0x40000000 / 65536 + 1;
  const Bytes page(65536);
  for (uint32_t missing : {lock_page - 1, lock_page, lock_page + 1, lock_page + 2}) {
    SCOPED_TRACE(missing);
    Result<OwnedFd> null = OpenFile("/dev/null", O_RDWR);
    ASSERT_TRUE(null.ok());
    DatabaseWriter writer(null->get(), "/dev/null", [] {});
    ASSERT_TRUE(writer.Size(65536, lock_page - 1).ok());
    for (uint32_t number = 1; number <= lock_page + 2; number++) {
      if (number == lock_page) {
        ASSERT_TRUE(writer.Size(65536, lock_page + 2).ok());
      }
      if (number == missing) continue;
      ASSERT_TRUE(writer.Page({number}, page).ok());
    }
    Status status = writer.Finish();
    EXPECT_EQ(status.code(), missing == lock_page ? Code::kIo : Code::kCorrupt) << status.text();
  }
}

TEST_F(BootstrapTest, LeavesNothingWhenThePrimaryFails) {
  const auto expect_nothing = [&](FakeRemote* remote, Code code) {
    ExpectRefused(CreateFrom(database_, options_, std::unique_ptr<Remote>(remote)), code, kUrl);
    EXPECT_TRUE(Names().empty());
  };
  auto* remote = new FakeRemote(primary_);
  remote->Disconnect();
  expect_nothing(remote, Code::kUnavailable);
  for (Code code : {Code::kDenied, Code::kNotFound}) {
    remote = new FakeRemote(primary_);
    remote->FailCall(1, code, "identify");
    expect_nothing(remote, code);
  }
  for (size_t pages : {0, 1, 5}) {
    remote = new FakeRemote(primary_);
    remote->CutPullAfter(pages);
    expect_nothing(remote, Code::kUnavailable);
  }
  ASSERT_TRUE(Create().ok());
  ExpectReadyAndNothingElse();
}

TEST_F(BootstrapTest, AsksForAPrimaryWhenNoneIsNamed) {
  options_.url = "";
  ExpectRefused(Create(), Code::kInvalid, "TURSO_DATABASE_URL");
  ExpectRefused(Replica::Create(database_, options_), Code::kInvalid, "url=");
  EXPECT_TRUE(Names().empty());
}

TEST_F(BootstrapTest, RefusesAUrlOfAnUnknownKindBeforeItTouchesAnything) {
  options_.url = "ftp://h/app";
  EXPECT_EQ(Replica::Create(database_, options_).code(), Code::kInvalid);
  EXPECT_TRUE(Names().empty());
}

TEST_F(BootstrapTest, NeverTurnsAnotherFileIntoAReplica) {  // (B3)
  {
    Connection db(database_);
    db.Run("CREATE TABLE mine(x)");
  }
  const Bytes before = FileBytes(database_);
  ExpectRefused(Create(), Code::kInvalid, "ordinary SQLite database");
  EXPECT_EQ(FileBytes(database_), before);
  EXPECT_THAT(Names(), UnorderedElementsAre("app.db"));

  WriteText(database_, "x");
  ExpectRefused(Create(), Code::kInvalid, "never turned into a replica");
  std::filesystem::remove(database_);
  std::filesystem::create_directory(database_);
  ExpectRefused(Create(), Code::kInvalid, "never turned into a replica");
}

TEST_F(BootstrapTest, NeverReplacesAnEmptyDatabaseWhoseLogIsNot) {
  for (const char* suffix : {"-wal", "-journal"}) {
    WriteText(database_, "");
    WriteText(database_ + suffix, "x");
    ExpectRefused(Create(), Code::kInvalid, "never turned into a replica");
    std::filesystem::remove(database_ + suffix);
  }
  EXPECT_THAT(Names(), UnorderedElementsAre("app.db"));
}

TEST_F(BootstrapTest, TakesTheNameOwnerAndModeOfAnEmptyFile) {
  WriteText(database_, "");
  ASSERT_EQ(::chmod(database_.c_str(), 0640), 0);
  Status status = Create();
  ASSERT_TRUE(status.ok()) << status.text();
  ExpectReadyAndNothingElse();
  for (const std::string& path : {database_, database_ + "-wal", sidecar_}) {
    struct stat st;
    ASSERT_EQ(::stat(path.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777u, 0640u);
  }
}

TEST_F(BootstrapTest, RefusesAReplicaThatHasLostItsSidecar) {
  ASSERT_TRUE(Create().ok());
  std::filesystem::remove(sidecar_);
  ExpectRefused(Create(), Code::kInvalid,
                IsMarked(database_) ? "app.db-turso is missing" : "never turned");
  EXPECT_EQ(FileBytes(database_), Expected());
}

TEST_F(BootstrapTest, RefusesAnotherPrimaryByBothNames) {
  ASSERT_TRUE(Create().ok());
  options_.url = "http://other/app";
  Status status = Create();
  ExpectRefused(status, Code::kInvalid, kUrl);
  EXPECT_THAT(status.text(), HasSubstr("http://other/app"));
}

TEST_F(BootstrapTest, CompletesASidecarWithoutADatabase) {
  ASSERT_TRUE(Create().ok());
  const auto id = Sidecar::Peek(sidecar_)->replica_id;
  for (const char* url : {kUrl, ""}) {
    std::filesystem::remove(database_);
    options_.url = url;
    Status status = Create();
    ASSERT_TRUE(status.ok()) << status.text();
    ExpectReadyAndNothingElse();
  }
  EXPECT_NE(Sidecar::Peek(sidecar_)->replica_id, id);
}

TEST_F(BootstrapTest, KeepsASidecarWithoutADatabaseWhenThePrimaryFails) {
  ASSERT_TRUE(Create().ok());
  std::filesystem::remove(database_);
  const Bytes sidecar = FileBytes(sidecar_);
  auto remote = std::make_unique<FakeRemote>(primary_);
  remote->CutPullAfter(2);
  EXPECT_EQ(CreateFrom(database_, options_, std::move(remote)).code(), Code::kUnavailable);
  EXPECT_EQ(FileBytes(sidecar_), sidecar);
  EXPECT_THAT(Names(), UnorderedElementsAre("app.db-wal", "app.db-turso"));
}

TEST_F(BootstrapTest, CompletesASidecarFromAnotherAddressOnlyIfTheSameDatabaseIsThere) {
  SidecarRecord record;
  record.page_size = 4096;
  record.url = "http://old/app";
  record.database_id = "fa4e0000000000000000000000000001";
  ASSERT_TRUE(Sidecar::Create(sidecar_, database_, record).ok());
  ASSERT_TRUE(Create().ok());
  ExpectReadyAndNothingElse();

  for (const std::string& name : Names()) std::filesystem::remove(temp_.File(name));
  record.database_id = "another";
  ASSERT_TRUE(Sidecar::Create(sidecar_, database_, record).ok());
  Status status = Create();
  ExpectRefused(status, Code::kInvalid, "http://old/app");
  EXPECT_THAT(status.text(), HasSubstr(kUrl));
  EXPECT_THAT(Names(), UnorderedElementsAre("app.db-turso"));
}

TEST_F(BootstrapTest, RefusesADamagedSidecar) {
  WriteText(sidecar_, "x");
  ExpectRefused(Create(), Code::kCorrupt, "app.db-turso");
  EXPECT_THAT(Names(), UnorderedElementsAre("app.db-turso"));
}

TEST_F(BootstrapTest, RemovesWhatDeadProcessesLeftBehindAndNothingElse) {
  for (const char* name :
       {"app.db.turso-tmp-1-0123456789abcdef", "app.db-turso.turso-tmp-77-0", "app.db-turso-lock",
        "app.db2.turso-tmp-1-0", "app.db.backup", "my-app.db.turso-tmp-1-0"}) {
    WriteText(temp_.File(name), "x");
  }
  ASSERT_TRUE(Create().ok());
  ExpectReady();
  EXPECT_THAT(Names(),
              UnorderedElementsAre("app.db", "app.db-wal", "app.db-turso", "app.db2.turso-tmp-1-0",
                                   "app.db.backup", "my-app.db.turso-tmp-1-0"));
}

TEST_F(BootstrapTest, SetsALogAsideThatSqliteWouldTakeForTheNewDatabases) {  // (B3)
  // The same database once more, with a change in its log.
  ASSERT_TRUE(Create().ok());
  const std::string other = temp_.File("other");
  std::filesystem::create_directory(other);
  Bytes file = primary_->File();
  WriteText(other + "/o.db", std::string(AsText(file)));
  {
    Connection db(other + "/o.db");
    db.Run("DELETE FROM t");
    std::filesystem::copy_file(other + "/o.db-wal", temp_.File("app.db-wal"),
                               std::filesystem::copy_options::overwrite_existing);
  }
  std::filesystem::remove_all(other);
  std::filesystem::remove(database_);
  std::filesystem::remove(sidecar_);
  WriteText(temp_.File("app.db-shm"), "x");
  const Bytes log = FileBytes(temp_.File("app.db-wal"));

  ASSERT_TRUE(Create().ok());
  ExpectReady();
  EXPECT_THAT(Names(), UnorderedElementsAre("app.db", "app.db-wal", "app.db-turso",
                                            testing::StartsWith("app.db-wal.aside-")));
  for (const std::string& name : Names()) {
    if (name.find("aside") != std::string::npos) {
      EXPECT_EQ(FileBytes(temp_.File(name)), log);
    }
  }
  Connection db(database_);
  EXPECT_EQ(db.Int("SELECT count(*) FROM t"), 40);
}

TEST_F(BootstrapTest, IsDoneOnceByManyProcessesThatBeginTogether) {
  constexpr int kProcesses = 6;
  int start[2], pulled[2];
  ASSERT_EQ(::pipe(start), 0);
  ASSERT_EQ(::pipe(pulled), 0);
  std::vector<pid_t> children;
  for (int i = 0; i < kProcesses; i++) {
    children.push_back(Fork([&] {
      ::close(start[1]);
      auto remote = std::make_unique<FakeRemote>(primary_);
      remote->set_before([&](const std::string& call) {
        if (call != "pull") return;
        EXPECT_EQ(::write(pulled[1], "p", 1), 1);
      });
      char byte;
      EXPECT_EQ(::read(start[0], &byte, 1), 0);
      Status status = CreateFrom(database_, options_, std::move(remote));
      EXPECT_TRUE(status.ok()) << status.text();
      return FileBytes(database_) == Expected() ? 0 : 1;
    }));
  }
  ::close(start[0]);
  ::close(start[1]);
  for (pid_t child : children) EXPECT_EQ(Wait(child), 0);
  ::close(pulled[1]);
  char bytes[kProcesses];
  EXPECT_EQ(::read(pulled[0], bytes, sizeof bytes), 1);
  ::close(pulled[0]);
  ExpectReadyAndNothingElse();
}

TEST_F(BootstrapTest, GivesUpOnAProcessThatGetsNowhereAndTakesOverWhenItDies) {
  Signal begun;
  pid_t child = Fork([&] {
    (void)CreateBy([&](PageSink*) -> Result<Revision> {
      begun.Raise();
      for (;;) ::pause();
    });
    return 0;
  });
  begun.Await();
  options_.timeout = milliseconds(30);
  ExpectRefused(Create(), Code::kBusy, "app.db-turso-lock");
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  EXPECT_EQ(Wait(child), -SIGKILL);
  ASSERT_TRUE(Create().ok());
  ExpectReadyAndNothingElse();
}

TEST_F(BootstrapTest, WaitsForAProcessThatGetsOn) {
  Signal begun;
  pid_t child = Fork([&] {
    Status status = CreateBy([&](PageSink* sink) -> Result<Revision> {
      begun.Raise();
      const Instant end = Instant::Now() + milliseconds(1500);
      TURSO_RETURN_IF_ERROR(sink->Size(4096, 2));
      while (Instant::Now() < end) {
        TURSO_RETURN_IF_ERROR(sink->Page({2}, Bytes(4096)));
        std::this_thread::sleep_for(milliseconds(1));
      }
      return FakeRemote(primary_).Pull(Revision(), Duration{}, sink, Call());
    });
    return status.ok() ? 0 : 1;
  });
  begun.Await();
  options_.timeout = milliseconds(700);
  Status status = Create();
  EXPECT_TRUE(status.ok()) << status.text();
  EXPECT_EQ(Wait(child), 0);
  ExpectReadyAndNothingElse();
}

TEST_F(BootstrapTest, LetsGoOfTheLockAlthoughAChildWasForkedMeanwhile) {
  Signal end;
  pid_t child = -1;
  ASSERT_TRUE(CreateBy([&](PageSink* sink) {
                child = Fork([&] {
                  end.Await();
                  return 0;
                });
                return FakeRemote(primary_).Pull(Revision(), Duration{}, sink, Call());
              }).ok());
  std::filesystem::remove(database_);
  std::filesystem::remove(sidecar_);
  options_.timeout = milliseconds(30);
  EXPECT_TRUE(Create().ok());
  end.Raise();
  EXPECT_EQ(Wait(child), 0);
}

TEST_F(BootstrapTest, SyncsWhatIsUnderANameBeforeTheNextNameIsGiven) {
  std::vector<std::string> order;
  {
    FailingCalls watching(0, Fate::kFail);
    ASSERT_TRUE(Create().ok());
    order = watching.names();
  }
  std::erase_if(order, [](const std::string& name) {
    return name != "pwrite" && name != "ftruncate" && name != "setxattr" && name != "fsync" &&
           name != "renameat2";
  });
  EXPECT_THAT(order, testing::ElementsAre("pwrite", "ftruncate", "setxattr", "fsync",  // NAME,
                                          "pwrite", "pwrite", "ftruncate", "pwrite",
                                          "fsync",               // the sidecar,
                                          "renameat2", "fsync",  // the sidecar's name,
                                          "renameat2", "fsync"));
}

// What may be there before, for the tests that fail and die at every call.
enum class Before { kNothing, kEmptyFile, kHalfMade, kLog };

class BootstrapFailureTest : public BootstrapTest, public testing::WithParamInterface<Before> {
 protected:
  void Prepare() {
    for (const std::string& name : Names()) std::filesystem::remove(temp_.File(name));
    if (GetParam() == Before::kEmptyFile) WriteText(database_, "");
    if (GetParam() == Before::kLog) WriteText(database_ + "-wal", "a log");
    if (GetParam() == Before::kHalfMade) {
      SidecarRecord record;
      record.page_size = 4096;
      record.url = kUrl;
      record.database_id = "from an earlier attempt";
      ASSERT_TRUE(Sidecar::Create(sidecar_, database_, record).ok());
    }
  }
  bool HasDatabase() {
    return std::filesystem::exists(database_) && std::filesystem::file_size(database_) != 0;
  }
  // (B1)
  void ExpectNoDatabaseWithoutSidecar() {
    if (HasDatabase()) ExpectReady();
  }
  void ExpectRetrySucceeds() {
    Status status = Create();
    ASSERT_TRUE(status.ok()) << status.text();
    ExpectReady();
    std::vector<std::string> names = Names();
    if (GetParam() == Before::kLog) {
      auto aside = std::find_if(names.begin(), names.end(), [](const std::string& name) {
        return name.find("-wal.aside-") != std::string::npos;
      });
      ASSERT_NE(aside, names.end());
      EXPECT_EQ(AsText(FileBytes(temp_.File(*aside))), "a log");
      names.erase(aside);
    }
    std::erase(names, "app.db-turso-lock");  // Of one that died, when all else was done.
    EXPECT_THAT(names, UnorderedElementsAre("app.db", "app.db-wal", "app.db-turso"));
  }
};

std::string NameOf(const testing::TestParamInfo<Before>& before) {
  switch (before.param) {
    case Before::kNothing: return "Nothing";
    case Before::kEmptyFile: return "EmptyFile";
    case Before::kHalfMade: return "HalfMade";
    case Before::kLog: return "Log";
  }
  return "";
}

INSTANTIATE_TEST_SUITE_P(After, BootstrapFailureTest,
                         testing::Values(Before::kNothing, Before::kEmptyFile, Before::kHalfMade,
                                         Before::kLog),
                         NameOf);

TEST_P(BootstrapFailureTest, LeavesNothingUnderAFinalNameWhenAnyCallFails) {  // (B2)
  int failures = 0;
  for (int nth = 1;; nth++) {
    Prepare();
    std::string which;
    Status status;
    {
      FailingCalls failing(nth, Fate::kFail);
      status = Create();
      which = failing.which();
    }
    if (which.empty()) break;
    SCOPED_TRACE(which + ", call " + std::to_string(nth));
    if (!status.ok()) {
      failures++;
      EXPECT_FALSE(HasDatabase());
      EXPECT_NE(status.code(), Code::kOutcomeUnknown);
      // A removal may be what failed.
      if (which != "unlink") {
        if (GetParam() != Before::kHalfMade) {
          EXPECT_FALSE(std::filesystem::exists(sidecar_));
        }
        for (const std::string& name : Names())
          EXPECT_EQ(name.find("turso-tmp"), std::string::npos) << name;
      }
    } else {
      ExpectReady();
    }
    ExpectRetrySucceeds();
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(failures, 15);
}

TEST_P(BootstrapFailureTest, CanBeRepeatedAfterADeathAtAnyCall) {  // (B1), (B2)
  for (Fate fate : {Fate::kDieBefore, Fate::kDieAfter}) {
    int deaths = 0;
    for (int nth = 1;; nth++, deaths++) {
      Prepare();
      int end = RunInChild([&] {
        FailingCalls failing(nth, fate);
        return Create().ok() ? 0 : 1;
      });
      SCOPED_TRACE("call " + std::to_string(nth));
      if (end != FailingCalls::kDeath) {
        EXPECT_EQ(end, 0);
        break;
      }
      ExpectNoDatabaseWithoutSidecar();
      ExpectRetrySucceeds();
      if (HasFatalFailure()) return;
    }
    EXPECT_GT(deaths, 20);
  }
}

}  // namespace
}  // namespace turso
