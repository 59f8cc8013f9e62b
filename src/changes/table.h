// What one must know of a table to read its rows from records, and to name them in SQL.

#ifndef TURSO_SRC_CHANGES_TABLE_H_
#define TURSO_SRC_CHANGES_TABLE_H_

#include <string>
#include <vector>

#include "src/base/status.h"
#include "src/format/record.h"

namespace turso {

struct Column {
  enum class Kind {
    kOrdinary,
    kRowid,    // INTEGER PRIMARY KEY: another name of the rowid; its field in the record is NULL.
    kStored,   // Generated, and kept in the record.
    kVirtual,  // Generated, and in no record.
  };

  std::string name;
  Kind kind = Kind::kOrdinary;
  bool real = false;    // Of REAL affinity: an integer in the record stands for a REAL.
  bool text = false;    // Of TEXT affinity.
  bool unique = false;  // Whether two rows could conflict by it: it is in a key or a unique index.
  bool not_null = false;
  std::string type;          // As declared.
  std::string default_text;  // As declared; empty for none.
  // What a row has whose record ends before this column: the default, as the column would keep it.
  Value missing;

  bool generated() const { return kind == Kind::kStored || kind == Kind::kVirtual; }
};

// How a field of a key is ordered.
struct KeyField {
  enum class Collation { kBinary, kNoCase, kRightTrim, kOther };
  Collation collation = Collation::kBinary;
  std::string collation_name = "BINARY";  // Which need not be that of the column.
  bool descending = false;
};

struct Table {
  std::string name;
  bool without_rowid = false;
  bool autoincrement = false;
  std::vector<Column> columns;  // As declared.
  std::vector<size_t> fields;   // Of a record: which column each is.
  std::vector<KeyField> key;    // The first fields, of a table WITHOUT ROWID.
  std::string rowid_name;       // What SQL calls the rowid; empty where columns hide all its names.
};

struct Row {
  int64_t rowid = 0;          // 0 WITHOUT ROWID.
  std::vector<Value> values;  // By column; NULL for those generated and kept nowhere.
  uint64_t bytes = 0;         // Of its record.
};

Result<Row> DecodeRow(const Table& table, int64_t rowid, ByteView record);

}  // namespace turso

#endif  // TURSO_SRC_CHANGES_TABLE_H_
