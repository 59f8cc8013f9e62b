// A wal-index that anybody may have written, and what we read from it and enter into it.
// Input: flags u8 (1: seal the header; 2: take the log's restart) | number of runs u8
//        | runs: block u8, offset u16, length u8, bytes
//        | pages to apply: number u8, each page u8 and fill u8 | pages to find: the rest, u8 each

#include "src/wal/apply.h"
#include "src/wal/wal_index.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/memory_wal_files.h"

namespace turso {
namespace {

constexpr uint32_t kPageSize = 512;
constexpr size_t kHeaderBytes = 48;
constexpr int kBlocks = 2;

// Both copies alike, and their checksum right (WI1).
void SealHeader(uint8_t* block) {
  const Checksum sum = ChecksumOf(NativeChecksumOrder(), {}, {block, kHeaderBytes - 8});
  std::memcpy(block + kHeaderBytes - 8, &sum.first, 4);
  std::memcpy(block + kHeaderBytes - 4, &sum.second, 4);
  std::copy_n(block, kHeaderBytes, block + kHeaderBytes);
}

void RequireCorrupt(const Status& status) {
  TURSO_REQUIRE(status.code() == Code::kCorrupt || status.code() == Code::kBusy ||
                status.code() == Code::kInvalid || status.code() == Code::kFull);
  fuzz::RequireSays(status);
}

void CheckReads(MemoryWalFiles* files, const WalIndexHeader& header, ByteView pages) {
  WalIndex index(files);
  for (uint8_t page : pages.first(std::min<size_t>(pages.size(), 16))) {
    Result<FrameNo> found = index.Find({page}, {header.frames});
    if (!found.ok()) {
      RequireCorrupt(found.status());
    } else if (found->value != 0) {
      TURSO_REQUIRE(found->value <= header.frames);
      Result<PageNo> back = index.PageOf(*found);
      TURSO_REQUIRE(back.ok() && back->value == page);
    }
    Bytes image(kPageSize);
    if (Status read = ReadPage(files, header, {page}, image); !read.ok()) RequireCorrupt(read);
  }
}

// What was applied is what is read afterwards, whatever the index had before.
void CheckApply(MemoryWalFiles* files, const PageSet& pages) {
  ApplyOptions options;
  Result<WalIndexHeader> applied = Apply(files, pages, options);
  TURSO_REQUIRE(files->held.none());
  if (!applied.ok()) return RequireCorrupt(applied.status());
  WalIndex index(files);
  Result<std::optional<WalIndexHeader>> header = index.ReadHeader();
  TURSO_REQUIRE(header.ok() && header->has_value());
  TURSO_REQUIRE((*header)->position() == applied->position());
  TURSO_REQUIRE((*header)->db_size == pages.db_size());
  for (auto it = pages.begin(); it != pages.end(); ++it) {
    Bytes image(kPageSize);
    Status read = ReadPage(files, **header, it->first, image);
    if (!read.ok()) {
      // A hash table that is all garbage is told, not believed.
      RequireCorrupt(read);
      continue;
    }
    TURSO_REQUIRE(std::equal(image.begin(), image.end(), pages.image(it).begin()));
  }
}

void WriteRuns(fuzz::Input* in, MemoryWalFiles* files) {
  for (int run = in->U8(); run > 0; run--) {
    const int block = in->U8() % kBlocks;
    const size_t offset = in->U16() % kWalIndexBlockBytes;
    const ByteView bytes = in->Take(in->U8());
    const size_t room = static_cast<size_t>(kWalIndexBlockBytes) - offset;
    std::copy_n(bytes.begin(), std::min(bytes.size(), room), files->block(block) + offset);
  }
}

PageSet TakePages(fuzz::Input* in) {
  PageSet pages(kPageSize);
  uint32_t highest = 1;
  for (int n = in->U8() % 32; n > 0; n--) {
    const uint32_t page = in->U8() + 1u;
    std::memset(pages.Slot({page}), in->U8(), kPageSize);
    highest = std::max(highest, page);
  }
  pages.set_db_size(highest);
  return pages;
}

}  // namespace
}  // namespace turso

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turso;
  fuzz::Input in({data, size});
  const uint8_t flags = in.U8();
  MemoryWalFiles files;
  files.database.assign(size_t{4} * kPageSize, 0);
  StoreBig16(&files.database[16], kPageSize);
  TURSO_REQUIRE(files.MapIndex(kBlocks - 1, Extend::kYes).ok());
  WriteRuns(&in, &files);
  if ((flags & 1) != 0) {
    // Else nothing but the version and the mark of an initialised header would be found by chance.
    const uint32_t version = kWalVersion;
    std::memcpy(files.block(0), &version, 4);
    files.block(0)[12] = 1;
    SealHeader(files.block(0));
  }
  const PageSet pages = TakePages(&in);
  fuzz::AllocationMeter meter;
  WalIndex index(&files);
  Result<std::optional<WalIndexHeader>> header = index.ReadHeader();
  if (!header.ok()) RequireCorrupt(header.status());
  if (header.ok() && header->has_value()) {
    TURSO_REQUIRE((flags & 1) != 0 || (*header)->page_size == 0 ||
                  IsPageSize((*header)->page_size));
    CheckReads(&files, **header, in.rest());
    // The log is as long as frames were written: one that claims millions would only take time.
    if ((*header)->frames > 10'000) return 0;
    CheckApply(&files, pages);
    WalIndexHeader restarted = **header;
    if ((flags & 2) != 0) {
      TURSO_REQUIRE(index.Restart(&restarted, Salts{1, 2, 3}).ok());
      Result<uint32_t> backfilled = index.Backfilled();
      TURSO_REQUIRE(backfilled.ok() && *backfilled == 0);
      CheckApply(&files, pages);
    }
  }
  TURSO_REQUIRE(meter.peak() < (16u << 20));
  return 0;
}
