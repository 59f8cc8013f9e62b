#include "src/wal/apply.h"

#include <unistd.h>
#if defined(__APPLE__)
#include <sys/random.h>
#endif

#include <algorithm>
#include <limits>
#include <optional>
#include <string>

#include "src/wal/held_lock.h"
#include "src/wal/wal.h"

namespace turso {
namespace {

constexpr int kReadLocksAfterRead0 = 4;

Status MustRecover() { return Status(Code::kBusy, "SQLite must recover the wal-index first"); }

Result<Salts> RandomSalts() {
  Salts salts;
  if (getentropy(salts.data(), salts.size()) != 0)
    return Status(Code::kIo, "the system gives no random bytes");
  return salts;
}

Status CheckPages(const PageSet& pages) {
  if (!IsPageSize(pages.page_size())) {
    return Status(Code::kInvalid,
                  "applying pages of impossible size " + std::to_string(pages.page_size()));
  }
  if (pages.empty()) return Status(Code::kInvalid, "applying a transaction without pages");
  const PageNo lowest = pages.begin()->first;
  const PageNo highest = std::prev(pages.end())->first;
  if (lowest.value == 0 || highest.value > pages.db_size()) {
    return Status(Code::kInvalid, "applying page " +
                                      std::to_string(lowest.value == 0 ? 0 : highest.value) +
                                      " to a database of " + std::to_string(pages.db_size()));
  }
  return OkStatus();
}

// The page size of the database, from its first page where the wal-index does not know it.
Result<uint32_t> DatabasePageSize(WalFiles* files, const WalIndexHeader& header) {
  if (header.page_size != 0) return header.page_size;
  uint8_t raw[2];
  TURSO_RETURN_IF_ERROR(files->ReadDatabase(16, raw));
  const uint32_t size = LoadBig16(raw);
  return size == 1 ? 65536 : size;
}

Status CheckDatabase(WalFiles* files, const WalIndexHeader& header, const PageSet& pages) {
  if (header.frames == 0) {
    Result<uint64_t> bytes = files->DatabaseSize();
    if (!bytes.ok()) return bytes.status();
    // SQLite deletes the log of an empty database when it opens it.
    if (*bytes == 0) return Status(Code::kInvalid, "applying pages to an empty database file");
  }
  Result<uint32_t> page_size = DatabasePageSize(files, header);
  if (!page_size.ok()) return page_size.status();
  if (*page_size != pages.page_size()) {
    return Status(Code::kInvalid, "applying pages of " + std::to_string(pages.page_size()) +
                                      " bytes to a database with pages of " +
                                      std::to_string(*page_size));
  }
  return OkStatus();
}

// Starts the log afresh if every frame is backfilled and nobody is in the way (A2); else leaves it
// as it is.
Status RestartIfBackfilled(WalFiles* files, WalIndex* index, WalIndexHeader* header,
                           const ApplyOptions& options) {
  if (header->frames == 0) return OkStatus();
  Result<uint32_t> backfilled = index->Backfilled();
  if (!backfilled.ok()) return backfilled.status();
  if (*backfilled != header->frames) return OkStatus();

  // A checkpointer that read the header before a restart would go on with its stale numbers (the
  // bug that SQLite 3.51.3 cured at the checkpointer's side):
  // https://sqlite.org/wal.html#walresetbug
  HeldLock checkpoint(files, WalLock::kCheckpoint, 1);
  Result<bool> got = checkpoint.Try();
  if (!got.ok()) return got.status();
  if (!*got) return OkStatus();
  HeldLock readers(files, WalLock::kRead1, kReadLocksAfterRead0);
  got = readers.Try();
  if (!got.ok()) return got.status();
  if (!*got) return OkStatus();

  if (options.before_restart && !options.before_restart(*header).ok()) return OkStatus();
  Result<Salts> salts = RandomSalts();
  if (!salts.ok()) return salts.status();
  StoreBig32(salts->data(), LoadBig32(header->salts.data()) + 1);
  return index->Restart(header, *salts);
}

// The header for a log that has no frames. Salts that the wal-index announced are kept; a sequence
// number goes on from the header that the file still has.
Result<WalHeader> FreshWalHeader(WalFiles* files, const WalIndexHeader& header,
                                 uint32_t page_size) {
  std::array<uint8_t, kWalHeaderBytes> raw{};
  TURSO_RETURN_IF_ERROR(files->ReadWal(0, raw));
  const Result<WalHeader> previous = DecodeWalHeader(raw);
  WalHeader fresh;
  fresh.order = NativeChecksumOrder();
  fresh.page_size = page_size;
  fresh.salts = header.salts;
  if (header.salts == Salts{}) {
    Result<Salts> salts = RandomSalts();
    if (!salts.ok()) return salts.status();
    fresh.salts = *salts;
  }
  if (previous.ok()) {
    fresh.checkpoint_sequence =
        previous->checkpoint_sequence + (previous->salts == fresh.salts ? 0 : 1);
  }
  return fresh;
}

// Writes the frames of one transaction behind the frame whose checksum is `previous`.
class FrameWriter {
 public:
  FrameWriter(WalFiles* files, ChecksumOrder order, const FramePlan& plan, Checksum previous,
              uint32_t page_size)
      : files_(files),
        order_(order),
        salts_(plan.salts),
        checksum_(previous),
        offset_(FrameOffset({plan.base.value + 1}, page_size)) {
    buffer_.reserve(kMoveBytesMax);
  }

  Checksum checksum() const { return checksum_; }

  Status Add(PageNo page, uint32_t db_size, ByteView image) {
    if (buffer_.size() + kFrameHeaderBytes + image.size() > kMoveBytesMax)
      TURSO_RETURN_IF_ERROR(Flush());
    FrameHeader header{page, db_size, salts_, {}};
    std::array<uint8_t, kFrameHeaderBytes> raw;
    EncodeFrameHeader(order_, checksum_, &header, image, raw);
    checksum_ = header.checksum;
    buffer_.insert(buffer_.end(), raw.begin(), raw.end());
    buffer_.insert(buffer_.end(), image.begin(), image.end());
    return OkStatus();
  }

  Status Flush() {
    if (buffer_.empty()) return OkStatus();
    TURSO_RETURN_IF_ERROR(files_->WriteWal(offset_, buffer_));
    offset_ += buffer_.size();
    buffer_.clear();
    return OkStatus();
  }

 private:
  WalFiles* files_;
  ChecksumOrder order_;
  Salts salts_;
  Checksum checksum_;
  uint64_t offset_;
  Bytes buffer_;
};

Status WriteFrames(WalFiles* files, const PageSet& pages, const FramePlan& plan,
                   WalIndexHeader* header) {
  FrameWriter writer(files, header->order, plan, header->frame_checksum, pages.page_size());
  for (auto it = pages.begin(); it != pages.end(); ++it) {
    const bool commits = std::next(it) == pages.end();
    TURSO_RETURN_IF_ERROR(writer.Add(it->first, commits ? pages.db_size() : 0, pages.image(it)));
  }
  TURSO_RETURN_IF_ERROR(writer.Flush());
  header->frame_checksum = writer.checksum();
  return OkStatus();
}

Status StartLog(WalFiles* files, WalHeader fresh, WalIndexHeader* header) {
  std::array<uint8_t, kWalHeaderBytes> raw;
  EncodeWalHeader(&fresh, raw);
  TURSO_RETURN_IF_ERROR(files->WriteWal(0, raw));
  // Whatever ApplyOptions::sync says: were new frames on disk under the old header, a recovery
  // would take what they left of the old frames for the log, and undo what the checkpoint wrote.
  TURSO_RETURN_IF_ERROR(files->SyncWal());
  header->order = fresh.order;
  header->salts = fresh.salts;
  header->frame_checksum = fresh.checksum;
  return OkStatus();
}

}  // namespace

Result<WalIndexHeader> Apply(WalFiles* files, const PageSet& pages, const ApplyOptions& options) {
  TURSO_RETURN_IF_ERROR(CheckPages(pages));
  WalIndex index(files);
  Result<std::optional<WalIndexHeader>> found = index.ReadHeader();
  if (!found.ok()) return found.status();
  if (!found->has_value()) return MustRecover();
  WalIndexHeader header = **found;
  TURSO_RETURN_IF_ERROR(CheckDatabase(files, header, pages));

  TURSO_RETURN_IF_ERROR(RestartIfBackfilled(files, &index, &header, options));
  if (pages.size() > std::numeric_limits<uint32_t>::max() - header.frames)
    return Status(Code::kFull, "the write-ahead log has no more frame numbers");
  std::optional<WalHeader> fresh;
  if (header.frames == 0) {
    Result<WalHeader> made = FreshWalHeader(files, header, pages.page_size());
    if (!made.ok()) return made.status();
    fresh = *made;
  }
  FramePlan plan;
  plan.salts = fresh ? fresh->salts : header.salts;
  plan.base = {header.frames};
  plan.last = {header.frames + static_cast<uint32_t>(pages.size())};
  TURSO_RETURN_IF_ERROR(index.Reserve(plan.last));
  if (options.before_frames) TURSO_RETURN_IF_ERROR(options.before_frames(plan));

  if (fresh) TURSO_RETURN_IF_ERROR(StartLog(files, *fresh, &header));
  TURSO_RETURN_IF_ERROR(WriteFrames(files, pages, plan, &header));
  if (options.sync == Sync::kYes) TURSO_RETURN_IF_ERROR(files->SyncWal());

  FrameNo frame = plan.base;
  for (const auto& [page, image] : pages) {
    ++frame.value;
    TURSO_RETURN_IF_ERROR(index.Append(frame, page));
  }
  header.frames = plan.last.value;
  header.page_size = pages.page_size();
  header.db_size = pages.db_size();
  header.change_counter += 1;
  TURSO_RETURN_IF_ERROR(index.WriteHeader(header));
  return header;
}

Status ReadPage(WalFiles* files, const WalIndexHeader& header, PageNo page, MutableByteView out) {
  const uint32_t page_size = static_cast<uint32_t>(out.size());
  if (page.value == 0) return Status(Code::kInvalid, "reading page 0");
  if (!IsPageSize(page_size) || (header.page_size != 0 && header.page_size != page_size)) {
    return Status(Code::kInvalid, "reading a page of " + std::to_string(header.page_size) +
                                      " bytes into " + std::to_string(out.size()));
  }
  WalIndex index(files);
  Result<FrameNo> frame = index.Find(page, {header.frames});
  if (!frame.ok()) return frame.status();
  if (frame->value == 0) {
    if (header.frames != 0 && page.value > header.db_size) {
      std::fill(out.begin(), out.end(), uint8_t{0});
      return OkStatus();
    }
    return files->ReadDatabase(uint64_t{page.value - 1} * page_size, out);
  }
  const uint64_t offset = FrameOffset(*frame, page_size);
  uint8_t number[4];
  TURSO_RETURN_IF_ERROR(files->ReadWal(offset, number));
  if (LoadBig32(number) != page.value) {
    return Status(Code::kCorrupt, "frame " + std::to_string(frame->value) +
                                      " of the write-ahead log does not hold page " +
                                      std::to_string(page.value));
  }
  return files->ReadWal(offset + kFrameHeaderBytes, out);
}

Result<PageSet> CollectFrames(WalFiles* files, uint32_t page_size, FrameNo base, FrameNo last,
                              uint32_t db_size) {
  if (!IsPageSize(page_size)) {
    return Status(Code::kInvalid,
                  "collecting frames with impossible page size " + std::to_string(page_size));
  }
  PageSet pages(page_size);
  pages.set_db_size(db_size);
  const size_t frame_bytes = kFrameHeaderBytes + page_size;
  const uint32_t per_batch = static_cast<uint32_t>(kMoveBytesMax / frame_bytes);
  Bytes buffer;
  uint32_t done = base.value;
  while (done < last.value) {
    const uint32_t count = std::min(per_batch, last.value - done);
    buffer.resize(count * frame_bytes);
    TURSO_RETURN_IF_ERROR(files->ReadWal(FrameOffset({done + 1}, page_size), buffer));
    for (uint32_t i = 0; i < count; ++i) {
      const uint8_t* frame = buffer.data() + i * frame_bytes;
      const PageNo page{LoadBig32(frame)};
      if (page.value == 0) {
        return Status(Code::kCorrupt, "frame " + std::to_string(done + i + 1) +
                                          " of the write-ahead log is missing");
      }
      if (page.value <= db_size) pages.Put(page, frame + kFrameHeaderBytes);
    }
    done += count;
  }
  return pages;
}

}  // namespace turso
