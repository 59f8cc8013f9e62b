#include "src/wal/wal_index.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>

#include "tests/support/connection.h"
#include "tests/support/host_wal_files.h"
#include "tests/support/memory_wal_files.h"
#include "tests/support/page_source.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"

namespace turso {
namespace {

constexpr uint32_t kFirstBlockFrames = 4062;
constexpr uint32_t kBlockFrames = 4096;
constexpr uint32_t kHashSlots = 8192;

WalIndexHeader SomeHeader() {
  WalIndexHeader header;
  header.change_counter = 17;
  header.order = ChecksumOrder::kBigEndian;
  header.page_size = 4096;
  header.frames = 12;
  header.db_size = 34;
  header.frame_checksum = {0x11223344, 0x55667788};
  header.salts = {1, 2, 3, 4, 5, 6, 7, 8};
  return header;
}

void ExpectEqual(const WalIndexHeader& a, const WalIndexHeader& b) {
  EXPECT_EQ(a.change_counter, b.change_counter);
  EXPECT_EQ(a.order, b.order);
  EXPECT_EQ(a.page_size, b.page_size);
  EXPECT_EQ(a.frames, b.frames);
  EXPECT_EQ(a.db_size, b.db_size);
  EXPECT_EQ(a.frame_checksum, b.frame_checksum);
  EXPECT_EQ(a.salts, b.salts);
}

class WalIndexHeaderTest : public ::testing::Test {
 protected:
  std::optional<WalIndexHeader> Read() {
    WalIndex index(&files_);
    Result<std::optional<WalIndexHeader>> header = index.ReadHeader();
    EXPECT_TRUE(header.ok()) << header.status().text();
    return header.ok() ? *header : std::nullopt;
  }
  void Write(const WalIndexHeader& header) { EXPECT_TRUE(index_.WriteHeader(header).ok()); }
  // Changes bytes of both copies, with a checksum that fits.
  void Forge(size_t at, const void* bytes, size_t size) {
    uint8_t* raw = files_.block(0);
    std::memcpy(raw + at, bytes, size);
    const Checksum sum = ChecksumOf(NativeChecksumOrder(), {}, {raw, 40});
    std::memcpy(raw + 40, &sum, 8);
    std::memcpy(raw + 48, raw, 48);
  }

  MemoryWalFiles files_;
  WalIndex index_{&files_};
};

TEST_F(WalIndexHeaderTest, IsAbsentBeforeSqliteMadeOne) {
  EXPECT_FALSE(Read());
  EXPECT_TRUE(files_.MapIndex(0, Extend::kYes).ok());
  EXPECT_FALSE(Read());
}

TEST_F(WalIndexHeaderTest, IsReadAsItWasWritten) {
  WalIndexHeader header = SomeHeader();
  for (uint32_t size = 512; size <= 65536; size *= 2) {
    header.page_size = size;
    Write(header);
    std::optional<WalIndexHeader> read = Read();
    ASSERT_TRUE(read);
    ExpectEqual(header, *read);
  }
}

TEST_F(WalIndexHeaderTest, IsNotBelievedWithAnyBitFlippedInOneCopyOrInBoth) {
  Write(SomeHeader());
  uint8_t* raw = files_.block(0);
  for (size_t bit = 0; bit < 8 * 48; ++bit) {
    const uint8_t mask = static_cast<uint8_t>(1 << bit % 8);
    raw[bit / 8] ^= mask;
    EXPECT_FALSE(Read()) << bit;
    raw[48 + bit / 8] ^= mask;
    EXPECT_FALSE(Read()) << bit;
    raw[bit / 8] ^= mask;
    EXPECT_FALSE(Read()) << bit;
    raw[48 + bit / 8] ^= mask;
  }
  EXPECT_TRUE(Read());
}

TEST_F(WalIndexHeaderTest, IsRefusedWithAnotherVersion) {
  Write(SomeHeader());
  const uint32_t version = 3008000;
  Forge(0, &version, sizeof version);
  Result<std::optional<WalIndexHeader>> header = index_.ReadHeader();
  ASSERT_FALSE(header.ok());
  EXPECT_EQ(header.status().code(), Code::kCorrupt);
  EXPECT_NE(header.status().text().find("3008000"), std::string::npos);
}

TEST_F(WalIndexHeaderTest, IsRefusedWithEveryImpossiblePageSize) {
  Write(SomeHeader());
  int good = 0;
  for (uint32_t code = 0; code <= 0xffff; ++code) {
    const uint16_t raw = static_cast<uint16_t>(code);
    Forge(14, &raw, sizeof raw);
    Result<std::optional<WalIndexHeader>> header = index_.ReadHeader();
    if (!header.ok()) {
      EXPECT_EQ(header.status().code(), Code::kCorrupt);
      continue;
    }
    ASSERT_TRUE(header->has_value());
    ++good;
    EXPECT_EQ((*header)->page_size, code == 1 ? 65536 : code);
  }
  EXPECT_EQ(good, 8);
}

TEST_F(WalIndexHeaderTest, MayLackAPageSizeWhileThereAreNoFrames) {
  WalIndexHeader header = SomeHeader();
  header.frames = 0;
  header.page_size = 0;
  Write(header);
  std::optional<WalIndexHeader> read = Read();
  ASSERT_TRUE(read);
  EXPECT_EQ(read->page_size, 0u);
  EXPECT_EQ(read->position(), WalPosition{});
}

TEST_F(WalIndexHeaderTest, IsWrittenIntoTheSecondCopyFirst) {
  Write(SomeHeader());
  WalIndexHeader next = SomeHeader();
  next.frames = 99;
  int barriers = 0;
  files_.on_barrier = [&] {
    ++barriers;
    uint32_t frames[2];
    std::memcpy(&frames[0], files_.block(0) + 16, 4);
    std::memcpy(&frames[1], files_.block(0) + 48 + 16, 4);
    EXPECT_EQ(frames[0], 12u);
    EXPECT_EQ(frames[1], 99u);
  };
  Write(next);
  EXPECT_EQ(barriers, 1);
  files_.on_barrier = nullptr;
  EXPECT_EQ(Read()->frames, 99u);
}

TEST_F(WalIndexHeaderTest, OfARestartedLogIsPublishedAfterNoFrameIsBackfilledAnyMore) {
  WalIndexHeader header = SomeHeader();
  Write(header);
  const uint32_t before[11] = {12, 0, 12, 7, 3, 9, 0, 0, 12, 0, 0};  // From nBackfill on.
  std::memcpy(files_.block(0) + 96, before, sizeof before - 4);
  int barriers = 0;
  files_.on_barrier = [&] {
    if (++barriers != 1) return;
    uint32_t now[10];
    std::memcpy(now, files_.block(0) + 96, sizeof now);
    EXPECT_EQ(now[0], 0u) << "nBackfill";
    EXPECT_EQ(now[1], 0u) << "the read mark of the database file";
    EXPECT_EQ(now[2], 0u);
    for (int mark = 3; mark < 6; ++mark) EXPECT_EQ(now[mark], 0xffffffffu);
    EXPECT_EQ(now[8], 0u) << "nBackfillAttempted";
    uint32_t copies[2];
    std::memcpy(&copies[0], files_.block(0) + 16, 4);
    std::memcpy(&copies[1], files_.block(0) + 48 + 16, 4);
    EXPECT_EQ(copies[0], 12u) << "the old header is still there";
    EXPECT_EQ(copies[1], 12u) << "the old header is still there";
  };
  const Salts salts{8, 7, 6, 5, 4, 3, 2, 1};
  EXPECT_TRUE(index_.Restart(&header, salts).ok());
  EXPECT_EQ(barriers, 2);
  files_.on_barrier = nullptr;
  std::optional<WalIndexHeader> read = Read();
  ASSERT_TRUE(read);
  EXPECT_EQ(read->frames, 0u);
  EXPECT_EQ(read->salts, salts);
  EXPECT_EQ(read->db_size, 34u);
  EXPECT_EQ(*index_.Backfilled(), 0u);
}

// The index, and what it should say: page numbers of frames 1 to n.
class WalIndexHash : public ::testing::Test {
 protected:
  void Append(uint32_t page) {
    frames_.push_back(page);
    const Status status = index_.Append({static_cast<uint32_t>(frames_.size())}, {page});
    ASSERT_TRUE(status.ok()) << status.text();
  }
  uint32_t Expected(uint32_t page, uint32_t limit) const {
    for (uint32_t frame = limit; frame > 0; --frame) {
      if (frames_[frame - 1] == page) return frame;
    }
    return 0;
  }
  void ExpectFinds(uint32_t page, uint32_t limit) {
    Result<FrameNo> found = index_.Find({page}, {limit});
    ASSERT_TRUE(found.ok()) << found.status().text();
    EXPECT_EQ(found->value, Expected(page, limit)) << "page " << page << " up to frame " << limit;
  }

  std::vector<uint32_t> frames_;
  MemoryWalFiles files_;
  WalIndex index_{&files_};
};

TEST_F(WalIndexHash, FindsTheNewestFrameOfEveryPageUpToEveryLimit) {
  Rng rng(TestSeed());
  for (int i = 0; i < 20000; ++i) {
    const int kind = Between(&rng, 0, 9);
    const int page = kind == 0 ? 1 : kind < 5 ? Between(&rng, 1, 60) : Between(&rng, 1, 1 << 30);
    Append(static_cast<uint32_t>(page));
  }
  ASSERT_EQ(files_.block_count(), 5u);
  for (int i = 0; i < 5000; ++i) {
    const uint32_t limit = static_cast<uint32_t>(Between(&rng, 0, 20000));
    ExpectFinds(static_cast<uint32_t>(Between(&rng, 1, 70)), limit);
    if (limit > 0) ExpectFinds(frames_[limit - 1], limit);
  }
  for (uint32_t frame = 1; frame <= 20000; ++frame)
    ASSERT_EQ(index_.PageOf({frame})->value, frames_[frame - 1]);
}

TEST_F(WalIndexHash, FindsPagesThatAllWantTheSameSlot) {
  for (uint32_t i = 0; i < kFirstBlockFrames + kBlockFrames; ++i) Append(5 + (i % 7) * kHashSlots);
  for (uint32_t limit : {1u, 6u, 7u, 8u, kFirstBlockFrames, kFirstBlockFrames + 1, 8158u}) {
    for (uint32_t i = 0; i < 8; ++i) ExpectFinds(5 + i * kHashSlots, limit);
  }
}

TEST_F(WalIndexHash, IsAsIfWritersThatRolledBackHadNeverBeenThere) {
  Rng rng(TestSeed());
  for (int round = 0; round < 300; ++round) {
    // Some frames that will not be committed, over block borders too...
    const size_t committed = frames_.size();
    for (int i = Between(&rng, 0, 90); i > 0; --i)
      Append(static_cast<uint32_t>(Between(&rng, 1, 500)));
    frames_.resize(committed);
    // ...and then others in their place.
    for (int i = Between(&rng, 1, 60); i > 0; --i)
      Append(static_cast<uint32_t>(Between(&rng, 1, 500)));
  }
  ASSERT_GT(frames_.size(), kFirstBlockFrames + kBlockFrames);
  const uint32_t last = static_cast<uint32_t>(frames_.size());
  for (uint32_t page = 0; page <= 500; ++page) ExpectFinds(page, last);
  for (int i = 0; i < 2000; ++i)
    ExpectFinds(static_cast<uint32_t>(Between(&rng, 1, 500)),
                static_cast<uint32_t>(Between(&rng, 0, static_cast<int>(last))));

  // Frame by frame the same as an index that saw only what stayed; in the last block, up to its
  // end.
  MemoryWalFiles fresh_files;
  WalIndex fresh(&fresh_files);
  for (uint32_t frame = 1; frame <= last; ++frame)
    ASSERT_TRUE(fresh.Append({frame}, {frames_[frame - 1]}).ok());
  for (size_t block = 0; block + 1 < fresh_files.block_count(); ++block) {
    EXPECT_EQ(0, std::memcmp(files_.block(static_cast<int>(block)),
                             fresh_files.block(static_cast<int>(block)), kWalIndexBlockBytes))
        << "block " << block;
  }
}

TEST_F(WalIndexHash, ReportsASlotThatNamesNoEntry) {
  Append(1);
  const uint16_t beyond = kFirstBlockFrames + 1;
  std::memcpy(files_.block(0) + 16384 + 2 * 383, &beyond, 2);
  const Result<FrameNo> found = index_.Find({1}, {1});
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.status().code(), Code::kCorrupt);
}

TEST_F(WalIndexHash, ReportsATableWithoutAFreeSlotInsteadOfSearchingForEver) {
  Append(1);
  for (uint32_t i = 0; i < kHashSlots; ++i) {
    const uint16_t one = 1;
    std::memcpy(files_.block(0) + 16384 + 2 * i, &one, 2);
  }
  const Result<FrameNo> found = index_.Find({2}, {1});
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.status().code(), Code::kCorrupt);
  const Status appended = index_.Append({2}, {2});
  ASSERT_FALSE(appended.ok());
  EXPECT_EQ(appended.code(), Code::kCorrupt);
}

TEST_F(WalIndexHash, ReportsABlockThatIsMissing) {
  Append(1);
  EXPECT_EQ(index_.Find({1}, {kFirstBlockFrames + 1}).status().code(), Code::kCorrupt);
  EXPECT_EQ(index_.PageOf({kFirstBlockFrames + 1}).status().code(), Code::kCorrupt);
  EXPECT_EQ(index_.Find({1}, {0xffffffff}).status().code(), Code::kCorrupt);
  EXPECT_EQ(files_.block_count(), 1u) << "looking makes no blocks";
}

TEST_F(WalIndexHash, TakesNoFrameZeroAndNoPageZero) {
  EXPECT_EQ(index_.Append({0}, {1}).code(), Code::kInvalid);
  EXPECT_EQ(index_.Append({1}, {0}).code(), Code::kInvalid);
  EXPECT_EQ(index_.PageOf({0}).status().code(), Code::kInvalid);
}

// Beside real SQLite: the wal-index after Apply() against the one that SQLite's recovery makes of
// the same log.
class WalIndexAfterApply : public ::testing::TestWithParam<uint32_t> {
 protected:
  // Counts the words of page-number arrays, hash tables and header that differ.
  void ExpectAsRecovered(HostWalFiles* live) {
    const std::string copy = dir_.File("copy.db");
    std::filesystem::remove(copy + "-shm");
    CopyDatabase(live->path(), copy);
    CopyDatabase(live->path() + "-wal", copy + "-wal");
    Result<std::unique_ptr<HostWalFiles>> recovered = HostWalFiles::Open(copy);
    ASSERT_TRUE(recovered.ok());
    Result<WalIndexHeader> header = CurrentHeader(recovered->get());
    ASSERT_TRUE(header.ok()) << header.status().text();
    ASSERT_GT(header->frames, 0u);
    frames_max_ = std::max(frames_max_, header->frames);

    const uint8_t* ours = Map(live, 0);
    const uint8_t* theirs = Map(recovered->get(), 0);
    for (size_t at = 0; at < 40; ++at) {
      if (at >= 8 && at < 12) continue;  // iChange: a recovery starts from 0.
      EXPECT_EQ(ours[at], theirs[at]) << "header byte " << at;
    }
    EXPECT_EQ(0, std::memcmp(ours, ours + 48, 48));
    int differences = 0;
    uint32_t before = 0;
    for (int block = 0; before < header->frames; ++block) {
      const uint32_t capacity = block == 0 ? kFirstBlockFrames : kBlockFrames;
      const uint32_t used = std::min(capacity, header->frames - before);
      differences +=
          Differences(Map(live, block), Map(recovered->get(), block), block == 0 ? 136 : 0, used);
      before += capacity;
    }
    EXPECT_EQ(differences, 0);
  }

  static const uint8_t* Map(HostWalFiles* files, int block) {
    Result<volatile uint8_t*> mapped = files->MapIndex(block, Extend::kNo);
    EXPECT_TRUE(mapped.ok());
    EXPECT_NE(*mapped, nullptr);
    return const_cast<const uint8_t*>(*mapped);
  }

  // Slots of frames that are not committed are nobody's business.
  static int Differences(const uint8_t* a, const uint8_t* b, size_t pages_at, uint32_t used) {
    int differences = 0;
    for (uint32_t i = 0; i < used; ++i)
      differences += std::memcmp(a + pages_at + 4 * i, b + pages_at + 4 * i, 4) != 0;
    for (uint32_t i = 0; i < kHashSlots; ++i) {
      uint16_t slots[2];
      std::memcpy(&slots[0], a + 16384 + 2 * i, 2);
      std::memcpy(&slots[1], b + 16384 + 2 * i, 2);
      for (uint16_t& slot : slots) slot = slot > used ? 0 : slot;
      differences += slots[0] != slots[1];
    }
    return differences;
  }

  TempDir dir_;
  uint32_t frames_max_ = 0;
};

TEST_P(WalIndexAfterApply, IsAsSqliteRecoversIt) {
  Rng rng(TestSeed());
  PageSource source(dir_.File("source.db"), GetParam());
  CopyDatabase(dir_.File("source.db"), dir_.File("replica.db"));
  auto files = std::move(*HostWalFiles::Open(dir_.File("replica.db")));
  Connection reader(dir_.File("replica.db"));
  int restarts = 0;
  int compared = 0;
  Salts salts{};
  uint32_t before = 0;
  for (int64_t txn = 1; txn <= 400; ++txn) {
    RunTransaction(source.db(), &rng, txn, GetParam() < 65536 ? Bulk::kLarge : Bulk::kSmall);
    const PageSet pages = source.Take();
    Result<WalIndexHeader> applied = ApplyLocked(files.get(), pages, {Sync::kNo, {}, {}});
    ASSERT_TRUE(applied.ok()) << applied.status().text();
    restarts += applied->salts != salts;
    if (applied->salts == salts)
      EXPECT_EQ(applied->frames, before + pages.size());
    else
      EXPECT_EQ(applied->frames, pages.size());
    salts = applied->salts;
    before = applied->frames;
    // Three passes of every length, then one that goes on to the end.
    if (txn % 40 == 0 && txn <= 120) {
      reader.Int("SELECT count(*) FROM t");
      EXPECT_EQ(reader.Text("PRAGMA wal_checkpoint(PASSIVE)"), "0");
    }
    if (txn % 20 == 0 || txn % 40 == 1) {
      ExpectAsRecovered(files.get());
      ++compared;
      int64_t seen = 0;
      EXPECT_EQ(CheckWorkload(&reader, &seen), "");
      EXPECT_EQ(seen, txn);
    }
    if (source.files()->WalSize().value() > (64u << 20)) source.Checkpoint();
  }
  EXPECT_EQ(restarts, 4);
  EXPECT_EQ(compared, 30);
  if (GetParam() < 65536) {
    EXPECT_GT(frames_max_, kFirstBlockFrames + kBlockFrames);
  }
  EXPECT_EQ(reader.Text("PRAGMA integrity_check"), "ok");
  EXPECT_EQ(reader.Image(), source.db()->Image());
}

INSTANTIATE_TEST_SUITE_P(PageSizes, WalIndexAfterApply, ::testing::Values(512u, 4096u, 65536u));

}  // namespace
}  // namespace turso
