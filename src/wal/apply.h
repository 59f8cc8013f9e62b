// Puts pages from elsewhere into a live WAL as one ordinary transaction, which readers in every
// process see as any other commit; and reads pages as the newest commit has them.
//
// The caller holds WRITE on the wal-index through `files` (or through another handle of the same
// process), and SHARED on the database file. It needs no read mark.
//   (A1) The frames are in the file, and synced if asked for, before the header that counts them.
//   (A2) The log is started afresh only with CHECKPOINT and READ1..READ4 held, and only when every
//        frame is backfilled; if one of these locks is not to be had, the frames are appended.
//   (A3) nBackfill is zeroed before the header with no frames is published.
//   (A4) A death at any point leaves the old state or the new one.

#ifndef TURSO_SRC_WAL_APPLY_H_
#define TURSO_SRC_WAL_APPLY_H_

#include <functional>

#include "src/base/page_set.h"
#include "src/base/status.h"
#include "src/wal/wal_files.h"
#include "src/wal/wal_index.h"

namespace turso {

// Whether the frames are synced. The header of a log started afresh always is.
enum class Sync { kNo, kYes };

// Where the frames of a transaction will stand: told before the first of them is written.
struct FramePlan {
  Salts salts{};
  FrameNo base;  // The last frame before them.
  FrameNo last;  // The commit frame.
};

struct ApplyOptions {
  Sync sync = Sync::kYes;
  // Called with WRITE, CHECKPOINT and READ1..READ4 held, before a restart discards frames. A
  // failure means: append.
  std::function<Status(const WalIndexHeader&)> before_restart;
  // Called before the first frame is written. A failure ends the apply with nothing done.
  std::function<Status(const FramePlan&)> before_frames;
};

// Returns the header as published. kBusy if SQLite must recover the wal-index first: run any read
// through SQLite and try again. `pages` is not empty, and of the database's page size.
Result<WalIndexHeader> Apply(WalFiles* files, const PageSet& pages, const ApplyOptions& options);

// The image of `page` in the state that `header` describes. WRITE held, or a read lock taken at
// that state.
Status ReadPage(WalFiles* files, const WalIndexHeader& header, PageNo page, MutableByteView out);

// Frames base+1 to last of the log as one transaction's final pages: the newest image of each page,
// those above `db_size` dropped. Headers are not verified, except for their page numbers. WRITE
// held.
Result<PageSet> CollectFrames(WalFiles* files, uint32_t page_size, FrameNo base, FrameNo last,
                              uint32_t db_size);

}  // namespace turso

#endif  // TURSO_SRC_WAL_APPLY_H_
