// Whether pages from a replica may become the next revision: a token that may write must not be
// able to break the file for everybody. What the b-trees say is not looked at; that much any SQL
// could do too. https://sqlite.org/fileformat2.html#the_database_header

#ifndef TURSO_SRC_PRIMARY_PAGE_CHECK_H_
#define TURSO_SRC_PRIMARY_PAGE_CHECK_H_

#include "src/base/page_set.h"
#include "src/base/status.h"

namespace turso {

// The page that holds the lock bytes at 1 GiB. SQLite never writes it:
// https://sqlite.org/fileformat2.html#the_lock_byte_page
PageNo LockBytePage(uint32_t page_size);

// kInvalid, with the reason, unless `pages` make a possible next state of a database of `db_size`
// pages whose page 1 is `page1`.
Status CheckPages(const PageSet& pages, ByteView page1, uint32_t db_size);

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_PAGE_CHECK_H_
