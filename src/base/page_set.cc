#include "src/base/page_set.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace turso {

namespace {
// A single page is the commonest transaction, so the first chunk is small; then memory comes by the
// megabyte.
constexpr size_t kChunkBytes = 1 << 20;
}  // namespace

uint8_t* PageSet::Slot(PageNo page) {
  auto next = pages_.lower_bound(page);
  if (next != pages_.end() && next->first == page) return next->second;
  size_t pages_per_chunk = chunks_.size() <= 4 ? 1 : kChunkBytes / page_size_;
  if (chunks_.empty() || used_in_chunk_ >= pages_per_chunk) {
    size_t pages = chunks_.size() < 4 ? 1 : kChunkBytes / page_size_;
    chunks_.push_back(std::make_unique_for_overwrite<uint8_t[]>(pages * page_size_));
    used_in_chunk_ = 0;
  }
  uint8_t* slot = chunks_.back().get() + used_in_chunk_ * page_size_;
  pages_.emplace_hint(next, page, slot);
  used_in_chunk_++;
  return slot;
}

void PageSet::Put(PageNo page, const uint8_t* image) { std::memcpy(Slot(page), image, page_size_); }

const uint8_t* PageSet::Find(PageNo page) const {
  auto it = pages_.find(page);
  return it == pages_.end() ? nullptr : it->second;
}

void PageSet::Trim() { pages_.erase(pages_.upper_bound(PageNo{db_size_}), pages_.end()); }

uint64_t PageSet::Hash() const {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  uint8_t number[4];
  StoreBig32(number, db_size_);
  XXH3_64bits_update(&state, number, sizeof number);
  for (const auto& [page, image] : pages_) {
    StoreBig32(number, page.value);
    XXH3_64bits_update(&state, number, sizeof number);
    XXH3_64bits_update(&state, image, page_size_);
  }
  return XXH3_64bits_digest(&state);
}

}  // namespace turso
