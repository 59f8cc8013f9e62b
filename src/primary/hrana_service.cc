#include "src/primary/hrana_service.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include "src/primary/json_text.h"

namespace turso {

namespace {

constexpr size_t kIdSize = 16;
// Longer than it takes one that waits to say so again.
constexpr milliseconds kBlockedMemory(1000);

std::string RandomBytes() {
  std::string bytes(kIdSize, '\0');
  // It fails only where there is no randomness at all; a baton that can be guessed is worse than
  // none.
  if (gnutls_rnd(GNUTLS_RND_KEY, bytes.data(), bytes.size()) != 0) std::abort();
  return bytes;
}

HttpResponse ErrorResponse(unsigned status, const std::string& message, const std::string& code) {
  return HttpResponse::Json(status, HranaErrorJson({message, code, ""}));
}

HttpResponse FromStatus(const Status& status) {
  switch (status.code()) {
    case Code::kNotFound: return ErrorResponse(404, status.text(), "DATABASE_NOT_FOUND");
    case Code::kInvalid: return HttpResponse::Text(400, status.text());
    case Code::kDenied: return ErrorResponse(401, status.text(), "UNAUTHORIZED");
    case Code::kReadOnly: return ErrorResponse(403, status.text(), "SQLITE_READONLY");
    case Code::kBusy:
    case Code::kUnavailable: return ErrorResponse(503, status.text(), "UNAVAILABLE");
    default: return ErrorResponse(500, status.text(), "INTERNAL");
  }
}

}  // namespace

struct HranaService::Stream {
  std::string id;
  std::string nonce;
  std::string database;
  Access access = Access::kNone;
  std::unique_ptr<HranaSession> session;
  Instant idle_since;
  bool in_use = true;
};

HranaService::HranaService(OpenSqlConnection open, HranaServiceOptions options)
    : open_(std::move(open)), options_(options), expirer_([this] { ExpireLoop(); }) {}

HranaService::~HranaService() { Stop(); }

void HranaService::Pipeline(HranaVersion version, const std::string& database, Access access,
                            const ServedRequest& request, const Respond& respond) {
  Handle(Form::kPipeline, database, access, request, respond,
         ParseHranaPipeline(request.body, version));
}

void HranaService::Cursor(const std::string& database, Access access, const ServedRequest& request,
                          const Respond& respond) {
  Handle(Form::kCursor, database, access, request, respond, ParseHranaCursor(request.body));
}

HranaService::Counts HranaService::counts() const {
  std::lock_guard lock(mutex_);
  return {streams_.size(), statements_};
}

void HranaService::Handle(Form form, const std::string& database, Access access,
                          const ServedRequest& request, const Respond& respond,
                          const Result<HranaPipeline>& parsed) {
  if (!parsed.ok()) return respond(FromStatus(parsed.status()));
  HttpResponse refusal;
  StreamPtr stream = parsed->baton ? Take(*parsed->baton, database, access, &refusal)
                                   : Open(database, access, &refusal);
  if (!stream) return respond(std::move(refusal));
  // Run() takes the callback back before the session can go.
  HranaSession* session = stream->session.get();
  request.departure->OnGone([session] { session->Interrupt(); });
  HttpResponse response = Run(form, stream, *parsed, request.departure.get());
  respond(std::move(response));
}

HttpResponse HranaService::Run(Form form, const StreamPtr& stream, const HranaPipeline& pipeline,
                               Departure* departure) {
  std::string results;
  Status failure;
  bool closed = false;
  size_t count = 0;
  for (const HranaRequest& request : pipeline.requests) {
    std::string result;
    if (closed) {
      result =
          "{\"type\":\"error\",\"error\":" +
          HranaErrorJson({"The stream was closed by an earlier request", "STREAM_CLOSED", ""}) +
          "}";
    } else {
      Result<std::string> ran = form == Form::kCursor ? stream->session->RunCursor(request)
                                                      : stream->session->Run(request);
      if (!ran.ok()) {
        failure = ran.status();
        break;
      }
      result = std::move(*ran);
      closed = request.type == HranaRequest::Type::kClose;
    }
    if (form == Form::kPipeline && count++ > 0) results += ',';
    results += result;
  }
  departure->OnGone(nullptr);
  {
    std::lock_guard lock(mutex_);
    statements_ += pipeline.requests.size();
  }
  bool over = !failure.ok() || closed || departure->gone();
  if (over) Drop(stream);
  if (!failure.ok()) return FromStatus(failure);
  std::string baton = over ? "" : Return(stream);
  std::string body =
      "{\"baton\":" + (baton.empty() ? "null" : JsonText(baton)) + ",\"base_url\":null";
  if (form == Form::kCursor) return HttpResponse::Text(200, body + "}\n" + results);
  return HttpResponse::Json(200, body + ",\"results\":[" + results + "]}");
}

HranaService::StreamPtr HranaService::Open(const std::string& database, Access access,
                                           HttpResponse* refusal) {
  auto stream = std::make_shared<Stream>();
  stream->id = RandomBytes();
  stream->database = database;
  stream->access = access;
  Result<SqlConnection> connection = open_(database);
  if (!connection.ok()) {
    *refusal = FromStatus(connection.status());
    return nullptr;
  }
  auto session = HranaSession::Make(std::move(*connection), access, options_.session);
  if (!session.ok()) {
    *refusal = FromStatus(session.status());
    return nullptr;
  }
  stream->session = std::move(*session);
  stream->session->OnBlocked([this, database] { NoteBlocked(database); });
  std::lock_guard lock(mutex_);
  if (stopping_) {
    *refusal = ErrorResponse(503, "The server is stopping", "UNAVAILABLE");
  } else if (streams_.size() >= options_.streams_max) {
    *refusal = ErrorResponse(429, "Too many streams are open", "TOO_MANY_STREAMS");
  } else {
    streams_.emplace(stream->id, stream);
    changed_.notify_all();
    return stream;
  }
  return nullptr;
}

HranaService::StreamPtr HranaService::Take(const std::string& baton, const std::string& database,
                                           Access access, HttpResponse* refusal) {
  std::optional<std::string> bytes = DecodeBase64(baton);
  if (!bytes || bytes->size() != 2 * kIdSize) {
    *refusal = HttpResponse::Text(400, "Received an invalid baton");
    return nullptr;
  }
  std::string id = bytes->substr(0, kIdSize);
  std::lock_guard lock(mutex_);
  auto found = streams_.find(id);
  if (found == streams_.end()) {
    for (const auto& [when, expired] : expired_) {
      if (expired != id) continue;
      *refusal = ErrorResponse(400, "The stream has expired due to inactivity", "STREAM_EXPIRED");
      return nullptr;
    }
    *refusal = HttpResponse::Text(400, "Received an invalid baton");
    return nullptr;
  }
  const StreamPtr& stream = found->second;
  if (stream->database != database || stream->access != access) {
    *refusal = HttpResponse::Text(400, "Received an invalid baton");
    return nullptr;
  }
  if (stream->in_use ||
      gnutls_memcmp(stream->nonce.data(), bytes->data() + kIdSize, kIdSize) != 0) {
    *refusal = HttpResponse::Text(400, "Received a baton that has already been used");
    return nullptr;
  }
  stream->in_use = true;
  return stream;
}

std::string HranaService::Return(const StreamPtr& stream) {
  std::lock_guard lock(mutex_);
  stream->nonce = RandomBytes();
  stream->idle_since = Instant::Now();
  stream->in_use = false;
  changed_.notify_all();
  return EncodeBase64(stream->id + stream->nonce);
}

void HranaService::Drop(const StreamPtr& stream) {
  // Closing rolls back, which may take a while: not under the lock.
  stream->session.reset();
  std::lock_guard lock(mutex_);
  streams_.erase(stream->id);
  changed_.notify_all();
}

Instant HranaService::DeadlineOf(const Stream& stream) const {
  Instant deadline = stream.idle_since + options_.stream_idle;
  auto blocked = blocked_.find(stream.database);
  if (blocked == blocked_.end() || blocked->second < Instant::Now()) return deadline;
  if (!stream.session->IsWriting()) return deadline;
  return std::min(deadline, stream.idle_since + options_.blocking_idle);
}

void HranaService::NoteBlocked(const std::string& database) {
  std::lock_guard lock(mutex_);
  blocked_[database] = Instant::Now() + kBlockedMemory;
  changed_.notify_all();
}

void HranaService::ExpireLoop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (streams_.empty()) {
      changed_.wait(lock, [this] { return stopping_ || !streams_.empty(); });
      continue;
    }
    Instant now = Instant::Now();
    while (!expired_.empty() && now - expired_.front().first > options_.expired_memory)
      expired_.pop_front();
    Instant next = now + seconds(3600);
    std::vector<StreamPtr> late;
    for (const auto& [id, stream] : streams_) {
      if (stream->in_use) continue;
      Instant deadline = DeadlineOf(*stream);
      if (deadline <= now) {
        stream->in_use = true;
        late.push_back(stream);
      } else {
        next = std::min(next, deadline);
      }
    }
    for (const StreamPtr& stream : late) expired_.emplace_back(now, stream->id);
    if (late.empty()) {
      changed_.wait_for(lock, next - now);
      continue;
    }
    lock.unlock();
    for (const StreamPtr& stream : late) Drop(stream);
    late.clear();
    lock.lock();
  }
}

void HranaService::Stop() {
  std::vector<StreamPtr> idle;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const auto& [id, stream] : streams_) {
      if (stream->in_use) continue;
      stream->in_use = true;
      idle.push_back(stream);
    }
    changed_.notify_all();
  }
  if (expirer_.joinable()) expirer_.join();
  for (const StreamPtr& stream : idle) Drop(stream);
  idle.clear();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return streams_.empty(); });
}

}  // namespace turso
