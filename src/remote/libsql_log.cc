#include "src/remote/libsql_log.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <vector>

namespace turso {

namespace {

constexpr uint64_t kPolynomial = 0xd800000000000000;  // 0x1b, reflected.
constexpr uint32_t kLockPage = 0x40000000 / kLibsqlPageSize + 1;
constexpr const char kBase64Url[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr size_t kLogIdChars = 22;

// Eight bytes at a time: tables[k] is for a byte that k others follow.
struct ChecksumTables {
  uint64_t tables[8][256];
};
constexpr ChecksumTables MakeTables() {
  ChecksumTables made{};
  for (unsigned n = 0; n < 256; n++) {
    uint64_t value = n;
    for (int bit = 0; bit < 8; bit++) value = (value & 1) ? value >> 1 ^ kPolynomial : value >> 1;
    made.tables[0][n] = value;
  }
  for (unsigned n = 0; n < 256; n++) {
    for (int k = 1; k < 8; k++) {
      const uint64_t before = made.tables[k - 1][n];
      made.tables[k][n] = made.tables[0][before & 0xff] ^ before >> 8;
    }
  }
  return made;
}
constexpr ChecksumTables kTables = MakeTables();

uint32_t LoadLittle32(const uint8_t* p) {
  return uint32_t{p[3]} << 24 | uint32_t{p[2]} << 16 | uint32_t{p[1]} << 8 | p[0];
}
uint64_t LoadLittle64(const uint8_t* p) {
  return uint64_t{LoadLittle32(p + 4)} << 32 | LoadLittle32(p);
}

uint64_t ReversedBits(uint64_t value) {
  uint64_t reversed = 0;
  for (int i = 0; i < 64; i++, value >>= 1) reversed = reversed << 1 | (value & 1);
  return reversed;
}

std::string Hex(uint64_t value) {
  char text[16];
  return {text, std::to_chars(text, text + sizeof text, value, 16).ptr};
}

std::optional<uint64_t> FromHexNumber(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string LogIdText(const LogId& log) {
  std::string text;
  uint32_t bits = 0;
  int count = 0;
  for (uint8_t byte : log) {
    bits = bits << 8 | byte;
    for (count += 8; count >= 6; count -= 6) text += kBase64Url[bits >> (count - 6) & 63];
  }
  text += kBase64Url[bits << (6 - count) & 63];
  return text;
}

std::optional<LogId> ParseLogId(std::string_view text) {
  if (text.size() != kLogIdChars) return std::nullopt;
  LogId log{};
  uint32_t bits = 0;
  int count = 0;
  size_t at = 0;
  for (char c : text) {
    const char* found = c == 0 ? nullptr : std::strchr(kBase64Url, c);
    if (found == nullptr) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(found - kBase64Url);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    log[at++] = static_cast<uint8_t>(bits >> count);
  }
  return LogIdText(log) == text ? std::optional(log) : std::nullopt;
}

std::string Of(const LogFrame& frame) { return "frame " + std::to_string(frame.number); }

}  // namespace

Revision LogPlace::ToRevision() const {
  std::string text = LogIdText(log) + "." + Hex(next) + ".";
  if (provisional) {
    text += exact ? "x." + Hex(number) + "." + Hex(session) : "p";
  } else {
    text += Hex(checksum) + "." + Hex(db_size);
  }
  return Revision::Parse(text).value_or(Revision());
}

std::optional<LogPlace> LogPlace::Parse(const Revision& revision) {
  std::vector<std::string_view> parts;
  const std::string_view text = revision.text();
  for (size_t begin = 0; begin <= text.size();) {
    const size_t dot = std::min(text.find('.', begin), text.size());
    parts.push_back(text.substr(begin, dot - begin));
    begin = dot + 1;
  }
  if (parts.size() < 3) return std::nullopt;
  LogPlace place;
  const std::optional<LogId> log = ParseLogId(parts[0]);
  const std::optional<uint64_t> next = FromHexNumber(parts[1]);
  if (!log || !next) return std::nullopt;
  place.log = *log;
  place.next = *next;
  place.exact = parts.size() == 5 && parts[2] == "x";
  place.provisional = place.exact || (parts.size() == 3 && parts[2] == "p");
  if (place.exact) {
    const std::optional<uint64_t> number = FromHexNumber(parts[3]);
    const std::optional<uint64_t> session = FromHexNumber(parts[4]);
    if (!number || !session || *session > UINT32_MAX) return std::nullopt;
    place.number = *number;
    place.session = static_cast<uint32_t>(*session);
  }
  if (place.provisional) return place;
  if (parts.size() != 4) return std::nullopt;
  const std::optional<uint64_t> checksum = FromHexNumber(parts[2]);
  const std::optional<uint64_t> size = FromHexNumber(parts[3]);
  if (!checksum || !size || *size > UINT32_MAX) return std::nullopt;
  place.checksum = *checksum;
  place.db_size = static_cast<uint32_t>(*size);
  return place;
}

// The crc of the Rust crate that the server uses: an initial value of one's own is taken with its
// bits reversed, the one that belongs to the algorithm is not used.
uint64_t LogChecksum(uint64_t previous, ByteView image) {
  uint64_t state = ReversedBits(previous);
  const auto& tables = kTables.tables;
  while (image.size() >= 8) {
    state ^= LoadLittle64(image.data());
    uint64_t next = 0;
    for (int k = 7; k >= 0; k--, state >>= 8) next ^= tables[k][state & 0xff];
    state = next;
    image = image.subspan(8);
  }
  for (uint8_t byte : image) state = tables[0][(state ^ byte) & 0xff] ^ state >> 8;
  return ~state;
}

Status FrameScanner::BeginMessage(uint32_t length) {
  message_left_ = length;
  state_ = State::kKey;
  varint_ = 0;
  varint_bytes_ = 0;
  in_frame_ = messages_ == Messages::kFrames;
  frame_left_ = length;
  frame_size_ = 0;
  return OkStatus();
}

void FrameScanner::Consume(size_t count) {
  message_left_ -= count;
  if (in_frame_) frame_left_ -= count;
}

Status FrameScanner::TakeMessage(ByteView piece) {
  while (!piece.empty()) {
    if (state_ != State::kFixed && state_ != State::kBytes) {
      const uint8_t byte = piece[0];
      piece = piece.subspan(1);
      Consume(1);
      TURSO_RETURN_IF_ERROR(TakeByte(byte));
      continue;
    }
    const ByteView part =
        piece.first(static_cast<size_t>(std::min<uint64_t>(piece.size(), bytes_left_)));
    piece = piece.subspan(part.size());
    Consume(part.size());
    bytes_left_ -= part.size();
    if (in_frame_ && field_ == 1 && state_ == State::kBytes) {
      std::copy(part.begin(), part.end(), frame_.begin() + static_cast<ptrdiff_t>(frame_size_));
      frame_size_ += part.size();
    }
    if (bytes_left_ == 0) TURSO_RETURN_IF_ERROR(EndField());
  }
  return OkStatus();
}

// Of a key, a number or a length.
Status FrameScanner::TakeByte(uint8_t byte) {
  if (varint_bytes_ == 9 && byte > 1) return Status(Code::kCorrupt, "a number that does not end");
  varint_ |= uint64_t{byte & 0x7fu} << (7 * varint_bytes_++);
  if (byte >= 0x80) {
    return left() > 0 ? OkStatus() : Status(Code::kCorrupt, "a message that ends within a number");
  }
  const uint64_t value = varint_;
  varint_ = 0;
  varint_bytes_ = 0;
  switch (state_) {
    case State::kKey: return Key(value);
    case State::kLength: return Length(value);
    default: return EndField();
  }
}

Status FrameScanner::Key(uint64_t key) {
  if (key >> 3 == 0 || key >> 3 > UINT32_MAX) {
    return Status(Code::kCorrupt, "a field without a number");
  }
  field_ = static_cast<uint32_t>(key >> 3);
  bytes_left_ = 0;
  switch (key & 7) {
    case 0: state_ = State::kNumber; break;
    case 1: bytes_left_ = 8; break;
    case 2: state_ = State::kLength; break;
    case 5: bytes_left_ = 4; break;
    default: return Status(Code::kCorrupt, "a field of a kind that is not known");
  }
  if (bytes_left_ > 0) state_ = State::kFixed;
  if (left() < std::max<uint64_t>(bytes_left_, 1)) {
    return Status(Code::kCorrupt, "a message that ends within a field");
  }
  return OkStatus();
}

Status FrameScanner::Length(uint64_t length) {
  if (length > left()) return Status(Code::kCorrupt, "a message that ends within a field");
  if (!in_frame_ && field_ == 1) {
    in_frame_ = true;
    frame_left_ = length;
    frame_size_ = 0;
    state_ = State::kKey;
    return length == 0 ? Status(Code::kCorrupt, "a frame without bytes") : OkStatus();
  }
  if (in_frame_ && field_ == 1 && (length != kLogFrameBytes || frame_size_ != 0)) {
    return Status(Code::kCorrupt, "a frame of " + std::to_string(length) + " bytes");
  }
  state_ = State::kBytes;
  bytes_left_ = length;
  return length == 0 ? EndField() : OkStatus();
}

Status FrameScanner::EndField() {
  state_ = State::kKey;
  if (!in_frame_ || frame_left_ > 0) return OkStatus();
  if (frame_size_ != kLogFrameBytes) return Status(Code::kCorrupt, "a frame without bytes");
  if (messages_ == Messages::kBatch) in_frame_ = false;
  LogFrame frame;
  frame.number = LoadLittle64(frame_.data());
  frame.checksum = LoadLittle64(&frame_[8]);
  frame.page = PageNo{LoadLittle32(&frame_[16])};
  frame.size_after = LoadLittle32(&frame_[20]);
  frame.image = ByteView(frame_).subspan(24);
  return sink_->Frame(frame);
}

Status FrameScanner::EndMessage() {
  const bool whole = message_left_ == 0 && state_ == State::kKey && varint_bytes_ == 0 &&
                     (!in_frame_ || frame_left_ == 0);
  if (!whole) return Status(Code::kCorrupt, "a message that ends within a field");
  // proto3 leaves out what is empty, and that a frame never is.
  if (messages_ == Messages::kFrames && frame_size_ != kLogFrameBytes) {
    return Status(Code::kCorrupt, "a frame without bytes");
  }
  return OkStatus();
}

void LogFeed::Begin(Kind kind) {
  kind_ = kind;
  frames_ = 0;
  next_ = place_.next;
  checksum_ = place_.checksum;
  whole_ = true;
  reached_ = place_;
}

Status LogFeed::Frame(const LogFrame& frame) {
  if (frame.page.value == 0) return Status(Code::kCorrupt, Of(frame) + " is of page 0");
  frames_++;
  return kind_ == Kind::kBatch ? BatchFrame(frame) : SnapshotFrame(frame);
}

Status LogFeed::BatchFrame(const LogFrame& frame) {
  if (frame.number != next_) {
    return Status(Code::kCorrupt, Of(frame) + " came where " + std::to_string(next_) + " was due");
  }
  // A server that has cut its log begins the chain anew with the next transaction.
  if (LogChecksum(checksum_, frame.image) != frame.checksum &&
      !(whole_ && LogChecksum(0, frame.image) == frame.checksum)) {
    return Status(Code::kCorrupt, Of(frame) + " has another checksum than its page");
  }
  next_++;
  checksum_ = frame.checksum;
  TURSO_RETURN_IF_ERROR(Give(frame));
  whole_ = frame.size_after != 0;
  if (!whole_) return OkStatus();
  reached_ = {place_.log, next_, checksum_, frame.size_after, false};
  return Resize(frame.size_after);
}

Status LogFeed::SnapshotFrame(const LogFrame& frame) {
  if (frame.number == UINT64_MAX) return Status(Code::kCorrupt, Of(frame) + " cannot be a frame's");
  if (frames_ == 1) {
    reached_ = {place_.log, frame.number + 1, frame.checksum, 0, false};
  } else if (whole_ || frame.number >= next_) {
    return Status(Code::kCorrupt, Of(frame) + " is out of order in a snapshot");
  }
  if (frame.number < place_.next) {
    return Status(Code::kCorrupt, Of(frame) + " was not asked for");
  }
  next_ = frame.number;
  TURSO_RETURN_IF_ERROR(Give(frame));
  whole_ = frame.size_after != 0;
  reached_.db_size = frame.size_after;
  return whole_ ? Resize(frame.size_after) : OkStatus();
}

Status LogFeed::Give(const LogFrame& frame) {
  const uint32_t page = frame.page.value;
  if (page > size_ || frames_ == 1) {
    size_ = std::max(size_, page);
    TURSO_RETURN_IF_ERROR(sink_->Size(kLibsqlPageSize, size_));
  }
  if (page > low_) came_[page / kPagesInGroup].set(page % kPagesInGroup);
  return sink_->Page(frame.page, frame.image);
}

Status LogFeed::Resize(uint32_t db_size) {
  size_ = db_size;
  low_ = std::min(low_, db_size);
  came_.erase(came_.upper_bound(db_size / kPagesInGroup), came_.end());
  if (!came_.empty() && came_.rbegin()->first == db_size / kPagesInGroup) {
    for (uint32_t n = db_size % kPagesInGroup + 1; n < kPagesInGroup; n++) {
      came_.rbegin()->second.reset(n);
    }
  }
  return sink_->Size(kLibsqlPageSize, db_size);
}

Status LogFeed::End() {
  if (!whole_) return Status(Code::kCorrupt, "an answer that ends within a transaction");
  place_ = reached_;
  return OkStatus();
}

Status LogFeed::Finish() {
  uint64_t came = 0;
  for (const auto& [group, pages] : came_) {
    for (uint32_t n = 0; n < kPagesInGroup; n++) {
      const uint32_t page = group * kPagesInGroup + n;
      came += pages[n] && page > low_ && page <= size_ ? 1 : 0;
    }
  }
  if (uint64_t{size_} - low_ > came * 2 + kPagesInGroup) {
    return Status(Code::kCorrupt,
                  "a database of " + std::to_string(size_) + " pages, of which most never came");
  }
  const Bytes zeros(kLibsqlPageSize);
  for (uint32_t page = low_ + 1; page <= size_; page++) {
    const auto group = came_.find(page / kPagesInGroup);
    if (group != came_.end() && group->second[page % kPagesInGroup]) continue;
    if (page == kLockPage) continue;
    TURSO_RETURN_IF_ERROR(sink_->Page(PageNo{page}, zeros));
  }
  return OkStatus();
}

}  // namespace turso
