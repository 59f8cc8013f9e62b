// gRPC-web: a call of gRPC as one POST whose bodies are records.
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md
//
//   body   := message* trailers        the trailers may instead be header lines of the answer: then
//   record := flag u8 | length u32     the body is empty (an error before the first message)
//             | bytes                  big-endian; flag 0x00: a message, 0x80: trailers,
//                                      lines "name:value\r\n"
//
// Only the binary form; nobody sends the base64 one unasked. Pure; one thread.

#ifndef TURSO_SRC_REMOTE_GRPC_WEB_H_
#define TURSO_SRC_REMOTE_GRPC_WEB_H_

#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/bytes.h"
#include "src/base/status.h"

namespace turso {

inline constexpr const char* kGrpcWebContentType = "application/grpc-web+proto";

// How a call ended: https://grpc.io/docs/guides/status-codes/
struct GrpcStatus {
  enum : int {
    kOk = 0,
    kInvalidArgument = 3,
    kNotFound = 5,
    kPermissionDenied = 7,
    kResourceExhausted = 8,
    kFailedPrecondition = 9,
    kUnimplemented = 12,
    kInternal = 13,
    kUnavailable = 14,
    kUnauthenticated = 16,
  };
  int code = kOk;
  std::string message;  // Percent-decoded.
};

// Takes the messages of a body as they come, in pieces.
class MessageSink {
 public:
  virtual ~MessageSink() = default;
  virtual Status BeginMessage(uint32_t length) = 0;
  virtual Status TakeMessage(ByteView piece) = 0;
  virtual Status EndMessage() = 0;
};

// Keeps nothing of a body but the trailers. kCorrupt for what is no body of gRPC-web.
class GrpcWebBody {
 public:
  explicit GrpcWebBody(MessageSink* sink) : sink_(sink) {}
  Status Take(ByteView bytes);
  // The end of the body. Nothing if it ended without trailers: it is broken, unless header lines
  // say how the call ended.
  Result<std::optional<GrpcStatus>> Finish() const;

 private:
  Status BeginRecord();
  Status EndRecord();

  MessageSink* sink_;
  std::array<uint8_t, 5> head_{};
  size_t head_size_ = 0;
  uint32_t left_ = 0;  // Of the record.
  bool in_record_ = false;
  std::optional<std::string> trailers_;
};

// What a body's trailers or the header lines of an answer (names in lower case) say; nothing if
// they do not.
Result<std::optional<GrpcStatus>> ParseGrpcTrailers(std::string_view trailers);
Result<std::optional<GrpcStatus>> GrpcStatusOf(const std::map<std::string, std::string>& headers);

// A message as the body of a request.
std::string GrpcWebRequest(std::string_view message);

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_GRPC_WEB_H_
