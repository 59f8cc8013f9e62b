#include "src/primary/replica_api.h"

#include <algorithm>

#include "src/remote/remote.h"

namespace turso {

namespace {

using Json = nlohmann::json;

struct Refusal {
  unsigned status;
  const char* error;
};

// src/primary/README.md has the table.
Refusal RefusalOf(Code code) {
  switch (code) {
    case Code::kDenied: return {401, "denied"};
    case Code::kReadOnly: return {403, "read_only"};
    case Code::kNotFound: return {404, "not_found"};
    case Code::kConflict: return {409, "conflict"};
    case Code::kBusy: return {409, "busy"};
    case Code::kInvalid:
    case Code::kCorrupt: return {400, "invalid"};
    case Code::kFull: return {507, "full"};
    case Code::kOutcomeUnknown: return {500, "outcome_unknown"};
    default: return {503, "unavailable"};
  }
}

HttpResponse Response(unsigned status, std::shared_ptr<const std::string> body) {
  HttpResponse response;
  response.status = status;
  response.content_type = kReplicaApiContentType;
  response.body = std::move(body);
  return response;
}

HttpResponse Success(const Json& head) {
  return Response(
      200, std::make_shared<const std::string>(MessageWriter(head, PageCodec::kRaw).Finish()));
}

AnswerDone Later(Respond respond) {
  return [respond = std::move(respond)](Answer answer) {
    respond(answer.ok() ? Response(200, *answer) : ReplicaApi::Failure(answer.status()));
  };
}

// The fields of one request, as the calls want them. The first that is missing or wrong is
// remembered.
class Fields {
 public:
  explicit Fields(const Head& head) : head_(head) {}

  const Status& status() const { return status_; }

  std::string Text(const char* name) { return Take(TextField(head_, name)); }
  uint64_t Number(const char* name, uint64_t limit = UINT64_MAX) {
    uint64_t number = Take(NumberField(head_, name));
    if (number > limit) Note(Status(Code::kInvalid, std::string(name) + " is too great"));
    return number;
  }
  uint32_t Number32(const char* name) { return static_cast<uint32_t>(Number(name, UINT32_MAX)); }
  ReplicaId Id(const char* name) {
    ReplicaId id{};
    std::string text = Text(name);
    std::optional<Bytes> bytes = FromHex(text);
    if (bytes && bytes->size() == id.size()) {
      std::copy(bytes->begin(), bytes->end(), id.begin());
    } else {
      Note(Status(Code::kInvalid, std::string(name) + " is not 32 hexadecimal digits"));
    }
    return id;
  }
  // A day is more than anything is waited for, and its nanoseconds fit.
  Duration Milliseconds(const char* name) { return milliseconds(Number(name, 86'400'000)); }
  PageCodec Codec() {
    std::string name = Text("codec");
    if (name != "raw" && name != "lz4")
      Note(Status(Code::kInvalid, "codec \"" + name + "\" is not known"));
    return name == "lz4" ? PageCodec::kLz4 : PageCodec::kRaw;
  }
  std::vector<PageNo> Pages(const char* name) {
    std::vector<PageNo> pages;
    for (uint64_t number : Take(NumbersField(head_, name))) {
      if (number > UINT32_MAX) {
        Note(Status(Code::kInvalid, std::string(name) + " has something that is no page number"));
        return pages;
      }
      pages.push_back({static_cast<uint32_t>(number)});
    }
    return pages;
  }

 private:
  template <typename T>
  T Take(Result<T> field) {
    if (field.ok()) return std::move(*field);
    Note(field.status());
    return T{};
  }
  void Note(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }

  const Head& head_;
  Status status_;
};

struct Request {
  ServedDatabase* database;
  Access access;
  const Message& message;
  Fields fields;
  Respond respond;

  void Fail(const Status& status) { respond(ReplicaApi::Failure(status)); }
  bool Complete() {
    if (!fields.status().ok()) Fail(Status(Code::kInvalid, fields.status().text()));
    return fields.status().ok();
  }
};

void Identify(Request request) {
  Result<Overview> overview = request.database->Identify();
  if (!overview.ok()) return request.Fail(overview.status());
  request.respond(Success({{"database_id", ToHex(overview->database_id)},
                           {"page_size", overview->page_size},
                           {"db_size", overview->db_size},
                           {"revision", overview->revision.text()},
                           {"writable", request.access == Access::kWrite},
                           {"protocol_version", 1}}));
}

void Pull(Request request) {
  PullRequest pull;
  pull.since = request.fields.Text("since");
  pull.after = {request.fields.Number32("after_page")};
  pull.wait = request.fields.Milliseconds("wait_ms");
  pull.codec = request.fields.Codec();
  if (request.message.head().Has("replica")) pull.replica = request.fields.Id("replica");
  if (!request.Complete()) return;
  request.database->Pull(pull, Later(std::move(request.respond)));
}

void Lease(Request request) {
  LeaseAsk ask;
  ask.holder = request.fields.Id("holder");
  ask.base = request.fields.Text("base");
  ask.hold = request.fields.Milliseconds("hold_ms");
  ask.codec = request.fields.Codec();
  if (!request.Complete()) return;
  request.database->AskLease(ask, Later(std::move(request.respond)));
}

void Renew(Request request) {
  ReplicaId holder = request.fields.Id("holder");
  uint64_t fence = request.fields.Number("fence");
  if (!request.Complete()) return;
  Result<Duration> lifetime = request.database->RenewLease(holder, fence);
  if (!lifetime.ok()) return request.Fail(lifetime.status());
  request.respond(Success({{"lifetime_ms", *lifetime / milliseconds(1)}}));
}

void Release(Request request) {
  ReplicaId holder = request.fields.Id("holder");
  uint64_t fence = request.fields.Number("fence");
  if (!request.Complete()) return;
  request.database->ReleaseLease(holder, fence);
  request.respond(Success(Json::object()));
}

void Commit(Request request) {
  PageCommit commit;
  commit.replica = request.fields.Id("replica");
  commit.number = request.fields.Number("number");
  commit.base = request.fields.Text("base");
  commit.fence = request.fields.Number("fence");
  uint32_t page_size = request.fields.Number32("page_size");
  uint32_t db_size = request.fields.Number32("db_size");
  if (!request.Complete()) return;
  if (!IsPageSize(page_size))
    return request.Fail(Status(Code::kInvalid, "page_size is impossible"));
  commit.pages = PageSet(page_size);
  commit.pages.set_db_size(db_size);
  Status status = request.message.ForEachPage([&](PageNo page, ByteView image) {
    if (image.size() != page_size) return Status(Code::kInvalid, "a page is not of page_size");
    commit.pages.Put(page, image.data());
    return OkStatus();
  });
  if (!status.ok()) return request.Fail(Status(Code::kInvalid, status.text()));
  Result<Committed> committed = request.database->Commit(commit);
  if (!committed.ok()) return request.Fail(committed.status());
  request.respond(
      Success({{"revision", committed->revision.text()}, {"lease_ended", committed->lease_ended}}));
}

void Settle(Request request) {
  ReplicaId replica = request.fields.Id("replica");
  uint64_t number = request.fields.Number("number");
  if (!request.Complete()) return;
  Result<Settled> settled = request.database->Settle(replica, number);
  if (!settled.ok()) return request.Fail(settled.status());
  bool committed = settled->outcome == Outcome::kCommitted;
  const char* outcome = committed                               ? "committed"
                        : settled->outcome == Outcome::kRefused ? "refused"
                                                                : "unknown";
  request.respond(
      Success({{"outcome", outcome}, {"revision", committed ? settled->revision.text() : ""}}));
}

void Hashes(Request request) {
  PageNo after{request.fields.Number32("after_page")};
  uint32_t limit = request.fields.Number32("limit");
  if (!request.Complete()) return;
  Result<PagePart> part = request.database->Read(after, limit);
  if (!part.ok()) return request.Fail(part.status());
  Json hashes = Json::array();
  for (size_t i = 0; i < part->numbers.size(); i++) {
    PageHash hash = HashPage(part->numbers[i], part->image(i));
    uint8_t raw[16];
    StoreBig64(raw, hash.high);
    StoreBig64(raw + 8, hash.low);
    hashes.push_back(ToHex(raw));
  }
  request.respond(Success({{"revision", part->revision.text()},
                           {"page_size", part->page_size},
                           {"db_size", part->db_size},
                           {"hashes", std::move(hashes)},
                           {"next_after_page", part->next_after.value}}));
}

void Fetch(Request request) {
  std::vector<PageNo> pages = request.fields.Pages("pages");
  PageCodec codec = request.fields.Codec();
  if (!request.Complete()) return;
  Result<PagePart> part = request.database->Fetch(pages);
  if (!part.ok()) return request.Fail(part.status());
  MessageWriter writer({{"revision", part->revision.text()},
                        {"page_size", part->page_size},
                        {"db_size", part->db_size}},
                       codec, part->page_size);
  writer.Add(part->numbers, part->images);
  request.respond(Response(200, std::make_shared<const std::string>(writer.Finish())));
}

void Compare(Request request) {
  std::string a = request.fields.Text("a");
  std::string b = request.fields.Text("b");
  if (!request.Complete()) return;
  std::optional<int> order = request.database->Compare(a, b);
  const char* name = !order ? "unrelated" : *order < 0 ? "before" : *order > 0 ? "after" : "equal";
  request.respond(Success({{"order", name}}));
}

struct CallHandler {
  std::string_view name;
  Access needs;
  void (*run)(Request);
};

constexpr CallHandler kCalls[] = {
    {"identify", Access::kRead, Identify}, {"pull", Access::kRead, Pull},
    {"lease", Access::kWrite, Lease},      {"renew", Access::kWrite, Renew},
    {"release", Access::kWrite, Release},  {"commit", Access::kWrite, Commit},
    {"settle", Access::kWrite, Settle},    {"hashes", Access::kRead, Hashes},
    {"fetch", Access::kRead, Fetch},       {"compare", Access::kRead, Compare},
};

}  // namespace

HttpResponse ReplicaApi::Failure(const Status& status) {
  Refusal refusal = RefusalOf(status.code());
  Json head{{"error", refusal.error}, {"message", status.text()}};
  // A text from outside may not be UTF-8, which a head has to be.
  std::string printable = Json(status.text()).dump(-1, ' ', false, Json::error_handler_t::replace);
  head["message"] = Json::parse(printable, nullptr, false);
  return Response(refusal.status, std::make_shared<const std::string>(
                                      MessageWriter(head, PageCodec::kRaw).Finish()));
}

void ReplicaApi::Handle(std::string_view database, std::string_view call, Access access,
                        ByteView body, Respond respond) {
  auto fail = [&](Code code, const std::string& text) { respond(Failure(Status(code, text))); };
  auto it = std::find_if(std::begin(kCalls), std::end(kCalls),
                         [&](const CallHandler& c) { return c.name == call; });
  if (it == std::end(kCalls)) return fail(Code::kNotFound, "there is no call " + std::string(call));
  if (access == Access::kNone) return fail(Code::kDenied, "the token is missing or not known here");
  if (access == Access::kRead && it->needs == Access::kWrite) {
    return fail(Code::kReadOnly, "this token may read, but not write");
  }
  Result<Message> message = Message::Decode(body);
  if (!message.ok()) return fail(Code::kInvalid, "the request: " + message.status().text());
  Result<std::shared_ptr<ServedDatabase>> served = databases_->Get(database);
  if (!served.ok()) return respond(Failure(served.status()));
  it->run(Request{served->get(), access, *message, Fields(message->head()), std::move(respond)});
}

}  // namespace turso
