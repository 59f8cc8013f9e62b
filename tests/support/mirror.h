// A database that transactions change, and another that gets each of them as statements: made from
// the pages that it wrote, and run by stock SQLite with foreign keys enforced, as a primary does.

#ifndef TURSO_TESTS_SUPPORT_MIRROR_H_
#define TURSO_TESTS_SUPPORT_MIRROR_H_

#include <memory>
#include <string>

#include "src/changes/statements.h"
#include "tests/support/connection.h"
#include "tests/support/memory_pages.h"
#include "tests/support/page_source.h"
#include "tests/support/temp_dir.h"
#include "vfs/scratch.h"

namespace turso {

// Runs what was written, each statement only if the one before it succeeded, as one transaction.
// kInvalid, with nothing done, if one of them fails.
Status RunStatements(Connection* db, const Statements& statements);

class Mirror {
 public:
  // `sql` makes the database, outside of transactions: pragmas, and at least one table.
  explicit Mirror(const std::string& sql);

  Connection* source() { return source_->db(); }
  Connection* copy() { return copy_.get(); }

  // Takes what was committed at the source since the last call to the copy, and compares. An error
  // if it was refused or failed there; a difference is a failure of the test.
  Status Carry(const PrimaryRules& rules = {}, const std::optional<CookieDemand>& cookie = {});
  // Runs `sql` at the source as one transaction, and carries it.
  Status Run(const std::string& sql);
  // After a refusal: makes the copy what the source is.
  void CopyAgain();

  // Of the last Carry().
  const Statements& statements() const { return statements_; }
  const Changes& changes() const { return changes_; }
  size_t pages_read() const { return pages_read_; }
  size_t pages_written() const { return pages_written_; }

 private:
  Result<Statements> Translate(const PrimaryRules& rules,
                               const std::optional<CookieDemand>& cookie);

  TempDir dir_;
  std::unique_ptr<PageSource> source_;
  std::unique_ptr<Connection> copy_;
  std::unique_ptr<MemoryPages> before_;
  MemoryScratchMaker maker_;
  Statements statements_;
  Changes changes_;
  size_t pages_read_ = 0;
  size_t pages_written_ = 0;
};

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_MIRROR_H_
