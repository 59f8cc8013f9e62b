// The pages of a database that lies in memory, counted as they are read.

#ifndef TURSO_TESTS_SUPPORT_MEMORY_PAGES_H_
#define TURSO_TESTS_SUPPORT_MEMORY_PAGES_H_

#include <algorithm>
#include <set>
#include <utility>

#include "src/format/page_reader.h"

namespace turso {

class MemoryPages : public PageReader {
 public:
  MemoryPages(Bytes image, uint32_t page_size) : image_(std::move(image)), page_size_(page_size) {}

  uint32_t page_size() const { return page_size_; }
  uint32_t db_size() const { return static_cast<uint32_t>(image_.size() / page_size_); }
  ByteView page(PageNo page) const {
    return ByteView(image_).subspan(size_t{page.value - 1} * page_size_, page_size_);
  }
  const Bytes& image() const { return image_; }
  // Pages that were read, each counted once.
  const std::set<PageNo>& read() const { return read_; }
  void ForgetReads() { read_.clear(); }

  Status Read(PageNo number, MutableByteView out) override {
    if (number.value < 1 || number.value > db_size()) return {Code::kInvalid, "no such page"};
    read_.insert(number);
    const ByteView image = page(number);
    std::copy(image.begin(), image.end(), out.begin());
    return OkStatus();
  }

 private:
  Bytes image_;
  uint32_t page_size_;
  std::set<PageNo> read_;
};

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_MEMORY_PAGES_H_
