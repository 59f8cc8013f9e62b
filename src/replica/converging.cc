// Bringing the primary's own pages to where a commit of ours stands.
//
//   converged     what the first commit was built on: the primary's, page for page
//   provisional   converged, and the pages of our commits over it, one or several
//   the pull      the primary's pages since converged, and the converged image of every page of
//                 ours that is not among them: after it, all is as at the primary
//
// The pull is one transaction for readers, and rests on the frames before the commits and on the
// database file; so nothing is checkpointed meanwhile.

#include <algorithm>
#include <thread>

#include "src/replica/content.h"
#include "src/replica/replica_impl.h"
#include "src/wal/newest_snapshots.h"
#include "src/wal/wal.h"

namespace turso {

namespace {

constexpr Duration kCheckpointPatience = seconds(2);
// For readers that stay and write nothing. Only checkpoints wait with it.
constexpr Duration kUnreadPatience = seconds(10);
// More pages than this are not written while readers are kept off: SQLite gives up after some
// seconds of trying again.
constexpr size_t kKeepOffPagesMax = 4096;

}  // namespace

// How many frames of our own lie over the converged state.
Result<uint32_t> ReplicaImpl::ProvisionalFrames(WalFiles* files, const SidecarRecord& record) {
  if (!record.provisional()) return uint32_t{0};
  Result<WalIndexHeader> header = Header(files);
  if (!header.ok()) return header.status();
  return header->frames - std::min(header->frames, record.converged_frame.value);
}

// Whether the primary's pages at `reached` would show what the files show now: only our commits lie
// between. (CV1)
bool ReplicaImpl::ShowsTheSame(Remote* remote, const SidecarRecord& record, const Revision& reached,
                               const Call& call) {
  if (!record.provisional()) return false;
  Result<Order> order = remote->Compare(reached, record.current, call);
  return order.ok() && *order == Order::kEqual;
}

// Puts the primary's pages in the place of ours, of the same content, unless a transaction may
// still write on what it has read. False: not now. (CV2)
Result<bool> ReplicaImpl::ConvergeUnread(WalFiles* files, PageSet* pages, const Revision& target,
                                         SidecarRecord* record) {
  Result<WalIndexHeader> header = Header(files);
  Result<uint32_t> ours = ProvisionalFrames(files, *record);
  if (!header.ok()) return header.status();
  if (!ours.ok()) return ours.status();
  NewestSnapshots snapshots(files);
  if (*ours < kProvisionalMax && !WasReadLong(header->position())) {
    Result<bool> off = snapshots.KeepOff();
    if (!off.ok() || !*off) return off;
    if (pages->size() + *ours > kKeepOffPagesMax) snapshots.Release();
  }
  TURSO_RETURN_IF_ERROR(Advance(files, pages, target, record));
  return true;
}

// Whether that state is the newest for kUnreadPatience now, read all the time.
bool ReplicaImpl::WasReadLong(const WalPosition& position) {
  std::lock_guard lock(mutex_);
  if (!(read_position_ == position)) {
    read_position_ = position;
    read_since_ = Instant::Now();
  }
  return Instant::Now() - read_since_ > kUnreadPatience;
}

// Of the database at that frame of the log.
Result<uint32_t> ReplicaImpl::SizeAt(WalFiles* files, FrameNo frame, uint32_t page_size) {
  if (frame.value == 0) {
    Result<uint64_t> bytes = files->DatabaseSize();
    if (!bytes.ok()) return bytes.status();
    return static_cast<uint32_t>(*bytes / page_size);
  }
  uint8_t raw[4];
  TURSO_RETURN_IF_ERROR(files->ReadWal(FrameOffset(frame, page_size) + 4, raw));
  return LoadBig32(raw);
}

Status ReplicaImpl::AddPreImages(WalFiles* files, PageSet* pages, SidecarRecord* record) {
  Result<WalIndexHeader> now = Header(files);
  if (!now.ok()) return now.status();
  if (now->salts != record->converged_salts || now->frames < record->converged_frame.value) {
    // The next who stands here compares everything.
    record->current = record->converged = Revision{};
    TURSO_RETURN_IF_ERROR(sidecar_->Write(record, turso::Sync::kNo));
    return Status(Code::kBusy, path_ + ": its log is not the one that a commit was put into");
  }
  Result<uint32_t> size = SizeAt(files, record->converged_frame, record->page_size);
  if (!size.ok()) return size.status();
  WalIndexHeader converged = *now;
  converged.frames = record->converged_frame.value;
  converged.db_size = *size;
  if (pages->page_size() == 0) {
    *pages = PageSet(record->page_size);
    pages->set_db_size(*size);
  }
  if (pages->page_size() != record->page_size) {
    return Status(Code::kCorrupt, path_ + ": the primary's pages have another size than ours");
  }
  const uint32_t end = pages->db_size();
  Result<PageSet> ours = CollectFrames(files, record->page_size, record->converged_frame,
                                       FrameNo{now->frames}, std::max(now->db_size, end));
  if (!ours.ok()) return ours.status();
  const auto add = [&](PageNo page) {
    if (page.value > std::min(end, *size) || pages->Find(page) != nullptr) return OkStatus();
    return ReadPage(files, converged, page, {pages->Slot(page), record->page_size});
  };
  for (auto it = ours->begin(); it != ours->end(); ++it) TURSO_RETURN_IF_ERROR(add(it->first));
  // Those that our commit cut off.
  for (uint32_t n = now->db_size + 1; n <= std::min(end, *size); n++) {
    if (!IsLockPage(PageNo{n}, record->page_size)) TURSO_RETURN_IF_ERROR(add(PageNo{n}));
  }
  return OkStatus();
}

// The intent of a commit is in the sidecar: who begins a checkpoint from now on is refused
// (MayCheckpoint). One that began before must have ended before the commit's frames are published.
Status ReplicaImpl::WaitForCheckpoint(WalFiles* files) {
  const Instant deadline = Instant::Now() + kCheckpointPatience;
  for (;;) {
    Result<bool> locked = files->TryLock(WalLock::kCheckpoint, 1);
    if (!locked.ok()) return locked.status();
    if (*locked) {
      files->Unlock(WalLock::kCheckpoint, 1);
      return OkStatus();
    }
    if (Instant::Now() >= deadline) {
      return Status(Code::kBusy, path_ + ": a checkpoint is under way");
    }
    std::this_thread::sleep_for(milliseconds(1));
  }
}

Status BasePages::Read(PageNo page, MutableByteView out) {
  return ReadPage(files_, header_, page, out);
}

}  // namespace turso
