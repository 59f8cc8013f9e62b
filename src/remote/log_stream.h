// The replication log of a libSQL server as it grows: wal_log.ReplicationLog/LogEntries, an answer
// over gRPC-web that goes on as long as its process and its connection.
//
//   closed --Open--> open --Read--> open | closed
//
//   (LS1) Read gives whole transactions, or it fails; their frames are as in LL1 for the sink that
//         takes them. What was given before a failure counts for nothing.
//   (LS2) That nothing comes says nothing: the server may have died. Who has to know asks.
//   (LS3) A server that ends its answers at once, or refuses them, is not asked all the time.
// One thread at a time, but for Cancel().

#ifndef TURSO_SRC_REMOTE_LOG_STREAM_H_
#define TURSO_SRC_REMOTE_LOG_STREAM_H_

#include <cstdint>
#include <optional>
#include <string>

#include "src/base/clock.h"
#include "src/http/http_client.h"
#include "src/remote/grpc_web.h"
#include "src/remote/libsql_log.h"
#include "src/remote/remote.h"

namespace turso {

class LogStream : private BodySink, private FrameSink {
 public:
  explicit LogStream(Remote::Traffic* traffic) : traffic_(traffic) {}
  ~LogStream() override { Close(); }

  // Whether Read can begin with frame `next`.
  bool Has(uint64_t next) const { return open_ && !reading_ && position_ <= next; }
  bool MayOpen() const { return Instant::Now() >= not_before_; }  // (LS3)
  // `request` asks for the frames from `next` on.
  void Open(const HttpRequest& request, uint64_t next, Duration timeout);
  // The frames from `next` on that are there or come within `wait`; false if none are. Closes the
  // stream where it ends or fails: kCorrupt, kUnavailable, kInterrupted as in src/remote/remote.h.
  Result<bool> Read(uint64_t next, FrameSink* sink, Duration wait, const Call& call);
  void Close();

  void Cancel() { http_.Cancel(); }

 private:
  Status Take(ByteView bytes) override;
  Status Frame(const LogFrame& frame) override;

  Result<bool> ReadOn(Duration wait, const Call& call);
  Result<bool> TakeRecord();

  Remote::Traffic* traffic_;
  HttpClient http_;
  HttpRequest request_;
  bool open_ = false;
  Instant opened_;
  bool brought_ = false;   // Anything at all.
  uint64_t position_ = 0;  // Of the next frame that comes.
  std::string arrived_;    // Records that nobody has read yet; the last may be incomplete.
  size_t read_ = 0;        // Of these.
  std::optional<FrameScanner> scanner_;
  std::optional<GrpcWebBody> body_;
  int failures_ = 0;  // In a row, of streams that brought nothing.
  Instant not_before_;

  // Of one Read.
  bool reading_ = false;  // Still so behind one that memory ran out for.
  uint64_t next_ = 0;
  FrameSink* sink_ = nullptr;
  uint64_t given_ = 0;
  bool whole_ = true;
};

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_LOG_STREAM_H_
