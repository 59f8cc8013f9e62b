// The writes to the WAL, and in them the commit.
//
// SQLite writes a frame as its 24-byte header and then its page (walWriteOneFrame in wal.c); it may
// rewrite pages of earlier frames of the same transaction in place, and then, behind the commit
// frame, all headers from the first such frame on (walRewriteChecksums). When the page of the
// commit frame arrives, every page is final, whatever becomes of the checksums.

#include <algorithm>

#include "src/base/log.h"
#include "vfs/gated_file.h"
#include "vfs/guarded.h"
#include "vfs/result_codes.h"

namespace turso {

namespace {

enum class Piece { kLogHeader, kFrameHeader, kPage, kOther };

Piece PieceAt(uint64_t offset, size_t count, uint32_t page_size) {
  if (offset == 0 && count == kWalHeaderBytes) return Piece::kLogHeader;
  if (offset < kWalHeaderBytes) return Piece::kOther;
  uint64_t in_frame = (offset - kWalHeaderBytes) % (kFrameHeaderBytes + page_size);
  if (in_frame == 0 && count == kFrameHeaderBytes) return Piece::kFrameHeader;
  if (in_frame == kFrameHeaderBytes && count == page_size) return Piece::kPage;
  return Piece::kOther;
}

FrameNo FrameAt(uint64_t offset, uint32_t page_size) {
  return {static_cast<uint32_t>((offset - kWalHeaderBytes) / (kFrameHeaderBytes + page_size) + 1)};
}

int WriteBelow(sqlite3_file* lower, const void* bytes, size_t count, uint64_t offset) {
  return lower->pMethods->xWrite(lower, bytes, static_cast<int>(count),
                                 static_cast<sqlite3_int64>(offset));
}

// All frames of the transaction are in the file but the header of the last.
Result<PageSet> TransactionPages(Session* session, const void* last_page, FramePlan* plan) {
  FrameHeader commit = DecodeFrameHeader(session->held);
  WalIndex index(&*session->files);
  Result<std::optional<WalIndexHeader>> header = index.ReadHeader();
  if (!header.ok()) return header.status();
  if (!header->has_value())
    return Status(Code::kIo, "the wal-index is not readable inside a transaction");
  plan->base = FrameNo{(*header)->frames};
  plan->last = FrameAt(session->held_offset, session->page_size);
  std::array<uint8_t, kWalHeaderBytes> log_header{};
  TURSO_RETURN_IF_ERROR(session->files->ReadWal(0, log_header));
  std::copy_n(log_header.begin() + 16, plan->salts.size(), plan->salts.begin());
  if (plan->last <= plan->base) return Status(Code::kIo, "a commit frame inside the committed log");

  // An index block for the new frames is made now, so that nothing is left to fail for want of
  // space afterwards.
  constexpr uint32_t kFramesInBlock0 = 4062;
  constexpr uint32_t kFramesInBlock = 4096;
  int block = plan->last.value <= kFramesInBlock0
                  ? 0
                  : static_cast<int>((plan->last.value - kFramesInBlock0 - 1) / kFramesInBlock) + 1;
  Result<volatile uint8_t*> mapped = session->files->MapIndex(block, Extend::kYes);
  if (!mapped.ok()) return mapped.status();

  FrameNo before_last{plan->last.value - 1};
  Result<PageSet> pages =
      CollectFrames(&*session->files, session->page_size, plan->base, before_last, commit.db_size);
  if (!pages.ok()) return pages.status();
  pages->set_db_size(commit.db_size);
  pages->Put(commit.page, static_cast<const uint8_t*>(last_page));
  pages->Trim();
  return pages;
}

int Commit(Session* session, sqlite3_file* lower, const void* page) {
  int code = WriteBelow(lower, page, session->page_size, session->held_offset + kFrameHeaderBytes);
  if (code != SQLITE_OK) return code == SQLITE_BUSY ? SQLITE_IOERR_WRITE : code;
  FramePlan plan;
  Result<PageSet> pages = TransactionPages(session, page, &plan);
  if (!pages.ok()) {
    Log(LogLevel::kError,
        "committing to " + (*session->database)->path + ": " + pages.status().text());
    return CodeAtCommit(pages.status());
  }
  Status agreed = Asked([&] {
    return (**session->database)
        .gate->Commit(&*session->files, *pages, plan, InterruptedBy(session));
  });
  // Out of memory where the request may have gone out already.
  if (agreed.code() == Code::kNoMemory) return kIoErrOutcomeUnknown;
  if (!agreed.ok()) return CodeAtCommit(agreed);
  session->agreed = true;
  code = WriteBelow(lower, session->held.data(), session->held.size(), session->held_offset);
  if (code != SQLITE_OK) {
    Log(LogLevel::kError,
        "committing to " + (*session->database)->path +
            ": the primary has the transaction, but the local log could not be written; the next "
            "write or pull brings it");
    return kIoErrOutcomeUnknown;
  }
  return SQLITE_OK;
}

}  // namespace

int BehindAgreement(const Session* session, int code) {
  return code != SQLITE_OK && code != SQLITE_IOERR_SHORT_READ && session->agreed
             ? kIoErrOutcomeUnknown
             : code;
}

int WriteWal(Session* session, sqlite3_file* lower, const void* bytes, int count,
             sqlite3_int64 offset) {
  auto at = static_cast<uint64_t>(offset);
  auto size = static_cast<size_t>(count);
  Piece piece = PieceAt(at, size, session->page_size);
  if (piece == Piece::kOther) {
    Log(LogLevel::kError, "writing the WAL of " + (*session->database)->path + ": " +
                              std::to_string(count) + " bytes at " + std::to_string(offset) +
                              " are no part of a frame that we know");
    return SQLITE_IOERR_WRITE;
  }
  // Behind the commit frame SQLite may rewrite headers for their checksums, that of the commit
  // among them.
  const bool rewritten = session->agreed && at <= session->held_offset;
  if (piece == Piece::kFrameHeader && !rewritten) {
    const auto* header = static_cast<const uint8_t*>(bytes);
    bool commits = LoadBig32(header + 4) != 0;
    if (commits && (!session->entered || session->agreed)) return SQLITE_READONLY;
    session->header_held = commits;
    if (commits) {
      session->held_offset = at;
      std::copy_n(header, kFrameHeaderBytes, session->held.begin());
      return SQLITE_OK;
    }
  }
  if (piece == Piece::kPage && session->header_held &&
      at == session->held_offset + kFrameHeaderBytes) {
    session->header_held = false;
    return Commit(session, lower, bytes);
  }
  const int code = WriteBelow(lower, bytes, size, at);
  // Whatever `synchronous` says, as StartLog() in src/wal/apply.cc: new frames under the old header
  // would leave a part of the old log, which hides what the checkpoint wrote.
  if (code == SQLITE_OK && piece == Piece::kLogHeader) {
    return lower->pMethods->xSync(lower, SQLITE_SYNC_NORMAL);
  }
  return code;
}

}  // namespace turso
