// SQLite's write-ahead log, as bytes: https://sqlite.org/fileformat2.html#walformat
//
//   wal    := header frame*             Every field is a big-endian 32-bit integer.
//   frame  := frame_header page
//
//   header, 32 bytes                    frame_header, 24 bytes
//    0 magic 0x377f0682 or ...83         0 page number
//    4 version 3007000                   4 database size in pages after a commit; 0 if no commit
//    8 page size                         8 salt-1
//   12 checkpoint sequence number       12 salt-2
//   16 salt-1                           16 checksum-1 of everything so far, this frame included
//   20 salt-2                           20 checksum-2
//   24 checksum-1 of bytes 0 to 23
//   28 checksum-2
//
// The lowest bit of the magic tells in which byte order checksums read their input.
// A frame is valid if its salt is the header's and its checksum follows from the frame before. So
// validity belongs to a prefix, never to a single frame: the first frame that does not fit ends the
// log. Pure: bytes in, values out. Any thread.

#ifndef TURSO_SRC_WAL_WAL_H_
#define TURSO_SRC_WAL_WAL_H_

#include <array>
#include <cstdint>
#include <span>

#include "src/base/bytes.h"
#include "src/base/page_set.h"
#include "src/base/status.h"

namespace turso {

inline constexpr size_t kWalHeaderBytes = 32;
inline constexpr size_t kFrameHeaderBytes = 24;
inline constexpr uint32_t kWalVersion = 3007000;

// Both salts as the eight bytes of the file.
using Salts = std::array<uint8_t, 8>;

struct Checksum {
  uint32_t first = 0;
  uint32_t second = 0;
  friend bool operator==(Checksum, Checksum) = default;
};

enum class ChecksumOrder { kLittleEndian, kBigEndian };

// The order that SQLite uses for the WALs it starts on this machine.
ChecksumOrder NativeChecksumOrder();

// Goes on from `seed` over `bytes`, a multiple of 8 long.
Checksum ChecksumOf(ChecksumOrder order, Checksum seed, ByteView bytes);

struct WalHeader {
  ChecksumOrder order = ChecksumOrder::kLittleEndian;
  uint32_t page_size = 0;
  uint32_t checkpoint_sequence = 0;
  Salts salts{};
  Checksum checksum;  // Set by Decode and Encode.
};

// kCorrupt if it is not a valid header of the version that we know.
Result<WalHeader> DecodeWalHeader(std::span<const uint8_t, kWalHeaderBytes> bytes);
// Writes the 32 bytes and sets header->checksum.
void EncodeWalHeader(WalHeader* header, std::span<uint8_t, kWalHeaderBytes> out);

struct FrameHeader {
  PageNo page;
  uint32_t db_size = 0;  // In pages; 0 if the frame commits nothing.
  Salts salts{};
  Checksum checksum;
};

FrameHeader DecodeFrameHeader(std::span<const uint8_t, kFrameHeaderBytes> bytes);
// Writes the 24 bytes; the checksum goes on from `previous` and is left in header->checksum.
void EncodeFrameHeader(ChecksumOrder order, Checksum previous, FrameHeader* header, ByteView page,
                       std::span<uint8_t, kFrameHeaderBytes> out);
// Whether the frame belongs to this log, right behind the frame whose checksum is `previous`.
bool FrameFollows(ChecksumOrder order, const Salts& salts, Checksum previous,
                  std::span<const uint8_t, kFrameHeaderBytes> header, ByteView page);

inline uint64_t FrameOffset(FrameNo frame, uint32_t page_size) {
  return kWalHeaderBytes + uint64_t{frame.value - 1} * (kFrameHeaderBytes + page_size);
}

// Which state of which log: enough to recognise it exactly. `frames` is 0 and the rest zero for "no
// frame is valid".
struct WalPosition {
  Salts salts{};
  uint32_t frames = 0;
  Checksum checksum;  // Of the last of them.
  friend bool operator==(const WalPosition&, const WalPosition&) = default;
};

}  // namespace turso

#endif  // TURSO_SRC_WAL_WAL_H_
