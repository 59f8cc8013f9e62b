// A replica that cannot be opened, so that whoever opens it is told why.
//
// xOpen can return a code and no text: "unable to open database file" is all that a program's user
// would see. So where the extension is there to say more, the file is opened as one in which
// nothing can be locked and nothing is to be read, and the end of sqlite3_open, where the extension
// looks at each new connection, fails with the same code and the sentence. ATTACH, and a connection
// that the extension does not look at, fail at their first lock with that code.

#ifndef TURSO_VFS_REFUSAL_H_
#define TURSO_VFS_REFUSAL_H_

#include <string>

#include "src/base/status.h"
#include "vfs/sqlite.h"

namespace turso {

// From now on somebody calls RefusalOf at the end of each open. Before that, and in a program
// without the extension, a refusal is its code alone.
void ExplainRefusals();

struct Refusal {
  int code;
  std::string sentence;
};

// Answers an xOpen of `name` that failed with `status`. SQLite's code, SQLITE_OK if the rest
// follows.
int Refuse(const Status& status, const char* name, sqlite3_file* file, int flags, int* out_flags);
// Null if the main database of `db` is not refused. It lasts as long as the connection.
const Refusal* RefusalOf(sqlite3* db);

}  // namespace turso

#endif  // TURSO_VFS_REFUSAL_H_
