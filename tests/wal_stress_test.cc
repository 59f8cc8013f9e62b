// Real processes on one database, killed at random: an applier, stock readers, checkpointers and
// writers.
//
// Environment: TURSO_STRESS_SECONDS, for each test (12 by default); TURSO_TEST_SEED.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>

#include "src/base/clock.h"
#include "src/wal/apply.h"
#include "tests/support/child.h"
#include "tests/support/connection.h"
#include "tests/support/crew.h"
#include "tests/support/host_wal_files.h"
#include "tests/support/page_source.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wal_scan.h"

namespace turso {
namespace {

constexpr uint32_t kPageSize = 4096;
constexpr int kViolation = 2;

Duration StressTime() {
  const char* given = std::getenv("TURSO_STRESS_SECONDS");
  return seconds(given ? std::atoi(given) : 12);
}

void Pause(Rng* rng, int low_microseconds, int high_microseconds) {
  ::usleep(static_cast<useconds_t>(Between(rng, low_microseconds, high_microseconds)));
}

int Violation(const std::string& what) {
  std::fprintf(stderr, "violation: %s\n", what.c_str());
  return kViolation;
}

// Only one byte apart is enough to say so, and where.
void ExpectSameFiles(const std::string& a, const std::string& b) {
  const Bytes left = ReadWholeFile(a);
  const Bytes right = ReadWholeFile(b);
  ASSERT_EQ(left.size(), right.size());
  const auto differ = std::mismatch(left.begin(), left.end(), right.begin()).first;
  EXPECT_EQ(differ - left.begin(), static_cast<ptrdiff_t>(left.size())) << "first difference";
}

// One random checkpoint. Mode TRUNCATE to PASSIVE; busy is no failure.
int CheckpointOnce(Connection* db, Rng* rng) {
  const int mode = Between(rng, SQLITE_CHECKPOINT_PASSIVE, SQLITE_CHECKPOINT_TRUNCATE);
  // On a connection that has read nothing yet it would do nothing.
  if (const int rc = db->Try("SELECT count(*) FROM sqlite_schema"); rc != SQLITE_OK)
    return (rc & 0xff) == SQLITE_BUSY ? SQLITE_BUSY : rc;
  const int rc = sqlite3_wal_checkpoint_v2(db->handle(), "main", mode, nullptr, nullptr);
  return (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED ? SQLITE_BUSY : rc;
}

// The transactions of a source, as page sets in a file.
class Recording {
 public:
  static void Write(const std::string& path, PageSource* source, Rng* rng, int64_t first,
                    int64_t last) {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    for (int64_t txn = first; txn <= last; ++txn) {
      RunTransaction(source->db(), rng, txn, Bulk::kLarge);
      const PageSet pages = source->Take();
      const uint32_t head[2] = {pages.db_size(), static_cast<uint32_t>(pages.size())};
      out.write(reinterpret_cast<const char*>(head), sizeof head);
      for (const auto& [page, image] : pages) {
        out.write(reinterpret_cast<const char*>(&page.value), 4);
        out.write(reinterpret_cast<const char*>(image), kPageSize);
      }
      if (*source->files()->WalSize() > (32u << 20)) source->Checkpoint();
    }
    EXPECT_TRUE(out.good());
  }

  explicit Recording(const std::string& path) : in_(path, std::ios::binary) {}
  PageSet Next() {
    uint32_t head[2] = {};
    in_.read(reinterpret_cast<char*>(head), sizeof head);
    PageSet pages(kPageSize);
    pages.set_db_size(head[0]);
    for (uint32_t i = 0; i < head[1]; ++i) {
      PageNo page;
      in_.read(reinterpret_cast<char*>(&page.value), 4);
      in_.read(reinterpret_cast<char*>(pages.Slot(page)), kPageSize);
    }
    EXPECT_TRUE(in_.good());
    return pages;
  }

 private:
  std::ifstream in_;
};

// A replica that only the applier writes.
class ReplicaStress : public ::testing::Test {
 protected:
  struct State {
    std::atomic<int> stop{0};
    std::atomic<int64_t> applied{0};
    std::atomic<int64_t> reads{0};
    std::atomic<int64_t> restarts{0};
    std::atomic<int64_t> frames{0};
    std::atomic<uint32_t> log_max{0};
    std::atomic<int64_t> checkpoints{0};
    std::atomic<int64_t> checkpoints_busy{0};
  };
  static constexpr int64_t kRound = 300;
  static constexpr int64_t kAwaited = 5;

  std::string replica() const { return dir_.File("replica.db"); }

  int Record(uint64_t seed, int64_t first) {
    Rng rng(seed);
    PageSource source(dir_.File("source.db"), kPageSize);
    if (first == 1) CopyDatabase(dir_.File("source.db"), replica());
    Recording::Write(dir_.File("recording"), &source, &rng, first, first + kRound - 1);
    source.Checkpoint();
    CopyDatabase(dir_.File("source.db"), dir_.File("expected.db"));
    return 0;
  }

  int ApplyAll(uint64_t seed, int64_t first) {
    Rng rng(seed);
    Recording recording(dir_.File("recording"));
    Result<std::unique_ptr<HostWalFiles>> files = HostWalFiles::Open(replica());
    if (!files.ok()) return Violation(files.status().text());
    Salts salts{};
    for (int64_t txn = first; txn < first + kRound; ++txn) {
      const PageSet pages = recording.Next();
      if (txn <= state_->applied) continue;
      if (Between(&rng, 0, 19) == 0) {
        files->reset();
        files = HostWalFiles::Open(replica());
        if (!files.ok()) return Violation(files.status().text());
      }
      const Result<WalIndexHeader> header = ApplyLocked(files->get(), pages, {Sync::kNo, {}, {}});
      if (!header.ok()) return Violation(header.status().text());
      state_->applied = txn;
      state_->frames += static_cast<int64_t>(pages.size());
      state_->restarts += salts != Salts{} && header->salts != salts;
      salts = header->salts;
      if (header->frames > state_->log_max) state_->log_max = header->frames;
    }
    return 0;
  }

  int ReadUntilStopped(uint64_t seed) {
    Rng rng(seed);
    int64_t seen_before = 0;
    while (!state_->stop) {
      Connection db(replica());
      // With little cache a snapshot is read from the files again and again.
      db.Run("PRAGMA cache_size=" + std::to_string(Between(&rng, 1, 100)));
      for (int i = Between(&rng, 1, 200); i > 0 && !state_->stop; --i) {
        const int64_t applied = state_->applied;
        if (db.Try("BEGIN") != SQLITE_OK) return Violation(sqlite3_errmsg(db.handle()));
        int64_t seen = 0;
        std::string wrong = CheckWorkload(&db, &seen);
        if (!wrong.empty()) return Violation(wrong);
        if (seen < applied || seen < seen_before)
          return Violation("saw " + std::to_string(seen) + " after " +
                           std::to_string(std::max(applied, seen_before)));
        seen_before = seen;
        if (Between(&rng, 0, 29) == 0) {
          Pause(&rng, 50000, 350000);
          int64_t again = 0;
          wrong = CheckWorkload(&db, &again);
          if (!wrong.empty() || again != seen) return Violation("a snapshot moved: " + wrong);
        }
        if (Between(&rng, 0, 99) == 0 && db.Text("PRAGMA integrity_check") != "ok")
          return Violation("integrity_check");
        if (db.Try("COMMIT") != SQLITE_OK) return Violation(sqlite3_errmsg(db.handle()));
        ++state_->reads;
        Pause(&rng, 0, 3000);
      }
    }
    return 0;
  }

  int CheckpointUntilStopped(uint64_t seed) {
    Rng rng(seed);
    while (!state_->stop) {
      Connection db(replica(), 20);
      for (int i = Between(&rng, 1, 100); i > 0 && !state_->stop; --i) {
        const int rc = CheckpointOnce(&db, &rng);
        if (rc != SQLITE_OK && rc != SQLITE_BUSY) return Violation(sqlite3_errstr(rc));
        ++(rc == SQLITE_OK ? state_->checkpoints : state_->checkpoints_busy);
        Pause(&rng, 0, 30000);
      }
    }
    return 0;
  }

  int ExpectAsSource() {
    Connection db(replica());
    EXPECT_EQ(db.Text("PRAGMA integrity_check"), "ok");
    int64_t seen = 0;
    EXPECT_EQ(CheckWorkload(&db, &seen), "");
    EXPECT_EQ(seen, state_->applied);
    EXPECT_EQ(db.Text("PRAGMA wal_checkpoint(TRUNCATE)"), "0");
    ExpectSameFiles(replica(), dir_.File("expected.db"));
    return 0;
  }

  TempDir dir_;
  Shared<State> state_;
};

TEST_F(ReplicaStress, IsTheSourceByteForByteWhoeverReadsCheckpointsAndDies) {
  const uint64_t seed = TestSeed();
  Rng rng(seed);
  const Instant deadline = Instant::Now() + StressTime();
  int64_t transactions = 0;
  int kills = 0;
  do {
    ASSERT_EQ(RunInChild([&, s = rng()] { return Record(s, transactions + 1); }), 0);
    state_->stop = 0;
    Crew crew(rng());
    crew.Add("applier", [&](uint64_t s) { return ApplyAll(s, transactions + 1); });
    for (int i = 0; i < 3; ++i) crew.Add("reader", [&](uint64_t s) { return ReadUntilStopped(s); });
    for (int i = 0; i < 2; ++i)
      crew.Add("checkpointer", [&](uint64_t s) { return CheckpointUntilStopped(s); });
    const int64_t last = transactions + kRound;
    while (crew.Look() && state_->applied < last) {
      Pause(&rng, 2000, 40000);
      crew.KillOne();
      if (Between(&rng, 0, 1) == 0) continue;
      // On a slow machine nothing but beginnings would come between the deaths.
      const int64_t awaited = std::min(state_->applied + kAwaited, last);
      while (crew.Look() && state_->applied < awaited) Pause(&rng, 1000, 2000);
    }
    state_->stop = 1;
    if (!crew.failed()) crew.WaitForAll();
    ASSERT_FALSE(crew.failed());
    transactions += kRound;
    kills += crew.kills();
    ASSERT_EQ(RunInChild([&] { return ExpectAsSource(); }), 0);
  } while (Instant::Now() < deadline);
  std::printf(
      "%lld transactions, %lld frames, at most %u in the log, %lld restarts, %lld reads, %lld "
      "checkpoints "
      "(%lld busy), %d kills\n",
      static_cast<long long>(transactions), static_cast<long long>(state_->frames),
      state_->log_max.load(), static_cast<long long>(state_->restarts),
      static_cast<long long>(state_->reads), static_cast<long long>(state_->checkpoints),
      static_cast<long long>(state_->checkpoints_busy), kills);
}

// A database that stock SQLite and the applier write by turns.
//
// A stock writer restarts the log without the CKPT lock, which a checkpoint at the same moment does
// not survive before SQLite 3.51.3 (https://sqlite.org/wal.html#walresetbug). So the writers share
// a lock of the test's own that checkpointers take alone; the applier needs none, it has CKPT when
// it restarts.
class MixedStress : public ::testing::Test {
 protected:
  static constexpr int kWriters = 3;  // Number 0 is the applier.
  static constexpr int64_t kTotal = 1000000;
  struct State {
    std::atomic<int> stop{0};
    std::atomic<int64_t> commits[kWriters]{};
    std::atomic<int64_t> rollbacks{0};
    std::atomic<int64_t> reads{0};
    std::atomic<int64_t> checkpoints{0};
    std::atomic<int64_t> images_checked{0};
    std::atomic<uint32_t> log_max{0};
  };

  // The gate between stock writers and checkpointers. Who waits for it keeps the others from
  // overtaking. A death opens it.
  class Gate {
   public:
    Gate(const std::string& path, int operation) : fd_(Open(path)) {
      const int turn = Open(path + "-turn");
      Lock(turn, LOCK_EX);
      Lock(fd_, operation);
      ::close(turn);
    }
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;
    ~Gate() { ::close(fd_); }

   private:
    static int Open(const std::string& path) {
      return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    }
    static void Lock(int fd, int operation) {
      while (::flock(fd, operation) != 0 && errno == EINTR) continue;
    }

    int fd_;
  };

  std::string path() const { return dir_.File("mixed.db"); }
  std::string gate() const { return dir_.File("gate"); }

  int Create() {
    Connection db(path());
    db.Run("PRAGMA auto_vacuum=INCREMENTAL");
    EXPECT_EQ(db.Text("PRAGMA journal_mode=WAL"), "wal");
    db.Run(
        "CREATE TABLE account(id INTEGER PRIMARY KEY, v INT);"
        "CREATE TABLE counter(id INTEGER PRIMARY KEY, n INT);"
        "CREATE TABLE t(id INTEGER PRIMARY KEY, size INT, pad BLOB);"
        "CREATE INDEX t_size ON t(size);"
        "CREATE TABLE rows(n INT); INSERT INTO rows VALUES(0);"
        "INSERT INTO counter VALUES(0,0),(1,0),(2,0);"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<100)"
        " INSERT INTO account SELECT i, 10000 FROM n");
    return 0;
  }

  // The statements of one transaction of `writer`, without BEGIN and COMMIT; without ROLLBACK TO,
  // after which stock SQLite 3.40 may commit what a recovery does not find (vfs/wal_chain.cc). They
  // keep the sum of the accounts, and rows.n the number of rows in t.
  static std::string RandomChanges(Rng* rng, int writer) {
    std::string sql = "UPDATE counter SET n=n+1 WHERE id=" + std::to_string(writer) + ";";
    for (int i = Between(rng, 1, 5); i > 0; --i) {
      const std::string amount = std::to_string(Between(rng, 1, 100));
      sql += "UPDATE account SET v=v-" + amount +
             " WHERE id=" + std::to_string(Between(rng, 1, 100)) + ";";
      sql += "UPDATE account SET v=v+" + amount +
             " WHERE id=" + std::to_string(Between(rng, 1, 100)) + ";";
    }
    const std::string rows =
        std::to_string(Between(rng, 0, 19) == 0 ? Between(rng, 200, 900) : Between(rng, 1, 15));
    const std::string bytes = std::to_string(Between(rng, 1, 1500));
    sql += "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<" + rows +
           ") INSERT INTO t(size,pad) SELECT " + bytes + ",randomblob(" + bytes + ") FROM n;";
    switch (Between(rng, 0, 5)) {
      case 0: sql += "UPDATE t SET pad=randomblob(size);"; break;
      case 1:
        sql +=
            "SAVEPOINT a; UPDATE t SET pad=randomblob(size) WHERE id%2; RELEASE a;"
            "DELETE FROM t WHERE id%7=" +
            std::to_string(Between(rng, 0, 6)) + ";";
        break;
      case 2:
        sql += "DELETE FROM t WHERE id<(SELECT max(id)-150 FROM t); PRAGMA incremental_vacuum;";
        break;
      default: break;
    }
    return sql + "UPDATE rows SET n=(SELECT count(*) FROM t)";
  }

  static std::string Wrong(Connection* db) {
    const std::string found = db->Text(
        "SELECT (SELECT sum(v) FROM account) || ' ' || ((SELECT n FROM rows)=(SELECT count(*) FROM "
        "t NOT INDEXED))"
        " || ((SELECT n FROM rows)=(SELECT count(*) FROM t INDEXED BY t_size WHERE size>0))"
        " || (SELECT count(*) FROM t WHERE length(pad)<>size)");
    return found == std::to_string(kTotal) + " 110" ? "" : "torn state " + found;
  }

  static std::string CounterOf(int writer) {
    return "SELECT n FROM counter WHERE id=" + std::to_string(writer);
  }

  // A transaction whose writer died on the way may be there or not, until the writer's next one.
  bool Plausible(int writer, int64_t found, bool committed_since_start) {
    const int64_t known = state_->commits[writer];
    return found == known || (!committed_since_start && found == known + 1);
  }

  int WriteUntilStopped(uint64_t seed, int writer) {
    Rng rng(seed);
    bool committed = false;
    while (!state_->stop) {
      Connection db(path());
      db.Run("PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=" +
             std::to_string(Between(&rng, 1, 20)));
      for (int i = Between(&rng, 1, 50); i > 0 && !state_->stop; --i) {
        const Gate shared(gate(), LOCK_SH);
        if (db.Try("BEGIN IMMEDIATE") != SQLITE_OK) return Violation(sqlite3_errmsg(db.handle()));
        const int64_t found = db.Int(CounterOf(writer));
        if (!Plausible(writer, found, committed))
          return Violation("counter " + std::to_string(writer) + " is " + std::to_string(found));
        if (db.Try(RandomChanges(&rng, writer)) != SQLITE_OK)
          return Violation(sqlite3_errmsg(db.handle()));
        if (Between(&rng, 0, 2) == 0) {
          db.Run("ROLLBACK");
          ++state_->rollbacks;
          continue;
        }
        if (db.Try("COMMIT") != SQLITE_OK) return Violation(sqlite3_errmsg(db.handle()));
        state_->commits[writer] = found + 1;
        committed = true;
      }
    }
    return 0;
  }

  // Changes an image in memory with SQLite, and returns the pages that are new.
  static Result<PageSet> ChangeInMemory(Bytes* image, const std::string& sql,
                                        const std::string& counter, int64_t* found) {
    const Bytes before = *image;
    // A database in memory has no log.
    (*image)[18] = (*image)[19] = 1;
    Connection db(":memory:");
    unsigned char* copy = static_cast<unsigned char*>(sqlite3_malloc64(image->size()));
    std::copy(image->begin(), image->end(), copy);
    const sqlite3_int64 size = static_cast<sqlite3_int64>(image->size());
    if (sqlite3_deserialize(db.handle(), "main", copy, size, size,
                            SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE) !=
        SQLITE_OK)
      return Status(Code::kCorrupt, "deserialize");
    if (db.Text("PRAGMA quick_check") != "ok") return Status(Code::kCorrupt, "quick_check");
    if (std::string wrong = Wrong(&db); !wrong.empty()) return Status(Code::kCorrupt, wrong);
    *found = db.Int(counter);
    db.Run("BEGIN;" + sql + ";COMMIT");
    Bytes after = db.Image();
    after[18] = after[19] = 2;
    PageSet pages(kPageSize);
    for (size_t at = 0; at < after.size(); at += kPageSize) {
      if (at + kPageSize > before.size() || std::memcmp(&after[at], &before[at], kPageSize) != 0)
        pages.Put({static_cast<uint32_t>(at / kPageSize + 1)}, &after[at]);
    }
    pages.set_db_size(static_cast<uint32_t>(after.size() / kPageSize));
    return pages;
  }

  Status ApplyOnce(HostWalFiles* files, Rng* rng, bool committed) {
    Result<WalIndexHeader> header = CurrentHeader(files);
    if (!header.ok()) return header.status();
    uint64_t size = uint64_t{header->db_size} * kPageSize;
    if (header->frames == 0) {
      Result<uint64_t> file_size = files->DatabaseSize();
      if (!file_size.ok()) return file_size.status();
      size = *file_size;
    }
    Bytes image(size);
    for (uint32_t page = 1; page <= size / kPageSize; ++page)
      TURSO_RETURN_IF_ERROR(
          ReadPage(files, *header, {page},
                   MutableByteView(image).subspan((page - 1) * kPageSize, kPageSize)));
    int64_t found = 0;
    Result<PageSet> pages = ChangeInMemory(&image, RandomChanges(rng, 0), CounterOf(0), &found);
    if (!pages.ok()) return pages.status();
    ++state_->images_checked;
    if (!Plausible(0, found, committed))
      return Status(Code::kCorrupt, "counter 0 is " + std::to_string(found));
    header = Apply(files, *pages, {Sync::kNo, {}, {}});
    if (!header.ok()) return header.status();
    state_->commits[0] = found + 1;
    if (header->frames > state_->log_max) state_->log_max = header->frames;
    return OkStatus();
  }

  int ApplyUntilStopped(uint64_t seed) {
    Rng rng(seed);
    bool committed = false;
    while (!state_->stop) {
      Result<std::unique_ptr<HostWalFiles>> files = HostWalFiles::Open(path());
      if (!files.ok()) return Violation(files.status().text());
      for (int i = Between(&rng, 1, 100); i > 0 && !state_->stop; --i) {
        // Recovers where necessary, which cannot be done with WRITE held.
        if (Result<WalIndexHeader> header = CurrentHeader(files->get()); !header.ok())
          return Violation(header.status().text());
        if (Status locked = LockWrite(files->get()); !locked.ok()) return Violation(locked.text());
        Status applied = Status(Code::kBusy, "");
        const Result<std::optional<WalIndexHeader>> header = WalIndex(files->get()).ReadHeader();
        if (header.ok() && header->has_value()) applied = ApplyOnce(files->get(), &rng, committed);
        (*files)->Unlock(WalLock::kWrite, 1);
        if (!applied.ok() && applied.code() != Code::kBusy) return Violation(applied.text());
        committed = committed || applied.ok();
        Pause(&rng, 0, 5000);
      }
    }
    return 0;
  }

  int ReadUntilStopped(uint64_t seed) {
    Rng rng(seed);
    while (!state_->stop) {
      Connection db(path());
      db.Run("PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=" +
             std::to_string(Between(&rng, 1, 100)));
      for (int i = Between(&rng, 1, 100); i > 0 && !state_->stop; --i) {
        int64_t known[kWriters];
        for (int k = 0; k < kWriters; ++k) known[k] = state_->commits[k];
        if (db.Try("BEGIN") != SQLITE_OK) return Violation(sqlite3_errmsg(db.handle()));
        const bool twice = Between(&rng, 0, 19) == 0;
        for (int round = 0; round <= twice; ++round) {
          if (std::string wrong = Wrong(&db); !wrong.empty()) return Violation(wrong);
          for (int k = 0; k < kWriters; ++k) {
            const int64_t found = db.Int(CounterOf(k));
            if (found < known[k] || (round == 1 && found != known[k]))
              return Violation("counter " + std::to_string(k) + " is " + std::to_string(found) +
                               ", not " + std::to_string(known[k]));
            known[k] = found;
          }
          if (twice && round == 0) Pause(&rng, 20000, 250000);
        }
        db.Run("COMMIT");
        ++state_->reads;
        Pause(&rng, 0, 3000);
      }
    }
    return 0;
  }

  int CheckpointUntilStopped(uint64_t seed) {
    Rng rng(seed);
    while (!state_->stop) {
      Connection db(path(), 20);
      for (int i = Between(&rng, 1, 50); i > 0 && !state_->stop; --i) {
        {
          const Gate alone(gate(), LOCK_EX);
          const int rc = CheckpointOnce(&db, &rng);
          if (rc != SQLITE_OK && rc != SQLITE_BUSY) return Violation(sqlite3_errstr(rc));
          state_->checkpoints += rc == SQLITE_OK;
        }
        Pause(&rng, 0, 100000);
      }
    }
    return 0;
  }

  int ExpectAllThere() {
    Bytes image;
    for (int round = 0; round < 2; ++round) {
      Connection db(path());
      EXPECT_EQ(db.Text("PRAGMA integrity_check"), "ok");
      EXPECT_EQ(Wrong(&db), "");
      for (int k = 0; k < kWriters; ++k) {
        EXPECT_EQ(db.Int(CounterOf(k)), state_->commits[k]) << "writer " << k;
        EXPECT_GT(state_->commits[k], 0) << "writer " << k;
      }
      EXPECT_TRUE(round == 0 || db.Image() == image);
      image = db.Image();
      EXPECT_EQ(db.Text("PRAGMA wal_checkpoint(TRUNCATE)"), "0");
    }
    return 0;
  }

  TempDir dir_;
  Shared<State> state_;
};

TEST_F(MixedStress, LosesNothingOfStockWritersAndTheApplierWhoeverDies) {
  const uint64_t seed = TestSeed();
  Rng rng(seed);
  ASSERT_EQ(RunInChild([&] { return Create(); }), 0);
  const Instant deadline = Instant::Now() + StressTime();
  Crew crew(rng());
  crew.Add("applier", [&](uint64_t s) { return ApplyUntilStopped(s); });
  for (int writer = 1; writer < kWriters; ++writer)
    crew.Add("writer", [&, writer](uint64_t s) { return WriteUntilStopped(s, writer); });
  for (int i = 0; i < 2; ++i) crew.Add("reader", [&](uint64_t s) { return ReadUntilStopped(s); });
  crew.Add("checkpointer", [&](uint64_t s) { return CheckpointUntilStopped(s); });
  while (crew.Look() && Instant::Now() < deadline) {
    Pause(&rng, 2000, 60000);
    crew.KillOne();
  }
  state_->stop = 1;
  if (!crew.failed()) crew.WaitForAll();
  ASSERT_FALSE(crew.failed());
  std::printf(
      "%lld applied, %lld and %lld committed by SQLite, %lld rolled back, %lld reads, at most %u "
      "frames in the "
      "log, %lld checkpoints, %d kills\n",
      static_cast<long long>(state_->commits[0]), static_cast<long long>(state_->commits[1]),
      static_cast<long long>(state_->commits[2]), static_cast<long long>(state_->rollbacks),
      static_cast<long long>(state_->reads), state_->log_max.load(),
      static_cast<long long>(state_->checkpoints), crew.kills());
  EXPECT_EQ(RunInChild([&] { return ExpectAllThere(); }), 0);
}

}  // namespace
}  // namespace turso
