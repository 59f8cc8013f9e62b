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
  if (auto it = databases_.find(key); it != databases_.end()) return it->second;
  std::string path = PathOf(name);
  if (access(path.c_str(), F_OK) != 0) {
    if (errno != ENOENT) return Status(Code::kIo, path + ": " + std::strerror(errno));
    if (on_missing_ == OnMissing::kRefuse)
      return Status(Code::kNotFound, "there is no database " + key);
    Result<std::string> made = CreateDatabase(directory_, key, content_);
    if (!made.ok()) return made.status();
    Log(LogLevel::kInfo, "created " + path);
  }
  Result<std::shared_ptr<ServedDatabase>> database =
      ServedDatabase::Open(path, &alarm_, &background_);
  if (database.ok()) databases_[key] = *database;
  return database;
}

Result<SqlConnection> Databases::OpenConnection(const std::string& name) {
  Result<std::shared_ptr<ServedDatabase>> database = Get(name);
  if (!database.ok()) return database.status();
  return (*database)->OpenConnection(SqlAccess::kWrite);
}

std::map<std::string, std::shared_ptr<ServedDatabase>> Databases::opened() const {
  std::lock_guard lock(mutex_);
  return databases_;
}

void Databases::StopWaiting() {
  for (const auto& [name, database] : opened()) database->StopWaiting();
}

Status Databases::Stop() {
  std::map<std::string, std::shared_ptr<ServedDatabase>> databases;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    databases = databases_;
  }
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
