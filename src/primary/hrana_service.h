// Hrana over HTTP: streams of SQL, one connection each, held together by batons.
// https://github.com/tursodatabase/libsql/blob/main/docs/HRANA_3_SPEC.md#hrana-over-http
//
//   baton := base64(stream id, 16 random bytes | 16 random bytes, new in every answer)
//
//   (HR1) A stream answers to the newest baton only, for the database and the access it was opened
//         with; any other ends in 400, and leaves the stream as it was.
//   (HR2) A stream that nobody uses for `stream_idle` is closed, its transaction rolled back; after
//         `blocking_idle` already if another waits for its lock. So is one whose request broke the
//         protocol, or whose client hung up while it ran.
// What a pipeline asks for is done in order, on the thread that calls Pipeline(). Any thread may
// call.

#ifndef TURSO_SRC_PRIMARY_HRANA_SERVICE_H_
#define TURSO_SRC_PRIMARY_HRANA_SERVICE_H_

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "src/base/clock.h"
#include "src/primary/hrana_session.h"
#include "src/primary/http_server.h"
#include "src/primary/sql_connections.h"

namespace turso {

struct HranaServiceOptions {
  HranaSession::Options session;
  milliseconds stream_idle{10000};
  // The same for a stream whose transaction keeps another from writing.
  milliseconds blocking_idle{4000};
  // For how long the baton of an expired stream is still told so.
  seconds expired_memory{300};
  size_t streams_max = 4096;
};

class HranaService {
 public:
  HranaService(OpenSqlConnection open, HranaServiceOptions options);
  // Stop() first.
  ~HranaService();

  // POST …/v2/pipeline, …/v3/pipeline.
  void Pipeline(HranaVersion version, const std::string& database, Access access,
                const ServedRequest& request, const Respond& respond);
  // POST …/v3/cursor.
  void Cursor(const std::string& database, Access access, const ServedRequest& request,
              const Respond& respond);

  struct Counts {
    size_t streams_open = 0;
    uint64_t statements = 0;
  };
  Counts counts() const;

  // Closes every stream, and refuses new ones. What runs is waited for: stop the HTTP server first,
  // which interrupts it.
  void Stop();

 private:
  struct Stream;
  using StreamPtr = std::shared_ptr<Stream>;
  enum class Form { kPipeline, kCursor };

  void Handle(Form form, const std::string& database, Access access, const ServedRequest& request,
              const Respond& respond, const Result<HranaPipeline>& parsed);
  HttpResponse Run(Form form, const StreamPtr& stream, const HranaPipeline& pipeline,
                   Departure* departure);
  // A new stream, or the one that the baton names, in use by the caller until Return() or Drop();
  // else the answer.
  StreamPtr Open(const std::string& database, Access access, HttpResponse* refusal);
  StreamPtr Take(const std::string& baton, const std::string& database, Access access,
                 HttpResponse* refusal);
  // Puts the stream back among the idle, and gives it its next baton. Empty if the server is
  // stopping.
  std::string Return(const StreamPtr& stream);
  void Drop(const StreamPtr& stream);
  // When nobody's use of it ends its life. Wants mutex_ held.
  Instant DeadlineOf(const Stream& stream) const;
  void NoteBlocked(const std::string& database);
  void ExpireLoop();

  const OpenSqlConnection open_;
  const HranaServiceOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<std::string, std::shared_ptr<Stream>> streams_;
  std::deque<std::pair<Instant, std::string>> expired_;
  // Databases on which somebody waits for a lock, and until when that counts.
  std::map<std::string, Instant> blocked_;
  uint64_t statements_ = 0;
  bool stopping_ = false;
  std::thread expirer_;
};

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_HRANA_SERVICE_H_
