// NAME-turso: which revision of which primary the database NAME is, and what its processes tell
// each other.
//
//   offset  bytes
//        0   4096   header: "turso replica\0\0\0" | format version u32 | oldest reader u32 |
//                   zeros | XXH3-64 u64
//     4096   4096   slot 0 ) the newest slot with a right checksum counts. A record goes where
//     8192   4096   slot 1 ) neither the newest nor the last synced one is: a write that is torn
//    12288   4096   slot 2 ) leaves the one before, and a power cut the last that was synced
//    16384    ...   SharedState: a mapping shared by all processes; but for the footprint it means
//                   nothing after a restart of the machine
//
//   slot, texts ending with a zero, zeros elsewhere
//      0 sequence u64                     88 intent: commit number u64    384 protocol, 64
//      8 replica id, 16                  128 durable, 64                  448 database id, 192
//     24 last commit number u64          192 current, 64                  640 url, 1088
//     32 page size u32                   256 intent: target, 64          4088 XXH3-64 of the bytes
//     36 flags: 1 in file, 2 outdated,   320 intent: base, 64                 before it
//        4 own cookie
//     37 intent: kind
//     40 current position: salts, 8; frames u32; checksum u32 u32
//     64 intent: salts, 8; base frame u32; last frame u32
//     80 intent: hash of the page set u64
//     96 digest of the content u64; with the intent u64
//    112 converged: salts, 8; frame u32; at 1728 its revision, 64
//
// Integers in header and slots are big-endian. Never a token.
//   (S1) A slot is written only by whoever holds the WRITE lock of the database's wal-index (or
//        creates the replica).
//   (S2) `durable` is a revision whose pages no crash can take away from the files; a lower bound.
//   (S3) `current` holds only for a WAL in exactly the state that it names.
//   (S4) An intent is in the file before the frames that it announces are published, and before
//        a commit is sent.
//   (S5) What is read from the mapping is taken for what it is, bytes that anybody may have
//        written: no index, length or text out of it leads outside of it.
// Any thread may read the shared state. One thread at a time calls the functions.

#ifndef TURSO_SRC_REPLICA_SIDECAR_H_
#define TURSO_SRC_REPLICA_SIDECAR_H_

#include <sys/types.h>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/remote/remote.h"
#include "src/wal/apply.h"
#include "src/wal/wal.h"

namespace turso {

enum class IntentKind : uint8_t {
  kNone = 0,
  kPull = 1,       // Frames base+1..last bring `target`.
  kCommit = 2,     // Sent, or about to be; the answer is not known. `target` is empty.
  kCommitted = 3,  // The primary said yes: `target` is the commit's revision.
};

struct Intent {
  IntentKind kind = IntentKind::kNone;
  FramePlan frames;
  uint64_t page_set_hash = 0;
  Revision target;
  Revision base;                // What a commit stood on.
  uint64_t commit_number = 0;   // Of a commit; with replica_id its CommitId.
  uint64_t content_digest = 0;  // As the record's, once its frames are published.
};

struct SidecarRecord {
  uint64_t sequence = 0;    // Grows with every slot written.
  std::string url;          // Up to 1024 bytes.
  std::string database_id;  // Up to 128 bytes.
  std::string protocol;     // Up to 32 bytes.
  std::array<uint8_t, 16> replica_id{};
  uint64_t last_commit_number = 0;  // Highest ever used.
  uint32_t page_size = 0;
  Revision durable;
  Revision current;
  WalPosition
      current_position;  // Frames 0: the database file alone, with no valid frame in the log.
  // The database file alone has `current` as well: the log may be restarted, and then has no
  // frames.
  bool current_in_database = false;
  // Not empty while the files show the pages of a commit of ours where the primary has its own for
  // the same content: the last revision that was the primary's page for page. Frames up to
  // `converged_frame` and the database file are that revision, and stay until the primary's pages
  // are here.
  Revision converged;
  Salts converged_salts{};
  FrameNo converged_frame;
  bool outdated = false;    // The primary's pages have another size: to be made anew when opened.
  bool own_cookie = false;  // Page 1 shows another schema cookie than the primary's.
  uint64_t content_digest = 0;  // Of `current`: src/replica/content.h
  Intent intent;

  bool provisional() const { return !converged.empty(); }
  // Where pages are pulled from.
  const Revision& origin() const { return provisional() ? converged : current; }
};

// Pure: the bytes of one slot (4096), and back. kCorrupt if the checksum or a length is wrong.
Bytes EncodeSlot(const SidecarRecord& record);
Result<SidecarRecord> DecodeSlot(ByteView slot);

// Which revision a state of the log shows: kept for as many states as open snapshots are likely to
// be old.
struct RevisionRing {
  static constexpr uint64_t kEntries = 4096;
  struct Entry {
    std::atomic<uint64_t> turn;  // Odd while being written.
    WalPosition position;
    Revision revision;
  };
  std::atomic<uint64_t> count;
  Entry entries[kEntries];
};

// In the mapping. Plain numbers so that it works between processes; times are Instants of this
// boot. Its layout is part of the format: another one needs another format version.
struct SharedState {
  std::atomic<uint64_t> boot;  // Which boot of the machine the rest is of.
  std::atomic<int64_t>
      last_contact;  // When the primary last said that nothing was newer than what we have.
  std::atomic<int64_t> last_sync;     // When pages were last applied.
  std::atomic<uint64_t> lease_fence;  // 0: none.
  std::atomic<int64_t> lease_until;
  std::atomic<int64_t> lease_idle_since;  // 0 while a transaction runs under it.
  std::atomic<uint32_t> lease_pid;  // Of the process whose turn it is to renew or give it back.
  std::atomic<uint32_t> turn;       // src/replica/writer_turn.h
  std::atomic<uint64_t> unsettled;  // Number of the commit that was given up as unknown.
  std::atomic<uint64_t>
      synced_sequence;  // Of the last record that is surely on the disk; the sidecar's own.
  std::atomic<uint64_t> boot_sequence;  // Of the last record of an earlier boot.
  // The database file as our checkpoints left it: a Footprint. Odd while one of them writes. Only
  // who holds CHECKPOINT changes it.
  std::atomic<uint64_t> footprint_turn;
  std::atomic<uint64_t> footprint[4];
  RevisionRing ring;
};

enum class Elected { kNo, kYes };

class Sidecar {
 public:
  // "app.db" -> "app.db-turso"
  static std::string PathFor(const std::string& database);

  // Writes a new one under a temporary name, syncs it, and links it to its final name: it is never
  // there in part. Owner and mode as `database` has them, if that exists, and its footprint.
  // kInvalid if a sidecar is there already.
  static Status Create(const std::string& path, const std::string& database,
                       const SidecarRecord& record);
  // kNotFound: there is none. kCorrupt: truncated, damaged, or of a format that we do not read: the
  // text names the file and says which. Nothing is changed.
  static Result<std::unique_ptr<Sidecar>> Open(const std::string& path);
  // Only the record of the file as it is: for looking at a replica without opening it. Same errors.
  static Result<SidecarRecord> Peek(const std::string& path);
  ~Sidecar();

  // The newest record in the file: another process may have written it.
  Result<SidecarRecord> Read();
  // Writes `record` with the next sequence number. kYes: and fdatasync. kInvalid: a text in it is
  // too long.
  Status Write(SidecarRecord* record, Sync sync);

  SharedState& shared() { return *shared_; }
  // Ring: called with WRITE held.
  void Remember(const WalPosition& position, const Revision& revision);
  // Any time, from any thread; nothing if it is too old or was never remembered.
  std::optional<Revision> Recall(const WalPosition& position) const;

  // Only one process at a time pulls: an open-file-description lock, so that it dies with its
  // process and knows no pid. Elected until Resign or the end.
  Elected Campaign();
  void Resign();

  // In the child of a fork: closes the descriptor, so that locks stay the parent's alone, and
  // unmaps nothing.
  void AbandonAfterFork();
  // Whether the file that we have open is still the one under this name.
  bool StillThere() const;

 private:
  Sidecar() = default;
  Status ResetAfterBoot();
  Status Reset(uint64_t boot);
  Status AbandonedError() const;

  std::string path_;
  int fd_ = -1;
  SharedState* shared_ = nullptr;
};

// The second mark of a replica, for the day its sidecar is lost: an extended attribute on the
// database, where the file system has them (where it has none: nothing happens, kOk). The database
// file itself is not opened, because closing it would drop the locks that this process has on it.
Status MarkDatabase(const std::string& database, const std::array<uint8_t, 16>& replica_id);
bool IsMarked(const std::string& database);

}  // namespace turso

#endif  // TURSO_SRC_REPLICA_SIDECAR_H_
