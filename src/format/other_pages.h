// Pages that belong to no b-tree: the freelist and the pointer map.
// https://sqlite.org/fileformat2.html#the_freelist,
// https://sqlite.org/fileformat2.html#pointer_map_or_ptrmap_pages

#ifndef TURSO_SRC_FORMAT_OTHER_PAGES_H_
#define TURSO_SRC_FORMAT_OTHER_PAGES_H_

#include <set>

#include "src/base/status.h"
#include "src/format/page_reader.h"

namespace turso {

// Every free page: trunks and what they list.
Result<std::set<PageNo>> ReadFreelist(DatabaseState* state);

// What an entry of the pointer map says of its page.
struct PointerMapEntry {
  enum class Kind : uint8_t {
    kRoot = 1,
    kFree = 2,
    kFirstOverflow = 3,  // The parent is the page with the cell.
    kOverflow = 4,       // The parent is the overflow page before it.
    kTree = 5,           // The parent is the page above it.
  };
  Kind kind = Kind::kFree;
  PageNo parent;
};

// Whether the page is part of the pointer map of a database that has one.
bool IsPointerMapPage(const DatabaseState& state, PageNo page);
// The entry for `page`. The database has a pointer map, and the page is not part of it.
Result<PointerMapEntry> ReadPointerMap(DatabaseState* state, PageNo page);

}  // namespace turso

#endif  // TURSO_SRC_FORMAT_OTHER_PAGES_H_
