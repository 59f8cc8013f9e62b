#include "src/primary/recovery.h"

namespace turso {

namespace {

Status Misplaced(const std::string& what) {
  return Status(Code::kCorrupt, "the log has " + what + " where it cannot be");
}

bool FollowsRestart(const Salts& fresh, const Salts& before) {
  // A restart adds one to the first salt: https://sqlite.org/fileformat2.html#walformat
  return LoadBig32(fresh.data()) == LoadBig32(before.data()) + 1;
}

}  // namespace

void AddCommit(const CommitRecord& commit, History* history) {
  if (commit.every_page) {
    history->AdvanceAll(commit.db_size);
  } else {
    history->Advance(commit.pages, commit.db_size);
  }
}

Status LogTail::Take(const LogRecord& record) {
  if (const auto* r = std::get_if<SnapshotRecord>(&record)) return TakeSnapshot(*r);
  if (const auto* r = std::get_if<CommitRecord>(&record)) return TakeCommit(*r);
  if (const auto* r = std::get_if<AbortedRecord>(&record)) {
    if (!undecided_ || undecided_->counter != r->counter)
      return Misplaced("the end of a commit that it does not have");
    Aborted(r->outcome);
    return OkStatus();
  }
  Happened();
  if (const auto* r = std::get_if<RefusedRecord>(&record)) {
    history_.NoteCommit(r->replica,
                        {r->number, Outcome::kRefused, history_.counter(), r->heard_of});
  } else if (const auto* resolved = std::get_if<ResolvedRecord>(&record)) {
    if (resolved->counter != history_.counter())
      return Misplaced("a revision that does not follow");
    point_ = resolved->point;
    restart_follows_ = resolved->restart_follows;
  } else if (const auto* epoch = std::get_if<EpochRecord>(&record)) {
    if (epoch->counter != history_.counter()) return Misplaced("an epoch that does not follow");
    history_.StartEpoch(epoch->id);
    fingerprint_ = epoch->fingerprint;
  } else if (const auto* stop = std::get_if<StoppedRecord>(&record)) {
    if (stop->counter != history_.counter()) return Misplaced("a stop that does not follow");
    fingerprint_ = stop->fingerprint;
    point_ = {};
    restart_follows_ = false;
  }
  return OkStatus();
}

Status LogTail::TakeSnapshot(const SnapshotRecord& snapshot) {
  history_ = History(snapshot.history);
  undecided_.reset();
  point_ = snapshot.point;
  restart_follows_ = snapshot.restart_follows;
  fingerprint_ = snapshot.fingerprint;
  return OkStatus();
}

Status LogTail::TakeCommit(const CommitRecord& commit) {
  Happened();
  if (commit.counter != history_.counter() + 1) return Misplaced("a commit that does not follow");
  undecided_ = commit;
  if (commit.source == CommitSource::kFound) Happened();
  return OkStatus();
}

void LogTail::Happened() {
  if (!undecided_) return;
  AddCommit(*undecided_, &history_);
  if (undecided_->source == CommitSource::kReplica) {
    history_.NoteCommit(undecided_->replica, {undecided_->number, Outcome::kCommitted,
                                              undecided_->counter, undecided_->committed_at});
  }
  point_ = undecided_->after;
  restart_follows_ = false;
  undecided_.reset();
}

void LogTail::Aborted(Outcome outcome) {
  // A refusal need not be remembered: the request died with the server that took it, and settling
  // it refuses it.
  if (undecided_->source == CommitSource::kReplica && outcome == Outcome::kLost) {
    history_.NoteCommit(undecided_->replica,
                        {undecided_->number, Outcome::kLost, 0, undecided_->committed_at});
  }
  undecided_.reset();
}

Result<Verdict> Judge(const LogTail& tail, const Evidence& evidence) {
  using Last = Verdict::Last;
  using Foreign = Verdict::Foreign;
  const WalIndexHeader& wal = evidence.header;
  const std::optional<CommitRecord>& commit = tail.undecided();
  const WalPoint& point = tail.point();
  Verdict verdict;
  if (commit) verdict.last = Last::kDidNot;

  if (commit && wal.frames > 0 && wal.salts == commit->after.salts) {
    uint32_t explained = commit->before.frames;
    if (wal.frames >= commit->after.frames) {
      Result<uint64_t> hash =
          evidence.frames_hash({commit->before.frames}, {commit->after.frames}, commit->db_size);
      if (!hash.ok()) return hash.status();
      if (*hash == commit->hash) {
        verdict.last = Last::kHappened;
        explained = commit->after.frames;
      }
    }
    if (wal.frames > explained) {
      verdict.foreign = Foreign::kFrames;
      verdict.foreign_base = {explained};
    } else if (wal.frames < explained) {
      // Frames that were synced are gone: somebody put an older WAL there.
      verdict.foreign = Foreign::kAnything;
    }
    return verdict;
  }

  // The WAL does not have the last commit. What does the revision before it explain?
  bool explained = false;
  if (wal.frames > 0 && point.frames > 0 && wal.salts == point.salts) {
    explained = wal.frames >= point.frames;
    if (wal.frames > point.frames) {
      verdict.foreign = Foreign::kFrames;
      verdict.foreign_base = {point.frames};
    }
  } else if (wal.frames > 0) {
    bool next = tail.restart_follows() && FollowsRestart(wal.salts, point.salts);
    bool first = point.frames == 0 && evidence.fingerprint == tail.fingerprint();
    explained = next || first;
    if (explained) verdict.foreign = Foreign::kFrames;
  } else if (point.frames == 0) {
    explained = evidence.fingerprint == tail.fingerprint();
  } else if (tail.restart_follows() && evidence.wal_bytes) {
    bool started = commit && evidence.wal_salts == commit->after.salts;
    explained =
        *evidence.wal_bytes == 0 || started || FollowsRestart(evidence.wal_salts, point.salts);
  }
  if (explained) return verdict;
  verdict.foreign = Foreign::kAnything;
  verdict.foreign_base = {};
  // In a WAL that was begun for it, a commit whose frames are not whole never happened.
  if (!commit || (evidence.wal_bytes && evidence.wal_salts == commit->after.salts)) return verdict;
  // Stock SQLite may have recovered the WAL, moved it into the file, and deleted it.
  Result<uint64_t> hash = evidence.pages_hash(commit->pages, commit->db_size);
  if (!hash.ok()) return hash.status();
  verdict.last = *hash == commit->hash ? Last::kHappened : Last::kUnknown;
  return verdict;
}

}  // namespace turso
