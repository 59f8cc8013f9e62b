// The frames of a libSQL server's log, and the messages that it sends them in.

#ifndef TURSO_TESTS_SUPPORT_LOG_WRITER_H_
#define TURSO_TESTS_SUPPORT_LOG_WRITER_H_

#include <string>
#include <vector>

#include "src/remote/libsql_log.h"
#include "src/remote/protobuf.h"

namespace turso {

inline Bytes PageOf(uint8_t seed) {
  Bytes page(kLibsqlPageSize);
  for (size_t i = 0; i < page.size(); i++) page[i] = static_cast<uint8_t>(i * 7 + seed);
  return page;
}

inline std::string Little(uint64_t value, int size) {
  std::string bytes;
  for (int i = 0; i < size; i++, value >>= 8) bytes += static_cast<char>(value & 0xff);
  return bytes;
}

// A log that is written as a server writes it.
class LogWriter {
 public:
  struct Written {
    uint64_t number, checksum;
    uint32_t page, size_after;
    Bytes image;
    std::string Message(uint32_t size) const {
      std::string bytes = Little(number, 8) + Little(checksum, 8) + Little(page, 4) +
                          Little(size, 4) + std::string(AsText(image));
      ProtobufWriter frame;
      frame.Bytes(1, bytes);
      if (size != 0) frame.Varint(2, 1764000000000);
      return frame.Take();
    }
  };

  void Add(uint32_t page, uint32_t size_after, uint8_t seed) {
    const uint64_t previous = frames_.empty() ? 0 : frames_.back().checksum;
    Bytes image = PageOf(seed);
    frames_.push_back({frames_.size(), LogChecksum(previous, image), page, size_after, image});
  }
  std::string Batch(size_t from, size_t to) const {
    ProtobufWriter batch;
    for (size_t i = from; i < to; i++) batch.Bytes(1, frames_[i].Message(frames_[i].size_after));
    return GrpcWebRequest(batch.message()) + kTrailers;
  }
  std::string Snapshot(const std::vector<size_t>& numbers, uint32_t size) const {
    std::string body;
    for (size_t n : numbers) {
      body += GrpcWebRequest(frames_[n].Message(n == numbers.back() ? size : 0));
    }
    return body + kTrailers;
  }
  // As LogEntries sends them: a message each.
  std::string Stream(size_t from, size_t to) const {
    std::string records;
    for (size_t i = from; i < to; i++) {
      records += GrpcWebRequest(frames_[i].Message(frames_[i].size_after));
    }
    return records;
  }
  std::vector<Written>& frames() { return frames_; }

  inline static const std::string kTrailers =
      std::string("\x80\0\0\0\x0f", 5) + "grpc-status:0\r\n";

 private:
  std::vector<Written> frames_;
};

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_LOG_WRITER_H_
