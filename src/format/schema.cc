#include "src/format/schema.h"

#include "src/format/btree.h"
#include "src/format/record.h"
#include "src/format/text.h"

namespace turso {

namespace {

Result<std::string> TextOf(const Value& value, TextEncoding encoding) {
  if (value.is_null()) return std::string();
  std::optional<std::string> text;
  if (value.type == Value::Type::kText) text = ToUtf8(value.bytes, encoding);
  if (!text) return Status(Code::kCorrupt, "sqlite_schema holds something that is no text");
  return *text;
}

Result<SchemaRow> DecodeRow(DatabaseState* state, const Cell& cell) {
  Result<Bytes> payload = ReadPayload(state, cell);
  if (!payload.ok()) return payload.status();
  Result<std::vector<Value>> values = DecodeRecord(*payload);
  if (!values.ok()) return values.status();
  if (values->size() != 5) return Status(Code::kCorrupt, "sqlite_schema has not five columns");
  SchemaRow row;
  row.rowid = cell.rowid;
  std::string* const texts[] = {&row.type, &row.name, &row.table, nullptr, &row.sql};
  for (size_t i = 0; i < 5; ++i) {
    if (!texts[i]) continue;
    Result<std::string> text = TextOf((*values)[i], state->header().encoding);
    if (!text.ok()) return text.status();
    *texts[i] = std::move(*text);
  }
  const Value& root = (*values)[3];
  if (root.type == Value::Type::kInteger && root.integer != 0) {
    row.root = {static_cast<uint32_t>(root.integer)};
    if (root.integer < 0 || root.integer > UINT32_MAX || !state->Has(row.root))
      return Status(Code::kCorrupt, "sqlite_schema names a root page outside the database");
  }
  return row;
}

}  // namespace

bool SameObject(const SchemaRow& a, const SchemaRow& b) {
  return a.type == b.type && a.name == b.name && a.table == b.table && a.sql == b.sql;
}

Result<std::vector<SchemaRow>> ReadSchema(DatabaseState* state) {
  std::vector<SchemaRow> rows;
  if (state->db_size() == 0) return rows;
  TURSO_RETURN_IF_ERROR(ForEachCell(state, {1}, [&](const BtreePage& page, const Cell& cell) {
    if (!page.is_table()) return Status(Code::kCorrupt, "sqlite_schema is no table");
    Result<SchemaRow> row = DecodeRow(state, cell);
    if (!row.ok()) return row.status();
    rows.push_back(std::move(*row));
    return OkStatus();
  }));
  return rows;
}

}  // namespace turso
