// The order of keys in tables WITHOUT ROWID: https://sqlite.org/fileformat2.html#record_sort_order

#ifndef TURSO_SRC_CHANGES_KEY_ORDER_H_
#define TURSO_SRC_CHANGES_KEY_ORDER_H_

#include <vector>

#include "src/changes/table.h"
#include "src/format/database_header.h"

namespace turso {

// Below, at or above 0 as the first key.size() values of `a` come before, with or after those of
// `b`. Texts are as the database keeps them.
int CompareKeys(const std::vector<Value>& a, const std::vector<Value>& b,
                const std::vector<KeyField>& key, TextEncoding encoding);

// Whether CompareKeys() knows the order: it does not where the application brings the collation.
bool KnowsOrder(const std::vector<KeyField>& key);

}  // namespace turso

#endif  // TURSO_SRC_CHANGES_KEY_ORDER_H_
