// The replication log of a libSQL server: numbered frames, each a page, from the empty database on.
// libsql-replication/proto/replication_log.proto of github.com/tursodatabase/libsql
//
//   Frames := Frame*                        a batch, in one message
//   Frame  := bytes (field 1) ...           in a snapshot: a message each
//   bytes  := frame number u64 | checksum u64 | page number u32 | size after u32 | page, 4096
//             little-endian; the first frame of a log is 0
//
// "Size after" is not 0 where a transaction ends, and then the database's size in pages. A batch
// goes up and ends with a transaction; one transaction may be longer than memory, so that it is
// never held. A snapshot goes down, has each page once, and states the size on its last frame.
//
//   (LL1) Of a batch, each frame is the next of the log, and its checksum follows from the page and
//         the frame before, the last frame of the pull before included; or, where a transaction
//         begins, from the page alone. Of a snapshot, numbers fall and stay in their range: its
//         checksums are of a chain that it does not have.
//   (LL2) What is bigger than a frame is not kept, whatever a length says.
//   (LL3) A page of the database that came with no frame (SQLite need not write one that is free
//         again before it commits) is given as zeros.
// Pure; one thread.

#ifndef TURSO_SRC_REMOTE_LIBSQL_LOG_H_
#define TURSO_SRC_REMOTE_LIBSQL_LOG_H_

#include <array>
#include <bitset>
#include <map>
#include <optional>

#include "src/remote/grpc_web.h"
#include "src/remote/remote.h"

namespace turso {

inline constexpr uint32_t kLibsqlPageSize = 4096;
inline constexpr size_t kLogFrameBytes = 24 + kLibsqlPageSize;

using LogId = std::array<uint8_t, 16>;

// A place in a log, between two transactions. As a Revision: "LOG.NEXT.CHECKSUM.SIZE", the id in 22
// characters of base64url, numbers in hexadecimal; provisional: "LOG.NEXT.p", exact:
// "LOG.NEXT.x.NUMBER.SESSION".
struct LogPlace {
  LogId log{};
  uint64_t next = 0;      // The frame that follows; 0: the log is empty.
  uint64_t checksum = 0;  // Of the frame before.
  uint32_t db_size = 0;   // In pages.
  // A commit of this replica's own is in, and nobody has read the log since: it has no more frames
  // than `next`, and the two above are not known.
  bool provisional = false;
  // If provisional: the commit's frames are the last before `next`, nobody else's are among them.
  bool exact = false;
  // Of an exact place: the commit, and the server process that took it. Another one's log may have
  // come to as many frames by another way.
  uint64_t number = 0;
  uint32_t session = 0;

  // Whether a transaction can be based on it: what the log has there is known.
  bool IsBase() const { return !provisional || exact; }

  Revision ToRevision() const;
  static std::optional<LogPlace> Parse(const Revision& revision);
};

struct LogFrame {
  uint64_t number = 0;
  uint64_t checksum = 0;
  PageNo page;
  uint32_t size_after = 0;  // 0: not the last of its transaction.
  ByteView image;
};

// Of a page whose predecessor has the checksum `previous` (0: it has none): CRC-64/GO-ISO, begun
// with that.
uint64_t LogChecksum(uint64_t previous, ByteView image);

class FrameSink {
 public:
  virtual ~FrameSink() = default;
  virtual Status Frame(const LogFrame& frame) = 0;
};

// Finds the frames in messages that come in pieces. (LL2)
class FrameScanner : public MessageSink {
 public:
  enum class Messages { kBatch, kFrames };  // One message of many frames, or one for each.
  FrameScanner(Messages messages, FrameSink* sink) : messages_(messages), sink_(sink) {}

  Status BeginMessage(uint32_t length) override;
  Status TakeMessage(ByteView piece) override;
  Status EndMessage() override;

 private:
  enum class State { kKey, kNumber, kLength, kFixed, kBytes };

  Status TakeByte(uint8_t byte);
  Status Key(uint64_t key);
  Status Length(uint64_t length);
  Status EndField();
  void Consume(size_t count);
  uint64_t left() const { return in_frame_ ? frame_left_ : message_left_; }

  const Messages messages_;
  FrameSink* sink_;
  uint64_t message_left_ = 0;
  uint64_t frame_left_ = 0;
  bool in_frame_ = false;
  State state_ = State::kKey;
  uint64_t varint_ = 0;
  int varint_bytes_ = 0;
  uint32_t field_ = 0;
  uint64_t bytes_left_ = 0;  // Of the field.
  std::array<uint8_t, kLogFrameBytes> frame_{};
  size_t frame_size_ = 0;
};

// The frames of one pull, given to a PageSink.
class LogFeed : public FrameSink {
 public:
  // From `since` on, which is no provisional place.
  LogFeed(const LogPlace& since, PageSink* sink) : sink_(sink), place_(since), low_(since.db_size) {
    size_ = since.db_size;
  }

  enum class Kind { kBatch, kSnapshot };
  // Before the frames of an answer. Those of one that failed do not count.
  void Begin(Kind kind);
  Status Frame(const LogFrame& frame) override;
  // The answer is whole. kCorrupt if it ends within a transaction.
  Status End();
  // (LL3), when everything is there. kCorrupt if most of the database is not.
  Status Finish();

  const LogPlace& place() const { return place_; }
  // Of the answer since Begin.
  uint64_t frames() const { return frames_; }

 private:
  Status BatchFrame(const LogFrame& frame);
  Status SnapshotFrame(const LogFrame& frame);
  Status Give(const LogFrame& frame);
  Status Resize(uint32_t db_size);

  static constexpr uint32_t kPagesInGroup = 4096;

  PageSink* sink_;
  LogPlace place_;
  Kind kind_ = Kind::kBatch;
  uint64_t frames_ = 0;
  uint64_t next_ = 0;
  uint64_t checksum_ = 0;
  bool whole_ = true;
  LogPlace reached_;  // By the answer so far.
  uint32_t size_ = 0;
  uint32_t low_;  // The smallest that the database was during the pull.
  // Which pages, in groups; of those above low_.
  std::map<uint32_t, std::bitset<kPagesInGroup>> came_;
};

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_LIBSQL_LOG_H_
