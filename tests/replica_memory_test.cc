// A replica for which memory runs out.

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "extension/turso_vfs.h"
#include "tests/support/failing_memory.h"
#include "tests/support/fake_world.h"
#include "tests/support/temp_dir.h"

namespace turso {
namespace {

class ReplicaWithoutMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(turso_vfs_register(0), SQLITE_OK);
    const std::string uri = "file:" + dir_.File("app.db") +
                            "?vfs=turso&url=http://primary.test/app&sync_interval=off&timeout=1s";
    for (sqlite3** db : {&db_, &other_}) {
      ASSERT_EQ(
          sqlite3_open_v2(uri.c_str(), db,
                          SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, nullptr),
          SQLITE_OK);
      // What is left locked is not waited for.
      sqlite3_busy_timeout(*db, 0);
    }
    ASSERT_EQ(Run(db_, "CREATE TABLE t(a, b)"), SQLITE_OK);
  }
  void TearDown() override {
    sqlite3_close(db_);
    sqlite3_close(other_);
  }

  static int Run(sqlite3* db, const char* sql) {
    return sqlite3_exec(db, sql, nullptr, nullptr, nullptr);
  }
  // A commit at the primary that does not come from here: of no change, but the page comes.
  void ElsewhereCommit() {
    const Bytes file = world_.primary().File();
    PageSet pages(4096);
    pages.set_db_size(static_cast<uint32_t>(file.size() / 4096));
    pages.Put(PageNo{1}, file.data());
    world_.primary().Write(pages);
  }
  static int Checkpoint(sqlite3* db) {
    int frames = 0, moved = 0;
    return sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_PASSIVE, &frames, &moved);
  }

  FakeWorld world_;
  TempDir dir_;
  sqlite3* db_ = nullptr;
  sqlite3* other_ = nullptr;
};

TEST_F(ReplicaWithoutMemory, NothingThatFailsForWantOfItLeavesALock) {
  for (const char* doing : {"SELECT turso_sync()", "INSERT INTO t VALUES(3, 4)"}) {
    int failures = 0;
    for (int n = 1, untouched = 0; untouched < 3; n++) {
      ElsewhereCommit();
      g_failing_request = n;
      const int done = Run(db_, doing);
      untouched = g_failing_request > 0 ? untouched + 1 : 0;
      g_failing_request = 0;
      failures += done == SQLITE_NOMEM || done == SQLITE_IOERR ? 1 : 0;
      // Where the primary's pages are not here yet, the write is refused and then catches up.
      int wrote = SQLITE_BUSY;
      for (int i = 0; i < 3 && wrote == SQLITE_BUSY; i++)
        wrote = Run(other_, "INSERT INTO t VALUES(1, 2)");
      ASSERT_EQ(wrote, SQLITE_OK) << doing << ", request " << n << ": " << sqlite3_errmsg(other_);
      ASSERT_EQ(Checkpoint(other_), SQLITE_OK) << doing << ", request " << n;
    }
    EXPECT_GT(failures, 10) << doing;
  }
}

}  // namespace
}  // namespace turso
