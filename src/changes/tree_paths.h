// From pages that a transaction wrote to the trees that own them, in one state of the database.
//
// A page does not say which tree it is in; but its first key does say where in a tree it would be.
// Going down each tree by that key, at a few interior pages a tree, either arrives at the page or
// proves that it is not there.

#ifndef TURSO_SRC_CHANGES_TREE_PATHS_H_
#define TURSO_SRC_CHANGES_TREE_PATHS_H_

#include <map>
#include <set>
#include <vector>

#include "src/changes/table.h"
#include "src/format/btree.h"

namespace turso {

using PageNumbers = std::set<PageNo>;

// A tree that holds a table's rows.
struct RowTree {
  PageNo root;
  // Set WITHOUT ROWID: then rows are ordered as it says. Must outlive its user.
  const Table* keyed = nullptr;
};

// For each of `trees`, the pages from its root down to every one of `written` that it owns, both
// included. Pages of indexes, overflow chains and the like are owned by none of them.
Result<std::vector<PageNumbers>> FindPaths(DatabaseState* state, const std::vector<RowTree>& trees,
                                           const PageNumbers& written);

}  // namespace turso

#endif  // TURSO_SRC_CHANGES_TREE_PATHS_H_
