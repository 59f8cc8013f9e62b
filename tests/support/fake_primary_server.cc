#include "tests/support/fake_primary_server.h"

#include <algorithm>

#include "src/wire/message.h"

namespace turso {

namespace {

using nlohmann::json;

struct Images : PageSink {
  Status Size(uint32_t size, uint32_t pages) override {
    page_size = size;
    db_size = pages;
    return OkStatus();
  }
  Status Page(PageNo page, ByteView image) override {
    images.emplace_back(page, Bytes(image.begin(), image.end()));
    return OkStatus();
  }
  uint32_t page_size = 0;
  uint32_t db_size = 0;
  std::vector<std::pair<PageNo, Bytes>> images;
};

std::array<uint8_t, 16> IdOf(const Head& head, const char* name) {
  std::array<uint8_t, 16> id{};
  std::optional<Bytes> bytes = FromHex(TextField(head, name).value());
  std::copy(bytes->begin(), bytes->end(), id.begin());
  return id;
}

Revision RevisionOf(const Head& head, const char* name) {
  return *Revision::Parse(TextField(head, name).value());
}

std::string Text(const Revision& revision) { return std::string(revision.text()); }

// One request, taken apart and given to a FakeRemote.
class Service {
 public:
  Service(std::shared_ptr<FakePrimary> primary, size_t part_pages, const Message& request,
          const Call& waits)
      : remote_(std::move(primary)), part_pages_(part_pages), request_(request), waits_(waits) {}

  // Fills head_ and pages_.
  Status Run(const std::string& call) {
    if (call == "identify") return Identify();
    if (call == "pull") return Pull();
    if (call == "lease") return Lease();
    if (call == "renew") return Renew();
    if (call == "release") {
      return remote_.ReleaseLease(IdOf(in(), "holder"), NumberField(in(), "fence").value(), {});
    }
    if (call == "commit") return Commit();
    if (call == "settle") return Settle();
    if (call == "hashes") return Hashes();
    if (call == "fetch") return Fetch();
    if (call == "compare") return Compare();
    return Status(Code::kNotFound, "no such call");
  }

  json head_ = json::object();
  Images pages_;
  PageCodec codec_ = PageCodec::kRaw;

 private:
  const Head& in() const { return request_.head(); }

  void SetSizes() {
    Result<Identity> identity = remote_.Identify({});
    head_["page_size"] = identity->page_size;
    head_["db_size"] = pages_.db_size ? pages_.db_size : identity->db_size;
  }
  void TakeCodec() {
    if (TextField(in(), "codec").value() == "lz4") codec_ = PageCodec::kLz4;
  }

  Status Identify() {
    Result<Identity> identity = remote_.Identify({});
    head_ = {{"database_id", identity->database_id},
             {"page_size", identity->page_size},
             {"db_size", identity->db_size},
             {"revision", Text(identity->revision)},
             {"writable", true},
             {"protocol_version", 1}};
    return OkStatus();
  }

  Status Pull() {
    TakeCodec();
    Duration wait = milliseconds(NumberField(in(), "wait_ms").value());
    Result<Revision> revision = remote_.Pull(RevisionOf(in(), "since"), wait, &pages_, waits_);
    if (!revision.ok()) return revision.status();
    uint64_t after = NumberField(in(), "after_page").value();
    std::erase_if(pages_.images, [&](const auto& p) { return p.first.value <= after; });
    uint32_t next = 0;
    if (pages_.images.size() > part_pages_) {
      pages_.images.resize(part_pages_);
      next = pages_.images.back().first.value;
    }
    SetSizes();
    head_["revision"] = Text(*revision);
    head_["next_after_page"] = next;
    return OkStatus();
  }

  Status Lease() {
    TakeCodec();
    LeaseRequest request{IdOf(in(), "holder"), RevisionOf(in(), "base"),
                         milliseconds(NumberField(in(), "hold_ms").value())};
    Result<LeaseAnswer> lease = remote_.AcquireLease(request, &pages_, waits_);
    head_["granted"] = lease.ok();
    if (lease.status().code() == Code::kBusy) return OkStatus();
    if (!lease.ok()) return lease.status();
    SetSizes();
    head_["fence"] = lease->fence;
    head_["lifetime_ms"] = lease->lifetime / milliseconds(1);
    head_["revision"] = Text(lease->revision);
    head_["pages_sent"] = lease->pages_sent;
    return OkStatus();
  }

  Status Renew() {
    Result<Duration> lifetime =
        remote_.RenewLease(IdOf(in(), "holder"), NumberField(in(), "fence").value(), {});
    if (!lifetime.ok()) return lifetime.status();
    head_["lifetime_ms"] = *lifetime / milliseconds(1);
    return OkStatus();
  }

  Status Commit() {
    PageSet pages(static_cast<uint32_t>(NumberField(in(), "page_size").value()));
    pages.set_db_size(static_cast<uint32_t>(NumberField(in(), "db_size").value()));
    TURSO_RETURN_IF_ERROR(request_.ForEachPage([&](PageNo page, ByteView image) {
      pages.Put(page, image.data());
      return OkStatus();
    }));
    CommitId id{IdOf(in(), "replica"), NumberField(in(), "number").value()};
    Result<CommitAnswer> answer = remote_.Commit(
        {id, RevisionOf(in(), "base"), NumberField(in(), "fence").value(), &pages}, {});
    if (!answer.ok()) return answer.status();
    head_ = {{"revision", Text(answer->revision)}, {"lease_ended", answer->lease_ended}};
    return OkStatus();
  }

  Status Settle() {
    CommitId id{IdOf(in(), "replica"), NumberField(in(), "number").value()};
    Result<SettleAnswer> answer = remote_.Settle(id, {});
    if (!answer.ok()) return answer.status();
    static const char* const kNames[] = {"committed", "refused", "unknown"};
    head_ = {{"outcome", kNames[static_cast<int>(answer->outcome)]},
             {"revision", Text(answer->revision)}};
    return OkStatus();
  }

  Status Hashes() {
    Result<HashesAnswer> answer = remote_.Hashes({});
    uint64_t after = NumberField(in(), "after_page").value();
    uint64_t end =
        std::min<uint64_t>(after + std::min(part_pages_, LimitOfHashes()), answer->hashes.size());
    json list = json::array();
    for (uint64_t i = after; i < end; i++) {
      uint8_t bytes[16];
      StoreBig64(bytes, answer->hashes[i].high);
      StoreBig64(bytes + 8, answer->hashes[i].low);
      list.push_back(ToHex(bytes));
    }
    SetSizes();
    head_["revision"] = Text(answer->revision);
    head_["hashes"] = list;
    head_["next_after_page"] = end < answer->hashes.size() ? end : 0;
    return OkStatus();
  }
  size_t LimitOfHashes() const { return NumberField(in(), "limit").value(); }

  Status Fetch() {
    TakeCodec();
    std::vector<PageNo> wanted;
    const Head::Numbers numbers = NumbersField(in(), "pages").value();
    for (uint64_t number : numbers) wanted.push_back(PageNo{static_cast<uint32_t>(number)});
    Result<Revision> revision = remote_.Fetch(wanted, &pages_, {});
    SetSizes();
    head_["revision"] = Text(*revision);
    return OkStatus();
  }

  Status Compare() {
    static const char* const kNames[] = {"before", "equal", "after", "unrelated"};
    Result<Order> order = remote_.Compare(RevisionOf(in(), "a"), RevisionOf(in(), "b"), {});
    head_["order"] = kNames[static_cast<int>(*order)];
    return OkStatus();
  }

  FakeRemote remote_;
  const size_t part_pages_;
  const Message& request_;
  const Call& waits_;
};

std::string Refusal(const Status& failure, int* status) {
  struct {
    Code code;
    const char* name;
    int status;
  } const kNames[] = {{Code::kDenied, "denied", 401},      {Code::kReadOnly, "read_only", 403},
                      {Code::kNotFound, "not_found", 404}, {Code::kConflict, "conflict", 409},
                      {Code::kBusy, "busy", 409},          {Code::kInvalid, "invalid", 400},
                      {Code::kFull, "full", 507}};
  json head = {{"error", "unavailable"}, {"message", failure.text()}};
  *status = 503;
  for (const auto& entry : kNames) {
    if (entry.code != failure.code()) continue;
    head["error"] = entry.name;
    *status = entry.status;
  }
  return MessageWriter(head, PageCodec::kRaw).Finish();
}

}  // namespace

FakePrimaryServer::FakePrimaryServer(std::shared_ptr<FakePrimary> primary, size_t part_pages,
                                     std::string token)
    : primary_(std::move(primary)),
      part_pages_(part_pages),
      token_(std::move(token)),
      server_([this](ScriptedServer::Connection& connection) { Run(connection); }) {}

void FakePrimaryServer::set_intercept(Intercept intercept) {
  std::lock_guard lock(mutex_);
  intercept_ = std::move(intercept);
}

void FakePrimaryServer::set_edit(Edit edit) {
  std::lock_guard lock(mutex_);
  edit_ = std::move(edit);
}

void FakePrimaryServer::set_token(std::string token) {
  std::lock_guard lock(mutex_);
  token_ = std::move(token);
}

std::string FakePrimaryServer::Serve(const std::string& call, const ScriptedRequest& request,
                                     int* status, const Call& waits) {
  Edit edit;
  {
    std::lock_guard lock(mutex_);
    edit = edit_;
    auto given = request.headers.find("authorization");
    std::string expected = "Bearer " + token_;
    if (!token_.empty() && (given == request.headers.end() || given->second != expected)) {
      return Refusal(Status(Code::kDenied, "who are you?"), status);
    }
  }
  Result<Message> message = Message::Decode(AsBytes(request.body));
  if (!message.ok()) return Refusal(Status(Code::kInvalid, message.status().text()), status);
  Service service(primary_, part_pages_, *message, waits);
  Status result = service.Run(call);
  if (!result.ok()) return Refusal(result, status);
  *status = 200;
  if (edit) edit(call, &service.head_);
  MessageWriter writer(service.head_, service.codec_, service.pages_.page_size);
  for (const auto& [page, image] : service.pages_.images) writer.Add(page, image);
  return writer.Finish();
}

void FakePrimaryServer::Run(ScriptedServer::Connection& connection) {
  while (std::optional<ScriptedRequest> request = connection.Read()) {
    std::string call = request->path.substr(request->path.rfind('/') + 1);
    Intercept intercept;
    {
      std::lock_guard lock(mutex_);
      intercept = intercept_;
    }
    if (intercept && intercept(connection, call, *request)) {
      // What was answered by hand may have closed the connection: nothing more is expected on it.
      continue;
    }
    int status = 0;
    Call waits;
    waits.interrupted = [&] { return connection.IsOver(); };
    std::string body = Serve(call, *request, &status, waits);
    connection.Answer(body, kMessageType, status);
  }
}

}  // namespace turso
