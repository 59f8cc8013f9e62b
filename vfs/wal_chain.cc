// The chain of checksums in the log, where SQLite would break it.
//
// A transaction that spills a page twice overwrites the first frame and remembers that all headers
// from there on are to be written anew at the commit (Wal.iReCksum in wal.c); from then on it
// appends frames with zeros for salts and checksum. A ROLLBACK TO takes the end of the log back,
// but leaves iReCksum behind that end: what is appended then has zeros, and the commit starts anew
// only at iReCksum. Live connections see the transaction, recovery stops before it: it and all that
// follow are lost at the next crash, or for a replica, whose log no last connection checkpoints, at
// the next start. SQLite 3.40 does so.
//
// At the commit SQLite reads the checksum to go on from, the eight bytes at the end of the header
// before iReCksum, when all frames of the transaction are in the file. So that is where the headers
// before it can be put right.

#include <algorithm>
#include <vector>

#include "src/base/log.h"
#include "src/wal/wal.h"
#include "src/wal/wal_index.h"
#include "vfs/gated_file.h"
#include "vfs/guarded.h"

namespace turso {

namespace {

constexpr size_t kChecksumInFrameHeader = 16;

// Writes the headers of the frames behind `base` up to `last` as they must be. The checksum of the
// last of them.
Result<Checksum> WriteHeaders(LowerFiles* files, uint32_t page_size, FrameNo base, FrameNo last) {
  std::array<uint8_t, kWalHeaderBytes> log_bytes{};
  TURSO_RETURN_IF_ERROR(files->ReadWal(0, log_bytes));
  Result<WalHeader> log = DecodeWalHeader(log_bytes);
  if (!log.ok()) return log.status();
  Checksum checksum = log->checksum;
  std::array<uint8_t, kFrameHeaderBytes> bytes{};
  if (base.value > 0) {
    TURSO_RETURN_IF_ERROR(files->ReadWal(FrameOffset(base, page_size), bytes));
    checksum = DecodeFrameHeader(bytes).checksum;
  }
  std::vector<uint8_t> page(page_size);
  for (FrameNo frame{base.value + 1}; frame <= last; ++frame.value) {
    const uint64_t offset = FrameOffset(frame, page_size);
    TURSO_RETURN_IF_ERROR(files->ReadWal(offset, bytes));
    TURSO_RETURN_IF_ERROR(files->ReadWal(offset + kFrameHeaderBytes, page));
    FrameHeader header = DecodeFrameHeader(bytes);
    header.salts = log->salts;
    EncodeFrameHeader(log->order, checksum, &header, page, bytes);
    checksum = header.checksum;
    TURSO_RETURN_IF_ERROR(files->WriteWal(offset, bytes));
  }
  return checksum;
}

// Whether the frame has a header that SQLite meant to write anew.
Result<bool> IsUnfinished(LowerFiles* files, uint32_t page_size, FrameNo frame) {
  std::array<uint8_t, kFrameHeaderBytes> bytes{};
  TURSO_RETURN_IF_ERROR(files->ReadWal(FrameOffset(frame, page_size), bytes));
  const FrameHeader header = DecodeFrameHeader(bytes);
  return header.salts == Salts{} && header.checksum == Checksum{};
}

FrameNo FrameAt(uint64_t offset, uint32_t page_size) {
  return {static_cast<uint32_t>((offset - kWalHeaderBytes) / (kFrameHeaderBytes + page_size) + 1)};
}

Status Mend(Session* session, uint64_t offset, uint8_t* seed) {
  LowerFiles* files = &*session->files;
  const uint32_t page_size = session->page_size;
  const FrameNo asked = FrameAt(offset, page_size);
  const FrameNo commit = FrameAt(session->held_offset, page_size);
  WalIndex index(files);
  Result<std::optional<WalIndexHeader>> live = index.ReadHeader();
  if (!live.ok()) return live.status();
  if (!live->has_value()) return Status(Code::kIo, "the wal-index is not readable");
  const FrameNo base{(*live)->frames};
  if (asked <= base) return OkStatus();
  const FrameNo last = std::min(asked, commit);
  if (asked <= commit) {
    Result<bool> unfinished = IsUnfinished(files, page_size, last);
    if (!unfinished.ok()) return unfinished.status();
    if (!*unfinished) return OkStatus();
  }
  Result<Checksum> checksum = WriteHeaders(files, page_size, base, last);
  if (!checksum.ok()) return checksum.status();
  StoreBig32(seed, checksum->first);
  StoreBig32(seed + 4, checksum->second);
  return OkStatus();
}

}  // namespace

bool IsChainSeed(const Session* session, int count, sqlite3_int64 offset) {
  const auto at = static_cast<uint64_t>(offset);
  if (!session->agreed || count != 2 * sizeof(uint32_t) || at < kWalHeaderBytes) return false;
  return (at - kWalHeaderBytes) % (kFrameHeaderBytes + session->page_size) ==
         kChecksumInFrameHeader;
}

int MendChain(Session* session, sqlite3_int64 offset, uint8_t* seed) {
  const Status mended = Asked([&] { return Mend(session, static_cast<uint64_t>(offset), seed); });
  if (mended.ok()) return SQLITE_OK;
  Log(LogLevel::kError,
      "completing the log of " + (*session->database)->path + ": " + mended.text());
  return SQLITE_IOERR_READ;
}

}  // namespace turso
