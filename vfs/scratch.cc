#include "vfs/scratch.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>

#include "src/format/text.h"
#include "vfs/sqlite.h"

namespace turso {

namespace {

using RowVisitor = std::function<void(sqlite3_stmt*)>;

std::string TextAt(sqlite3_stmt* row, int column) {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(row, column));
  return text ? std::string(text, static_cast<size_t>(sqlite3_column_bytes(row, column))) : "";
}

// `text` between two of these, in which it stands twice.
std::string Quoted(const std::string& text, char quote) {
  std::string quoted(1, quote);
  for (char c : text) quoted.append(c == quote ? 2 : 1, c);
  return quoted + quote;
}
std::string Literal(const std::string& text) { return Quoted(text, '\''); }

class MemoryDatabase {
 public:
  MemoryDatabase() = default;
  MemoryDatabase(const MemoryDatabase&) = delete;
  MemoryDatabase& operator=(const MemoryDatabase&) = delete;
  ~MemoryDatabase() { sqlite3_close(db_); }

  Status Open(TextEncoding encoding) {
    const int rc =
        sqlite3_open_v2(":memory:", &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
    if (rc != SQLITE_OK) return {Code::kNoMemory, "no scratch database in memory"};
    // As servers are: text in double quotes, old schemas have it, no foreign keys to enforce.
    sqlite3_db_config(db_, SQLITE_DBCONFIG_DQS_DDL, 1, nullptr);
    sqlite3_db_config(db_, SQLITE_DBCONFIG_DQS_DML, 1, nullptr);
    sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 0, nullptr);
    static constexpr const char* kNames[] = {"UTF-8", "UTF-16le", "UTF-16be"};
    return Run(std::string("PRAGMA foreign_keys=OFF; PRAGMA legacy_alter_table=OFF; "
                           "PRAGMA encoding='") +
               kNames[static_cast<int>(encoding) - 1] + "'");
  }

  Status Run(const std::string& sql) {
    const int rc = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
    return rc == SQLITE_OK ? OkStatus() : Failure(rc);
  }

  Status Ask(const std::string& sql, const RowVisitor& visit) {
    sqlite3_stmt* prepared = nullptr;
    int rc = sqlite3_prepare_v2(db_, sql.c_str(), -1, &prepared, nullptr);
    // `visit` may throw, and with a statement the database stays.
    const std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> statement(prepared,
                                                                          sqlite3_finalize);
    if (rc == SQLITE_OK)
      while ((rc = sqlite3_step(prepared)) == SQLITE_ROW) visit(prepared);
    return rc == SQLITE_DONE ? OkStatus() : Failure(rc);
  }

  sqlite3* handle() const { return db_; }

 private:
  Status Failure(int rc) const {
    return {rc == SQLITE_NOMEM ? Code::kNoMemory : Code::kInvalid, sqlite3_errmsg(db_)};
  }

  sqlite3* db_ = nullptr;
};

// https://sqlite.org/datatype3.html#determination_of_column_affinity
const char* AffinityOf(const std::string& declared, bool strict) {
  const std::string type = FoldCase(declared);
  auto has = [&](const char* part) { return type.find(part) != std::string::npos; };
  if (strict && type == "any") return "BLOB";
  if (has("int")) return "INTEGER";
  if (has("char") || has("clob") || has("text")) return "TEXT";
  if (has("blob") || type.empty()) return "BLOB";
  if (has("real") || has("floa") || has("doub")) return "REAL";
  return "NUMERIC";
}

KeyField::Collation CollationOf(const std::string& name) {
  if (EqualNames(name, "BINARY")) return KeyField::Collation::kBinary;
  if (EqualNames(name, "NOCASE")) return KeyField::Collation::kNoCase;
  if (EqualNames(name, "RTRIM")) return KeyField::Collation::kRightTrim;
  return KeyField::Collation::kOther;
}

struct IndexColumn {
  int column;  // -1 the rowid, -2 an expression.
  bool descending;
  std::string collation;
  bool key;
};
struct Index {
  bool unique;
  bool primary_key;
  bool partial;
  std::vector<IndexColumn> columns;
};

// What SQLite says of one table.
class Description {
 public:
  Description(MemoryDatabase* db, TextEncoding encoding, const std::string& name)
      : db_(db), encoding_(encoding) {
    table_.name = name;
  }

  Result<Table> Make() {
    TURSO_RETURN_IF_ERROR(CheckThatItIsThere());
    TURSO_RETURN_IF_ERROR(ReadColumns());
    TURSO_RETURN_IF_ERROR(ReadIndexes());
    NameRowid();
    NoteUnique();
    OrderFields();
    return std::move(table_);
  }

 private:
  std::string Pragma(const char* pragma, const std::string& argument) {
    return std::string("PRAGMA main.") + pragma + "(" + Literal(argument) + ")";
  }

  Status CheckThatItIsThere() {
    bool there = false;
    TURSO_RETURN_IF_ERROR(
        db_->Ask("SELECT name FROM sqlite_master WHERE type='table' AND rootpage<>0 AND name=" +
                     Literal(table_.name) + " COLLATE NOCASE",
                 [&](sqlite3_stmt* row) {
                   there = true;
                   table_.name = TextAt(row, 0);
                 }));
    if (!there) return {Code::kNotFound, "there is no table " + table_.name};
    // Older copies of SQLite have neither STRICT tables nor this pragma.
    return db_->Ask(Pragma("table_list", table_.name), [&](sqlite3_stmt* row) {
      if (TextAt(row, 0) == "main") strict_ = sqlite3_column_int(row, 5) != 0;
    });
  }

  Status ReadColumns() {
    TURSO_RETURN_IF_ERROR(db_->Ask(Pragma("table_xinfo", table_.name), [&](sqlite3_stmt* row) {
      Column column;
      column.name = TextAt(row, 1);
      column.type = TextAt(row, 2);
      column.not_null = sqlite3_column_int(row, 3) != 0;
      column.default_text = TextAt(row, 4);
      if (sqlite3_column_int(row, 5) != 0) primary_key_.push_back(table_.columns.size());
      const int hidden = sqlite3_column_int(row, 6);
      if (hidden == 2) column.kind = Column::Kind::kVirtual;
      if (hidden == 3) column.kind = Column::Kind::kStored;
      const std::string affinity = AffinityOf(column.type, strict_);
      column.real = affinity == "REAL";
      column.text = affinity == "TEXT";
      table_.columns.push_back(std::move(column));
    }));
    for (Column& column : table_.columns) {
      if (column.default_text.empty() || column.generated()) continue;
      Result<Value> missing = DefaultOf(column);
      if (!missing.ok()) return missing.status();
      column.missing = *std::move(missing);
    }
    return OkStatus();
  }

  // NULL for a default that no short record can stand for: one that is not constant.
  Result<Value> DefaultOf(const Column& column) {
    MemoryDatabase values;
    TURSO_RETURN_IF_ERROR(values.Open(encoding_));
    // Not as a new row would get it: SQLite applies no affinity to DEFAULT TRUE of an old one.
    TURSO_RETURN_IF_ERROR(values.Run("CREATE TABLE d(y); INSERT INTO d VALUES(1)"));
    const std::string add =
        std::string("ALTER TABLE d ADD COLUMN x ") + AffinityOf(column.type, strict_) + " DEFAULT ";
    Status added = values.Run(add + column.default_text);
    // The parentheses of an expression are not in the text.
    if (added.code() == Code::kInvalid) added = values.Run(add + "(" + column.default_text + ")");
    if (added.code() == Code::kInvalid) return Value::Null();
    TURSO_RETURN_IF_ERROR(added);
    Value value;
    // As a blob, a text shows its bytes in the database's encoding.
    const Status asked = values.Ask("SELECT x, CAST(x AS BLOB) FROM d", [&](sqlite3_stmt* row) {
      const auto* blob = static_cast<const uint8_t*>(sqlite3_column_blob(row, 1));
      const ByteView bytes(blob, static_cast<size_t>(sqlite3_column_bytes(row, 1)));
      switch (sqlite3_column_type(row, 0)) {
        case SQLITE_INTEGER: value = Value::Integer(sqlite3_column_int64(row, 0)); break;
        case SQLITE_FLOAT: value = Value::Real(sqlite3_column_double(row, 0)); break;
        case SQLITE_TEXT: value = Value::Text(bytes); break;
        case SQLITE_BLOB: value = Value::Blob(bytes); break;
        default: break;
      }
    });
    if (!asked.ok()) return asked;
    return value;
  }

  Status ReadIndexes() {
    std::map<std::string, Index> indexes;
    TURSO_RETURN_IF_ERROR(db_->Ask(Pragma("index_list", table_.name), [&](sqlite3_stmt* row) {
      indexes[TextAt(row, 1)] = {sqlite3_column_int(row, 2) != 0,
                                 TextAt(row, 3) == "pk",
                                 sqlite3_column_int(row, 4) != 0,
                                 {}};
    }));
    for (auto& [name, index] : indexes) {
      TURSO_RETURN_IF_ERROR(
          db_->Ask(Pragma("index_xinfo", name), [&, to = &index](sqlite3_stmt* row) {
            to->columns.push_back({sqlite3_column_int(row, 1), sqlite3_column_int(row, 3) != 0,
                                   TextAt(row, 4), sqlite3_column_int(row, 5) != 0});
          }));
      indexes_.push_back(index);
    }
    return OkStatus();
  }

  void NameRowid() {
    const Index* key = nullptr;
    for (const Index& index : indexes_)
      if (index.primary_key) key = &index;
    key_ = key;
    // An index of a rowid table ends with the rowid; that of a table WITHOUT ROWID is the table.
    table_.without_rowid =
        key && std::none_of(key->columns.begin(), key->columns.end(),
                            [](const IndexColumn& column) { return column.column == -1; });
    if (table_.without_rowid) return;
    if (!key && primary_key_.size() == 1) {
      Column& alias = table_.columns[primary_key_[0]];
      alias.kind = Column::Kind::kRowid;
      table_.rowid_name = alias.name;
      int autoincrement = 0;
      sqlite3_table_column_metadata(db_->handle(), "main", table_.name.c_str(), alias.name.c_str(),
                                    nullptr, nullptr, nullptr, nullptr, &autoincrement);
      table_.autoincrement = autoincrement != 0;
      return;
    }
    for (const char* name : {"rowid", "_rowid_", "oid"}) {
      if (std::any_of(table_.columns.begin(), table_.columns.end(),
                      [&](const Column& column) { return EqualNames(column.name, name); }))
        continue;
      table_.rowid_name = name;
      return;
    }
  }

  void NoteUnique() {
    for (size_t column : primary_key_) table_.columns[column].unique = true;
    for (const Index& index : indexes_) {
      if (!index.unique) continue;
      // What an expression or a condition reads is not told: it may be any column.
      bool any = index.partial;
      for (const IndexColumn& column : index.columns) {
        if (column.key && column.column >= 0)
          table_.columns[static_cast<size_t>(column.column)].unique = true;
        any = any || column.column == -2;
      }
      if (any)
        for (Column& column : table_.columns) column.unique = true;
    }
    // Nor what a generated column reads.
    if (std::any_of(table_.columns.begin(), table_.columns.end(),
                    [](const Column& column) { return column.generated() && column.unique; }))
      for (Column& column : table_.columns) column.unique = true;
  }

  void OrderFields() {
    if (table_.without_rowid) {
      for (const IndexColumn& column : key_->columns) {
        if (column.column < 0) continue;
        table_.fields.push_back(static_cast<size_t>(column.column));
        if (column.key)
          table_.key.push_back(
              {CollationOf(column.collation), column.collation, column.descending});
      }
      return;
    }
    for (size_t i = 0; i < table_.columns.size(); ++i)
      if (table_.columns[i].kind != Column::Kind::kVirtual) table_.fields.push_back(i);
  }

  MemoryDatabase* db_;
  TextEncoding encoding_;
  Table table_;
  bool strict_ = false;
  std::vector<size_t> primary_key_;
  std::vector<Index> indexes_;
  const Index* key_ = nullptr;
};

class MemoryScratch : public Scratch {
 public:
  Status Open(const std::vector<SchemaRow>& rows, TextEncoding encoding) {
    encoding_ = encoding;
    TURSO_RETURN_IF_ERROR(db_.Open(encoding));
    TURSO_RETURN_IF_ERROR(CreateAll(rows));
    return Verify(rows);
  }

  Result<Table> Describe(const std::string& table) override {
    return Description(&db_, encoding_, table).Make();
  }
  Status Run(const std::string& sql) override { return db_.Run(sql); }
  Result<std::vector<SchemaRow>> Rows() override {
    std::vector<SchemaRow> rows;
    TURSO_RETURN_IF_ERROR(
        db_.Ask("SELECT rowid,type,name,tbl_name,rootpage,sql FROM sqlite_master ORDER BY rowid",
                [&](sqlite3_stmt* row) {
                  rows.push_back({sqlite3_column_int64(row, 0),
                                  TextAt(row, 1),
                                  TextAt(row, 2),
                                  TextAt(row, 3),
                                  {static_cast<uint32_t>(sqlite3_column_int64(row, 4))},
                                  TextAt(row, 5)});
                }));
    return rows;
  }

 private:
  // Virtual tables bring their shadow tables with them, tables the indexes of their constraints.
  static int Precedence(const SchemaRow& row) {
    if (row.type == "table") return row.root.value == 0 ? 0 : 1;
    return row.type == "index" ? 2 : row.type == "view" ? 3 : 4;
  }

  Result<bool> Has(const SchemaRow& row) {
    bool there = false;
    const Status asked = db_.Ask("SELECT 1 FROM sqlite_master WHERE type=" + Literal(row.type) +
                                     " AND name=" + Literal(row.name),
                                 [&](sqlite3_stmt*) { there = true; });
    if (asked.code() == Code::kNoMemory) return asked;
    return asked.ok() && there;
  }

  Status CreateAll(const std::vector<SchemaRow>& rows) {
    std::vector<const SchemaRow*> ordered;
    for (const SchemaRow& row : rows) ordered.push_back(&row);
    std::stable_sort(ordered.begin(), ordered.end(), [](const SchemaRow* a, const SchemaRow* b) {
      return Precedence(*a) < Precedence(*b);
    });
    TURSO_RETURN_IF_ERROR(db_.Run("BEGIN"));
    std::vector<const SchemaRow*> refused;
    for (const SchemaRow* row : ordered) {
      Result<bool> there = Has(*row);
      if (!there.ok()) return there.status();
      if (*there) continue;
      const Status made = row->sql.empty() ? Status(Code::kInvalid, "") : db_.Run(row->sql);
      if (made.code() == Code::kNoMemory) return made;
      if (!made.ok()) refused.push_back(row);
    }
    TURSO_RETURN_IF_ERROR(DropWhatCameToo(rows));
    TURSO_RETURN_IF_ERROR(PutAsText(refused));
    TURSO_RETURN_IF_ERROR(CorrectTexts(rows));
    return db_.Run("COMMIT");
  }

  // Of the tables that a virtual table brings with it, somebody has dropped some.
  Status DropWhatCameToo(const std::vector<SchemaRow>& rows) {
    Result<std::vector<SchemaRow>> made = Rows();
    if (!made.ok()) return made.status();
    for (const SchemaRow& is : *made) {
      const bool is_wanted = std::any_of(rows.begin(), rows.end(), [&](const SchemaRow& row) {
        return row.type == is.type && row.name == is.name;
      });
      if (is_wanted || is.type != "table" || is.name == "sqlite_sequence") continue;
      TURSO_RETURN_IF_ERROR(db_.Run("DROP TABLE " + Quoted(is.name, '"')));
    }
    return OkStatus();
  }

  // What SQLite would not create, a function or a module being unknown or a name reserved, it still
  // reads, from a row that was there before.
  Status PutAsText(const std::vector<const SchemaRow*>& rows) {
    if (rows.empty()) return OkStatus();
    TURSO_RETURN_IF_ERROR(db_.Run("PRAGMA writable_schema=ON"));
    for (const SchemaRow* row : rows) {
      Result<bool> there = Has(*row);
      if (!there.ok()) return there.status();
      if (*there) continue;
      TURSO_RETURN_IF_ERROR(db_.Run("CREATE TABLE \"turso scratch\"(x)"));
      TURSO_RETURN_IF_ERROR(
          db_.Run("UPDATE sqlite_master SET type=" + Literal(row->type) +
                  ", name=" + Literal(row->name) + ", tbl_name=" + Literal(row->table) +
                  ", sql=" + (row->sql.empty() ? "NULL" : Literal(row->sql)) +
                  (row->root.value == 0 ? ", rootpage=0" : "") + " WHERE name='turso scratch'"));
      // Forgets the table that it was.
      TURSO_RETURN_IF_ERROR(db_.Run("PRAGMA writable_schema=RESET; PRAGMA writable_schema=ON"));
    }
    return db_.Run("PRAGMA writable_schema=RESET");
  }

  // The shadow tables of a virtual table that was renamed have their names in other quotes.
  Status CorrectTexts(const std::vector<SchemaRow>& rows) {
    Result<std::vector<SchemaRow>> made = Rows();
    if (!made.ok()) return made.status();
    std::string updates;
    for (const SchemaRow& is : *made)
      for (const SchemaRow& wanted : rows)
        if (is.type == "table" && wanted.type == "table" && is.name == wanted.name &&
            is.sql != wanted.sql)
          updates += "UPDATE sqlite_master SET sql=" + Literal(wanted.sql) +
                     " WHERE type='table' AND name=" + Literal(wanted.name) + ";";
    if (updates.empty()) return OkStatus();
    return db_.Run("PRAGMA writable_schema=ON;" + updates + "PRAGMA writable_schema=RESET");
  }

  static bool Among(const SchemaRow& row, const std::vector<SchemaRow>& rows) {
    return std::any_of(rows.begin(), rows.end(),
                       [&](const SchemaRow& other) { return SameObject(row, other); });
  }
  static Status Differs(const SchemaRow& row) {
    return {Code::kReadOnly,
            "this copy of SQLite does not make the " + row.type + " " + row.name + " as it is"};
  }
  Status Verify(const std::vector<SchemaRow>& rows) {
    Result<std::vector<SchemaRow>> made = Rows();
    if (!made.ok()) return made.status();
    for (const SchemaRow& row : rows)
      if (!Among(row, *made)) return Differs(row);
    // AUTOINCREMENT brings a table of its own.
    for (const SchemaRow& row : *made)
      if (!Among(row, rows) && row.name != "sqlite_sequence") return Differs(row);
    return OkStatus();
  }

  MemoryDatabase db_;
  TextEncoding encoding_ = TextEncoding::kUtf8;
};

}  // namespace

Result<std::unique_ptr<Scratch>> MemoryScratchMaker::Make(const std::vector<SchemaRow>& rows,
                                                          TextEncoding encoding) {
  auto scratch = std::make_unique<MemoryScratch>();
  const Status opened = scratch->Open(rows, encoding).While("making a scratch copy of the schema");
  // SQLite calls it malformed.
  if (opened.code() == Code::kInvalid) return Status(Code::kReadOnly, opened.text());
  if (!opened.ok()) return opened;
  return std::unique_ptr<Scratch>(std::move(scratch));
}

Result<Table> MemoryScratchMaker::Describe(const std::vector<SchemaRow>& rows,
                                           TextEncoding encoding, const std::string& table) {
  constexpr size_t kAnswersMax = 32;
  {
    std::lock_guard lock(mutex_);
    for (const Answer& answer : answers_)
      if (answer.name == table && answer.encoding == encoding && answer.rows == rows)
        return answer.table;
  }
  Result<Table> described = ScratchMaker::Describe(rows, encoding, table);
  if (!described.ok()) return described;
  std::lock_guard lock(mutex_);
  if (answers_.size() >= kAnswersMax) answers_.pop_front();
  answers_.push_back({rows, encoding, table, *described});
  return described;
}

}  // namespace turso
