// One SQLite connection, used by somebody on the network: runs Hrana's requests, and keeps them
// inside the database.
//
// What a request may not do, whatever its token: reach another file (ATTACH, VACUUM INTO), load
// code, change how the database is kept or how much of the process it takes (the PRAGMAs that do).
// A session for reading writes nothing.
//   (HS1) A request leaves no statement open.
//   (HS2) Results are JSON, complete in themselves; what fails inside is an error in the result.
// One thread at a time, except Interrupt().

#ifndef TURSO_SRC_PRIMARY_HRANA_SESSION_H_
#define TURSO_SRC_PRIMARY_HRANA_SESSION_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/primary/access.h"
#include "src/primary/hrana_guard.h"
#include "src/primary/hrana_request.h"
#include "src/primary/sql_connections.h"

namespace turso {

// Why a statement failed. `code` is what sqld says for it; `extended_code` is SQLite's own name,
// where it has one.
struct HranaError {
  std::string message;
  std::string code;
  std::string extended_code;
};

// {"message": …, "code": …, "extended_code": …}
std::string HranaErrorJson(const HranaError& error);

class HranaSession {
 public:
  struct Options {
    milliseconds busy_timeout{5000};
    // The results of one request may take this many bytes of JSON.
    size_t result_max = size_t{64} << 20;
  };

  // Prepares `connection` for use from the network.
  static Result<std::unique_ptr<HranaSession>> Make(SqlConnection connection, Access access,
                                                    const Options& options);

  // The result of any request but `close`: {"type":"ok","response":…} or
  // {"type":"error","error":…}. kInvalid if the request breaks the protocol: nothing more may then
  // run on this session.
  Result<std::string> Run(const HranaRequest& request);
  // Runs a batch and gives its results as the entries of a cursor, a line each.
  Result<std::string> RunCursor(const HranaRequest& request);

  // Calls `blocked` now and then while a statement waits for somebody else's lock. It must not use
  // this session.
  void OnBlocked(std::function<void()> blocked) { blocked_ = std::move(blocked); }
  // Whether a transaction is open that keeps others from writing.
  bool IsWriting() const;

  // Makes what runs now, and all that is asked for later, fail with SQLITE_INTERRUPT. Any thread.
  void Interrupt();

 private:
  enum class Step { kSkipped, kOk, kError };
  static int OnBusy(void* self, int tries);
  static int OnProgress(void* self);
  struct Prepared;

  HranaSession(SqlConnection connection, Access access, const Options& options);

  Result<std::string> Text(const HranaSql& sql) const;
  Status CheckStored(const HranaRequest& request) const;
  bool Holds(const HranaCondition& condition, const std::vector<Step>& steps) const;

  Result<std::string> RunExecute(const HranaStatement& statement);
  Result<std::string> RunBatch(const HranaRequest& request);
  Result<std::string> RunOnText(const HranaRequest& request);
  std::optional<HranaError> Execute(const HranaStatement& statement, const std::string& sql,
                                    std::string* out);
  std::optional<HranaError> Sequence(std::string_view sql);
  std::optional<HranaError> Describe(std::string_view sql, std::string* out);
  std::optional<HranaError> Store(int32_t id, const std::string& sql);

  // The first statement of `sql`; none if there is only white space.
  std::optional<HranaError> PrepareFirst(std::string_view sql, Prepared* prepared);
  // The only statement of `sql`.
  std::optional<HranaError> PrepareOnly(std::string_view sql, Prepared* prepared);
  std::optional<HranaError> CheckMayRun(const Prepared& prepared) const;
  std::optional<HranaError> Bind(const HranaStatement& statement, sqlite3_stmt* stmt) const;
  // How a row is written: before the first, before each other one, after each.
  struct RowStyle {
    const char* first;
    const char* next;
    const char* end;
  };
  struct Ran;
  std::optional<HranaError> PrepareAndBind(const HranaStatement& statement, const std::string& sql,
                                           Prepared* prepared);
  std::optional<HranaError> StepThrough(const Prepared& prepared, const HranaStatement& statement,
                                        const RowStyle& style, Ran* ran);
  void AppendCursorStep(const HranaStep& step, size_t index, Step* outcome, std::string* out);
  HranaError PrepareError() const;
  HranaError RunError() const;

  const Access access_;
  const Options options_;
  // Outlives the connection, which calls it.
  HranaGuard guard_;
  SqlConnection connection_;
  std::map<int32_t, std::string> stored_;
  // BEGIN TRANSACTION READONLY was said, and its transaction is still open.
  bool read_transaction_ = false;
  std::atomic<bool> interrupted_{false};
  Instant busy_since_;
  std::function<void()> blocked_;
};

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_HRANA_SESSION_H_
