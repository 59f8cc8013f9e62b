#include "src/wal/wal.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/connection.h"
#include "tests/support/host_wal_files.h"
#include "tests/support/page_source.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wal_scan.h"

namespace turso {
namespace {

// What SQLite makes of `database` with the log `wal`: recovered in `dir`.
struct Recovered {
  WalIndexHeader header;
  std::string integrity;
};
Recovered Recover(const TempDir& dir, ByteView database, ByteView wal) {
  const std::string path = dir.File("recovered.db");
  std::filesystem::remove(path + "-shm");
  WriteWholeFile(path, database);
  WriteWholeFile(path + "-wal", wal);
  Recovered recovered;
  Result<std::unique_ptr<HostWalFiles>> files = HostWalFiles::Open(path);
  EXPECT_TRUE(files.ok()) << files.status().text();
  Result<WalIndexHeader> header = CurrentHeader(files->get());
  EXPECT_TRUE(header.ok()) << header.status().text();
  if (header.ok()) recovered.header = *header;
  recovered.integrity = Connection(path).Text("PRAGMA integrity_check");
  return recovered;
}

void ExpectSamePrefix(const WalScan& scan, const WalIndexHeader& recovered) {
  EXPECT_EQ(scan.committed.frames, recovered.frames);
  if (recovered.frames == 0) return;
  EXPECT_EQ(scan.committed, recovered.position());
  EXPECT_EQ(scan.db_size, recovered.db_size);
  EXPECT_EQ(scan.header->page_size, recovered.page_size);
  EXPECT_EQ(scan.header->order, recovered.order);
}

// Decodes and encodes the header and all valid frames; in `order`, if it is another than the
// file's.
Bytes Reencode(ByteView wal, ChecksumOrder order) {
  const WalScan scan = ScanWal(wal);
  Bytes out(wal.begin(), wal.end());
  WalHeader header = *scan.header;
  header.order = order;
  EncodeWalHeader(&header, MutableByteView(out).first<kWalHeaderBytes>());
  Checksum checksum = header.checksum;
  uint32_t number = 0;
  for (FrameHeader frame : scan.valid) {
    const uint64_t at = FrameOffset({++number}, header.page_size);
    frame.checksum = {};
    EncodeFrameHeader(order, checksum, &frame,
                      wal.subspan(at + kFrameHeaderBytes, header.page_size),
                      MutableByteView(out).subspan(at).first<kFrameHeaderBytes>());
    checksum = frame.checksum;
  }
  return out;
}

// A database, and a log that SQLite wrote: two passes, the second shorter, so that frames of the
// first are left behind it, with spilled and rolled back transactions.
class WalOfSqlite : public ::testing::TestWithParam<uint32_t> {
 protected:
  WalOfSqlite() : rng_(TestSeed()) {
    const std::string path = dir_.File("source.db");
    Connection db(path);
    CreateWorkload(&db, GetParam());
    int64_t txn = 0;
    for (int i = 0; i < 60; ++i) RunTransaction(&db, &rng_, ++txn, Bulk::kSmall);
    // Longer than whatever comes in the second pass.
    for (int i = 0; i < 25; ++i) db.Run("UPDATE t SET pad=randomblob(900)");
    EXPECT_EQ(db.Text("PRAGMA wal_checkpoint(RESTART)"), "0");
    for (int i = 0; i < 12; ++i) {
      RunTransaction(&db, &rng_, ++txn, Bulk::kSmall);
      SpillAndCommitOrRollBack(&db, i);
    }
    database_ = ReadWholeFile(path);
    wal_ = ReadWholeFile(path + "-wal");
  }

  // With little cache SQLite writes frames early, and over them again. Not so with the ROLLBACK TO
  // of RunTransaction: stock SQLite 3.40 then leaves frames without a checksum, where a recovery
  // stops (vfs/wal_chain.cc).
  static void SpillAndCommitOrRollBack(Connection* db, int i) {
    db->Run("PRAGMA cache_size=5");
    db->Run("BEGIN; UPDATE t SET pad=randomblob(600) WHERE id%9=" + std::to_string(i % 9));
    db->Run("UPDATE t SET v=v WHERE id%3=0");
    db->Run(i % 2 == 0 ? "ROLLBACK" : "COMMIT");
    db->Run("PRAGMA cache_size=2000");
  }

  TempDir dir_;
  Rng rng_;
  Bytes database_;
  Bytes wal_;
};

TEST_P(WalOfSqlite, IsDecodedAndEncodedToTheSameBytes) {
  const WalScan scan = ScanWal(wal_);
  ASSERT_TRUE(scan.header);
  EXPECT_EQ(scan.header->page_size, GetParam());
  EXPECT_EQ(scan.header->order, NativeChecksumOrder());
  EXPECT_EQ(scan.header->checkpoint_sequence, 1u);
  ASSERT_GE(scan.valid.size(), 12u);
  EXPECT_EQ(Reencode(wal_, scan.header->order), wal_);
}

TEST_P(WalOfSqlite, HasThePrefixThatSqliteRecovers) {
  const WalScan scan = ScanWal(wal_);
  EXPECT_LT(FrameOffset({scan.committed.frames + 1}, GetParam()), wal_.size())
      << "no frames of the first pass are left";
  const Recovered recovered = Recover(dir_, database_, wal_);
  ExpectSamePrefix(scan, recovered.header);
  EXPECT_EQ(recovered.integrity, "ok");
}

TEST_P(WalOfSqlite, IsReadBySqliteAfterEncodingInTheOtherByteOrder) {
  const ChecksumOrder other = NativeChecksumOrder() == ChecksumOrder::kLittleEndian
                                  ? ChecksumOrder::kBigEndian
                                  : ChecksumOrder::kLittleEndian;
  const Bytes swapped = Reencode(wal_, other);
  ASSERT_NE(swapped, wal_);
  const Recovered recovered = Recover(dir_, database_, swapped);
  EXPECT_EQ(recovered.header.order, other);
  ExpectSamePrefix(ScanWal(swapped), recovered.header);
  EXPECT_EQ(recovered.header.frames, ScanWal(wal_).committed.frames);
  EXPECT_EQ(recovered.integrity, "ok");
}

TEST_P(WalOfSqlite, HasThePrefixThatSqliteRecoversWhereverItIsCut) {
  const uint64_t end = FrameOffset({ScanWal(wal_).committed.frames + 1}, GetParam());
  for (int i = 0; i < 40; ++i) {
    const size_t size = static_cast<size_t>(Between(&rng_, 0, static_cast<int>(end)));
    SCOPED_TRACE("cut to " + std::to_string(size));
    const Bytes cut(wal_.begin(), wal_.begin() + static_cast<ptrdiff_t>(size));
    const Recovered recovered = Recover(dir_, database_, cut);
    ExpectSamePrefix(ScanWal(cut), recovered.header);
    EXPECT_EQ(recovered.integrity, "ok");
  }
}

TEST_P(WalOfSqlite, HasThePrefixThatSqliteRecoversWhicheverByteIsFlipped) {
  const int end = static_cast<int>(FrameOffset({ScanWal(wal_).committed.frames + 1}, GetParam()));
  for (int i = 0; i < 60; ++i) {
    // Every third in the header, every third in a frame's header.
    int at = Between(&rng_, 0, i % 3 == 0 ? int{kWalHeaderBytes} - 1 : end - 1);
    if (i % 3 == 1) {
      const int frame = Between(&rng_, 1, static_cast<int>(ScanWal(wal_).valid.size()));
      at = static_cast<int>(FrameOffset({static_cast<uint32_t>(frame)}, GetParam())) +
           Between(&rng_, 0, int{kFrameHeaderBytes} - 1);
    }
    SCOPED_TRACE("flipped byte " + std::to_string(at));
    Bytes flipped = wal_;
    flipped[static_cast<size_t>(at)] ^= static_cast<uint8_t>(1 << Between(&rng_, 0, 7));
    const Recovered recovered = Recover(dir_, database_, flipped);
    ExpectSamePrefix(ScanWal(flipped), recovered.header);
    EXPECT_EQ(recovered.integrity, "ok");
  }
}

INSTANTIATE_TEST_SUITE_P(PageSizes, WalOfSqlite, ::testing::Values(512u, 4096u, 65536u));

std::array<uint8_t, kWalHeaderBytes> EncodedHeader(uint32_t page_size, uint32_t version) {
  WalHeader header;
  header.order = ChecksumOrder::kBigEndian;
  header.page_size = page_size;
  header.salts = {1, 2, 3, 4, 5, 6, 7, 8};
  std::array<uint8_t, kWalHeaderBytes> bytes;
  EncodeWalHeader(&header, bytes);
  StoreBig32(&bytes[4], version);
  const Checksum sum = ChecksumOf(header.order, {}, std::span(bytes).first<24>());
  StoreBig32(&bytes[24], sum.first);
  StoreBig32(&bytes[28], sum.second);
  return bytes;
}

TEST(WalHeader, IsRefusedWithAnImpossiblePageSize) {
  for (uint32_t size : {0u, 1u, 256u, 511u, 513u, 4097u, 65535u, 65537u, 131072u, 0x80000000u}) {
    const Result<WalHeader> header = DecodeWalHeader(EncodedHeader(size, kWalVersion));
    ASSERT_FALSE(header.ok()) << size;
    EXPECT_EQ(header.status().code(), Code::kCorrupt);
  }
  for (uint32_t size = 512; size <= 65536; size *= 2)
    EXPECT_TRUE(DecodeWalHeader(EncodedHeader(size, kWalVersion)).ok()) << size;
}

TEST(WalHeader, IsRefusedWithAnotherVersion) {
  const Result<WalHeader> header = DecodeWalHeader(EncodedHeader(4096, kWalVersion + 1));
  ASSERT_FALSE(header.ok());
  EXPECT_EQ(header.status().code(), Code::kCorrupt);
  EXPECT_NE(header.status().text().find("3007001"), std::string::npos) << header.status().text();
}

TEST(WalHeader, IsRefusedWithAnyBitFlipped) {
  const auto good = EncodedHeader(4096, kWalVersion);
  for (size_t bit = 0; bit < 8 * kWalHeaderBytes; ++bit) {
    auto bytes = good;
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_FALSE(DecodeWalHeader(bytes).ok()) << "bit " << bit;
  }
}

class WalChain : public ::testing::TestWithParam<ChecksumOrder> {
 protected:
  WalChain() : page_(512, 0xa5) { EncodeFrameHeader(GetParam(), previous_, &frame_, page_, raw_); }
  bool Follows() const { return FrameFollows(GetParam(), salts_, previous_, raw_, page_); }

  const Salts salts_{9, 8, 7, 6, 5, 4, 3, 2};
  const Checksum previous_{0x12345678, 0x9abcdef0};
  Bytes page_;
  FrameHeader frame_{{7}, 9, salts_, {}};
  std::array<uint8_t, kFrameHeaderBytes> raw_{};
};

TEST_P(WalChain, EndsAtAFrameWithAnyBitFlipped) {
  ASSERT_TRUE(Follows());
  for (size_t bit = 0; bit < 8 * raw_.size(); ++bit) {
    raw_[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_FALSE(Follows()) << "bit " << bit << " of the header";
    raw_[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
  for (size_t bit = 0; bit < 8 * page_.size(); ++bit) {
    page_[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_FALSE(Follows()) << "bit " << bit << " of the page";
    page_[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
  EXPECT_TRUE(Follows());
}

TEST_P(WalChain, EndsAtAFrameOfPageZero) {
  frame_.page = {0};
  EncodeFrameHeader(GetParam(), previous_, &frame_, page_, raw_);
  EXPECT_FALSE(Follows());
}

TEST_P(WalChain, EndsAtAFrameLeftFromAnEarlierPass) {
  frame_.salts[0] ^= 1;
  EncodeFrameHeader(GetParam(), previous_, &frame_, page_, raw_);
  EXPECT_FALSE(Follows());
}

TEST_P(WalChain, KeepsAllFieldsOfAFrameHeader) {
  const FrameHeader decoded = DecodeFrameHeader(raw_);
  EXPECT_EQ(decoded.page, frame_.page);
  EXPECT_EQ(decoded.db_size, frame_.db_size);
  EXPECT_EQ(decoded.salts, frame_.salts);
  EXPECT_EQ(decoded.checksum, frame_.checksum);
}

INSTANTIATE_TEST_SUITE_P(Orders, WalChain,
                         ::testing::Values(ChecksumOrder::kLittleEndian,
                                           ChecksumOrder::kBigEndian));

TEST(WalFrameOffset, IsBeyondFourGigabytesWithoutOverflow) {
  EXPECT_EQ(FrameOffset({1}, 65536), 32u);
  EXPECT_EQ(FrameOffset({0xffffffff}, 65536), 32u + uint64_t{0xfffffffe} * (65536 + 24));
}

}  // namespace
}  // namespace turso
