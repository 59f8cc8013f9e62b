#include "src/wal/newest_snapshots.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "tests/support/connection.h"
#include "tests/support/host_wal_files.h"
#include "tests/support/temp_dir.h"

namespace turso {
namespace {

class NewestSnapshotsTest : public ::testing::Test {
 protected:
  NewestSnapshotsTest() : path_(dir_.File("test.db")), db_(path_) {
    db_.Run("PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(a)");
    Commit();
    Result<std::unique_ptr<HostWalFiles>> files = HostWalFiles::Open(path_);
    EXPECT_TRUE(files.ok()) << files.status().text();
    files_ = std::move(*files);
    EXPECT_TRUE(LockWrite(files_.get()).ok());
    files_->Unlock(WalLock::kWrite, 1);
  }

  void Commit() { db_.Run("INSERT INTO t VALUES(1)"); }
  std::unique_ptr<Connection> Reader() {
    auto reader = std::make_unique<Connection>(path_);
    reader->Run("BEGIN; SELECT * FROM t");
    return reader;
  }
  bool KeepsOff() {
    EXPECT_TRUE(LockWrite(files_.get()).ok());
    NewestSnapshots snapshots(files_.get());
    Result<bool> off = snapshots.KeepOff();
    EXPECT_TRUE(off.ok()) << off.status().text();
    snapshots.Release();
    files_->Unlock(WalLock::kWrite, 1);
    return off.ok() && *off;
  }

  TempDir dir_;
  const std::string path_;
  Connection db_;
  std::unique_ptr<HostWalFiles> files_;
};

TEST_F(NewestSnapshotsTest, AreThoseOfOpenReadersOfTheNewestStateAlone) {
  EXPECT_TRUE(KeepsOff());
  auto reader = Reader();
  EXPECT_FALSE(KeepsOff());
  Commit();
  EXPECT_TRUE(KeepsOff());
  auto second = Reader();
  EXPECT_FALSE(KeepsOff());
  second->Run("COMMIT");
  EXPECT_TRUE(KeepsOff());
  reader->Run("COMMIT");
  EXPECT_TRUE(KeepsOff());
}

TEST_F(NewestSnapshotsTest, AreAssumedWhereEveryMarkIsHeld) {
  std::vector<std::unique_ptr<Connection>> readers;
  for (int i = 0; i < 4; i++) {
    readers.push_back(Reader());
    Commit();
  }
  auto hidden = Reader();  // By a mark of an older state.
  EXPECT_FALSE(KeepsOff());
  readers.clear();
  hidden.reset();
  EXPECT_TRUE(KeepsOff());
}

TEST_F(NewestSnapshotsTest, DoNotBeginWhileTheyAreKeptOff) {
  ASSERT_TRUE(LockWrite(files_.get()).ok());
  NewestSnapshots snapshots(files_.get());
  Result<bool> off = snapshots.KeepOff();
  ASSERT_TRUE(off.ok() && *off);
  std::atomic<bool> released{false}, begun_before{false};
  std::thread reader([&] {
    Connection other(path_);
    other.Run("SELECT * FROM t");
    begun_before = !released.load();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // It only lets a wrong reader in.
  released = true;
  snapshots.Release();
  files_->Unlock(WalLock::kWrite, 1);
  reader.join();
  EXPECT_FALSE(begun_before);
}

}  // namespace
}  // namespace turso
