// Hrana's requests, run on a real SQLite. What a value is sent as is what comes back; a request
// leaves no statement open (HS1), answers in JSON (HS2), and opens no file.
// Input: flags u8 (1: may only read) | values: count u8, each a kind u8 and eight bytes or a text
//        | SQL texts: the rest, each a kind u8 and a text (length u16)

#include <sqlite3.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "src/primary/hrana_session.h"
#include "tests/fuzz/fuzz.h"

namespace turso {

namespace {

using Json = nlohmann::json;

constexpr milliseconds kStatementMax{100};

// SQL can run for ever; ends what takes too long.
class Watchdog {
 public:
  Watchdog() {
    std::thread([this] { Watch(); }).detach();
  }
  void Guard(HranaSession* session) {
    std::lock_guard lock(mutex_);
    session_ = session;
    deadline_ = Instant::Now() + kStatementMax;
    changed_.notify_all();
  }

 private:
  void Watch() {
    std::unique_lock lock(mutex_);
    for (;;) {
      if (session_ == nullptr) {
        changed_.wait(lock);
      } else {
        changed_.wait_for(lock, std::chrono::milliseconds(20));
        if (session_ != nullptr && Instant::Now() >= deadline_) session_->Interrupt();
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  HranaSession* session_ = nullptr;
  Instant deadline_;
};

std::atomic<int> files_opened{0};

// The default VFS, which tells of the files that it opens.
const char* CountingVfs() {
  static sqlite3_vfs vfs = [] {
    sqlite3_vfs counting = *sqlite3_vfs_find(nullptr);
    counting.zName = "counting";
    counting.xOpen = [](sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
      if ((flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_SUPER_JOURNAL)) != 0) ++files_opened;
      sqlite3_vfs* lower = sqlite3_vfs_find("unix");
      return lower->xOpen(lower, name, file, flags, out);
    };
    return counting;
  }();
  static const int registered = sqlite3_vfs_register(&vfs, 0);
  TURSO_REQUIRE(registered == SQLITE_OK);
  return vfs.zName;
}

struct Session {
  sqlite3* db = nullptr;
  std::unique_ptr<HranaSession> session;
};

Session Open(Access access) {
  sqlite3* db = nullptr;
  TURSO_REQUIRE(sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE, CountingVfs()) ==
                SQLITE_OK);
  TURSO_REQUIRE(sqlite3_exec(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b, c UNIQUE)", nullptr,
                             nullptr, nullptr) == SQLITE_OK);
  sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 1 << 20);
  sqlite3_limit(db, SQLITE_LIMIT_WORKER_THREADS, 0);
  HranaSession::Options options;
  options.busy_timeout = milliseconds(0);
  options.result_max = 1 << 20;
  Result<std::unique_ptr<HranaSession>> made =
      HranaSession::Make(SqlConnection(db), access, options);
  TURSO_REQUIRE(made.ok());
  return {db, std::move(*made)};
}

HranaValue TakeValue(fuzz::Input* in) {
  switch (in->U8() % 5) {
    case 0: return HranaValue();
    case 1: return HranaValue(static_cast<int64_t>(in->U64()));
    case 2: {
      const uint64_t bits = in->U64();
      double real = 0;
      std::memcpy(&real, &bits, sizeof real);
      return HranaValue(real);
    }
    case 3: return HranaValue(std::string(in->Text()));
    default: return HranaValue(HranaBlob{std::string(in->Text())});
  }
}

bool IsUtf8(const std::string& text) {
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)) == text;
}

void RequireSame(const HranaValue& sent, const Json& got) {
  if (const auto* integer = std::get_if<int64_t>(&sent)) {
    TURSO_REQUIRE(got.at("type") == "integer" && got.at("value") == std::to_string(*integer));
  } else if (const auto* real = std::get_if<double>(&sent)) {
    if (*real != *real) {  // SQLite stores NaN as NULL.
      TURSO_REQUIRE(got.at("type") == "null");
    } else {
      const double value = got.at("value").get<double>();
      TURSO_REQUIRE(got.at("type") == "float" && std::memcmp(&value, real, sizeof value) == 0);
    }
  } else if (const auto* text = std::get_if<std::string>(&sent)) {
    TURSO_REQUIRE(got.at("type") == "text" && got.at("value") == *text);
  } else if (const auto* blob = std::get_if<HranaBlob>(&sent)) {
    TURSO_REQUIRE(got.at("type") == "blob");
    TURSO_REQUIRE(DecodeBase64(got.at("base64").get<std::string>()) == blob->bytes);
  } else {
    TURSO_REQUIRE(got.at("type") == "null");
  }
}

// Infinity is a number beyond JSON's, and written as one that is too large for a double.
bool IsInfinite(const HranaValue& value) {
  const auto* real = std::get_if<double>(&value);
  return real != nullptr && (*real - *real != 0) && *real == *real;
}

void CheckValues(HranaSession* session, const std::vector<HranaValue>& values) {
  HranaRequest request;
  request.type = HranaRequest::Type::kExecute;
  std::string sql = "SELECT 0";
  bool plain = true;
  bool utf8 = true;
  for (const HranaValue& value : values) {
    sql += ",?";
    plain = plain && !IsInfinite(value);
    if (const auto* text = std::get_if<std::string>(&value)) utf8 = utf8 && IsUtf8(*text);
  }
  request.statement.sql.text = sql;
  request.statement.args = values;
  Result<std::string> answer = session->Run(request);
  TURSO_REQUIRE(answer.ok());
  if (!plain) return;
  const Json json = Json::parse(*answer, nullptr, false);
  TURSO_REQUIRE_OF(json.is_object(), *answer);
  TURSO_REQUIRE(json.at("type") == (utf8 ? "ok" : "error"));
  if (!utf8) return;
  const Json& row = json.at("response").at("result").at("rows").at(0);
  for (size_t i = 0; i < values.size(); i++) RequireSame(values[i], row.at(i + 1));
}

void CheckSql(Session* open, fuzz::Input* in, Access access) {
  static auto* watchdog = new Watchdog;
  using Type = HranaRequest::Type;
  static constexpr Type kTypes[] = {Type::kExecute, Type::kSequence, Type::kDescribe, Type::kBatch};
  const int opened_before = files_opened;
  for (int n = 0; n < 8 && !in->empty(); n++) {
    HranaRequest request;
    request.type = kTypes[in->U8() % 4];
    request.statement.sql.text = std::string(in->Text());
    if (request.type == Type::kBatch) {
      request.steps.resize(1);
      request.steps[0].statement = request.statement;
    }
    watchdog->Guard(open->session.get());
    Result<std::string> answer = open->session->Run(request);
    watchdog->Guard(nullptr);
    TURSO_REQUIRE(answer.ok());
    TURSO_REQUIRE(sqlite3_next_stmt(open->db, nullptr) == nullptr);
    if (answer->find("1e999") == std::string::npos)
      TURSO_REQUIRE_OF(!Json::parse(*answer, nullptr, false).is_discarded(), *answer);
  }
  TURSO_REQUIRE(files_opened == opened_before);
  if (access == Access::kRead) TURSO_REQUIRE(sqlite3_total_changes(open->db) == 0);
}

}  // namespace
}  // namespace turso

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turso;
  fuzz::Input in({data, size});
  const Access access = (in.U8() & 1) != 0 ? Access::kRead : Access::kWrite;
  Session session = Open(access);
  std::vector<HranaValue> values(in.U8() % 32);
  for (HranaValue& value : values) value = TakeValue(&in);
  CheckValues(session.session.get(), values);
  CheckSql(&session, &in, access);
  return 0;
}
