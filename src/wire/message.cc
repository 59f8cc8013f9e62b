#include "src/wire/message.h"

#include <lz4.h>

#include <algorithm>
#include <cassert>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace turso {

namespace {

constexpr std::string_view kMagic = "TVP1";
constexpr size_t kHeadBytesMax = 1 << 20;
constexpr size_t kPrefixBytes = 8;       // Magic and the head's length.
constexpr size_t kBlockHeaderBytes = 8;  // Count, codec, packed length.
constexpr size_t kChecksumBytes = 8;
constexpr size_t kBlockPagesMax = 256;
constexpr size_t kBlockBytesGoal = 256 << 10;
constexpr size_t kLz4RatioMax =
    255;  // An LZ4 block cannot unpack to more than this times its size.
constexpr uint8_t kCodecRaw = 0;
constexpr uint8_t kCodecLz4 = 1;

Status Corrupt(const std::string& what) { return Status(Code::kCorrupt, "message: " + what); }

uint64_t Checksum(const void* bytes, size_t size) { return XXH3_64bits(bytes, size); }

void AppendBig32(std::string* out, uint32_t value) {
  uint8_t bytes[4];
  StoreBig32(bytes, value);
  out->append(reinterpret_cast<const char*>(bytes), sizeof bytes);
}

void AppendBlockHeader(std::string* out, size_t count, uint8_t codec, size_t packed_length) {
  uint8_t header[kBlockHeaderBytes] = {};
  StoreBig16(header, static_cast<uint16_t>(count));
  header[2] = codec;
  StoreBig32(header + 4, static_cast<uint32_t>(packed_length));
  out->append(reinterpret_cast<const char*>(header), sizeof header);
}

size_t PagesPerBlock(uint32_t page_size) {
  return std::clamp<size_t>(kBlockBytesGoal / page_size, 1, kBlockPagesMax);
}

struct Block {
  size_t count = 0;
  uint8_t codec = 0;
  ByteView numbers;
  ByteView packed;
};

// Takes the first block off `rest`; one of no pages is the end.
Result<Block> TakeBlock(ByteView* rest) {
  if (rest->size() < kBlockHeaderBytes) return Corrupt("cut short in the header of a block");
  Block block;
  block.count = LoadBig16(rest->data());
  block.codec = (*rest)[2];
  uint8_t reserved = (*rest)[3];
  size_t packed_length = LoadBig32(rest->data() + 4);
  *rest = rest->subspan(kBlockHeaderBytes);
  if (reserved != 0) return Corrupt("a block with a reserved byte that is not 0");
  if (block.count > kBlockPagesMax)
    return Corrupt("a block of " + std::to_string(block.count) + " pages");
  if (block.codec != kCodecRaw && block.codec != kCodecLz4) {
    return Corrupt("a block of unknown codec " + std::to_string(block.codec));
  }
  if (block.count == 0 && (packed_length != 0 || block.codec != 0)) {
    return Corrupt("a block of no pages that is not the end");
  }
  size_t numbers_length = block.count * 4;
  if (rest->size() < numbers_length || rest->size() - numbers_length < packed_length) {
    return Corrupt("cut short in a block");
  }
  block.numbers = rest->first(numbers_length);
  block.packed = rest->subspan(numbers_length, packed_length);
  *rest = rest->subspan(numbers_length + packed_length);
  return block;
}

Status CheckBlock(const Block& block, uint32_t page_size) {
  size_t unpacked = block.count * page_size;
  if (block.codec == kCodecRaw && block.packed.size() != unpacked) {
    return Corrupt("a raw block whose length is not that of its pages");
  }
  if (block.codec == kCodecLz4 && block.packed.size() * kLz4RatioMax < unpacked) {
    return Corrupt("a packed block too short for its pages");
  }
  return OkStatus();
}

// The page size that `head` declares; kCorrupt if it cannot have blocks.
Result<uint32_t> PageSizeOf(const Head& head) {
  Result<uint64_t> page_size = NumberField(head, "page_size");
  if (!page_size.ok()) return page_size.status();
  Result<uint64_t> db_size = NumberField(head, "db_size");
  if (!db_size.ok()) return db_size.status();
  if (*page_size > 65536 || !IsPageSize(static_cast<uint32_t>(*page_size))) {
    return Corrupt("page_size " + std::to_string(*page_size) + " is no page size");
  }
  return static_cast<uint32_t>(*page_size);
}

// Every block fits its lengths, and the end comes where the bytes end.
Status CheckBlocks(const Head& head, ByteView blocks) {
  uint32_t page_size = 0;
  for (;;) {
    Result<Block> block = TakeBlock(&blocks);
    if (!block.ok()) return block.status();
    if (block->count == 0) break;
    if (page_size == 0) {
      Result<uint32_t> declared = PageSizeOf(head);
      if (!declared.ok()) return declared.status();
      page_size = *declared;
    }
    TURSO_RETURN_IF_ERROR(CheckBlock(*block, page_size));
  }
  return blocks.empty() ? OkStatus() : Corrupt("bytes after the end");
}

}  // namespace

MessageWriter::MessageWriter(const nlohmann::json& head, PageCodec codec, uint32_t page_size)
    : codec_(codec), page_size_(page_size) {
  // A text that is not UTF-8 must not throw; nothing that is compared is ever such a text.
  Begin(head.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

MessageWriter::MessageWriter(const HeadText& head, PageCodec codec, uint32_t page_size)
    : codec_(codec), page_size_(page_size) {
  Begin(head.text());
}

void MessageWriter::Begin(const std::string& text) {
  assert(text.size() <= kHeadBytesMax);
  out_.reserve(kPrefixBytes + text.size() + kBlockHeaderBytes + kChecksumBytes);
  out_ += kMagic;
  AppendBig32(&out_, static_cast<uint32_t>(text.size()));
  out_ += text;
}

void MessageWriter::Reserve(size_t pages) {
  if (pages == 0) return;
  size_t blocks = pages / PagesPerBlock(page_size_) + 1;
  out_.reserve(out_.size() + pages * (page_size_ + 4) + (blocks + 1) * kBlockHeaderBytes +
               kChecksumBytes);
}

void MessageWriter::Add(PageNo page, ByteView image) {
  assert(IsPageSize(page_size_) && image.size() == page_size_ && page.value != 0);
  pages_.push_back(page);
  images_.insert(images_.end(), image.begin(), image.end());
  if (pages_.size() >= PagesPerBlock(page_size_)) Flush();
}

void MessageWriter::Add(std::span<const PageNo> pages, ByteView images) {
  assert(images.size() == pages.size() * page_size_);
  Flush();
  while (!pages.empty()) {
    const size_t count = std::min(pages.size(), PagesPerBlock(page_size_));
    AddBlock(pages.first(count), images.first(count * page_size_));
    pages = pages.subspan(count);
    images = images.subspan(count * page_size_);
  }
}

void MessageWriter::Flush() {
  if (pages_.empty()) return;
  AddBlock(pages_, images_);
  pages_.clear();
  images_.clear();
}

void MessageWriter::AddBlock(std::span<const PageNo> pages, ByteView images) {
  size_t header_at = out_.size();
  AppendBlockHeader(&out_, pages.size(), kCodecRaw, images.size());
  for (PageNo page : pages) AppendBig32(&out_, page.value);
  size_t images_at = out_.size();
  int packed = 0;
  if (codec_ == PageCodec::kLz4) {
    // Room for one byte less than the images: what does not shrink is sent raw.
    out_.resize(images_at + images.size() - 1);
    packed =
        LZ4_compress_default(reinterpret_cast<const char*>(images.data()), out_.data() + images_at,
                             static_cast<int>(images.size()), static_cast<int>(images.size() - 1));
    out_.resize(images_at + static_cast<size_t>(packed));
  }
  if (packed > 0) {
    out_[header_at + 2] = static_cast<char>(kCodecLz4);
    StoreBig32(reinterpret_cast<uint8_t*>(out_.data()) + header_at + 4,
               static_cast<uint32_t>(packed));
  } else {
    out_.append(reinterpret_cast<const char*>(images.data()), images.size());
  }
}

std::string MessageWriter::Finish() {
  Flush();
  AppendBlockHeader(&out_, 0, 0, 0);
  uint8_t checksum[kChecksumBytes];
  StoreBig64(checksum, Checksum(out_.data(), out_.size()));
  out_.append(reinterpret_cast<const char*>(checksum), sizeof checksum);
  return std::move(out_);
}

size_t MessageWriter::size() const {
  size_t pending = pages_.empty() ? 0 : kBlockHeaderBytes + pages_.size() * 4 + images_.size();
  return out_.size() + pending;
}

Result<Message> Message::Decode(ByteView bytes) {
  if (bytes.size() < kPrefixBytes + kBlockHeaderBytes + kChecksumBytes) return Corrupt("cut short");
  if (AsText(bytes.first(kMagic.size())) != kMagic) return Corrupt("does not begin with TVP1");
  ByteView body = bytes.first(bytes.size() - kChecksumBytes);
  if (LoadBig64(body.data() + body.size()) != Checksum(body.data(), body.size())) {
    return Corrupt("the checksum does not fit: cut short or altered on the way");
  }
  size_t head_length = LoadBig32(body.data() + kMagic.size());
  ByteView rest = body.subspan(kPrefixBytes);
  if (head_length > kHeadBytesMax || head_length > rest.size())
    return Corrupt("a head longer than allowed");
  Message message;
  Result<Head> head = Head::Parse(rest.first(head_length));
  if (!head.ok()) return head.status();
  message.head_ = *std::move(head);
  message.blocks_ = rest.subspan(head_length);
  TURSO_RETURN_IF_ERROR(CheckBlocks(message.head_, message.blocks_));
  return message;
}

Status Message::ForEachPage(const PageFunction& page) const {
  ByteView rest = blocks_;
  Bytes unpacked;
  uint32_t page_size = 0;
  for (;;) {
    Result<Block> block = TakeBlock(&rest);
    if (!block.ok()) return block.status();
    if (block->count == 0) return OkStatus();
    if (page_size == 0) {
      Result<uint32_t> declared = PageSizeOf(head_);
      if (!declared.ok()) return declared.status();
      page_size = *declared;
    }
    ByteView images = block->packed;
    if (block->codec == kCodecLz4) {
      unpacked.resize(block->count * page_size);
      int length = LZ4_decompress_safe(
          reinterpret_cast<const char*>(images.data()), reinterpret_cast<char*>(unpacked.data()),
          static_cast<int>(images.size()), static_cast<int>(unpacked.size()));
      if (length < 0 || static_cast<size_t>(length) != unpacked.size()) {
        return Corrupt("a packed block that does not unpack to its pages");
      }
      images = unpacked;
    }
    for (size_t i = 0; i < block->count; i++) {
      PageNo number{LoadBig32(block->numbers.data() + i * 4)};
      if (number.value == 0) return Corrupt("a page numbered 0");
      TURSO_RETURN_IF_ERROR(page(number, images.subspan(i * page_size, page_size)));
    }
  }
}

}  // namespace turso
