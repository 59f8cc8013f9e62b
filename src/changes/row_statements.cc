#include "src/changes/row_statements.h"

#include <algorithm>

#include "src/changes/sql.h"
#include "src/format/text.h"

namespace turso {

namespace {

// How much goes into one statement: few enough for every limit of a server, enough that a statement
// costs little.
constexpr size_t kArgumentsMax = 1000;
// Keys of several columns are put together by OR, which is as deep as there are keys: SQLite takes
// 1000.
constexpr const char* kOr = " OR ";
constexpr size_t kAlternativesMax = 200;
constexpr size_t kBytesMax = 256 << 10;

size_t Weight(const Value& value) { return 16 + value.bytes.size(); }

// Rows that go into one statement as long as there is room.
class Batch {
 public:
  Batch(std::string head, std::string between, std::string tail, std::vector<Statement>* out)
      : head_(std::move(head)), between_(std::move(between)), tail_(std::move(tail)), out_(out) {}

  // `item` is SQL for one row, with `arguments`.
  void Add(const std::string& item, std::vector<Value> arguments) {
    size_t bytes = item.size();
    for (const Value& value : arguments) bytes += Weight(value);
    if (!items_.empty() &&
        (statement_.arguments.size() + arguments.size() > kArgumentsMax ||
         bytes_ + bytes > kBytesMax || (between_ == kOr && count_ == kAlternativesMax)))
      Flush();
    items_ += items_.empty() ? item : between_ + item;
    ++count_;
    bytes_ += bytes;
    std::move(arguments.begin(), arguments.end(), std::back_inserter(statement_.arguments));
  }
  void Flush() {
    if (items_.empty()) return;
    statement_.sql = head_ + items_ + tail_;
    out_->push_back(std::move(statement_));
    statement_ = {};
    items_.clear();
    bytes_ = 0;
    count_ = 0;
  }

 private:
  std::string head_;
  std::string between_;
  std::string tail_;
  std::vector<Statement>* out_;
  std::string items_;
  Statement statement_;
  size_t bytes_ = 0;
  size_t count_ = 0;
};

class RowWriter {
 public:
  RowWriter(const TableChanges& changes, TextEncoding encoding, ChangedRows changed_rows,
            RowStatements* out)
      : changes_(changes),
        table_(changes.after),
        encoding_(encoding),
        changed_rows_(changed_rows),
        out_(out),
        deletes_(DeleteHead(), SingleKey() ? "," : kOr, SingleKey() ? ")" : "", &out->deletes),
        computed_("NOT EXISTS (SELECT 1 FROM (VALUES ", ",", ComputedTail(), &out->computed),
        inserts_(
            "INSERT OR ABORT INTO " + QuoteName(table_.name) + "(" + InsertedColumns() + ") VALUES",
            ",", "", &out->inserts) {}

  Status Write() {
    if (!table_.without_rowid && table_.rowid_name.empty())
      return {Code::kReadOnly, "columns of the table " + table_.name +
                                   " hide every name of the rowid, so its rows cannot be sent"};
    if (changes_.origin.filled)
      out_->deletes.push_back({"DELETE FROM " + QuoteName(table_.name), {}});
    for (const RowChange& change : changes_.rows) {
      if (change.after) Compare(*change.after);
      if (change.before && change.after && InPlace(change)) {
        Update(change);
        continue;
      }
      if (change.before) Delete(*change.before);
      if (change.after) Insert(*change.after);
    }
    deletes_.Flush();
    inserts_.Flush();
    computed_.Flush();
    return OkStatus();
  }

 private:
  const Table& Old() const { return changes_.origin.before ? changes_.before : table_; }
  // By the column's own collation, values could be equal that are two keys.
  static std::string KeyColumn(const Table& table, size_t i) {
    return QuoteName(table.columns[table.fields[i]].name) + " COLLATE " +
           QuoteName(table.key[i].collation_name);
  }
  // The name of the rowid is never a column's that is quoted by mistake: "rowid" in quotes would
  // be a text where there is none.
  static std::string QuoteRowid(const Table& table) {
    return HasAlias(table) ? QuoteName(table.rowid_name) : table.rowid_name;
  }
  static bool HasAlias(const Table& table) {
    return std::any_of(table.columns.begin(), table.columns.end(),
                       [](const Column& column) { return column.kind == Column::Kind::kRowid; });
  }
  bool SingleKey() const { return !Old().without_rowid || Old().key.size() == 1; }
  // A row value IN a list would be looked for in every row.
  std::string DeleteHead() const {
    const std::string head = "DELETE FROM " + QuoteName(Old().name) + " WHERE ";
    if (!SingleKey()) return head;
    return head + (Old().without_rowid ? KeyColumn(Old(), 0) : QuoteRowid(Old())) + " IN (";
  }

  void Delete(const Row& row) {
    std::vector<Value> arguments;
    std::string item;
    if (!Old().without_rowid) {
      item = "?";
      arguments.push_back(Value::Integer(row.rowid));
    } else if (SingleKey()) {
      AppendValue(KeyValue(row, 0), encoding_, &item, &arguments);
    } else {
      item = "(" + KeyEquals(Old(), row, &arguments) + ")";
    }
    deletes_.Add(item, std::move(arguments));
  }
  std::string KeyEquals(const Table& table, const Row& row, std::vector<Value>* arguments) const {
    std::string sql;
    for (size_t i = 0; i < table.key.size(); ++i) {
      sql += (i ? " AND " : "") + KeyColumn(table, i) + "=";
      AppendValue(KeyValue(row, i), encoding_, &sql, arguments);
    }
    return sql;
  }
  // Rows are in the columns of afterwards; a key's column is never dropped or added in place.
  const Value& KeyValue(const Row& row, size_t i) const { return row.values[table_.fields[i]]; }

  std::string InsertedColumns() const {
    std::string columns;
    if (!table_.without_rowid && !HasAlias(table_)) columns = table_.rowid_name;
    for (const Column& column : table_.columns)
      if (!column.generated()) columns += (columns.empty() ? "" : ",") + QuoteName(column.name);
    return columns;
  }

  void Insert(const Row& row) {
    std::vector<Value> arguments;
    std::string item;
    if (!table_.without_rowid && !HasAlias(table_)) {
      item = "?";
      arguments.push_back(Value::Integer(row.rowid));
    }
    for (size_t i = 0; i < table_.columns.size(); ++i) {
      if (table_.columns[i].generated()) continue;
      if (!item.empty()) item += ',';
      AppendValue(row.values[i], encoding_, &item, &arguments);
    }
    inserts_.Add("(" + item + ")", std::move(arguments));
  }

  // The rows of VALUES are keys and what the STORED columns have here, compared without the
  // affinity and the collation of the column. No SQL tells the sign of a zero.
  std::string ComputedTail() const {
    std::string on, same;
    size_t values = 0;
    const auto value = [&] {
      return std::string(kComputedValues) + ".column" + std::to_string(++values);
    };
    if (!table_.without_rowid) on = "t." + QuoteRowid(table_) + "=" + value();
    for (size_t i = 0; i < table_.key.size(); ++i)
      on += (i ? " AND t." : "t.") + KeyColumn(table_, i) + "=" + value();
    for (const Column& column : table_.columns) {
      if (column.kind != Column::Kind::kStored) continue;
      const std::string is = "t." + QuoteName(column.name);
      const std::string wanted = value();
      same += same.empty() ? "" : " AND ";
      same +=
          "typeof(" + is + ")=typeof(" + wanted + ") AND (+" + is + ") COLLATE BINARY IS " + wanted;
    }
    return ") AS " + std::string(kComputedValues) + " LEFT JOIN " + QuoteName(table_.name) +
           " AS t ON " + on + " WHERE NOT (" + same + "))";
  }

  void Compare(const Row& row) {
    std::vector<Value> arguments;
    std::string item;
    const auto add = [&](const Value& value) {
      item += item.empty() ? "(" : ",";
      AppendValue(value, encoding_, &item, &arguments);
    };
    if (!table_.without_rowid) add(Value::Integer(row.rowid));
    for (size_t i = 0; i < table_.key.size(); ++i) add(KeyValue(row, i));
    bool any = false;
    for (size_t i = 0; i < table_.columns.size(); ++i) {
      if (table_.columns[i].kind != Column::Kind::kStored) continue;
      add(row.values[i]);
      any = true;
    }
    if (any) computed_.Add(item + ")", std::move(arguments));
  }

  // (ST2)
  bool InPlace(const RowChange& change) const {
    if (changed_rows_ == ChangedRows::kReplace) return false;
    for (size_t i = 0; i < table_.columns.size(); ++i)
      if (table_.columns[i].unique && !(change.before->values[i] == change.after->values[i]))
        return false;
    return true;
  }

  void Update(const RowChange& change) {
    Statement statement;
    std::string set;
    for (size_t i = 0; i < table_.columns.size(); ++i) {
      const Column& column = table_.columns[i];
      if (column.generated() || change.before->values[i] == change.after->values[i]) continue;
      set += (set.empty() ? "" : ",") + QuoteName(column.name) + "=";
      AppendValue(change.after->values[i], encoding_, &set, &statement.arguments);
    }
    if (set.empty()) return;
    std::string where;
    if (table_.without_rowid) {
      where = KeyEquals(table_, *change.after, &statement.arguments);
    } else {
      where = QuoteRowid(table_) + "=?";
      statement.arguments.push_back(Value::Integer(change.after->rowid));
    }
    statement.sql = "UPDATE OR ABORT " + QuoteName(table_.name) + " SET " + set + " WHERE " + where;
    out_->updates.push_back(std::move(statement));
  }

  const TableChanges& changes_;
  const Table& table_;
  TextEncoding encoding_;
  ChangedRows changed_rows_;
  RowStatements* out_;
  Batch deletes_;
  Batch computed_;
  Batch inserts_;
};

}  // namespace

void AppendValue(const Value& value, TextEncoding encoding, std::string* sql,
                 std::vector<Value>* arguments) {
  if (value.type != Value::Type::kText) {
    *sql += '?';
    arguments->push_back(value);
    return;
  }
  std::optional<std::string> text = ToUtf8(value.bytes, encoding);
  if (text && text->find('\0') == std::string::npos) {
    *sql += '?';
    arguments->push_back(Value::Text(*text));
  } else if (encoding == TextEncoding::kUtf8) {
    *sql += "+CAST(? AS TEXT)";
    arguments->push_back(Value::Blob(value.bytes));
  } else {
    // The bytes of an argument would be taken for UTF-8, those of a literal are the database's.
    *sql += "+CAST(x'" + ToHex(value.bytes) + "' AS TEXT)";
  }
}

Result<RowStatements> WriteRows(const TableChanges& changes, TextEncoding encoding,
                                ChangedRows changed_rows) {
  RowStatements out;
  TURSO_RETURN_IF_ERROR(RowWriter(changes, encoding, changed_rows, &out).Write());
  return out;
}

}  // namespace turso
