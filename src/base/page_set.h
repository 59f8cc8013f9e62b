// The final pages of one transaction, or of one pull: at most one image of each page.
//
//   (PS1) Every image is page_size bytes long, a power of two from 512 to 65536.
//   (PS2) Pages come in ascending order of their number.
//   (PS3) No page is numbered above db_size once Trim() was called.
// Not for use by several threads at once.

#ifndef TURSO_SRC_BASE_PAGE_SET_H_
#define TURSO_SRC_BASE_PAGE_SET_H_

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "src/base/bytes.h"

namespace turso {

// A page of the database, counted from 1. 0 is no page.
struct PageNo {
  uint32_t value = 0;
  friend auto operator<=>(PageNo, PageNo) = default;
};

// A frame of the WAL, counted from 1. 0 is "before the first".
struct FrameNo {
  uint32_t value = 0;
  friend auto operator<=>(FrameNo, FrameNo) = default;
};

inline bool IsPageSize(uint32_t size) {
  return size >= 512 && size <= 65536 && (size & (size - 1)) == 0;
}

class PageSet {
 public:
  using Map = std::map<PageNo, uint8_t*>;

  PageSet() = default;
  explicit PageSet(uint32_t page_size) : page_size_(page_size) {}
  PageSet(PageSet&&) = default;
  PageSet& operator=(PageSet&&) = default;

  uint32_t page_size() const { return page_size_; }
  // Size of the database after the transaction, in pages.
  uint32_t db_size() const { return db_size_; }
  void set_db_size(uint32_t pages) { db_size_ = pages; }

  // Room for the image of `page`, to be filled by the caller; the earlier image if there is one.
  uint8_t* Slot(PageNo page);
  // Copies page_size() bytes; a later image of the same page replaces the earlier one.
  void Put(PageNo page, const uint8_t* image);
  // The image of `page`, or null.
  const uint8_t* Find(PageNo page) const;
  // Drops the pages above db_size.
  void Trim();

  size_t size() const { return pages_.size(); }
  bool empty() const { return pages_.empty(); }
  Map::const_iterator begin() const { return pages_.begin(); }
  Map::const_iterator end() const { return pages_.end(); }
  ByteView image(Map::const_iterator it) const { return {it->second, page_size_}; }

  // XXH3 over db_size and, in order, every page number and image. Equal sets have equal hashes.
  uint64_t Hash() const;

 private:
  uint32_t page_size_ = 0;
  uint32_t db_size_ = 0;
  Map pages_;
  std::vector<std::unique_ptr<uint8_t[]>> chunks_;
  size_t used_in_chunk_ = 0;
};

}  // namespace turso

#endif  // TURSO_SRC_BASE_PAGE_SET_H_
