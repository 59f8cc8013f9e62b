// Which rows of a table a transaction changed, from its tree before and after.
//
//   before  root        after  root'       Both trees are gone down level by level. A page that
//          /  |  \            /  |  \      is on both sides at the same level, that the transaction
//         a   b   c          a   b'  d     did not write and that leads to none it wrote is left
//                                          out on both: here a. What remains is compared by key.
//
// So rows that only moved between pages, and pages that only moved within a tree, are no change;
// and a page that came from another tree, or went to one, is read as rows that came or went.

#ifndef TURSO_SRC_CHANGES_TREE_DIFF_H_
#define TURSO_SRC_CHANGES_TREE_DIFF_H_

#include <functional>

#include "src/changes/tree_paths.h"

namespace turso {

struct TreeSide {
  DatabaseState* state = nullptr;
  RowTree tree;
  const PageNumbers* paths = nullptr;  // As FindPaths() says, of what the transaction wrote.
};

// Whether two cells with the same bytes hold the same payload: not where the transaction may have
// written an overflow page in place.
enum class EqualCells { kEqualPayloads, kPerhaps };

// A row that is not the same on both sides; null for "there is none". The views are valid during
// the call only.
using ChangeVisitor = std::function<Status(int64_t rowid, const Bytes* before, const Bytes* after)>;
Status DiffTrees(const TreeSide& before, const TreeSide& after, const PageNumbers& written,
                 EqualCells equal_cells, const ChangeVisitor& visit);

}  // namespace turso

#endif  // TURSO_SRC_CHANGES_TREE_DIFF_H_
