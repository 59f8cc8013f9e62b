#include "src/changes/tree_diff.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

namespace turso {

namespace {

// What remains of one side.
struct Frontier {
  explicit Frontier(const TreeSide& s) : side(&s), level{s.tree.root} {}

  const TreeSide* side;
  std::vector<PageNo> level;      // Pages at the level that is looked at, from left to right.
  std::vector<PageNo> interiors;  // Pages of higher levels whose cells are rows too.
};

Status StepDown(Frontier* frontier) {
  std::vector<PageNo> below;
  for (PageNo number : frontier->level) {
    Result<BtreePage> page = LoadBtreePage(frontier->side->state, number);
    if (!page.ok()) return page.status();
    if (page->is_leaf()) return {Code::kCorrupt, "a tree is not equally deep everywhere"};
    Result<std::vector<PageNo>> children = page->children();
    if (!children.ok()) return children.status();
    below.insert(below.end(), children->begin(), children->end());
    if (below.size() > frontier->side->state->db_size())
      return {Code::kCorrupt, "a page is in two places of a tree"};
  }
  if (frontier->side->tree.keyed)
    frontier->interiors.insert(frontier->interiors.end(), frontier->level.begin(),
                               frontier->level.end());
  frontier->level = std::move(below);
  return OkStatus();
}

// Leaves out what is the same on both sides.
void Cancel(Frontier* before, Frontier* after, const PageNumbers& written) {
  const PageNumbers there(before->level.begin(), before->level.end());
  PageNumbers same;
  for (PageNo page : after->level)
    if (there.count(page) && !written.count(page) && !before->side->paths->count(page) &&
        !after->side->paths->count(page))
      same.insert(page);
  for (std::vector<PageNo>* level : {&before->level, &after->level})
    level->erase(std::remove_if(level->begin(), level->end(),
                                [&](PageNo page) { return same.count(page) != 0; }),
                 level->end());
}

// The cells of some pages, one after the other.
class Cells {
 public:
  Cells(DatabaseState* state, const std::vector<PageNo>& pages) : state_(state), pages_(pages) {}

  // False at the end. The cell is valid until the next call.
  Result<bool> Next() {
    while (!page_ || next_cell_ >= page_->cells()) {
      if (next_page_ >= pages_.size()) return false;
      Result<BtreePage> page = LoadBtreePage(state_, pages_[next_page_++]);
      if (!page.ok()) return page.status();
      page_ = std::move(*page);
      next_cell_ = 0;
    }
    Result<Cell> cell = page_->cell(next_cell_++);
    if (!cell.ok()) return cell.status();
    cell_ = *cell;
    return true;
  }
  const BtreePage& page() const { return *page_; }
  const Cell& cell() const { return cell_; }
  Result<Bytes> Payload() { return ReadPayload(state_, cell_); }

 private:
  DatabaseState* state_;
  const std::vector<PageNo>& pages_;
  size_t next_page_ = 0;
  size_t next_cell_ = 0;
  std::optional<BtreePage> page_;
  Cell cell_;
};

bool SameBytes(const Cell& a, const Cell& b) {
  return std::equal(a.bytes.begin(), a.bytes.end(), b.bytes.begin(), b.bytes.end());
}

Status Report(int64_t rowid, Cells* before, Cells* after, const ChangeVisitor& visit) {
  std::optional<Bytes> payloads[2];
  for (size_t i = 0; i < 2; ++i) {
    Cells* cells = i == 0 ? before : after;
    if (!cells) continue;
    Result<Bytes> payload = cells->Payload();
    if (!payload.ok()) return payload.status();
    payloads[i] = std::move(*payload);
  }
  if (payloads[0] == payloads[1]) return OkStatus();
  return visit(rowid, before ? &*payloads[0] : nullptr, after ? &*payloads[1] : nullptr);
}

// Both sides are in the order of their rowids.
Status MergeByRowid(Cells before, Cells after, EqualCells equal_cells, const ChangeVisitor& visit) {
  Result<bool> left = before.Next();
  Result<bool> right = after.Next();
  for (;;) {
    if (!left.ok()) return left.status();
    if (!right.ok()) return right.status();
    if (!*left && !*right) return OkStatus();
    const bool take_left = *left && (!*right || before.cell().rowid <= after.cell().rowid);
    const bool take_right = *right && (!*left || after.cell().rowid <= before.cell().rowid);
    const bool same = take_left && take_right && equal_cells == EqualCells::kEqualPayloads &&
                      SameBytes(before.cell(), after.cell());
    if (!same)
      TURSO_RETURN_IF_ERROR(Report(take_left ? before.cell().rowid : after.cell().rowid,
                                   take_left ? &before : nullptr, take_right ? &after : nullptr,
                                   visit));
    if (take_left) left = before.Next();
    if (take_right) right = after.Next();
  }
}

// Every cell below a frontier: visit(key, payload).
Status ForEachRecord(const Frontier& frontier, size_t key_fields,
                     const std::function<Status(std::string key, Bytes payload)>& visit) {
  for (const std::vector<PageNo>* pages : {&frontier.interiors, &frontier.level}) {
    Cells cells(frontier.side->state, *pages);
    for (;;) {
      Result<bool> more = cells.Next();
      if (!more.ok()) return more.status();
      if (!*more) break;
      Result<Bytes> payload = cells.Payload();
      if (!payload.ok()) return payload.status();
      Result<Bytes> key = RecordPrefix(*payload, key_fields);
      if (!key.ok()) return key.status();
      TURSO_RETURN_IF_ERROR(visit(std::string(AsText(*key)), *std::move(payload)));
    }
  }
  return OkStatus();
}

// Keys that are equal to their collation but not in their bytes are two rows: one goes, one comes.
Status MergeByKey(const Frontier& before, const Frontier& after, const ChangeVisitor& visit) {
  std::unordered_map<std::string, Bytes> gone;
  const size_t fields = before.side->tree.keyed->key.size();
  TURSO_RETURN_IF_ERROR(ForEachRecord(before, fields, [&](std::string key, Bytes payload) {
    gone.insert_or_assign(std::move(key), std::move(payload));
    return OkStatus();
  }));
  TURSO_RETURN_IF_ERROR(ForEachRecord(after, fields, [&](const std::string& key, Bytes payload) {
    auto was = gone.find(key);
    if (was == gone.end()) return visit(0, nullptr, &payload);
    const Bytes before_it = std::move(was->second);
    gone.erase(was);
    return before_it == payload ? OkStatus() : visit(0, &before_it, &payload);
  }));
  for (const auto& [key, payload] : gone) TURSO_RETURN_IF_ERROR(visit(0, &payload, nullptr));
  return OkStatus();
}

}  // namespace

Status DiffTrees(const TreeSide& before, const TreeSide& after, const PageNumbers& written,
                 EqualCells equal_cells, const ChangeVisitor& visit) {
  Result<int> before_depth = TreeDepth(before.state, before.tree.root);
  if (!before_depth.ok()) return before_depth.status();
  Result<int> after_depth = TreeDepth(after.state, after.tree.root);
  if (!after_depth.ok()) return after_depth.status();
  Frontier was(before);
  Frontier is(after);
  for (int depth = *before_depth; depth > *after_depth; --depth)
    TURSO_RETURN_IF_ERROR(StepDown(&was));
  for (int depth = *after_depth; depth > *before_depth; --depth)
    TURSO_RETURN_IF_ERROR(StepDown(&is));
  Cancel(&was, &is, written);
  for (int depth = std::min(*before_depth, *after_depth); depth > 1; --depth) {
    TURSO_RETURN_IF_ERROR(StepDown(&was));
    TURSO_RETURN_IF_ERROR(StepDown(&is));
    Cancel(&was, &is, written);
  }
  if (before.tree.keyed) return MergeByKey(was, is, visit);
  return MergeByRowid(Cells(before.state, was.level), Cells(after.state, is.level), equal_cells,
                      visit);
}

}  // namespace turso
