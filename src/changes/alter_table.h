// Which ALTER TABLE statements made one table of another.

#ifndef TURSO_SRC_CHANGES_ALTER_TABLE_H_
#define TURSO_SRC_CHANGES_ALTER_TABLE_H_

#include <optional>
#include <string>
#include <vector>

#include "src/changes/scratch.h"

namespace turso {

struct Alteration {
  std::vector<std::string> statements;
  // For each column afterwards, which one it was before; none: added.
  std::vector<std::optional<size_t>> columns;
};

// Tries what the columns and the texts suggest on `scratch`, which has the table as `before`, and
// leaves it there if that gives `after`; otherwise leaves the scratch as it was and returns
// kNotFound. The tables are null for a virtual one.
Result<Alteration> FindAlteration(const SchemaRow& before, const Table* table_before,
                                  const SchemaRow& after, const Table* table_after,
                                  Scratch* scratch);

}  // namespace turso

#endif  // TURSO_SRC_CHANGES_ALTER_TABLE_H_
