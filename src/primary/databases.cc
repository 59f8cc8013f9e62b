#include "src/primary/databases.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "src/base/log.h"

namespace turso {

namespace {
constexpr size_t kNameMax = 64;
// Each try reads the log and syncs.
constexpr Duration kRetryAfter = milliseconds(250);
}  // namespace

bool IsDatabaseName(std::string_view name) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
  return !name.empty() && name.size() <= kNameMax && name[0] != '.' &&
         name.find_first_not_of(kAllowed) == name.npos;
}

Result<std::unique_ptr<Databases>> Databases::Open(const std::string& directory,
                                                   OnMissing on_missing,
                                                   const NewDatabase& content) {
  // The VFS knows databases by their full name, without symbolic links.
  char full[PATH_MAX];
  if (realpath(directory.c_str(), full) == nullptr) {
    return Status(Code::kNotFound, directory + ": " + std::strerror(errno));
  }
  return std::unique_ptr<Databases>(new Databases(full, on_missing, content));
}

Databases::Databases(std::string directory, OnMissing on_missing, const NewDatabase& content)
    : directory_(std::move(directory)), on_missing_(on_missing), content_(content) {}

Databases::~Databases() {
  StopWaiting();
  // Tasks may hold the last use of a database.
  alarm_.Stop();
  background_.Stop();
}

std::string Databases::PathOf(std::string_view name) const {
  return directory_ + "/" + std::string(name) + ".db";
}

Result<std::shared_ptr<ServedDatabase>> Databases::Get(std::string_view name) {
  if (!IsDatabaseName(name))
    return Status(Code::kInvalid, "\"" + std::string(name) + "\" is no name of a database");
  std::lock_guard lock(mutex_);
  if (stopped_) return Status(Code::kUnavailable, "the server is stopping");
  std::string key(name);
  auto it = places_.find(key);
  if (it == places_.end()) {
    Result<std::shared_ptr<ServedDatabase>> database = OpenOrCreate(key);
    if (database.ok()) places_[key].database = *database;
    return database;
  }
  Place& place = it->second;
  if (place.database && !place.database->OutOfService()) return place.database;
  const Instant now = Instant::Now();
  if (now < place.retry_at) return place.database ? Result(place.database) : place.failure;
  place.retry_at = now + kRetryAfter;
  if (place.database) {
    if (!place.database->LetGo()) return place.database;
    retired_.push_back(std::move(place.database));
    place.database.reset();
  }
  Result<std::shared_ptr<ServedDatabase>> database =
      ServedDatabase::Open(PathOf(name), &alarm_, &background_);
  if (database.ok()) {
    Log(LogLevel::kWarning, PathOf(name) + ": in service again");
    place.database = *database;
  } else {
    place.failure = Status(Code::kUnavailable, database.status().text());
  }
  return place.database ? Result(place.database) : place.failure;
}

Result<std::shared_ptr<ServedDatabase>> Databases::OpenOrCreate(const std::string& name) {
  const std::string path = PathOf(name);
  if (access(path.c_str(), F_OK) != 0) {
    if (errno != ENOENT) return Status(Code::kIo, path + ": " + std::strerror(errno));
    if (on_missing_ == OnMissing::kRefuse)
      return Status(Code::kNotFound, "there is no database " + name);
    Result<std::string> made = CreateDatabase(directory_, name, content_);
    if (!made.ok()) return made.status();
    Log(LogLevel::kInfo, "created " + path);
  }
  return ServedDatabase::Open(path, &alarm_, &background_);
}

Result<SqlConnection> Databases::OpenConnection(const std::string& name) {
  Result<std::shared_ptr<ServedDatabase>> database = Get(name);
  if (!database.ok()) return database.status();
  return (*database)->OpenConnection(SqlAccess::kWrite);
}

std::map<std::string, std::shared_ptr<ServedDatabase>> Databases::opened() const {
  std::lock_guard lock(mutex_);
  std::map<std::string, std::shared_ptr<ServedDatabase>> databases;
  for (const auto& [name, place] : places_) {
    if (place.database) databases[name] = place.database;
  }
  return databases;
}

void Databases::StopWaiting() {
  for (const auto& [name, database] : opened()) database->StopWaiting();
}

Status Databases::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  const std::map<std::string, std::shared_ptr<ServedDatabase>> databases = opened();
  for (const auto& [name, database] : databases) database->StopWaiting();
  // No checkpoint is under way when the databases close.
  alarm_.Stop();
  background_.Stop();
  Status first;
  for (const auto& [name, database] : databases) {
    Status status = database->Stop();
    if (status.ok()) continue;
    Log(LogLevel::kError, "stopping " + name + ": " + status.text());
    if (first.ok()) first = status;
  }
  return first;
}

}  // namespace turso
