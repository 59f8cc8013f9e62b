#include "src/primary/hrana_guard.h"

#include <strings.h>

#include <algorithm>
#include <iterator>

namespace turso {

namespace {

bool Same(const char* a, const char* b) { return strcasecmp(a, b) == 0; }

template <size_t n>
bool IsAmong(const char* name, const char* const (&names)[n]) {
  return std::any_of(std::begin(names), std::end(names),
                     [name](const char* one) { return Same(name, one); });
}

// With a value or without: they read, or change the connection or the database in ways that are its
// user's business.
constexpr const char* kFreePragmas[] = {"analysis_limit",
                                        "application_id",
                                        "automatic_index",
                                        "auto_vacuum",
                                        "case_sensitive_like",
                                        "cell_size_check",
                                        "collation_list",
                                        "compile_options",
                                        "count_changes",
                                        "database_list",
                                        "data_version",
                                        "defer_foreign_keys",
                                        "empty_result_callbacks",
                                        "encoding",
                                        "foreign_key_check",
                                        "foreign_key_list",
                                        "foreign_keys",
                                        "freelist_count",
                                        "full_column_names",
                                        "function_list",
                                        "ignore_check_constraints",
                                        "incremental_vacuum",
                                        "index_info",
                                        "index_list",
                                        "index_xinfo",
                                        "integrity_check",
                                        "legacy_alter_table",
                                        "legacy_file_format",
                                        "max_page_count",
                                        "module_list",
                                        "optimize",
                                        "page_count",
                                        "pragma_list",
                                        "quick_check",
                                        "read_uncommitted",
                                        "recursive_triggers",
                                        "reverse_unordered_selects",
                                        "schema_version",
                                        "short_column_names",
                                        "shrink_memory",
                                        "stats",
                                        "table_info",
                                        "table_list",
                                        "table_xinfo",
                                        "trusted_schema",
                                        "turso_version",
                                        "user_version"};

// Without a value they answer; a value is ignored.
constexpr const char* kTuningPragmas[] = {
    "busy_timeout", "cache_size",   "cache_spill",        "checkpoint_fullfsync",
    "fullfsync",    "journal_mode", "journal_size_limit", "locking_mode",
    "mmap_size",    "page_size",    "secure_delete",      "synchronous",
    "temp_store",   "threads",      "wal_autocheckpoint"};

constexpr const char* kFileFunctions[] = {"load_extension", "readfile", "writefile", "edit",
                                          "fts3_tokenizer"};

}  // namespace

Status HranaGuard::Install(sqlite3* db) {
  int off = 0;
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, &off);
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, &off);
  // What libSQL's server starts with, and what its clients therefore count on.
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, &off);
  sqlite3_extended_result_codes(db, 1);
  if (access_ != Access::kWrite &&
      sqlite3_exec(db, "PRAGMA query_only=1", nullptr, nullptr, nullptr) != SQLITE_OK) {
    return Status(Code::kIo,
                  std::string("cannot make a connection read-only: ") + sqlite3_errmsg(db));
  }
  sqlite3_set_authorizer(db, &HranaGuard::OnAction, this);
  return OkStatus();
}

void HranaGuard::Reset() {
  refusal_.clear();
  is_insert_ = false;
}

int HranaGuard::Refuse(std::string why) {
  if (refusal_.empty()) refusal_ = std::move(why);
  return SQLITE_DENY;
}

int HranaGuard::OnAction(void* self, int action, const char* a, const char* b, const char*,
                         const char* trigger) {
  auto* guard = static_cast<HranaGuard*>(self);
  switch (action) {
    case SQLITE_INSERT:
      if (!trigger && a && sqlite3_strnicmp(a, "sqlite_", 7) != 0) guard->is_insert_ = true;
      return SQLITE_OK;
    case SQLITE_ATTACH:
      // VACUUM attaches a temporary file, whose name is empty.
      if (a && *a == '\0') return SQLITE_OK;
      return guard->Refuse(
          "a database cannot be attached, nor a file written, through the network");
    case SQLITE_FUNCTION:
      if (b && IsAmong(b, kFileFunctions))
        return guard->Refuse(std::string("the function ") + b + " is not available");
      return SQLITE_OK;
    case SQLITE_PRAGMA: return guard->Pragma(a ? a : "", b);
    default: return SQLITE_OK;
  }
}

int HranaGuard::Pragma(const char* name, const char* value) {
  if (IsAmong(name, kFreePragmas)) return SQLITE_OK;
  if (IsAmong(name, kTuningPragmas)) return value ? SQLITE_IGNORE : SQLITE_OK;
  if (Same(name, "query_only") && (!value || access_ == Access::kWrite)) return SQLITE_OK;
  return Refuse(std::string("PRAGMA ") + name + " is not available through the network");
}

}  // namespace turso
