// A write-ahead log: what is read from it, and what is collected out of it.
// Input: the log, as SQLite writes it.

#include <map>

#include "src/wal/apply.h"
#include "src/wal/wal.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/memory_wal_files.h"

namespace turso {
namespace {

using HeaderBytes = std::span<const uint8_t, kWalHeaderBytes>;
using FrameBytes = std::span<const uint8_t, kFrameHeaderBytes>;

// The header of the log; one header has one spelling.
Result<WalHeader> Decode(ByteView log) {
  const HeaderBytes bytes(log.data(), kWalHeaderBytes);
  Result<WalHeader> header = DecodeWalHeader(bytes);
  if (!header.ok()) {
    TURSO_REQUIRE(header.status().code() == Code::kCorrupt);
    fuzz::RequireSays(header.status());
    return header;
  }
  WalHeader copy = *header;
  std::array<uint8_t, kWalHeaderBytes> encoded{};
  EncodeWalHeader(&copy, encoded);
  TURSO_REQUIRE(std::equal(encoded.begin(), encoded.end(), bytes.begin()));
  TURSO_REQUIRE(copy.checksum == header->checksum && IsPageSize(header->page_size));
  return header;
}

// A header that is valid, with the page size, salts and order that the input has.
void SealHeader(MutableByteView log) {
  WalHeader header;
  header.order = (log[3] & 1) != 0 ? ChecksumOrder::kBigEndian : ChecksumOrder::kLittleEndian;
  header.page_size = 512;
  header.checkpoint_sequence = LoadBig32(&log[12]);
  std::copy_n(&log[16], header.salts.size(), header.salts.begin());
  EncodeWalHeader(&header, log.first<kWalHeaderBytes>());
}

void SealFrames(const WalHeader& header, MutableByteView log) {
  Checksum checksum = header.checksum;
  const size_t frame_bytes = kFrameHeaderBytes + header.page_size;
  for (size_t at = kWalHeaderBytes; at + frame_bytes <= log.size(); at += frame_bytes) {
    const MutableByteView frame = log.subspan(at, frame_bytes);
    FrameHeader decoded = DecodeFrameHeader(FrameBytes(frame.data(), kFrameHeaderBytes));
    decoded.salts = header.salts;
    EncodeFrameHeader(header.order, checksum, &decoded, frame.subspan(kFrameHeaderBytes),
                      frame.first<kFrameHeaderBytes>());
    checksum = decoded.checksum;
  }
}

// Frames that follow one another from the header on.
uint32_t CountValid(const WalHeader& header, ByteView log) {
  Checksum checksum = header.checksum;
  const size_t frame_bytes = kFrameHeaderBytes + header.page_size;
  uint32_t count = 0;
  for (size_t at = kWalHeaderBytes; at + frame_bytes <= log.size(); at += frame_bytes, count++) {
    const FrameBytes frame(log.data() + at, kFrameHeaderBytes);
    if (!FrameFollows(header.order, header.salts, checksum, frame,
                      log.subspan(at + kFrameHeaderBytes, header.page_size))) {
      break;
    }
    checksum = DecodeFrameHeader(frame).checksum;
  }
  return count;
}

// What CollectFrames makes of frames 1 to `last` is what a map makes of them.
void CheckCollected(const WalHeader& header, const Bytes& log, uint32_t last, uint32_t db_size) {
  MemoryWalFiles files;
  files.wal = log;
  fuzz::AllocationMeter meter;
  Result<PageSet> pages = CollectFrames(&files, header.page_size, {0}, {last}, db_size);
  TURSO_REQUIRE(meter.peak() <= 8 * log.size() + (2u << 20));
  const size_t frame_bytes = kFrameHeaderBytes + header.page_size;
  std::map<uint32_t, ByteView> expected;
  bool missing = false;
  for (uint32_t i = 0; i < last; i++) {
    const size_t at = kWalHeaderBytes + i * frame_bytes;
    uint8_t number[4] = {};
    for (size_t b = 0; b < 4; b++) number[b] = at + b < log.size() ? log[at + b] : uint8_t{0};
    const uint32_t page = LoadBig32(number);
    missing = missing || page == 0;
    if (missing) break;
    if (page <= db_size && at + frame_bytes <= log.size()) {
      expected[page] = ByteView(log).subspan(at + kFrameHeaderBytes, header.page_size);
    }
  }
  if (missing) {
    TURSO_REQUIRE(!pages.ok() && pages.status().code() == Code::kCorrupt);
    fuzz::RequireSays(pages.status());
    return;
  }
  TURSO_REQUIRE(pages.ok() && pages->db_size() == db_size);
  if (kWalHeaderBytes + last * frame_bytes > log.size()) return;
  TURSO_REQUIRE(pages->size() == expected.size());
  for (const auto& [page, image] : expected) {
    const uint8_t* found = pages->Find({page});
    TURSO_REQUIRE(found != nullptr && std::equal(image.begin(), image.end(), found));
  }
}

// One wrong word anywhere in a frame that follows, and it does not follow any more.
void CheckDamage(const WalHeader& header, Bytes log, uint32_t valid, size_t where) {
  if (valid == 0) return;
  const size_t frames_bytes = valid * (kFrameHeaderBytes + header.page_size);
  const size_t at = kWalHeaderBytes + where % frames_bytes;
  log[at] ^= 0x40;
  // Its database size counts in the checksum, and so does every other byte.
  TURSO_REQUIRE(CountValid(header, log) ==
                (at - kWalHeaderBytes) / (kFrameHeaderBytes + header.page_size));
}

void Check(const Bytes& log) {
  Result<WalHeader> header = Decode(log);
  if (!header.ok()) return;
  const uint32_t valid = CountValid(*header, log);
  const size_t whole = (log.size() - kWalHeaderBytes) / (kFrameHeaderBytes + header->page_size);
  TURSO_REQUIRE(valid <= whole);
  const uint32_t salt = LoadBig32(header->salts.data());
  CheckCollected(*header, log, valid, valid == 0 ? 0 : salt);
  CheckCollected(*header, log, static_cast<uint32_t>(whole) + salt % 3, salt % 64);
  CheckDamage(*header, log, valid, LoadBig32(header->salts.data() + 4));
}

}  // namespace
}  // namespace turso

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turso;
  if (size < kWalHeaderBytes) return 0;
  Bytes log(data, data + size);
  Check(log);
  SealHeader(log);
  Check(log);
  Result<WalHeader> header = DecodeWalHeader(MutableByteView(log).first<kWalHeaderBytes>());
  TURSO_REQUIRE(header.ok());
  SealFrames(*header, log);
  Check(log);
  return 0;
}
