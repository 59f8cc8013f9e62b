// What SQL from the network may do with its connection: an authorizer, and the limits that go with
// it. https://sqlite.org/c3ref/set_authorizer.html
//
// Refused for everybody: other files (ATTACH, VACUUM INTO), extensions, and the PRAGMAs that reach
// beyond the database or undo what keeps it safe. Answered as if done, since programs send them as
// a matter of course and nothing depends on them here: PRAGMAs that tune how a file is written
// (journal_mode, synchronous...), with a value. One thread at a time.

#ifndef TURSO_SRC_PRIMARY_HRANA_GUARD_H_
#define TURSO_SRC_PRIMARY_HRANA_GUARD_H_

#include <sqlite3.h>

#include <string>

#include "src/base/status.h"
#include "src/primary/access.h"

namespace turso {

class HranaGuard {
 public:
  explicit HranaGuard(Access access) : access_(access) {}

  // Binds `db` to this guard, which must outlive it.
  Status Install(sqlite3* db);

  // Call before a statement is prepared.
  void Reset();
  // Why the statement just prepared was refused; empty if this guard refused nothing.
  const std::string& refusal() const { return refusal_; }
  // Whether it is an INSERT (or REPLACE) into a table of the user.
  bool is_insert() const { return is_insert_; }

 private:
  static int OnAction(void* self, int action, const char* a, const char* b, const char* schema,
                      const char* trigger);
  int Pragma(const char* name, const char* value);
  int Refuse(std::string why);

  const Access access_;
  std::string refusal_;
  bool is_insert_ = false;
};

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_HRANA_GUARD_H_
