#include "src/wal/wal.h"

#include <algorithm>
#include <bit>

namespace turso {
namespace {

constexpr uint32_t kMagic = 0x377f0682;  // The lowest bit is the checksum order.
constexpr size_t kChecksummedHeaderBytes = 24;
constexpr size_t kChecksummedFrameBytes = 8;

template <bool kSwap>
Checksum Accumulate(Checksum sum, ByteView bytes) {
  uint32_t first = sum.first;
  uint32_t second = sum.second;
  const uint8_t* p = bytes.data();
  const uint8_t* end = p + bytes.size() / 8 * 8;
  for (; p != end; p += 8) {
    uint32_t words[2];
    std::memcpy(words, p, sizeof words);
    if constexpr (kSwap) {
      words[0] = __builtin_bswap32(words[0]);
      words[1] = __builtin_bswap32(words[1]);
    }
    first += words[0] + second;
    second += words[1] + first;
  }
  return {first, second};
}

}  // namespace

ChecksumOrder NativeChecksumOrder() {
  return std::endian::native == std::endian::little ? ChecksumOrder::kLittleEndian
                                                    : ChecksumOrder::kBigEndian;
}

Checksum ChecksumOf(ChecksumOrder order, Checksum seed, ByteView bytes) {
  return order == NativeChecksumOrder() ? Accumulate<false>(seed, bytes)
                                        : Accumulate<true>(seed, bytes);
}

Result<WalHeader> DecodeWalHeader(std::span<const uint8_t, kWalHeaderBytes> bytes) {
  const uint8_t* p = bytes.data();
  const uint32_t magic = LoadBig32(p);
  if ((magic & ~1u) != kMagic) return Status(Code::kCorrupt, "not a write-ahead log");
  WalHeader header;
  header.order = (magic & 1) ? ChecksumOrder::kBigEndian : ChecksumOrder::kLittleEndian;
  header.checksum = {LoadBig32(p + 24), LoadBig32(p + 28)};
  if (ChecksumOf(header.order, {}, bytes.first(kChecksummedHeaderBytes)) != header.checksum)
    return Status(Code::kCorrupt, "the checksum of the write-ahead log's header does not fit");
  const uint32_t version = LoadBig32(p + 4);
  if (version != kWalVersion) {
    return Status(Code::kCorrupt, "write-ahead log of unknown version " + std::to_string(version));
  }
  header.page_size = LoadBig32(p + 8);
  if (!IsPageSize(header.page_size)) {
    return Status(Code::kCorrupt,
                  "write-ahead log with impossible page size " + std::to_string(header.page_size));
  }
  header.checkpoint_sequence = LoadBig32(p + 12);
  std::copy_n(p + 16, header.salts.size(), header.salts.begin());
  return header;
}

void EncodeWalHeader(WalHeader* header, std::span<uint8_t, kWalHeaderBytes> out) {
  uint8_t* p = out.data();
  StoreBig32(p, kMagic | (header->order == ChecksumOrder::kBigEndian ? 1 : 0));
  StoreBig32(p + 4, kWalVersion);
  StoreBig32(p + 8, header->page_size);
  StoreBig32(p + 12, header->checkpoint_sequence);
  std::copy(header->salts.begin(), header->salts.end(), p + 16);
  header->checksum = ChecksumOf(header->order, {}, out.first(kChecksummedHeaderBytes));
  StoreBig32(p + 24, header->checksum.first);
  StoreBig32(p + 28, header->checksum.second);
}

FrameHeader DecodeFrameHeader(std::span<const uint8_t, kFrameHeaderBytes> bytes) {
  const uint8_t* p = bytes.data();
  FrameHeader header;
  header.page = {LoadBig32(p)};
  header.db_size = LoadBig32(p + 4);
  std::copy_n(p + 8, header.salts.size(), header.salts.begin());
  header.checksum = {LoadBig32(p + 16), LoadBig32(p + 20)};
  return header;
}

void EncodeFrameHeader(ChecksumOrder order, Checksum previous, FrameHeader* header, ByteView page,
                       std::span<uint8_t, kFrameHeaderBytes> out) {
  uint8_t* p = out.data();
  StoreBig32(p, header->page.value);
  StoreBig32(p + 4, header->db_size);
  std::copy(header->salts.begin(), header->salts.end(), p + 8);
  const Checksum sum = ChecksumOf(order, previous, out.first(kChecksummedFrameBytes));
  header->checksum = ChecksumOf(order, sum, page);
  StoreBig32(p + 16, header->checksum.first);
  StoreBig32(p + 20, header->checksum.second);
}

bool FrameFollows(ChecksumOrder order, const Salts& salts, Checksum previous,
                  std::span<const uint8_t, kFrameHeaderBytes> header, ByteView page) {
  const FrameHeader frame = DecodeFrameHeader(header);
  if (frame.page.value == 0 || frame.salts != salts) return false;
  const Checksum sum = ChecksumOf(order, previous, header.first(kChecksummedFrameBytes));
  return ChecksumOf(order, sum, page) == frame.checksum;
}

}  // namespace turso
