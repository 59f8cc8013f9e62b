// One message of the `primary` protocol, request or answer: a JSON head, then blocks of pages,
// then a checksum.
//
//   message := "TVP1" head_length head block* end checksum       Integers are big-endian.
//   head_length u32   head: a JSON object, UTF-8, at most 1 MiB
//   block   := count u16 | codec u8 | 0 u8 | packed_length u32 |
//              page number u32 (count times) | packed bytes
//              codec 0: the images one after another; 1: the same as one LZ4 block. count from 1
//              to 256.
//   end     := 0 u16 0 u16 0 u32                             A block of no pages ends the list.
//   checksum u64: XXH3-64 of every byte before it
//
// The head of a message with blocks has "page_size" and "db_size". HTTP carries messages as
// application/x-turso-vfs; the fields of each head: src/primary/README.md.
//   (M1) Decoding checks the checksum before anything else is believed, and every length against
//        what is there.
//   (M2) Nothing is allocated on the word of a length that the received bytes do not back.
// Pure: bytes in, values out. Any thread.

#ifndef TURSO_SRC_WIRE_MESSAGE_H_
#define TURSO_SRC_WIRE_MESSAGE_H_

#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "src/base/bytes.h"
#include "src/base/page_set.h"
#include "src/base/status.h"
#include "src/wire/head.h"

namespace turso {

enum class PageCodec { kRaw, kLz4 };

// Builds a message piece by piece.
class MessageWriter {
 public:
  MessageWriter(const HeadText& head, PageCodec codec, uint32_t page_size = 0);
  // For a program of our own: see head.h.
  MessageWriter(const nlohmann::json& head, PageCodec codec, uint32_t page_size = 0);
  // Room for that many pages at once: growing piece by piece costs more than packing them.
  void Reserve(size_t pages);
  // Pages may come in any order; they are packed about 256 KiB at a time.
  void Add(PageNo page, ByteView image);
  // The same for many: `images` one after another.
  void Add(std::span<const PageNo> pages, ByteView images);
  // The whole message. Call once.
  std::string Finish();
  // What Finish would return by now, without its end, in bytes.
  size_t size() const;

 private:
  void Begin(const std::string& head);
  void Flush();
  void AddBlock(std::span<const PageNo> pages, ByteView images);

  PageCodec codec_;
  uint32_t page_size_;
  std::string out_;
  std::vector<PageNo> pages_;  // Of the next block.
  Bytes images_;
};

using PageFunction = std::function<Status(PageNo, ByteView)>;

// The head of `message`, its blocks still packed. The message must outlive it.
class Message {
 public:
  // kCorrupt if `bytes` is not one whole, intact message.
  static Result<Message> Decode(ByteView bytes);

  const Head& head() const { return head_; }
  // Each page in the order sent. kCorrupt for a block that does not unpack, or a page number of 0;
  // otherwise the first failure of `page`.
  Status ForEachPage(const PageFunction& page) const;

 private:
  Head head_;
  ByteView blocks_;
};

}  // namespace turso

#endif  // TURSO_SRC_WIRE_MESSAGE_H_
