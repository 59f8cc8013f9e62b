#include "src/changes/changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/changes/key_order.h"
#include "tests/support/mirror.h"
#include "tests/support/seed.h"

namespace turso {
namespace {

using ::testing::HasSubstr;

constexpr const char* kNumbers =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<";
std::string Rows(int count, const std::string& insert) {
  return kNumbers + std::to_string(count) + ") INSERT INTO " + insert + " FROM n";
}

void ExpectCarried(Mirror* mirror, const std::string& sql) {
  const Status status = mirror->Run(sql);
  EXPECT_TRUE(status.ok()) << sql << "\n" << status.text();
}
// `sql` changes as many rows as it says; in the end they are at the copy.
void ExpectRows(Mirror* mirror, const std::string& sql, size_t rows) {
  ExpectCarried(mirror, sql);
  size_t changed = 0;
  for (const TableChanges& table : mirror->changes().tables) changed += table.rows.size();
  EXPECT_EQ(changed, rows) << sql;
}
void ExpectRefused(Mirror* mirror, const std::string& sql, const std::string& why) {
  mirror->source()->Run(sql);
  const Status status = mirror->Carry();
  EXPECT_EQ(status.code(), Code::kReadOnly) << sql;
  EXPECT_THAT(status.text(), HasSubstr(why)) << sql;
  mirror->CopyAgain();
}

TEST(Rows, AreFoundAsTheyCameChangedAndWent) {
  Mirror mirror("CREATE TABLE t(a,b); INSERT INTO t VALUES(1,'one'),(2,'two'),(3,'three')");
  ExpectRows(&mirror, "INSERT INTO t VALUES(4,'four')", 1);
  ExpectRows(&mirror, "UPDATE t SET b='zwei' WHERE a=2", 1);
  ExpectRows(&mirror, "DELETE FROM t WHERE a=1", 1);
  ExpectRows(&mirror, "UPDATE t SET rowid=rowid+10", 6);
  ExpectRows(&mirror, "UPDATE t SET a=a", 0);
  ExpectRows(&mirror, "DELETE FROM t", 3);
  ExpectRows(&mirror, "INSERT INTO t VALUES(1,1); DELETE FROM t", 0);
}

TEST(Rows, OfALargeTableAreFoundByReadingAFewPages) {
  Mirror mirror(
      "CREATE TABLE other(a); CREATE TABLE t(id INTEGER PRIMARY KEY, a, pad); CREATE INDEX t_a ON "
      "t(a); CREATE TABLE w(a COLLATE NOCASE, b, pad, PRIMARY KEY(b DESC, a)) WITHOUT ROWID;" +
      Rows(200000, "t SELECT i*2, i%1000, printf('%.60c','x')") + ";" +
      Rows(100000, "w SELECT 'Key '||i, i%7, printf('%.60c','x')"));
  EXPECT_GT(mirror.source()->Int("PRAGMA page_count"), 6000);
  for (const char* sql :
       {"INSERT INTO t VALUES(200001,5,'new')",
        "UPDATE t SET pad='longer than it was'||pad WHERE id=90000", "DELETE FROM t WHERE id=77778",
        "INSERT INTO t VALUES(NULL,1,'last')", "INSERT INTO w VALUES('key 500x',3,'new')",
        "UPDATE w SET pad=pad||'more' WHERE a='KEY 4' AND b=4",
        "DELETE FROM w WHERE a='key 99999' AND b=4"}) {
    ExpectRows(&mirror, sql, 1);
    EXPECT_LT(mirror.pages_read(), 30U) << sql;
  }
  // One row on each of 20 pages.
  ExpectRows(&mirror, "UPDATE t SET pad='x' WHERE id%20000=0", 20);
  EXPECT_LT(mirror.pages_read(), 120U);
}

TEST(Rows, ThatOnlyMovedAreNoChange) {
  Mirror mirror("PRAGMA page_size=512; CREATE TABLE t(a, b);" +
                Rows(2000, "t SELECT i, printf('%.40c','x')") + "; CREATE TABLE gone(a);" +
                Rows(500, "gone SELECT printf('%.300c','y')"));
  // Splits pages up to the root.
  ExpectRows(&mirror, Rows(300, "t(rowid,a,b) SELECT -i, i, printf('%.300c','z')"), 300);
  ExpectRows(&mirror, "DELETE FROM t WHERE rowid BETWEEN 500 AND 1500", 1001);
  ExpectRows(&mirror, "DELETE FROM gone", 500);
  // On pages that were another table's.
  ExpectRows(&mirror, Rows(300, "t SELECT i, printf('%.200c','z')"), 300);
  ExpectRows(&mirror, "DELETE FROM t WHERE a>10", 2000 + 300 - 1001 + 300 - 30);
}

TEST(Rows, StayWhereAutoVacuumMovesPagesAndRoots) {
  Mirror mirror("PRAGMA page_size=512; PRAGMA auto_vacuum=FULL; CREATE TABLE a(x);" +
                Rows(300, "a SELECT randomblob(100)") +
                "; CREATE TABLE b(x); CREATE INDEX b_x ON b(x);" +
                Rows(300, "b SELECT randomblob(i*5)") + "; CREATE TABLE c(x);" +
                Rows(100, "c SELECT randomblob(2000)"));
  ExpectRows(&mirror, "DELETE FROM a WHERE rowid<250", 249);
  // The root of c takes the place of a's, and pages of chains move.
  ExpectRows(&mirror, "DROP TABLE a", 0);
  ExpectRows(&mirror, "CREATE TABLE d(x)", 0);
  ExpectRows(&mirror, "UPDATE c SET x=zeroblob(20) WHERE rowid=50", 1);
}

TEST(Rows, AreNoneWhenFreePagesAreGivenBack) {
  Mirror mirror("PRAGMA auto_vacuum=INCREMENTAL; CREATE TABLE a(x); CREATE TABLE b(x);" +
                Rows(300, "a SELECT randomblob(3000)") + ";" +
                Rows(300, "b SELECT randomblob(900)") + "; DELETE FROM a");
  mirror.source()->Run("PRAGMA incremental_vacuum(100)");
  EXPECT_TRUE(mirror.Carry().ok());
  EXPECT_GT(mirror.pages_written(), 10U);
  EXPECT_TRUE(mirror.changes().empty());
}

// SQLite writes nothing but the overflow page then.
class OverflowPages : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, OverflowPages,
                         ::testing::Values("PRAGMA auto_vacuum=NONE;",
                                           "PRAGMA auto_vacuum=INCREMENTAL;"));
TEST_P(OverflowPages, ThatWereWrittenInPlaceLeadToTheirRow) {
  Mirror mirror(GetParam() +
                std::string("CREATE TABLE t(a, b); CREATE TABLE w(k PRIMARY KEY, b) "
                            "WITHOUT ROWID; CREATE INDEX t_b ON t(b);") +
                Rows(200, "t SELECT i, randomblob(12000)") + ";" +
                Rows(200, "w SELECT i, randomblob(12000)"));
  sqlite3_blob* blob = nullptr;
  ASSERT_EQ(sqlite3_blob_open(mirror.copy()->handle(), "main", "w", "b", 7, 0, &blob),
            SQLITE_ERROR);  // There is none of WITHOUT ROWID.
  mirror.source()->Run("DROP INDEX t_b");
  ASSERT_TRUE(mirror.Carry().ok());
  ASSERT_EQ(sqlite3_blob_open(mirror.source()->handle(), "main", "t", "b", 77, 1, &blob),
            SQLITE_OK);
  ASSERT_EQ(sqlite3_blob_write(blob, "in place", 8, 11000), SQLITE_OK);
  sqlite3_blob_close(blob);
  const Status status = mirror.Carry();
  EXPECT_TRUE(status.ok()) << status.text();
  EXPECT_EQ(mirror.pages_written(), 1U);
  ASSERT_EQ(mirror.changes().tables.size(), 1U);
  EXPECT_EQ(mirror.changes().tables[0].rows.size(), 1U);
  ExpectRows(&mirror, "UPDATE w SET b=CAST(substr(b,1,11900)||zeroblob(100) AS BLOB) WHERE k=150",
             1);
}

TEST(Rows, OfAnUnknownCollationAreFoundTheLongWay) {
  Mirror mirror("CREATE TABLE t(a)");
  auto add_collation = [](Connection* db) {
    sqlite3_create_collation(db->handle(), "backwards", SQLITE_UTF8, nullptr,
                             [](void*, int n, const void* a, int m, const void* b) {
                               const size_t common = static_cast<size_t>(std::min(n, m));
                               const int order = std::memcmp(b, a, common);
                               return order ? order : m - n;
                             });
  };
  add_collation(mirror.source());
  // No primary has it either, unless it was put there.
  ExpectRefused(&mirror,
                "CREATE TABLE w(k COLLATE backwards PRIMARY KEY, v) WITHOUT ROWID;" +
                    Rows(3000, "w SELECT hex(i*77777), i"),
                "backwards");
  add_collation(mirror.copy());
  ExpectRows(&mirror, "UPDATE w SET v=0 WHERE v%500=0", 6);
  ExpectRows(&mirror, "INSERT INTO w VALUES('x',1)", 1);
}

TEST(Rows, HaveTheDefaultsOfColumnsThatAreYoungerThanThey) {
  Mirror mirror(
      "CREATE TABLE t(a); INSERT INTO t VALUES(1),(2); ALTER TABLE t ADD COLUMN b TEXT "
      "DEFAULT 5; ALTER TABLE t ADD COLUMN c REAL DEFAULT 7; ALTER TABLE t ADD COLUMN d");
  ExpectRows(&mirror, "UPDATE t SET b=b, c=c, d=d", 0);
  ExpectRows(&mirror, "UPDATE t SET d=1 WHERE a=1", 1);
  ASSERT_EQ(mirror.changes().tables.size(), 1U);
  const Row& row = *mirror.changes().tables[0].rows[0].before;
  EXPECT_EQ(row.values, (std::vector<Value>{Value::Integer(1), Value::Text("5"), Value::Real(7),
                                            Value::Null()}));
}

TEST(Headers, CarryUserVersionAndRefuseWhatNoStatementSets) {
  Mirror mirror("PRAGMA auto_vacuum=INCREMENTAL; CREATE TABLE t(a); INSERT INTO t VALUES(1)");
  ExpectCarried(&mirror, "PRAGMA user_version=-7");
  EXPECT_EQ(mirror.changes().user_version, -7);
  ExpectRefused(&mirror, "PRAGMA application_id=9", "application_id");
  ExpectRefused(&mirror, "PRAGMA default_cache_size=77", "default_cache_size");
  ExpectRefused(&mirror, "PRAGMA auto_vacuum=FULL", "auto_vacuum");
  ExpectRefused(&mirror, "VACUUM", "VACUUM");
  ExpectRefused(&mirror, "ANALYZE", "ANALYZE");
}

TEST(VirtualTables, AreCarriedWithoutTheTablesOfTheirsThatSomebodyDropped) {
  for (const char* made : {"fts5(a)", "fts4(a)", "rtree(a,b,c)"}) {
    const std::string create = std::string("CREATE VIRTUAL TABLE f USING ") + made;
    const std::string part = std::string(made).substr(0, 3) == "fts" ? "f_docsize" : "f_parent";
    Mirror mirror("CREATE TABLE t(a);" + create + "; INSERT INTO f(a) VALUES(7)");
    ExpectCarried(&mirror, "DROP TABLE " + part);
    ExpectCarried(&mirror, "CREATE INDEX t_a ON t(a); ALTER TABLE t ADD COLUMN b");
    Mirror at_once("CREATE TABLE t(a)");
    ExpectCarried(&at_once, create + "; DROP TABLE " + part);
    ExpectCarried(&at_once, "CREATE VIEW v AS SELECT * FROM t");
  }
}

TEST(Statistics, ThatAreThereAlreadyAreCarriedAsRows) {
  Mirror mirror("CREATE TABLE t(a); CREATE INDEX t_a ON t(a); INSERT INTO t VALUES(1); ANALYZE");
  ExpectCarried(&mirror, "INSERT INTO t VALUES(2),(3); ANALYZE");
}

// Against SQLite's own order, of every two values of every two types.
TEST(KeyOrder, IsThatOfSqlite) {
  for (const char* encoding : {"UTF-8", "UTF-16le"})
    for (const char* collation : {"BINARY", "NOCASE", "RTRIM"})
      for (const bool descending : {false, true}) {
        Connection db(":memory:");
        db.Run(std::string("PRAGMA encoding='") + encoding + "'");
        db.Run("CREATE TABLE t(k COLLATE " + std::string(collation) + ", n, PRIMARY KEY(k" +
               (descending ? " DESC" : "") + ", n)) WITHOUT ROWID");
        db.Run(
            "INSERT OR IGNORE INTO t(k,n) VALUES(0,1),(-1,1),(1,1),(1.5,1),(-9e999,1),(9e999,1),"
            "(9223372036854775807,1),(9223372036854775808.0,1),(9223372036854774784.0,1),"
            "(-9223372036854775807-1,1),(-9223372036854775808.0,2),(9007199254740993,1),"
            "(9007199254740992.0,2),('',1),('a',1),('A',1),('b',1),('a ',1),('a  ',2),('B',1),"
            "('\u00e4',1),('\u00c4',1),('\U0001F600',1),('\uff5e',1),(x'',1),(x'00',1),(x'61',1),"
            "(0.1,1),(1e-320,1),('aa',1),(x'6161',1),(5,1),(5,2),('a',2),('A',2)");
        MemoryPages pages(db.Image(), static_cast<uint32_t>(db.Int("PRAGMA page_size")));
        Result<DatabaseState> state =
            DatabaseState::Open(&pages, pages.page_size(), pages.db_size());
        ASSERT_TRUE(state.ok());
        Result<std::vector<SchemaRow>> schema = ReadSchema(&*state);
        ASSERT_TRUE(schema.ok());
        MemoryScratchMaker maker;
        Result<std::unique_ptr<Scratch>> scratch = maker.Make(*schema, state->header().encoding);
        ASSERT_TRUE(scratch.ok()) << scratch.status().text();
        Result<Table> table = (*scratch)->Describe("t");
        ASSERT_TRUE(table.ok()) << table.status().text();
        std::vector<std::vector<Value>> rows;
        ASSERT_TRUE(
            ForEachCell(&*state, (*schema)[0].root, [&](const BtreePage&, const Cell& cell) {
              rows.push_back(*DecodeRecord(*ReadPayload(&*state, cell)));
              return OkStatus();
            }).ok());
        ASSERT_GT(rows.size(), 25U);
        for (size_t i = 0; i < rows.size(); ++i)
          for (size_t j = 0; j < rows.size(); ++j) {
            const int order = CompareKeys(rows[i], rows[j], table->key, state->header().encoding);
            EXPECT_EQ(order < 0, i < j) << collation << " " << i << " " << j;
            EXPECT_EQ(order > 0, i > j) << collation << " " << i << " " << j;
          }
      }
}

// (F1) again, where two states are compared.
TEST(Corruption, OfPagesIsAnErrorOrAnotherChange) {
  Rng rng(TestSeed());
  Connection db(":memory:");
  db.Run(
      "PRAGMA page_size=512; CREATE TABLE t(a,b); CREATE TABLE w(k PRIMARY KEY, v) WITHOUT ROWID;" +
      Rows(200, "t SELECT i, randomblob(i*3)") + ";" + Rows(200, "w SELECT randomblob(i), i"));
  const Bytes before = db.Image();
  db.Run("UPDATE t SET a=a+1 WHERE a%20=0; DELETE FROM w WHERE v%30=0; CREATE TABLE u(x)");
  const Bytes after = db.Image();
  int errors = 0;
  for (int round = 0; round < 400; ++round) {
    Bytes images[] = {before, after};
    for (Bytes& image : images)
      for (int i = Between(&rng, 0, 10); i > 0; --i) {
        const int page = Between(&rng, 0, static_cast<int>(image.size() / 512) - 1);
        image[static_cast<size_t>(page * 512 + Between(&rng, 0, i % 2 ? 511 : 20))] =
            static_cast<uint8_t>(Between(&rng, 0, 255));
      }
    MemoryPages old_pages(images[0], 512);
    MemoryPages new_pages(images[1], 512);
    PageNumbers written;
    for (uint32_t page = 1; page <= new_pages.db_size(); ++page)
      if (page > old_pages.db_size() ||
          !std::ranges::equal(old_pages.page({page}), new_pages.page({page})))
        written.insert({page});
    Result<DatabaseState> was = DatabaseState::Open(&old_pages, 512, old_pages.db_size());
    Result<DatabaseState> is = DatabaseState::Open(&new_pages, 512, new_pages.db_size());
    if (!was.ok() || !is.ok()) continue;
    MemoryScratchMaker maker;
    Result<Changes> changes = FindChanges(&*was, &*is, written, &maker);
    if (!changes.ok() || !WriteStatements(*changes, {}, {}).ok()) ++errors;
  }
  EXPECT_GT(errors, 50);
}

}  // namespace
}  // namespace turso
