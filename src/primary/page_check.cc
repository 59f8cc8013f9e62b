#include "src/primary/page_check.h"

#include <sqlite3.h>

#include <cstring>
#include <string>

#include "src/base/guard.h"

namespace turso {

namespace {

Status Invalid(const std::string& why) {
  return Status(Code::kInvalid, "the pages of this commit are refused: " + why);
}

// Offsets in page 1.
constexpr size_t kPageSize = 16;
constexpr size_t kReserved = 20;
constexpr size_t kFractions = 21;
constexpr size_t kDatabaseSize = 28;
constexpr size_t kEncoding = 56;

Status CheckFirstPage(ByteView fresh, ByteView current, uint32_t db_size) {
  if (std::memcmp(fresh.data(), "SQLite format 3", 16) != 0)
    return Invalid("page 1 is no database header");
  if (std::memcmp(&fresh[kPageSize], &current[kPageSize], 2) != 0)
    return Invalid("page 1 names another page size");
  if (fresh[kWriteVersionAt] != kWalModeVersion || fresh[kReadVersionAt] != kWalModeVersion) {
    return Invalid("page 1 is not that of a database in WAL mode");
  }
  if (fresh[kReserved] != current[kReserved])
    return Invalid("page 1 reserves another number of bytes");
  if (std::memcmp(&fresh[kFractions], "\x40\x20\x20", 3) != 0)
    return Invalid("page 1 has impossible fractions");
  if (uint32_t told = LoadBig32(&fresh[kDatabaseSize]); told != db_size) {
    return Invalid("page 1 tells of " + std::to_string(told) + " pages, the commit of " +
                   std::to_string(db_size));
  }
  // Restoring a backup into a replica may change the encoding.
  if (LoadBig32(&fresh[kEncoding]) > 3) return Invalid("page 1 names an impossible text encoding");
  return OkStatus();
}

}  // namespace

PageNo LockBytePage(uint32_t page_size) {
  // Given 0 it only tells. 0x40000000, unless a test has moved it.
  const int pending_byte = sqlite3_test_control(SQLITE_TESTCTRL_PENDING_BYTE, 0);
  return {static_cast<uint32_t>(pending_byte) / page_size + 1};
}

Status CheckPages(const PageSet& pages, ByteView page1, uint32_t db_size) {
  if (pages.page_size() != page1.size()) {
    return Invalid("they are of " + std::to_string(pages.page_size()) +
                   " bytes, the database's of " + std::to_string(page1.size()));
  }
  if (pages.empty()) return Invalid("there are none");
  const uint32_t fresh_size = pages.db_size();
  if (fresh_size == 0) return Invalid("the database would have no pages");
  const uint32_t lowest = pages.begin()->first.value;
  const uint32_t highest = std::prev(pages.end())->first.value;
  if (lowest == 0 || highest > fresh_size) {
    return Invalid("page " + std::to_string(lowest == 0 ? 0 : highest) +
                   " is outside of the database");
  }
  const uint8_t* first = pages.Find({1});
  if (first != nullptr)
    TURSO_RETURN_IF_ERROR(CheckFirstPage({first, page1.size()}, page1, fresh_size));
  if (first == nullptr && fresh_size != db_size)
    return Invalid("the size changes, and page 1 does not");
  // New pages must come with their images. Counting first keeps an absurd size from taking time.
  if (fresh_size > db_size && fresh_size - db_size > pages.size() + 1)
    return Invalid("new pages are missing");
  for (uint32_t page = db_size + 1; page <= fresh_size && page > db_size; page++) {
    if (pages.Find({page}) == nullptr && page != LockBytePage(pages.page_size()).value) {
      return Invalid("the new page " + std::to_string(page) + " is missing");
    }
  }
  return OkStatus();
}

}  // namespace turso
