// The write slots of libSQL servers that this process holds between the beginning of a transaction
// and its commit, by their fence. A slot is a Hrana stream in a transaction that has written
// nothing, or one that rests behind a commit and holds nobody up; it can be used by any thread, one
// at a time: who takes it has it alone. One that is left
// is forgotten after the time that the server keeps it for. A child of fork() has none of its
// parent's.

#ifndef TURSO_SRC_REMOTE_SLOTS_H_
#define TURSO_SRC_REMOTE_SLOTS_H_

#include <cstdint>
#include <optional>

#include "src/base/clock.h"
#include "src/remote/hrana_message.h"
#include "src/remote/libsql_log.h"

namespace turso {

struct Slot {
  HranaStream stream;
  bool current = false;  // Surely at the base of the lease; else that is still to be learned.
  bool begun = true;     // In a transaction; else it rests.
  // Of the server process that has the stream, where they are known; else nothing and 0.
  std::optional<LogId> log;
  uint32_t session = 0;
  bool has_table = false;               // _turso_vfs
  std::optional<uint64_t> end;          // How many frames the log has, in the server's words.
  std::optional<int64_t> data_version;  // What PRAGMA data_version says on the stream.
};

// The fence under which it is found again: random, so that another process's is not taken for it.
uint64_t KeepSlot(Slot slot, Instant now = Instant::Now());
// Under the fence that it was taken by.
void RestSlot(uint64_t fence, Slot slot, Instant now = Instant::Now());
std::optional<Slot> TakeSlot(uint64_t fence, Instant now = Instant::Now());

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_SLOTS_H_
