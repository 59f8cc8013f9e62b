// A database that random transactions change, and the pages that each of them changed: what a
// primary would send.

#ifndef TURSO_TESTS_SUPPORT_PAGE_SOURCE_H_
#define TURSO_TESTS_SUPPORT_PAGE_SOURCE_H_

#include <memory>
#include <string>

#include "src/base/page_set.h"
#include "tests/support/connection.h"
#include "tests/support/host_wal_files.h"
#include "tests/support/seed.h"

namespace turso {

// Makes the tables t(id, v, pad) and meta(txn, n, s) in a WAL database with
// auto_vacuum=INCREMENTAL. In every committed state meta has one row, n = count(*) and s = sum(v)
// of t.
void CreateWorkload(Connection* db, uint32_t page_size);

// How large a transaction may get.
enum class Bulk { kSmall, kLarge };

// One transaction of a random kind (updates, inserts, deletes, growth, shrinking by
// incremental_vacuum, savepoints rolled back), which sets meta.txn to `txn`.
void RunTransaction(Connection* db, Rng* rng, int64_t txn, Bulk bulk);

// "" if what this connection reads now keeps the workload's rule; else what is wrong. *txn is
// meta.txn.
std::string CheckWorkload(Connection* db, int64_t* txn);

class PageSource {
 public:
  // Makes the database, or goes on with it; nothing of what it has is in the first Take().
  PageSource(const std::string& path, uint32_t page_size);

  Connection* db() { return &db_; }
  HostWalFiles* files() { return files_.get(); }
  // The final pages of what was committed since the last call; empty if nothing was.
  PageSet Take();
  // Copies the log into the database file and empties it.
  void Checkpoint();

 private:
  Connection db_;
  std::unique_ptr<HostWalFiles> files_;
  WalPosition taken_;
};

// Copies a database without its log: `from` must be checkpointed.
void CopyDatabase(const std::string& from, const std::string& to);

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_PAGE_SOURCE_H_
