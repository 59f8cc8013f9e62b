// B-trees, read-only: https://sqlite.org/fileformat2.html#b_tree_pages
//
//   page := [100 bytes on page 1] type(1) freeblock(2) cells(2) content(2) fragments(1)
//           [right child(4)] cell pointer(2)*  ...  cells, in any order
//
//   table leaf      0x0d   payload size, rowid, payload         the rows
//   table interior  0x05   left child, key                      rowids to the left are <= key
//   index leaf      0x0a   payload size, payload                entries; rows if WITHOUT ROWID
//   index interior  0x02   left child, payload size, payload    entries too
//
//   (F1) No bytes make a parser read outside a page, allocate more than the database holds, or
//        loop.
// Pure. Not for use by several threads at once.

#ifndef TURSO_SRC_FORMAT_BTREE_H_
#define TURSO_SRC_FORMAT_BTREE_H_

#include <functional>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/status.h"
#include "src/format/page_reader.h"

namespace turso {

// Deeper trees are corrupt: SQLite has the same limit.
inline constexpr int kMaxTreeDepth = 20;

struct Cell {
  PageNo left_child;           // In interior pages.
  int64_t rowid = 0;           // In pages of tables.
  uint64_t payload_bytes = 0;  // Of the whole payload; 0 in a table's interior page.
  ByteView local;              // What of it is on the page.
  PageNo overflow;             // Where the rest begins; 0 if there is none.
  ByteView bytes;              // The whole cell as it lies on the page.
};

class BtreePage {
 public:
  // kCorrupt if it does not look like one, from its type to the bounds of its cells' pointers.
  static Result<BtreePage> Parse(PageNo number, DatabaseState::Page image, uint32_t usable);

  PageNo number() const { return number_; }
  bool is_leaf() const { return is_leaf_; }
  bool is_table() const { return is_table_; }
  size_t cells() const { return cells_; }
  PageNo right_child() const { return right_child_; }
  // kCorrupt if the cell reaches over the end of the page.
  Result<Cell> cell(size_t i) const;
  // From left to right; of an interior page.
  Result<std::vector<PageNo>> children() const;

 private:
  PageNo number_;
  DatabaseState::Page image_;
  uint32_t usable_ = 0;
  bool is_leaf_ = false;
  bool is_table_ = false;
  size_t pointers_ = 0;  // Where the array begins.
  size_t cells_ = 0;
  PageNo right_child_;
};

Result<BtreePage> LoadBtreePage(DatabaseState* state, PageNo page);

// Pages on the way from `root` to any leaf: 1 if the root is one.
Result<int> TreeDepth(DatabaseState* state, PageNo root);

// The pages of a cell's overflow chain, in order, as many as its payload needs.
Result<std::vector<PageNo>> OverflowChain(DatabaseState* state, const Cell& cell);
// The payload, with what lies in overflow pages.
Result<Bytes> ReadPayload(DatabaseState* state, const Cell& cell);

// Calls `visit` with every cell that holds a row or an entry, in the order of the keys, and the
// page that it lies on.
using CellVisitor = std::function<Status(const BtreePage& page, const Cell& cell)>;
Status ForEachCell(DatabaseState* state, PageNo root, const CellVisitor& visit);

}  // namespace turso

#endif  // TURSO_SRC_FORMAT_BTREE_H_
