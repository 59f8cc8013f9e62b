#include "vfs/database.h"

#include <pthread.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <new>

#include "src/base/fork_gate.h"
#include "src/replica/sidecar.h"
#include "vfs/gated_file.h"
#include "vfs/internal_connection.h"
#include "vfs/lower.h"
#include "vfs/scratch.h"
#include "vfs/vfs.h"

namespace turso {

namespace {

// One path. Its mutex is held while the replica is made, opened or ended, which may take a network
// wait: other paths go on meanwhile.
struct Place {
  std::mutex mutex;
  // Oldest first. At most one is of the file that has the path now.
  std::vector<std::shared_ptr<Database>> databases;
};

struct Registry {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Place>> places;
  std::map<std::string, std::shared_ptr<Database>> gated;
  std::map<std::string, bool> inherited;  // Open in the parent at the fork.
};

std::atomic<int> g_generation{0};

// Never destroyed: connections may be closed after main() has returned.
Registry*& GlobalRegistry() {
  static Registry* registry = new Registry;
  return registry;
}

void BeforeFork() {
  ForkGate::BeforeFork();
  GlobalRegistry()->mutex.lock();
}
void AfterForkInParent() {
  GlobalRegistry()->mutex.unlock();
  ForkGate::AfterForkInParent();
}

// The parent's threads are gone and its mutexes may be held by nobody: the child leaves all of it
// where it is and starts with an empty registry.
void AfterForkInChild() {
  ForkGate::AfterForkInChild();
  Registry* parents = GlobalRegistry();
  g_generation.fetch_add(1);
  DisownOpenFiles();
  auto* fresh = new Registry;
  fresh->inherited = parents->inherited;
  for (const auto& [path, place] : parents->places) {
    if (place->databases.empty()) continue;
    fresh->inherited[path] = true;
    for (const auto& database : place->databases) database->replica->AbandonAfterFork();
  }
  for (const auto& [path, database] : parents->gated) fresh->inherited[path] = true;
  GlobalRegistry() = fresh;
}

// Only when something is about to be open: loading alone leaves fork() as it was.
void WatchForks() {
  static const int once = pthread_atfork(BeforeFork, AfterForkInParent, AfterForkInChild);
  (void)once;
}

class HostOfReplica : public ReplicaHost {
 public:
  explicit HostOfReplica(std::weak_ptr<Database> database, std::string path)
      : database_(std::move(database)), path_(std::move(path)) {}
  Result<std::unique_ptr<WalFiles>> OpenFiles() override {
    const std::shared_ptr<Database> database = database_.lock();
    if (database != nullptr) TURSO_RETURN_IF_ERROR(CheckInPlace(*database));
    Result<std::unique_ptr<WalFiles>> files = OpenWalFiles(path_);
    // It may have been replaced meanwhile.
    if (database != nullptr && files.ok()) TURSO_RETURN_IF_ERROR(CheckInPlace(*database));
    return files;
  }
  Status RecoverBySqlite() override { return ReadOnce(database_.lock()); }
  Status CheckpointBySqlite() override { return CheckpointOnce(database_.lock()); }
  Result<Found> LookAtDatabase() override { return turso::LookAtDatabase(path_); }
  Result<bool> IsUnused() override { return turso::IsUnused(path_); }
  Status EnterWalMode() override { return turso::EnterWalMode(path_); }
  ScratchMaker* scratch() override { return &scratch_; }

 private:
  std::weak_ptr<Database> database_;
  std::string path_;
  MemoryScratchMaker scratch_;
};

Result<std::shared_ptr<Database>> OpenReplicaDatabase(const std::string& path,
                                                      const Options& options) {
  auto database = std::make_shared<Database>();
  database->path = path;
  database->generation = ForkGeneration();
  Result<std::shared_ptr<Replica>> replica =
      Replica::Open(path, options, std::make_unique<HostOfReplica>(database, path));
  if (!replica.ok()) return replica.status();
  database->replica = *replica;
  database->file = FootprintOf(path);
  database->sidecar = FootprintOf(Sidecar::PathFor(path));
  database->gate = database->replica.get();
  database->options = options;
  if (database->options.url.empty()) database->options.url = options.sidecar_url;
  return database;
}

// As SQLite does with its last close, so that the database file by itself is whole for whoever
// copies it or looks into it then. The log stays, empty: it tells that nobody else had the file.
void EmptyLog(const std::shared_ptr<Database>& database) {
  try {
    struct stat log;
    if (stat((database->path + "-wal").c_str(), &log) != 0 || log.st_size == 0) return;
    // What does not succeed is left for the next one who closes it.
    (void)EmptyLogOnce(database);
  } catch (const std::exception&) {
  }
}

bool IsThere(const std::optional<Footprint>& file, const std::string& path) {
  const std::optional<Footprint> now = FootprintOf(path);
  return file && now && now->SameFile(*file);
}

// The database of the file that has the path now, or null.
std::shared_ptr<Database> FindInPlace(const Place& place) {
  for (const auto& database : place.databases) {
    if (CheckInPlace(*database).ok()) return database;
  }
  return nullptr;
}

// A file that took the place of one that is open here must have come with a sidecar, a log and an
// index of its own: on those of the other it would be read, and written, as what it is not, and in
// one process no lock would keep the two apart.
Status CheckApart(const Place& place, const std::string& path) {
  const bool shares = std::any_of(
      place.databases.begin(), place.databases.end(),
      [&](const auto& other) { return IsThere(other->sidecar, Sidecar::PathFor(path)); });
  if (!shares && !LowerFiles::OthersHaveLogOrIndexOf(path)) return OkStatus();
  return Status(Code::kIo,
                path +
                    " was replaced while this process has it open, and its -wal, -shm or -turso "
                    "was not: close all connections to it first");
}

void Forget(Place* place, const std::shared_ptr<Database>& database) {
  std::lock_guard registry_lock(GlobalRegistry()->mutex);
  std::erase(place->databases, database);
}

// With the place's mutex held.
Result<std::shared_ptr<Database>> OpenInPlace(Place* place, const std::string& path,
                                              const Options& options, Missing missing) {
  if (missing == Missing::kCreate) TURSO_RETURN_IF_ERROR(Replica::Create(path, options));
  // Until it is registered, nobody would close its descriptors in a child.
  ForkGate::Inside inside;
  Options existing = options;
  if (options.provisioned) {
    // Another process may have been first.
    Result<SidecarRecord> record = Sidecar::Peek(Sidecar::PathFor(path));
    if (!record.ok()) return record.status();
    existing.url = record->url;
  }
  TURSO_RETURN_IF_ERROR(CheckApart(*place, path));
  Result<std::shared_ptr<Database>> opened = OpenReplicaDatabase(path, existing);
  if (!opened.ok()) return opened.status();
  {
    std::lock_guard registry_lock(GlobalRegistry()->mutex);
    place->databases.push_back(*opened);
  }
  try {
    (*opened)->replica->Start();
  } catch (const std::exception& thrown) {
    Forget(place, *opened);
    return Status(Code::kNoMemory, "starting to follow for " + path + ": " + thrown.what());
  }
  return opened;
}

}  // namespace

int ForkGeneration() { return g_generation.load(std::memory_order_relaxed); }

std::mutex& RegistryMutex() { return GlobalRegistry()->mutex; }

Status CheckInPlace(const Database& database) {
  if (database.replica == nullptr || IsThere(database.file, database.path)) return OkStatus();
  return Replaced(database.path, database.path);
}

DatabaseUse::~DatabaseUse() {
  // A database of the parent's: its threads and locks are not ours to end.
  if (!counted_ || database_->generation != ForkGeneration()) return;
  std::shared_ptr<Place> place;
  {
    Registry* registry = GlobalRegistry();
    std::lock_guard lock(registry->mutex);
    auto it = registry->places.find(database_->path);
    if (it == registry->places.end()) return;
    place = it->second;
  }
  std::lock_guard lock(place->mutex);
  if (--database_->uses > 0) return;
  database_->replica->Stop();
  if (checkpoint_wanted_) EmptyLog(database_);
  Forget(place.get(), database_);
}

std::unique_ptr<DatabaseUse> UseGated(const std::string& path) {
  Registry* registry = GlobalRegistry();
  std::lock_guard lock(registry->mutex);
  auto it = registry->gated.find(path);
  if (it == registry->gated.end()) return nullptr;
  return std::make_unique<DatabaseUse>(it->second, false);
}

Result<std::unique_ptr<DatabaseUse>> UseReplica(const std::string& path, const Options& options,
                                                Missing missing) {
  WatchForks();
  std::shared_ptr<Place> place;
  {
    Registry* registry = GlobalRegistry();
    std::lock_guard lock(registry->mutex);
    if (registry->inherited.count(path) != 0) {
      return Status(
          Code::kInvalid,
          path +
              ": this replica was open when the process called fork(), so its locks belong to the "
              "parent; close it before the fork and open it afterwards, or exec first");
    }
    std::shared_ptr<Place>& slot = registry->places[path];
    if (slot == nullptr) slot = std::make_shared<Place>();
    place = slot;
  }
  std::lock_guard lock(place->mutex);
  std::shared_ptr<Database> database = FindInPlace(*place);
  if (database == nullptr) {
    Result<std::shared_ptr<Database>> opened = OpenInPlace(place.get(), path, options, missing);
    if (!opened.ok()) return opened.status();
    database = *std::move(opened);
  }
  const std::string& open_url = database->options.url;
  if (!options.provisioned && !options.url.empty() && options.url != open_url) {
    return Status(Code::kInvalid, path + " is open in this process as a replica of " + open_url +
                                      "; close it before it is opened for " + options.url);
  }
  try {
    auto use = std::make_unique<DatabaseUse>(database, true);
    database->uses++;
    return use;
  } catch (const std::bad_alloc&) {
    // (DB1) Nobody has it, so nobody would end it.
    if (database->uses == 0) {
      database->replica->Stop();
      Forget(place.get(), database);
    }
    return Status(Code::kNoMemory, "opening " + path + ": out of memory");
  }
}

bool IsOpen(const std::string& path) {
  std::vector<std::shared_ptr<Database>> databases;
  {
    Registry* registry = GlobalRegistry();
    std::lock_guard lock(registry->mutex);
    if (registry->gated.count(path) != 0) return true;
    auto it = registry->places.find(path);
    if (it != registry->places.end()) databases = it->second->databases;
  }
  return std::any_of(databases.begin(), databases.end(),
                     [](const auto& database) { return CheckInPlace(*database).ok(); });
}

bool IsAnythingOpen() {
  Registry* registry = GlobalRegistry();
  std::lock_guard lock(registry->mutex);
  if (!registry->gated.empty()) return true;
  for (const auto& [path, place] : registry->places) {
    if (!place->databases.empty()) return true;
  }
  return false;
}

std::vector<std::shared_ptr<Replica>> ReplicasInUse() {
  Registry* registry = GlobalRegistry();
  std::lock_guard lock(registry->mutex);
  std::vector<std::shared_ptr<Replica>> replicas;
  for (const auto& [path, place] : registry->places) {
    if (!place->databases.empty()) replicas.push_back(place->databases.back()->replica);
  }
  return replicas;
}

Status RegisterGate(const std::string& path, WriteGate* gate) {
  WatchForks();
  auto database = std::make_shared<Database>();
  database->path = path;
  database->gate = gate;
  database->generation = ForkGeneration();
  Registry* registry = GlobalRegistry();
  std::lock_guard lock(registry->mutex);
  if (!registry->gated.emplace(path, database).second) {
    return Status(Code::kInvalid, path + " has a gate already");
  }
  return OkStatus();
}

void UnregisterGate(const std::string& path) {
  Registry* registry = GlobalRegistry();
  std::lock_guard lock(registry->mutex);
  registry->gated.erase(path);
}

}  // namespace turso
