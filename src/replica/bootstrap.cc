#include "src/replica/bootstrap.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <thread>
#include <vector>

#include "src/base/log.h"
#include "src/remote/introduce.h"
#include "src/replica/database_writer.h"
#include "src/replica/identity.h"
#include "src/replica/local_file.h"
#include "src/replica/replica.h"
#include "src/replica/sidecar.h"

namespace turso {

namespace {

using Opener = std::function<Result<Introduction>(const std::string& url, const Call& call)>;

enum class Stage { kNothing, kHalfMade, kReady, kSpoiled };

struct Found {
  Stage stage = Stage::kNothing;
  std::optional<SidecarRecord> record;
  bool empty_file = false;  // As mkstemp() leaves one: it may be replaced.
};

bool HasContent(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && st.st_size > 0;
}

// Looks by name only: opening a database by hand, and closing it again, would drop the locks that
// SQLite has on it in this process (https://sqlite.org/howtocorrupt.html, 2.2).
Result<Found> LookAt(const std::string& database) {
  struct stat st;
  const bool is_there = ::stat(database.c_str(), &st) == 0;
  if (!is_there && errno != ENOENT) return FileError("looking at", database, errno);
  const bool is_empty = is_there && S_ISREG(st.st_mode) && st.st_size == 0 &&
                        !HasContent(database + "-wal") && !HasContent(database + "-journal");

  Found found;
  found.empty_file = is_empty;
  const std::string sidecar = Sidecar::PathFor(database);
  Result<SidecarRecord> record = Sidecar::Peek(sidecar);
  if (record.ok()) {
    found.stage = is_there && !is_empty ? Stage::kReady : Stage::kHalfMade;
    found.record = std::move(*record);
    return found;
  }
  if (record.status().code() != Code::kNotFound) return record.status();
  if (!is_there || is_empty) return found;
  if (IsMarked(database)) {
    return Status(Code::kInvalid,
                  database + " is a replica whose " + sidecar +
                      " is missing: put that back, or move the database away to have it made anew");
  }
  return Status(Code::kInvalid,
                database +
                    " is an ordinary SQLite database (or another file); it is never turned into a "
                    "replica: give the replica another name, or move this file away");
}

// The lock file is removed by whoever is done, so that nothing stays behind: a lock counts only
// while its file still has the name.
class CreationLock {
 public:
  static Result<CreationLock> Take(const std::string& database, Duration patience);
  CreationLock(CreationLock&& other) noexcept
      : path_(std::exchange(other.path_, {})), fd_(std::move(other.fd_)) {}
  ~CreationLock() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }

  // Lets those who wait see that something happens.
  void Touch() {
    const Instant now = Instant::Now();
    if (now - touched_ < milliseconds(50)) return;
    touched_ = now;
    ::futimens(fd_.get(), nullptr);
  }

 private:
  CreationLock(std::string path, OwnedFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::string path_;
  OwnedFd fd_;
  Instant touched_;
};

Result<CreationLock> CreationLock::Take(const std::string& database, Duration patience) {
  const std::string path = database + "-turso-lock";
  Instant deadline = Instant::Now() + patience;
  struct timespec last_seen = {};
  for (;;) {
    Result<OwnedFd> fd = OpenFile(path, O_RDWR | O_CREAT);
    if (!fd.ok()) return fd.status().While("making the replica " + database);
    Result<bool> locked = TryLockByte(fd->get(), path, 0);
    if (!locked.ok()) return locked.status();
    if (*locked && IsFileAt(fd->get(), path)) return CreationLock(path, std::move(*fd));
    if (*locked) continue;

    struct stat st;
    const Instant now = Instant::Now();
    if (::fstat(fd->get(), &st) == 0 &&
        (st.st_mtim.tv_sec != last_seen.tv_sec || st.st_mtim.tv_nsec != last_seen.tv_nsec)) {
      last_seen = st.st_mtim;
      deadline = now + patience;
    }
    if (now >= deadline) {
      return Status(Code::kBusy, "another process is making the replica " + database +
                                     " and seems to get nowhere: it has " + path);
    }
    std::this_thread::sleep_for(milliseconds(5));
  }
}

// With the lock held, whoever made these is dead.
void RemoveLeftovers(const std::string& database) {
  const std::string directory = DirectoryOf(database);
  const std::string name = database.substr(database.rfind('/') + 1);
  const std::string starts[] = {name + TemporaryFile::kMark,
                                Sidecar::PathFor(name) + TemporaryFile::kMark};
  DIR* listing = ::opendir(directory.c_str());
  if (listing == nullptr) return;
  std::vector<std::string> leftovers;
  while (const dirent* entry = ::readdir(listing)) {
    const std::string_view found = entry->d_name;
    for (const std::string& start : starts) {
      if (found.substr(0, start.size()) == start)
        leftovers.push_back(directory + "/" + entry->d_name);
    }
  }
  ::closedir(listing);
  for (const std::string& leftover : leftovers) ::unlink(leftover.c_str());
}

// (B3) With its log, so that SQLite reads both under the new name.
Status SetDatabaseAside(const std::string& database) {
  const std::string aside = database + ".aside-" + UtcStamp() + "-" + std::to_string(::getpid());
  if (!HasContent(database) && !HasContent(database + "-wal")) {
    if (::unlink(database.c_str()) == 0 || errno == ENOENT) return OkStatus();
    return FileError("removing", database, errno);
  }
  for (const char* suffix : {"", "-wal", "-journal"}) {
    if (::rename((database + suffix).c_str(), (aside + suffix).c_str()) != 0 && errno != ENOENT)
      return FileError("setting aside", database + suffix, errno);
  }
  Log(LogLevel::kWarning, database + " is kept as " + aside);
  return OkStatus();
}

// (B3) SQLite deletes a log that it finds without a database. What is in it may be somebody's last
// copy, so it is kept.
Status SetLogsAside(const std::string& database) {
  for (const char* suffix : {"-wal", "-journal"}) {
    const std::string log = database + suffix;
    if (!HasContent(log)) {
      if (::unlink(log.c_str()) != 0 && errno != ENOENT) return FileError("removing", log, errno);
      continue;
    }
    const std::string aside = log + ".aside-" + UtcStamp() + "-" + std::to_string(::getpid());
    if (::rename(log.c_str(), aside.c_str()) != 0) return FileError("setting aside", log, errno);
    Log(LogLevel::kWarning, log + " was there without its database: it is kept as " + aside);
  }
  const std::string index = database + "-shm";
  if (::unlink(index.c_str()) != 0 && errno != ENOENT) return FileError("removing", index, errno);
  return OkStatus();
}

// An empty log belongs to a replica from the start: nobody who opens it through us ever removes it,
// so one that is missing later tells that somebody else had the file.
Status MakeEmptyLog(const std::string& database, const std::string& model) {
  const std::string log = database + "-wal";
  Result<OwnedFd> made = OpenFile(log, O_WRONLY | O_CREAT);
  if (!made.ok()) return made.status();
  return CopyOwnerAndMode(made->get(), log, model);
}

// Takes back what has its final name, the database first (B1), unless all went well.
Status PutInPlace(const std::string& database, const Found& found, const SidecarRecord& record,
                  TemporaryFile* file) {
  const std::string sidecar = Sidecar::PathFor(database);
  if (found.stage == Stage::kSpoiled) TURSO_RETURN_IF_ERROR(SetDatabaseAside(database));
  TURSO_RETURN_IF_ERROR(SetLogsAside(database));
  // One without a database has nothing to say. It is replaced and not overwritten: a process that
  // still has it open, with a database that was deleted, keeps to itself.
  const bool has_sidecar = found.stage == Stage::kHalfMade || found.stage == Stage::kSpoiled;
  if (has_sidecar && ::unlink(sidecar.c_str()) != 0 && errno != ENOENT) {
    return FileError("replacing", sidecar, errno);
  }
  TURSO_RETURN_IF_ERROR(Sidecar::Create(sidecar, file->path(), record));
  Status placed = MakeEmptyLog(database, file->path());
  if (placed.ok() && found.empty_file && !HasContent(database) && ::unlink(database.c_str()) != 0 &&
      errno != ENOENT) {
    placed = FileError("replacing", database, errno);
  }
  if (placed.ok()) placed = file->PutInPlace();
  if (placed.ok()) {
    placed = SyncDirectoryOf(database);
    if (!placed.ok()) ::unlink(database.c_str());
  }
  if (!placed.ok()) {
    ::unlink((database + "-wal").c_str());
    ::unlink(sidecar.c_str());
  }
  return placed;
}

Status Build(const std::string& database, const std::string& url, const Found& found,
             const Opener& open, CreationLock* lock, const Call& call) {
  Result<Introduction> primary = open(url, call);
  if (!primary.ok()) return primary.status();
  const Identity& identity = primary->identity;
  if (found.record && found.record->url != url &&
      found.record->database_id != identity.database_id) {
    return Status(Code::kInvalid,
                  Sidecar::PathFor(database) + " names the primary " + found.record->url +
                      ", and at " + url +
                      " is another database: remove that file if the replica is to be of " + url);
  }
  if (found.stage == Stage::kSpoiled && found.record->database_id != identity.database_id) {
    return Status(Code::kInvalid, "another database is there now (" + identity.database_id +
                                      "); nothing was changed: move " + database +
                                      " away to have a replica of that one under this name");
  }
  Result<TemporaryFile> file = TemporaryFile::CreateFor(database);
  if (!file.ok()) return file.status();
  DatabaseWriter writer(file->fd(), file->path(), [lock] { lock->Touch(); });
  Result<Revision> revision = primary->remote->Pull(Revision(), Duration{}, &writer, call);
  if (!revision.ok()) return revision.status();
  if (revision->empty()) return Status(Code::kCorrupt, "the primary named no revision");
  TURSO_RETURN_IF_ERROR(writer.Finish());

  SidecarRecord record;
  std::string token;
  record.url = StripToken(url, &token);
  record.database_id = identity.database_id;
  record.protocol = identity.protocol;
  record.page_size = writer.page_size();
  record.durable = record.current = *revision;
  record.current_in_database = true;
  record.content_digest = writer.digest();
  Result<ReplicaIdentity> id = NewIdentity();
  if (!id.ok()) return id.status();
  record.replica_id = *id;
  TURSO_RETURN_IF_ERROR(MarkDatabase(file->path(), record.replica_id));
  if (found.empty_file) TURSO_RETURN_IF_ERROR(CopyOwnerAndMode(file->fd(), file->path(), database));
  if (::fsync(file->fd()) != 0) return FileError("syncing", file->path(), errno);
  return PutInPlace(database, found, record, &*file);
}

Status CheckReady(const std::string& database, const Options& options,
                  const SidecarRecord& record) {
  if (options.provisioned || options.url.empty() || options.url == record.url) return OkStatus();
  return Status(Code::kInvalid,
                database + " is a replica of " + record.url + " already, not of " + options.url +
                    ": to move it to another address of the same database, open it with that url");
}

Status Bootstrap(const std::string& database, const Options& options, const Opener& open) {
  Result<Found> found = LookAt(database);
  if (!found.ok()) return found.status();
  if (found->stage == Stage::kReady) return CheckReady(database, options, *found->record);
  const std::string url = !options.url.empty() ? options.url
                          : found->record      ? found->record->url
                                               : "";
  if (url.empty()) {
    return Status(
        Code::kInvalid,
        database +
            " does not exist, and no primary is named to make it from: give the parameter "
            "url (file:NAME?vfs=turso&url=http://HOST/DATABASE), or set TURSO_DATABASE_URL");
  }
  Result<CreationLock> lock = CreationLock::Take(database, options.timeout);
  if (!lock.ok()) return lock.status();
  found = LookAt(database);  // Somebody may have made it while we waited.
  if (!found.ok()) return found.status();
  if (found->stage == Stage::kReady) return CheckReady(database, options, *found->record);
  if (options.provisioned) found->record.reset();
  RemoveLeftovers(database);
  Call call;
  call.timeout = options.timeout;
  return Build(database, url, *found, open, &*lock, call)
      .While("making the replica " + database + " from " + url);
}

// In `protocol`, if the user names none.
Opener OpenerFor(const Options& options, const std::string& protocol) {
  return [&options, protocol](const std::string& url, const Call& call) {
    return Introduce({url, options.token, options.token_file,
                      options.protocol == "auto" ? protocol : options.protocol},
                     call);
  };
}

}  // namespace

Status CreateFrom(const std::string& database, const Options& options,
                  std::unique_ptr<Remote> remote) {
  return Bootstrap(database, options, [&](const std::string&, const Call& call) {
    Result<Identity> identity = remote->Identify(call);
    return identity.ok() ? Result<Introduction>(Introduction{std::move(remote), *identity})
                         : identity.status();
  });
}

Status MakeAnew(const std::string& database, const Options& options, const std::string& why) {
  Result<CreationLock> lock = CreationLock::Take(database, options.timeout);
  if (!lock.ok()) return lock.status();
  Found found;
  Result<SidecarRecord> record = Sidecar::Peek(Sidecar::PathFor(database));
  if (!record.ok()) return record.status();
  found.stage = Stage::kSpoiled;
  found.record = *std::move(record);
  const std::string url = options.url.empty() ? found.record->url : options.url;
  const std::string doing = "making " + database + " anew from " + url + ", because " + why;
  Log(LogLevel::kWarning, doing);
  RemoveLeftovers(database);
  Call call;
  call.timeout = options.timeout;
  return Build(database, url, found, OpenerFor(options, found.record->protocol), &*lock, call)
      .While(doing);
}

Status Replica::Create(const std::string& database, const Options& options) {
  return Bootstrap(database, options, OpenerFor(options, "auto"));
}

}  // namespace turso
