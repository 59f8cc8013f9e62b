// The table sqlite_schema, rooted at page 1:
// https://sqlite.org/fileformat2.html#storage_of_the_sql_database_schema

#ifndef TURSO_SRC_FORMAT_SCHEMA_H_
#define TURSO_SRC_FORMAT_SCHEMA_H_

#include <string>
#include <vector>

#include "src/base/status.h"
#include "src/format/page_reader.h"

namespace turso {

struct SchemaRow {
  int64_t rowid = 0;
  std::string type;   // "table", "index", "view" or "trigger".
  std::string name;   // These and `sql` as UTF-8, in whatever encoding the database is.
  std::string table;  // Which table it belongs to; its own name for a table or view.
  PageNo root;        // 0 for views, triggers and virtual tables.
  std::string sql;    // Empty for the indexes that SQLite makes for a constraint.

  friend bool operator==(const SchemaRow&, const SchemaRow&) = default;
};

// Whether both say the same but for where it is kept.
bool SameObject(const SchemaRow& a, const SchemaRow& b);

// In the order of their rowids. kCorrupt if it is not such a table.
Result<std::vector<SchemaRow>> ReadSchema(DatabaseState* state);

}  // namespace turso

#endif  // TURSO_SRC_FORMAT_SCHEMA_H_
