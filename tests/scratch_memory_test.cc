// The scratch database while memory runs out: what it is asked is answered as ever, or it says that
// there was none. Its answers decide what is sent to a primary.

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "src/changes/schema_plan.h"
#include "tests/support/failing_memory.h"
#include "vfs/scratch.h"

namespace turso {
namespace {

// SQLite's own requests for memory, of which one fails.
class Memory {
 public:
  static void Install() {
    sqlite3_shutdown();
    ASSERT_EQ(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &below_), SQLITE_OK);
    sqlite3_mem_methods ours = below_;
    ours.xMalloc = [](int bytes) { return Strikes() ? nullptr : below_.xMalloc(bytes); };
    ours.xRealloc = [](void* old, int bytes) {
      return Strikes() ? nullptr : below_.xRealloc(old, bytes);
    };
    ASSERT_EQ(sqlite3_config(SQLITE_CONFIG_MALLOC, &ours), SQLITE_OK);
    // Else small requests are not seen.
    ASSERT_EQ(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0), SQLITE_OK);
    ASSERT_EQ(sqlite3_initialize(), SQLITE_OK);
  }
  static void Uninstall() {
    sqlite3_shutdown();
    sqlite3_config(SQLITE_CONFIG_MALLOC, &below_);
    sqlite3_initialize();
  }
  static void LetFail(int nth) { countdown_ = nth; }
  static bool HasFailed() { return countdown_ == 0; }

 private:
  static bool Strikes() { return countdown_ > 0 && --countdown_ == 0; }

  static inline sqlite3_mem_methods below_;
  static inline int countdown_ = -1;
};

class ScratchMemory : public ::testing::Test {
 protected:
  void SetUp() override { Memory::Install(); }
  void TearDown() override { Memory::Uninstall(); }

  // `ask` answers with a text, or with why it has none.
  template <typename Ask>
  void ExpectTheSameOrNoMemory(const Ask& ask) {
    Memory::LetFail(-1);
    const Result<std::string> expected = ask();
    ASSERT_TRUE(expected.ok()) << expected.status().text();
    int n = 1, told = 0;
    for (;; n++) {
      Memory::LetFail(n);
      const Result<std::string> answer = ask();
      if (!Memory::HasFailed()) break;
      if (answer.ok()) {
        EXPECT_EQ(*answer, *expected) << "request " << n;
      } else {
        EXPECT_EQ(answer.status().code(), Code::kNoMemory) << n << ": " << answer.status().text();
        told++;
      }
    }
    Memory::LetFail(-1);
    EXPECT_GT(told, 100) << "of " << n;
  }

  const std::vector<SchemaRow> before_ = {
      {1,
       "table",
       "t",
       "t",
       {2},
       "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT DEFAULT 'it''s', c)"},
      {2, "index", "i", "t", {3}, "CREATE INDEX i ON t(b COLLATE NOCASE, c DESC)"},
      {3, "view", "v", "v", {0}, "CREATE VIEW v AS SELECT b FROM t"},
      {4, "table", "f", "f", {4}, "CREATE TABLE f(x DEFAULT (unknown(1)))"},
  };
};

std::string TextOf(const Table& table) {
  std::string text = table.name;
  for (const Column& column : table.columns) {
    text += "|" + column.name + " " + column.type + " " + column.default_text + " ";
    text += std::to_string(static_cast<int>(column.missing.type)) + " ";
    text += std::to_string(column.missing.integer) + " ";
    text += std::string(column.missing.bytes.begin(), column.missing.bytes.end());
    text += column.unique ? " unique" : "";
  }
  return text;
}

TEST_F(ScratchMemory, DescribesTablesTheSameOrNotAtAll) {
  std::vector<SchemaRow> rows = before_;
  rows[0].sql =
      "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT DEFAULT 'it''s', c, d INT DEFAULT (6*7), e "
      "REAL "
      "DEFAULT 1, UNIQUE (c))";
  rows.push_back({5, "index", "sqlite_autoindex_t_1", "t", {5}, ""});
  for (TextEncoding encoding : {TextEncoding::kUtf8, TextEncoding::kUtf16Little}) {
    ExpectTheSameOrNoMemory([&]() -> Result<std::string> {
      MemoryScratchMaker maker;
      Result<std::unique_ptr<Scratch>> scratch = maker.Make(rows, encoding);
      if (!scratch.ok()) return scratch.status();
      Result<Table> table = (*scratch)->Describe("t");
      if (!table.ok()) return table.status();
      return TextOf(*table);
    });
  }
}

TEST_F(ScratchMemory, PlansTheSameChangeOfTheSchemaOrNone) {
  std::vector<SchemaRow> after = before_;
  after[0].sql =
      "CREATE TABLE t(a INTEGER PRIMARY KEY, \"new\" TEXT DEFAULT 'it''s', c, d INT DEFAULT 42)";
  after[1].sql = "CREATE INDEX i ON t(\"new\" COLLATE NOCASE, c DESC)";
  after[2].sql = "CREATE VIEW v AS SELECT c FROM t";
  ExpectTheSameOrNoMemory([&]() -> Result<std::string> {
    MemoryScratchMaker maker;
    Result<SchemaPlan> plan = PlanSchema(before_, after, TextEncoding::kUtf8, &maker);
    if (!plan.ok()) return plan.status();
    std::string text;
    for (const auto* list : {&plan->drop_triggers, &plan->tables, &plan->the_rest})
      for (const std::string& sql : *list) text += sql + ";\n";
    return text;
  });
}

TEST_F(ScratchMemory, LeavesNothingToSqliteWhereAnAnswerHasNoRoom) {
  const auto ask = [&] {
    MemoryScratchMaker maker;
    Result<std::unique_ptr<Scratch>> scratch = maker.Make(before_, TextEncoding::kUtf8);
    ASSERT_TRUE(scratch.ok());
    ASSERT_TRUE((*scratch)->Describe("t").ok());
    ASSERT_TRUE((*scratch)->Rows().ok());
  };
  ask();
  const sqlite3_int64 used = sqlite3_memory_used();
  int thrown = 0;
  for (int n = 1;; n++) {
    g_failing_request = n;
    try {
      ask();
    } catch (const std::bad_alloc&) {
      thrown++;
    }
    if (g_failing_request > 0) break;
    ASSERT_EQ(sqlite3_memory_used(), used) << "request " << n;
  }
  g_failing_request = 0;
  EXPECT_GT(thrown, 20);
}

}  // namespace
}  // namespace turso
