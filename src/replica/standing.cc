// Which revision the files show.
//
// The record names a revision for one exact state of the log, over a database file that only our
// checkpoints write. When the log is in another state, an intent may explain it: a pull or a commit
// that was published while the record was not yet brought up. What nothing explains, and a file
// that somebody else wrote: src/replica/repair.cc.

#include "src/base/guard.h"
#include "src/base/log.h"
#include "src/replica/content.h"
#include "src/replica/replica_impl.h"

namespace turso {

namespace {

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

// The frames that the intent announced are in the log.
void ReplicaImpl::NotePublished(const WalIndexHeader& header, const Revision& revision,
                                SidecarRecord* record) {
  const Intent& intent = record->intent;
  record->current = revision;
  record->content_digest = intent.content_digest;
  record->current_position = header.position();
  record->current_in_database = false;
  if (intent.kind == IntentKind::kPull) {
    record->converged = Revision{};
  } else if (!caller_->TakesPages() && !record->provisional()) {
    record->converged = intent.base;
    record->converged_salts = intent.frames.salts;
    record->converged_frame = intent.frames.base;
  }
}

Result<bool> ReplicaImpl::KnownAlone(WalFiles* files, const WalIndexHeader& header,
                                     SidecarRecord* record) {
  const bool as_recorded = IsAsRecorded(*record, header.position());
  if (record->intent.kind == IntentKind::kNone) return as_recorded;
  if (record->intent.kind == IntentKind::kCommit) return false;
  Result<bool> explained = Explains(files, header, *record);
  if (!explained.ok()) return explained.status();
  if (*explained) {
    NotePublished(header, record->intent.target, record);
  } else if (!as_recorded) {
    return false;
  }
  record->intent = Intent{};
  return true;
}

Result<std::optional<SidecarRecord>> ReplicaImpl::StandAlone(WalFiles* files,
                                                             const WalIndexHeader& header) {
  Result<SidecarRecord> record = sidecar_->Read();
  if (!record.ok()) return record.status();
  if (record->outdated) return Outdated();
  const bool announced = record->intent.kind != IntentKind::kNone;
  Result<bool> known = KnownAlone(files, header, &*record);
  if (!known.ok()) return known.status();
  if (!*known) return std::optional<SidecarRecord>();
  Result<bool> untouched = IsFileUntouched(files);
  if (!untouched.ok()) return untouched.status();
  if (!*untouched) return std::optional<SidecarRecord>();
  if (announced) TURSO_RETURN_IF_ERROR(sidecar_->Write(&*record, Sync::kNo));
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
  Doubt doubt;
  doubt.announced = record->intent.target;
  doubt.announced_digest = record->intent.content_digest;
  doubt.power_lost = record->sequence <= sidecar_->shared().boot_sequence.load();
  Result<bool> known = false;
  if (record->intent.kind == IntentKind::kCommit) {
    Result<bool> explained = Explains(files, *header, *record);
    if (!explained.ok()) return explained.status();
    Result<Revision> committed = SettleIntent(&*record, *explained, *header, remote, call);
    if (!committed.ok()) return committed.status();
    doubt.announced = *committed;
    known = IsAsRecorded(*record, header->position());
  } else {
    known = KnownAlone(files, *header, &*record);
  }
  if (!known.ok()) return known.status();
  Result<bool> untouched = IsFileUntouched(files);
  if (!untouched.ok()) return untouched.status();
  if (*known && *untouched) return record;
  TURSO_RETURN_IF_ERROR(Verify(files, *header, doubt, &*record, remote, call));
  return record;
}

// (R5)
Result<Revision> ReplicaImpl::SettleIntent(SidecarRecord* record, bool frames_present,
                                           const WalIndexHeader& header, Remote* remote,
                                           const Call& call) {
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
    return Revision{};
  }
  const bool committed = answer->outcome == SettleOutcome::kCommitted;
  // The header of a commit is written only after the primary's yes; frames that stand for a refused
  // one are a riddle that the comparison with the primary solves.
  if (committed && frames_present) NotePublished(header, answer->revision, record);
  Log(LogLevel::kWarning,
      path_ + ": a commit whose outcome was unknown " +
          (committed ? "is at the primary" : "was refused and will never be at the primary"));
  record->intent = Intent{};
  TURSO_RETURN_IF_ERROR(sidecar_->Write(record, Sync::kYes));
  sidecar_->shared().unsettled.store(0);
  if (committed && frames_present) RememberState(header, record->current);
  return committed ? answer->revision : Revision{};
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
  if (record->provisional()) return Provisional();
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
  // Who restarts has CHECKPOINT: a checkpoint of ours that still seems to write has died.
  if (sidecar_->shared().footprint_turn.load() % 2 != 0 && !checkpointing_.load())
    return Status(Code::kBusy, path_ + ": its database file is to be verified first");
  Result<std::optional<SidecarRecord>> record = StandAlone(files, *header);
  if (!record.ok()) return record.status();
  if (!record->has_value())
    return Status(Code::kBusy, path_ + ": what its log holds is not settled yet");
  TURSO_RETURN_IF_ERROR(Promote(files, &**record));
  write_.record = **record;
  return OkStatus();
}

Status ReplicaImpl::Provisional() const {
  return Status(Code::kBusy, path_ + ": the primary's pages of a commit are not here yet");
}

// A checkpoint writes over the database file, which with the first frames of the log is the state
// that a commit of ours is to be replaced from.
Status ReplicaImpl::MayCheckpoint() {
  if (caller_->TakesPages()) return OkStatus();  // Connect() lets nothing provisional come here.
  Result<SidecarRecord> record = sidecar_->Read();
  if (!record.ok()) return record.status();
  const IntentKind kind = record->intent.kind;
  const bool commits = kind == IntentKind::kCommit || kind == IntentKind::kCommitted;
  return record->provisional() || commits ? Provisional() : OkStatus();
}

Status ReplicaImpl::Outdated() const {
  return Status(Code::kIo, path_ +
                               ": the pages of its primary have another size now; close it in "
                               "every program and open it again, and it will be made anew");
}

Status ReplicaImpl::Outdate(SidecarRecord* record) {
  record->outdated = true;
  TURSO_RETURN_IF_ERROR(sidecar_->Write(record, turso::Sync::kYes));
  return Outdated();
}

Result<uint64_t> ReplicaImpl::ContentAfter(WalFiles* files, const SidecarRecord& record,
                                           const PageSet& pages) {
  Result<WalIndexHeader> header = Header(files);
  if (!header.ok()) return header.status();
  header = WholeHeader(files, *header, record.page_size);
  if (!header.ok()) return header.status();
  return DigestAfter(files, *header, record.content_digest, pages);
}

Status ReplicaImpl::ApplyPages(WalFiles* files, PageSet* pages, const Revision& target,
                               SidecarRecord* record) {
  if (pages->page_size() != record->page_size) return Outdate(record);
  pages->Trim();
  const size_t count = pages->size();
  if (pages->Find(PageNo{1}) != nullptr) pages->Slot(PageNo{1})[kWriteVersionAt] = kGuardVersion;
  TURSO_RETURN_IF_ERROR(ChooseCookie(files, pages, record));
  const uint64_t hash = pages->Hash();
  Result<uint64_t> digest = ContentAfter(files, *record, *pages);
  if (!digest.ok()) return digest.status().While("applying pages to " + path_);
  ApplyOptions options;
  options.sync = turso::Sync::kNo;  // The primary has them; (R2) is kept by `durable`.
  options.before_restart = [&](const WalIndexHeader&) { return Promote(files, record); };
  options.before_frames = [&](const FramePlan& plan) {
    record->intent = {IntentKind::kPull, plan, hash, target, {}, 0, *digest};
    TURSO_RETURN_IF_ERROR(sidecar_->Write(record, turso::Sync::kNo));
    sidecar_->Remember(Place(plan.salts, plan.last.value), target);
    return OkStatus();
  };
  Result<WalIndexHeader> header = Apply(files, *pages, options);
  if (!header.ok()) return header.status().While("applying pages to " + path_);
  NotePublished(*header, target, record);
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
  if (record->provisional()) {
    TURSO_RETURN_IF_ERROR(AddPreImages(files, pages, record));
  } else if (target == record->current) {
    return OkStatus();
  }
  if (!pages->empty()) return ApplyPages(files, pages, target, record);
  Result<WalIndexHeader> header = Header(files);
  if (!header.ok()) return header.status();
  return Rename(*header, target, record);
}

}  // namespace turso
