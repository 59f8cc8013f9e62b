// A message of the `primary` protocol, request or answer.
// Input: kind u8. Kind 0: a whole message. 2: a head. 1: what a message is made of: flags u8 (1:
// lz4), page
//        size code u8, position of the damage u16, text of the head (length u16), pages: number
//        u8, each u32, then bytes to fill the images from.

#include <vector>

#include "src/wire/message.h"
#include "tests/fuzz/fuzz.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace turso {
namespace {

using nlohmann::json;

struct Page {
  PageNo number;
  Bytes image;
  friend bool operator==(const Page&, const Page&) = default;
};

std::optional<std::vector<Page>> PagesOf(const Message& message) {
  std::vector<Page> pages;
  const Status status = message.ForEachPage([&](PageNo number, ByteView image) {
    TURSO_REQUIRE(number.value != 0 && IsPageSize(static_cast<uint32_t>(image.size())));
    pages.push_back({number, {image.begin(), image.end()}});
    return OkStatus();
  });
  if (status.ok()) return pages;
  TURSO_REQUIRE(status.code() == Code::kCorrupt);
  fuzz::RequireSays(status);
  return std::nullopt;
}

template <typename AnyHead>
std::string Encode(const AnyHead& head, PageCodec codec, uint32_t page_size,
                   const std::vector<Page>& pages) {
  MessageWriter writer(head, codec, page_size);
  writer.Reserve(pages.size());
  for (const Page& page : pages) writer.Add(page.number, page.image);
  return writer.Finish();
}

bool IsNatural(const json& value) {
  return value.is_number_integer() && (value.is_number_unsigned() || value.get<int64_t>() >= 0);
}

template <typename T>
void RequireList(const json& list, const Result<std::vector<T>>& read, bool is_of_kind) {
  TURSO_REQUIRE(read.ok() == is_of_kind);
  if (!read.ok()) return fuzz::RequireSays(read.status());
  TURSO_REQUIRE(list == json(*read));
}

// A field of the head is what a JSON document in memory has under that name.
void RequireSame(const Head& head, const std::string& name, const json& value) {
  TURSO_REQUIRE(head.Has(name));
  if (name.find('\0') != std::string::npos) return;
  Result<uint64_t> number = NumberField(head, name.c_str());
  TURSO_REQUIRE(number.ok() == IsNatural(value) && (!number.ok() || value == *number));
  Result<std::string> text = TextField(head, name.c_str());
  TURSO_REQUIRE(text.ok() == value.is_string() && (!text.ok() || value == *text));
  Result<bool> flag = BoolField(head, name.c_str());
  TURSO_REQUIRE(flag.ok() == value.is_boolean() && (!flag.ok() || value == *flag));
  const bool is_list = value.is_array();
  const bool texts = is_list && std::all_of(value.begin(), value.end(),
                                            [](const json& one) { return one.is_string(); });
  const bool numbers = is_list && std::all_of(value.begin(), value.end(), IsNatural);
  RequireList(value, TextsField(head, name.c_str()), texts);
  RequireList(value, NumbersField(head, name.c_str()), numbers);
}

// The text of the head of a whole message.
std::string_view HeadOf(ByteView message) {
  return AsText(message.subspan(8, LoadBig32(message.data() + 4)));
}

void CheckHead(ByteView text) {
  const json document = json::parse(AsText(text), nullptr, false);
  Result<Head> head = Head::Parse(text);
  TURSO_REQUIRE(head.ok() == document.is_object());
  if (!head.ok()) {
    TURSO_REQUIRE(head.status().code() == Code::kCorrupt);
    return fuzz::RequireSays(head.status());
  }
  for (const auto& [name, value] : document.items()) RequireSame(*head, name, value);
}

// What was read can be written, in either codec, and is then read as the same.
void CheckWhole(ByteView bytes) {
  fuzz::AllocationMeter decoding;
  Result<Message> message = Message::Decode(bytes);
  // (M2) A field takes some bytes of JSON at least, and less than two hundred in memory.
  TURSO_REQUIRE(decoding.peak() <= 64 * bytes.size() + (64u << 10));
  if (!message.ok()) {
    TURSO_REQUIRE(message.status().code() == Code::kCorrupt);
    return fuzz::RequireSays(message.status());
  }
  const json head = json::parse(HeadOf(bytes));
  for (const auto& [name, value] : head.items()) RequireSame(message->head(), name, value);
  fuzz::AllocationMeter unpacking;
  const Status status = message->ForEachPage([](PageNo, ByteView) { return OkStatus(); });
  TURSO_REQUIRE(unpacking.peak() <= 256 * bytes.size() + (4u << 10));
  const std::optional<std::vector<Page>> pages = PagesOf(*message);
  TURSO_REQUIRE(pages.has_value() == status.ok());
  if (!pages) return;
  const uint32_t page_size =
      pages->empty() ? 0 : static_cast<uint32_t>(pages->front().image.size());
  // Writing a document that is nested without end takes the stack without end.
  if (std::count(bytes.begin(), bytes.end(), '[') + std::count(bytes.begin(), bytes.end(), '{') >
      99)
    return;
  for (PageCodec codec : {PageCodec::kRaw, PageCodec::kLz4}) {
    const std::string encoded = Encode(head, codec, page_size, *pages);
    Result<Message> again = Message::Decode(AsBytes(encoded));
    TURSO_REQUIRE(again.ok() && json::parse(HeadOf(AsBytes(encoded))) == head);
    TURSO_REQUIRE(PagesOf(*again) == pages);
  }
}

Bytes Sealed(ByteView bytes) {
  Bytes sealed(bytes.begin(), bytes.end());
  if (sealed.size() < 16) return sealed;
  std::copy_n("TVP1", 4, sealed.begin());
  const size_t body = sealed.size() - 8;
  StoreBig64(&sealed[body], XXH3_64bits(sealed.data(), body));
  return sealed;
}

// A message that was written is read as it was meant; cut short or altered it is not read at all.
void CheckMade(fuzz::Input* in) {
  const PageCodec codec = (in->U8() & 1) != 0 ? PageCodec::kLz4 : PageCodec::kRaw;
  const uint32_t page_size = 512u << in->U8() % 4;
  const size_t damage = in->U16();
  const std::string text(in->Text());
  const size_t count = in->U8();
  std::vector<Page> pages(count);
  for (Page& page : pages) page.number = {std::max(in->U32(), 1u)};
  for (Page& page : pages) {
    page.image.assign(page_size, in->U8());
    const ByteView some = in->Take(8);
    std::copy(some.begin(), some.end(), page.image.begin());
  }
  std::vector<PageNo> numbers;
  for (const Page& page : pages) numbers.push_back(page.number);
  HeadText head;
  head.Add("page_size", page_size).Add("db_size", UINT32_MAX);
  head.Add("text", text).Add("pages", numbers).Add("damage", damage);
  const std::string bytes = Encode(head, codec, page_size, pages);
  Result<Message> message = Message::Decode(AsBytes(bytes));
  TURSO_REQUIRE(message.ok() && *NumberField(message->head(), "page_size") == page_size);
  TURSO_REQUIRE(*NumberField(message->head(), "damage") == damage);
  // A text that is UTF-8 is read as it was.
  const std::string shown =
      json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace));
  TURSO_REQUIRE(*TextField(message->head(), "text") == shown);
  Result<Head::Numbers> listed = NumbersField(message->head(), "pages");
  TURSO_REQUIRE(listed.ok() && listed->size() == numbers.size());
  for (size_t i = 0; i < numbers.size(); i++) TURSO_REQUIRE((*listed)[i] == numbers[i].value);
  TURSO_REQUIRE(PagesOf(*message) == pages);
  TURSO_REQUIRE(!Message::Decode(AsBytes(bytes).first(damage % bytes.size())).ok());
  std::string altered = bytes;
  altered[damage % bytes.size()] ^= 1;
  TURSO_REQUIRE(!Message::Decode(AsBytes(altered)).ok());
}

}  // namespace
}  // namespace turso

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turso;
  fuzz::Input in({data, size});
  const int kind = in.U8() % 3;
  if (kind == 1) CheckMade(&in);
  if (kind == 2) CheckHead(in.rest());
  if (kind != 0) return 0;
  CheckWhole(in.rest());
  CheckWhole(Sealed(in.rest()));
  return 0;
}
