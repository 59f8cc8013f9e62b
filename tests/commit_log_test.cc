#include "src/primary/commit_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "src/primary/fault_point.h"
#include "tests/support/failing_memory.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"

namespace turso {
namespace {

constexpr DatabaseId kId{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

CommitRecord SomeCommit(uint64_t counter) {
  CommitRecord commit;
  commit.counter = counter;
  commit.source = CommitSource::kReplica;
  commit.replica = {9, 8, 7};
  commit.number = counter * 3;
  commit.committed_at = 1700000000;
  commit.db_size = 70;
  commit.before = {{1, 2, 3, 4, 5, 6, 7, 8}, 10};
  commit.after = {{1, 2, 3, 4, 5, 6, 7, 8}, 13};
  commit.hash = 0x1234567890abcdef;
  commit.pages = {{1}, {5}, {70}};
  return commit;
}

SnapshotRecord SomeSnapshot() {
  SnapshotRecord snapshot;
  snapshot.history.counter = 12;
  snapshot.history.epochs = {{0xdeadbeefdeadbeef, 1}, {7, 9}};
  snapshot.history.runs = {{3, 1}, {1, 12}, {66, 2}};
  snapshot.history.commits[{9}] = {4, Outcome::kCommitted, 12, 1700000000};
  snapshot.history.commits[{10}] = {1, Outcome::kRefused, 0, 1600000000};
  snapshot.point = {{8, 7, 6, 5, 4, 3, 2, 1}, 99};
  snapshot.restart_follows = true;
  snapshot.fingerprint = {286720, 1234567890123};
  return snapshot;
}

// One of every kind.
std::vector<LogRecord> EveryRecord() {
  CommitRecord found;
  found.counter = 14;
  found.source = CommitSource::kFound;
  found.every_page = true;
  return {SomeSnapshot(),
          SomeCommit(13),
          AbortedRecord{13, Outcome::kLost},
          RefusedRecord{{5, 5}, 17, 1700000001},
          ResolvedRecord{13, {{1}, 2}, true},
          found,
          EpochRecord{0xffffffffffffffff, 14, {4096, -5}},
          StoppedRecord{14, {8192, 77}}};
}

TEST(LogRecords, AreRefusedInAnyOtherSpelling) {
  for (const LogRecord& record : EveryRecord()) {
    Bytes bytes;
    EncodeRecord(record, &bytes);
    std::optional<std::vector<LogRecord>> read = DecodeRecords(bytes);
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(*read, std::vector{record});
    // Whatever byte is another: it is read as something else, or not at all.
    for (size_t i = 0; i < bytes.size(); i++) {
      for (uint8_t value : {0, 1, 2, 3, 4, 8, 255}) {
        Bytes changed = bytes;
        changed[i] = value;
        std::optional<std::vector<LogRecord>> other = DecodeRecords(changed);
        Bytes again;
        for (const LogRecord& one : other.value_or(std::vector<LogRecord>())) {
          EncodeRecord(one, &again);
        }
        if (other) {
          EXPECT_EQ(again, changed) << "byte " << i << " as " << int{value};
        }
      }
    }
  }
}

TEST(LogRecords, NameEachReplicaOfASnapshotOnce) {
  Bytes bytes;
  EncodeRecord(SomeSnapshot(), &bytes);
  constexpr size_t kCommitBytes = 41;
  std::copy_n(bytes.end() - 2 * kCommitBytes, kCommitBytes, bytes.end() - kCommitBytes);
  EXPECT_FALSE(DecodeRecords(bytes).has_value());
}

class CommitLogTest : public ::testing::Test {
 protected:
  void TearDown() override { FaultHook() = nullptr; }

  std::string path() const { return directory_.File("app.db-log"); }

  std::unique_ptr<CommitLog> MustCreate(const std::vector<LogRecord>& first) {
    Result<std::unique_ptr<CommitLog>> log = CommitLog::Create(path(), kId, first);
    EXPECT_TRUE(log.ok()) << log.status().text();
    return log.ok() ? std::move(*log) : nullptr;
  }
  // What the file says, or how it fails.
  Result<std::vector<LogRecord>> Read() {
    std::vector<LogRecord> records;
    Result<std::unique_ptr<CommitLog>> log = CommitLog::Open(path(), [&](const LogRecord& record) {
      records.push_back(record);
      return OkStatus();
    });
    if (!log.ok()) return log.status();
    EXPECT_EQ((*log)->database_id(), kId);
    return records;
  }
  Bytes File() const {
    std::ifstream file(path(), std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(file), {});
  }
  void Put(const Bytes& bytes) const {
    std::ofstream file(path(), std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }
  // Three units, and where each ends.
  std::vector<uint64_t> ThreeUnits() {
    std::unique_ptr<CommitLog> log = MustCreate({SomeSnapshot()});
    std::vector<uint64_t> ends{log->size()};
    EXPECT_TRUE(log->Write({SomeCommit(13)}).ok());
    ends.push_back(log->size());
    EXPECT_TRUE(log->Write({SomeCommit(14), ResolvedRecord{14, {}, false}}).ok());
    ends.push_back(log->size());
    return ends;
  }

  TempDir directory_;
};

TEST_F(CommitLogTest, GivesBackEveryKindOfRecord) {
  MustCreate({SomeSnapshot()}).reset();
  unlink(path().c_str());
  MustCreate(EveryRecord()).reset();
  Result<std::vector<LogRecord>> records = Read();
  ASSERT_TRUE(records.ok()) << records.status().text();
  EXPECT_TRUE(*records == EveryRecord());
}

TEST_F(CommitLogTest, GivesBackWhatWasAddedTogetherWithWhatWasWritten) {
  std::unique_ptr<CommitLog> log = MustCreate({SomeSnapshot()});
  log->Add(RefusedRecord{{1}, 2, 3});
  EXPECT_TRUE(log->pending());
  ASSERT_TRUE(log->Write({SomeCommit(13)}).ok());
  EXPECT_FALSE(log->pending());
  log->Add(RefusedRecord{{1}, 3, 3});
  log.reset();
  Result<std::vector<LogRecord>> records = Read();
  ASSERT_TRUE(records.ok());
  EXPECT_TRUE(*records ==
              (std::vector<LogRecord>{SomeSnapshot(), RefusedRecord{{1}, 2, 3}, SomeCommit(13)}));
}

TEST_F(CommitLogTest, CutsOffATornEndWhereverItIsTorn) {
  std::vector<uint64_t> ends = ThreeUnits();
  const Bytes whole = File();
  ASSERT_EQ(whole.size(), ends[2]);
  for (uint64_t size = ends[0]; size <= ends[2]; size++) {
    Put(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)));
    Result<std::vector<LogRecord>> records = Read();
    ASSERT_TRUE(records.ok()) << size << ": " << records.status().text();
    EXPECT_EQ(records->size(), size == ends[2] ? 4u : size >= ends[1] ? 2u : 1u) << size;
    EXPECT_EQ(File().size(), size == ends[2] ? ends[2] : size >= ends[1] ? ends[1] : ends[0]);
  }
}

TEST_F(CommitLogTest, CutsOffAnEndWhosePagesNeverReachedTheDisk) {
  std::vector<uint64_t> ends = ThreeUnits();
  Bytes file = File();
  for (uint64_t from = ends[1]; from < ends[2]; from += 7) {
    Bytes zeros = file;
    std::fill(zeros.begin() + static_cast<ptrdiff_t>(from), zeros.end(), 0);
    if (zeros == file) continue;  // Its last bytes were zeros anyway.
    Put(zeros);
    Result<std::vector<LogRecord>> records = Read();
    ASSERT_TRUE(records.ok()) << from << ": " << records.status().text();
    EXPECT_EQ(records->size(), 2u);
  }
}

TEST_F(CommitLogTest, GoesOnBehindATornEnd) {
  std::vector<uint64_t> ends = ThreeUnits();
  ASSERT_EQ(truncate(path().c_str(), static_cast<off_t>(ends[2] - 1)), 0);
  {
    Result<std::unique_ptr<CommitLog>> log =
        CommitLog::Open(path(), [](const LogRecord&) { return OkStatus(); });
    ASSERT_TRUE(log.ok());
    ASSERT_TRUE((*log)->Write({SomeCommit(99)}).ok());
  }
  Result<std::vector<LogRecord>> records = Read();
  ASSERT_TRUE(records.ok());
  ASSERT_EQ(records->size(), 3u);
  EXPECT_TRUE((*records)[2] == LogRecord(SomeCommit(99)));
}

TEST_F(CommitLogTest, RefusesDamageBeforeTheEndAndNamesItsOffset) {
  std::vector<uint64_t> ends = ThreeUnits();
  const Bytes whole = File();
  for (uint64_t at = 0; at < ends[1]; at++) {
    for (uint8_t bit : {0x01, 0x80}) {
      Bytes damaged = whole;
      damaged[at] ^= bit;
      Put(damaged);
      Result<std::vector<LogRecord>> records = Read();
      ASSERT_FALSE(records.ok()) << "byte " << at;
      EXPECT_EQ(records.status().code(), Code::kCorrupt) << "byte " << at;
      const uint64_t unit = at < 40 ? 0 : at < ends[0] ? 40 : ends[0];
      EXPECT_NE(records.status().text().find("offset " + std::to_string(unit)), std::string::npos)
          << "byte " << at << ": " << records.status().text();
      EXPECT_EQ(File(), damaged) << "a damaged log is left as it is";
    }
  }
}

TEST_F(CommitLogTest, TakesNothingForAUnitThatWasOneElsewhere) {
  std::vector<uint64_t> ends = ThreeUnits();
  Bytes file = File();
  Bytes unit(file.begin() + static_cast<ptrdiff_t>(ends[0]),
             file.begin() + static_cast<ptrdiff_t>(ends[1]));
  file.insert(file.end(), unit.begin(), unit.end());
  Put(file);
  Result<std::vector<LogRecord>> records = Read();
  ASSERT_TRUE(records.ok());
  EXPECT_EQ(records->size(), 4u);
}

TEST_F(CommitLogTest, NeverMakesSenseOfRandomBytes) {
  Rng rng(TestSeed());
  ThreeUnits();
  const Bytes whole = File();
  for (int round = 0; round < 300; round++) {
    Bytes damaged = whole;
    for (int n = Between(&rng, 1, 40); n > 0; n--) {
      damaged[static_cast<size_t>(Between(&rng, 0, static_cast<int>(damaged.size()) - 1))] =
          static_cast<uint8_t>(Between(&rng, 0, 255));
    }
    Put(damaged);
    Result<std::vector<LogRecord>> records = Read();
    if (records.ok()) {
      EXPECT_LE(records->size(), 4u);
    }
  }
}

TEST_F(CommitLogTest, BelongsToOneAtATime) {
  std::unique_ptr<CommitLog> log = MustCreate({SomeSnapshot()});
  EXPECT_EQ(Read().status().code(), Code::kBusy);
  ASSERT_TRUE(log->Compact(SomeSnapshot()).ok());
  EXPECT_EQ(Read().status().code(), Code::kBusy);
  log.reset();
  EXPECT_TRUE(Read().ok());
}

TEST_F(CommitLogTest, IsNotMadeWhereThereIsOne) {
  MustCreate({SomeSnapshot()}).reset();
  const Bytes before = File();
  EXPECT_FALSE(CommitLog::Create(path(), kId, {SomeCommit(1)}).ok());
  EXPECT_EQ(File(), before);
}

TEST_F(CommitLogTest, IsNotFoundWhereThereIsNone) {
  EXPECT_EQ(Read().status().code(), Code::kNotFound);
}

TEST_F(CommitLogTest, RefusesALogOfAnotherVersion) {
  Put(Bytes(100, 0x55));
  EXPECT_EQ(Read().status().code(), Code::kCorrupt);
}

TEST_F(CommitLogTest, IsASnapshotAndWhatCameLaterOnceCompacted) {
  std::unique_ptr<CommitLog> log = MustCreate({SomeSnapshot()});
  for (uint64_t i = 13; i < 100; i++) ASSERT_TRUE(log->Write({SomeCommit(i)}).ok());
  const uint64_t long_size = log->size();
  log->Add(RefusedRecord{{1}, 2, 3});
  ASSERT_TRUE(log->Compact(SomeSnapshot()).ok());
  EXPECT_LT(log->size(), long_size);
  EXPECT_EQ(log->size(), log->size_at_compaction());
  ASSERT_TRUE(log->Write({SomeCommit(13)}).ok());
  log.reset();
  Result<std::vector<LogRecord>> records = Read();
  ASSERT_TRUE(records.ok()) << records.status().text();
  EXPECT_TRUE(*records == (std::vector<LogRecord>{SomeSnapshot(), SomeCommit(13)}));
}

TEST_F(CommitLogTest, StaysAsItWasWhenCompactingFails) {
  std::unique_ptr<CommitLog> log = MustCreate({SomeSnapshot()});
  ASSERT_TRUE(log->Write({SomeCommit(13)}).ok());
  FaultHook() = [](const char* point) {
    return std::string(point) == "log:rename" ? Status(Code::kIo, "failed by the test")
                                              : OkStatus();
  };
  EXPECT_FALSE(log->Compact(SomeSnapshot()).ok());
  FaultHook() = nullptr;
  ASSERT_TRUE(log->Write({SomeCommit(14)}).ok());
  log.reset();
  EXPECT_EQ(Read()->size(), 3u);
}

TEST_F(CommitLogTest, HasNothingOfAWriteThatFailed) {
  std::unique_ptr<CommitLog> log = MustCreate({SomeSnapshot()});
  log->Add(RefusedRecord{{1}, 2, 3});
  FaultHook() = [](const char* point) {
    return std::string(point) == "log:write" ? Status(Code::kFull, "failed by the test")
                                             : OkStatus();
  };
  EXPECT_EQ(log->Write({SomeCommit(13)}).code(), Code::kFull);
  FaultHook() = nullptr;
  EXPECT_FALSE(log->broken());
  ASSERT_TRUE(log->Write({SomeCommit(14)}).ok());
  log.reset();
  EXPECT_TRUE(*Read() ==
              (std::vector<LogRecord>{SomeSnapshot(), RefusedRecord{{1}, 2, 3}, SomeCommit(14)}));
}

TEST_F(CommitLogTest, HasNothingOfAWriteForWhichThereWasNoMemory) {
  std::unique_ptr<CommitLog> log = MustCreate({SomeSnapshot()});
  std::vector<LogRecord> expected = {SomeSnapshot()};
  uint64_t counter = 13;
  bool failed = true;
  for (int nth = 1; failed; nth++, counter += 2) {
    const LogRecord added = RefusedRecord{{1}, counter, 3};
    const std::vector<LogRecord> records = {SomeCommit(counter),
                                            AbortedRecord{counter, Outcome::kLost}};
    bool is_added = false, is_written = false;
    g_failing_request = nth;
    try {
      log->Add(added);
      is_added = true;
      is_written = log->Write(records).ok();
    } catch (const std::bad_alloc&) {
    }
    g_failing_request = 0;
    if (is_added) expected.push_back(added);
    if (is_written) expected.insert(expected.end(), records.begin(), records.end());
    failed = !is_written;
    EXPECT_FALSE(log->broken());
    const LogRecord next = SomeCommit(counter + 1);
    ASSERT_TRUE(log->Write({next}).ok());
    expected.push_back(next);
    ASSERT_LT(nth, 100);
  }
  EXPECT_GT(counter, 13u + 2 * 3) << "as many requests for memory have failed";
  log.reset();
  Result<std::vector<LogRecord>> read = Read();
  ASSERT_TRUE(read.ok()) << read.status().text();
  EXPECT_TRUE(*read == expected);
}

TEST_F(CommitLogTest, TakesNoMoreAfterAFailedSync) {
  std::unique_ptr<CommitLog> log = MustCreate({SomeSnapshot()});
  FaultHook() = [](const char* point) {
    return std::string(point) == "log:sync" ? Status(Code::kIo, "failed by the test") : OkStatus();
  };
  EXPECT_EQ(log->Write({SomeCommit(13)}).code(), Code::kIo);
  FaultHook() = nullptr;
  EXPECT_TRUE(log->broken());
  EXPECT_FALSE(log->Write({SomeCommit(13)}).ok());
}

}  // namespace
}  // namespace turso
