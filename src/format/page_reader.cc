#include "src/format/page_reader.h"

#include <algorithm>

namespace turso {

namespace {
// Interior pages are asked for again and again, leaves hardly ever: a few megabytes do.
constexpr size_t kCachedBytes = 8 << 20;
}  // namespace

Status OverlaidPages::Read(PageNo page, MutableByteView out) {
  if (const uint8_t* image = pages_->Find(page)) {
    std::copy_n(image, out.size(), out.begin());
    return OkStatus();
  }
  if (page.value <= base_size_) return base_->Read(page, out);
  std::fill(out.begin(), out.end(), 0);
  return OkStatus();
}

Result<DatabaseState> DatabaseState::Open(PageReader* pages, uint32_t page_size, uint32_t db_size) {
  if (!IsPageSize(page_size)) return Status(Code::kInvalid, "this is no page size");
  DatabaseState state(pages, db_size);
  state.header_.page_size = page_size;
  if (db_size == 0) return state;
  Result<Page> first = state.Load({1});
  if (!first.ok()) return first.status();
  Result<DatabaseHeader> header = DecodeDatabaseHeader(**first);
  if (!header.ok()) return header.status();
  if (header->page_size != page_size)
    return Status(Code::kCorrupt, "page 1 names another page size than the pages have");
  state.header_ = *header;
  return state;
}

Result<DatabaseState::Page> DatabaseState::Load(PageNo page) {
  if (!Has(page))
    return Status(Code::kCorrupt, "page " + std::to_string(page.value) + " is none of the " +
                                      std::to_string(db_size_) + " pages of the database");
  if (auto found = lately_.find(page.value); found != lately_.end()) return found->second;
  auto image = std::make_shared<Bytes>(header_.page_size);
  TURSO_RETURN_IF_ERROR(pages_->Read(page, *image));
  if (lately_.size() * header_.page_size >= kCachedBytes) lately_.clear();
  lately_.emplace(page.value, image);
  return Page(image);
}

}  // namespace turso
