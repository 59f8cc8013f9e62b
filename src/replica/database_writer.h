// The pages of a pull of everything, as a database file.
//
// Whatever order they come in, each lands at its place, and the later image counts. Page 1 is
// guarded: its write version says 3, so that a stock SQLite reads the file and refuses to write it
// (https://sqlite.org/fileformat2.html#file_format_version_numbers), and its read version WAL.
// One thread.

#ifndef TURSO_SRC_REPLICA_DATABASE_WRITER_H_
#define TURSO_SRC_REPLICA_DATABASE_WRITER_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "src/base/page_set.h"
#include "src/remote/remote.h"

namespace turso {

class DatabaseWriter : public PageSink {
 public:
  // Writes to `fd`, which stays the caller's; `path` is for texts. `progress` is called as pages
  // come.
  DatabaseWriter(int fd, std::string path, std::function<void()> progress)
      : fd_(fd), path_(std::move(path)), progress_(std::move(progress)) {}

  // kCorrupt if what comes cannot be a database's pages.
  Status Size(uint32_t page_size, uint32_t db_size) override;
  Status Page(PageNo page, ByteView image) override;
  // Cuts the file to its size. kCorrupt if a page never came, or the first is no database's.
  Status Finish();

  uint32_t page_size() const { return page_size_; }
  // Of what was written: src/replica/content.h
  uint64_t digest() const { return digest_; }

 private:
  Status Flush();
  void Forget(uint32_t last);
  void Note(uint32_t page);
  void Advance();
  // The one page that SQLite never uses, because locks lie there: it need not come.
  uint32_t LockPage() const { return 0x40000000 / page_size_ + 1; }

  const int fd_;
  const std::string path_;
  const std::function<void()> progress_;
  uint32_t page_size_ = 0;
  uint32_t db_size_ = 0;
  // Pages 1 to complete_ have come, and those of scattered_.
  uint32_t complete_ = 0;
  uint64_t digest_ = 0;
  // Each page's share of it, 0 for one that has not come. By groups, made when a page comes: a size
  // is only what somebody says.
  static constexpr uint32_t kTermsInGroup = 512;
  std::map<uint32_t, std::array<uint64_t, kTermsInGroup>> terms_;
  std::set<uint32_t> scattered_;
  // Pages in a row, not yet written.
  Bytes run_;
  uint64_t run_offset_ = 0;
};

}  // namespace turso

#endif  // TURSO_SRC_REPLICA_DATABASE_WRITER_H_
