// The gated databases that this process has open: one Database for each file, shared by its
// connections. A path has several while connections are open to a replica that was deleted, and to
// the one that was made in its place.
//
//   (DB1) No handle, thread or lock of ours exists for a database that no connection has open.
//   (DB2) After a fork the child refuses the databases that were open at the fork, and no others;
//         nothing that it does with them, closing included, changes anything for the parent.
//   (DB3) What was opened as one file's never opens another one's database, log or index, though
//         they have the names now.
// Any thread.

#ifndef TURSO_VFS_DATABASE_H_
#define TURSO_VFS_DATABASE_H_

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "src/base/status.h"
#include "src/replica/content.h"
#include "src/replica/options.h"
#include "src/replica/replica.h"
#include "src/wal/write_gate.h"

namespace turso {

// How often this process has been forked off from one that had us loaded: an object of another
// generation belongs to the parent.
int ForkGeneration();

// Held across a fork() by whoever forks: what it guards is whole in the child.
std::mutex& RegistryMutex();

struct Database {
  std::string path;
  WriteGate* gate = nullptr;
  std::shared_ptr<Replica> replica;  // Null for a database that was gated with RegisterGate.
  Options options;                   // Of the open that made it.
  int generation = 0;
  int uses = 0;                            // Of its connections; under the path's mutex.
  std::optional<Footprint> file, sidecar;  // Which ones they were when the replica was opened.
};

// kIo if the name of the database leads to another file than the replica's, or to none: (DB3).
Status CheckInPlace(const Database& database);

// Counts as a connection of its database until it goes.
class DatabaseUse {
 public:
  DatabaseUse(std::shared_ptr<Database> database, bool counted)
      : database_(std::move(database)), counted_(counted) {}
  ~DatabaseUse();
  DatabaseUse(const DatabaseUse&) = delete;
  DatabaseUse& operator=(const DatabaseUse&) = delete;

  Database& operator*() const { return *database_; }
  Database* operator->() const { return database_.get(); }
  bool counted() const { return counted_; }
  // If this turns out to be the last use, the log is brought into the database file.
  void set_checkpoint_wanted() { checkpoint_wanted_ = true; }

 private:
  std::shared_ptr<Database> database_;
  bool counted_;
  bool checkpoint_wanted_ = false;
};

// The database that RegisterGate named, or null.
std::unique_ptr<DatabaseUse> UseGated(const std::string& path);
// The replica at `path`, opened, and begun, if this is its first connection; made first if it is
// not there and `missing` is kCreate.
enum class Missing { kRefuse, kCreate };
Result<std::unique_ptr<DatabaseUse>> UseReplica(const std::string& path, const Options& options,
                                                Missing missing);
// Whether the file that has this path is a gated database or an open replica.
bool IsOpen(const std::string& path);
bool IsAnythingOpen();
// Of each path the newest.
std::vector<std::shared_ptr<Replica>> ReplicasInUse();

}  // namespace turso

#endif  // TURSO_VFS_DATABASE_H_
