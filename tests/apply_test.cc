#include "src/wal/apply.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "tests/support/connection.h"
#include "tests/support/host_wal_files.h"
#include "tests/support/memory_wal_files.h"
#include "tests/support/page_source.h"
#include "tests/support/scripted_wal_files.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wal_scan.h"

namespace turso {
namespace {

// The whole database in the state that `header` describes.
Bytes ImageAt(WalFiles* files, const WalIndexHeader& header) {
  Bytes image(size_t{header.db_size} * header.page_size);
  for (uint32_t page = 1; page <= header.db_size; ++page) {
    const Status status = ReadPage(
        files, header, {page},
        MutableByteView(image).subspan(size_t{page - 1} * header.page_size, header.page_size));
    EXPECT_TRUE(status.ok()) << status.text();
  }
  return image;
}

void ApplyToImage(const PageSet& pages, Bytes* image) {
  image->resize(size_t{pages.db_size()} * pages.page_size());
  for (const auto& [page, bytes] : pages)
    std::copy_n(
        bytes, pages.page_size(),
        image->begin() + static_cast<ptrdiff_t>(size_t{page.value - 1} * pages.page_size()));
}

std::unique_ptr<HostWalFiles> OpenFiles(const std::string& path) {
  Result<std::unique_ptr<HostWalFiles>> files = HostWalFiles::Open(path);
  EXPECT_TRUE(files.ok()) << files.status().text();
  return std::move(*files);
}

// What SQLite writes, seen through ReadPage and CollectFrames.
class PagesOfSqlite : public ::testing::TestWithParam<uint32_t> {
 protected:
  PagesOfSqlite() : rng_(TestSeed()), source_(dir_.File("source.db"), GetParam()) {
    db().Run("PRAGMA cache_size=" + std::to_string(Between(&rng_, 1, 10)));
    for (txn_ = 1; txn_ <= 5; ++txn_) RunTransaction(&db(), &rng_, txn_, Bulk::kSmall);
    source_.Take();
  }
  Connection& db() { return *source_.db(); }
  HostWalFiles* files() { return source_.files(); }

  TempDir dir_;
  Rng rng_;
  PageSource source_;
  int64_t txn_ = 0;
};

TEST_P(PagesOfSqlite, AreReadAsSqliteReadsThemAndCollectedAsTheTransactionChangedThem) {
  Bytes image = db().Image();
  int collected = 0;
  for (int i = 0; i < 150; ++i) {
    RunTransaction(&db(), &rng_, ++txn_, Bulk::kSmall);
    if (i % 40 == 39) db().Run("VACUUM");
    const Bytes expected = db().Image();
    const Result<WalIndexHeader> header = CurrentHeader(files());
    ASSERT_TRUE(header.ok());
    ASSERT_EQ(ImageAt(files(), *header), expected) << "after transaction " << txn_;

    const PageSet pages = source_.Take();
    collected += static_cast<int>(pages.size());
    ApplyToImage(pages, &image);
    ASSERT_EQ(image, expected) << "after transaction " << txn_;
    if (Between(&rng_, 0, 9) == 0) {
      const char* const modes[] = {"PASSIVE", "FULL", "RESTART", "TRUNCATE"};
      EXPECT_EQ(
          db().Text(std::string("PRAGMA wal_checkpoint(") + modes[Between(&rng_, 0, 3)] + ")"),
          "0");
    }
  }
  EXPECT_GT(collected, 300);
}

TEST_P(PagesOfSqlite, AreThoseOfTheLastCommitWhileAWriterSpillsAndRollsBack) {
  int spilled = 0;
  db().Run("PRAGMA cache_size=1; UPDATE t SET pad=randomblob(20000)");
  for (int i = 0; i < 20; ++i) {
    const Bytes expected = db().Image();
    const WalIndexHeader header = *CurrentHeader(files());
    const uint64_t size = *files()->WalSize();
    db().Run("BEGIN IMMEDIATE");
    db().Run("UPDATE t SET pad=randomblob(900) WHERE abs(random()%3)=0");
    ASSERT_EQ(ImageAt(files(), header), expected);
    db().Run("SAVEPOINT a; DELETE FROM t WHERE abs(random()%2)=0");
    ASSERT_EQ(ImageAt(files(), header), expected);
    db().Run("ROLLBACK TO a; UPDATE t SET v=v+1");
    ASSERT_EQ(ImageAt(files(), header), expected);
    spilled += *files()->WalSize() > size;
    db().Run(i % 2 == 0 ? "ROLLBACK" : "COMMIT");
    if (i % 2 == 0) {
      ASSERT_EQ(ImageAt(files(), header), expected);
    }
    if (i % 5 == 4) {
      EXPECT_EQ(db().Text("PRAGMA wal_checkpoint(TRUNCATE)"), "0");
    }
  }
  EXPECT_GT(spilled, 0);
}

TEST_P(PagesOfSqlite, OfAnOldStateAreThereUnderAReadLock) {
  Connection reader(dir_.File("source.db"));
  reader.Run("BEGIN");
  int64_t seen = 0;
  EXPECT_EQ(CheckWorkload(&reader, &seen), "");
  const WalIndexHeader header = *CurrentHeader(files());
  const Bytes expected = reader.Image();
  for (int i = 0; i < 30; ++i) {
    RunTransaction(&db(), &rng_, ++txn_, Bulk::kSmall);
    if (i % 10 == 0) db().Text("PRAGMA wal_checkpoint(PASSIVE)");
  }
  EXPECT_EQ(ImageAt(files(), header), expected);
  EXPECT_EQ(reader.Image(), expected);
  EXPECT_NE(db().Image(), expected);
}

INSTANTIATE_TEST_SUITE_P(PageSizes, PagesOfSqlite, ::testing::Values(512u, 4096u, 65536u));

// A database, its replica, and page sets to apply.
class ApplyTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kPageSize = 1024;

  ApplyTest() : rng_(TestSeed()), source_(dir_.File("source.db"), kPageSize) {
    CopyDatabase(dir_.File("source.db"), path());
    files_ = OpenFiles(path());
    reader_ = std::make_unique<Connection>(path());
    EXPECT_EQ(reader_->Int("SELECT txn FROM meta"), 0);
  }

  std::string path() const { return dir_.File("replica.db"); }
  PageSet NextPages() {
    RunTransaction(source_.db(), &rng_, ++txn_, Bulk::kSmall);
    return source_.Take();
  }
  WalIndexHeader ApplyNext(const ApplyOptions& options = {Sync::kNo, {}, {}},
                           WalFiles* through = nullptr) {
    Result<WalIndexHeader> header = ApplyLocked(files_.get(), NextPages(), options, through);
    EXPECT_TRUE(header.ok()) << header.status().text();
    return header.ok() ? *header : WalIndexHeader{};
  }
  void Backfill() {
    Connection checkpointer(path());
    checkpointer.Int("SELECT txn FROM meta");
    EXPECT_EQ(checkpointer.Text("PRAGMA wal_checkpoint(PASSIVE)"), "0");
  }
  void ExpectUpToDate() {
    Connection fresh(path());
    EXPECT_EQ(fresh.Text("PRAGMA integrity_check"), "ok");
    EXPECT_EQ(fresh.Image(), source_.db()->Image());
    EXPECT_EQ(reader_->Int("SELECT txn FROM meta"), txn_);
  }

  TempDir dir_;
  Rng rng_;
  PageSource source_;
  std::unique_ptr<HostWalFiles> files_;
  std::unique_ptr<Connection> reader_;
  int64_t txn_ = 0;
};

TEST_F(ApplyTest, IsOneCommitToEveryReader) {
  ApplyNext();
  ExpectUpToDate();
  Connection old(path());
  old.Run("BEGIN");
  EXPECT_EQ(old.Int("SELECT txn FROM meta"), 1);
  const Bytes image = old.Image();
  const int64_t version = reader_->Int("PRAGMA data_version");
  for (int i = 0; i < 20; ++i) ApplyNext();
  ExpectUpToDate();
  EXPECT_NE(reader_->Int("PRAGMA data_version"), version);
  EXPECT_EQ(old.Image(), image);
  EXPECT_EQ(old.Try("UPDATE meta SET txn=0"), SQLITE_BUSY_SNAPSHOT);
  old.Run("ROLLBACK");
  EXPECT_EQ(old.Int("SELECT txn FROM meta"), txn_);
}

TEST_F(ApplyTest, ReturnsTheHeaderThatItPublished) {
  const uint32_t frames = ApplyNext().frames;
  const WalIndexHeader applied = ApplyNext();
  const WalIndexHeader found = *CurrentHeader(files_.get());
  EXPECT_EQ(applied.position(), found.position());
  EXPECT_GT(found.frames, frames);
  EXPECT_EQ(applied.db_size, found.db_size);
  EXPECT_EQ(found.db_size, source_.db()->Int("PRAGMA page_count"));
  EXPECT_EQ(applied.change_counter, found.change_counter);
  EXPECT_EQ(found.page_size, kPageSize);
  EXPECT_EQ(ScanWal(ReadWholeFile(path() + "-wal")).committed, found.position());
}

TEST_F(ApplyTest, LetsNativeWritersGoOn) {
  ApplyNext();
  Connection writer(path());
  writer.Run("UPDATE meta SET txn=1000");
  writer.Run("BEGIN; UPDATE t SET v=-1; ROLLBACK");
  EXPECT_EQ(reader_->Int("SELECT txn FROM meta"), 1000);
  // Only whole images: the two databases have parted.
  source_.db()->Run("UPDATE meta SET txn=2000; VACUUM");
  const PageSet all = source_.Take();
  ASSERT_EQ(all.size(), all.db_size());
  ASSERT_TRUE(ApplyLocked(files_.get(), all, {Sync::kNo, {}, {}}).ok());
  txn_ = 2000;
  ExpectUpToDate();
  writer.Run("UPDATE meta SET txn=3000");
  EXPECT_EQ(reader_->Int("SELECT txn FROM meta"), 3000);
  EXPECT_EQ(writer.Text("PRAGMA integrity_check"), "ok");
}

TEST_F(ApplyTest, RestartsTheLogOnceEveryFrameIsBackfilled) {
  const Salts salts = ApplyNext().salts;
  EXPECT_EQ(ApplyNext().salts, salts);
  Backfill();
  const PageSet pages = NextPages();
  const WalIndexHeader header = *ApplyLocked(files_.get(), pages, {Sync::kNo, {}, {}});
  EXPECT_EQ(header.frames, pages.size());
  EXPECT_EQ(LoadBig32(header.salts.data()), LoadBig32(salts.data()) + 1);
  EXPECT_NE(header.salts, salts);
  EXPECT_EQ(ScanWal(ReadWholeFile(path() + "-wal")).header->checkpoint_sequence, 1u);
  ExpectUpToDate();
}

TEST_F(ApplyTest, AppendsWhileAReaderIsInTheLog) {
  ApplyNext();
  Connection old(path());
  old.Run("BEGIN");
  EXPECT_EQ(old.Int("SELECT txn FROM meta"), 1);
  Backfill();
  const Bytes image = old.Image();
  const WalIndexHeader header = ApplyNext();
  EXPECT_GT(header.frames, *WalIndex(files_.get()).Backfilled());
  ExpectUpToDate();
  EXPECT_EQ(old.Image(), image);
}

TEST_F(ApplyTest, RestartsUnderAReaderThatReadsOnlyTheDatabaseFile) {
  const Salts salts = ApplyNext().salts;
  Backfill();
  Connection old(path());
  old.Run("BEGIN");
  EXPECT_EQ(old.Int("SELECT txn FROM meta"), 1);
  const Bytes image = old.Image();
  EXPECT_NE(ApplyNext().salts, salts);
  ExpectUpToDate();
  Connection checkpointer(path());
  checkpointer.Int("SELECT txn FROM meta");
  checkpointer.Text("PRAGMA wal_checkpoint(PASSIVE)");
  EXPECT_EQ(old.Image(), image);
}

TEST_F(ApplyTest, AppendsWhileSomebodyHasALockThatARestartNeeds) {
  for (WalLock busy : {WalLock::kCheckpoint, WalLock::kRead1}) {
    const Salts salts = ApplyNext().salts;
    Backfill();
    ScriptedWalFiles files(files_.get());
    files.is_taken = [&](WalLock first, int) { return first == busy; };
    const WalIndexHeader header = ApplyNext({Sync::kNo, {}, {}}, &files);
    EXPECT_EQ(header.salts, salts);
    ExpectUpToDate();
    // Nothing is left locked.
    for (int lock = 0; lock < 8; ++lock) {
      if (lock == static_cast<int>(WalLock::kRead0)) continue;
      EXPECT_TRUE(*files_->TryLock(static_cast<WalLock>(lock), 1)) << lock;
      files_->Unlock(static_cast<WalLock>(lock), 1);
    }
  }
}

TEST_F(ApplyTest, AsksBeforeARestartWithEveryLockHeldAndAppendsIfRefused) {
  const WalIndexHeader before = ApplyNext();
  Backfill();
  int asked = 0;
  ApplyOptions options{Sync::kNo, {}, {}};
  options.before_restart = [&](const WalIndexHeader& header) {
    ++asked;
    EXPECT_EQ(header.position(), before.position());
    HostWalFiles* files = files_.get();
    auto other = OpenFiles(path());
    EXPECT_TRUE(other->MapIndex(0, Extend::kNo).ok());
    for (WalLock lock : {WalLock::kWrite, WalLock::kCheckpoint, WalLock::kRead1})
      EXPECT_FALSE(*other->TryLock(lock, 1));
    EXPECT_EQ(CurrentHeader(files)->position(), before.position());
    return Status(Code::kIo, "not now");
  };
  EXPECT_EQ(ApplyNext(options).salts, before.salts);
  EXPECT_EQ(asked, 1);
  ExpectUpToDate();
  // With frames that are not backfilled there is nothing to ask.
  ApplyNext(options);
  EXPECT_EQ(asked, 1);
}

TEST_F(ApplyTest, TellsWhereTheFramesWillStandBeforeItWritesThem) {
  for (bool restart : {false, false, true}) {
    if (restart) Backfill();
    const Bytes wal = ReadWholeFile(path() + "-wal");
    const PageSet pages = NextPages();
    FramePlan plan;
    ApplyOptions options{Sync::kNo, {}, {}};
    options.before_frames = [&](const FramePlan& told) {
      plan = told;
      EXPECT_EQ(ReadWholeFile(path() + "-wal"), wal);
      return OkStatus();
    };
    const WalIndexHeader header = *ApplyLocked(files_.get(), pages, options);
    EXPECT_EQ(plan.salts, header.salts);
    EXPECT_EQ(plan.last.value, header.frames);
    EXPECT_EQ(plan.last.value - plan.base.value, pages.size());
    EXPECT_TRUE(!restart || plan.base.value == 0);
    const PageSet found =
        std::move(*CollectFrames(files_.get(), kPageSize, plan.base, plan.last, pages.db_size()));
    EXPECT_EQ(found.Hash(), pages.Hash());
  }
}

TEST_F(ApplyTest, DoesNothingIfItsPlanIsRefused) {
  ApplyNext();
  const Bytes wal = ReadWholeFile(path() + "-wal");
  const WalPosition position = CurrentHeader(files_.get())->position();
  ApplyOptions options{Sync::kNo, {}, {}};
  options.before_frames = [](const FramePlan&) {
    return Status(Code::kFull, "no room to note it");
  };
  const PageSet pages = NextPages();
  const Result<WalIndexHeader> refused = ApplyLocked(files_.get(), pages, options);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::kFull);
  EXPECT_EQ(ReadWholeFile(path() + "-wal"), wal);
  EXPECT_EQ(CurrentHeader(files_.get())->position(), position);
  EXPECT_TRUE(ApplyLocked(files_.get(), pages, {Sync::kNo, {}, {}}).ok());
  ExpectUpToDate();
}

TEST_F(ApplyTest, SyncsTheFramesBeforeTheHeaderThatCountsThem) {
  using ::testing::ElementsAre;
  std::vector<std::string> calls;
  ScriptedWalFiles files(files_.get());
  files.on_call = [&](const std::string& call) {
    if (call == "WriteWal" || call == "SyncWal" || call == "Barrier") {
      if (call == "Barrier" || calls.empty() || calls.back() != call) calls.push_back(call);
    }
    return OkStatus();
  };
  // The first barrier is that of reading the header, the last that of writing it.
  ApplyNext({Sync::kYes, {}, {}}, &files);
  EXPECT_THAT(calls,
              ElementsAre("Barrier", "WriteWal", "SyncWal", "WriteWal", "SyncWal", "Barrier"))
      << "a new log: its header, then the frames";
  calls.clear();
  ApplyNext({Sync::kYes, {}, {}}, &files);
  EXPECT_THAT(calls, ElementsAre("Barrier", "WriteWal", "SyncWal", "Barrier"));
  calls.clear();
  ApplyNext({Sync::kNo, {}, {}}, &files);
  EXPECT_THAT(calls, ElementsAre("Barrier", "WriteWal", "Barrier"));
  Backfill();
  calls.clear();
  ApplyNext({Sync::kNo, {}, {}}, &files);
  EXPECT_THAT(calls, ElementsAre("Barrier", "Barrier", "Barrier", "WriteWal", "SyncWal", "WriteWal",
                                 "Barrier"))
      << "a restart syncs the new log's header whatever was asked for";
}

TEST_F(ApplyTest, GoesOnAfterTheLogWasTruncatedOrDeleted) {
  ApplyNext();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(reader_->Text("PRAGMA wal_checkpoint(TRUNCATE)"), "0");
    EXPECT_EQ(*files_->WalSize(), 0u);
    ApplyNext();
    ExpectUpToDate();
  }
  reader_.reset();
  files_.reset();
  {
    Connection last(path());
    EXPECT_EQ(last.Int("SELECT txn FROM meta"), txn_);
  }
  EXPECT_FALSE(std::filesystem::exists(path() + "-wal"));
  files_ = OpenFiles(path());
  reader_ = std::make_unique<Connection>(path());
  ApplyNext();
  ExpectUpToDate();
}

TEST_F(ApplyTest, ContinuesALogOfTheOtherByteOrder) {
  ApplyNext();
  reader_.reset();
  files_.reset();
  Bytes wal = ReadWholeFile(path() + "-wal");
  const WalScan scan = ScanWal(wal);
  WalHeader header = *scan.header;
  header.order = header.order == ChecksumOrder::kBigEndian ? ChecksumOrder::kLittleEndian
                                                           : ChecksumOrder::kBigEndian;
  EncodeWalHeader(&header, MutableByteView(wal).first<kWalHeaderBytes>());
  Checksum checksum = header.checksum;
  for (uint32_t i = 0; i < scan.valid.size(); ++i) {
    FrameHeader frame = scan.valid[i];
    const uint64_t at = FrameOffset({i + 1}, kPageSize);
    EncodeFrameHeader(header.order, checksum, &frame,
                      ByteView(wal).subspan(at + kFrameHeaderBytes, kPageSize),
                      MutableByteView(wal).subspan(at).first<kFrameHeaderBytes>());
    checksum = frame.checksum;
  }
  WriteWholeFile(path() + "-wal", wal);
  std::filesystem::remove(path() + "-shm");
  files_ = OpenFiles(path());
  reader_ = std::make_unique<Connection>(path());
  const WalIndexHeader applied = ApplyNext();
  EXPECT_EQ(applied.order, header.order);
  EXPECT_GT(applied.frames, scan.committed.frames);
  ExpectUpToDate();
  EXPECT_EQ(ScanWal(ReadWholeFile(path() + "-wal")).committed, applied.position());
  Backfill();
  EXPECT_EQ(ApplyNext().order, NativeChecksumOrder());
  ExpectUpToDate();
}

TEST_F(ApplyTest, IsBusyUntilSqliteHasMadeTheWalIndex) {
  const PageSet pages = NextPages();
  reader_.reset();
  files_.reset();
  CopyDatabase(dir_.File("source.db"), path());
  files_ = OpenFiles(path());
  const Result<WalIndexHeader> header = Apply(files_.get(), pages, {});
  ASSERT_FALSE(header.ok());
  EXPECT_EQ(header.status().code(), Code::kBusy);
}

TEST_F(ApplyTest, RefusesPagesThatDoNotFit) {
  const auto refusal = [&](const PageSet& pages) {
    const Result<WalIndexHeader> header = ApplyLocked(files_.get(), pages, {});
    return header.ok() ? Code::kOk : header.status().code();
  };
  const Bytes image(65536, 1);
  PageSet pages(kPageSize);
  pages.set_db_size(5);
  EXPECT_EQ(refusal(pages), Code::kInvalid) << "no pages";
  pages.Put({6}, image.data());
  EXPECT_EQ(refusal(pages), Code::kInvalid) << "a page beyond the end";
  PageSet zero(kPageSize);
  zero.set_db_size(5);
  zero.Put({0}, image.data());
  EXPECT_EQ(refusal(zero), Code::kInvalid) << "page 0";
  PageSet larger(2 * kPageSize);
  larger.set_db_size(5);
  larger.Put({1}, image.data());
  EXPECT_EQ(refusal(larger), Code::kInvalid) << "another page size, and no frames yet";
  ApplyNext();
  EXPECT_EQ(refusal(larger), Code::kInvalid) << "another page size";
  ExpectUpToDate();
}

TEST_F(ApplyTest, ReportsALogThatLostItsEnd) {
  const WalIndexHeader header = ApplyNext();
  const PageNo page = *WalIndex(files_.get()).PageOf({header.frames});
  ASSERT_EQ(::truncate((path() + "-wal").c_str(),
                       static_cast<off_t>(FrameOffset({header.frames}, kPageSize))),
            0);
  Bytes out(kPageSize);
  EXPECT_EQ(ReadPage(files_.get(), header, page, out).code(), Code::kCorrupt);
  EXPECT_EQ(
      CollectFrames(files_.get(), kPageSize, {0}, {header.frames}, header.db_size).status().code(),
      Code::kCorrupt);
}

TEST_F(ApplyTest, ReadsOnlyPagesOfTheRightSize) {
  const WalIndexHeader header = ApplyNext();
  Bytes out(2 * kPageSize);
  EXPECT_EQ(ReadPage(files_.get(), header, {1}, out).code(), Code::kInvalid);
  out.resize(kPageSize);
  EXPECT_EQ(ReadPage(files_.get(), header, {0}, out).code(), Code::kInvalid);
  EXPECT_TRUE(ReadPage(files_.get(), header, {1}, out).ok());
  EXPECT_TRUE(ReadPage(files_.get(), header, {header.db_size + 1}, out).ok());
  EXPECT_EQ(out, Bytes(kPageSize, 0));
  EXPECT_EQ(CollectFrames(files_.get(), 1000, {0}, {1}, 1).status().code(), Code::kInvalid);
}

// Each call of the files fails in turn, until none is left to fail: Apply says so, nothing is torn,
// and the next attempt works.
class ApplyWithFailures : public ApplyTest {
 protected:
  // Returns how many calls there were. `prepare` makes the state that each attempt starts from.
  int FailEachCall(const std::function<void()>& prepare) {
    for (int fail_at = 1;; ++fail_at) {
      prepare();
      const Bytes before = Connection(path()).Image();
      const PageSet pages = NextPages();
      ScriptedWalFiles files(files_.get());
      int calls = 0;
      bool failed = false;
      files.on_call = [&](const std::string& call) {
        if (++calls != fail_at) return OkStatus();
        failed = call != "Unlock" && call != "Barrier";
        return Status(Code::kIo, "call " + std::to_string(fail_at) + " (" + call + ") fails");
      };
      const Result<WalIndexHeader> header =
          ApplyLocked(files_.get(), pages, {Sync::kYes, {}, {}}, &files);
      if (calls < fail_at) {
        EXPECT_TRUE(header.ok());
        ExpectUpToDate();
        return calls;
      }
      EXPECT_EQ(header.ok(), !failed) << "call " << fail_at;
      if (failed) {
        EXPECT_EQ(header.status().code(), Code::kIo) << header.status().text();
        EXPECT_NE(header.status().text().find("call "), std::string::npos);
        EXPECT_EQ(Connection(path()).Image(), before) << header.status().text();
        if (fail_at % 2 == 0) WriteAndUndo();
        EXPECT_TRUE(ApplyLocked(files_.get(), pages, {Sync::kYes, {}, {}}).ok());
      }
      ExpectUpToDate();
      if (HasFailure()) return calls;
    }
  }

  // A native writer comes first, and meets what the failure left.
  void WriteAndUndo() {
    Connection writer(path());
    const int64_t txn = writer.Int("SELECT txn FROM meta");
    writer.Run("PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=2");
    writer.Run("BEGIN; UPDATE t SET pad=randomblob(2000); ROLLBACK");
    EXPECT_EQ(writer.Int("SELECT txn FROM meta"), txn);
    EXPECT_EQ(writer.Text("PRAGMA integrity_check"), "ok");
  }
};

TEST_F(ApplyWithFailures, AppendsOrLeavesTheOldState) {
  ApplyNext();
  EXPECT_GE(FailEachCall([] {}), 4);
}

TEST_F(ApplyWithFailures, StartsANewLogOrLeavesTheOldState) {
  EXPECT_GE(FailEachCall([&] {
              ApplyNext();
              EXPECT_EQ(reader_->Int("SELECT txn FROM meta"), txn_);
              EXPECT_EQ(reader_->Text("PRAGMA wal_checkpoint(TRUNCATE)"), "0");
            }),
            8);
}

TEST_F(ApplyWithFailures, RestartsOrLeavesTheOldState) {
  EXPECT_GE(FailEachCall([&] {
              ApplyNext();
              Backfill();
            }),
            10);
}

TEST_F(ApplyWithFailures, WritesManyFramesOrLeavesTheOldState) {
  EXPECT_GE(FailEachCall([&] {
              ApplyNext();
              source_.db()->Run(
                  "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<120)"
                  " INSERT INTO t(v) SELECT i FROM n");
              source_.db()->Run("DELETE FROM t WHERE id NOT IN (SELECT id FROM t LIMIT 120)");
              source_.db()->Run("UPDATE t SET pad=randomblob(4000)");
            }),
            8);
}

// The frames of a log in memory.
TEST(CollectFrames, KeepsTheNewestImageOfEachPageUpToTheSizeOfTheDatabase) {
  MemoryWalFiles files;
  const uint32_t numbers[] = {3, 1, 3, 9, 2, 1};
  for (uint32_t i = 0; i < 6; ++i) {
    FrameHeader header{{numbers[i]}, 0, {}, {}};
    Bytes frame(kFrameHeaderBytes + 512, static_cast<uint8_t>(i + 1));
    EncodeFrameHeader(NativeChecksumOrder(), {}, &header,
                      ByteView(frame).subspan(kFrameHeaderBytes),
                      MutableByteView(frame).first<kFrameHeaderBytes>());
    EXPECT_TRUE(files.WriteWal(FrameOffset({i + 1}, 512), frame).ok());
  }
  const PageSet pages = std::move(*CollectFrames(&files, 512, {1}, {5}, 8));
  ASSERT_EQ(pages.size(), 3u);
  EXPECT_EQ(pages.db_size(), 8u);
  EXPECT_EQ(pages.Find({1})[0], 2);
  EXPECT_EQ(pages.Find({2})[0], 5);
  EXPECT_EQ(pages.Find({3})[511], 3);
  EXPECT_TRUE(CollectFrames(&files, 512, {5}, {5}, 8)->empty());
  EXPECT_EQ(CollectFrames(&files, 512, {5}, {7}, 8).status().code(), Code::kCorrupt);
}

TEST(Apply, RefusesAnEmptyDatabaseWhoseLogSqliteWouldDelete) {
  MemoryWalFiles files;
  WalIndex index(&files);
  ASSERT_TRUE(index.WriteHeader({}).ok());
  PageSet pages(512);
  pages.set_db_size(1);
  pages.Put({1}, Bytes(512).data());
  const Result<WalIndexHeader> header = Apply(&files, pages, {});
  ASSERT_FALSE(header.ok());
  EXPECT_EQ(header.status().code(), Code::kInvalid);
  EXPECT_TRUE(files.wal.empty());
}

}  // namespace
}  // namespace turso
