#include "src/wire/message.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <utility>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace turso {
namespace {

using nlohmann::json;
using Pages = std::vector<std::pair<uint32_t, Bytes>>;

uint64_t Seed() {
  const char* given = std::getenv("TURSO_TEST_SEED");
  uint64_t seed = given ? std::strtoull(given, nullptr, 0) : std::random_device()();
  std::printf("TURSO_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

// Half of the pages are noise, half pack well.
Bytes RandomPage(std::mt19937_64* random, uint32_t page_size) {
  Bytes image(page_size);
  uint64_t kind = (*random)() % 2;
  for (size_t i = 0; i < image.size(); i += 8) {
    uint64_t word = kind ? (*random)() : (i / 64) % 7;
    std::memcpy(&image[i], &word, 8);
  }
  return image;
}

Pages RandomPages(std::mt19937_64* random, uint32_t page_size, size_t count) {
  Pages pages;
  for (size_t i = 0; i < count; i++) {
    pages.emplace_back(static_cast<uint32_t>(1 + (*random)() % 0xffffffffu),
                       RandomPage(random, page_size));
  }
  return pages;
}

std::string Encode(json head, PageCodec codec, uint32_t page_size, const Pages& pages) {
  head["page_size"] = page_size;
  head["db_size"] = 0xffffffffu;
  MessageWriter writer(head, codec, page_size);
  for (const auto& [number, image] : pages) writer.Add(PageNo{number}, image);
  return writer.Finish();
}

Result<Pages> PagesOf(const Message& message) {
  Pages pages;
  Status status = message.ForEachPage([&](PageNo page, ByteView image) {
    pages.emplace_back(page.value, Bytes(image.begin(), image.end()));
    return OkStatus();
  });
  if (!status.ok()) return status;
  return pages;
}

// The code of decoding `bytes` and then every page in it.
Code DecodeAll(ByteView bytes) {
  Result<Message> message = Message::Decode(bytes);
  if (!message.ok()) return message.status().code();
  Result<Pages> pages = PagesOf(*message);
  return pages.ok() ? Code::kOk : pages.status().code();
}

// A message with whatever lies between, whose checksum is right: what a hostile sender would make.
std::string Sealed(std::string bytes) {
  uint8_t checksum[8];
  StoreBig64(checksum, XXH3_64bits(bytes.data(), bytes.size()));
  bytes.append(reinterpret_cast<const char*>(checksum), 8);
  return bytes;
}

std::string Big16(uint32_t v) { return {static_cast<char>(v >> 8), static_cast<char>(v)}; }
std::string Big32(uint32_t v) { return Big16(v >> 16) + Big16(v & 0xffff); }
std::string Head(const std::string& text) {
  return "TVP1" + Big32(static_cast<uint32_t>(text.size())) + text;
}
std::string BlockHeader(uint32_t count, char codec, uint32_t packed_length) {
  return Big16(count) + codec + '\0' + Big32(packed_length);
}
const std::string kEnd(8, '\0');
const char kPagesHead[] = R"({"page_size":512,"db_size":9})";

TEST(Message, ComesBackAsItWasForAllPageSizesAndCodecs) {
  std::mt19937_64 random(Seed());
  for (uint32_t page_size : {512u, 4096u, 65536u}) {
    for (PageCodec codec : {PageCodec::kRaw, PageCodec::kLz4}) {
      for (size_t count : {size_t{0}, size_t{1}, size_t{3}, size_t{64}, size_t{65}, size_t{600}}) {
        if (page_size == 65536 && count > 65) continue;
        Pages pages = RandomPages(&random, page_size, count);
        std::string bytes = Encode({{"call", "x"}, {"count", count}}, codec, page_size, pages);
        Result<Message> message = Message::Decode(AsBytes(bytes));
        ASSERT_TRUE(message.ok()) << message.status().text();
        EXPECT_EQ(NumberField(message->head(), "count").value(), count);
        Result<Pages> back = PagesOf(*message);
        ASSERT_TRUE(back.ok()) << back.status().text();
        EXPECT_TRUE(*back == pages) << page_size << " " << count;
      }
    }
  }
}

TEST(Message, PacksOnlyWhatShrinks) {
  std::mt19937_64 random(7);
  Bytes noise(4096), zeros(4096);
  for (uint8_t& b : noise) b = static_cast<uint8_t>(random());
  Pages all_noise(200, {1, noise}), all_zeros(200, {1, zeros});
  for (size_t i = 0; i < all_noise.size(); i++) {
    for (uint8_t& b : all_noise[i].second) b = static_cast<uint8_t>(random());
  }
  size_t raw = Encode({}, PageCodec::kRaw, 4096, all_noise).size();
  EXPECT_EQ(Encode({}, PageCodec::kLz4, 4096, all_noise).size(), raw);
  EXPECT_LT(Encode({}, PageCodec::kLz4, 4096, all_zeros).size(), raw / 50);
}

TEST(Message, SizeCountsWhatIsNotFlushedYet) {
  MessageWriter writer({{"page_size", 4096}, {"db_size", 1}}, PageCodec::kRaw, 4096);
  Bytes image(4096, 1);
  for (uint32_t i = 1; i <= 100; i++) {
    size_t before = writer.size();
    writer.Add(PageNo{i}, image);
    EXPECT_GE(writer.size(), before + 4096 + 4);
  }
  size_t size = writer.size();
  EXPECT_EQ(writer.Finish().size(), size + 16);
}

TEST(Message, EveryTruncationIsCorrupt) {
  std::mt19937_64 random(Seed());
  for (PageCodec codec : {PageCodec::kRaw, PageCodec::kLz4}) {
    std::string bytes = Encode({{"a", 1}}, codec, 512, RandomPages(&random, 512, 9));
    ASSERT_EQ(DecodeAll(AsBytes(bytes)), Code::kOk);
    for (size_t length = 0; length < bytes.size(); length++) {
      // A copy of exactly that length, so that a sanitizer sees a read beyond it.
      Bytes cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
      ASSERT_EQ(DecodeAll(cut), Code::kCorrupt) << length;
    }
    EXPECT_EQ(DecodeAll(AsBytes(bytes + '\0')), Code::kCorrupt);
  }
}

TEST(Message, EveryFlippedBitIsCorrupt) {
  std::mt19937_64 random(Seed());
  for (PageCodec codec : {PageCodec::kRaw, PageCodec::kLz4}) {
    std::string bytes = Encode({{"a", 1}}, codec, 512, RandomPages(&random, 512, 5));
    for (size_t i = 0; i < bytes.size(); i++) {
      for (int bit = 0; bit < 8; bit++) {
        bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
        ASSERT_EQ(DecodeAll(AsBytes(bytes)), Code::kCorrupt) << i << " bit " << bit;
        bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
      }
    }
  }
}

// The checksum is no defence against a sender who means harm: every flip, sealed again, must be
// taken or refused without reading or allocating beyond the message.
TEST(Message, FlippedAndSealedAgainIsTakenOrRefusedButNeverOverruns) {
  std::mt19937_64 random(Seed());
  for (PageCodec codec : {PageCodec::kRaw, PageCodec::kLz4}) {
    std::string bytes = Encode({{"a", 1}}, codec, 512, RandomPages(&random, 512, 5));
    bytes.resize(bytes.size() - 8);
    for (size_t i = 0; i < bytes.size(); i++) {
      std::string flipped = bytes;
      flipped[i] = static_cast<char>(random());
      std::string sealed = Sealed(flipped);
      Code code = DecodeAll(Bytes(sealed.begin(), sealed.end()));
      ASSERT_TRUE(code == Code::kOk || code == Code::kCorrupt) << i;
    }
  }
}

TEST(Message, HostileLengthsAreCorrupt) {
  const std::string pages_head = Head(kPagesHead);
  const std::string page(512, 'p');
  const std::vector<std::pair<const char*, std::string>> hostile = {
      {"a head of 4 GiB", "TVP1" + Big32(0xffffffffu) + "{}" + kEnd},
      {"a head above 1 MiB", Head("{\"a\":\"" + std::string(1 << 20, 'x') + "\"}") + kEnd},
      {"a head longer than the message", "TVP1" + Big32(100) + "{}" + kEnd},
      {"no head", Head("") + kEnd},
      {"a head that is an array", Head("[]") + kEnd},
      {"a head that is no JSON", Head("{\"a\":") + kEnd},
      {"a head nested without end", Head(std::string(1 << 19, '[')) + kEnd},
      {"another magic", "TVP2" + Big32(2) + "{}" + kEnd},
      {"no end", pages_head + std::string(2, '\0')},
      {"bytes after the end", pages_head + kEnd + kEnd},
      {"blocks without a page size", Head("{}") + BlockHeader(1, 0, 512) + Big32(1) + page + kEnd},
      {"a page size of 0",
       Head(R"({"page_size":0,"db_size":9})") + BlockHeader(1, 0, 0) + Big32(1) + kEnd},
      {"a page size of 513", Head(R"({"page_size":513,"db_size":9})") + BlockHeader(1, 0, 513) +
                                 Big32(1) + page + 'p' + kEnd},
      {"a page size of 2^32+512", Head(R"({"page_size":4294967808,"db_size":9})") +
                                      BlockHeader(1, 0, 512) + Big32(1) + page + kEnd},
      {"a negative page size",
       Head(R"({"page_size":-512,"db_size":9})") + BlockHeader(1, 0, 512) + Big32(1) + page + kEnd},
      {"blocks without a database size",
       Head(R"({"page_size":512})") + BlockHeader(1, 0, 512) + Big32(1) + page + kEnd},
      {"a raw block too short",
       pages_head + BlockHeader(2, 0, 512) + Big32(1) + Big32(2) + page + kEnd},
      {"a raw block too long", pages_head + BlockHeader(1, 0, 513) + Big32(1) + page + 'p' + kEnd},
      {"a packed length beyond the message",
       pages_head + BlockHeader(1, 0, 0xfffffff0u) + Big32(1) + page + kEnd},
      {"more numbers than there are bytes", pages_head + BlockHeader(200, 0, 0) + Big32(1) + kEnd},
      {"more than 256 pages",
       pages_head + BlockHeader(257, 0, 0) + std::string(257 * 4, 'n') + kEnd},
      {"an unknown codec", pages_head + BlockHeader(1, 2, 512) + Big32(1) + page + kEnd},
      {"page 0", pages_head + BlockHeader(1, 0, 512) + Big32(0) + page + kEnd},
      {"a packed block of 1 byte for 256 pages", Head(R"({"page_size":65536,"db_size":9})") +
                                                     BlockHeader(256, 1, 1) +
                                                     std::string(1024, 'n') + "x" + kEnd},
      {"a packed block of noise",
       pages_head + BlockHeader(1, 1, 5) + Big32(1) + "\xff\xff\xff\xff\xff" + kEnd},
      {"an end with a length", pages_head + BlockHeader(0, 0, 1) + "x"},
  };
  for (const auto& [what, bytes] : hostile) {
    std::string sealed = Sealed(bytes);
    EXPECT_EQ(DecodeAll(Bytes(sealed.begin(), sealed.end())), Code::kCorrupt) << what;
  }
  EXPECT_EQ(
      DecodeAll(AsBytes(Sealed(pages_head + BlockHeader(1, 0, 512) + Big32(1) + page + kEnd))),
      Code::kOk);
}

TEST(Message, StopsAtTheFirstPageThatIsRefused) {
  std::mt19937_64 random(3);
  std::string bytes = Encode({}, PageCodec::kRaw, 512, RandomPages(&random, 512, 10));
  Result<Message> message = Message::Decode(AsBytes(bytes));
  ASSERT_TRUE(message.ok());
  int seen = 0;
  Status status = message->ForEachPage(
      [&](PageNo, ByteView) { return ++seen == 4 ? Status(Code::kFull, "no room") : OkStatus(); });
  EXPECT_EQ(status.code(), Code::kFull);
  EXPECT_EQ(seen, 4);
}

TEST(Message, TextThatIsNotUtf8IsReplacedNotThrown) {
  std::string bytes = MessageWriter({{"message", "a\xff\xfe z"}}, PageCodec::kRaw).Finish();
  Result<Message> message = Message::Decode(AsBytes(bytes));
  ASSERT_TRUE(message.ok());
  EXPECT_TRUE(TextField(message->head(), "message").ok());
}

}  // namespace
}  // namespace turso
