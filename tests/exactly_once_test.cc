// A commit whose outcome its replica does not know, in every fate of its request, through SQLite
// and the VFS: it is settled before anything else happens, and is there once or not at all.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <thread>

#include "extension/turso_vfs.h"
#include "src/replica/sidecar.h"
#include "tests/support/fake_world.h"
#include "tests/support/temp_dir.h"
#include "vfs/connection.h"
#include "vfs/result_codes.h"

namespace turso {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr const char* kInsert = "INSERT INTO t(b) VALUES('which')";

// A replica of a fake primary, with a table in it.
class Setting {
 public:
  explicit Setting(Duration lease = milliseconds(400)) {
    EXPECT_EQ(turso_vfs_register(0), SQLITE_OK);
    world_.primary().set_lease_lifetime(lease);
    Open();
    EXPECT_EQ(Run("CREATE TABLE t(a INTEGER PRIMARY KEY, b)"), SQLITE_OK);
  }
  ~Setting() { Close(); }

  FakeWorld& world() { return world_; }
  sqlite3* db() { return db_; }
  const std::string& path() const { return path_; }
  std::string sidecar() const { return path_ + "-turso"; }

  sqlite3* Connect(const std::string& more = "sync_interval=off") {
    sqlite3* db = nullptr;
    std::string uri =
        "file:" + path_ + "?vfs=turso&url=http://primary.test/app&timeout=200ms&" + more;
    EXPECT_EQ(
        sqlite3_open_v2(uri.c_str(), &db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, nullptr),
        SQLITE_OK)
        << LastOpenError().value_or("");
    sqlite3_busy_timeout(db, 5000);
    return db;
  }
  void Open(const std::string& more = "sync_interval=off") { db_ = Connect(more); }
  void Close() {
    sqlite3_close(db_);
    db_ = nullptr;
  }
  // The files as they are, under another name, as the death of all processes would leave them.
  void KeepCopy() {
    for (const char* suffix : {"", "-wal", "-turso"})
      fs::copy_file(path_ + suffix, dead_ + suffix, fs::copy_options::overwrite_existing);
  }
  // Those who died are gone, and somebody opens what they left.
  void OpenCopy(const std::string& more = "sync_interval=off") {
    Close();
    path_ = dead_;
    Open(more);
  }

  int Run(const std::string& sql) {
    int code = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
    return code == SQLITE_OK ? code : sqlite3_extended_errcode(db_);
  }
  std::string Ask(const std::string& sql) { return Ask(db_, sql); }
  static std::string Ask(sqlite3* db, const std::string& sql) {
    std::string answer;
    auto row = [](void* out, int, char** values, char**) {
      *static_cast<std::string*>(out) += values[0] == nullptr ? "NULL" : values[0];
      return 0;
    };
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), row, &answer, nullptr), SQLITE_OK)
        << sql << ": " << sqlite3_errmsg(db);
    return answer;
  }
  std::string State() { return Ask("SELECT state FROM turso_status"); }
  IntentKind Pending() { return Sidecar::Peek(sidecar())->intent.kind; }
  // Whether the primary has nothing that is still to come, or to be settled.
  bool IsAtRest() {
    return State() == "live" && Pending() == IntentKind::kNone &&
           Ask("SELECT turso_revision()") == world_.primary().revision().text();
  }
  // Has the outcome of the next commit stay unknown: from then on nothing reaches the primary.
  void GoDark() {
    world_.caller().set_before([this](const std::string& call) {
      if (call != "commit") return;
      KeepCopy();
      world_.Disconnect();
    });
  }
  void ComeBack() {
    world_.caller().set_before(nullptr);
    world_.Reconnect();
  }
  void ExpectEqualToPrimary() {
    ASSERT_EQ(Run("PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
    std::ifstream file(path_, std::ios::binary);
    Bytes ours(std::istreambuf_iterator<char>(file), {});
    ours.at(18) = 2;
    EXPECT_TRUE(ours == world_.primary().File());
    EXPECT_EQ(Ask("PRAGMA integrity_check"), "ok");
    for (const auto& entry : fs::directory_iterator(directory_.path()))
      EXPECT_THAT(entry.path().string(), ::testing::Not(HasSubstr(".aside-")));
  }

 private:
  FakeWorld world_;
  TempDir directory_;
  std::string path_ = directory_.File("app.db");
  std::string dead_ = directory_.File("dead.db");
  sqlite3* db_ = nullptr;
};

// Waits for what a machine with too much to do may be slow with.
bool BecomesTrue(const std::function<bool()>& condition) {
  const Instant deadline = Instant::Now() + seconds(60);
  while (!condition()) {
    if (Instant::Now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return true;
}

// ---- Every fate of a request, and what comes next

enum class Fate { kLost, kAnswerLost, kLate };
enum class Process { kLives, kDied };

struct NextStep {
  const char* name;
  void (*take)(Setting*);
};

// Each settles first, also where nothing is written in the end.
const NextStep kNextSteps[] = {
    {"write", [](Setting* s) { EXPECT_EQ(s->Run("INSERT INTO t(b) VALUES('next')"), SQLITE_OK); }},
    {"begin immediate",
     [](Setting* s) { EXPECT_EQ(s->Run("BEGIN IMMEDIATE; ROLLBACK"), SQLITE_OK); }},
    {"sync", [](Setting* s) { s->Ask("SELECT turso_sync()"); }},
    {"follow",
     [](Setting* s) {
       s->Close();
       s->Open("sync_interval=follow");
       // A pull follows the settlement where the primary has the commit, under an intent of its
       // own.
       EXPECT_TRUE(BecomesTrue([s] { return s->IsAtRest(); }));
     }},
};

void TryFate(Fate fate, Process process, const NextStep& next) {
  Setting s;
  s.GoDark();
  if (fate == Fate::kLost) s.world().caller().FailCall(1, Code::kOutcomeUnknown, "commit");
  if (fate == Fate::kAnswerLost) s.world().caller().LoseAnswer(1, "commit");
  if (fate == Fate::kLate) s.world().caller().DelayRequest(1);
  const Revision before = s.world().primary().revision();
  EXPECT_EQ(s.Run(kInsert), kIoErrOutcomeUnknown);
  EXPECT_NE(sqlite3_get_autocommit(s.db()), 0);
  EXPECT_THAT(s.Ask("SELECT turso_last_error()"), HasSubstr("the outcome is unknown"));
  const bool taken = fate == Fate::kAnswerLost;
  EXPECT_EQ(s.world().primary().revision() != before, taken);

  s.ComeBack();
  if (process == Process::kDied) s.OpenCopy();
  // The lease of the dead runs out.
  EXPECT_TRUE(BecomesTrue([&] { return s.State() == "settling"; }));
  EXPECT_EQ(s.Ask("SELECT count(*) FROM t"), "0") << "reads go on, and see nothing of it yet";
  EXPECT_EQ(s.Pending(), IntentKind::kCommit);

  next.take(&s);
  EXPECT_EQ(s.State(), "live");
  EXPECT_EQ(s.Pending(), IntentKind::kNone);
  if (fate == Fate::kLate) {
    EXPECT_THAT(s.world().primary().DeliverLate(), ::testing::Each(::testing::Ne(Code::kOk)));
  }
  s.Ask("SELECT turso_sync()");
  EXPECT_EQ(s.Ask("SELECT count(*) FROM t WHERE b = 'which'"), taken ? "1" : "0");
  EXPECT_EQ(s.Run("INSERT INTO t(b) VALUES('last')"), SQLITE_OK);
  EXPECT_EQ(s.Ask("SELECT count(*) FROM t WHERE b = 'which'"), taken ? "1" : "0");
  s.ExpectEqualToPrimary();
}

TEST(ExactlyOnce, AnUnknownOutcomeIsSettledByWhateverComesNextInEveryFateOfTheRequest) {
  for (Fate fate : {Fate::kLost, Fate::kAnswerLost, Fate::kLate}) {
    for (Process process : {Process::kLives, Process::kDied}) {
      for (const NextStep& next : kNextSteps) {
        SCOPED_TRACE(std::string("fate ") + std::to_string(static_cast<int>(fate)) +
                     (process == Process::kDied ? ", died, " : ", lives, ") + next.name);
        TryFate(fate, process, next);
      }
    }
  }
}

// ---- What a power cut leaves of a commit that the application was told of

enum class Log { kWhole, kWithoutTheHeader, kWithoutTheFrames };

// The newest slots never reached the disk.
void LoseSlots(const std::string& sidecar, int count) {
  for (; count > 0; count--) {
    std::fstream file(sidecar, std::ios::in | std::ios::out | std::ios::binary);
    int newest = 0;
    uint64_t newest_sequence = 0;
    for (int slot = 0; slot < 3; slot++) {
      Bytes bytes(4096);
      file.seekg((slot + 1) * 4096);
      file.read(reinterpret_cast<char*>(bytes.data()), 4096);
      Result<SidecarRecord> record = DecodeSlot(bytes);
      if (!record.ok() || record->sequence <= newest_sequence) continue;
      newest = slot;
      newest_sequence = record->sequence;
    }
    file.seekp((newest + 1) * 4096);
    file << std::string(4096, '\0');
  }
}

TEST(ExactlyOnce, AnAcknowledgedCommitIsThereOnceWhateverOfSidecarAndLogReachedTheDisk) {
  for (int slots_lost = 0; slots_lost <= 2; slots_lost++) {
    for (Log log : {Log::kWhole, Log::kWithoutTheHeader, Log::kWithoutTheFrames}) {
      SCOPED_TRACE(std::to_string(slots_lost) + " slots lost, log " +
                   std::to_string(static_cast<int>(log)));
      Setting s;
      ASSERT_EQ(s.Run(kInsert), SQLITE_OK);
      const SidecarRecord told = *Sidecar::Peek(s.sidecar());
      s.KeepCopy();
      s.Close();
      const std::string dead = s.path().substr(0, s.path().rfind('/')) + "/dead.db";
      LoseSlots(dead + "-turso", slots_lost);
      const IntentKind kinds[] = {IntentKind::kNone, IntentKind::kCommitted, IntentKind::kCommit};
      const SidecarRecord found = *Sidecar::Peek(dead + "-turso");
      ASSERT_EQ(found.intent.kind, kinds[slots_lost]);
      EXPECT_EQ(found.last_commit_number, told.last_commit_number)
          << "a number that was sent is used up";
      const FrameNo last{told.current_position.frames};
      const auto size = fs::file_size(dead + "-wal");
      if (log == Log::kWithoutTheHeader) {
        std::fstream wal(dead + "-wal", std::ios::in | std::ios::out | std::ios::binary);
        wal.seekp(static_cast<std::streamoff>(FrameOffset(last, 4096)));
        wal << std::string(kFrameHeaderBytes, '\0');
      } else if (log == Log::kWithoutTheFrames) {
        fs::resize_file(dead + "-wal", size - (kFrameHeaderBytes + 4096));
      }
      s.OpenCopy();
      s.Ask("SELECT turso_sync()");
      EXPECT_EQ(s.Ask("SELECT count(*) FROM t"), "1");
      EXPECT_EQ(s.Run("INSERT INTO t(b) VALUES('next')"), SQLITE_OK);
      EXPECT_EQ(s.Ask("SELECT count(*) FROM t"), "2");
      EXPECT_EQ(s.world().primary().commits(), 3);
      s.ExpectEqualToPrimary();
    }
  }
}

// ---- In between

TEST(ExactlyOnce, NothingIsPulledAndNoLeaseIsAskedForBeforeItIsSettled) {
  for (const bool writes : {false, true}) {
    const char* next = writes ? "INSERT INTO t(b) VALUES('next')" : "SELECT turso_sync()";
    Setting s;
    s.GoDark();
    s.world().caller().LoseAnswer(1, "commit");
    EXPECT_EQ(s.Run(kInsert), kIoErrOutcomeUnknown);
    s.ComeBack();
    std::vector<std::string> calls;
    FakeRemote& remote = writes ? s.world().caller() : s.world().asker();
    remote.set_before([&](const std::string& call) { calls.push_back(call); });
    remote.FailCall(1, Code::kUnavailable, "settle");
    EXPECT_NE(sqlite3_exec(s.db(), next, nullptr, nullptr, nullptr), SQLITE_OK);
    EXPECT_THAT(s.Ask("SELECT turso_last_error()"), HasSubstr("settling an earlier commit"));
    EXPECT_EQ(calls, std::vector<std::string>{"settle"});
    EXPECT_EQ(s.State(), "settling");
    s.Ask(next);
    ASSERT_GE(calls.size(), 2u);
    EXPECT_EQ(calls[1], "settle");
    EXPECT_EQ(s.State(), "live");
    remote.set_before(nullptr);
  }
}

TEST(ExactlyOnce, ReadsAndQuestionsGoOnWhileItIsBeingSettled) {
  Setting s;
  s.GoDark();
  s.world().caller().LoseAnswer(1, "commit");
  EXPECT_EQ(s.Run(kInsert), kIoErrOutcomeUnknown);
  s.ComeBack();
  sqlite3* reader = s.Connect();
  EXPECT_EQ(Setting::Ask(reader, "SELECT count(*) FROM t"), "0");
  bool asked = false;
  s.world().caller().set_before([&](const std::string& call) {
    if (call != "settle") return;
    asked = true;
    EXPECT_EQ(Setting::Ask(reader, "SELECT count(*) FROM t"), "0");
    EXPECT_EQ(Setting::Ask(reader, "SELECT state FROM turso_status"), "settling");
    EXPECT_THAT(Setting::Ask(reader, "SELECT turso_last_error()"), HasSubstr("outcome is unknown"));
  });
  EXPECT_EQ(s.Run("INSERT INTO t(b) VALUES('next')"), SQLITE_OK);
  EXPECT_TRUE(asked);
  EXPECT_EQ(Setting::Ask(reader, "SELECT group_concat(b) FROM t"), "which,next");
  s.world().caller().set_before(nullptr);
  sqlite3_close(reader);
}

TEST(ExactlyOnce, ACommitIsNotedWithItsNumberBeforeItIsSent) {
  Setting s(seconds(600));
  const uint64_t before = Sidecar::Peek(s.sidecar())->last_commit_number;
  bool sent = false;
  s.world().caller().set_before([&](const std::string& call) {
    if (call != "commit") return;
    sent = true;
    const SidecarRecord record = *Sidecar::Peek(s.sidecar());
    EXPECT_EQ(record.intent.kind, IntentKind::kCommit);
    EXPECT_GT(record.intent.commit_number, before);
    EXPECT_EQ(record.last_commit_number, record.intent.commit_number);
    EXPECT_EQ(s.State(), "live") << "it is under way, and no outcome is unknown";
  });
  EXPECT_EQ(s.Run(kInsert), SQLITE_OK);
  EXPECT_TRUE(sent);
  s.world().caller().set_before(nullptr);
}

// A request that was garbled on its way is invalid, too, and its copy may still travel.
TEST(ExactlyOnce, ACommitThatThePrimaryCouldNotMakeSenseOfIsSettledAndAFailure) {
  Setting s;
  s.world().caller().FailCall(1, Code::kInvalid, "commit");
  EXPECT_EQ(s.Run(kInsert), SQLITE_ERROR);
  EXPECT_EQ(s.world().CallsOf("settle"), 1);
  EXPECT_EQ(s.Pending(), IntentKind::kNone);
  EXPECT_EQ(s.State(), "live");
  EXPECT_EQ(s.Run("INSERT INTO t(b) VALUES('next')"), SQLITE_OK);
  EXPECT_EQ(s.Ask("SELECT group_concat(b) FROM t"), "next");
}

// An error by which a garbled question is answered is no answer.
TEST(ExactlyOnce, ASettlementThatThePrimaryCouldNotMakeSenseOfSettlesNothing) {
  Setting s;
  s.GoDark();
  s.world().caller().LoseAnswer(1, "commit");
  EXPECT_EQ(s.Run(kInsert), kIoErrOutcomeUnknown);
  s.ComeBack();
  s.world().caller().FailCall(1, Code::kInvalid, "settle");
  EXPECT_NE(s.Run("INSERT INTO t(b) VALUES('next')"), SQLITE_OK);
  EXPECT_EQ(s.Pending(), IntentKind::kCommit);
  EXPECT_EQ(s.State(), "settling");
  EXPECT_EQ(s.Run("INSERT INTO t(b) VALUES('next')"), SQLITE_OK);
  EXPECT_EQ(s.Ask("SELECT group_concat(b) FROM t"), "which,next");
  s.ExpectEqualToPrimary();
}

// ---- A yes that cannot be written down

// Every descriptor of a file, turned into one that only reads, and back.
class ReadOnly {
 public:
  explicit ReadOnly(const std::string& path) {
    std::vector<int> found;
    for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      if (fs::read_symlink(entry.path(), gone) == path)
        found.push_back(std::stoi(entry.path().filename()));
    }
    for (int fd : found) {
      const int reads = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      saved_.emplace_back(fd, ::fcntl(fd, F_DUPFD_CLOEXEC, 100));
      ::dup2(reads, fd);
      ::close(reads);
    }
    EXPECT_FALSE(saved_.empty());
  }
  ~ReadOnly() {
    for (const auto& [fd, saved] : saved_) {
      ::dup2(saved, fd);
      ::close(saved);
    }
  }
  ReadOnly(const ReadOnly&) = delete;
  ReadOnly& operator=(const ReadOnly&) = delete;

 private:
  std::vector<std::pair<int, int>> saved_;
};

TEST(ExactlyOnce, AYesThatCannotBeWrittenDownIsAnUnknownOutcomeAndTheNextWriteBringsIt) {
  for (const bool answer_lost : {false, true}) {
    Setting s;
    std::optional<ReadOnly> read_only;
    if (answer_lost) s.world().caller().LoseAnswer(1, "commit");
    s.world().caller().set_before([&](const std::string& call) {
      if (call == "commit") read_only.emplace(s.path() + "-wal");
    });
    EXPECT_EQ(s.Run(kInsert), kIoErrOutcomeUnknown);
    read_only.reset();
    s.world().caller().set_before(nullptr);
    EXPECT_THAT(s.Ask("SELECT turso_last_error()"), HasSubstr("the primary has the transaction"));
    EXPECT_EQ(s.world().primary().commits(), 2);
    EXPECT_EQ(s.Ask("SELECT count(*) FROM t"), "0");
    EXPECT_EQ(s.Run("INSERT INTO t(b) VALUES('next')"), SQLITE_OK);
    EXPECT_EQ(s.Ask("SELECT group_concat(b) FROM t"), "which,next");
    s.ExpectEqualToPrimary();
  }
}

}  // namespace
}  // namespace turso
