#include "src/replica/content.h"

#include <sys/stat.h>

namespace turso {

uint64_t DigestTerm(PageNo page, const PageHash& hash) {
  // The finalizer of SplitMix64: every bit of both counts.
  uint64_t x = hash.low ^ (page.value * uint64_t{0x9e3779b97f4a7c15});
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

bool IsLockPage(PageNo page, uint32_t page_size) {
  // https://sqlite.org/fileformat2.html#the_lock_byte_page
  return page.value == 0x40000000 / page_size + 1;
}

Result<WalIndexHeader> WholeHeader(WalFiles* files, const WalIndexHeader& header,
                                   uint32_t page_size) {
  WalIndexHeader whole = header;
  if (header.frames != 0) return whole;
  Result<uint64_t> size = files->DatabaseSize();
  if (!size.ok()) return size.status();
  whole.page_size = page_size;
  whole.db_size = static_cast<uint32_t>(*size / page_size);
  return whole;
}

Result<uint64_t> DigestOf(WalFiles* files, const WalIndexHeader& header) {
  uint64_t digest = 0;
  Bytes image(header.page_size);
  for (PageNo page{1}; page.value <= header.db_size; page.value++) {
    if (IsLockPage(page, header.page_size)) continue;
    TURSO_RETURN_IF_ERROR(ReadPage(files, header, page, image));
    digest += DigestTerm(page, image);
  }
  return digest;
}

Result<uint64_t> DigestAfter(WalFiles* files, const WalIndexHeader& header, uint64_t digest,
                             const PageSet& pages) {
  Bytes image(header.page_size);
  auto without = [&](PageNo page) {
    if (IsLockPage(page, header.page_size)) return OkStatus();
    TURSO_RETURN_IF_ERROR(ReadPage(files, header, page, image));
    digest -= DigestTerm(page, image);
    return OkStatus();
  };
  for (auto it = pages.begin(); it != pages.end(); ++it) {
    const PageNo page = it->first;
    if (page.value > pages.db_size()) continue;
    if (page.value <= header.db_size) TURSO_RETURN_IF_ERROR(without(page));
    if (!IsLockPage(page, header.page_size)) digest += DigestTerm(page, pages.image(it));
  }
  for (PageNo page{pages.db_size() + 1}; page.value <= header.db_size; page.value++) {
    TURSO_RETURN_IF_ERROR(without(page));
  }
  return digest;
}

std::optional<Footprint> FootprintOf(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return std::nullopt;
#if defined(__APPLE__)
  const timespec modified = st.st_mtimespec;
#else
  const timespec modified = st.st_mtim;
#endif
  return Footprint{static_cast<uint64_t>(st.st_dev), static_cast<uint64_t>(st.st_ino),
                   static_cast<uint64_t>(st.st_size),
                   static_cast<uint64_t>(modified.tv_sec) * 1'000'000'000 +
                       static_cast<uint64_t>(modified.tv_nsec)};
}

}  // namespace turso
