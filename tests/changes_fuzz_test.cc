// Random transactions by SQLite, each carried to a copy as statements and compared there.
// TURSO_CHANGES_FUZZ=N runs N transactions instead of a few thousand.

#include <gtest/gtest.h>

#include <map>

#include "tests/support/mirror.h"
#include "tests/support/random_database.h"

namespace turso {
namespace {

int Transactions(int usual) {
  const char* given = std::getenv("TURSO_CHANGES_FUZZ");
  return given ? std::atoi(given) : usual;
}

// Why it was refused, without the names.
std::string Kind(const std::string& text) {
  std::string kind;
  for (char c : text.substr(0, 160))
    if (c < '0' || c > '9') kind += c;
  return kind;
}

void Fuzz(SchemaChanges schema_changes, int transactions) {
  Rng rng(TestSeed());
  std::map<std::string, int> refused;
  int carried = 0;
  int refusals = 0;
  size_t statements = 0;
  for (int done = 0; done < transactions && !::testing::Test::HasFailure();) {
    RandomDatabase random(&rng, schema_changes);
    Mirror mirror(random.Beginning());
    mirror.source()->Run(std::string("PRAGMA foreign_keys=") +
                         (Between(&rng, 0, 1) ? "ON" : "OFF"));
    mirror.source()->Run("PRAGMA recursive_triggers=OFF; PRAGMA cache_size=20");
    for (int i = 0; i < 100 && done < transactions; ++i, ++done) {
      random.Transaction(mirror.source());
      const Status status = mirror.Carry();
      if (status.ok()) {
        carried += mirror.changes().empty() ? 0 : 1;
        statements += mirror.statements().body.size();
      } else {
        EXPECT_EQ(status.code(), Code::kReadOnly) << status.text();
        ++refused[Kind(status.text())];
        ++refusals;
        mirror.CopyAgain();
      }
      if (::testing::Test::HasFailure()) {
        for (const Statement& statement : mirror.statements().body)
          std::printf("%.300s [%zu]\n", statement.sql.c_str(), statement.arguments.size());
        std::printf("transaction %d of database %d\n", i, done / 100);
        break;
      }
    }
  }
  std::printf("%d transactions carried in %zu statements, %d refused\n", carried, statements,
              refusals);
  for (const auto& [kind, times] : refused) std::printf("%6d %s\n", times, kind.c_str());
  EXPECT_GT(carried, transactions / 3);
  EXPECT_LT(refusals, transactions / 20 + 5);
}

TEST(ChangesFuzz, RowsArriveAsTheyAre) { Fuzz(SchemaChanges::kSeldom, Transactions(2000)); }
TEST(ChangesFuzz, SchemasArriveAsTheyAre) { Fuzz(SchemaChanges::kOften, Transactions(1000)); }

}  // namespace
}  // namespace turso
