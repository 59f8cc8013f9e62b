#include "src/replica/database_writer.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "src/base/guard.h"
#include "src/replica/content.h"
#include "src/replica/local_file.h"

namespace turso {

namespace {

constexpr size_t kRunBytesMax = 1 << 20;

// https://sqlite.org/fileformat2.html#the_database_header
constexpr std::string_view kMagic("SQLite format 3\0", 16);
constexpr size_t kPageSizeAt = 16;

Status Corrupt(const std::string& what) {
  return Status(Code::kCorrupt, "the primary's answer does not make a database: " + what);
}

}  // namespace

Status DatabaseWriter::Size(uint32_t page_size, uint32_t db_size) {
  if (!IsPageSize(page_size)) return Corrupt("a page size of " + std::to_string(page_size));
  if (page_size_ != 0 && page_size != page_size_) {
    return Corrupt("the page size changed from " + std::to_string(page_size_) + " to " +
                   std::to_string(page_size) + " on the way");
  }
  page_size_ = page_size;
  if (db_size < db_size_) Forget(db_size);
  db_size_ = db_size;
  // What was beyond the end once is not what comes there when it grows again.
  complete_ = std::min(complete_, db_size);
  scattered_.erase(scattered_.upper_bound(db_size), scattered_.end());
  return OkStatus();
}

Status DatabaseWriter::Page(PageNo page, ByteView image) {
  if (page_size_ == 0 || page.value == 0 || page.value > db_size_) {
    return Corrupt("page " + std::to_string(page.value) + " of " + std::to_string(db_size_));
  }
  if (image.size() != page_size_) {
    return Corrupt("page " + std::to_string(page.value) + " is " + std::to_string(image.size()) +
                   " bytes long");
  }
  const uint64_t offset = uint64_t{page.value - 1} * page_size_;
  if (run_.size() + page_size_ > kRunBytesMax || offset != run_offset_ + run_.size()) {
    TURSO_RETURN_IF_ERROR(Flush());
    run_offset_ = offset;
  }
  run_.insert(run_.end(), image.begin(), image.end());
  if (page.value == 1) {
    uint8_t* first = run_.data() + run_.size() - page_size_;
    first[kWriteVersionAt] = kGuardVersion;
    first[kReadVersionAt] = kWalModeVersion;
  }
  if (!IsLockPage(page, page_size_)) {
    uint64_t& term = terms_[page.value / kTermsInGroup][page.value % kTermsInGroup];
    digest_ -= term;
    term = DigestTerm(page, image);
    digest_ += term;
  }
  Note(page.value);
  progress_();
  return OkStatus();
}

// The pages behind this one, in the digest.
void DatabaseWriter::Forget(uint32_t last) {
  const uint32_t beyond = last + 1;
  auto group = terms_.lower_bound(beyond / kTermsInGroup);
  if (group != terms_.end() && group->first == beyond / kTermsInGroup) {
    for (size_t i = beyond % kTermsInGroup; i < kTermsInGroup; i++) {
      digest_ -= std::exchange(group->second[i], 0);
    }
    ++group;
  }
  for (auto gone = group; gone != terms_.end(); ++gone) {
    for (uint64_t term : gone->second) digest_ -= term;
  }
  terms_.erase(group, terms_.end());
}

void DatabaseWriter::Note(uint32_t page) {
  if (page > complete_) scattered_.insert(page);
  Advance();
}

void DatabaseWriter::Advance() {
  while (complete_ < db_size_) {
    const uint32_t next = complete_ + 1;
    if (scattered_.erase(next) == 0 && next != LockPage()) break;
    complete_ = next;
  }
}

Status DatabaseWriter::Flush() {
  Status written = WriteAt(fd_, path_, run_offset_, run_);
  run_.clear();
  return written;
}

Status DatabaseWriter::Finish() {
  TURSO_RETURN_IF_ERROR(Flush());
  if (page_size_ == 0 || db_size_ == 0) return Corrupt("it has no pages");
  Advance();
  if (complete_ < db_size_) {
    return Corrupt("page " + std::to_string(complete_ + 1) + " of " + std::to_string(db_size_) +
                   " never came");
  }
  if (::ftruncate(fd_, static_cast<off_t>(uint64_t{db_size_} * page_size_)) != 0) {
    return FileError("cutting to its size", path_, errno);
  }
  uint8_t header[20];
  TURSO_RETURN_IF_ERROR(ReadAt(fd_, path_, 0, header));
  if (AsText(ByteView(header).first(kMagic.size())) != kMagic) {
    return Corrupt("page 1 does not begin as one of SQLite's does");
  }
  const uint32_t stated = LoadBig16(header + kPageSizeAt);
  if ((stated == 1 ? 65536 : stated) != page_size_) {
    return Corrupt("page 1 states a page size of " + std::to_string(stated) + ", and pages have " +
                   std::to_string(page_size_) + " bytes");
  }
  return OkStatus();
}

}  // namespace turso
