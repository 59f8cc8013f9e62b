#include "extension/status.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "vfs/connection.h"
#include "vfs/guarded.h"

namespace turso {
namespace {

struct Cursor : sqlite3_vtab_cursor {
  std::vector<ReplicaStatus> rows;
  size_t row = 0;
};

void SetResult(sqlite3_context* context, const std::string& text) {
  sqlite3_result_text(context, text.c_str(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
}
void SetResult(sqlite3_context* context, const std::optional<std::string>& text) {
  if (text) SetResult(context, *text);
}
void SetResult(sqlite3_context* context, int64_t number) { sqlite3_result_int64(context, number); }

// A time that is -1 for "never" is NULL.
template <int64_t ReplicaStatus::*field>
void SetSince(sqlite3_context* context, const ReplicaStatus& status) {
  if (status.*field >= 0) sqlite3_result_int64(context, status.*field);
}

template <auto field>
void Set(sqlite3_context* context, const ReplicaStatus& status) {
  SetResult(context, status.*field);
}

struct Column {
  const char* declaration;
  void (*set)(sqlite3_context*, const ReplicaStatus&);
};

constexpr Column kColumns[] = {
    {"path TEXT", Set<&ReplicaStatus::path>},
    {"url TEXT", Set<&ReplicaStatus::url>},
    {"protocol TEXT", Set<&ReplicaStatus::protocol>},
    {"database_id TEXT", Set<&ReplicaStatus::database_id>},
    {"revision TEXT", Set<&ReplicaStatus::revision>},
    {"lag_ms INTEGER", SetSince<&ReplicaStatus::lag_ms>},
    {"last_sync_ms INTEGER", SetSince<&ReplicaStatus::last_sync_ms>},
    {"state TEXT", Set<&ReplicaStatus::state>},
    {"lease TEXT", Set<&ReplicaStatus::lease>},
    {"page_count INTEGER", Set<&ReplicaStatus::page_count>},
    {"pages_present INTEGER", Set<&ReplicaStatus::pages_present>},
    {"pulls INTEGER", Set<&ReplicaStatus::pulls>},
    {"pages_pulled INTEGER", Set<&ReplicaStatus::pages_pulled>},
    {"commits INTEGER", Set<&ReplicaStatus::commits>},
    {"conflicts INTEGER", Set<&ReplicaStatus::conflicts>},
    {"round_trips INTEGER", Set<&ReplicaStatus::round_trips>},
    {"bytes_sent INTEGER", Set<&ReplicaStatus::bytes_sent>},
    {"bytes_received INTEGER", Set<&ReplicaStatus::bytes_received>},
    {"last_error TEXT", Set<&ReplicaStatus::last_error>},
};

int Connect(sqlite3* db, void*, int, const char* const*, sqlite3_vtab** out, char**) noexcept {
  return Guarded(SQLITE_ERROR, [&] {
    std::string schema = "CREATE TABLE x(";
    for (const Column& column : kColumns) {
      if (&column != kColumns) schema += ", ";
      schema += column.declaration;
    }
    const int rc = sqlite3_declare_vtab(db, (schema + ")").c_str());
    if (rc == SQLITE_OK) *out = std::make_unique<sqlite3_vtab>().release();
    return rc;
  });
}

int Disconnect(sqlite3_vtab* table) noexcept {
  delete table;
  return SQLITE_OK;
}

int BestIndex(sqlite3_vtab*, sqlite3_index_info* plan) noexcept {
  plan->estimatedCost = 10;
  plan->estimatedRows = 10;
  return SQLITE_OK;
}

int Open(sqlite3_vtab*, sqlite3_vtab_cursor** out) noexcept {
  return Guarded(SQLITE_ERROR,
                 [&] { return *out = std::make_unique<Cursor>().release(), SQLITE_OK; });
}

int Close(sqlite3_vtab_cursor* cursor) noexcept {
  delete static_cast<Cursor*>(cursor);
  return SQLITE_OK;
}

int Filter(sqlite3_vtab_cursor* base, int, const char*, int, sqlite3_value**) noexcept {
  return Guarded(SQLITE_ERROR, [&] {
    auto* cursor = static_cast<Cursor*>(base);
    cursor->rows.clear();
    cursor->row = 0;
    for (const std::shared_ptr<Replica>& replica : OpenReplicas()) {
      cursor->rows.push_back(replica->status());
    }
    return SQLITE_OK;
  });
}

int Next(sqlite3_vtab_cursor* base) noexcept {
  ++static_cast<Cursor*>(base)->row;
  return SQLITE_OK;
}

int Eof(sqlite3_vtab_cursor* base) noexcept {
  const auto* cursor = static_cast<Cursor*>(base);
  return cursor->row >= cursor->rows.size() ? 1 : 0;
}

int SetColumn(sqlite3_vtab_cursor* base, sqlite3_context* context, int column) noexcept {
  const auto* cursor = static_cast<Cursor*>(base);
  kColumns[column].set(context, cursor->rows[cursor->row]);
  return SQLITE_OK;
}

int RowId(sqlite3_vtab_cursor* base, sqlite3_int64* out) noexcept {
  *out = static_cast<sqlite3_int64>(static_cast<Cursor*>(base)->row) + 1;
  return SQLITE_OK;
}

// Without xCreate: the table is there in every connection and CREATE VIRTUAL TABLE is not for it.
constexpr sqlite3_module Module() {
  sqlite3_module module{};
  module.xConnect = Connect;
  module.xBestIndex = BestIndex;
  module.xDisconnect = Disconnect;
  module.xOpen = Open;
  module.xClose = Close;
  module.xFilter = Filter;
  module.xNext = Next;
  module.xEof = Eof;
  module.xColumn = SetColumn;
  module.xRowid = RowId;
  return module;
}
constexpr sqlite3_module kModule = Module();

}  // namespace

int AddStatusTable(sqlite3* db) noexcept {
  return sqlite3_create_module_v2(db, "turso_status", &kModule, nullptr, nullptr);
}

}  // namespace turso
