// What a database holds, compared with all the strictness there is: texts of the schema, rowids,
// values by type and bits.

#ifndef TURSO_TESTS_SUPPORT_CONTENT_H_
#define TURSO_TESTS_SUPPORT_CONTENT_H_

#include <string>

#include "tests/support/connection.h"

namespace turso {

// "" if both hold the same; else the first difference.
std::string CompareContent(Connection* a, Connection* b);

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_CONTENT_H_
