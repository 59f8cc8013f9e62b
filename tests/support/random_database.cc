#include "tests/support/random_database.h"

#include "src/changes/sql.h"

namespace turso {

namespace {
// Those are written, made and dropped through their virtual table.
constexpr const char* kIsShadow =
    "EXISTS(SELECT 1 FROM sqlite_master v WHERE v.type='table' AND v.rootpage=0 AND "
    "substr(sqlite_master.name,1,length(v.name)+1)=v.name||'_')";
}  // namespace

std::string RandomDatabase::Name(const char* kind) {
  const std::string name = kind + std::to_string(++names_);
  switch (Between(0, 9)) {
    case 0: return name + " x";
    case 1: return "\u00fc" + name;
    case 2: return name + "\"q";
    default: return name;
  }
}

// Long enough, now and then, to leave the page; of few lengths, so that updates keep them.
std::string RandomDatabase::Long() {
  const int length = Pick(std::vector<int>{30, 100, 600, 600, 2000, 5000, 9000});
  const std::string bytes = "randomblob(" + std::to_string(length) + ")";
  return Chance(50) ? bytes : "hex(" + bytes + ")";
}

std::string RandomDatabase::Literal() {
  static const std::vector<std::string> kSpecial = {"NULL",
                                                    "0",
                                                    "1",
                                                    "-1",
                                                    "9223372036854775807",
                                                    "-9223372036854775808",
                                                    "9007199254740993",
                                                    "0.1",
                                                    "-0.0",
                                                    "1e-320",
                                                    "9e999",
                                                    "-9e999",
                                                    "1.7976931348623157e308",
                                                    "5.0",
                                                    "1e15",
                                                    "''",
                                                    "x''",
                                                    "x'00'",
                                                    "CAST(x'ff00fe' AS TEXT)",
                                                    "CAST(x'00d800d8' AS TEXT)",
                                                    "CAST(x'610062' AS TEXT)",
                                                    "'\u00e4\u20ac\U0001F600'",
                                                    "CAST(x'eda080' AS TEXT)",
                                                    "'5'",
                                                    "'abc '",
                                                    "'ABC'",
                                                    "'abc'",
                                                    "'12abc'",
                                                    "' 7'",
                                                    "zeroblob(3)"};
  switch (Between(0, 9)) {
    case 0:
    case 1:
    case 2: return Pick(kSpecial);
    case 3: return "random()";
    case 4: return "(random()/1e10)";
    case 5: return "hex(randomblob(" + std::to_string(Between(0, 12)) + "))";
    case 6: return "randomblob(" + std::to_string(Between(0, 40)) + ")";
    case 7: return std::to_string(Between(-300, 70000));
    default: return Chance(30) ? Long() : std::to_string(Between(0, 30));
  }
}

std::string RandomDatabase::AddedColumn() {
  static const std::vector<std::string> kTypes = {
      "", "INT", "TEXT", "REAL", "BLOB", "NUMERIC", "VARCHAR(10)", "DOUBLE PRECISION"};
  static const std::vector<std::string> kDefaults = {"",
                                                     "",
                                                     " DEFAULT 7",
                                                     " DEFAULT -1.5",
                                                     " DEFAULT 'it''s, (x)'",
                                                     " DEFAULT '5'",
                                                     " DEFAULT x'00ff'",
                                                     " DEFAULT NULL",
                                                     " NOT NULL DEFAULT 3",
                                                     " NOT NULL DEFAULT ''",
                                                     " COLLATE NOCASE",
                                                     " CHECK(1)",
                                                     " DEFAULT 1e3",
                                                     " /* , */ DEFAULT (1+1)",
                                                     " DEFAULT 9223372036854775807",

                                                     " REFERENCES t1",
                                                     " DEFAULT -9e999"};
  // Of a column of TEXT, SQLite shows the number 1 in rows that are older than the column.
  if (Chance(5)) return std::string(Chance(30) ? "TEXT" : "INT") + " DEFAULT TRUE";
  return Pick(kTypes) + Pick(kDefaults);
}

std::string RandomDatabase::ColumnDefinition(const std::string& name,
                                             const std::vector<std::string>& earlier) {
  std::string definition = QuoteName(name) + " " + AddedColumn();
  if (!earlier.empty() && Chance(10))
    return QuoteName(name) + " AS (coalesce(" + QuoteName(Pick(earlier)) + ",1)||'g')" +
           (Chance(50) ? " STORED" : " VIRTUAL");
  if (Chance(6)) definition += " UNIQUE";
  if (Chance(3)) definition += " UNIQUE ON CONFLICT REPLACE";
  return definition;
}

std::string RandomDatabase::CreateTable(const std::string& name) {
  const int columns = Between(1, 6);
  std::string sql = "CREATE TABLE " + QuoteName(name) + (Chance(50) ? "(" : " (\n  ");
  std::vector<std::string> names;
  const int kind = Between(0, 9);
  if (kind < 3) {
    names.push_back("id");
    sql += "id INTEGER PRIMARY KEY";
    if (kind == 0) sql += " AUTOINCREMENT";
  }
  for (int i = 0; i < columns; ++i) {
    const std::string column = Chance(4) ? "rowid" : Name("c");
    sql += (names.empty() ? "" : ", ") + ColumnDefinition(column, names);
    names.push_back(column);
  }
  const bool without_rowid = kind >= 7;
  if (kind >= 6) {
    sql += ", PRIMARY KEY(" + QuoteName(names[0]);
    if (Chance(30))
      sql += " COLLATE " + Pick(std::vector<std::string>{"NOCASE", "RTRIM", "BINARY"});
    if (Chance(30)) sql += " DESC";
    if (names.size() > 1 && Chance(50)) sql += "," + QuoteName(names.back());
    sql += ")";
  }
  if (Chance(20))
    sql += ", FOREIGN KEY(" + QuoteName(names[0]) + ") REFERENCES t1(id) ON DELETE " +
           Pick(std::vector<std::string>{"CASCADE", "SET NULL", "RESTRICT", "NO ACTION"}) +
           " ON UPDATE CASCADE";
  if (Chance(5)) sql += ", CHECK(" + QuoteName(names[0]) + " IS NOT 'never')";
  return sql + (without_rowid ? ") WITHOUT ROWID" : ")");
}

std::string RandomDatabase::Beginning() {
  std::string sql = "PRAGMA page_size=" +
                    std::to_string(Pick(std::vector<int>{512, 512, 1024, 1024, 4096, 65536})) + ";";
  if (Chance(30))
    sql += std::string("PRAGMA auto_vacuum=") + (Chance(50) ? "FULL;" : "INCREMENTAL;");
  if (Chance(25)) sql += std::string("PRAGMA encoding='UTF-16") + (Chance(50) ? "le';" : "be';");
  sql += "CREATE TABLE t1(id INTEGER PRIMARY KEY, v, w TEXT);";
  sql += "INSERT INTO t1(v,w) VALUES(1,'a'),(2,'b'),(3,'c');";
  return sql;
}

std::vector<std::string> RandomDatabase::Ask(Connection* db, const std::string& sql) {
  std::vector<std::string> answers;
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(db->handle(), sql.c_str(), -1, &statement, nullptr) == SQLITE_OK)
    while (sqlite3_step(statement) == SQLITE_ROW)
      if (const unsigned char* text = sqlite3_column_text(statement, 0))
        answers.emplace_back(reinterpret_cast<const char*>(text));
  sqlite3_finalize(statement);
  return answers;
}

std::string RandomDatabase::Table(Connection* db) {
  const std::vector<std::string> tables =
      Ask(db, std::string("SELECT name FROM sqlite_master WHERE type='table' AND rootpage<>0 AND "
                          "name NOT LIKE 'sqlite_%' AND NOT ") +
                  kIsShadow);
  return tables.empty() ? "t1" : Pick(tables);
}

std::vector<std::string> RandomDatabase::Columns(Connection* db, const std::string& table) {
  return Ask(db, "SELECT name FROM pragma_table_xinfo('" + table + "') WHERE hidden=0");
}

void RandomDatabase::InsertRows(Connection* db, const std::string& table) {
  const std::vector<std::string> columns = Columns(db, table);
  if (columns.empty()) return;
  for (int rows = Chance(10) ? Between(20, 80) : Between(1, 5); rows > 0; --rows) {
    std::string names;
    std::string values;
    for (const std::string& column : columns) {
      if (Chance(15) || (column == "id" && Chance(70))) continue;
      names += (names.empty() ? "" : ",") + QuoteName(column);
      values += (values.empty() ? "" : ",") + Literal();
    }
    const char* verb = Chance(20) ? "INSERT OR REPLACE INTO " : "INSERT OR IGNORE INTO ";
    db->Try(verb + QuoteName(table) +
            (names.empty() ? " DEFAULT VALUES" : "(" + names + ") VALUES(" + values + ")"));
  }
}

void RandomDatabase::UpdateRows(Connection* db, const std::string& table) {
  const std::vector<std::string> columns = Columns(db, table);
  if (columns.empty()) return;
  const std::string column = QuoteName(Pick(columns));
  const std::string some = " WHERE abs(random())%100<" + std::to_string(Between(3, 60));
  switch (Between(0, 4)) {
    case 0: db->Try("UPDATE OR IGNORE " + QuoteName(table) + " SET rowid=rowid+3" + some); break;
    case 1:
      // Values that must be unique change places.
      db->Try("UPDATE OR REPLACE " + QuoteName(table) + " SET " + column + "=(SELECT x." + column +
              " FROM " + QuoteName(table) + " x ORDER BY random() LIMIT 1)" + some);
      break;
    case 2: db->Try("UPDATE " + QuoteName(table) + " SET " + column + "=" + column + some); break;
    default:
      db->Try("UPDATE OR IGNORE " + QuoteName(table) + " SET " + column + "=" + Literal() + some);
  }
}

// Bytes change, lengths do not: SQLite then writes overflow pages alone.
void RandomDatabase::WriteInPlace(Connection* db, const std::string& table) {
  const std::vector<std::string> columns = Columns(db, table);
  if (columns.empty()) return;
  const std::string column = QuoteName(Pick(columns));
  db->Try("UPDATE OR IGNORE " + QuoteName(table) + " SET " + column + "=CAST(substr(" + column +
          ",1,length(" + column + ")-20)||hex(randomblob(10)) AS TEXT) WHERE typeof(" + column +
          ")='text' AND length(" + column + ")>400");
  // SQLite then leaves stored columns that are generated from it as they were, where a primary
  // computes them.
  if (!Ask(db, "SELECT name FROM pragma_table_xinfo('" + table + "') WHERE hidden=3").empty())
    return;
  const std::vector<std::string> rowids =
      Ask(db, "SELECT rowid FROM " + QuoteName(table) + " WHERE typeof(" + column +
                  ")='blob' AND length(" + column + ")>1000 LIMIT 3");
  for (const std::string& rowid : rowids) {
    sqlite3_blob* blob = nullptr;
    const std::string bare = column.substr(1, column.size() - 2);
    if (sqlite3_blob_open(db->handle(), "main", table.c_str(), bare.c_str(),
                          std::strtoll(rowid.c_str(), nullptr, 10), 1, &blob) == SQLITE_OK)
      sqlite3_blob_write(blob, "written in place", 16, Between(0, sqlite3_blob_bytes(blob) - 16));
    sqlite3_blob_close(blob);
  }
}

void RandomDatabase::ChangeVirtualTable(Connection* db) {
  const std::vector<std::string> tables =
      Ask(db, "SELECT name FROM sqlite_master WHERE type='table' AND rootpage=0");
  if (tables.empty()) return;
  const std::string name = Pick(tables);
  const std::string table = QuoteName(name);
  if (name[0] == 'r') {
    db->Try("INSERT INTO " + table + " VALUES(" + std::to_string(Between(1, 500)) +
            ",random()%100,random()%100+200,1,2)");
    if (Chance(20)) db->Try("DELETE FROM " + table + " WHERE id%3=0");
    return;
  }
  for (int i = Between(1, 6); i > 0; --i)
    db->Try("INSERT INTO " + table +
            "(body) VALUES('quick '||hex(randomblob(3))||' fox '||random())");
  if (Chance(30)) db->Try("DELETE FROM " + table + " WHERE rowid%4=1");
  if (Chance(10) && name[0] == 'f')
    db->Try("INSERT INTO " + table + "(" + table + ") VALUES('optimize')");
}

void RandomDatabase::ChangeRows(Connection* db) {
  const std::string table = Table(db);
  switch (Between(0, 11)) {
    case 0:
    case 1:
    case 2:
    case 3: InsertRows(db, table); break;
    case 4:
    case 5:
    case 6: UpdateRows(db, table); break;
    case 7: WriteInPlace(db, table); break;
    case 8:
      db->Try("DELETE FROM " + QuoteName(table) + " WHERE abs(random())%100<" +
              std::to_string(Chance(20) ? 90 : Between(2, 30)));
      break;
    case 9:
      if (Chance(10)) db->Try("DELETE FROM " + QuoteName(table));
      break;
    case 10: ChangeVirtualTable(db); break;
    default:
      if (Chance(20))
        db->Try("UPDATE sqlite_sequence SET seq=seq+" + std::to_string(Between(0, 9)));
      if (Chance(20)) db->Try("PRAGMA user_version=" + std::to_string(Between(-5, 5)));
      if (Chance(20)) db->Try("PRAGMA incremental_vacuum(5)");
  }
}

std::string RandomDatabase::CreateIndex(Connection* db) {
  const std::string table = Table(db);
  const std::vector<std::string> columns = Columns(db, table);
  if (columns.empty()) return "";
  const std::string column = QuoteName(Pick(columns));
  return std::string("CREATE ") + (Chance(25) ? "UNIQUE " : "") + "INDEX " + QuoteName(Name("i")) +
         " ON " + QuoteName(table) + "(" +
         (Chance(20) ? "length(" + column + ")" : column + (Chance(30) ? " DESC" : "")) + ")" +
         (Chance(20) ? " WHERE " + column + " IS NOT NULL" : "");
}

std::string RandomDatabase::CreateTrigger(Connection* db) {
  const std::string event = Pick(std::vector<std::string>{"INSERT", "UPDATE", "DELETE"});
  return "CREATE TRIGGER " + QuoteName(Name("g")) + (Chance(70) ? " AFTER " : " BEFORE ") + event +
         " ON " + QuoteName(Table(db)) + " BEGIN " +
         (Chance(50) ? "INSERT INTO t1(v,w) SELECT count(*),'" + event + "' FROM t1; "
                     : "UPDATE t1 SET v=v+1 WHERE id%5=1; ") +
         (Chance(30) ? "DELETE FROM t1 WHERE id>60; " : "") + "END";
}

std::string RandomDatabase::CreateVirtualTable() {
  switch (Between(0, 3)) {
    case 0:
      return "CREATE VIRTUAL TABLE " + QuoteName("r" + std::to_string(++names_)) +
             " USING rtree(id,a,b,c,d)";
    case 1:
      return "CREATE VIRTUAL TABLE " + QuoteName("s" + std::to_string(++names_)) +
             " USING fts4(body)";
    default:
      return "CREATE VIRTUAL TABLE " + QuoteName("f" + std::to_string(++names_)) +
             " USING fts5(body, other" + (Chance(30) ? ", detail=none" : "") + ")";
  }
}

void RandomDatabase::AlterTable(Connection* db) {
  const std::string table = Table(db);
  if (table == "t1" && Chance(80)) return;
  const std::vector<std::string> columns = Columns(db, table);
  const std::string alter = "ALTER TABLE " + QuoteName(table);
  switch (Between(0, 4)) {
    case 0:
      if (table != "t1") db->Try(alter + " RENAME TO " + QuoteName(Name("t")));
      break;
    case 1:
      if (!columns.empty()) {
        const std::string name = Name("c");
        db->Try(alter + " RENAME COLUMN " + QuoteName(Pick(columns)) + " TO " +
                (Chance(50) ? name : QuoteName(name)));
      }
      break;
    case 2:
      if (!columns.empty()) db->Try(alter + " DROP COLUMN " + QuoteName(Pick(columns)));
      break;
    default: {
      for (int i = Chance(20) ? 2 : 1; i > 0; --i)
        db->Try(alter + " ADD COLUMN " + QuoteName(Name("c")) + " " + AddedColumn());
    }
  }
}

// As Django, Alembic, Prisma and SQLite's documentation do it.
void RandomDatabase::CopyTable(Connection* db) {
  const std::string table = Table(db);
  if (table == "t1") return;
  const std::vector<std::string> columns = Columns(db, table);
  if (columns.empty()) return;
  const std::string copy = QuoteName("new__" + table);
  std::string names;
  std::string definitions;
  for (const std::string& column : columns) {
    names += (names.empty() ? "" : ",") + QuoteName(column);
    definitions += (definitions.empty() ? "" : ",") + QuoteName(column) + " " +
                   Pick(std::vector<std::string>{"", "TEXT", "BLOB", "NUMERIC"});
  }
  db->Try("CREATE TABLE " + copy + "(" + definitions + ")");
  db->Try("INSERT INTO " + copy + "(" + names + ") SELECT " + names + " FROM " + QuoteName(table));
  db->Try("DROP TABLE " + QuoteName(table));
  db->Try("ALTER TABLE " + copy + " RENAME TO " + QuoteName(table));
}

void RandomDatabase::ChangeSchema(Connection* db) {
  auto drop = [&](const std::string& type) {
    const std::vector<std::string> names =
        Ask(db, "SELECT name FROM sqlite_master WHERE type='" + type +
                    "' AND sql IS NOT NULL AND name NOT IN ('t1','sqlite_sequence') AND NOT " +
                    kIsShadow);
    if (!names.empty()) db->Try("DROP " + type + " " + QuoteName(Pick(names)));
  };
  switch (Between(0, 15)) {
    case 0:
    case 1:
    case 2: db->Try(CreateTable(Name("t"))); break;
    case 3:
      if (Ask(db, "SELECT name FROM sqlite_master WHERE type='table'").size() > 8) drop("table");
      break;
    case 4:
    case 5: db->Try(CreateIndex(db)); break;
    case 6: drop("index"); break;
    case 7: db->Try(CreateTrigger(db)); break;
    case 8: drop("trigger"); break;
    case 9:
      db->Try("CREATE VIEW " + QuoteName(Name("v")) + " AS SELECT * FROM " + QuoteName(Table(db)));
      break;
    case 10: drop("view"); break;
    case 11: db->Try(CreateVirtualTable()); break;
    case 12: CopyTable(db); break;
    default: AlterTable(db);
  }
}

void RandomDatabase::Transaction(Connection* db) {
  // A trigger can put rows in front of the very UPDATE that fires it, for ever.
  int patience = 3000;
  sqlite3_progress_handler(
      db->handle(), 1000, [](void* left) { return --*static_cast<int*>(left) < 0 ? 1 : 0; },
      &patience);
  db->Run("BEGIN IMMEDIATE");
  const int steps = Chance(70) ? Between(1, 3) : Between(4, 12);
  for (int i = 0; i < steps; ++i) {
    const bool undo = Chance(8);
    // Some errors end the transaction by themselves.
    if (undo) db->Try("SAVEPOINT s");
    if (Chance(schema_changes_ == SchemaChanges::kOften ? 35 : 4)) {
      ChangeSchema(db);
    } else {
      ChangeRows(db);
    }
    if (undo) {
      db->Try("ROLLBACK TO s");
      db->Try("RELEASE s");
    }
  }
  // With deferred foreign keys it may fail.
  sqlite3_progress_handler(db->handle(), 0, nullptr, nullptr);
  if (db->Try("COMMIT") != SQLITE_OK) db->Try("ROLLBACK");
}

}  // namespace turso
