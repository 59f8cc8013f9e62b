#include "src/wal/wal_index.h"

#include <atomic>
#include <cstddef>
#include <string>

namespace turso {
namespace {

// SQLite's WalIndexHdr and WalCkptInfo, bytes for bytes.
struct RawHeader {
  uint32_t version;
  uint32_t unused;
  uint32_t change_counter;
  uint8_t is_init;
  uint8_t big_endian_checksum;
  uint16_t page_size_code;
  uint32_t frames;
  uint32_t db_size;
  uint32_t frame_checksum[2];
  uint8_t salts[8];  // As in the file, whatever the machine's byte order.
  uint32_t checksum[2];
};
static_assert(sizeof(RawHeader) == 48);

constexpr size_t kHeaderCopyBytes = sizeof(RawHeader);
constexpr size_t kBackfilledAt = 96;
constexpr size_t kReadMarksAt = 100;
constexpr size_t kBackfillAttemptedAt = 128;
constexpr size_t kBlockHeaderBytes = 136;  // Of block 0; the others have none.
constexpr uint32_t kReadMarkNotUsed = 0xffffffff;
constexpr int kReadMarks = 5;

constexpr uint32_t kBlockEntries = 4096;
constexpr uint32_t kFirstBlockEntries = kBlockEntries - kBlockHeaderBytes / sizeof(uint32_t);
constexpr uint32_t kSlots = 2 * kBlockEntries;
constexpr size_t kSlotsAt = kBlockEntries * sizeof(uint32_t);
static_assert(kSlotsAt + kSlots * sizeof(uint16_t) == kWalIndexBlockBytes);

std::atomic_ref<uint32_t> Word(volatile uint8_t* p) {
  return std::atomic_ref<uint32_t>(*reinterpret_cast<uint32_t*>(const_cast<uint8_t*>(p)));
}
std::atomic_ref<uint16_t> HalfWord(volatile uint8_t* p) {
  return std::atomic_ref<uint16_t>(*reinterpret_cast<uint16_t*>(const_cast<uint8_t*>(p)));
}

uint32_t Load(volatile uint8_t* p) { return Word(p).load(std::memory_order_relaxed); }
void Store(volatile uint8_t* p, uint32_t v) { Word(p).store(v, std::memory_order_relaxed); }

void LoadHeader(volatile uint8_t* from, RawHeader* to) {
  uint32_t words[kHeaderCopyBytes / 4];
  for (size_t i = 0; i < kHeaderCopyBytes / 4; ++i) words[i] = Load(from + 4 * i);
  std::memcpy(to, words, sizeof words);
}
void StoreHeader(volatile uint8_t* to, const RawHeader& from) {
  uint32_t words[kHeaderCopyBytes / 4];
  std::memcpy(words, &from, sizeof words);
  for (size_t i = 0; i < kHeaderCopyBytes / 4; ++i) Store(to + 4 * i, words[i]);
}

Checksum HeaderChecksum(const RawHeader& raw) {
  return ChecksumOf(NativeChecksumOrder(), {},
                    {reinterpret_cast<const uint8_t*>(&raw), offsetof(RawHeader, checksum)});
}

// 65536 does not fit into 16 bits; its code is 1.
uint16_t EncodePageSize(uint32_t size) {
  return static_cast<uint16_t>((size & 0xff00) | (size >> 16));
}
uint32_t DecodePageSize(uint16_t code) {
  if (code & 0x01fe) return 0;
  return (code & 0xfe00u) + ((code & 1u) << 16);
}

// Where a frame's entry is.
struct Place {
  int block;
  uint32_t entry;  // From 1, as in the hash slots.
};
Place PlaceOf(FrameNo frame) {
  if (frame.value <= kFirstBlockEntries) return {0, frame.value};
  const uint32_t beyond = frame.value - kFirstBlockEntries - 1;
  return {1 + static_cast<int>(beyond / kBlockEntries), 1 + beyond % kBlockEntries};
}

// One mapped block: page numbers and the hash table over them.
class Entries {
 public:
  Entries(volatile uint8_t* start, int block)
      : start_(start),
        pages_(start + (block == 0 ? kBlockHeaderBytes : 0)),
        capacity_(block == 0 ? kFirstBlockEntries : kBlockEntries),
        frames_before_(block == 0 ? 0
                                  : kFirstBlockEntries +
                                        static_cast<uint32_t>(block - 1) * kBlockEntries) {}

  uint32_t capacity() const { return capacity_; }
  uint32_t frames_before() const { return frames_before_; }

  PageNo page(uint32_t entry) const { return {Load(pages_ + 4 * (entry - 1))}; }
  void set_page(uint32_t entry, PageNo page) { Store(pages_ + 4 * (entry - 1), page.value); }
  uint16_t slot(uint32_t i) const { return HalfWord(SlotAt(i)).load(std::memory_order_acquire); }
  // After the page number (WI2).
  void set_slot(uint32_t i, uint16_t entry) {
    HalfWord(SlotAt(i)).store(entry, std::memory_order_release);
  }

  static uint32_t FirstSlot(PageNo page) { return (page.value * 383) & (kSlots - 1); }
  static uint32_t NextSlot(uint32_t i) { return (i + 1) & (kSlots - 1); }

  // Forgets the entries above `last`. Slots of entries up to it stay where they are: they were
  // taken before the forgotten ones came, so no chain of theirs leads over these.
  void KeepUpTo(uint32_t last) {
    for (uint32_t i = 0; i < kSlots; ++i) {
      if (slot(i) > last) set_slot(i, 0);
    }
    for (uint32_t entry = last + 1; entry <= capacity_; ++entry) set_page(entry, {0});
  }

 private:
  volatile uint8_t* SlotAt(uint32_t i) const { return start_ + kSlotsAt + 2 * i; }

  volatile uint8_t* start_;
  volatile uint8_t* pages_;
  uint32_t capacity_;
  uint32_t frames_before_;
};

Status Damaged(const std::string& what) { return Status(Code::kCorrupt, "wal-index: " + what); }

}  // namespace

Result<volatile uint8_t*> WalIndex::Block(int block, Extend extend) {
  const size_t i = static_cast<size_t>(block);
  if (i < blocks_.size() && blocks_[i]) return blocks_[i];
  Result<volatile uint8_t*> mapped = files_->MapIndex(block, extend);
  if (!mapped.ok() || !*mapped) return mapped;
  if (i >= blocks_.size()) blocks_.resize(i + 1);
  blocks_[i] = *mapped;
  return mapped;
}

Result<std::optional<WalIndexHeader>> WalIndex::ReadHeader() {
  Result<volatile uint8_t*> block = Block(0, Extend::kNo);
  if (!block.ok()) return block.status();
  const std::optional<WalIndexHeader> nothing;
  if (!*block) return nothing;
  RawHeader raw;
  RawHeader copy;
  LoadHeader(*block, &raw);
  files_->Barrier();
  LoadHeader(*block + kHeaderCopyBytes, &copy);
  if (std::memcmp(&raw, &copy, sizeof raw) != 0 || raw.is_init == 0) return nothing;
  if (HeaderChecksum(raw) != Checksum{raw.checksum[0], raw.checksum[1]}) return nothing;
  if (raw.version != kWalVersion) return Damaged("unknown version " + std::to_string(raw.version));

  WalIndexHeader header;
  header.change_counter = raw.change_counter;
  header.order = raw.big_endian_checksum ? ChecksumOrder::kBigEndian : ChecksumOrder::kLittleEndian;
  header.page_size = DecodePageSize(raw.page_size_code);
  header.frames = raw.frames;
  header.db_size = raw.db_size;
  header.frame_checksum = {raw.frame_checksum[0], raw.frame_checksum[1]};
  std::memcpy(header.salts.data(), raw.salts, sizeof raw.salts);
  // SQLite knows no page size yet when it recovered from an empty log.
  const bool unknown_yet = raw.page_size_code == 0 && raw.frames == 0;
  if (!unknown_yet && !IsPageSize(header.page_size))
    return Damaged("impossible page size code " + std::to_string(raw.page_size_code));
  return std::optional<WalIndexHeader>(header);
}

Status WalIndex::WriteHeader(const WalIndexHeader& header) {
  Result<volatile uint8_t*> block = Block(0, Extend::kYes);
  if (!block.ok()) return block.status();
  RawHeader raw{};
  raw.version = kWalVersion;
  raw.change_counter = header.change_counter;
  raw.is_init = 1;
  raw.big_endian_checksum = header.order == ChecksumOrder::kBigEndian ? 1 : 0;
  raw.page_size_code = EncodePageSize(header.page_size);
  raw.frames = header.frames;
  raw.db_size = header.db_size;
  raw.frame_checksum[0] = header.frame_checksum.first;
  raw.frame_checksum[1] = header.frame_checksum.second;
  std::memcpy(raw.salts, header.salts.data(), sizeof raw.salts);
  const Checksum checksum = HeaderChecksum(raw);
  raw.checksum[0] = checksum.first;
  raw.checksum[1] = checksum.second;
  StoreHeader(*block + kHeaderCopyBytes, raw);
  files_->Barrier();
  StoreHeader(*block, raw);
  return OkStatus();
}

Result<uint32_t> WalIndex::Backfilled() {
  Result<volatile uint8_t*> block = Block(0, Extend::kNo);
  if (!block.ok()) return block.status();
  if (!*block) return Status(Code::kBusy, "SQLite must set up the wal-index first");
  return Load(*block + kBackfilledAt);
}

Result<uint32_t> WalIndex::ReadMark(int mark) {
  Result<volatile uint8_t*> block = Block(0, Extend::kNo);
  if (!block.ok()) return block.status();
  if (!*block) return Status(Code::kBusy, "SQLite must set up the wal-index first");
  return Load(*block + kReadMarksAt + 4 * static_cast<size_t>(mark));
}

Status WalIndex::SetReadMark(int mark, uint32_t frame) {
  Result<volatile uint8_t*> block = Block(0, Extend::kNo);
  if (!block.ok()) return block.status();
  if (!*block) return Status(Code::kBusy, "SQLite must set up the wal-index first");
  Store(*block + kReadMarksAt + 4 * static_cast<size_t>(mark), frame);
  return OkStatus();
}

Result<FrameNo> WalIndex::Find(PageNo page, FrameNo limit) {
  if (limit.value == 0 || page.value == 0) return FrameNo{0};
  for (int block = PlaceOf(limit).block; block >= 0; --block) {
    Result<volatile uint8_t*> mapped = Block(block, Extend::kNo);
    if (!mapped.ok()) return mapped.status();
    if (!*mapped) return Damaged("block " + std::to_string(block) + " is missing");
    const Entries entries(*mapped, block);
    FrameNo found;
    uint32_t probes = 0;
    for (uint32_t i = Entries::FirstSlot(page);; i = Entries::NextSlot(i)) {
      const uint32_t entry = entries.slot(i);
      if (entry == 0) break;
      if (entry > entries.capacity() || ++probes > kSlots)
        return Damaged("the hash table of block " + std::to_string(block) + " is damaged");
      const FrameNo frame{entries.frames_before() + entry};
      if (frame <= limit && frame > found && entries.page(entry) == page) found = frame;
    }
    if (found.value != 0) return found;
  }
  return FrameNo{0};
}

Result<PageNo> WalIndex::PageOf(FrameNo frame) {
  if (frame.value == 0) return Status(Code::kInvalid, "wal-index: there is no frame 0");
  const Place place = PlaceOf(frame);
  Result<volatile uint8_t*> mapped = Block(place.block, Extend::kNo);
  if (!mapped.ok()) return mapped.status();
  if (!*mapped) return Damaged("block " + std::to_string(place.block) + " is missing");
  return Entries(*mapped, place.block).page(place.entry);
}

Status WalIndex::Reserve(FrameNo last) {
  for (int block = 0; block <= PlaceOf(last).block; ++block) {
    if (Result<volatile uint8_t*> mapped = Block(block, Extend::kYes); !mapped.ok())
      return mapped.status();
  }
  return OkStatus();
}

Status WalIndex::Append(FrameNo frame, PageNo page) {
  if (frame.value == 0 || page.value == 0)
    return Status(Code::kInvalid, "wal-index: there is no frame 0 and no page 0");
  const Place place = PlaceOf(frame);
  Result<volatile uint8_t*> mapped = Block(place.block, Extend::kYes);
  if (!mapped.ok()) return mapped.status();
  Entries entries(*mapped, place.block);
  // The first entry finds the block as an earlier pass left it; any other finds something only if a
  // writer died or rolled back there.
  if (place.entry == 1 || entries.page(place.entry).value != 0) entries.KeepUpTo(place.entry - 1);
  uint32_t i = Entries::FirstSlot(page);
  uint32_t probes = 0;
  for (; entries.slot(i) != 0; i = Entries::NextSlot(i)) {
    if (++probes > place.entry) {
      return Damaged("the hash table of block " + std::to_string(place.block) +
                     " has more entries than frames");
    }
  }
  entries.set_page(place.entry, page);
  entries.set_slot(i, static_cast<uint16_t>(place.entry));
  return OkStatus();
}

Status WalIndex::Restart(WalIndexHeader* header, const Salts& new_salts) {
  Result<volatile uint8_t*> block = Block(0, Extend::kNo);
  if (!block.ok()) return block.status();
  if (!*block) return Status(Code::kBusy, "SQLite must set up the wal-index first");
  // SQLite publishes the header first. A death in between would leave nBackfill above mxFrame, and
  // what is committed next would be invisible to readers until the log has grown past it.
  Store(*block + kBackfilledAt, 0);
  Store(*block + kBackfillAttemptedAt, 0);
  Store(*block + kReadMarksAt + 4, 0);
  for (size_t mark = 2; mark < kReadMarks; ++mark)
    Store(*block + kReadMarksAt + 4 * mark, kReadMarkNotUsed);
  files_->Barrier();
  header->frames = 0;
  header->salts = new_salts;
  return WriteHeader(*header);
}

}  // namespace turso
