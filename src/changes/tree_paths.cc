#include "src/changes/tree_paths.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "src/changes/key_order.h"
#include "src/format/other_pages.h"

namespace turso {

namespace {

// Where a page would be: a rowid, or a record that begins with a key.
struct Place {
  int64_t rowid = 0;
  std::vector<Value> record;
};

using Path = std::vector<PageNo>;

class PathFinder {
 public:
  PathFinder(DatabaseState* state, const std::vector<RowTree>& trees)
      : state_(state), trees_(trees), order_(trees.size()), paths_(trees.size()) {
    std::iota(order_.begin(), order_.end(), 0);
  }

  Status Add(PageNo number) {
    for (size_t tree = 0; tree < trees_.size(); ++tree) {
      if (trees_[tree].root != number) continue;
      paths_[tree].insert(number);
      return OkStatus();
    }
    if (!state_->Has(number) || IsPointerMapPage(*state_, number)) return OkStatus();
    Result<DatabaseState::Page> image = state_->Load(number);
    if (!image.ok()) return image.status();
    Result<BtreePage> page = BtreePage::Parse(number, *image, state_->header().usable());
    // Whatever lies there, no tree's page is like that; one without cells is a root or free.
    if (!page.ok() || page->cells() == 0) return OkStatus();
    Result<Place> place = PlaceOf(*page);
    return place.ok() ? Search(number, page->is_table(), *place) : OkStatus();
  }

  std::vector<PageNumbers> paths() && { return std::move(paths_); }

 private:
  Result<Place> PlaceOf(const BtreePage& page) {
    Place place;
    Result<Cell> cell = page.cell(0);
    if (!cell.ok()) return cell.status();
    place.rowid = cell->rowid;
    if (page.is_table()) return place;
    Result<std::vector<Value>> record = RecordOf(*cell);
    if (!record.ok()) return record.status();
    place.record = std::move(*record);
    return place;
  }

  Result<std::vector<Value>> RecordOf(const Cell& cell) {
    Result<Bytes> payload = ReadPayload(state_, cell);
    if (!payload.ok()) return payload.status();
    return DecodeRecord(*payload);
  }

  // The tree that was right last is asked first: most transactions change few.
  Status Search(PageNo number, bool is_table, const Place& place) {
    for (size_t i = 0; i < order_.size(); ++i) {
      const size_t tree = order_[i];
      if ((trees_[tree].keyed == nullptr) != is_table) continue;
      const bool known = is_table || KnowsOrder(trees_[tree].keyed->key);
      Result<Path> path = known ? Descend(tree, number, place) : Climb(tree, number);
      if (!path.ok()) return path.status();
      if (path->empty()) continue;
      paths_[tree].insert(path->begin(), path->end());
      std::rotate(order_.begin(), order_.begin() + static_cast<ptrdiff_t>(i),
                  order_.begin() + static_cast<ptrdiff_t>(i) + 1);
      break;
    }
    return OkStatus();
  }

  // Empty if the way down by `place` does not lead through the page.
  Result<Path> Descend(size_t tree, PageNo target, const Place& place) {
    Path path;
    PageNo at = trees_[tree].root;
    for (int depth = 0; depth < kMaxTreeDepth; ++depth) {
      path.push_back(at);
      if (at == target) return path;
      Result<BtreePage> page = LoadBtreePage(state_, at);
      if (!page.ok()) return page.status();
      if (page->is_table() == (trees_[tree].keyed != nullptr))
        return Status(Code::kCorrupt, "a table and an index share pages");
      if (page->is_leaf()) return Path();
      Result<PageNo> child = ChildAt(*page, trees_[tree].keyed, place);
      if (!child.ok()) return child.status();
      at = *child;
    }
    return Status(Code::kCorrupt, "a tree does not end");
  }

  Result<PageNo> ChildAt(const BtreePage& page, const Table* keyed, const Place& place) {
    size_t low = 0;
    size_t high = page.cells();
    PageNo child = page.right_child();
    while (low < high) {
      const size_t middle = (low + high) / 2;
      Result<Cell> cell = page.cell(middle);
      if (!cell.ok()) return cell.status();
      bool left = place.rowid <= cell->rowid;
      if (keyed) {
        Result<std::vector<Value>> record = RecordOf(*cell);
        if (!record.ok()) return record.status();
        left = CompareKeys(place.record, *record, keyed->key, state_->header().encoding) <= 0;
      }
      if (left) {
        child = cell->left_child;
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return child;
  }

  // Without an order there is only the long way: every interior page, once.
  Result<Path> Climb(size_t tree, PageNo target) {
    auto [parents, added] = parents_.try_emplace(tree);
    if (added) {
      Result<int> depth = TreeDepth(state_, trees_[tree].root);
      if (!depth.ok()) return depth.status();
      TURSO_RETURN_IF_ERROR(NoteParents(trees_[tree].root, *depth, &parents->second));
    }
    Path path;
    for (PageNo at = target; at != trees_[tree].root; at = parents->second[at]) {
      if (!parents->second.count(at)) return Path();
      path.push_back(at);
    }
    path.push_back(trees_[tree].root);
    return path;
  }

  Status NoteParents(PageNo at, int depth, std::map<PageNo, PageNo>* parents) {
    if (depth <= 1) return OkStatus();
    Result<BtreePage> page = LoadBtreePage(state_, at);
    if (!page.ok()) return page.status();
    if (page->is_leaf()) return {Code::kCorrupt, "a tree is not equally deep everywhere"};
    Result<std::vector<PageNo>> children = page->children();
    if (!children.ok()) return children.status();
    for (PageNo child : *children) {
      if (!parents->emplace(child, at).second)
        return {Code::kCorrupt, "a page is in two places of a tree"};
      TURSO_RETURN_IF_ERROR(NoteParents(child, depth - 1, parents));
    }
    return OkStatus();
  }

  DatabaseState* state_;
  const std::vector<RowTree>& trees_;
  std::vector<size_t> order_;
  std::vector<PageNumbers> paths_;
  std::map<size_t, std::map<PageNo, PageNo>> parents_;
};

}  // namespace

Result<std::vector<PageNumbers>> FindPaths(DatabaseState* state, const std::vector<RowTree>& trees,
                                           const PageNumbers& written) {
  PathFinder finder(state, trees);
  for (PageNo page : written) TURSO_RETURN_IF_ERROR(finder.Add(page));
  return std::move(finder).paths();
}

}  // namespace turso
