#include "tests/support/content.h"

#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "src/changes/sql.h"
#include "src/format/text.h"

namespace turso {

namespace {

// A value such that equal texts are equal types and bits.
std::string Show(sqlite3_stmt* row, int column) {
  const int type = sqlite3_column_type(row, column);
  if (type == SQLITE_NULL) return "NULL";
  if (type == SQLITE_INTEGER) return std::to_string(sqlite3_column_int64(row, column));
  if (type == SQLITE_FLOAT) {
    const double real = sqlite3_column_double(row, column);
    uint8_t bits[8];
    std::memcpy(bits, &real, 8);
    return "real " + ToHex(bits) + " (" + std::to_string(real) + ")";
  }
  // Of a text these are the bytes in the database's encoding.
  const auto* bytes = static_cast<const uint8_t*>(sqlite3_column_blob(row, column));
  const auto size = static_cast<size_t>(sqlite3_column_bytes(row, column));
  return (type == SQLITE_TEXT ? "text " : "blob ") + ToHex({bytes, bytes ? size : 0});
}

class Rows {
 public:
  Rows(Connection* db, const std::string& sql) {
    EXPECT_EQ(sqlite3_prepare_v2(db->handle(), sql.c_str(), -1, &statement_, nullptr), SQLITE_OK)
        << sql << ": " << sqlite3_errmsg(db->handle());
  }
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;
  ~Rows() { sqlite3_finalize(statement_); }

  // The values of the next row; none after the last.
  std::vector<std::string> Next() {
    std::vector<std::string> row;
    if (!statement_ || sqlite3_step(statement_) != SQLITE_ROW) return row;
    for (int i = 0; i < sqlite3_column_count(statement_); ++i) row.push_back(Show(statement_, i));
    return row;
  }

 private:
  sqlite3_stmt* statement_ = nullptr;
};

// Its rows with their rowids, in an order that both databases have.
std::string SelectAll(Connection* db, const std::string& table) {
  std::set<std::string> columns;
  std::string all;
  sqlite3_stmt* statement = nullptr;
  const std::string pragma = "PRAGMA table_xinfo(" + QuoteName(table) + ")";
  EXPECT_EQ(sqlite3_prepare_v2(db->handle(), pragma.c_str(), -1, &statement, nullptr), SQLITE_OK);
  while (sqlite3_step(statement) == SQLITE_ROW) {
    const std::string name = reinterpret_cast<const char*>(sqlite3_column_text(statement, 1));
    columns.insert(FoldCase(name));
    all += (all.empty() ? "" : ",") + QuoteName(name);
  }
  sqlite3_finalize(statement);
  for (const char* rowid : {"rowid", "_rowid_", "oid"}) {
    if (columns.count(rowid)) continue;
    const std::string sql = std::string("SELECT ") + rowid + "," + all + " FROM " +
                            QuoteName(table) + " NOT INDEXED ORDER BY 1";
    if (sqlite3_prepare_v2(db->handle(), sql.c_str(), -1, &statement, nullptr) == SQLITE_OK) {
      sqlite3_finalize(statement);
      return sql;
    }
  }
  // WITHOUT ROWID: in the order of its key.
  return "SELECT " + all + " FROM " + QuoteName(table);
}

// The row that differs begins with its key.
std::string Differs(const std::string& sql, const std::vector<std::string>& a,
                    const std::vector<std::string>& b) {
  if (a.empty() || b.empty())
    return sql + ": only one has " + (a.empty() ? b : a)[0].substr(0, 100);
  size_t i = 0;
  while (i < a.size() && a[i] == b[i]) ++i;
  size_t at = 0;
  while (at < a[i].size() && at < b[i].size() && a[i][at] == b[i][at]) ++at;
  at = at < 40 ? 0 : at - 40;
  return sql + ": row " + a[0].substr(0, 100) + ", column " + std::to_string(i) + " from " +
         std::to_string(at) + "\n  " + a[i].substr(at, 120) + "\n  " + b[i].substr(at, 120);
}

std::string CompareRows(Connection* a, Connection* b, const std::string& sql) {
  Rows left(a, sql);
  Rows right(b, sql);
  for (;;) {
    const std::vector<std::string> x = left.Next();
    const std::vector<std::string> y = right.Next();
    if (x != y) return Differs(sql, x, y);
    if (x.empty()) return "";
  }
}

}  // namespace

std::string CompareContent(Connection* a, Connection* b) {
  for (const char* sql :
       {"SELECT type,name,tbl_name,sql,rootpage<>0 FROM sqlite_master ORDER BY 1,2",
        "PRAGMA user_version", "PRAGMA application_id", "PRAGMA encoding"})
    if (std::string difference = CompareRows(a, b, sql); !difference.empty()) return difference;
  std::vector<std::string> tables;
  sqlite3_stmt* statement = nullptr;
  sqlite3_prepare_v2(a->handle(),
                     "SELECT name FROM sqlite_master WHERE type='table' AND rootpage<>0", -1,
                     &statement, nullptr);
  while (sqlite3_step(statement) == SQLITE_ROW)
    tables.emplace_back(reinterpret_cast<const char*>(sqlite3_column_text(statement, 0)));
  sqlite3_finalize(statement);
  for (const std::string& table : tables)
    if (std::string difference = CompareRows(a, b, SelectAll(a, table)); !difference.empty())
      return difference;
  return "";
}

}  // namespace turso
