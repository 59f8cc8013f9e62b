// The digest of a content: what the pages of a transaction make of it, and what a
// look at every page says.

#include "src/replica/content.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temp_dir.h"

namespace turso {
namespace {

// A database whose log is empty.
class FlatFiles : public WalFiles {
 public:
  explicit FlatFiles(Bytes bytes) : bytes_(std::move(bytes)) {}
  Status ReadDatabase(uint64_t offset, MutableByteView out) override {
    for (size_t i = 0; i < out.size(); i++)
      out[i] = offset + i < bytes_.size() ? bytes_[offset + i] : 0;
    return OkStatus();
  }
  Result<uint64_t> DatabaseSize() override { return bytes_.size(); }
  Status SyncDatabase() override { return OkStatus(); }
  Status ReadWal(uint64_t, MutableByteView) override { return Status(Code::kIo, "no log"); }
  Status WriteWal(uint64_t, ByteView) override { return Status(Code::kIo, "no log"); }
  Status SyncWal() override { return OkStatus(); }
  Result<uint64_t> WalSize() override { return uint64_t{0}; }
  Result<volatile uint8_t*> MapIndex(int, Extend) override { return nullptr; }
  Result<bool> TryLock(WalLock, int) override { return true; }
  void Unlock(WalLock, int) override {}
  void Barrier() override {}

  Bytes bytes_;
};

constexpr uint32_t kPage = 512;

Bytes Pages(std::initializer_list<uint8_t> fills) {
  Bytes bytes;
  for (uint8_t fill : fills) bytes.insert(bytes.end(), kPage, fill);
  return bytes;
}

uint64_t DigestOfPages(const Bytes& bytes) {
  FlatFiles files(bytes);
  return *DigestOf(&files, *WholeHeader(&files, WalIndexHeader{}, kPage));
}

PageSet SetOf(uint32_t db_size, std::initializer_list<std::pair<uint32_t, uint8_t>> fills) {
  PageSet pages(kPage);
  pages.set_db_size(db_size);
  for (auto [page, fill] : fills) pages.Put(PageNo{page}, Bytes(kPage, fill).data());
  return pages;
}

uint64_t DigestAfterPages(const Bytes& before, const PageSet& pages) {
  FlatFiles files(before);
  WalIndexHeader header = *WholeHeader(&files, WalIndexHeader{}, kPage);
  return *DigestAfter(&files, header, DigestOfPages(before), pages);
}

TEST(Digest, MovesWithTheChangedPagesToWhatAllPagesTogetherHave) {
  const Bytes before = Pages({1, 2, 3, 4});
  EXPECT_EQ(DigestAfterPages(before, SetOf(4, {{2, 9}})), DigestOfPages(Pages({1, 9, 3, 4})));
  EXPECT_EQ(DigestAfterPages(before, SetOf(6, {{1, 7}, {5, 5}, {6, 6}})),
            DigestOfPages(Pages({7, 2, 3, 4, 5, 6})));
  EXPECT_EQ(DigestAfterPages(before, SetOf(2, {{1, 7}, {4, 8}})), DigestOfPages(Pages({7, 2})));
  EXPECT_EQ(DigestAfterPages(before, SetOf(4, {{3, 3}})), DigestOfPages(before));
}

TEST(Digest, TellsOneContentFromAnother) {
  const uint64_t digest = DigestOfPages(Pages({1, 2, 3}));
  EXPECT_NE(digest, DigestOfPages(Pages({1, 3, 2})));
  EXPECT_NE(digest, DigestOfPages(Pages({1, 2})));
  EXPECT_NE(digest, DigestOfPages(Pages({1, 2, 3, 0})));
  EXPECT_NE(DigestOfPages(Pages({5, 5})), DigestOfPages(Pages({6, 6})));
}

TEST(Digest, DoesNotCountTheGuard) {
  Bytes guarded = Pages({1, 2});
  Bytes plain = guarded;
  guarded[18] = 3;
  plain[18] = 2;
  EXPECT_EQ(DigestOfPages(guarded), DigestOfPages(plain));
}

TEST(Footprint, ChangesWithEveryWriteAndEveryCopyAndStaysWithAMove) {
  TempDir dir;
  const std::string path = dir.File("a"), copy = dir.File("b");
  EXPECT_FALSE(FootprintOf(path).has_value());
  std::ofstream(path) << "content";
  const Footprint before = *FootprintOf(path);
  EXPECT_EQ(*FootprintOf(path), before);
  std::filesystem::copy_file(path, copy);
  EXPECT_FALSE(FootprintOf(copy)->SameFile(before));
  std::filesystem::rename(path, dir.File("c"));
  EXPECT_EQ(*FootprintOf(dir.File("c")), before);
  std::ofstream(dir.File("c"), std::ios::app) << "more";
  EXPECT_FALSE(*FootprintOf(dir.File("c")) == before);
  EXPECT_TRUE(FootprintOf(dir.File("c"))->SameFile(before));
}

}  // namespace
}  // namespace turso
