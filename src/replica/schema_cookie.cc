// Which schema cookie the files show.
//
// An open connection takes the schema that it has read for the one of the database if page 1 has
// the same cookie: https://sqlite.org/fileformat2.html#schema_cookie. So one cookie must not stand
// for two schemas, or it reads, and writes, one table for another. A primary that went back in
// time, with commits of ours or without, counts on from an earlier cookie. Then the replica goes on
// from the last one that it has shown, and so differs from the primary in these four bytes, until
// the primary's is greater.

#include "src/format/schema.h"
#include "src/replica/content.h"
#include "src/replica/replica_impl.h"

namespace turso {

namespace {

constexpr size_t kCookieAt = 40;  // In page 1.

Result<std::vector<SchemaRow>> SchemaIn(PageReader* pages, uint32_t page_size, uint32_t db_size) {
  Result<DatabaseState> state = DatabaseState::Open(pages, page_size, db_size);
  if (!state.ok()) return state.status();
  return ReadSchema(&*state);
}

}  // namespace

// Whether the schema after `pages` is the one that `header`, a whole one, shows. What cannot be
// read is not.
bool ReplicaImpl::KeepsSchema(WalFiles* files, const WalIndexHeader& header, const PageSet& pages) {
  BasePages shown(files, header);
  OverlaidPages after(&shown, header.db_size, &pages);
  const auto was = SchemaIn(&shown, header.page_size, header.db_size);
  const auto is = SchemaIn(&after, header.page_size, pages.db_size());
  return was.ok() && is.ok() && *was == *is;
}

Status ReplicaImpl::ChooseCookie(WalFiles* files, PageSet* pages, SidecarRecord* record) {
  const uint8_t* first = pages->Find(PageNo{1});
  if (first == nullptr) return OkStatus();
  Result<WalIndexHeader> header = Header(files);
  if (header.ok()) header = WholeHeader(files, *header, record->page_size);
  if (!header.ok()) return header.status();
  Bytes image(record->page_size);
  TURSO_RETURN_IF_ERROR(ReadPage(files, *header, PageNo{1}, image));
  const uint32_t shown = LoadBig32(&image[kCookieAt]);
  const uint32_t theirs = LoadBig32(first + kCookieAt);
  // Of one history, the same cookie is the same schema.
  const bool in_doubt = record->own_cookie || record->provisional() || record->current.empty();
  if (theirs > shown || !in_doubt) {
    record->own_cookie = false;
    return OkStatus();
  }
  const uint32_t cookie = KeepsSchema(files, *header, *pages) ? shown : shown + 1;
  record->own_cookie = cookie != theirs;
  StoreBig32(pages->Slot(PageNo{1}) + kCookieAt, cookie);
  return OkStatus();
}

}  // namespace turso
