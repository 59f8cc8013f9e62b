#include "src/remote/log_client.h"

#include <algorithm>
#include <utility>

#include "src/base/printable.h"
#include "src/remote/come_again.h"
#include "src/remote/exchange.h"
#include "src/remote/protobuf.h"

namespace turso {

namespace {

constexpr uint64_t kHandshakeVersion = 1;
constexpr size_t kHelloBytesMax = 64 << 10;

// Of a server that does not send its frames by itself.
constexpr Duration kPollInterval = milliseconds(200);

// LogOffset := next_offset u64 (field 1)
std::string Offset(uint64_t next) {
  ProtobufWriter offset;
  if (next != 0) offset.Varint(1, next);
  return offset.message();
}

// A small message, whole.
class WholeMessage : public MessageSink {
 public:
  Status BeginMessage(uint32_t length) override {
    if (length > kHelloBytesMax) return Status(Code::kCorrupt, "a message that is too long");
    message_.emplace();
    return OkStatus();
  }
  Status TakeMessage(ByteView piece) override {
    message_->append(AsText(piece));
    return OkStatus();
  }
  Status EndMessage() override { return OkStatus(); }
  const std::optional<std::string>& message() const { return message_; }

 private:
  std::optional<std::string> message_;
};

class Records : public BodySink {
 public:
  explicit Records(MessageSink* sink) : body_(sink) {}
  Status Take(ByteView bytes) override { return body_.Take(bytes); }
  Result<std::optional<GrpcStatus>> Finish() const { return body_.Finish(); }

 private:
  GrpcWebBody body_;
};

std::string Base64(std::string_view text) {
  constexpr const char* kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string encoded;
  uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    bits = bits << 8 | static_cast<uint8_t>(c);
    for (count += 8; count >= 6; count -= 6) encoded += kAlphabet[bits >> (count - 6) & 63];
  }
  if (count > 0) encoded += kAlphabet[bits << (6 - count) & 63];
  return encoded;
}

}  // namespace

std::vector<std::string> LibsqlHeaders(const LibsqlAddress& address) {
  // Without padding: the server's SQL side demands it so.
  return {"x-namespace-bin: " + Base64(address.database)};
}

Status LibsqlRefusal(const std::string& url, const HttpAnswer& answer) {
  const std::string who = url + ": HTTP status " + std::to_string(answer.status);
  const std::string words = answer.body.empty() ? "" : ": " + Printable(answer.body);
  switch (answer.status) {
    case 401: return Status(Code::kDenied, who + ": wrong or missing token");
    case 403: return Status(Code::kReadOnly, who + ": not allowed" + words);
    case 413: return Status(Code::kFull, who + ": the transaction is too large for it");
    default: break;
  }
  if (answer.status >= 300 && answer.status <= 399) {
    const std::string where = answer.redirect.substr(0, answer.redirect.find('?'));
    return Status(Code::kUnavailable, who + ", a redirect to " + Printable(where) +
                                          "; redirects are not followed: use the server's own URL");
  }
  if (answer.status == 404 || answer.status == 405) {
    const bool is_database = answer.body.find("Namespace") != std::string::npos;
    return is_database ? Status(Code::kNotFound, who + words)
                       : Status(Code::kUnavailable,
                                who + words + ": no libSQL server there; check the URL");
  }
  std::string again;
  if (answer.retry_after) {
    again = "; asks to come again in " + std::to_string(answer.retry_after->count()) + " s";
  }
  return Status(Code::kUnavailable, who + words + again);
}

// A question whose answer is not waited for yet.
struct LogClient::Check : public FrameSink {
  Check() : scanner(FrameScanner::Messages::kBatch, this), records(&scanner) {}
  Status Frame(const LogFrame&) override {
    frames++;
    return OkStatus();
  }

  uint64_t frames = 0;
  FrameScanner scanner;
  Records records;
};

LogClient::LogClient(const LibsqlAddress& address, Remote::Traffic* traffic)
    : address_(address),
      traffic_(traffic),
      token_(address.token, address.token_file),
      stream_(traffic) {}

LogClient::~LogClient() { http_.Abandon(); }

void LogClient::Prepare(const char* name, std::string_view message) {
  if (check_) http_.Abandon();
  check_.reset();
  request_.url = address_.base + "/wal_log.ReplicationLog/" + name;
  request_.content_type = kGrpcWebContentType;
  request_.headers = LibsqlHeaders(address_);
  if (!session_.empty()) request_.headers.push_back("x-session-token: " + session_);
  request_.body = GrpcWebRequest(message);
}

// One exchange, and another if the token was refused and there is a new one. What goes to `sink`
// counts only if the call ended well.
Result<GrpcStatus> LogClient::Ask(const char* name, std::string_view message, MessageSink* sink,
                                  const Call& call) {
  TURSO_RETURN_IF_ERROR(token_.Load());
  Prepare(name, message);
  Result<GrpcStatus> status = AskOnce(sink, call);
  const bool denied = status.ok() ? status->code == GrpcStatus::kUnauthenticated
                                  : status.status().code() == Code::kDenied;
  if (!denied) return status;
  Result<bool> renewed = token_.Renew();
  if (!renewed.ok()) return renewed.status();
  return *renewed ? AskOnce(sink, call) : status;
}

Result<GrpcStatus> LogClient::AskOnce(MessageSink* sink, const Call& call) {
  Records records(sink);
  request_.token = token_.text();
  request_.sink = &records;
  HttpOutcome outcome = ExchangeAndComeAgain(request_, PatienceOf(call), &http_, traffic_);
  request_.sink = nullptr;
  return Judge(outcome, records.Finish());
}

Result<GrpcStatus> LogClient::Judge(const HttpOutcome& outcome,
                                    Result<std::optional<GrpcStatus>> trailers) {
  if (!outcome.status.ok()) return outcome.status;
  if (outcome.answer.status != 200) return LibsqlRefusal(request_.url, outcome.answer);
  Result<std::optional<GrpcStatus>> status = GrpcStatusOf(outcome.answer.headers);
  if (status.ok() && !status->has_value()) status = std::move(trailers);
  if (!status.ok()) return status.status().While(request_.url);
  if (!status->has_value()) {
    return Status(Code::kUnavailable, request_.url + ": the answer ends too early");
  }
  return **std::move(status);
}

Status LogClient::Refusal(const GrpcStatus& status) const {
  const std::string text = request_.url + ": " + Printable(status.message) + " (gRPC status " +
                           std::to_string(status.code) + ")";
  const auto says = [&](const char* words) {
    return status.message.find(words) != std::string::npos;
  };
  switch (status.code) {
    case GrpcStatus::kUnauthenticated: return Status(Code::kDenied, text);
    case GrpcStatus::kPermissionDenied: return Status(Code::kDenied, text);
    case GrpcStatus::kNotFound: return Status(Code::kNotFound, text);
    case GrpcStatus::kInvalidArgument: return Status(Code::kInvalid, text);
    case GrpcStatus::kFailedPrecondition:
      return Status(says("NAMESPACE_DOESNT_EXIST") ? Code::kNotFound : Code::kInvalid, text);
    case GrpcStatus::kUnimplemented:
      return Status(Code::kInvalid, text + "; that server has another way to replicate");
    case GrpcStatus::kInternal:
      // A missing token is no UNAUTHENTICATED to it.
      return Status(says("auth header") ? Code::kDenied : Code::kUnavailable, text);
    default: return Status(Code::kUnavailable, text);
  }
}

Result<LogHello> LogClient::Hello(const Call& call) {
  WholeMessage answer;
  stream_.Close();  // It is of a session that may have ended.
  session_.clear();
  Result<GrpcStatus> status =
      Ask("Hello", ProtobufWriter().Varint(1, kHandshakeVersion).message(), &answer, call);
  if (!status.ok()) return status.status();
  if (status->code != GrpcStatus::kOk) return Refusal(*status);
  if (!answer.message()) return Status(Code::kCorrupt, request_.url + ": an answer without one");
  Result<LogHello> hello = ParseLogHello(AsBytes(*answer.message()));
  if (!hello.ok()) return hello.status().While(request_.url);
  session_ = hello->session;
  return hello;
}

Result<LogClient::Outcome> LogClient::AskForFrames(const char* name, uint64_t next,
                                                   FrameScanner::Messages messages, FrameSink* sink,
                                                   const Call& call) {
  FrameScanner scanner(messages, sink);
  Result<GrpcStatus> status = Ask(name, Offset(next), &scanner, call);
  if (!status.ok()) return status.status();
  if (status->code == GrpcStatus::kOk) return Outcome::kFrames;
  if (status->code == GrpcStatus::kFailedPrecondition) {
    if (status->message == "NO_HELLO") return Outcome::kNoHello;
    if (status->message == "NEED_SNAPSHOT") return Outcome::kNeedSnapshot;
  }
  if (status->code == GrpcStatus::kUnavailable && status->message == "snapshot not found") {
    return Outcome::kNotYet;
  }
  return Refusal(*status);
}

Result<LogClient::Outcome> LogClient::Batch(uint64_t next, FrameSink* sink, const Call& call) {
  return AskForFrames("BatchLogEntries", next, FrameScanner::Messages::kBatch, sink, call);
}

Result<LogClient::Outcome> LogClient::Snapshot(uint64_t next, FrameSink* sink, const Call& call) {
  return AskForFrames("Snapshot", next, FrameScanner::Messages::kFrames, sink, call);
}

Result<bool> LogClient::Await(uint64_t next, FrameSink* sink, Duration wait, const Call& call) {
  if (!stream_.Has(next)) {
    stream_.Close();
    if (!stream_.MayOpen()) {
      TURSO_RETURN_IF_ERROR(Rest(std::min(wait, kPollInterval), call));
      return false;
    }
    TURSO_RETURN_IF_ERROR(token_.Load());
    Prepare("LogEntries", Offset(next));
    request_.token = token_.text();
    stream_.Open(request_, next, call.timeout);
  }
  return stream_.Read(next, sink, wait, call);
}

Status LogClient::BeginCheck(uint64_t next, const Call& call) {
  TURSO_RETURN_IF_ERROR(token_.Load());
  Prepare("BatchLogEntries", Offset(next));
  check_ = std::make_unique<Check>();
  request_.token = token_.text();
  request_.sink = &check_->records;
  http_.Begin(request_, call.timeout);
  // On a kept connection the request is on its way after these.
  for (int i = 0; i < 3; i++) http_.Advance();
  return OkStatus();
}

bool LogClient::FinishCheck(const Call& call) {
  if (!check_) return false;
  HttpOutcome outcome = http_.Finish(PatienceOf(call));
  CountExchange(outcome, traffic_);
  request_.sink = nullptr;
  Result<GrpcStatus> status = Judge(outcome, check_->records.Finish());
  const bool nothing = check_->frames == 0;
  check_.reset();
  return status.ok() && status->code == GrpcStatus::kOk && nothing;
}

Status LogClient::Rest(Duration duration, const Call& call) {
  return http_.Rest(duration, PatienceOf(call));
}

}  // namespace turso
