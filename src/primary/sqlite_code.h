// SQLite's result codes by name: https://sqlite.org/rescode.html

#ifndef TURSO_SRC_PRIMARY_SQLITE_CODE_H_
#define TURSO_SRC_PRIMARY_SQLITE_CODE_H_

namespace turso {

// "SQLITE_CONSTRAINT_UNIQUE" for 2067; the primary code's name where the extended one is not known.
const char* SqliteExtendedCodeName(int code);
// "SQLITE_CONSTRAINT" for 19 and for 2067. "SQLITE_ERROR" for what is not known.
const char* SqliteCodeName(int code);

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_SQLITE_CODE_H_
