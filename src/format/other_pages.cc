#include "src/format/other_pages.h"

namespace turso {

namespace {

// The first byte that POSIX locks use, which lies in a page that nothing else uses.
constexpr uint64_t kLockByte = 0x40000000;

PageNo PointerMapPageOf(const DatabaseHeader& header, PageNo page) {
  const uint32_t covered = header.usable() / 5 + 1;  // A map page, and the pages that it maps.
  const uint32_t map = (page.value - 2) / covered * covered + 2;
  const auto lock_page = static_cast<uint32_t>(kLockByte / header.page_size + 1);
  return {map == lock_page ? map + 1 : map};
}

}  // namespace

Result<std::set<PageNo>> ReadFreelist(DatabaseState* state) {
  std::set<PageNo> free;
  PageNo trunk = state->header().first_trunk;
  while (trunk.value != 0) {
    if (!free.insert(trunk).second) return Status(Code::kCorrupt, "the freelist does not end");
    Result<DatabaseState::Page> page = state->Load(trunk);
    if (!page.ok()) return page.status().While("reading the freelist");
    const uint8_t* at = (*page)->data();
    const uint32_t leaves = LoadBig32(at + 4);
    if (leaves > state->header().usable() / 4 - 2)
      return Status(Code::kCorrupt, "a page of the freelist lists more than it can");
    for (uint32_t i = 0; i < leaves; ++i) free.insert({LoadBig32(at + 8 + i * 4)});
    trunk = {LoadBig32(at)};
  }
  return free;
}

bool IsPointerMapPage(const DatabaseState& state, PageNo page) {
  return state.header().has_pointer_map() && page.value >= 2 &&
         PointerMapPageOf(state.header(), page) == page;
}

Result<PointerMapEntry> ReadPointerMap(DatabaseState* state, PageNo page) {
  const PageNo map = PointerMapPageOf(state->header(), page);
  if (page.value < 3 || page <= map)
    return Status(Code::kCorrupt, "a page of the pointer map is not mapped");
  Result<DatabaseState::Page> image = state->Load(map);
  if (!image.ok()) return image.status().While("reading the pointer map");
  const size_t at = size_t{5} * (page.value - map.value - 1);
  if (at + 5 > state->header().usable())
    return Status(Code::kCorrupt, "the pointer map is too short");
  const uint8_t kind = (**image)[at];
  if (kind < 1 || kind > 5) return Status(Code::kCorrupt, "the pointer map has an unknown entry");
  return PointerMapEntry{static_cast<PointerMapEntry::Kind>(kind),
                         {LoadBig32((*image)->data() + at + 1)}};
}

}  // namespace turso
