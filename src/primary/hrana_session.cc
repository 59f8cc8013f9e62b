#include "src/primary/hrana_session.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <thread>
#include <utility>

#include "src/primary/json_text.h"
#include "src/primary/sqlite_code.h"

namespace turso {

namespace {

constexpr size_t kStoredMax = 50;
constexpr size_t kStoredBytesMax = 1 << 20;

struct FinalizeStatement {
  void operator()(sqlite3_stmt* stmt) const { sqlite3_finalize(stmt); }
};
using StatementPtr = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

std::string JsonTextOrNull(const char* text) { return text ? JsonText(text) : "null"; }

std::string ErrorResult(const HranaError& error) {
  return "{\"type\":\"error\",\"error\":" + HranaErrorJson(error) + "}";
}

std::string OkResult(const std::string& type, const std::string& fields = "") {
  return "{\"type\":\"ok\",\"response\":{\"type\":\"" + type + "\"" + fields + "}}";
}

HranaError ArgumentError(const std::string& what) {
  return {"Arguments do not match SQL parameters: " + what, "ARGS_INVALID", ""};
}

HranaError ReadOnlyError(const std::string& why) {
  return {"SQLite error: " + why, "SQLITE_READONLY", "SQLITE_READONLY"};
}

HranaError InterruptedError() {
  return {"SQLite error: interrupted", "SQLITE_INTERRUPT", "SQLITE_INTERRUPT"};
}

// libSQL's BEGIN [TRANSACTION] READONLY, which its clients send for a transaction that only reads.
bool IsBeginReadOnly(std::string_view sql) {
  std::vector<std::string> words;
  std::string word;
  for (char c : sql) {
    if (std::isspace(static_cast<unsigned char>(c)) || c == ';') {
      if (!word.empty()) words.push_back(std::move(word));
      word.clear();
    } else {
      word += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    if (words.size() > 3 || word.size() > 12) return false;
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words == std::vector<std::string>{"BEGIN", "READONLY"} ||
         words == std::vector<std::string>{"BEGIN", "TRANSACTION", "READONLY"};
}

int BindValue(sqlite3_stmt* stmt, int index, const HranaValue& value) {
  if (const auto* integer = std::get_if<int64_t>(&value))
    return sqlite3_bind_int64(stmt, index, *integer);
  if (const auto* real = std::get_if<double>(&value))
    return sqlite3_bind_double(stmt, index, *real);
  // The arguments outlive the statement: it is finalized before its request ends.
  if (const auto* text = std::get_if<std::string>(&value)) {
    return sqlite3_bind_text64(stmt, index, text->data(), text->size(), SQLITE_STATIC, SQLITE_UTF8);
  }
  if (const auto* blob = std::get_if<HranaBlob>(&value)) {
    if (blob->bytes.empty()) return sqlite3_bind_zeroblob(stmt, index, 0);
    return sqlite3_bind_blob64(stmt, index, blob->bytes.data(), blob->bytes.size(), SQLITE_STATIC);
  }
  return sqlite3_bind_null(stmt, index);
}

// The indexes of the parameters that `name` names: as it is, or with one of SQLite's prefixes.
std::vector<int> ParameterIndexes(sqlite3_stmt* stmt, const std::string& name) {
  std::vector<int> indexes;
  if (int index = sqlite3_bind_parameter_index(stmt, name.c_str())) {
    indexes.push_back(index);
    return indexes;
  }
  for (const char* prefix : {":", "@", "$"}) {
    if (int index = sqlite3_bind_parameter_index(stmt, (prefix + name).c_str()))
      indexes.push_back(index);
  }
  return indexes;
}

// False if a TEXT is not UTF-8.
bool AppendColumn(sqlite3_stmt* stmt, int column, std::string* out) {
  switch (sqlite3_column_type(stmt, column)) {
    case SQLITE_INTEGER:
      *out += "{\"type\":\"integer\",\"value\":\"" +
              std::to_string(sqlite3_column_int64(stmt, column)) + "\"}";
      return true;
    case SQLITE_FLOAT:
      *out += "{\"type\":\"float\",\"value\":";
      AppendJsonNumber(out, sqlite3_column_double(stmt, column));
      break;
    case SQLITE_TEXT: {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(stmt, column));
      auto size = static_cast<size_t>(sqlite3_column_bytes(stmt, column));
      *out += "{\"type\":\"text\",\"value\":";
      if (!AppendJsonText(out, {text ? text : "", text ? size : 0})) return false;
      break;
    }
    case SQLITE_BLOB: {
      const auto* bytes = static_cast<const char*>(sqlite3_column_blob(stmt, column));
      auto size = static_cast<size_t>(sqlite3_column_bytes(stmt, column));
      *out += "{\"type\":\"blob\",\"base64\":\"" +
              EncodeBase64({bytes ? bytes : "", bytes ? size : 0}) + "\"";
      break;
    }
    default: *out += "{\"type\":\"null\"";
  }
  *out += '}';
  return true;
}

std::string ColumnsJson(sqlite3_stmt* stmt) {
  std::string out = "[";
  for (int i = 0; i < sqlite3_column_count(stmt); ++i) {
    if (i > 0) out += ',';
    out += "{\"name\":" + JsonTextOrNull(sqlite3_column_name(stmt, i)) +
           ",\"decltype\":" + JsonTextOrNull(sqlite3_column_decltype(stmt, i)) + "}";
  }
  return out + "]";
}

}  // namespace

std::string HranaErrorJson(const HranaError& error) {
  std::string out = "{\"message\":" + JsonText(error.message) + ",\"code\":" + JsonText(error.code);
  if (!error.extended_code.empty()) out += ",\"extended_code\":" + JsonText(error.extended_code);
  return out + "}";
}

struct HranaSession::Prepared {
  StatementPtr stmt;
  std::string_view rest;
  bool is_insert = false;
  bool begins_reading = false;
};

// What a statement that ran to its end left.
struct HranaSession::Ran {
  std::string columns;
  std::string rows;
  uint64_t row_count = 0;
  int affected = 0;
  int written = 0;
  std::string last_rowid = "null";
};

Result<std::unique_ptr<HranaSession>> HranaSession::Make(SqlConnection connection, Access access,
                                                         const Options& options) {
  std::unique_ptr<HranaSession> session(new HranaSession(std::move(connection), access, options));
  sqlite3* db = session->connection_.get();
  sqlite3_busy_handler(db, &HranaSession::OnBusy, session.get());
  // Looks for an interruption that came before the statement had begun, which SQLite itself
  // forgets.
  sqlite3_progress_handler(db, 10000, &HranaSession::OnProgress, session.get());
  TURSO_RETURN_IF_ERROR(session->guard_.Install(db));
  return session;
}

HranaSession::HranaSession(SqlConnection connection, Access access, const Options& options)
    : access_(access), options_(options), guard_(access), connection_(std::move(connection)) {}

void HranaSession::Interrupt() {
  interrupted_ = true;
  sqlite3_interrupt(connection_.get());
}

bool HranaSession::IsWriting() const {
#if SQLITE_VERSION_NUMBER >= 3034000
  return sqlite3_txn_state(connection_.get(), "main") == SQLITE_TXN_WRITE;
#else
  return sqlite3_get_autocommit(connection_.get()) == 0;
#endif
}

int HranaSession::OnProgress(void* self) {
  return static_cast<HranaSession*>(self)->interrupted_ ? 1 : 0;
}

int HranaSession::OnBusy(void* self, int tries) {
  auto* session = static_cast<HranaSession*>(self);
  if (tries == 0) session->busy_since_ = Instant::Now();
  if (session->interrupted_ ||
      Instant::Now() - session->busy_since_ >= session->options_.busy_timeout)
    return 0;
  if (tries % 8 == 7 && session->blocked_) session->blocked_();
  std::this_thread::sleep_for(std::min<Duration>(milliseconds(1 + tries), milliseconds(20)));
  return 1;
}

Result<std::string> HranaSession::Text(const HranaSql& sql) const {
  if (sql.text) return *sql.text;
  auto found = stored_.find(*sql.id);
  if (found != stored_.end()) return found->second;
  return Status(Code::kInvalid,
                "bad request: no SQL text is stored under the id " + std::to_string(*sql.id));
}

Status HranaSession::CheckStored(const HranaRequest& request) const {
  for (const HranaStep& step : request.steps) {
    Result<std::string> sql = Text(step.statement.sql);
    if (!sql.ok()) return sql.status();
  }
  return OkStatus();
}

Result<std::string> HranaSession::Run(const HranaRequest& request) {
  using Type = HranaRequest::Type;
  switch (request.type) {
    case Type::kExecute: return RunExecute(request.statement);
    case Type::kBatch: return RunBatch(request);
    case Type::kSequence:
    case Type::kDescribe: return RunOnText(request);
    case Type::kStoreSql: {
      if (stored_.count(*request.statement.sql.id)) {
        return Status(Code::kInvalid, "bad request: an SQL text is stored already under the id " +
                                          std::to_string(*request.statement.sql.id));
      }
      std::optional<HranaError> error =
          Store(*request.statement.sql.id, *request.statement.sql.text);
      return error ? ErrorResult(*error) : OkResult("store_sql");
    }
    case Type::kCloseSql: stored_.erase(*request.statement.sql.id); return OkResult("close_sql");
    case Type::kGetAutocommit:
      return OkResult("get_autocommit",
                      std::string(",\"is_autocommit\":") +
                          (sqlite3_get_autocommit(connection_.get()) ? "true" : "false"));
    case Type::kClose: break;
  }
  return OkResult("close");
}

Result<std::string> HranaSession::RunExecute(const HranaStatement& statement) {
  Result<std::string> sql = Text(statement.sql);
  if (!sql.ok()) return sql.status();
  std::string result;
  std::optional<HranaError> error = Execute(statement, *sql, &result);
  return error ? ErrorResult(*error) : OkResult("execute", ",\"result\":" + result);
}

Result<std::string> HranaSession::RunOnText(const HranaRequest& request) {
  Result<std::string> sql = Text(request.statement.sql);
  if (!sql.ok()) return sql.status();
  if (request.type == HranaRequest::Type::kSequence) {
    std::optional<HranaError> error = Sequence(*sql);
    return error ? ErrorResult(*error) : OkResult("sequence");
  }
  std::string result;
  std::optional<HranaError> error = Describe(*sql, &result);
  return error ? ErrorResult(*error) : OkResult("describe", ",\"result\":" + result);
}

Result<std::string> HranaSession::RunBatch(const HranaRequest& request) {
  TURSO_RETURN_IF_ERROR(CheckStored(request));
  std::vector<Step> steps;
  std::string results;
  std::string errors;
  for (const HranaStep& step : request.steps) {
    std::string result = "null";
    std::string error = "null";
    Step outcome = Step::kSkipped;
    if (!step.condition || Holds(*step.condition, steps)) {
      outcome = Step::kOk;
      std::string rows;
      std::optional<HranaError> failure = Execute(step.statement, *Text(step.statement.sql), &rows);
      if (!failure && results.size() + rows.size() > options_.result_max) {
        failure = HranaError{"Response is too large", "RESPONSE_TOO_LARGE", ""};
      }
      if (failure) {
        outcome = Step::kError;
        error = HranaErrorJson(*failure);
      } else {
        result = std::move(rows);
      }
    }
    const char* comma = steps.empty() ? "" : ",";
    results.append(comma).append(result);
    errors.append(comma).append(error);
    steps.push_back(outcome);
  }
  return OkResult("batch", ",\"result\":{\"step_results\":[" + results + "],\"step_errors\":[" +
                               errors + "],\"replication_index\":null}");
}

bool HranaSession::Holds(const HranaCondition& condition, const std::vector<Step>& steps) const {
  using Type = HranaCondition::Type;
  switch (condition.type) {
    case Type::kOk: return steps[condition.step] == Step::kOk;
    case Type::kError: return steps[condition.step] == Step::kError;
    case Type::kNot: return !Holds(condition.conditions[0], steps);
    case Type::kAnd:
      for (const HranaCondition& one : condition.conditions) {
        if (!Holds(one, steps)) return false;
      }
      return true;
    case Type::kOr:
      for (const HranaCondition& one : condition.conditions) {
        if (Holds(one, steps)) return true;
      }
      return false;
    case Type::kIsAutocommit: return sqlite3_get_autocommit(connection_.get()) != 0;
  }
  return false;
}

std::optional<HranaError> HranaSession::PrepareAndBind(const HranaStatement& statement,
                                                       const std::string& sql, Prepared* prepared) {
  if (interrupted_) return InterruptedError();
  if (auto error = PrepareOnly(sql, prepared)) return error;
  if (auto error = CheckMayRun(*prepared)) return error;
  return Bind(statement, prepared->stmt.get());
}

std::optional<HranaError> HranaSession::Execute(const HranaStatement& statement,
                                                const std::string& sql, std::string* out) {
  static constexpr RowStyle kStyle{"[", ",[", "]"};
  auto start = std::chrono::steady_clock::now();
  Prepared prepared;
  Ran ran;
  if (auto error = PrepareAndBind(statement, sql, &prepared)) return error;
  if (auto error = StepThrough(prepared, statement, kStyle, &ran)) return error;
  std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
  *out += "{\"cols\":" + ran.columns + ",\"rows\":[" + ran.rows +
          "],\"affected_row_count\":" + std::to_string(ran.affected) +
          ",\"last_insert_rowid\":" + ran.last_rowid +
          ",\"replication_index\":null,\"rows_read\":" + std::to_string(ran.row_count) +
          ",\"rows_written\":" + std::to_string(ran.written) + ",\"query_duration_ms\":";
  AppendJsonNumber(out, elapsed.count());
  *out += '}';
  return std::nullopt;
}

std::optional<HranaError> HranaSession::StepThrough(const Prepared& prepared,
                                                    const HranaStatement& statement,
                                                    const RowStyle& style, Ran* ran) {
  sqlite3* db = connection_.get();
  sqlite3_stmt* stmt = prepared.stmt.get();
  int changes_before = sqlite3_total_changes(db);
  int rc;
  while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
    ++ran->row_count;
    if (!statement.want_rows) continue;
    ran->rows += ran->rows.empty() ? style.first : style.next;
    for (int i = 0; i < sqlite3_column_count(stmt); ++i) {
      if (i > 0) ran->rows += ',';
      if (!AppendColumn(stmt, i, &ran->rows)) {
        const char* name = sqlite3_column_name(stmt, i);
        return HranaError{
            "the column \"" + std::string(name ? name : "") +
                "\" has TEXT that is not UTF-8, which JSON cannot carry: select CAST(… AS BLOB)",
            "SQLITE_MISMATCH", ""};
      }
    }
    ran->rows += style.end;
    if (ran->rows.size() > options_.result_max)
      return HranaError{"Response is too large", "RESPONSE_TOO_LARGE", ""};
  }
  if (rc != SQLITE_DONE) return RunError();
  ran->written = sqlite3_total_changes(db) - changes_before;
  // A statement that changed nothing leaves the count of an earlier one.
  ran->affected = ran->written != 0 ? sqlite3_changes(db) : 0;
  if (prepared.is_insert)
    ran->last_rowid = "\"" + std::to_string(sqlite3_last_insert_rowid(db)) + "\"";
  // Known only now: a statement may be compiled anew when it starts, with other columns.
  ran->columns = ColumnsJson(stmt);
  if (prepared.begins_reading) read_transaction_ = true;
  if (sqlite3_get_autocommit(db)) read_transaction_ = false;
  return std::nullopt;
}

Result<std::string> HranaSession::RunCursor(const HranaRequest& request) {
  TURSO_RETURN_IF_ERROR(CheckStored(request));
  std::vector<Step> steps;
  std::string out;
  for (const HranaStep& step : request.steps) {
    Step outcome = Step::kSkipped;
    if (!step.condition || Holds(*step.condition, steps))
      AppendCursorStep(step, steps.size(), &outcome, &out);
    steps.push_back(outcome);
    if (out.size() <= options_.result_max) continue;
    out += "{\"type\":\"error\",\"error\":" +
           HranaErrorJson({"Response is too large", "RESPONSE_TOO_LARGE", ""}) + "}\n";
    break;
  }
  return out;
}

void HranaSession::AppendCursorStep(const HranaStep& step, size_t index, Step* outcome,
                                    std::string* out) {
  static constexpr char kRow[] = "{\"type\":\"row\",\"row\":[";
  static constexpr RowStyle kStyle{kRow, kRow, "]}\n"};
  Prepared prepared;
  Ran ran;
  std::optional<HranaError> error =
      PrepareAndBind(step.statement, *Text(step.statement.sql), &prepared);
  if (!error) error = StepThrough(prepared, step.statement, kStyle, &ran);
  std::string number = std::to_string(index);
  if (error) {
    *outcome = Step::kError;
    *out += "{\"type\":\"step_error\",\"step\":" + number + ",\"error\":" + HranaErrorJson(*error) +
            "}\n";
    return;
  }
  *outcome = Step::kOk;
  *out += "{\"type\":\"step_begin\",\"step\":" + number + ",\"cols\":" + ran.columns + "}\n" +
          ran.rows +
          "{\"type\":\"step_end\",\"affected_row_count\":" + std::to_string(ran.affected) +
          ",\"last_insert_rowid\":" + ran.last_rowid + "}\n";
}

std::optional<HranaError> HranaSession::Sequence(std::string_view sql) {
  while (true) {
    if (interrupted_) return InterruptedError();
    Prepared prepared;
    if (auto error = PrepareFirst(sql, &prepared)) return error;
    if (!prepared.stmt) return std::nullopt;
    if (auto error = CheckMayRun(prepared)) return error;
    int rc;
    while ((rc = sqlite3_step(prepared.stmt.get())) == SQLITE_ROW) {
    }
    if (rc != SQLITE_DONE) return RunError();
    if (prepared.begins_reading) read_transaction_ = true;
    if (sqlite3_get_autocommit(connection_.get())) read_transaction_ = false;
    sql = prepared.rest;
  }
}

std::optional<HranaError> HranaSession::Describe(std::string_view sql, std::string* out) {
  Prepared prepared;
  if (auto error = PrepareOnly(sql, &prepared)) return error;
  sqlite3_stmt* stmt = prepared.stmt.get();
  *out = "{\"params\":[";
  for (int i = 1; i <= sqlite3_bind_parameter_count(stmt); ++i) {
    if (i > 1) *out += ',';
    *out += "{\"name\":" + JsonTextOrNull(sqlite3_bind_parameter_name(stmt, i)) + "}";
  }
  *out += "],\"cols\":" + ColumnsJson(stmt) +
          ",\"is_explain\":" + (sqlite3_stmt_isexplain(stmt) ? "true" : "false") +
          ",\"is_readonly\":" + (sqlite3_stmt_readonly(stmt) ? "true" : "false") + "}";
  return std::nullopt;
}

std::optional<HranaError> HranaSession::Store(int32_t id, const std::string& sql) {
  if (sql.size() > kStoredBytesMax)
    return HranaError{"SQL text is too large to be stored", "SQL_STORE_TOO_LARGE", ""};
  if (stored_.size() >= kStoredMax)
    return HranaError{"Too many SQL texts are stored", "SQL_STORE_TOO_MANY", ""};
  stored_[id] = sql;
  return std::nullopt;
}

std::optional<HranaError> HranaSession::PrepareFirst(std::string_view sql, Prepared* prepared) {
  static constexpr char kBeginReading[] = "BEGIN DEFERRED";
  if (sql.find('\0') != std::string_view::npos) {
    return HranaError{"SQL string could not be parsed: it has a zero byte", "SQL_PARSE_ERROR", ""};
  }
  prepared->begins_reading = IsBeginReadOnly(sql);
  std::string_view text = prepared->begins_reading ? kBeginReading : sql;
  if (text.size() >
      static_cast<size_t>(sqlite3_limit(connection_.get(), SQLITE_LIMIT_SQL_LENGTH, -1))) {
    return HranaError{"SQLite error: the statement is too long", "SQLITE_TOOBIG", "SQLITE_TOOBIG"};
  }
  guard_.Reset();
  sqlite3_stmt* stmt = nullptr;
  const char* tail = nullptr;
  // A text of no statement at the start of another's is skipped, a comment and a semicolon say.
  while (true) {
    int rc = sqlite3_prepare_v3(connection_.get(), text.data(), static_cast<int>(text.size()), 0,
                                &stmt, &tail);
    prepared->stmt.reset(stmt);
    if (rc != SQLITE_OK) return PrepareError();
    size_t used = static_cast<size_t>(tail - text.data());
    text.remove_prefix(used);
    if (stmt || text.empty() || used == 0) break;
  }
  prepared->rest = prepared->begins_reading ? std::string_view() : text;
  prepared->is_insert = guard_.is_insert();
  return std::nullopt;
}

std::optional<HranaError> HranaSession::PrepareOnly(std::string_view sql, Prepared* prepared) {
  if (auto error = PrepareFirst(sql, prepared)) return error;
  if (!prepared->stmt)
    return HranaError{"SQL string does not contain any statement", "SQL_NO_STATEMENT", ""};
  Prepared second;
  if (prepared->rest.empty() || (!PrepareFirst(prepared->rest, &second) && !second.stmt))
    return std::nullopt;
  return HranaError{"SQL string contains more than one statement", "SQL_MANY_STATEMENTS", ""};
}

std::optional<HranaError> HranaSession::CheckMayRun(const Prepared& prepared) const {
  if (sqlite3_stmt_readonly(prepared.stmt.get())) return std::nullopt;
  if (access_ != Access::kWrite)
    return ReadOnlyError("attempt to write with a token that may only read");
  if (read_transaction_)
    return ReadOnlyError("attempt to write in a transaction that was begun READONLY");
  return std::nullopt;
}

std::optional<HranaError> HranaSession::Bind(const HranaStatement& statement,
                                             sqlite3_stmt* stmt) const {
  size_t count = static_cast<size_t>(sqlite3_bind_parameter_count(stmt));
  if (statement.args.size() > count) {
    return ArgumentError(std::to_string(statement.args.size()) + " arguments for " +
                         std::to_string(count) + " parameters");
  }
  std::vector<char> bound(count + 1, 0);
  int rc = SQLITE_OK;
  for (size_t i = 0; i < statement.args.size() && rc == SQLITE_OK; ++i) {
    rc = BindValue(stmt, static_cast<int>(i + 1), statement.args[i]);
    bound[i + 1] = 1;
  }
  for (const auto& [name, value] : statement.named_args) {
    std::vector<int> indexes = ParameterIndexes(stmt, name);
    if (indexes.empty()) return ArgumentError("no parameter is named " + name);
    for (int index : indexes) {
      if (rc == SQLITE_OK) rc = BindValue(stmt, index, value);
      bound[static_cast<size_t>(index)] = 1;
    }
  }
  if (rc != SQLITE_OK) return RunError();
  for (size_t i = 1; i <= count; ++i) {
    if (bound[i]) continue;
    const char* name = sqlite3_bind_parameter_name(stmt, static_cast<int>(i));
    return ArgumentError("no value for parameter " + std::to_string(i) +
                         (name ? std::string(" (") + name + ")" : ""));
  }
  return std::nullopt;
}

HranaError HranaSession::PrepareError() const {
  sqlite3* db = connection_.get();
  int code = sqlite3_extended_errcode(db);
  std::string message = sqlite3_errmsg(db);
  if ((code & 0xff) != SQLITE_ERROR || !guard_.refusal().empty()) return RunError();
  for (const char* sign : {"syntax error", "incomplete input", "unrecognized token"}) {
    if (message.find(sign) != std::string::npos) {
      return {"SQL string could not be parsed: " + message, "SQL_PARSE_ERROR", "SQLITE_ERROR"};
    }
  }
#if SQLITE_VERSION_NUMBER >= 3038000
  int offset = sqlite3_error_offset(db);
  if (offset >= 0) message += " (at offset " + std::to_string(offset) + ")";
#endif
  return {"SQL input error: " + message, "SQL_INPUT_ERROR", "SQLITE_ERROR"};
}

HranaError HranaSession::RunError() const {
  sqlite3* db = connection_.get();
  int code = sqlite3_extended_errcode(db);
  if ((code == SQLITE_AUTH || code == SQLITE_ERROR) && !guard_.refusal().empty()) {
    return {"SQLite error: " + guard_.refusal(), "SQLITE_AUTH", "SQLITE_AUTH"};
  }
  // sqld's name for a plain SQLITE_ERROR.
  const char* name = (code & 0xff) == SQLITE_ERROR ? "SQLITE_UNKNOWN" : SqliteCodeName(code);
  return {std::string("SQLite error: ") + sqlite3_errmsg(db), name, SqliteExtendedCodeName(code)};
}

}  // namespace turso
