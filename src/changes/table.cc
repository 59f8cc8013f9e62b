#include "src/changes/table.h"

namespace turso {

Result<Row> DecodeRow(const Table& table, int64_t rowid, ByteView record) {
  Result<std::vector<Value>> fields = DecodeRecord(record);
  if (!fields.ok()) return fields.status().While("reading a row of " + table.name);
  Row row;
  row.rowid = table.without_rowid ? 0 : rowid;
  row.bytes = record.size();
  row.values.resize(table.columns.size());
  for (size_t i = 0; i < table.fields.size(); ++i) {
    const Column& column = table.columns[table.fields[i]];
    Value& value = row.values[table.fields[i]];
    if (column.kind == Column::Kind::kRowid) {
      value = Value::Integer(rowid);
    } else {
      value = i < fields->size() ? std::move((*fields)[i]) : column.missing;
      if (column.real && value.type == Value::Type::kInteger)
        value = Value::Real(static_cast<double>(value.integer));
    }
  }
  return row;
}

}  // namespace turso
