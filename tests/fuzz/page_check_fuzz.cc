// The pages of a commit, as a token that may write has sent them.
// Input: pages before u8 | pages after u8 | size told in page 1 u32 | page numbers: count u8, each
// u8
//        | changes to page 1: the rest, each an offset u8 and a byte

#include <set>

#include "src/primary/page_check.h"
#include "tests/fuzz/fuzz.h"

namespace turso {
namespace {

constexpr uint32_t kPageSize = 512;

Bytes FirstPage(uint32_t pages) {
  Bytes page(kPageSize, 0);
  std::copy_n("SQLite format 3", 16, page.begin());
  StoreBig16(&page[16], kPageSize);
  page[18] = page[19] = 2;
  std::copy_n("\x40\x20\x20", 3, &page[21]);
  StoreBig32(&page[28], pages);
  page[59] = 1;
  return page;
}

}  // namespace
}  // namespace turso

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turso;
  fuzz::Input in({data, size});
  const uint32_t before = in.U8() + 1u;
  const uint32_t after = in.U8();
  const uint32_t told = in.U32();
  const Bytes current = FirstPage(before);
  PageSet pages(kPageSize);
  pages.set_db_size(in.U8() % 8 == 0 ? told : after);
  std::set<uint32_t> sent;
  for (int n = in.U8(); n > 0; n--) {
    const uint32_t page = in.U8() % 4 == 0 ? in.U32() : in.U8();
    std::memset(pages.Slot({page}), 0, kPageSize);
    sent.insert(page);
  }
  const Bytes given = FirstPage(told);
  Bytes fresh = given;
  while (in.rest().size() >= 2) {
    const size_t at = in.U8();
    fresh[at] ^= in.U8();
  }
  if (sent.count(1) != 0) pages.Put({1}, fresh.data());

  const Status status = CheckPages(pages, current, before);
  if (!status.ok()) {
    TURSO_REQUIRE(status.code() == Code::kInvalid);
    fuzz::RequireSays(status);
    return 0;
  }
  // What is taken makes a whole database of the size that it says, with a header of the same kind.
  const uint32_t db_size = pages.db_size();
  TURSO_REQUIRE(!sent.empty() && db_size > 0 && *sent.begin() > 0 && *sent.rbegin() <= db_size);
  TURSO_REQUIRE(db_size <= before + sent.size() + 1);
  for (uint32_t page = before + 1; page <= db_size; page++) {
    TURSO_REQUIRE(sent.count(page) != 0 || page == LockBytePage(kPageSize).value);
  }
  if (sent.count(1) == 0) {
    TURSO_REQUIRE(db_size == before);
    return 0;
  }
  TURSO_REQUIRE(std::equal(fresh.begin(), fresh.begin() + 24, current.begin()));
  TURSO_REQUIRE(LoadBig32(&fresh[28]) == db_size);
  return 0;
}
