// What is done when record and log do not tell which revision the files show, or somebody else
// wrote the database file.
//
//   content has the digest of the record       it is the recorded revision: nothing was changed
//   content has the digest of the intent       it is the intent's
//   any other                                  compared with the primary, page by page
//
// What differs from the primary, and what we cannot have left behind ourselves, is kept as a file
// of its own before it is replaced.

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "src/base/guard.h"
#include "src/base/log.h"
#include "src/replica/local_file.h"
#include "src/replica/replica_impl.h"
#include "src/wal/held_lock.h"

namespace turso {

namespace {

std::string HexOf(uint64_t number) {
  uint8_t raw[8];
  StoreBig64(raw, number);
  return ToHex(raw);
}

// An earlier copy of the same content: a repair that failed is tried again.
std::optional<std::string> FindAside(const std::string& database, const std::string& end) {
  const std::string directory = DirectoryOf(database);
  const std::string start = database.substr(database.rfind('/') + 1) + ".aside-";
  std::optional<std::string> found;
  DIR* listing = ::opendir(directory.c_str());
  if (listing == nullptr) return found;
  while (const dirent* entry = ::readdir(listing)) {
    const std::string_view name = entry->d_name;
    if (name.size() > end.size() && name.substr(0, start.size()) == start &&
        name.substr(name.size() - end.size()) == end) {
      found = directory + "/" + entry->d_name;
    }
  }
  ::closedir(listing);
  return found;
}

}  // namespace

// ---- The files, seen from outside

Status ReplicaImpl::CheckPlaces(WalFiles* files) const {
  TURSO_RETURN_IF_ERROR(files->CheckPlaces());
  if (sidecar_->StillThere()) return OkStatus();
  return Status(Code::kIo, Sidecar::PathFor(path_) +
                               " was removed or replaced while it was open; nothing was written. "
                               "Close " +
                               path_ + " in every program, and open it again");
}

Footprint ReplicaImpl::StoredFootprint() const {
  const std::atomic<uint64_t>* words = sidecar_->shared().footprint;
  return {words[0].load(), words[1].load(), words[2].load(), words[3].load()};
}

void ReplicaImpl::StoreFootprint(const Footprint& print) {
  SharedState& shared = sidecar_->shared();
  const uint64_t turn = shared.footprint_turn.load() | 1;
  shared.footprint_turn.store(turn);
  shared.footprint[0].store(print.device);
  shared.footprint[1].store(print.file);
  shared.footprint[2].store(print.bytes);
  shared.footprint[3].store(print.modified);
  shared.footprint_turn.store(turn + 1);
}

Result<bool> ReplicaImpl::IsFileUntouched(WalFiles* files) {
  std::atomic<uint64_t>& turn = sidecar_->shared().footprint_turn;
  for (;;) {
    const uint64_t before = turn.load();
    if (before % 2 == 0) {
      const bool same = FootprintOf(path_) == StoredFootprint();
      if (same || turn.load() == before) return same;
      continue;
    }
    // A checkpoint of ours, on a file that was as we left it; or one that died there. Who asks may
    // be the one that checkpoints, and must not lose the lock by trying for it.
    if (checkpointing_.load()) return true;
    Result<bool> idle = files->TryLock(WalLock::kCheckpoint, 1);
    if (!idle.ok()) return idle.status();
    if (!*idle) return true;
    const bool died = turn.load() == before;
    files->Unlock(WalLock::kCheckpoint, 1);
    if (died) return false;
  }
}

Status ReplicaImpl::BeforeCheckpoint() {
  std::atomic<uint64_t>& turn = sidecar_->shared().footprint_turn;
  const std::optional<Footprint> print = FootprintOf(path_);
  if (!print) return Status(Code::kIo, "checkpointing " + path_ + ": the file cannot be looked at");
  // A file that somebody else changed stays as conspicuous as it is.
  if (turn.load() % 2 != 0 || *print != StoredFootprint()) return OkStatus();
  checkpointing_.store(true);
  turn.fetch_add(1);
  return OkStatus();
}

void ReplicaImpl::AfterCheckpoint() {
  if (!checkpointing_.load()) return;
  std::optional<Footprint> print = FootprintOf(path_);
  // Once more, since without it all of the file would have to be verified.
  if (!print) print = FootprintOf(path_);
  if (print) StoreFootprint(*print);
  checkpointing_.store(false);
}

// ---- Which content it is

Status ReplicaImpl::Verify(WalFiles* files, const WalIndexHeader& found, Doubt doubt,
                           SidecarRecord* record, Remote* remote, const Call& call) {
  HeldLock checkpoint(files, WalLock::kCheckpoint, 1);
  Result<bool> locked = checkpoint.Try();
  if (!locked.ok()) return locked.status();
  if (!*locked) return Status(Code::kBusy, path_ + ": a checkpoint is under way");
  const std::optional<Footprint> print = FootprintOf(path_);
  Result<WalIndexHeader> header = WholeHeader(files, found, record->page_size);
  Result<uint64_t> digest = header.ok() ? DigestOf(files, *header) : header.status();
  checkpoint.Release();
  if (!digest.ok()) return digest.status().While("verifying " + path_);
  if (!print) return Status(Code::kIo, path_ + ": the file is not there any more");

  // Pages that are not the primary's are not told by their digest: what they are to be replaced
  // from may be gone.
  const bool exact = caller_->TakesPages();
  const bool is_recorded =
      !record->current.empty() && !record->provisional() && *digest == record->content_digest;
  const bool is_announced = exact && !doubt.announced.empty() && *digest == doubt.announced_digest;
  doubt.is_ours = !record->current.empty() && *digest == record->content_digest;
  record->content_digest = *digest;
  if (is_announced && !is_recorded) record->current = doubt.announced;
  if (is_recorded || is_announced) {
    Log(LogLevel::kInfo, path_ + ": another program had it open, and changed nothing");
    TURSO_RETURN_IF_ERROR(Rebind(files, found, record));
  } else {
    TURSO_RETURN_IF_ERROR(Repair(files, found, doubt, record, remote, call));
  }
  const Footprint before = StoredFootprint();
  if (before.file != 0 && !before.SameFile(*print)) {
    TURSO_RETURN_IF_ERROR(TakeNewIdentity(record, "its database file is another one than it was"));
  }
  locked = checkpoint.Try();
  if (!locked.ok()) return locked.status();
  // Else it is verified once more.
  if (*locked) StoreFootprint(*print);
  return OkStatus();
}

Status ReplicaImpl::Rebind(WalFiles* files, const WalIndexHeader& header, SidecarRecord* record) {
  record->intent = Intent{};
  record->current_position = header.frames == 0 ? WalPosition{} : header.position();
  record->current_in_database = false;
  if (header.frames == 0) {
    TURSO_RETURN_IF_ERROR(Promote(files, record));
  } else {
    TURSO_RETURN_IF_ERROR(sidecar_->Write(record, turso::Sync::kNo));
  }
  RememberState(header, record->current);
  return OkStatus();
}

// ---- Repair

// Whether another program has surely written to it. Frames that we did not announce are another's,
// unless the announcement was lost with the machine's power. And stock SQLite writes only to a file
// whose guard is off.
Result<bool> ReplicaImpl::SomebodyWrote(WalFiles* files, const WalIndexHeader& found,
                                        bool power_lost, const SidecarRecord& record) {
  const WalPosition& left = record.current_position;
  const bool is_less = found.frames == 0 ||
                       (found.salts == left.salts && found.frames < left.frames) ||
                       found.position() == left;
  if (!is_less && !power_lost) return true;
  Result<bool> untouched = IsFileUntouched(files);
  if (!untouched.ok()) return untouched.status();
  if (*untouched) return false;
  uint8_t write_version = 0;
  TURSO_RETURN_IF_ERROR(files->ReadDatabase(kWriteVersionAt, {&write_version, 1}));
  return write_version != kGuardVersion;
}

// A copy of the database as it is found, for whoever wrote into it without us.
Status ReplicaImpl::SetAside(WalFiles* files, const WalIndexHeader& header, uint64_t digest) {
  const std::string end = "-" + HexOf(digest);
  std::optional<std::string> aside = FindAside(path_, end);
  if (!aside) {
    aside = path_ + ".aside-" + UtcStamp() + end;
    const std::string doing = "setting aside what " + path_ + " holds; nothing was changed";
    Result<TemporaryFile> file = TemporaryFile::CreateFor(*aside);
    if (!file.ok()) return file.status().While(doing);
    TURSO_RETURN_IF_ERROR(CopyOwnerAndMode(file->fd(), file->path(), path_).While(doing));
    Bytes image(header.page_size);
    for (PageNo page{1}; page.value <= header.db_size; page.value++) {
      TURSO_RETURN_IF_ERROR(ReadPage(files, header, page, image).While(doing));
      if (page.value == 1) image[kWriteVersionAt] = kWalModeVersion;
      TURSO_RETURN_IF_ERROR(
          WriteAt(file->fd(), file->path(), uint64_t{page.value - 1} * header.page_size, image)
              .While(doing));
    }
    if (::fsync(file->fd()) != 0) return FileError("syncing", file->path(), errno).While(doing);
    TURSO_RETURN_IF_ERROR(file->PutInPlace().While(doing));
    TURSO_RETURN_IF_ERROR(SyncDirectoryOf(path_).While(doing));
  }
  Log(LogLevel::kWarning,
      path_ +
          " holds what its primary does not have: it was changed without the VFS turso, or the "
          "primary went back in time. It is kept as " +
          *aside + ", and the replica is brought to its primary's state");
  Note(Status(Code::kInvalid,
              path_ + " held what its primary does not have; a copy is kept as " + *aside));
  return OkStatus();
}

namespace {

// How a replica's pages stand to the primary's.
struct Comparison {
  std::set<PageNo> different;  // Of the primary's.
  uint32_t size = 0;           // The primary's, in pages.
  // Those pages as the primary has them at `at`, and page 1 in any case: so that there is a
  // transaction which names the size, and for the guard in its byte 18.
  PageSet fresh;
  Revision at;
};

// By the hashes of all pages, and then the pages that are not alike.
Result<Comparison> CompareHashes(PageReader* ours, uint32_t our_size, uint32_t page_size,
                                 Remote* remote, const Call& call) {
  Result<HashesAnswer> theirs = remote->Hashes(call);
  if (!theirs.ok()) return theirs.status();
  Comparison comparison;
  comparison.size = static_cast<uint32_t>(theirs->hashes.size());
  Bytes image(page_size);
  for (PageNo page{1}; page.value <= comparison.size; page.value++) {
    if (IsLockPage(page, page_size)) continue;
    if (page.value <= our_size) {
      TURSO_RETURN_IF_ERROR(ours->Read(page, image));
      if (HashPage(page, image) == theirs->hashes[page.value - 1]) continue;
    }
    comparison.different.insert(page);
  }
  std::set<PageNo> wanted = comparison.different;
  wanted.insert(PageNo{1});
  PageCollector fresh;
  Result<Revision> at = remote->Fetch({wanted.begin(), wanted.end()}, &fresh, call);
  if (at.ok() && !(*at == theirs->revision)) at = remote->Pull(theirs->revision, {}, &fresh, call);
  if (!at.ok()) return at.status();
  comparison.fresh = std::move(fresh.pages());
  comparison.at = *at;
  return comparison;
}

// Takes all that the primary has, also what was overwritten since.
class Comparer : public PageSink {
 public:
  Comparer(PageReader* ours, uint32_t our_size, Comparison* comparison)
      : ours_(ours), our_size_(our_size), comparison_(comparison) {}

  Status Size(uint32_t page_size, uint32_t db_size) override {
    if (comparison_->fresh.page_size() == 0) comparison_->fresh = PageSet(page_size);
    comparison_->fresh.set_db_size(db_size);
    return OkStatus();
  }
  Status Page(PageNo page, ByteView image) override {
    bool same = false;
    if (page.value <= our_size_) {
      ours_image_.resize(image.size());
      TURSO_RETURN_IF_ERROR(ours_->Read(page, ours_image_));
      same = HashPage(page, ours_image_) == HashPage(page, image);
    }
    PageSet& fresh = comparison_->fresh;
    if (!same || page.value == 1 || fresh.Find(page) != nullptr) fresh.Put(page, image.data());
    if (same) {
      comparison_->different.erase(page);
    } else {
      comparison_->different.insert(page);
    }
    return OkStatus();
  }

 private:
  PageReader* ours_;
  const uint32_t our_size_;
  Comparison* comparison_;
  Bytes ours_image_;
};

// Where hashes, and some of the pages, each are made from all of them: all at once.
Result<Comparison> CompareAll(PageReader* ours, uint32_t our_size, Remote* remote,
                              const Call& call) {
  Comparison comparison;
  Comparer comparer(ours, our_size, &comparison);
  Result<Revision> at = remote->Pull(Revision(), {}, &comparer, call);
  if (!at.ok()) return at.status();
  comparison.at = *at;
  comparison.size = comparison.fresh.db_size();
  comparison.fresh.Trim();
  comparison.different.erase(comparison.different.upper_bound(PageNo{comparison.size}),
                             comparison.different.end());
  return comparison;
}

}  // namespace

Status ReplicaImpl::Repair(WalFiles* files, const WalIndexHeader& found, const Doubt& doubt,
                           SidecarRecord* record, Remote* remote, const Call& call) {
  Result<WalIndexHeader> header = WholeHeader(files, found, record->page_size);
  if (!header.ok()) return header.status();
  const std::string doing = "comparing " + path_ + " with its primary at " + options_.url;
  Result<Identity> identity = remote->Identify(call);
  if (!identity.ok()) return identity.status().While(doing);
  if (identity->database_id != record->database_id) {
    return Status(Code::kInvalid,
                  path_ + " is a replica of database " + record->database_id + ", but at " +
                      options_.url + " is another one now (" + identity->database_id +
                      "); nothing was changed: give the replica of that one a name of its own");
  }
  if (identity->page_size != record->page_size) return Outdate(record);
  // What the primary changed since the durable revision may rightly differ; what else differs is a
  // foreign hand's. A repair that was begun and not finished has set it aside already.
  const bool is_aside = record->current.empty();
  PageCollector expected;
  bool related = true;
  if (!is_aside) {
    Result<Revision> pulled = remote->Pull(record->durable, Duration{}, &expected, call);
    // Where it went back, also what it once had and changed may be nowhere else.
    related = pulled.ok() && !doubt.went_back;
    if (!pulled.ok() && pulled.status().code() != Code::kConflict)
      return pulled.status().While(doing);
  }
  Result<bool> somebody_wrote = SomebodyWrote(files, found, doubt.power_lost, *record);
  if (!somebody_wrote.ok()) return somebody_wrote.status();
  BasePages ours(files, *header);
  Result<Comparison> theirs =
      remote->TakesPages() ? CompareHashes(&ours, header->db_size, header->page_size, remote, call)
                           : CompareAll(&ours, header->db_size, remote, call);
  if (!theirs.ok()) return theirs.status().While(doing);
  bool unexpected = header->db_size > theirs->size && expected.pages().empty();
  for (PageNo page : theirs->different) {
    if (*somebody_wrote || !related || expected.pages().Find(page) == nullptr) unexpected = true;
  }
  const bool is_known = is_aside || (doubt.is_ours && related);
  if (unexpected && !is_known)
    TURSO_RETURN_IF_ERROR(SetAside(files, *header, record->content_digest));
  // Should the log be restarted on the way, nothing vouches for what the file holds until the pages
  // are there.
  record->durable = record->current = Revision{};
  TURSO_RETURN_IF_ERROR(ApplyPages(files, &theirs->fresh, theirs->at, record));
  TURSO_RETURN_IF_ERROR(files->SyncDatabase());
  TURSO_RETURN_IF_ERROR(files->SyncWal());
  record->durable = record->current;
  TURSO_RETURN_IF_ERROR(sidecar_->Write(record, turso::Sync::kYes));
  Log(LogLevel::kWarning, path_ + ": " + std::to_string(theirs->different.size()) + " of " +
                              std::to_string(theirs->size) +
                              " pages were brought anew from the primary");
  return OkStatus();
}

}  // namespace turso
