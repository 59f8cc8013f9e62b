#include "src/format/btree.h"

#include <algorithm>

#include "src/format/varint.h"

namespace turso {

namespace {

constexpr uint8_t kIndexInterior = 2;
constexpr uint8_t kTableInterior = 5;
constexpr uint8_t kIndexLeaf = 10;
constexpr uint8_t kTableLeaf = 13;

Status Corrupt(PageNo page, const char* what) {
  return {Code::kCorrupt, "page " + std::to_string(page.value) + ": " + what};
}

// How much of a payload stays on the page.
size_t LocalBytes(uint64_t payload, uint32_t usable, bool table) {
  const uint64_t max = table ? usable - 35 : (usable - 12) * 64 / 255 - 23;
  if (payload <= max) return payload;
  const uint64_t min = (usable - 12) * 32 / 255 - 23;
  const uint64_t fit = min + (payload - min) % (usable - 4);
  return fit <= max ? fit : min;
}

// Walks a tree; every page counts, so that a tree that bites its own tail comes to an end.
class Walk {
 public:
  Walk(DatabaseState* state, const CellVisitor& visit) : state_(state), visit_(visit) {}

  Status Visit(PageNo number, int depth) {
    if (depth > kMaxTreeDepth || ++pages_ > state_->db_size())
      return Corrupt(number, "the tree above it does not end");
    Result<BtreePage> page = LoadBtreePage(state_, number);
    if (!page.ok()) return page.status();
    for (size_t i = 0; i < page->cells(); ++i) {
      Result<Cell> cell = page->cell(i);
      if (!cell.ok()) return cell.status();
      if (!page->is_leaf()) TURSO_RETURN_IF_ERROR(Visit(cell->left_child, depth + 1));
      if (page->is_leaf() || !page->is_table()) TURSO_RETURN_IF_ERROR(visit_(*page, *cell));
    }
    return page->is_leaf() ? OkStatus() : Visit(page->right_child(), depth + 1);
  }

 private:
  DatabaseState* state_;
  const CellVisitor& visit_;
  uint64_t pages_ = 0;
};

}  // namespace

Result<BtreePage> BtreePage::Parse(PageNo number, DatabaseState::Page image, uint32_t usable) {
  const size_t start = number.value == 1 ? kDatabaseHeaderBytes : 0;
  if (image->size() < usable || usable < start + 12) return Corrupt(number, "is too short");
  const uint8_t* at = image->data() + start;
  BtreePage page;
  page.number_ = number;
  page.usable_ = usable;
  switch (at[0]) {
    case kIndexInterior: break;
    case kTableInterior: page.is_table_ = true; break;
    case kIndexLeaf: page.is_leaf_ = true; break;
    case kTableLeaf: page.is_table_ = page.is_leaf_ = true; break;
    default: return Corrupt(number, "is no page of a b-tree");
  }
  page.cells_ = LoadBig16(at + 3);
  page.pointers_ = start + (page.is_leaf_ ? 8 : 12);
  if (!page.is_leaf_) page.right_child_ = {LoadBig32(at + 8)};
  if (page.pointers_ + page.cells_ * 2 > usable) return Corrupt(number, "has too many cells");
  page.image_ = std::move(image);
  return page;
}

Result<Cell> BtreePage::cell(size_t i) const {
  const size_t at = LoadBig16(image_->data() + pointers_ + i * 2);
  if (at < pointers_ + cells_ * 2 || at >= usable_)
    return Corrupt(number_, "has a cell outside itself");
  const ByteView whole = ByteView(*image_).first(usable_).subspan(at);
  ByteView rest = whole;
  Cell cell;
  if (!is_leaf_) {
    if (rest.size() < 4) return Corrupt(number_, "has a cell that reaches over its end");
    cell.left_child = {LoadBig32(rest.data())};
    rest = rest.subspan(4);
  }
  const bool has_payload = is_leaf_ || !is_table_;
  uint64_t rowid = 0;
  if ((has_payload && !TakeVarint(&rest, &cell.payload_bytes)) ||
      (is_table_ && !TakeVarint(&rest, &rowid)))
    return Corrupt(number_, "has a cell that reaches over its end");
  cell.rowid = static_cast<int64_t>(rowid);
  const size_t local = has_payload ? LocalBytes(cell.payload_bytes, usable_, is_table_) : 0;
  const bool spills = local < cell.payload_bytes;
  if (local + (spills ? 4 : 0) > rest.size())
    return Corrupt(number_, "has a cell that reaches over its end");
  cell.local = rest.first(local);
  rest = rest.subspan(local);
  if (spills) {
    cell.overflow = {LoadBig32(rest.data())};
    rest = rest.subspan(4);
  }
  cell.bytes = whole.first(whole.size() - rest.size());
  return cell;
}

Result<std::vector<PageNo>> BtreePage::children() const {
  std::vector<PageNo> children;
  for (size_t i = 0; i < cells_; ++i) {
    Result<Cell> child = cell(i);
    if (!child.ok()) return child.status();
    children.push_back(child->left_child);
  }
  children.push_back(right_child_);
  return children;
}

Result<BtreePage> LoadBtreePage(DatabaseState* state, PageNo page) {
  Result<DatabaseState::Page> image = state->Load(page);
  if (!image.ok()) return image.status();
  return BtreePage::Parse(page, std::move(*image), state->header().usable());
}

Result<int> TreeDepth(DatabaseState* state, PageNo root) {
  for (int depth = 1; depth <= kMaxTreeDepth; ++depth) {
    Result<BtreePage> page = LoadBtreePage(state, root);
    if (!page.ok()) return page.status();
    if (page->is_leaf()) return depth;
    root = page->right_child();
  }
  return Corrupt(root, "the tree above it does not end");
}

Result<std::vector<PageNo>> OverflowChain(DatabaseState* state, const Cell& cell) {
  const uint64_t per_page = state->header().usable() - 4;
  const uint64_t spilled = cell.payload_bytes - cell.local.size();
  const uint64_t pages = (spilled + per_page - 1) / per_page;
  if (pages > state->db_size())
    return Status(Code::kCorrupt, "a payload is larger than the database");
  std::vector<PageNo> chain;
  PageNo next = cell.overflow;
  while (chain.size() < pages) {
    chain.push_back(next);
    Result<DatabaseState::Page> image = state->Load(next);
    if (!image.ok()) return image.status().While("following an overflow chain");
    next = {LoadBig32((*image)->data())};
  }
  return chain;
}

Result<Bytes> ReadPayload(DatabaseState* state, const Cell& cell) {
  Bytes payload(cell.local.begin(), cell.local.end());
  if (cell.local.size() == cell.payload_bytes) return payload;
  const uint64_t per_page = state->header().usable() - 4;
  if ((cell.payload_bytes - cell.local.size()) / per_page > state->db_size())
    return Status(Code::kCorrupt, "a payload is larger than the database");
  payload.reserve(cell.payload_bytes);
  PageNo next = cell.overflow;
  while (payload.size() < cell.payload_bytes) {
    Result<DatabaseState::Page> image = state->Load(next);
    if (!image.ok()) return image.status().While("following an overflow chain");
    const uint64_t part = std::min(per_page, cell.payload_bytes - payload.size());
    payload.insert(payload.end(), (*image)->begin() + 4, (*image)->begin() + 4 + part);
    next = {LoadBig32((*image)->data())};
  }
  return payload;
}

Status ForEachCell(DatabaseState* state, PageNo root, const CellVisitor& visit) {
  return Walk(state, visit).Visit(root, 1);
}

}  // namespace turso
