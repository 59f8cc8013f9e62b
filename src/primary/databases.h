// The databases that one server serves: DIR/NAME.db and, beside it, DIR/NAME.db-log.
//
// A database is opened when it is first asked for and stays open until Stop(). One that is out of
// service, because its disk was full for example, is opened anew when it is asked for again.
// Names are 1 to 64 characters of A-Z a-z 0-9 _ - and, not first, the full stop.
// Any thread.

#ifndef TURSO_SRC_PRIMARY_DATABASES_H_
#define TURSO_SRC_PRIMARY_DATABASES_H_

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/primary/alarm.h"
#include "src/primary/create_database.h"
#include "src/primary/served_database.h"
#include "src/primary/sql_connections.h"

namespace turso {

// What to do when a database that is not there is asked for.
enum class OnMissing { kRefuse, kCreate };

bool IsDatabaseName(std::string_view name);

class Databases {
 public:
  // kNotFound if `directory` is no directory. `content` is what a database begins with that was
  // missing.
  static Result<std::unique_ptr<Databases>> Open(const std::string& directory, OnMissing on_missing,
                                                 const NewDatabase& content);
  ~Databases();

  // kNotFound if it is not there and none is made; kInvalid for an impossible name; kBusy if
  // another process serves it; kUnavailable after Stop().
  Result<std::shared_ptr<ServedDatabase>> Get(std::string_view name);
  // As OpenSqlConnection (src/primary/sql_connections.h) wants it. Every connection must be closed
  // before Stop().
  Result<SqlConnection> OpenConnection(const std::string& name);
  // Those that have been opened so far, by name.
  std::map<std::string, std::shared_ptr<ServedDatabase>> opened() const;

  // Answers every open question with kUnavailable, so that the server can end its connections.
  // Idempotent.
  void StopWaiting();
  // Leaves every database as an ordinary SQLite file without a WAL. Returns the first failure.
  // Idempotent.
  Status Stop();

 private:
  struct Place {
    std::shared_ptr<ServedDatabase> database;  // Null: it could not be opened anew.
    Status failure;
    Instant retry_at{};
  };

  Databases(std::string directory, OnMissing on_missing, const NewDatabase& content);
  std::string PathOf(std::string_view name) const;
  Result<std::shared_ptr<ServedDatabase>> OpenOrCreate(const std::string& name);

  const std::string directory_;
  const OnMissing on_missing_;
  const NewDatabase content_;
  mutable std::mutex mutex_;
  std::map<std::string, Place> places_;
  // Out of service; SQL connections may be open on them.
  std::vector<std::shared_ptr<ServedDatabase>> retired_;
  bool stopped_ = false;
  // Ends before the databases that it calls.
  Alarm alarm_;
  Alarm background_;
};

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_DATABASES_H_
