// Random schemas and random transactions, as SQL: every kind of table, index, trigger and value,
// and every way to change a schema. Many a statement fails, for a constraint or for making no
// sense; that is part of it.

#ifndef TURSO_TESTS_SUPPORT_RANDOM_DATABASE_H_
#define TURSO_TESTS_SUPPORT_RANDOM_DATABASE_H_

#include <string>
#include <vector>

#include "tests/support/connection.h"
#include "tests/support/seed.h"

namespace turso {

// How often the schema is changed.
enum class SchemaChanges { kSeldom, kOften };

class RandomDatabase {
 public:
  RandomDatabase(Rng* rng, SchemaChanges schema_changes)
      : rng_(rng), schema_changes_(schema_changes) {}

  // Pragmas that a database keeps for ever, and a few tables.
  std::string Beginning();
  // Runs one transaction and commits it.
  void Transaction(Connection* db);

 private:
  int Between(int low, int high) { return turso::Between(rng_, low, high); }
  bool Chance(int percent) { return Between(1, 100) <= percent; }
  template <typename T>
  const T& Pick(const std::vector<T>& from) {
    return from[static_cast<size_t>(Between(0, static_cast<int>(from.size()) - 1))];
  }

  std::string Name(const char* kind);
  std::string Literal();
  std::string Long();
  std::string ColumnDefinition(const std::string& name, const std::vector<std::string>& earlier);
  std::string AddedColumn();
  std::string CreateTable(const std::string& name);
  std::string CreateIndex(Connection* db);
  std::string CreateTrigger(Connection* db);
  std::string CreateVirtualTable();

  std::vector<std::string> Ask(Connection* db, const std::string& sql);
  std::string Table(Connection* db);
  // Columns that can be written.
  std::vector<std::string> Columns(Connection* db, const std::string& table);

  void ChangeRows(Connection* db);
  void InsertRows(Connection* db, const std::string& table);
  void UpdateRows(Connection* db, const std::string& table);
  void WriteInPlace(Connection* db, const std::string& table);
  void ChangeVirtualTable(Connection* db);
  void ChangeSchema(Connection* db);
  void AlterTable(Connection* db);
  void CopyTable(Connection* db);

  Rng* rng_;
  SchemaChanges schema_changes_;
  int names_ = 0;
};

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_RANDOM_DATABASE_H_
