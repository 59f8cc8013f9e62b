#include "src/format/database_header.h"

#include <cstring>

namespace turso {

Result<DatabaseHeader> DecodeDatabaseHeader(ByteView page1) {
  if (page1.size() < kDatabaseHeaderBytes || std::memcmp(page1.data(), "SQLite format 3", 16) != 0)
    return Status(Code::kCorrupt, "page 1 does not begin as a database does");
  const uint8_t* at = page1.data();
  DatabaseHeader header;
  header.page_size = LoadBig16(at + 16);
  if (header.page_size == 1) header.page_size = 65536;
  header.reserved = at[20];
  // SQLite demands 480 usable bytes.
  if (!IsPageSize(header.page_size) || header.usable() < 480)
    return Status(Code::kCorrupt, "page 1 names a page size that is none");
  header.first_trunk = {LoadBig32(at + 32)};
  header.free_pages = LoadBig32(at + 36);
  header.schema_cookie = LoadBig32(at + 40);
  header.schema_format = LoadBig32(at + 44);
  header.default_cache_size = LoadBig32(at + 48);
  header.largest_root = {LoadBig32(at + 52)};
  const uint32_t encoding = LoadBig32(at + 56);
  if (encoding > 3) return Status(Code::kCorrupt, "page 1 names a text encoding that is none");
  // 0 in a database without tables: decided by the first.
  header.encoding = encoding == 0 ? TextEncoding::kUtf8 : static_cast<TextEncoding>(encoding);
  header.user_version = static_cast<int32_t>(LoadBig32(at + 60));
  header.incremental_vacuum = LoadBig32(at + 64) != 0;
  header.application_id = static_cast<int32_t>(LoadBig32(at + 68));
  return header;
}

}  // namespace turso
