#include "src/remote/grpc_web.h"

#include <algorithm>
#include <charconv>

namespace turso {

namespace {

constexpr uint8_t kTrailers = 0x80;
constexpr uint32_t kTrailerBytesMax = 64 << 10;

// A % that encodes nothing stays one: a message is for people.
std::string PercentDecoded(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); i++) {
    std::optional<Bytes> byte;
    if (text[i] == '%') byte = FromHex(text.substr(std::min(text.size(), i + 1), 2));
    if (byte && byte->size() == 1) {
      decoded += static_cast<char>((*byte)[0]);
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

std::string_view Trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.size(), text.find_first_not_of(' ')));
  return text.substr(0, text.find_last_not_of(' ') + 1);
}

}  // namespace

Status GrpcWebBody::Take(ByteView bytes) {
  while (!bytes.empty()) {
    if (trailers_ && !in_record_) return Status(Code::kCorrupt, "something after the trailers");
    if (!in_record_) {
      head_[head_size_++] = bytes[0];
      bytes = bytes.subspan(1);
      if (head_size_ == head_.size()) TURSO_RETURN_IF_ERROR(BeginRecord());
      continue;
    }
    const ByteView piece = bytes.first(std::min<size_t>(bytes.size(), left_));
    bytes = bytes.subspan(piece.size());
    left_ -= static_cast<uint32_t>(piece.size());
    if (trailers_) {
      trailers_->append(AsText(piece));
    } else {
      TURSO_RETURN_IF_ERROR(sink_->TakeMessage(piece));
    }
    if (left_ == 0) TURSO_RETURN_IF_ERROR(EndRecord());
  }
  return OkStatus();
}

Status GrpcWebBody::BeginRecord() {
  head_size_ = 0;
  left_ = LoadBig32(&head_[1]);
  in_record_ = true;
  if (head_[0] == kTrailers) {
    if (left_ > kTrailerBytesMax) return Status(Code::kCorrupt, "trailers that are too long");
    trailers_.emplace();
  } else if (head_[0] != 0) {
    return Status(Code::kCorrupt, "a record of a kind that is not known");
  } else {
    TURSO_RETURN_IF_ERROR(sink_->BeginMessage(left_));
  }
  return left_ == 0 ? EndRecord() : OkStatus();
}

Status GrpcWebBody::EndRecord() {
  in_record_ = false;
  return trailers_ ? OkStatus() : sink_->EndMessage();
}

Result<std::optional<GrpcStatus>> GrpcWebBody::Finish() const {
  if (in_record_ || head_size_ != 0) {
    return Status(Code::kUnavailable, "the answer ends within a record");
  }
  if (!trailers_) return std::optional<GrpcStatus>();
  return ParseGrpcTrailers(*trailers_);
}

Result<std::optional<GrpcStatus>> ParseGrpcTrailers(std::string_view trailers) {
  std::map<std::string, std::string> lines;
  while (!trailers.empty()) {
    std::string_view line = trailers.substr(0, trailers.find('\n'));
    trailers.remove_prefix(std::min(trailers.size(), line.size() + 1));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    lines[std::string(line.substr(0, colon))] = Trimmed(line.substr(colon + 1));
  }
  return GrpcStatusOf(lines);
}

Result<std::optional<GrpcStatus>> GrpcStatusOf(const std::map<std::string, std::string>& headers) {
  const auto found = headers.find("grpc-status");
  if (found == headers.end()) return std::optional<GrpcStatus>();
  const std::string& text = found->second;
  GrpcStatus status;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), status.code);
  if (error != std::errc() || end != text.data() + text.size() || status.code < 0) {
    return Status(Code::kCorrupt, "a grpc-status that is no number");
  }
  const auto message = headers.find("grpc-message");
  if (message != headers.end()) status.message = PercentDecoded(message->second);
  return std::optional(status);
}

std::string GrpcWebRequest(std::string_view message) {
  std::string body(5, '\0');
  StoreBig32(reinterpret_cast<uint8_t*>(&body[1]), static_cast<uint32_t>(message.size()));
  body += message;
  return body;
}

}  // namespace turso
