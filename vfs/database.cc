#include "vfs/database.h"

#include <pthread.h>
#include <sys/stat.h>

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
  std::shared_ptr<Database> database;
  int uses = 0;
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
    if (place->database == nullptr) continue;
    fresh->inherited[path] = true;
    if (place->database->replica != nullptr) place->database->replica->AbandonAfterFork();
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
  Result<std::unique_ptr<WalFiles>> OpenFiles() override { return OpenWalFiles(path_); }
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

}  // namespace

int ForkGeneration() { return g_generation.load(std::memory_order_relaxed); }

std::mutex& RegistryMutex() { return GlobalRegistry()->mutex; }

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
  if (place->database != database_ || --place->uses > 0) return;
  database_->replica->Stop();
  if (checkpoint_wanted_) EmptyLog(database_);
  std::lock_guard registry_lock(GlobalRegistry()->mutex);
  place->database.reset();
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
  if (place->database != nullptr && place->database->file) {
    const std::optional<Footprint> now = FootprintOf(path);
    if (!now || !now->SameFile(*place->database->file)) {
      return Status(Code::kIo, path +
                                   " was replaced while this process has it open: close all "
                                   "connections to it first");
    }
  }
  if (place->database == nullptr) {
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
    Result<std::shared_ptr<Database>> opened = OpenReplicaDatabase(path, existing);
    if (!opened.ok()) return opened.status();
    {
      std::lock_guard registry_lock(GlobalRegistry()->mutex);
      place->database = *opened;
    }
    place->uses = 0;
    try {
      place->database->replica->Start();
    } catch (const std::exception& thrown) {
      std::lock_guard registry_lock(GlobalRegistry()->mutex);
      place->database.reset();
      return Status(Code::kNoMemory, "starting to follow for " + path + ": " + thrown.what());
    }
  }
  const std::string& open_url = place->database->options.url;
  if (!options.provisioned && !options.url.empty() && options.url != open_url) {
    return Status(Code::kInvalid, path + " is open in this process as a replica of " + open_url +
                                      "; close it before it is opened for " + options.url);
  }
  try {
    auto use = std::make_unique<DatabaseUse>(place->database, true);
    place->uses++;
    return use;
  } catch (const std::bad_alloc&) {
    // (DB1) Nobody has it, so nobody would end it.
    if (place->uses == 0) {
      place->database->replica->Stop();
      std::lock_guard registry_lock(GlobalRegistry()->mutex);
      place->database.reset();
    }
    return Status(Code::kNoMemory, "opening " + path + ": out of memory");
  }
}

bool IsOpen(const std::string& path) {
  Registry* registry = GlobalRegistry();
  std::lock_guard lock(registry->mutex);
  if (registry->gated.count(path) != 0) return true;
  auto it = registry->places.find(path);
  return it != registry->places.end() && it->second->database != nullptr;
}

bool IsAnythingOpen() {
  Registry* registry = GlobalRegistry();
  std::lock_guard lock(registry->mutex);
  if (!registry->gated.empty()) return true;
  for (const auto& [path, place] : registry->places) {
    if (place->database != nullptr) return true;
  }
  return false;
}

std::vector<std::shared_ptr<Replica>> ReplicasInUse() {
  Registry* registry = GlobalRegistry();
  std::lock_guard lock(registry->mutex);
  std::vector<std::shared_ptr<Replica>> replicas;
  for (const auto& [path, place] : registry->places) {
    if (place->database != nullptr) replicas.push_back(place->database->replica);
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
