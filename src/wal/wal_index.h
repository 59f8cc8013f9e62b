// SQLite's wal-index (the -shm file), as shared memory:
// https://sqlite.org/walformat.html#the_wal_index_file_format
//
//   block 0:  WalIndexHeader copy 0 (48 bytes) | copy 1 (48) | checkpoint state (40)
//             | 4062 page numbers | hash table
//   block n:  4096 page numbers | hash table
//   a hash table is 8192 slots of 16 bits
//
// Other processes read it while we write. Fields are in the machine's byte order.
//   (WI1) A header is believed only if both copies are equal and the checksum fits.
//   (WI2) A frame's page number is there before its hash slot, both before the header that counts
//         it.

#ifndef TURSO_SRC_WAL_WAL_INDEX_H_
#define TURSO_SRC_WAL_WAL_INDEX_H_

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "src/base/page_set.h"
#include "src/base/status.h"
#include "src/wal/wal.h"
#include "src/wal/wal_files.h"

namespace turso {

struct WalIndexHeader {
  uint32_t change_counter = 0;
  ChecksumOrder order = ChecksumOrder::kLittleEndian;
  uint32_t page_size = 0;
  uint32_t frames = 0;   // mxFrame: valid and committed.
  uint32_t db_size = 0;  // nPage: of the database, in pages.
  Checksum frame_checksum;
  Salts salts{};

  WalPosition position() const {
    return frames == 0 ? WalPosition{} : WalPosition{salts, frames, frame_checksum};
  }
};

// A view on the wal-index of `files`, which must outlive it. No state of its own but the mapped
// blocks.
class WalIndex {
 public:
  explicit WalIndex(WalFiles* files) : files_(files) {}

  // The header, or nothing if SQLite must recover first (absent, torn, not initialised). kCorrupt
  // for a format that is not version 3007000. Takes no lock; without the WRITE lock a torn read is
  // possible and gives nothing.
  Result<std::optional<WalIndexHeader>> ReadHeader();
  // Copy 1, barrier, copy 0. WRITE held.
  Status WriteHeader(const WalIndexHeader& header);

  // nBackfill: frames that a checkpoint has copied into the database file.
  Result<uint32_t> Backfilled();
  // The frame that read mark 1, 2, 3 or 4 names. It may be moved by who has its lock exclusively.
  Result<uint32_t> ReadMark(int mark);
  Status SetReadMark(int mark, uint32_t frame);

  // The newest frame of `page` not above `limit`, or frame 0: then the database file has it. The
  // caller holds WRITE, or a read lock that keeps the frames.
  Result<FrameNo> Find(PageNo page, FrameNo limit);
  // The page number of a frame.
  Result<PageNo> PageOf(FrameNo frame);
  // Maps the blocks for all frames up to `last`, so that Append cannot fail for want of space.
  // WRITE held.
  Status Reserve(FrameNo last);
  // Enters `frame` for `page`, cleaning up what a dead or rolled-back writer left. WRITE held;
  // frames in order.
  Status Append(FrameNo frame, PageNo page);
  // Starts the log afresh: nBackfill 0 first, then the read marks, barrier, then a header with no
  // frames and the new salts. WRITE, CHECKPOINT and READ1..READ4 held.
  Status Restart(WalIndexHeader* header, const Salts& new_salts);

 private:
  Result<volatile uint8_t*> Block(int block, Extend extend);

  WalFiles* files_;
  std::vector<volatile uint8_t*> blocks_;
};

}  // namespace turso

#endif  // TURSO_SRC_WAL_WAL_INDEX_H_
