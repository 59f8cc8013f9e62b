#include "src/remote/log_stream.h"

#include <algorithm>
#include <utility>

#include "src/remote/exchange.h"

namespace turso {

namespace {

constexpr size_t kHeadBytes = 5;  // Of a record: its kind and its length.
constexpr uint32_t kRecordBytesMax = 64 << 10;
constexpr uint64_t kFramesInRead = 1024;  // About as many as in a batch.
constexpr size_t kReadBytesMax = 1 << 20;
constexpr Duration kShortLife = seconds(1);
constexpr Duration kPauseMax = seconds(60);

}  // namespace

void LogStream::Open(const HttpRequest& request, uint64_t next, Duration timeout) {
  Close();
  request_ = request;
  request_.sink = this;
  arrived_.clear();
  read_ = 0;
  FrameSink* frames = this;
  scanner_.emplace(FrameScanner::Messages::kFrames, frames);
  body_.emplace(&*scanner_);
  position_ = next;
  brought_ = false;
  reading_ = false;
  opened_ = Instant::Now();
  open_ = true;
  http_.Begin(request_, timeout);
}

void LogStream::Close() {
  if (!std::exchange(open_, false)) return;
  CountExchange(http_.Abandon(), traffic_);
  // (LS3)
  const bool useless = !brought_ && Instant::Now() - opened_ < kShortLife;
  failures_ = useless ? std::min(failures_ + 1, 6) : 0;
  if (!useless) return;
  not_before_ = Instant::Now() + std::min<Duration>(seconds(1 << failures_), kPauseMax);
}

// Called by libcurl: kept, since a transaction's end is not where a piece ends.
Status LogStream::Take(ByteView bytes) {
  arrived_.append(AsText(bytes));
  return OkStatus();
}

Status LogStream::Frame(const LogFrame& frame) {
  brought_ = true;
  position_ = frame.number + 1;
  if (frame.number < next_) return OkStatus();
  given_++;
  whole_ = frame.size_after != 0;
  return sink_->Frame(frame);
}

// False if there is no whole record.
Result<bool> LogStream::TakeRecord() {
  const ByteView left = AsBytes(arrived_).subspan(read_);
  if (left.size() < kHeadBytes) return false;
  const uint32_t length = LoadBig32(&left[1]);
  if (length > kRecordBytesMax) return Status(Code::kCorrupt, "a message that is too long");
  if (left.size() - kHeadBytes < length) return false;
  TURSO_RETURN_IF_ERROR(body_->Take(left.first(kHeadBytes + length)));
  read_ += kHeadBytes + length;
  if (read_ == arrived_.size() || read_ >= kReadBytesMax) {
    arrived_.erase(0, read_);
    read_ = 0;
  }
  return true;
}

Result<bool> LogStream::ReadOn(Duration wait, const Call& call) {
  Instant end = Instant::Now() + wait;
  for (bool goes_on = true;;) {
    for (;;) {
      if (given_ >= kFramesInRead && whole_) return true;
      Result<bool> taken = TakeRecord();
      if (!taken.ok()) return taken.status().While(request_.url);
      if (!*taken) break;
      if (given_ > 0) end = Instant::Now() + call.timeout;
    }
    if (given_ > 0 && whole_) return true;
    const Duration left = end - Instant::Now();
    if (goes_on && left > Duration{}) {
      Result<bool> moved = http_.Move(left, PatienceOf(call));
      if (!moved.ok()) return moved.status();
      goes_on = *moved;
      continue;
    }
    if (given_ > 0) return Status(Code::kUnavailable, request_.url + ": it stops in a transaction");
    // Why it ended, an ordinary call is told as well.
    if (!goes_on) Close();
    return false;
  }
}

Result<bool> LogStream::Read(uint64_t next, FrameSink* sink, Duration wait, const Call& call) {
  next_ = next;
  sink_ = sink;
  given_ = 0;
  whole_ = true;
  reading_ = true;
  Result<bool> came = ReadOn(wait, call);
  reading_ = false;
  sink_ = nullptr;
  if (!came.ok()) Close();
  return came;
}

}  // namespace turso
