// The rows of one table as DELETE, UPDATE and INSERT.

#ifndef TURSO_SRC_CHANGES_ROW_STATEMENTS_H_
#define TURSO_SRC_CHANGES_ROW_STATEMENTS_H_

#include <string>
#include <string_view>
#include <vector>

#include "src/changes/statements.h"

namespace turso {

// What is done to the rows of a table, and so which triggers would fire.
struct RowStatements {
  std::vector<Statement> deletes;  // In the names that the table has before.
  std::vector<Statement> updates;
  std::vector<Statement> inserts;
  // Conditions, for guards behind all of that: generated columns have the values that they have
  // here. (ST7)
  std::vector<Statement> computed;
};

inline constexpr std::string_view kComputedValues = "_turso_computed";

// How a row is changed that keeps its key, where both ways are open.
enum class ChangedRows { kUpdate, kReplace };

// kReadOnly if a row cannot be named or sent.
Result<RowStatements> WriteRows(const TableChanges& changes, TextEncoding encoding,
                                ChangedRows changed_rows);

// Appends `value` to a statement, as `?` and an argument where it can be one. What stands there has
// no affinity, so that it can also be compared with: a CAST alone would make a number equal to its
// text.
void AppendValue(const Value& value, TextEncoding encoding, std::string* sql,
                 std::vector<Value>* arguments);

}  // namespace turso

#endif  // TURSO_SRC_CHANGES_ROW_STATEMENTS_H_
