// What a database holds, and how to notice that somebody else changed it.
//
// The digest of a content is one number: the sum, over its pages, of a hash of the page and its
// number. So a commit moves it by the pages that it changes, and whether files still hold what they
// were left with can be told without the primary. The guard in byte 18 does not count.
// The footprint of a file is what a program that writes it cannot help changing.

#ifndef TURSO_SRC_REPLICA_CONTENT_H_
#define TURSO_SRC_REPLICA_CONTENT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "src/base/page_set.h"
#include "src/remote/remote.h"
#include "src/wal/apply.h"

namespace turso {

// A page's share of the digest.
uint64_t DigestTerm(PageNo page, const PageHash& hash);
inline uint64_t DigestTerm(PageNo page, ByteView image) {
  return DigestTerm(page, HashPage(page, image));
}
// The page in which SQLite's locks lie, and which it never uses: it is in no digest.
bool IsLockPage(PageNo page, uint32_t page_size);

// `header` with the page size and the size of the database, which it does not tell when the log has
// no frames.
Result<WalIndexHeader> WholeHeader(WalFiles* files, const WalIndexHeader& header,
                                   uint32_t page_size);
// Of the content that `header`, a whole one, describes: reads every page. WRITE held.
Result<uint64_t> DigestOf(WalFiles* files, const WalIndexHeader& header);
// `digest`, which is the one of `header`'s content, as it will be after `pages`. WRITE held.
Result<uint64_t> DigestAfter(WalFiles* files, const WalIndexHeader& header, uint64_t digest,
                             const PageSet& pages);

struct Footprint {
  uint64_t device = 0;
  uint64_t file = 0;  // The inode.
  uint64_t bytes = 0;
  uint64_t modified = 0;  // Nanoseconds.
  friend bool operator==(const Footprint&, const Footprint&) = default;
  bool SameFile(const Footprint& other) const {
    return device == other.device && file == other.file;
  }
};
// By name; nothing if there is no such file.
std::optional<Footprint> FootprintOf(const std::string& path);

}  // namespace turso

#endif  // TURSO_SRC_REPLICA_CONTENT_H_
