#include "src/changes/overflow_owners.h"

#include "src/format/other_pages.h"

namespace turso {

namespace {

// Takes the chain of `cell` off `wanted`; true if any of it was there.
Result<bool> TakeChain(DatabaseState* state, const Cell& cell, PageNumbers* wanted) {
  if (cell.overflow.value == 0) return false;
  Result<std::vector<PageNo>> chain = OverflowChain(state, cell);
  if (!chain.ok()) return chain.status();
  size_t taken = 0;
  for (PageNo page : *chain) taken += wanted->erase(page);
  return taken != 0;
}

// Chains that hang on written pages, of rows and of index entries, are read there.
Status TakeThoseOfWrittenPages(DatabaseState* state, const PageNumbers& written,
                               const PageNumbers& free, PageNumbers* wanted) {
  for (PageNo number : written) {
    if (wanted->empty()) return OkStatus();
    if (!state->Has(number) || free.count(number) || IsPointerMapPage(*state, number)) continue;
    Result<BtreePage> page = LoadBtreePage(state, number);
    if (!page.ok() || (page->is_table() && !page->is_leaf())) continue;
    for (size_t i = 0; i < page->cells(); ++i) {
      Result<Cell> cell = page->cell(i);
      if (!cell.ok()) break;
      Result<bool> taken = TakeChain(state, *cell, wanted);
      if (!taken.ok()) return taken.status();
    }
  }
  return OkStatus();
}

// The page with the cell whose chain `page` is in; 0 if it is in none.
Result<PageNo> OwnerByPointerMap(DatabaseState* state, PageNo page) {
  for (uint32_t steps = 0; steps < state->db_size(); ++steps) {
    Result<PointerMapEntry> entry = ReadPointerMap(state, page);
    if (!entry.ok()) return entry.status();
    if (entry->kind == PointerMapEntry::Kind::kFirstOverflow) return entry->parent;
    if (entry->kind != PointerMapEntry::Kind::kOverflow) return PageNo{0};
    page = entry->parent;
  }
  return Status(Code::kCorrupt, "the pointer map runs in a circle");
}

// Auto-vacuum moves pages of chains too, which changes the page before: the map tells them all.
Result<bool> IsMappedOverflow(DatabaseState* after, PageNo page) {
  Result<PointerMapEntry> entry = ReadPointerMap(after, page);
  if (!entry.ok()) return entry.status();
  return entry->kind == PointerMapEntry::Kind::kFirstOverflow ||
         entry->kind == PointerMapEntry::Kind::kOverflow;
}

// Without a map, a chain is never led another way without its beginning being written.
Result<bool> SameSuccessor(DatabaseState* before, DatabaseState* after, PageNo page) {
  if (!before->Has(page)) return false;
  Result<DatabaseState::Page> was = before->Load(page);
  if (!was.ok()) return was.status();
  Result<DatabaseState::Page> is = after->Load(page);
  if (!is.ok()) return is.status();
  const uint32_t next = LoadBig32((*is)->data());
  return next == LoadBig32((*was)->data()) && next <= after->db_size() && **was != **is;
}

}  // namespace

Result<PageNumbers> PerhapsOverwritten(DatabaseState* before, DatabaseState* after,
                                       const PageNumbers& written) {
  PageNumbers found;
  for (PageNo page : written) {
    if (page.value < 2 || !after->Has(page) || IsPointerMapPage(*after, page)) continue;
    Result<bool> perhaps = after->header().has_pointer_map() ? IsMappedOverflow(after, page)
                                                             : SameSuccessor(before, after, page);
    if (!perhaps.ok()) return perhaps.status();
    if (*perhaps) found.insert(page);
  }
  return found;
}

Result<PageNumbers> FindOverflowOwners(DatabaseState* after, const std::vector<RowTree>& trees,
                                       const PageNumbers& written, PageNumbers overwritten) {
  PageNumbers owners;
  if (overwritten.empty()) return owners;
  Result<PageNumbers> free = ReadFreelist(after);
  if (!free.ok()) return free.status();
  for (PageNo page : *free) overwritten.erase(page);
  TURSO_RETURN_IF_ERROR(TakeThoseOfWrittenPages(after, written, *free, &overwritten));
  if (after->header().has_pointer_map()) {
    for (PageNo page : overwritten) {
      Result<PageNo> owner = OwnerByPointerMap(after, page);
      if (!owner.ok()) return owner.status();
      if (owner->value != 0) owners.insert(*owner);
    }
    return owners;
  }
  for (const RowTree& tree : trees) {
    if (overwritten.empty()) break;
    TURSO_RETURN_IF_ERROR(
        ForEachCell(after, tree.root, [&](const BtreePage& page, const Cell& cell) -> Status {
          Result<bool> taken = TakeChain(after, cell, &overwritten);
          if (!taken.ok()) return taken.status();
          if (*taken) owners.insert(page.number());
          return OkStatus();
        }));
  }
  return owners;
}

}  // namespace turso
