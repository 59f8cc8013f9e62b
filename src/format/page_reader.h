// Pages of one state of a database, whoever has them.

#ifndef TURSO_SRC_FORMAT_PAGE_READER_H_
#define TURSO_SRC_FORMAT_PAGE_READER_H_

#include <memory>
#include <unordered_map>

#include "src/base/bytes.h"
#include "src/base/page_set.h"
#include "src/base/status.h"
#include "src/format/database_header.h"

namespace turso {

class PageReader {
 public:
  virtual ~PageReader() = default;
  // Fills `out`, a page long, with `page`, which is from 1 to the size of the database.
  virtual Status Read(PageNo page, MutableByteView out) = 0;
};

// The state that `pages` lead to from that of `base`, which must outlive it. A page that the
// database has gained and that nobody wrote reads as zeros.
class OverlaidPages : public PageReader {
 public:
  OverlaidPages(PageReader* base, uint32_t base_size, const PageSet* pages)
      : base_(base), base_size_(base_size), pages_(pages) {}
  Status Read(PageNo page, MutableByteView out) override;

 private:
  PageReader* base_;
  uint32_t base_size_;
  const PageSet* pages_;
};

// A state of a database, ready to be read: its header, and the pages that were read lately. Pages
// are shared: what Load returned stays valid. Not for use by several threads at once.
class DatabaseState {
 public:
  using Page = std::shared_ptr<const Bytes>;

  // `pages` must outlive it. A database of no pages is empty, in whatever size of page.
  static Result<DatabaseState> Open(PageReader* pages, uint32_t page_size, uint32_t db_size);

  const DatabaseHeader& header() const { return header_; }
  uint32_t db_size() const { return db_size_; }  // In pages.
  bool Has(PageNo page) const { return page.value >= 1 && page.value <= db_size_; }
  // kCorrupt for a page that the database does not have.
  Result<Page> Load(PageNo page);

 private:
  DatabaseState(PageReader* pages, uint32_t db_size) : pages_(pages), db_size_(db_size) {}

  PageReader* pages_;
  uint32_t db_size_;
  DatabaseHeader header_;
  std::unordered_map<uint32_t, Page> lately_;
};

}  // namespace turso

#endif  // TURSO_SRC_FORMAT_PAGE_READER_H_
