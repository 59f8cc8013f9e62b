#include "extension/functions.h"

#include <algorithm>
#include <charconv>
#include <new>
#include <string_view>
#include <utility>
#include <variant>

#include "extension/turso_vfs.h"
#include "vfs/guarded.h"
#include "vfs/result_codes.h"
#include "vfs/vfs.h"

namespace turso {
namespace {

constexpr Duration kWaitDefault = seconds(10);
constexpr int64_t kWaitMillisecondsMax = int64_t{365} * 24 * 3600 * 1000;

using Value = std::variant<std::monostate, int64_t, std::string>;  // NULL, INTEGER, TEXT

struct Request {
  Replica* replica = nullptr;  // Null only for a question of any database.
  std::optional<WalPosition> snapshot;
  Interrupted interrupted;
  Revision revision;                // turso_wait
  Duration timeout = kWaitDefault;  // turso_wait
};

Value Text(const Revision& revision) { return std::string(revision.text()); }

Result<Value> Version(const Request&) { return Value(std::string(TURSO_VFS_VERSION)); }

Result<Value> Sync(const Request& request) {
  Result<Revision> reached = request.replica->Sync(request.interrupted);
  if (!reached.ok()) return reached.status();
  return Text(*reached);
}

Result<Value> RevisionOfSnapshot(const Request& request) {
  Result<Revision> revision = request.snapshot ? request.replica->RevisionAt(*request.snapshot)
                                               : request.replica->CurrentRevision();
  if (!revision.ok()) return revision.status();
  return Text(*revision);
}

Result<Value> Wait(const Request& request) {
  Result<bool> there =
      request.replica->WaitFor(request.revision, request.timeout, request.interrupted);
  if (!there.ok()) return there.status();
  return Value(int64_t{*there});
}

Result<Value> Lag(const Request& request) {
  std::optional<Duration> lag = request.replica->Lag();
  if (!lag) return Value();
  return Value(int64_t{std::chrono::duration_cast<milliseconds>(*lag).count()});
}

Result<Value> LastError(const Request& request) {
  std::optional<std::string> error =
      request.replica != nullptr ? request.replica->LastError() : LastOpenError();
  if (!error) return Value();
  return Value(*std::move(error));
}

enum class Takes { kNothing, kRevision };
enum class Of { kReplica, kAnyDatabase };

struct Question {
  const char* name;
  Takes takes;
  Of of;
  int flags;
  Result<Value> (*answer)(const Request&);
};

constexpr Question kQuestions[] = {
    {"turso_version", Takes::kNothing, Of::kAnyDatabase, SQLITE_INNOCUOUS, Version},
    {"turso_sync", Takes::kNothing, Of::kReplica, SQLITE_DIRECTONLY, Sync},
    {"turso_revision", Takes::kNothing, Of::kReplica, SQLITE_INNOCUOUS, RevisionOfSnapshot},
    {"turso_wait", Takes::kRevision, Of::kReplica, SQLITE_DIRECTONLY, Wait},
    {"turso_lag", Takes::kNothing, Of::kReplica, SQLITE_INNOCUOUS, Lag},
    {"turso_last_error", Takes::kNothing, Of::kAnyDatabase, 0, LastError},
};

Status Invalid(std::string text) { return Status(Code::kInvalid, std::move(text)); }

Status SetRevision(std::string_view text, Request* request) {
  std::optional<Revision> revision = Revision::Parse(text);
  if (!revision || revision->empty()) {
    return Invalid("\"" + std::string(text.substr(0, 100)) +
                   "\" is no revision; one is what turso_revision or turso_sync answers");
  }
  request->revision = *revision;
  return OkStatus();
}

Status SetTimeout(int64_t timeout_ms, Request* request) {
  if (timeout_ms < 0) return Invalid("the timeout is negative; it is a number of milliseconds");
  request->timeout = milliseconds(std::min(timeout_ms, kWaitMillisecondsMax));
  return OkStatus();
}

// ---- Functions

std::string TextOf(sqlite3_value* value) {
  // The order matters: the bytes are those of the text that the first call made.
  const unsigned char* text = sqlite3_value_text(value);
  if (text == nullptr) throw std::bad_alloc();  // Callers have asked for NULL before.
  return {reinterpret_cast<const char*>(text), static_cast<size_t>(sqlite3_value_bytes(value))};
}

bool IsNull(sqlite3_value* value) { return sqlite3_value_type(value) == SQLITE_NULL; }

bool IsNumber(sqlite3_value* value) {
  const int type = sqlite3_value_numeric_type(value);
  return type == SQLITE_INTEGER || type == SQLITE_FLOAT;
}

struct Arguments {
  Request request;
  std::string schema = "main";
};

// turso_wait(revision[, timeout_ms][, schema]): a second of two arguments is the timeout if it is a
// number, or text that is one, as some drivers bind it.
Status ReadArguments(const Question& question, int count, sqlite3_value** values, Arguments* out) {
  int next = 0;
  if (question.takes == Takes::kRevision) {
    if (IsNull(values[next])) return Invalid("the revision is NULL");
    TURSO_RETURN_IF_ERROR(SetRevision(TextOf(values[next++]), &out->request));
    const bool both = count == 3;
    if (next < count && IsNumber(values[next])) {
      TURSO_RETURN_IF_ERROR(SetTimeout(sqlite3_value_int64(values[next++]), &out->request));
    } else if (both && IsNull(values[next])) {
      ++next;
    } else if (both) {
      return Invalid("the timeout is no number of milliseconds");
    }
  }
  if (next < count && !IsNull(values[next])) out->schema = TextOf(values[next]);
  return OkStatus();
}

// "temp" is always there, though SQLite makes it only when it is needed.
bool HasSchema(sqlite3* db, const std::string& schema) {
  return sqlite3_stricmp(schema.c_str(), "temp") == 0 ||
         sqlite3_db_readonly(db, schema.c_str()) >= 0;
}

Result<Value> Answer(const Question& question, sqlite3* db, int count, sqlite3_value** values) {
  Arguments arguments;
  TURSO_RETURN_IF_ERROR(ReadArguments(question, count, values, &arguments));
  const std::string& schema = arguments.schema;
  if (!HasSchema(db, schema)) return Invalid("no such schema: " + schema);
  Request& request = arguments.request;
  std::shared_ptr<Replica> kept;
  if (std::optional<OpenReplica> open = FindReplica(db, schema.c_str())) {
    kept = std::move(open->replica);
    request.replica = kept.get();
    request.snapshot = open->snapshot;
    request.interrupted = InterruptedBy(db);
  } else if (question.of == Of::kReplica) {
    return Invalid(schema + " is not a replica");
  }
  return question.answer(request);
}

// Inside a transaction SQLite answers these two by rolling it back; that a question has no answer
// is no reason to.
int CodeOfAnswer(sqlite3_context* context, const Status& status) {
  const int code = SqliteCode(status);
  const int primary_code = code & 0xff;
  if (primary_code != SQLITE_IOERR && primary_code != SQLITE_FULL) return code;
  const bool in_transaction = sqlite3_get_autocommit(sqlite3_context_db_handle(context)) == 0;
  return in_transaction ? SQLITE_CANTOPEN : code;
}

void Fail(sqlite3_context* context, const Status& status) {
  sqlite3_result_error(context, status.text().c_str(), -1);
  // After the text: it keeps a text that is there.
  sqlite3_result_error_code(context, CodeOfAnswer(context, status));
}

void Succeed(sqlite3_context* context, const Value& value) {
  if (const int64_t* number = std::get_if<int64_t>(&value)) {
    sqlite3_result_int64(context, *number);
  } else if (const std::string* text = std::get_if<std::string>(&value)) {
    sqlite3_result_text(context, text->c_str(), static_cast<int>(text->size()), SQLITE_TRANSIENT);
  } else {
    sqlite3_result_null(context);
  }
}

template <void (*body)(sqlite3_context*, int, sqlite3_value**)>
void Function(sqlite3_context* context, int count, sqlite3_value** values) noexcept {
  const int rc = Guarded(SQLITE_ERROR, [&] {
    body(context, count, values);
    return SQLITE_OK;
  });
  if (rc != SQLITE_OK) sqlite3_result_error_code(context, rc);
}

void AnswerFunction(sqlite3_context* context, int count, sqlite3_value** values) {
  const auto& question = *static_cast<const Question*>(sqlite3_user_data(context));
  Result<Value> answer = Answer(question, sqlite3_context_db_handle(context), count, values);
  if (!answer.ok()) return Fail(context, answer.status().While(question.name));
  Succeed(context, *answer);
}

// turso_replica(path, url): the path, when the replica is there.
void MakeReplicaFunction(sqlite3_context* context, int, sqlite3_value** values) {
  constexpr const char* kName = "turso_replica";
  if (IsNull(values[0])) return Fail(context, Invalid("the path is NULL").While(kName));
  if (IsNull(values[1])) return Fail(context, Invalid("the url is NULL").While(kName));
  const std::string path = TextOf(values[0]);
  const Status made = MakeReplica(path, TextOf(values[1]));
  if (!made.ok()) return Fail(context, made.While(kName));
  Succeed(context, path);
}

// turso_default(): what the other entry point does, for hosts that cannot name one.
void MakeDefaultFunction(sqlite3_context* context, int, sqlite3_value**) {
  const int rc = RegisterVfs(Default::kYes);
  if (rc != SQLITE_OK) return sqlite3_result_error_code(context, rc);
  Succeed(context, int64_t{1});
}

// ---- Pragmas

char LowerCase(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool SameName(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, LowerCase, LowerCase);
}

// "REVISION" or "REVISION MILLISECONDS"
Status ReadWaitArgument(std::string_view argument, Request* request) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const auto skip_blanks = [&] {
    argument.remove_prefix(std::min(argument.find_first_not_of(kBlanks), argument.size()));
  };
  skip_blanks();
  const std::string_view revision = argument.substr(0, argument.find_first_of(kBlanks));
  TURSO_RETURN_IF_ERROR(SetRevision(revision, request));
  argument.remove_prefix(revision.size());
  skip_blanks();
  argument = argument.substr(0, argument.find_last_not_of(kBlanks) + 1);
  if (argument.empty()) return OkStatus();
  int64_t timeout_ms = 0;
  const auto [end, error] = std::from_chars(argument.begin(), argument.end(), timeout_ms);
  if (error == std::errc::result_out_of_range && argument.front() != '-') {
    timeout_ms = kWaitMillisecondsMax;
  } else if (error != std::errc() || end != argument.end()) {
    return Invalid("\"" + std::string(argument) + "\" is no number of milliseconds");
  }
  return SetTimeout(timeout_ms, request);
}

Status ReadPragmaArgument(const Question& question, const char* argument, Request* request) {
  if (question.takes == Takes::kNothing) {
    return argument == nullptr ? OkStatus() : Invalid("takes no argument");
  }
  if (argument == nullptr) return Invalid("takes a revision: PRAGMA turso_wait='REVISION 500'");
  return ReadWaitArgument(argument, request);
}

std::string AsText(const Value& value) {
  if (const int64_t* number = std::get_if<int64_t>(&value)) return std::to_string(*number);
  const std::string* text = std::get_if<std::string>(&value);
  return text != nullptr ? *text : std::string();
}

}  // namespace

std::optional<Result<std::string>> AnswerPragma(Replica* replica,
                                                const std::optional<WalPosition>& snapshot,
                                                const char* name, const char* argument,
                                                const Interrupted& interrupted) {
  const auto* question = std::ranges::find_if(
      kQuestions, [name](const Question& q) { return SameName(q.name, name); });
  if (question == std::end(kQuestions)) return std::nullopt;
  Request request;
  request.replica = replica;
  request.snapshot = snapshot;
  request.interrupted = interrupted;
  const Status read = ReadPragmaArgument(*question, argument, &request);
  if (!read.ok()) return Result<std::string>(read.While(question->name));
  Result<Value> answer = question->answer(request);
  if (!answer.ok()) return Result<std::string>(answer.status().While(question->name));
  return Result<std::string>(AsText(*answer));
}

int AddFunctions(sqlite3* db) noexcept {
  for (const Question& question : kQuestions) {
    const int least = question.takes == Takes::kRevision ? 1 : 0;
    const int most = question.takes == Takes::kRevision ? 3 : 1;
    for (int count = least; count <= most; ++count) {
      const int rc = sqlite3_create_function_v2(
          db, question.name, count, SQLITE_UTF8 | question.flags, const_cast<Question*>(&question),
          Function<AnswerFunction>, nullptr, nullptr, nullptr);
      if (rc != SQLITE_OK) return rc;
    }
  }
  const int rc =
      sqlite3_create_function_v2(db, "turso_default", 0, SQLITE_UTF8 | SQLITE_DIRECTONLY, nullptr,
                                 Function<MakeDefaultFunction>, nullptr, nullptr, nullptr);
  if (rc != SQLITE_OK) return rc;
  return sqlite3_create_function_v2(db, "turso_replica", 2, SQLITE_UTF8 | SQLITE_DIRECTONLY,
                                    nullptr, Function<MakeReplicaFunction>, nullptr, nullptr,
                                    nullptr);
}

}  // namespace turso
