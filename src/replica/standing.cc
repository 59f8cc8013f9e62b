// Which revision the files show.
//
// The record names a revision for one exact state of the log. When the log is in another state, an
// intent may explain it: a pull or a commit that was published while the record was not yet brought
// up. What nothing explains was not done by us, or was lost with the machine's power; then the
// primary's page hashes tell what differs.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <set>

#include "src/base/log.h"
#include "src/replica/replica_impl.h"

namespace turso {

namespace {

constexpr size_t kWriteVersion =
    18;  // https://sqlite.org/fileformat2.html#file_format_version_numbers
constexpr uint8_t kNotForOthers = 3;

// For the ring: which commit of which log. The checksum of a commit frame is not known before
// SQLite has written it.
WalPosition Place(const Salts& salts, uint32_t frames) {
  return frames == 0 ? WalPosition{} : WalPosition{salts, frames, {}};
}

}  // namespace

bool IsAsRecorded(const SidecarRecord& record, const WalPosition& position) {
  if (record.current.empty()) return false;  // A repair was begun and not finished.
  return position == record.current_position ||
         (position.frames == 0 && record.current_in_database);
}

Result<WalIndexHeader> ReplicaImpl::Header(WalFiles* files) {
  WalIndex index(files);
  Result<std::optional<WalIndexHeader>> header = index.ReadHeader();
  if (!header.ok()) return header.status().While("reading the wal-index of " + path_);
  if (!header->has_value())
    return Status(Code::kBusy, path_ + ": SQLite must recover the wal-index first");
  return **header;
}

void ReplicaImpl::RememberState(const WalIndexHeader& header, const Revision& revision) {
  WalPosition place = Place(header.salts, header.frames);
  std::optional<Revision> known = sidecar_->Recall(place);
  if (!known.has_value() || !(*known == revision)) sidecar_->Remember(place, revision);
}

Result<bool> ReplicaImpl::Explains(WalFiles* files, const WalIndexHeader& header,
                                   const SidecarRecord& record) {
  const Intent& intent = record.intent;
  if (intent.kind == IntentKind::kNone || header.frames == 0) return false;
  if (header.salts != intent.frames.salts || header.frames != intent.frames.last.value)
    return false;
  Result<PageSet> pages = CollectFrames(files, header.page_size, intent.frames.base,
                                        intent.frames.last, header.db_size);
  if (!pages.ok()) return pages.status();
  return pages->Hash() == intent.page_set_hash;
}

Result<std::optional<SidecarRecord>> ReplicaImpl::StandAlone(WalFiles* files,
                                                             const WalIndexHeader& header) {
  Result<SidecarRecord> record = sidecar_->Read();
  if (!record.ok()) return record.status();
  const WalPosition position = header.position();
  const bool as_recorded = IsAsRecorded(*record, position);
  if (record->intent.kind == IntentKind::kNone) {
    if (!as_recorded) return std::optional<SidecarRecord>();
    RememberState(header, record->current);
    return std::optional(*std::move(record));
  }
  if (record->intent.kind == IntentKind::kCommit) return std::optional<SidecarRecord>();
  Result<bool> explained = Explains(files, header, *record);
  if (!explained.ok()) return explained.status();
  if (*explained) {
    record->current = record->intent.target;
    record->current_position = position;
    record->current_in_database = false;
  } else if (!as_recorded) {
    return std::optional<SidecarRecord>();
  }
  record->intent = Intent{};
  TURSO_RETURN_IF_ERROR(sidecar_->Write(&*record, Sync::kNo));
  RememberState(header, record->current);
  return std::optional(*std::move(record));
}

Result<SidecarRecord> ReplicaImpl::Stand(WalFiles* files, Remote* remote, const Call& call) {
  Result<WalIndexHeader> header = Header(files);
  if (!header.ok()) return header.status();
  Result<std::optional<SidecarRecord>> alone = StandAlone(files, *header);
  if (!alone.ok()) return alone.status();
  if (alone->has_value()) return **std::move(alone);

  Result<SidecarRecord> record = sidecar_->Read();
  if (!record.ok()) return record.status();
  const WalPosition position = header->position();
  bool known = IsAsRecorded(*record, position);
  if (record->intent.kind == IntentKind::kCommit) {
    Result<bool> explained = Explains(files, *header, *record);
    if (!explained.ok()) return explained.status();
    TURSO_RETURN_IF_ERROR(SettleIntent(&*record, *explained, *header, remote, call));
    known = IsAsRecorded(*record, position);
  }
  if (!known) TURSO_RETURN_IF_ERROR(Repair(files, *header, &*record, remote, call));
  return record;
}

// (R5)
Status ReplicaImpl::SettleIntent(SidecarRecord* record, bool frames_present,
                                 const WalIndexHeader& header, Remote* remote, const Call& call) {
  Result<SettleAnswer> answer =
      remote->Settle({record->replica_id, record->intent.commit_number}, call);
  if (!answer.ok()) {
    return answer.status().While("settling an earlier commit of " + path_ +
                                 " whose outcome is unknown");
  }
  if (answer->outcome == SettleOutcome::kUnknown) {
    record->intent = Intent{};
    // Whose header is in the log was committed, only under which revision is not told any more.
    if (frames_present) record->current = Revision{};
    TURSO_RETURN_IF_ERROR(TakeNewIdentity(
        record, "what became of a commit whose outcome was unknown cannot be told any more"));
    sidecar_->shared().unsettled.store(0);
    return OkStatus();
  }
  const bool committed = answer->outcome == SettleOutcome::kCommitted;
  // The header of a commit is written only after the primary's yes; frames that stand for a refused
  // one are a riddle that the comparison with the primary solves.
  if (committed && frames_present) {
    record->current = answer->revision;
    record->current_position = header.position();
    record->current_in_database = false;
  }
  Log(LogLevel::kWarning,
      path_ + ": a commit whose outcome was unknown " +
          (committed ? "is at the primary" : "was refused and will never be at the primary"));
  record->intent = Intent{};
  TURSO_RETURN_IF_ERROR(sidecar_->Write(record, Sync::kYes));
  sidecar_->shared().unsettled.store(0);
  if (committed && frames_present) RememberState(header, record->current);
  return OkStatus();
}

Status ReplicaImpl::TakeNewIdentity(SidecarRecord* record, const std::string& why) {
  Result<ReplicaIdentity> id = NewIdentity();
  if (!id.ok()) return id.status();
  record->replica_id = *id;
  record->last_commit_number = 0;
  TURSO_RETURN_IF_ERROR(sidecar_->Write(record, Sync::kYes));
  TURSO_RETURN_IF_ERROR(MarkDatabase(path_, *id));
  SetIdentity(*id);
  Log(LogLevel::kWarning, path_ + ": " + why + "; it has another identity from now on");
  return OkStatus();
}

// (R2) What `current` names is in the database file and synced, before the log that has it may go.
Status ReplicaImpl::Promote(WalFiles* files, SidecarRecord* record) {
  // The log too: were it on the disk only in part, the older pages in that part would hide those of
  // the database file after a recovery.
  TURSO_RETURN_IF_ERROR(files->SyncWal());
  TURSO_RETURN_IF_ERROR(files->SyncDatabase());
  record->durable = record->current;
  record->current_in_database = true;
  TURSO_RETURN_IF_ERROR(sidecar_->Write(record, Sync::kYes));
  sidecar_->Remember(WalPosition{}, record->current);
  return OkStatus();
}

Status ReplicaImpl::BeforeRestart(WalFiles* files) {
  Result<WalIndexHeader> header = Header(files);
  if (!header.ok()) return header.status();
  if (header->frames == 0) return OkStatus();
  Result<std::optional<SidecarRecord>> record = StandAlone(files, *header);
  if (!record.ok()) return record.status();
  if (!record->has_value())
    return Status(Code::kBusy, path_ + ": what its log holds is not settled yet");
  TURSO_RETURN_IF_ERROR(Promote(files, &**record));
  write_.record = **record;
  return OkStatus();
}

Status ReplicaImpl::ApplyPages(WalFiles* files, PageSet* pages, const Revision& target,
                               SidecarRecord* record) {
  pages->Trim();
  const size_t count = pages->size();
  if (pages->Find(PageNo{1}) != nullptr) pages->Slot(PageNo{1})[kWriteVersion] = kNotForOthers;
  const uint64_t hash = pages->Hash();
  ApplyOptions options;
  options.sync = turso::Sync::kNo;  // The primary has them; (R2) is kept by `durable`.
  options.before_restart = [&](const WalIndexHeader&) { return Promote(files, record); };
  options.before_frames = [&](const FramePlan& plan) {
    record->intent = {IntentKind::kPull, plan, hash, target, {}, 0};
    TURSO_RETURN_IF_ERROR(sidecar_->Write(record, turso::Sync::kNo));
    sidecar_->Remember(Place(plan.salts, plan.last.value), target);
    return OkStatus();
  };
  Result<WalIndexHeader> header = Apply(files, *pages, options);
  if (!header.ok()) return header.status().While("applying pages to " + path_);
  record->current = target;
  record->current_position = header->position();
  record->current_in_database = false;
  record->intent = Intent{};
  TURSO_RETURN_IF_ERROR(sidecar_->Write(record, turso::Sync::kNo));
  sidecar_->shared().last_sync.store(Instant::Now().nanoseconds);
  std::lock_guard lock(mutex_);
  counters_.pulls++;
  counters_.pages_pulled += static_cast<int64_t>(count);
  return OkStatus();
}

// The same content under another name: a primary that was started again counts in a new epoch.
Status ReplicaImpl::Rename(const WalIndexHeader& header, const Revision& target,
                           SidecarRecord* record) {
  if (record->durable == record->current) record->durable = target;
  record->current = target;
  TURSO_RETURN_IF_ERROR(sidecar_->Write(record, turso::Sync::kNo));
  RememberState(header, target);
  return OkStatus();
}

Status ReplicaImpl::Advance(WalFiles* files, PageSet* pages, const Revision& target,
                            SidecarRecord* record) {
  if (target == record->current) return OkStatus();
  if (!pages->empty()) return ApplyPages(files, pages, target, record);
  Result<WalIndexHeader> header = Header(files);
  if (!header.ok()) return header.status();
  return Rename(*header, target, record);
}

// A copy of the database as it is found, for whoever wrote into it without us.
Status ReplicaImpl::SetAside(WalFiles* files, const WalIndexHeader& header, uint32_t page_size) {
  char stamp[32];
  const std::time_t now = std::time(nullptr);
  struct tm utc;
  gmtime_r(&now, &utc);
  std::strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc);
  const std::string aside = path_ + ".aside-" + stamp + "-" + std::to_string(getpid());
  struct stat like;
  const mode_t mode = stat(path_.c_str(), &like) == 0 ? like.st_mode & 0777 : 0600;
  const int fd = open(aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0)
    return Status(Code::kIo,
                  "setting aside a copy of " + path_ + " as " + aside + ": cannot create it");
  Bytes image(page_size);
  Status copied = OkStatus();
  for (uint32_t page = 1; copied.ok() && page <= header.db_size; page++) {
    copied = ReadPage(files, header, PageNo{page}, image);
    if (copied.ok() && page == 1) image[kWriteVersion] = 2;
    if (copied.ok() &&
        pwrite(fd, image.data(), image.size(), static_cast<off_t>(page - 1) * page_size) !=
            static_cast<ssize_t>(image.size())) {
      copied = Status(Code::kIo,
                      "setting aside a copy of " + path_ + " as " + aside + ": cannot write it");
    }
  }
  if (copied.ok() && fsync(fd) != 0)
    copied = Status(Code::kIo, "setting aside " + aside + ": cannot sync it");
  close(fd);
  if (!copied.ok()) {
    unlink(aside.c_str());
    return copied;
  }
  Log(LogLevel::kWarning,
      path_ +
          " holds what its primary does not have: it was changed without the VFS turso, or the "
          "primary went back in time. It is kept as " +
          aside + ", and the replica is brought to its primary's state");
  Note(Status(Code::kInvalid,
              path_ + " held what its primary does not have; a copy is kept as " + aside));
  return OkStatus();
}

Status ReplicaImpl::Repair(WalFiles* files, const WalIndexHeader& found, SidecarRecord* record,
                           Remote* remote, const Call& call) {
  WalIndexHeader header = found;
  if (header.frames == 0) {
    // Without frames the header tells no size; the file does.
    Result<uint64_t> size = files->DatabaseSize();
    if (!size.ok()) return size.status();
    header.page_size = record->page_size;
    header.db_size = static_cast<uint32_t>(*size / record->page_size);
  }
  const std::string doing = "comparing " + path_ + " with its primary at " + options_.url;
  Result<Identity> identity = remote->Identify(call);
  if (!identity.ok()) return identity.status().While(doing);
  if (identity->database_id != record->database_id) {
    return Status(Code::kInvalid,
                  path_ + " is a replica of database " + record->database_id + ", but at " +
                      options_.url + " is another one now (" + identity->database_id +
                      "); nothing was changed: give the replica of that one a name of its own");
  }
  // What the primary changed since the durable revision may rightly differ; what else differs is a
  // foreign hand's.
  PageCollector expected;
  // Stock SQLite writes only where byte 18 let it, and leaves that there (see ApplyPages); a mere
  // reader that took the log away with its last close has changed nothing.
  uint8_t write_version = 0;
  TURSO_RETURN_IF_ERROR(files->ReadDatabase(kWriteVersion, {&write_version, 1}));
  const bool somebody_wrote =
      record->current_position.frames == UINT32_MAX && write_version != kNotForOthers;
  bool anything_may_differ = record->durable.empty();
  bool related = true;
  if (!anything_may_differ) {
    Result<Revision> pulled = remote->Pull(record->durable, Duration{}, &expected, call);
    related = pulled.ok();
    if (!related && pulled.status().code() != Code::kConflict) return pulled.status().While(doing);
  }
  Result<HashesAnswer> theirs = remote->Hashes(call);
  if (!theirs.ok()) return theirs.status().While(doing);

  std::vector<PageNo> different;
  bool foreign = false;
  Bytes image(record->page_size);
  for (uint32_t n = 1; n <= theirs->hashes.size(); n++) {
    const PageNo page{n};
    bool same = false;
    if (n <= header.db_size) {
      TURSO_RETURN_IF_ERROR(ReadPage(files, header, page, image));
      same = HashPage(page, image) == theirs->hashes[n - 1];
    }
    if (same) continue;
    different.push_back(page);
    if (somebody_wrote || !related || expected.pages().Find(page) == nullptr) foreign = true;
  }
  if (foreign && !anything_may_differ) {
    TURSO_RETURN_IF_ERROR(SetAside(files, header, record->page_size));
  }

  // Page 1 in any case: so that there is a transaction which names the size, and for the guard in
  // its byte 18.
  if (different.empty() || different.front() != PageNo{1}) {
    different.insert(different.begin(), PageNo{1});
  }
  PageCollector fresh;
  Result<Revision> at = remote->Fetch(different, &fresh, call);
  if (!at.ok()) return at.status().While(doing);
  if (!(*at == theirs->revision)) {
    Result<Revision> newest = remote->Pull(theirs->revision, Duration{}, &fresh, call);
    if (!newest.ok()) return newest.status().While(doing);
    at = newest;
  }
  // Should the log be restarted on the way, nothing vouches for what the file holds until the pages
  // are there.
  record->durable = record->current = Revision{};
  TURSO_RETURN_IF_ERROR(ApplyPages(files, &fresh.pages(), *at, record));
  Log(LogLevel::kWarning, path_ + ": " + std::to_string(different.size()) + " of " +
                              std::to_string(theirs->hashes.size()) +
                              " pages were brought anew from the primary");
  return OkStatus();
}

}  // namespace turso
