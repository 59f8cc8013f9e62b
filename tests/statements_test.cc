#include "src/changes/statements.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/mirror.h"

namespace turso {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

void ExpectCarried(Mirror* mirror, const std::string& sql) {
  const Status status = mirror->Run(sql);
  EXPECT_TRUE(status.ok()) << sql << "\n" << status.text();
}
std::vector<std::string> Texts(const std::vector<Statement>& statements) {
  std::vector<std::string> texts;
  for (const Statement& statement : statements) texts.push_back(statement.sql);
  return texts;
}
// The statements of the last transaction that are not guards.
std::vector<std::string> Sent(const Mirror& mirror) {
  std::vector<std::string> sent;
  for (const std::string& sql : Texts(mirror.statements().body))
    if (sql.rfind("SELECT abs(", 0) != 0) sent.push_back(sql);
  return sent;
}

TEST(Statements, CarryEveryValueBitForBit) {
  for (const char* encoding : {"UTF-8", "UTF-16le", "UTF-16be"}) {
    Mirror mirror(std::string("PRAGMA encoding='") + encoding +
                  "'; CREATE TABLE t(a, b TEXT, c REAL, d NUMERIC, e INT); CREATE TABLE w(k, n, "
                  "PRIMARY KEY(k,n)) WITHOUT ROWID");
    const char* const values[] = {"NULL",
                                  "0",
                                  "9223372036854775807",
                                  "-9223372036854775808",
                                  "9007199254740993",
                                  "0.1",
                                  "1e-320",
                                  "4.9e-324",
                                  "1.7976931348623157e308",
                                  "9e999",
                                  "-9e999",
                                  "-0.0",
                                  "5.0",
                                  "1e15",
                                  "123456789012345678.0",
                                  "''",
                                  "x''",
                                  "x'00'",
                                  "'\u00e4\u20ac\U0001F600'",
                                  "'5'",
                                  "'5x'",
                                  "CAST(x'ff00fe' AS TEXT)",
                                  "CAST(x'61006200' AS TEXT)",
                                  "CAST(x'00' AS TEXT)",
                                  "CAST(x'eda080' AS TEXT)",
                                  "CAST(x'00d8' AS TEXT)",
                                  "zeroblob(5000)",
                                  "printf('%.5000c','x')"};
    std::string sql;
    for (const std::string value : values) {
      sql += "INSERT INTO t VALUES(" + value + "," + value + "," + value + "," + value + "," +
             value + ");";
      if (value != "NULL") sql += "INSERT OR IGNORE INTO w VALUES(" + value + ",1);";
    }
    ExpectCarried(&mirror, sql);
    ExpectCarried(&mirror, "UPDATE t SET a=b, b=a WHERE rowid%2");
    ExpectCarried(&mirror, "UPDATE w SET n=2");
    ExpectCarried(&mirror, "DELETE FROM w WHERE typeof(k)<>'text'; DELETE FROM t WHERE rowid%3=0");
    ExpectCarried(&mirror, "DELETE FROM w");
    EXPECT_EQ(mirror.copy()->Int("SELECT count(*) FROM w"), 0);
  }
}

// Texts that look like the numbers beside them are other keys, where the column has no affinity.
TEST(Statements, NameRowsByTheTypesOfTheirKeys) {
  Mirror mirror(
      "CREATE TABLE w(k PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO w VALUES(5,1),('5',2),"
      "(x'35',3),(CAST(x'350000' AS TEXT),4),(5.5,5),('5.5',6)");
  ExpectCarried(&mirror, "DELETE FROM w WHERE v=2");
  ExpectCarried(&mirror, "DELETE FROM w WHERE v=4");
  ExpectCarried(&mirror, "UPDATE w SET v=v+10 WHERE typeof(k)='blob'");
  EXPECT_EQ(mirror.copy()->Int("SELECT count(*) FROM w"), 4);
}

// Each key is looked up, in whatever shape it comes.
TEST(Statements, FindEachRowByItsKey) {
  Mirror mirror(
      "CREATE TABLE w(a COLLATE NOCASE, b, c, PRIMARY KEY(b DESC, a COLLATE RTRIM)) WITHOUT "
      "ROWID; CREATE TABLE x(a COLLATE NOCASE PRIMARY KEY, b) WITHOUT ROWID; CREATE TABLE "
      "t(a); CREATE TABLE i(id INTEGER PRIMARY KEY, a); INSERT INTO w "
      "VALUES('a',1,1),('b',2,2),('c',3,3); INSERT INTO x VALUES('a',1),('b',2),('c',3); INSERT "
      "INTO t VALUES(1),(2),(3); INSERT INTO i VALUES(1,1),(2,2),(3,3)");
  ExpectCarried(&mirror,
                "UPDATE w SET c=9 WHERE b=3; DELETE FROM w WHERE b<3; UPDATE x SET b=9 WHERE "
                "a='c'; DELETE FROM x WHERE b<3; UPDATE t SET a=9 WHERE a=3; DELETE FROM t WHERE "
                "a<3; UPDATE i SET a=9 WHERE id=3; DELETE FROM i WHERE id<3");
  EXPECT_EQ(Sent(mirror).size(), 8U);
  for (const std::string& sql : Sent(mirror)) {
    sqlite3_stmt* plan = nullptr;
    ASSERT_EQ(sqlite3_prepare_v2(mirror.copy()->handle(), ("EXPLAIN QUERY PLAN " + sql).c_str(), -1,
                                 &plan, nullptr),
              SQLITE_OK);
    while (sqlite3_step(plan) == SQLITE_ROW)
      EXPECT_THAT(reinterpret_cast<const char*>(sqlite3_column_text(plan, 3)),
                  Not(HasSubstr("SCAN")))
          << sql;
    sqlite3_finalize(plan);
  }
}

// Another SQLite, or a column that incremental blob I/O left stale: SQLite computes it only when it
// writes the row.
TEST(Statements, FailWhereThePrimaryComputesAnotherValueOfAGeneratedColumn) {
  for (const std::string table :
       {"t(k INTEGER PRIMARY KEY, a, s AS (hex(a)) STORED, v AS (hex(a)))",
        "t(s TEXT COLLATE NOCASE AS (lower(substr(hex(a),1,2))) STORED, k, a)",
        "t(k, a, s AS (CASE hex(a) WHEN '00000000' THEN 1.0 ELSE 1 END) STORED)",
        "t(k, a, s TEXT AS (CASE hex(a) WHEN '00000000' THEN '5' END) STORED)"}) {
    Mirror mirror("CREATE TABLE " + table + "; INSERT INTO t(k,a) VALUES(1,zeroblob(4)),(2,'x')");
    ExpectCarried(&mirror, "UPDATE t SET a=zeroblob(4) WHERE k=2");
    ExpectCarried(&mirror, "INSERT INTO t(k,a) VALUES(3,x'41424344'),(4,1.5),(5,NULL),(6,'text')");
    ExpectCarried(&mirror, "UPDATE t SET k=k+10 WHERE k>2; DELETE FROM t WHERE k=14");
    sqlite3_blob* blob = nullptr;
    ASSERT_EQ(sqlite3_blob_open(mirror.source()->handle(), "main", "t", "a", 1, 1, &blob),
              SQLITE_OK);
    ASSERT_EQ(sqlite3_blob_write(blob, "\xab", 1, 0), SQLITE_OK);
    ASSERT_EQ(sqlite3_blob_close(blob), SQLITE_OK);
    const Status status = mirror.Carry();
    EXPECT_THAT(status.text(), HasSubstr("integer overflow")) << table;
    EXPECT_THAT(mirror.statements().body, Contains(::testing::Truly(IsGuardOfComputed)));
    EXPECT_EQ(mirror.copy()->Text("SELECT hex(a) FROM t WHERE k=1"), "00000000");
  }
}

// What SQLite makes of the rows themselves when they are written is a text.
TEST(Statements, RefuseTheNumberThatDefaultTrueShowsInAColumnOfText) {
  Mirror mirror(
      "CREATE TABLE t(k INTEGER PRIMARY KEY, a); INSERT INTO t VALUES(1,zeroblob(9)),(2,2)");
  ExpectCarried(&mirror, "ALTER TABLE t ADD COLUMN b TEXT DEFAULT TRUE");
  EXPECT_EQ(mirror.copy()->Text("SELECT typeof(b) FROM t WHERE k=1"), "integer");
  ExpectCarried(&mirror, "UPDATE t SET a=3 WHERE k=2; INSERT INTO t(k) VALUES(3)");
  EXPECT_EQ(mirror.copy()->Text("SELECT group_concat(typeof(b)) FROM t"), "integer,text,text");
  sqlite3_blob* blob = nullptr;
  ASSERT_EQ(sqlite3_blob_open(mirror.source()->handle(), "main", "t", "a", 1, 1, &blob), SQLITE_OK);
  ASSERT_EQ(sqlite3_blob_write(blob, "x", 1, 0), SQLITE_OK);
  ASSERT_EQ(sqlite3_blob_close(blob), SQLITE_OK);
  const Status status = mirror.Carry();
  EXPECT_EQ(status.code(), Code::kReadOnly);
  EXPECT_THAT(status.text(), HasSubstr("DEFAULT TRUE"));
  mirror.CopyAgain();
  ExpectCarried(&mirror, "UPDATE t SET b=b");
  ExpectCarried(&mirror,
                "CREATE TABLE n(b TEXT, a); INSERT INTO n SELECT b, a FROM t; DROP TABLE t");
}

TEST(Statements, NameRowsByTheCollationsOfTheirKeys) {
  Mirror mirror(
      "CREATE TABLE w(k TEXT COLLATE NOCASE, v, PRIMARY KEY(k COLLATE BINARY)) WITHOUT "
      "ROWID; INSERT INTO w VALUES('a',1),('A',2),('b',3); CREATE TABLE x(j COLLATE RTRIM, k "
      "COLLATE NOCASE, v, PRIMARY KEY(k COLLATE BINARY, j COLLATE BINARY)) WITHOUT ROWID; "
      "INSERT INTO x VALUES('a','a',1),('a ','A',2),('a ','a',3)");
  ExpectCarried(&mirror, "UPDATE w SET v=9 WHERE v=1; UPDATE x SET v=9 WHERE v=1");
  ExpectCarried(&mirror, "DELETE FROM w WHERE v=2; DELETE FROM x WHERE v=2");
  EXPECT_EQ(mirror.copy()->Int("SELECT (SELECT count(*) FROM w)+(SELECT count(*) FROM x)"), 4);
}

TEST(Statements, LetUniqueValuesChangePlaces) {
  Mirror mirror(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE, b); CREATE UNIQUE INDEX t_b ON "
      "t(length(b)) WHERE b IS NOT NULL; INSERT INTO t VALUES(1,'x','a'),(2,'y','bb'),"
      "(3,'z',NULL)");
  ExpectCarried(&mirror,
                "UPDATE t SET a=NULL; UPDATE t SET a=CASE id WHEN 1 THEN 'y' WHEN 2 THEN "
                "'z' ELSE 'x' END");
  ExpectCarried(&mirror,
                "UPDATE t SET b=NULL; UPDATE t SET b='aa' WHERE id=1; UPDATE t SET b='b' "
                "WHERE id=2");
  ExpectCarried(&mirror, "UPDATE t SET id=-id; UPDATE t SET id=5+id");
}

TEST(Statements, UpdateInPlaceWhereNothingUniqueChanges) {
  Mirror mirror(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE, b, c); INSERT INTO t "
      "VALUES(1,2,3,4),(2,3,4,5)");
  ExpectCarried(&mirror, "UPDATE t SET b=7 WHERE id=1");
  EXPECT_THAT(Sent(mirror), ElementsAre("UPDATE OR ABORT \"t\" SET \"b\"=? WHERE \"id\"=?"));
}

TEST(Statements, AreFewForManyRows) {
  Mirror mirror("CREATE TABLE t(a,b)");
  ExpectCarried(&mirror,
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE "
                "i<3000) INSERT INTO t SELECT i,i FROM n");
  EXPECT_LE(mirror.statements().body.size(), 10U);
  ExpectCarried(&mirror, "DELETE FROM t");
  EXPECT_LE(mirror.statements().body.size(), 4U);
}

TEST(Statements, LetNoTriggerFireAndLeaveThemAsTheyAre) {
  Mirror mirror(
      "CREATE TABLE t(a, b); CREATE TABLE log(what); INSERT INTO t VALUES(1,1),(2,2);"
      "CREATE TRIGGER  \"on insert\"  AFTER  INSERT ON t BEGIN INSERT INTO log VALUES('insert'); "
      "END; CREATE TRIGGER before_delete BEFORE DELETE ON t BEGIN INSERT INTO log VALUES(old.a); "
      "END; CREATE TRIGGER u AFTER UPDATE OF b ON t WHEN new.b>1 BEGIN UPDATE t SET a=a+1 WHERE "
      "rowid=new.rowid; END;");
  ExpectCarried(&mirror, "INSERT INTO t VALUES(3,3)");
  EXPECT_EQ(mirror.copy()->Int("SELECT count(*) FROM log"), 1);
  EXPECT_THAT(Sent(mirror), Contains("DROP TRIGGER \"on insert\""));
  EXPECT_THAT(Sent(mirror), Not(Contains(HasSubstr("before_delete"))));
  ExpectCarried(&mirror, "UPDATE t SET b=5");
  ExpectCarried(&mirror,
                "DELETE FROM t WHERE rowid=1; INSERT INTO t VALUES(9,9); UPDATE t SET b=b");
  EXPECT_EQ(mirror.copy()->Int("SELECT count(*) FROM sqlite_master WHERE type='trigger'"), 3);
}

TEST(Statements, AvoidTriggersForUpdatesAlone) {
  Mirror mirror(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, a, changed DEFAULT 0); INSERT INTO t(a) "
      "VALUES(1),(2); CREATE TRIGGER touch AFTER UPDATE OF a ON t BEGIN UPDATE t SET "
      "changed=changed+1 WHERE id=new.id; END;");
  ExpectCarried(&mirror, "UPDATE t SET a=7");
  EXPECT_THAT(Sent(mirror), Not(Contains(HasSubstr("TRIGGER"))));
  EXPECT_EQ(mirror.copy()->Int("SELECT sum(changed) FROM t"), 2);
}

TEST(Statements, LetNoForeignKeyAct) {
  Mirror mirror(
      "CREATE TABLE p(id INTEGER PRIMARY KEY, v); CREATE TABLE c(id INTEGER PRIMARY KEY, "
      "p REFERENCES p(id) ON DELETE CASCADE ON UPDATE SET NULL, q REFERENCES p ON DELETE "
      "SET NULL); INSERT INTO p VALUES(1,1),(2,2),(3,3); INSERT INTO c "
      "VALUES(1,1,2),(2,2,2),(3,3,1)");
  // What the application's SQLite does not enforce is as it left it.
  ExpectCarried(&mirror, "DELETE FROM p WHERE id=1");
  EXPECT_EQ(mirror.copy()->Int("SELECT count(*) FROM c"), 3);
  ExpectCarried(&mirror, "UPDATE p SET id=9 WHERE id=2; INSERT INTO c VALUES(7,100,100)");
  mirror.source()->Run("PRAGMA foreign_keys=ON");
  ExpectCarried(&mirror, "DELETE FROM p WHERE id=3");
  ExpectCarried(&mirror, "DELETE FROM p; INSERT INTO p VALUES(3,'again')");
}

TEST(Statements, FailWhereForeignKeysAreEnforced) {
  Mirror mirror(
      "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p ON DELETE "
      "CASCADE); INSERT INTO p VALUES(1); INSERT INTO c VALUES(1)");
  ExpectCarried(&mirror, "DELETE FROM p");
  Statements statements = mirror.statements();
  EXPECT_THAT(Texts(statements.setup), ElementsAre("PRAGMA foreign_keys=OFF"));
  statements.setup.clear();
  const Status status = RunStatements(mirror.copy(), statements);
  EXPECT_THAT(status.text(), HasSubstr("integer overflow"));
}

TEST(Statements, LeaveTheNumbersOfAutoincrementAsTheyAre) {
  Mirror mirror(
      "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a); CREATE TABLE u(id INTEGER "
      "PRIMARY KEY AUTOINCREMENT); INSERT INTO u VALUES(5)");
  ExpectCarried(&mirror, "INSERT INTO t(a) VALUES(1),(2)");
  ExpectCarried(&mirror, "INSERT INTO t VALUES(1000,1); DELETE FROM t WHERE id=1000");
  ExpectCarried(&mirror, "UPDATE sqlite_sequence SET seq=3; INSERT INTO t(a) VALUES(7)");
  ExpectCarried(&mirror, "DELETE FROM sqlite_sequence");
  ExpectCarried(&mirror, "UPDATE t SET id=id+100");
  ExpectCarried(&mirror, "INSERT INTO sqlite_sequence VALUES('t','many'),('t',NULL),('nobody',7)");
  ExpectCarried(&mirror, "INSERT INTO t(a) VALUES(8)");
  ExpectCarried(&mirror, "ALTER TABLE t RENAME TO s; INSERT INTO s(a) VALUES(1); DROP TABLE u");
  ExpectCarried(&mirror,
                "CREATE TABLE x(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO x "
                "VALUES(50); DELETE FROM x");
  ExpectCarried(&mirror,
                "CREATE TABLE y(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO y VALUES(7); "
                "DELETE FROM sqlite_sequence");
}

TEST(Statements, DoNotWriteGeneratedColumns) {
  Mirror mirror(
      "CREATE TABLE t(a, b AS (a*2) STORED, c AS (a||'x'), d UNIQUE, e AS (d+1) UNIQUE); "
      "INSERT INTO t(a,d) VALUES(1,1),(2,2)");
  ExpectCarried(&mirror, "UPDATE t SET a=a+1; INSERT INTO t(a,d) VALUES(7,7)");
  ExpectCarried(&mirror, "UPDATE t SET d=-d; UPDATE t SET d=3+d");
}

TEST(Statements, MakeEveryKindOfTableAndWhatBelongsToIt) {
  Mirror mirror("CREATE TABLE first(a)");
  ExpectCarried(
      &mirror,
      "CREATE TABLE IF NOT EXISTS t (\n  id INTEGER PRIMARY KEY, -- a comment\n  [a b] TEXT "
      "COLLATE "
      "nocase DEFAULT 'x)' UNIQUE, c CHECK (c > 0)\n) ;"
      "CREATE TABLE s(a INT, b ANY) STRICT; CREATE TABLE w(k PRIMARY KEY) WITHOUT ROWID;"
      "CREATE TABLE copied AS SELECT 1 AS one, 'x' AS \"two x\"; CREATE TEMP TABLE unseen(a);"
      "CREATE VIEW v(x) AS SELECT c FROM t; CREATE UNIQUE INDEX  t_c ON t(c DESC) WHERE c>1;"
      "CREATE TRIGGER g INSTEAD OF INSERT ON v BEGIN INSERT INTO t(c) VALUES(new.x); END;"
      "INSERT INTO v VALUES(5); INSERT INTO s VALUES(1,'1'); INSERT INTO w VALUES(1)");
  ExpectCarried(&mirror, "DROP TRIGGER g; DROP VIEW v; DROP INDEX t_c; DROP TABLE s; DROP TABLE w");
}

// What is altered stays: nothing of it is sent again.
TEST(Statements, RecogniseEveryAlterTable) {
  Mirror mirror(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, \"b c\" TEXT DEFAULT 'x', CHECK(a>0)); INSERT "
      "INTO t(a) VALUES(1),(2),(3); CREATE INDEX t_a ON t(a); CREATE VIEW v AS SELECT a FROM t;"
      "CREATE TABLE child(t REFERENCES t(id)); CREATE TRIGGER g AFTER DELETE ON t BEGIN UPDATE t "
      "SET "
      "a=a+old.a; END;");
  const std::pair<const char*, const char*> cases[] = {
      {"ALTER TABLE t ADD COLUMN d INT NOT NULL DEFAULT 7",
       "ALTER TABLE \"t\" ADD COLUMN d INT NOT NULL DEFAULT 7"},
      {"ALTER TABLE t ADD e /* , ) */ TEXT DEFAULT 'a, b'; ALTER TABLE t ADD f CHECK(f IN (1,2))",
       "ALTER TABLE \"t\" ADD COLUMN f CHECK(f IN (1,2))"},
      {"ALTER TABLE t RENAME COLUMN a TO \"a a\"",
       "ALTER TABLE \"t\" RENAME COLUMN \"a\" TO \"a a\""},
      {"ALTER TABLE t RENAME COLUMN d TO \"dd\"",
       "ALTER TABLE \"t\" RENAME COLUMN \"d\" TO \"dd\""},
      {"ALTER TABLE t RENAME COLUMN e TO ee", "ALTER TABLE \"t\" RENAME COLUMN \"e\" TO ee"},
      {"ALTER TABLE t DROP COLUMN f", "ALTER TABLE \"t\" DROP COLUMN \"f\""},
      {"ALTER TABLE t RENAME TO u", "ALTER TABLE \"t\" RENAME TO \"u\""},
      {"ALTER TABLE u RENAME TO \"u u\"; ALTER TABLE \"u u\" DROP COLUMN \"b c\"; ALTER TABLE \"u "
       "u\" "
       "ADD COLUMN g REAL DEFAULT 5; ALTER TABLE \"u u\" RENAME COLUMN ee TO h",
       "ALTER TABLE \"u u\" DROP COLUMN \"b c\""},
  };
  for (const auto& [sql, expected] : cases) {
    ExpectCarried(&mirror, sql);
    EXPECT_THAT(Sent(mirror), Contains(expected)) << sql;
    EXPECT_THAT(Sent(mirror), Not(Contains(AnyOf(StartsWith("INSERT"), StartsWith("CREATE TABLE"),
                                                 StartsWith("DROP TABLE")))))
        << sql;
  }
  ExpectCarried(&mirror,
                "ALTER TABLE \"u u\" ADD COLUMN i DEFAULT 1; UPDATE \"u u\" SET i=2 WHERE "
                "id=1; DELETE FROM \"u u\" WHERE id=2; INSERT INTO \"u u\"(\"a a\") VALUES(9)");
}

// What looks like ALTER TABLE and is not, or does not work for the rows that are there.
TEST(Statements, MakeATableAnewWhereNoAlterTableLeads) {
  Mirror mirror("CREATE TABLE t(a, b); INSERT INTO t VALUES(1,2); CREATE TABLE c(x REFERENCES t)");
  ExpectCarried(&mirror, "DROP TABLE t; CREATE TABLE t(a, b, c); INSERT INTO t VALUES(1,2,3)");
  ExpectCarried(&mirror,
                "ALTER TABLE t RENAME TO old; CREATE TABLE t(b, a); INSERT INTO t SELECT "
                "b,a FROM old; DROP TABLE old");
  ExpectCarried(&mirror,
                "CREATE TABLE e(a); ALTER TABLE e ADD COLUMN b NOT NULL DEFAULT CURRENT_TIME");
  ExpectCarried(&mirror,
                "DELETE FROM t; ALTER TABLE t ADD COLUMN n DEFAULT (random()); INSERT INTO "
                "t VALUES(1,2,3)");
  ExpectCarried(&mirror,
                "ALTER TABLE t RENAME TO x; ALTER TABLE e RENAME TO t; ALTER TABLE x RENAME "
                "TO e");
}

TEST(Statements, FollowMigrationsThatCreateCopyDropAndRename) {
  Mirror mirror(
      "CREATE TABLE \"app_book\" (\"id\" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "
      "\"title\" varchar(30) NOT NULL, \"author_id\" bigint REFERENCES \"app_author\" "
      "(\"id\") DEFERRABLE INITIALLY DEFERRED); CREATE TABLE \"app_author\" (\"id\" integer "
      "NOT NULL PRIMARY KEY AUTOINCREMENT, \"name\" text); CREATE INDEX \"book_author\" ON "
      "\"app_book\" (\"author_id\"); INSERT INTO app_author(name) VALUES('A'),('B'); INSERT "
      "INTO app_book(title,author_id) VALUES('x',1),('y',2); CREATE VIEW books AS SELECT "
      "title FROM app_book");
  mirror.source()->Run("PRAGMA foreign_keys=OFF");
  // Django
  ExpectCarried(
      &mirror,
      "CREATE TABLE \"new__app_book\" (\"id\" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "
      "\"title\" varchar(99) NOT NULL, \"author_id\" bigint REFERENCES \"app_author\" "
      "(\"id\") DEFERRABLE INITIALLY DEFERRED); INSERT INTO \"new__app_book\" (\"id\", "
      "\"title\", \"author_id\") SELECT \"id\", \"title\", \"author_id\" FROM \"app_book\"; "
      "PRAGMA legacy_alter_table=ON; DROP TABLE \"app_book\"; ALTER TABLE "
      "\"new__app_book\" RENAME TO \"app_book\"; PRAGMA legacy_alter_table=OFF; CREATE INDEX "
      "\"book_author\" ON \"app_book\" (\"author_id\")");
  // Alembic
  mirror.source()->Run("DROP VIEW books");
  ASSERT_TRUE(mirror.Carry().ok());
  ExpectCarried(
      &mirror,
      "CREATE TABLE _alembic_tmp_app_author (id INTEGER NOT NULL, name VARCHAR(50), email "
      "VARCHAR, PRIMARY KEY (id), UNIQUE (email)); INSERT INTO _alembic_tmp_app_author (id, "
      "name) SELECT id, name FROM app_author; DROP TABLE app_author; ALTER TABLE "
      "_alembic_tmp_app_author RENAME TO app_author");
  // Prisma
  ExpectCarried(
      &mirror,
      "PRAGMA defer_foreign_keys=ON; CREATE TABLE \"new_app_author\" (\"id\" INTEGER NOT "
      "NULL PRIMARY KEY AUTOINCREMENT, \"name\" TEXT NOT NULL); INSERT INTO "
      "\"new_app_author\" (\"id\", \"name\") SELECT \"id\", \"name\" FROM \"app_author\"; DROP "
      "TABLE \"app_author\"; ALTER TABLE \"new_app_author\" RENAME TO \"app_author\"");
  // SQLite's documentation, with a trigger and a view.
  ExpectCarried(&mirror,
                "CREATE TRIGGER g AFTER INSERT ON app_author BEGIN SELECT 1; END; CREATE VIEW "
                "v AS SELECT name FROM app_author");
  ExpectCarried(
      &mirror,
      "DROP VIEW v; CREATE TABLE new_X(id INTEGER PRIMARY KEY, name TEXT, born INT); INSERT "
      "INTO new_X(id,name) SELECT id,name FROM app_author; DROP TABLE app_author; ALTER "
      "TABLE new_X RENAME TO app_author; CREATE TRIGGER g AFTER INSERT ON app_author BEGIN "
      "SELECT 1; END; CREATE VIEW v AS SELECT name FROM app_author");
}

TEST(Statements, CarryVirtualTablesByTheirShadowTables) {
  Mirror mirror("CREATE TABLE t(a)");
  ExpectCarried(&mirror,
                "CREATE VIRTUAL TABLE f USING fts5(a, b); CREATE VIRTUAL TABLE r USING "
                "rtree(id, x0, x1); CREATE VIRTUAL TABLE old USING fts4(a); INSERT INTO f "
                "VALUES('one two','three'); INSERT INTO r VALUES(1,2,3)");
  ExpectCarried(&mirror,
                "INSERT INTO f VALUES('four five','six'); INSERT INTO old VALUES('seven'); "
                "INSERT INTO r VALUES(2,5,9); DELETE FROM r WHERE id=1");
  ExpectCarried(&mirror,
                "INSERT INTO f(f) VALUES('optimize'); UPDATE f SET a='eight' WHERE rowid=1");
  ExpectCarried(&mirror, "ALTER TABLE f RENAME TO g");
  EXPECT_THAT(Sent(mirror), Contains("ALTER TABLE \"f\" RENAME TO \"g\""));
  ExpectCarried(&mirror, "INSERT INTO g VALUES('nine','ten')");
  Connection* copy = mirror.copy();
  EXPECT_EQ(copy->Text("SELECT group_concat(rowid) FROM g('five OR eight OR nine')"), "1,2,3");
  copy->Run("INSERT INTO g(g) VALUES('integrity-check')");
  EXPECT_EQ(copy->Text("SELECT rtreecheck('r')"), "ok");
  mirror.CopyAgain();
  ExpectCarried(
      &mirror,
      "CREATE VIRTUAL TABLE n USING fts5(a); INSERT INTO n VALUES('x'); ALTER TABLE n "
      "RENAME TO renamed; CREATE VIRTUAL TABLE as_made USING fts5(b); CREATE VIRTUAL "
      "TABLE m USING rtree(a, b, c); ALTER TABLE m RENAME TO n; INSERT INTO n VALUES(1,2,3)");
  ExpectCarried(&mirror, "DROP TABLE g; DROP TABLE r; CREATE VIRTUAL TABLE g USING fts5(other)");
  ExpectCarried(&mirror,
                "CREATE VIRTUAL TABLE new_g USING fts5(a); INSERT INTO new_g VALUES('x'); "
                "DROP TABLE g; ALTER TABLE new_g RENAME TO g");
}

TEST(Statements, RefuseWhatThePrimaryDoesNotTake) {
  Mirror mirror(
      "CREATE TABLE t(a); CREATE TABLE _litestream_seq(a); CREATE TABLE hidden(rowid, oid, "
      "_rowid_)");
  PrimaryRules rules;
  rules.row_bytes_max = 10000;
  rules.takes_user_version = false;
  const std::pair<const char*, const char*> cases[] = {
      {"INSERT INTO t VALUES(zeroblob(10000))", "a row of the table t has 10004 bytes"},
      {"INSERT INTO _litestream_seq VALUES(1)", "_litestream_seq"},
      {"INSERT INTO hidden VALUES(1,2,3)", "every name of the rowid"},
      {"PRAGMA user_version=8", "user_version"},
  };
  for (const auto& [sql, why] : cases) {
    mirror.source()->Run(sql);
    const Status status = mirror.Carry(rules);
    EXPECT_EQ(status.code(), Code::kReadOnly) << sql;
    EXPECT_THAT(status.text(), HasSubstr(why));
    mirror.CopyAgain();
  }
  mirror.source()->Run("INSERT INTO t VALUES(zeroblob(9000))");
  EXPECT_TRUE(mirror.Carry(rules).ok());
}

TEST(Statements, RaiseTheCookieAboveWhatWasShown) {
  Mirror mirror("CREATE TABLE t(a); CREATE TABLE _turso_cookie(a)");
  auto cookie = [&] { return static_cast<uint32_t>(mirror.copy()->Int("PRAGMA schema_version")); };
  for (const uint32_t ahead : {0U, 1U, 2U, 57U}) {
    const uint32_t now = cookie();
    mirror.source()->Run("CREATE INDEX t_a" + std::to_string(ahead) + " ON t(a)");
    const Status status = mirror.Carry({}, CookieDemand{now, now + ahead});
    EXPECT_TRUE(status.ok()) << status.text();
    EXPECT_GT(cookie(), now + ahead);
  }
  // Here it was shown with another schema for a moment, even if that went again.
  const uint32_t shown = cookie() + 5;
  mirror.source()->Run("BEGIN; CREATE TABLE gone(a); DROP TABLE gone; COMMIT");
  EXPECT_TRUE(mirror.Carry({}, CookieDemand{cookie(), shown}).ok());
  EXPECT_GT(cookie(), shown);
  // Rows alone leave it alone.
  const uint32_t now = cookie();
  mirror.source()->Run("INSERT INTO t VALUES(1)");
  EXPECT_TRUE(mirror.Carry({}, CookieDemand{now, now + 9}).ok());
  EXPECT_EQ(cookie(), now);
  mirror.source()->Run("CREATE INDEX last ON t(a)");
  EXPECT_EQ(mirror.Carry({}, CookieDemand{now, now + 100000}).code(), Code::kReadOnly);
}

TEST(Statements, FailWhereTheSchemaDoesNotBecomeWhatItIsHere) {
  Mirror mirror("CREATE TABLE t(a)");
  ExpectCarried(&mirror, "ALTER TABLE t ADD COLUMN b");
  const Statements statements = mirror.statements();
  Mirror other("CREATE TABLE t( a)");
  const Status status = RunStatements(other.copy(), statements);
  EXPECT_THAT(status.text(), HasSubstr("integer overflow"));
  EXPECT_EQ(other.copy()->Text("SELECT sql FROM sqlite_master"), "CREATE TABLE t( a)");
}

}  // namespace
}  // namespace turso
