// The first 100 bytes of a database file: https://sqlite.org/fileformat2.html#the_database_header
//
//   16 page size (1: 65536)     40 schema cookie        56 text encoding: 1, 2, 3
//   20 reserved bytes a page    44 schema format        60 user_version
//   32 first freelist trunk     48 default cache size   64 whether incremental vacuum
//   36 free pages               52 largest root page    68 application_id
//
// Multi-byte fields are big-endian. Pure. Any thread.

#ifndef TURSO_SRC_FORMAT_DATABASE_HEADER_H_
#define TURSO_SRC_FORMAT_DATABASE_HEADER_H_

#include <cstdint>

#include "src/base/bytes.h"
#include "src/base/page_set.h"
#include "src/base/status.h"

namespace turso {

inline constexpr size_t kDatabaseHeaderBytes = 100;

enum class TextEncoding : uint8_t { kUtf8 = 1, kUtf16Little = 2, kUtf16Big = 3 };

struct DatabaseHeader {
  uint32_t page_size = 0;
  uint32_t reserved = 0;  // Bytes at the end of each page that are nobody's business.
  PageNo first_trunk;     // Of the freelist; 0 if it is empty.
  uint32_t free_pages = 0;
  uint32_t schema_cookie = 0;
  uint32_t schema_format = 0;  // Below 4, DESC in an index is ignored. 0 in an empty database.
  uint32_t default_cache_size = 0;
  PageNo largest_root;  // 0 unless the database keeps pointer-map pages.
  TextEncoding encoding = TextEncoding::kUtf8;
  int32_t user_version = 0;
  bool incremental_vacuum = false;
  int32_t application_id = 0;

  // What a page has for its content.
  uint32_t usable() const { return page_size - reserved; }
  bool has_pointer_map() const { return largest_root.value != 0; }
};

// Takes page 1 or its beginning. kCorrupt if it is no database that SQLite would read.
Result<DatabaseHeader> DecodeDatabaseHeader(ByteView page1);

}  // namespace turso

#endif  // TURSO_SRC_FORMAT_DATABASE_HEADER_H_
