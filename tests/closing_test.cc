// A replica that one thread closes while another asks for its status, as turso_status does with
// every replica of the process.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sqlite3.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "extension/turso_vfs.h"
#include "src/replica/replica.h"
#include "tests/support/fake_world.h"
#include "tests/support/scripted_wal_files.h"
#include "tests/support/temp_dir.h"
#include "vfs/vfs.h"

namespace turso {
namespace {

using ::testing::ElementsAre;
using OnCall = std::function<Status(const std::string& call)>;

// Files that tell of every call on them.
class ToldFiles : public ScriptedWalFiles {
 public:
  ToldFiles(std::unique_ptr<WalFiles> files, OnCall told)
      : ScriptedWalFiles(files.get()), files_(std::move(files)) {
    on_call = std::move(told);
  }

 private:
  std::unique_ptr<WalFiles> files_;
};

class Host : public ReplicaHost {
 public:
  Host(std::string path, OnCall told) : path_(std::move(path)), told_(std::move(told)) {}
  Result<std::unique_ptr<WalFiles>> OpenFiles() override {
    TURSO_RETURN_IF_ERROR(told_("OpenFiles"));
    Result<std::unique_ptr<WalFiles>> files = OpenWalFiles(path_);
    if (!files.ok()) return files.status();
    return std::unique_ptr<WalFiles>(std::make_unique<ToldFiles>(*std::move(files), told_));
  }
  Status RecoverBySqlite() override { return Status(Code::kBusy, "nothing is to be recovered"); }
  Status CheckpointBySqlite() override { return OkStatus(); }
  Result<Found> LookAtDatabase() override { return Found{4096, true}; }
  Result<bool> IsUnused() override { return true; }
  Status EnterWalMode() override { return OkStatus(); }
  ScratchMaker* scratch() override { return nullptr; }

 private:
  const std::string path_;
  const OnCall told_;
};

class Closing : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(turso_vfs_register(0), SQLITE_OK);
    // Stays open: with the last connection the wal-index would go, which here nobody makes anew.
    const std::string uri = "file:" + path_ + "?vfs=turso&sync_interval=off&url=" + options_.url;
    ASSERT_EQ(
        sqlite3_open_v2(uri.c_str(), &db_,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, nullptr),
        SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(db_, "CREATE TABLE t(a)", nullptr, nullptr, nullptr), SQLITE_OK);
  }
  void TearDown() override { sqlite3_close(db_); }

  std::shared_ptr<Replica> Open(OnCall told) {
    Result<std::shared_ptr<Replica>> replica =
        Replica::Open(path_, options_, std::make_unique<Host>(path_, std::move(told)));
    EXPECT_TRUE(replica.ok()) << replica.status().text();
    return *replica;
  }

  FakeWorld world_;
  TempDir dir_;
  std::string path_ = dir_.File("app.db");
  Options options_ = [] {
    Options options;
    options.url = "http://primary.test/app";
    options.sync = SyncMode::kOff;
    return options;
  }();
  sqlite3* db_ = nullptr;
};

TEST_F(Closing, AReplicaThatIsClosedOpensNoFileToTellItsStatus) {
  std::atomic<int> opened{0};
  const std::shared_ptr<Replica> replica = Open([&](const std::string& call) {
    if (call == "OpenFiles") opened++;
    return OkStatus();
  });
  EXPECT_GT(replica->status().page_count, 0);
  EXPECT_EQ(opened, 1);
  replica->Stop();
  const ReplicaStatus status = replica->status();
  EXPECT_EQ(status.page_count, 0);
  EXPECT_EQ(status.url, options_.url);
  EXPECT_EQ(opened, 1);
}

// Whether the kernel has that thread of ours waiting.
bool Waits(int thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  const std::string stat(std::istreambuf_iterator<char>(file), {});
  return stat.find(") S ") != std::string::npos;
}

void StayOn(int processor) {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(processor, &only);
  sched_setaffinity(0, sizeof only, &only);
}

// The one who closes waits for the one who asks, and goes on the moment that it can: both are on
// one processor, where a thread of the idle class gives way at once.
TEST_F(Closing, TheFilesStayOpenWhileTheStatusIsLookedUp) {
  constexpr int kRounds = 5;
  const int processor = sched_getcpu();
  for (int round = 0; round < kRounds; round++) {
    std::atomic<int> closer_id{0};
    std::atomic<bool> inside{false};
    thread_local std::vector<std::string>* calls = nullptr;  // Of the one who asks.
    std::vector<std::string> asked;
    const std::shared_ptr<Replica> replica = Open([&](const std::string& call) {
      if (calls == nullptr) return OkStatus();
      calls->push_back(call);
      // The wal-index is read for the revision, and then for the size.
      if (call != "Barrier" || std::count(calls->begin(), calls->end(), call) != 2)
        return OkStatus();
      inside = true;
      while (closer_id == 0 || !Waits(closer_id)) std::this_thread::yield();
      return OkStatus();
    });
    std::thread asker([&] {
      StayOn(processor);
      const sched_param none{};
      sched_setscheduler(0, SCHED_IDLE, &none);
      calls = &asked;
      EXPECT_GT(replica->status().page_count, 0);
    });
    std::thread closer([&] {
      StayOn(processor);
      while (!inside) std::this_thread::yield();
      closer_id = static_cast<int>(syscall(SYS_gettid));
      replica->Stop();
    });
    asker.join();
    closer.join();
    EXPECT_THAT(asked, ElementsAre("OpenFiles", "MapIndex", "Barrier", "MapIndex", "Barrier",
                                   "DatabaseSize"));
  }
}

}  // namespace
}  // namespace turso
