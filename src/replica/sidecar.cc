#include "src/replica/sidecar.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <thread>

#include "src/base/log.h"
#include "src/replica/content.h"
#include "src/replica/local_file.h"
#include "src/replica/sidecar_format.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace turso {

namespace {

// Bytes of the file that stand for locks; nothing else locks any.
constexpr off_t kElectionByte = 0;  // Held by the process that pulls, for as long as it does.
constexpr off_t kResetByte = 1;     // Held while the shared state of an earlier boot is wiped.

constexpr const char* kMarkAttribute = "user.turso.replica";

// Processes of different builds share the mapping.
static_assert(std::atomic<uint64_t>::is_always_lock_free &&
              std::atomic<int64_t>::is_always_lock_free);
static_assert(sizeof(RevisionRing::Entry) == 96);
static_assert(offsetof(RevisionRing::Entry, position) == 8);
static_assert(offsetof(RevisionRing::Entry, revision) == 28);
static_assert(sizeof(RevisionRing) == 8 + 96 * RevisionRing::kEntries);
static_assert(sizeof(SharedState) == 120 + sizeof(RevisionRing));
static_assert(std::is_trivially_copyable_v<WalPosition> && std::is_trivially_copyable_v<Revision>);

std::string SizeText(uint64_t size) {
  return std::to_string(size) + " bytes long instead of " + std::to_string(kSidecarBytes);
}

// Never 0, which stands for "never used".
uint64_t ThisBoot() {
  static const uint64_t boot = [] {
    char id[64] =
        "no boot id";  // Without /proc all boots are one: revisions are recognised by salts anyway.
    Result<OwnedFd> fd = OpenFile("/proc/sys/kernel/random/boot_id", O_RDONLY);
    if (fd.ok() && ::read(fd->get(), id, sizeof id - 1) < 0) id[0] = 'N';
    return XXH3_64bits(id, std::strlen(id)) | 1;
  }();
  return boot;
}

Result<OwnedFd> OpenSidecar(const std::string& path, int flags) {
  // O_NONBLOCK: somebody may have put a FIFO there.
  Result<OwnedFd> fd = OpenFile(path, flags | O_NONBLOCK);
  if (!fd.ok()) return fd;
  struct stat st;
  if (::fstat(fd->get(), &st) != 0) return FileError("looking at", path, errno);
  if (!S_ISREG(st.st_mode)) return Status(Code::kCorrupt, path + " is not a regular file");
  if (static_cast<uint64_t>(st.st_size) < kSidecarBytes) {
    return Status(Code::kCorrupt,
                  path + " is cut short: it is " + SizeText(static_cast<uint64_t>(st.st_size)));
  }
  Bytes header(kSidecarPage);
  if (Status s = ReadAt(fd->get(), path, 0, header); !s.ok()) return s;
  if (Status s = CheckSidecarHeader(header); !s.ok()) return s.While(path);
  return fd;
}

bool SameFile(int a, int b) {
  struct stat first, second;
  return ::fstat(a, &first) == 0 && ::fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

struct Slots {
  SidecarRecord record;
  int newest = -1;
  Bytes bytes;
};

Result<Slots> ReadSlots(int fd, const std::string& path) {
  // A slot that is just being written does not count yet: it was the oldest. Only a reader whom
  // three writes overtake finds none, and looks again.
  constexpr int kTriesMax = 100;
  Slots slots;
  slots.bytes.resize(kSlots * kSidecarPage);
  for (int tries = 0; tries < kTriesMax; tries++) {
    TURSO_RETURN_IF_ERROR(ReadAt(fd, path, kSlotsAt, slots.bytes));
    if (std::optional<SidecarRecord> record = NewestRecord(slots.bytes, &slots.newest)) {
      slots.record = *std::move(record);
      return slots;
    }
    std::this_thread::yield();
  }
  return Status(Code::kCorrupt, path + " is damaged: none of its slots has a valid record");
}

// One word at a time, so that a reader that meets a writer sees old and new words but no undefined
// ones. Releasing each word (and acquiring it below) keeps them on their side of `turn` without a
// fence, which TSan does not know.
using Word = uint32_t __attribute__((may_alias));
constexpr size_t kEntryWords = (sizeof(WalPosition) + sizeof(Revision)) / sizeof(Word);
static_assert((sizeof(WalPosition) + sizeof(Revision)) % sizeof(Word) == 0);

struct RingEntry {
  WalPosition position;
  Revision revision;
};
static_assert(sizeof(RingEntry) == kEntryWords * sizeof(Word));

Word* WordsOf(RevisionRing::Entry* entry) { return reinterpret_cast<Word*>(&entry->position); }

// The entry written as number `number`; nothing if it is being replaced, or holds no revision (S5).
std::optional<RingEntry> ReadEntry(RevisionRing* ring, uint64_t number) {
  RevisionRing::Entry* entry = &ring->entries[number % RevisionRing::kEntries];
  const uint64_t finished = 2 * number + 2;
  if (entry->turn.load(std::memory_order_acquire) != finished) return std::nullopt;
  Word words[kEntryWords];
  for (size_t i = 0; i < kEntryWords; i++) {
    words[i] = __atomic_load_n(WordsOf(entry) + i, __ATOMIC_ACQUIRE);
  }
  if (entry->turn.load(std::memory_order_relaxed) != finished) return std::nullopt;

  RingEntry read;
  char text[sizeof(Revision)];
  std::memcpy(&read.position, words, sizeof read.position);
  std::memcpy(text, reinterpret_cast<const char*>(words) + sizeof read.position, sizeof text);
  auto revision = Revision::Parse({text, ::strnlen(text, sizeof text)});
  if (!revision) return std::nullopt;
  read.revision = *revision;
  return read;
}

}  // namespace

std::string Sidecar::PathFor(const std::string& database) { return database + "-turso"; }

Status Sidecar::Create(const std::string& path, const std::string& database,
                       const SidecarRecord& record) {
  TURSO_RETURN_IF_ERROR(CheckRecord(record).While("creating " + path));
  Result<TemporaryFile> file = TemporaryFile::CreateFor(path);
  if (!file.ok()) return file.status();
  const int fd = file->fd();
  const std::string& name = file->path();

  SidecarRecord first = record;
  first.sequence = 1;
  TURSO_RETURN_IF_ERROR(WriteAt(fd, name, 0, EncodeSidecarHeader()));
  TURSO_RETURN_IF_ERROR(WriteAt(fd, name, kSlotsAt, EncodeSlot(first)));
  if (::ftruncate(fd, static_cast<off_t>(kSidecarBytes)) != 0) {
    return FileError("extending", name, errno);
  }
  if (std::optional<Footprint> print = FootprintOf(database)) {
    const uint64_t words[] = {print->device, print->file, print->bytes, print->modified};
    Bytes raw(sizeof words);
    std::memcpy(raw.data(), words, sizeof words);
    TURSO_RETURN_IF_ERROR(WriteAt(fd, name, kSharedAt + offsetof(SharedState, footprint), raw));
  }
  TURSO_RETURN_IF_ERROR(CopyOwnerAndMode(fd, name, database));
  if (::fsync(fd) != 0) return FileError("syncing", name, errno);
  TURSO_RETURN_IF_ERROR(file->PutInPlace());
  Status synced = SyncDirectoryOf(path);
  if (!synced.ok()) ::unlink(path.c_str());
  return synced;
}

Result<std::unique_ptr<Sidecar>> Sidecar::Open(const std::string& path) {
  Result<OwnedFd> fd = OpenSidecar(path, O_RDWR);
  if (!fd.ok()) return fd.status();
  std::unique_ptr<Sidecar> sidecar(new Sidecar);
  sidecar->path_ = path;
  // From the start of the file: where pages are larger than 16384 bytes, the shared part is not at
  // one's start.
  void* map = ::mmap(nullptr, kSidecarBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd->get(), 0);
  if (map == MAP_FAILED) return FileError("mapping", path, errno);
  sidecar->shared_ = reinterpret_cast<SharedState*>(static_cast<uint8_t*>(map) + kSharedAt);
  // Locks go to a description of their own. The mapping keeps the one that it was made from, in the
  // child of a fork too, where nothing may unmap it: that child would keep the lock after its
  // parent's death.
  Result<OwnedFd> lockable = OpenFile(path, O_RDWR | O_NONBLOCK);
  if (!lockable.ok()) return lockable.status();
  if (!SameFile(fd->get(), lockable->get())) {
    return Status(Code::kNotFound, path + " was replaced while it was being opened");
  }
  sidecar->fd_ = lockable->release();
  TURSO_RETURN_IF_ERROR(sidecar->Read().status());
  TURSO_RETURN_IF_ERROR(sidecar->ResetAfterBoot());
  return sidecar;
}

Result<SidecarRecord> Sidecar::Peek(const std::string& path) {
  Result<OwnedFd> fd = OpenSidecar(path, O_RDONLY);
  if (!fd.ok()) return fd.status();
  Result<Slots> slots = ReadSlots(fd->get(), path);
  if (!slots.ok()) return slots.status();
  return std::move(slots->record);
}

Sidecar::~Sidecar() {
  if (shared_ != nullptr) {
    ::munmap(reinterpret_cast<uint8_t*>(shared_) - kSharedAt, kSidecarBytes);
  }
  // Not unlocked: in the child of a fork that would take the parent's lock.
  if (fd_ >= 0) ::close(fd_);
}

Status Sidecar::ResetAfterBoot() {
  const uint64_t boot = ThisBoot();
  if (shared_->boot.load(std::memory_order_acquire) == boot) return OkStatus();
  TURSO_RETURN_IF_ERROR(LockByte(fd_, path_, kResetByte));
  Status status = shared_->boot.load(std::memory_order_acquire) == boot ? OkStatus() : Reset(boot);
  UnlockByte(fd_, kResetByte);
  return status;
}

Status Sidecar::Reset(uint64_t boot) {
  // Blocks for the mapping: a store to a hole of a file on a full disk would end the host's process
  // with SIGBUS.
  if (::fallocate(fd_, 0, static_cast<off_t>(kSharedAt), sizeof(SharedState)) != 0 &&
      errno != EOPNOTSUPP && errno != ENOSYS) {
    return FileError("making room in", path_, errno);
  }
  // What the last boot left unsynced is on the disk or gone. But a boot id can also be new because
  // the file was copied, so the disk is asked.
  if (::fdatasync(fd_) != 0) return FileError("syncing", path_, errno);
  Result<SidecarRecord> record = Read();
  if (!record.ok()) return record.status();

  shared_->last_contact = 0;
  shared_->last_sync = 0;
  shared_->lease_fence = 0;
  shared_->lease_until = 0;
  shared_->lease_idle_since = 0;
  shared_->lease_pid = 0;
  shared_->turn = 0;
  shared_->unsettled = 0;
  shared_->synced_sequence = record->sequence;
  shared_->boot_sequence = record->sequence;
  // Entries need no wiping: without a number below `count`, none is looked at.
  shared_->ring.count = 0;
  shared_->boot.store(boot, std::memory_order_release);
  return OkStatus();
}

Result<SidecarRecord> Sidecar::Read() {
  if (fd_ < 0) return AbandonedError();
  Result<Slots> slots = ReadSlots(fd_, path_);
  if (!slots.ok()) return slots.status();
  return std::move(slots->record);
}

Status Sidecar::Write(SidecarRecord* record, Sync sync) {
  if (fd_ < 0) return AbandonedError();
  TURSO_RETURN_IF_ERROR(CheckRecord(*record).While("writing " + path_));
  Result<Slots> slots = ReadSlots(fd_, path_);
  if (!slots.ok()) return slots.status();

  // The oldest slot that is neither the newest nor the last synced one; with three slots there is
  // one.
  const uint64_t newest = slots->record.sequence;
  const uint64_t synced = shared_->synced_sequence.load(std::memory_order_acquire);
  int target = -1;
  uint64_t target_sequence = 0;
  for (int i = 0; i < kSlots; i++) {
    ByteView slot =
        ByteView(slots->bytes).subspan(static_cast<size_t>(i) * kSidecarPage, kSidecarPage);
    uint64_t sequence = SlotSequence(slot);
    if (i == slots->newest || (sequence != 0 && sequence == synced)) continue;
    if (target < 0 || sequence < target_sequence) {
      target = i;
      target_sequence = sequence;
    }
  }

  record->sequence = newest + 1;
  TURSO_RETURN_IF_ERROR(WriteAt(fd_, path_, kSlotsAt + static_cast<uint64_t>(target) * kSidecarPage,
                                EncodeSlot(*record)));
  if (sync == Sync::kYes) {
    if (::fdatasync(fd_) != 0) return FileError("syncing", path_, errno);
    shared_->synced_sequence.store(record->sequence, std::memory_order_release);
  }
  return OkStatus();
}

void Sidecar::Remember(const WalPosition& position, const Revision& revision) {
  RevisionRing* ring = &shared_->ring;
  const uint64_t number = ring->count.load(std::memory_order_relaxed);
  if (number > 0) {
    std::optional<RingEntry> last = ReadEntry(ring, number - 1);
    if (last && last->position == position && last->revision == revision) return;
  }
  RingEntry written{position, revision};
  Word words[kEntryWords];
  std::memcpy(words, &written, sizeof words);
  // `turn` follows from `number` alone, so that whoever comes after a writer that died here does
  // the same again.
  RevisionRing::Entry* entry = &ring->entries[number % RevisionRing::kEntries];
  entry->turn.store(2 * number + 1, std::memory_order_relaxed);
  for (size_t i = 0; i < kEntryWords; i++) {
    __atomic_store_n(WordsOf(entry) + i, words[i], __ATOMIC_RELEASE);
  }
  entry->turn.store(2 * number + 2, std::memory_order_release);
  ring->count.store(number + 1, std::memory_order_release);
}

std::optional<Revision> Sidecar::Recall(const WalPosition& position) const {
  RevisionRing* ring = &shared_->ring;
  const uint64_t count = ring->count.load(std::memory_order_acquire);
  const uint64_t oldest = count - std::min(count, RevisionRing::kEntries);
  for (uint64_t number = count; number > oldest; number--) {
    std::optional<RingEntry> entry = ReadEntry(ring, number - 1);
    if (entry && entry->position == position) return entry->revision;
  }
  return std::nullopt;
}

Elected Sidecar::Campaign() {
  if (fd_ < 0) return Elected::kNo;
  Result<bool> locked = TryLockByte(fd_, path_, kElectionByte);
  if (!locked.ok()) Log(LogLevel::kWarning, "electing who pulls: " + locked.status().text());
  return locked.ok() && *locked ? Elected::kYes : Elected::kNo;
}

void Sidecar::Resign() {
  if (fd_ >= 0) UnlockByte(fd_, kElectionByte);
}

void Sidecar::AbandonAfterFork() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

bool Sidecar::StillThere() const { return fd_ >= 0 && IsFileAt(fd_, path_); }

Status Sidecar::AbandonedError() const {
  return Status(
      Code::kInvalid,
      path_ +
          " was opened before a fork, by the parent of this process: open the database anew here");
}

Status MarkDatabase(const std::string& database, const std::array<uint8_t, 16>& replica_id) {
  const std::string hex = ToHex(replica_id);
  if (::setxattr(database.c_str(), kMarkAttribute, hex.data(), hex.size(), 0) == 0)
    return OkStatus();
  // No such attributes here, or no room for one: the sidecar alone marks the replica.
  if (errno == ENOTSUP || errno == ENOSYS || errno == EPERM || errno == E2BIG || errno == ENOSPC ||
      errno == EDQUOT) {
    return OkStatus();
  }
  return FileError("marking", database, errno);
}

bool IsMarked(const std::string& database) {
  return ::getxattr(database.c_str(), kMarkAttribute, nullptr, 0) >= 0;
}

}  // namespace turso
