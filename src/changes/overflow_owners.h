// Overflow pages that a transaction wrote without writing the page that their row begins on.
//
// SQLite does so when a row keeps its length and only bytes in the chain change (an UPDATE, or
// incremental blob I/O). Such a page says nothing of its owner. Where the database keeps a pointer
// map, that tells; otherwise the rows with overflow are looked through until it is found: the one
// case whose cost grows with the database.

#ifndef TURSO_SRC_CHANGES_OVERFLOW_OWNERS_H_
#define TURSO_SRC_CHANGES_OVERFLOW_OWNERS_H_

#include <vector>

#include "src/changes/tree_paths.h"

namespace turso {

// Of `written`, the pages that may be of that kind: overflow pages by the pointer map; without one,
// those that in both states could be an overflow page with the same successor, and whose bytes
// differ.
Result<PageNumbers> PerhapsOverwritten(DatabaseState* before, DatabaseState* after,
                                       const PageNumbers& written);

// The pages of `trees` whose cells have one of `overwritten` in their chains and that are not in
// `written` themselves. Trees and states as they are after the transaction.
Result<PageNumbers> FindOverflowOwners(DatabaseState* after, const std::vector<RowTree>& trees,
                                       const PageNumbers& written, PageNumbers overwritten);

}  // namespace turso

#endif  // TURSO_SRC_CHANGES_OVERFLOW_OWNERS_H_
