// The calls of a libSQL server's replication: wal_log.ReplicationLog over gRPC-web.
// libsql-replication/proto/replication_log.proto of github.com/tursodatabase/libsql
//
// A server knows its clients by a session token, which ends with the server's process: then every
// call is answered kNoHello until the next Hello. What each failure means is as in
// src/remote/remote.h. One thread at a time, but for Cancel().

#ifndef TURSO_SRC_REMOTE_LOG_CLIENT_H_
#define TURSO_SRC_REMOTE_LOG_CLIENT_H_

#include <memory>
#include <optional>
#include <string>

#include "src/http/http_client.h"
#include "src/remote/bearer_token.h"
#include "src/remote/libsql_log.h"
#include "src/remote/log_hello.h"
#include "src/remote/log_stream.h"
#include "src/remote/remote.h"

namespace turso {

struct LibsqlAddress {
  std::string base;      // http(s)://host[:port]
  std::string database;  // The namespace, for a server that has several.
  std::string token;
  std::string token_file;  // Wins over token.
};

// "name: value" lines that go with every request to such a server.
std::vector<std::string> LibsqlHeaders(const LibsqlAddress& address);
// What an HTTP status that is no success means, in the server's own words where it has some.
Status LibsqlRefusal(const std::string& url, const HttpAnswer& answer);

class LogClient {
 public:
  LogClient(const LibsqlAddress& address, Remote::Traffic* traffic);
  ~LogClient();

  Result<LogHello> Hello(const Call& call);

  enum class Outcome {
    kFrames,        // All that was asked for, perhaps nothing, went to the sink.
    kNoHello,       // Say Hello first. Nothing went to the sink that counts, as in the next two.
    kNeedSnapshot,  // The log does not go back that far any more.
    kNotYet,        // The snapshot is being made.
  };
  // From frame `next` on: about a thousand frames, up to the end of a transaction.
  Result<Outcome> Batch(uint64_t next, FrameSink* sink, const Call& call);
  Result<Outcome> Snapshot(uint64_t next, FrameSink* sink, const Call& call);
  // Frames from `next` on as the server sends them, in whole transactions; the first within `wait`,
  // or false: nothing came, or not even the server's word is there that nothing did. (LS2)
  Result<bool> Await(uint64_t next, FrameSink* sink, Duration wait, const Call& call);
  // Whether Await goes on where a call of it, or of Batch behind it, ended.
  bool IsAwaiting(uint64_t next) const { return stream_.Has(next); }
  // Asks whether anything follows from frame `next` on, and does not wait; any other call forgets
  // it.
  Status BeginCheck(uint64_t next, const Call& call);
  // True: the session is the one of Hello still, and nothing follows. False also for whatever
  // fails.
  bool FinishCheck(const Call& call);
  // As HttpClient::Rest.
  Status Rest(Duration duration, const Call& call);

  void Cancel() {
    http_.Cancel();
    stream_.Cancel();
  }

 private:
  Result<GrpcStatus> Ask(const char* name, std::string_view message, MessageSink* sink,
                         const Call& call);
  struct Check;
  void Prepare(const char* name, std::string_view message);
  Result<GrpcStatus> Judge(const HttpOutcome& outcome, Result<std::optional<GrpcStatus>> trailers);
  Result<GrpcStatus> AskOnce(MessageSink* sink, const Call& call);
  Result<Outcome> AskForFrames(const char* name, uint64_t next, FrameScanner::Messages messages,
                               FrameSink* sink, const Call& call);
  Status Refusal(const GrpcStatus& status) const;

  const LibsqlAddress address_;
  Remote::Traffic* traffic_;
  BearerToken token_;
  std::string session_;
  HttpClient http_;
  HttpRequest request_;
  std::unique_ptr<Check> check_;
  LogStream stream_;
};

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_LOG_CLIENT_H_
