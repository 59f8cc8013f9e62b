// What a transaction did, from the pages before and after it: rows, schema, numbers in the header.
//
// Its cost grows with the pages that the transaction wrote, not with the database; overflow pages
// that were written in place are the exception (src/changes/overflow_owners.h).
// Pure but for the scratch database. Not for use by several threads at once.

#ifndef TURSO_SRC_CHANGES_CHANGES_H_
#define TURSO_SRC_CHANGES_CHANGES_H_

#include <optional>
#include <vector>

#include "src/changes/schema_plan.h"
#include "src/changes/table.h"
#include "src/changes/tree_paths.h"
#include "src/format/page_reader.h"

namespace turso {

// One row that is not as it was. Both sides are in the columns that the table has afterwards.
struct RowChange {
  std::optional<Row> before;
  std::optional<Row> after;
};

struct TableChanges {
  TableOrigin origin;
  Table before;  // If it has rows from before.
  Table after;
  std::vector<RowChange> rows;  // In the order of their keys. Of a table that begins empty: all.
};

struct Changes {
  TextEncoding encoding = TextEncoding::kUtf8;
  bool cookie_changed = false;  // Also where the schema ended as it was.
  std::vector<SchemaRow> schema_before;
  std::vector<SchemaRow> schema_after;
  SchemaPlan plan;
  std::vector<TableChanges> tables;  // Those with changed rows, and those that begin anew.
  // sqlite_sequence: what changed in it is not among `tables`.
  std::vector<RowChange> sequence_changes;
  std::vector<Row> sequence;            // All of it afterwards, where rows or schema changed.
  std::optional<int32_t> user_version;  // Where it changed.

  // Whether both states have the same content.
  bool empty() const {
    return plan.empty() && tables.empty() && sequence_changes.empty() && !user_version;
  }
};

// `written` is every page that the transaction wrote; pages whose bytes ended as they were may be
// in it. kReadOnly, with the reason, for what no SQL brings about: VACUUM, another text encoding or
// application_id... kCorrupt if the pages make no database.
Result<Changes> FindChanges(DatabaseState* before, DatabaseState* after, const PageNumbers& written,
                            ScratchMaker* maker);

}  // namespace turso

#endif  // TURSO_SRC_CHANGES_CHANGES_H_
