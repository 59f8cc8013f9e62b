#include "src/remote/primary_remote.h"

#include <algorithm>
#include <utility>

#include "src/base/printable.h"
#include "src/remote/come_again.h"
#include "src/remote/exchange.h"

namespace turso {

namespace {

constexpr const char* kContentType = "application/x-turso-vfs";
constexpr uint64_t kProtocolVersion = 1;
constexpr uint64_t kHashesPerPart = 16384;  // 35 bytes each in a head of at most 1 MiB.
constexpr size_t kFetchPerPart = 128;       // 8 MiB of the largest pages.
constexpr int kMovedTriesMax = 8;
constexpr size_t kPagesBetweenAdvances = 64;

uint64_t Milliseconds(Duration d) {
  return static_cast<uint64_t>(std::chrono::duration_cast<milliseconds>(d).count());
}

Result<Revision> RevisionField(const Head& head, const char* name) {
  Result<std::string> text = TextField(head, name);
  if (!text.ok()) return text.status();
  std::optional<Revision> revision = Revision::Parse(*text);
  if (!revision || revision->empty()) {
    return Status(Code::kCorrupt, std::string("\"") + name + "\" is no revision");
  }
  return *revision;
}

Result<Duration> LifetimeField(const Head& head) {
  Result<uint64_t> ms = NumberField(head, "lifetime_ms");
  if (!ms.ok()) return ms.status();
  return Duration(milliseconds(std::min<uint64_t>(*ms, 3600 * 1000)));
}

std::optional<Code> CodeOf(const std::string& error) {
  static const std::pair<const char*, Code> kCodes[] = {
      {"denied", Code::kDenied},      {"read_only", Code::kReadOnly},
      {"not_found", Code::kNotFound}, {"conflict", Code::kConflict},
      {"busy", Code::kBusy},          {"invalid", Code::kInvalid},
      {"full", Code::kFull},          {"unavailable", Code::kUnavailable},
  };
  for (const auto& [name, code] : kCodes) {
    if (error == name) return code;
  }
  return std::nullopt;
}

std::string Quoted(const std::string& content_type) {
  return content_type.empty() ? "something without a content type" : Printable(content_type);
}

bool IsMessage(const HttpAnswer& answer) {
  return answer.content_type.substr(0, answer.content_type.find(';')) == kContentType;
}

}  // namespace

// The head of an answer that can carry pages.
struct PrimaryRemote::Part {
  Revision revision;
  uint32_t page_size = 0;
  uint32_t db_size = 0;
};

PrimaryRemote::PrimaryRemote(PrimaryAddress address)
    : address_(std::move(address)), token_(address_.token, address_.token_file) {}

const char* PrimaryRemote::CodecName() const {
  return address_.codec == PageCodec::kRaw ? "raw" : "lz4";
}

Status PrimaryRemote::Corrupt(const Status& what) const {
  return what.While("answer of " + address_.base);
}

Status PrimaryRemote::OutcomeUnknown(const std::string& why) const {
  return Status(Code::kOutcomeUnknown,
                why + "; the commit was sent, and whether the primary took it is not known");
}

void PrimaryRemote::Begin(const char* name, std::string body, Repeat repeat, Duration answer_wait,
                          const Call& call) {
  request_.url = address_.base + "/_turso/v1/" + name;
  request_.content_type = kContentType;
  request_.body = std::move(body);
  request_.repeat = repeat;
  request_.answer_wait = answer_wait;
  request_.token = token_.text();
  begun_at_ = Instant::Now();
  http_.Begin(request_, call.timeout);
}

Result<PrimaryRemote::Answer> PrimaryRemote::Finish(const Call& call) {
  const Patience patience = PatienceOf(call);
  HttpOutcome outcome = Exchanged(patience);
  if (outcome.status.ok() && outcome.answer.status == 401) {
    Result<bool> renewed = token_.Renew();
    if (!renewed.ok()) return renewed.status();
    if (*renewed) {
      request_.token = token_.text();
      http_.Begin(request_, call.timeout);
      outcome = Exchanged(patience);
    }
  }
  request_.body.clear();
  request_.body.shrink_to_fit();
  return Judge(std::move(outcome));
}

// Ends the exchange that is under way, and has it again as often as it is asked to. (PR4)
HttpOutcome PrimaryRemote::Exchanged(const Patience& patience) {
  Patience rest = patience;
  for (;;) {
    HttpOutcome outcome = http_.Finish(rest);
    CountExchange(outcome, &traffic_);
    const Duration left = begun_at_ + patience.timeout - Instant::Now();
    if (!MayComeAgain(request_, outcome, left)) return outcome;
    const Duration pause = *outcome.answer.retry_after;
    outcome.status = http_.Rest(pause, patience).While(request_.url);
    if (!outcome.status.ok()) {
      outcome.sent = false;  // It was turned away.
      return outcome;
    }
    rest.timeout = left - pause;
    http_.Begin(request_, rest.timeout);
  }
}

Result<PrimaryRemote::Answer> PrimaryRemote::Judge(HttpOutcome outcome) const {
  bool is_commit = request_.repeat == Repeat::kNever;
  if (!outcome.status.ok()) {
    if (is_commit && outcome.sent) return OutcomeUnknown(outcome.status.text());
    return outcome.status;
  }
  HttpAnswer& http = outcome.answer;
  if (http.status < 200 || http.status > 299) return JudgeRefusal(http);
  if (!IsMessage(http)) {
    Status stranger(Code::kCorrupt, address_.base + ": answers " + Quoted(http.content_type) +
                                        " where a turso-primary would answer " + kContentType +
                                        "; check the URL");
    return is_commit ? OutcomeUnknown(stranger.text()) : stranger;
  }
  Answer answer;
  answer.bytes = std::make_unique<const std::string>(std::move(http.body));
  Result<Message> message = Message::Decode(AsBytes(*answer.bytes));
  if (!message.ok()) {
    Status corrupt = Corrupt(message.status());
    corrupt = Status(corrupt.code(), corrupt.text() + " (" + Printable(http.content_type) + ")");
    return is_commit ? OutcomeUnknown(corrupt.text()) : corrupt;
  }
  answer.message = std::move(*message);
  return answer;
}

// An HTTP status that is no success: the primary's own words if it is the primary that speaks.
Status PrimaryRemote::JudgeRefusal(const HttpAnswer& answer) const {
  bool is_commit = request_.repeat == Repeat::kNever;
  std::string status_text = "HTTP status " + std::to_string(answer.status);
  Status refusal = JudgeStranger(answer);
  bool is_known = false;
  if (IsMessage(answer)) {
    Result<Message> message = Message::Decode(AsBytes(answer.body));
    if (!message.ok()) {
      refusal = Corrupt(message.status().While(status_text));
    } else {
      Result<std::string> error = TextField(message->head(), "error");
      Result<std::string> words = TextField(message->head(), "message");
      std::optional<Code> code = error.ok() ? CodeOf(*error) : std::nullopt;
      is_known = code.has_value();
      refusal = Status(code.value_or(answer.status >= 500 ? Code::kUnavailable : Code::kInvalid),
                       address_.base + ": " + (words.ok() ? Printable(*words) : status_text));
    }
  }
  // A gateway that gave up waiting says 5xx, and so does a primary that failed half-way. (PR2)
  if (is_commit && answer.status >= 500 && !is_known) return OutcomeUnknown(refusal.text());
  return refusal;
}

// A refusal in another's words: a proxy's, or of a server that is no turso-primary.
Status PrimaryRemote::JudgeStranger(const HttpAnswer& answer) const {
  std::string who = address_.base + ": HTTP status " + std::to_string(answer.status);
  std::string again;
  if (answer.retry_after) {
    again = "; asks to come again in " + std::to_string(answer.retry_after->count()) + " s";
  }
  int status = answer.status;
  if (status >= 300 && status <= 399) {
    std::string where = answer.redirect.substr(0, answer.redirect.find('?'));
    return Status(Code::kUnavailable,
                  who + ", a redirect to " + Quoted(where) +
                      "; redirects are not followed: use the primary's own URL");
  }
  switch (status) {
    case 401: return Status(Code::kDenied, who + ": wrong or missing token");
    case 403: return Status(Code::kDenied, who + ": not allowed");
    case 404:
    case 405:
      return Status(Code::kUnavailable,
                    who + " and " + Quoted(answer.content_type) +
                        ": no turso-primary there, or another version; check the "
                        "URL");
    case 413: return Status(Code::kFull, who + ": the transaction is too large for it");
    case 429: return Status(Code::kUnavailable, who + ": too many requests" + again);
    case 507: return Status(Code::kFull, who + ": no space there");
    default: break;
  }
  if (status >= 500) return Status(Code::kUnavailable, who + again);
  return Status(Code::kCorrupt, who + " and " + Quoted(answer.content_type) +
                                    ": not the answer of a turso-primary; check the URL");
}

Result<PrimaryRemote::Answer> PrimaryRemote::Ask(const char* name, const HeadText& head,
                                                 const Call& call) {
  TURSO_RETURN_IF_ERROR(token_.Load());
  Begin(name, MessageWriter(head, PageCodec::kRaw).Finish(), Repeat::kOnce, Duration::zero(), call);
  return Finish(call);
}

Result<Identity> PrimaryRemote::Identify(const Call& call) {
  Result<Answer> answer = Ask("identify", HeadText(), call);
  if (!answer.ok()) return answer.status();
  const Head& head = answer->message.head();
  Result<uint64_t> version = NumberField(head, "protocol_version");
  if (!version.ok()) return Corrupt(version.status());
  if (*version != kProtocolVersion) {
    return Status(Code::kInvalid, address_.base + ": speaks version " + std::to_string(*version) +
                                      " of the primary protocol, this replica version 1");
  }
  Result<std::string> id = TextField(head, "database_id");
  if (!id.ok()) return Corrupt(id.status());
  std::optional<Bytes> id_bytes = FromHex(*id);
  if (!id_bytes || id_bytes->size() != 16) {
    return Corrupt(Status(Code::kCorrupt, "\"database_id\" is no id"));
  }
  Result<Part> part = ReadPart(*answer);
  if (!part.ok()) return part.status();
  return Identity{*id, "primary", part->page_size, part->db_size, part->revision};
}

Result<PrimaryRemote::Part> PrimaryRemote::ReadPart(const Answer& answer) const {
  const Head& head = answer.message.head();
  Result<Revision> revision = RevisionField(head, "revision");
  if (!revision.ok()) return Corrupt(revision.status());
  Result<uint64_t> page_size = NumberField(head, "page_size");
  if (!page_size.ok()) return Corrupt(page_size.status());
  Result<uint64_t> db_size = NumberField(head, "db_size");
  if (!db_size.ok()) return Corrupt(db_size.status());
  if (*page_size > 65536 || !IsPageSize(static_cast<uint32_t>(*page_size))) {
    return Corrupt(Status(Code::kCorrupt, "\"page_size\" is no page size"));
  }
  if (*db_size > UINT32_MAX) return Corrupt(Status(Code::kCorrupt, "\"db_size\" is no size"));
  return Part{*revision, static_cast<uint32_t>(*page_size), static_cast<uint32_t>(*db_size)};
}

// Gives the pages to `sink`, and lets what is under way move on meanwhile.
Status PrimaryRemote::FeedPages(const Answer& answer, const Part& part, PageSink* sink) {
  size_t fed = 0;
  Status refused;
  Status status = answer.message.ForEachPage([&](PageNo page, ByteView image) {
    if (page.value > part.db_size) {
      return Status(Code::kCorrupt, "page " + std::to_string(page.value) + " of a database of " +
                                        std::to_string(part.db_size) + " pages");
    }
    if (++fed % kPagesBetweenAdvances == 0) http_.Advance();
    refused = sink->Page(page, image);
    return refused;
  });
  return refused.ok() ? Corrupt(status) : refused;
}

// The parts of one pull, over as many rounds as the revision moves.
class PrimaryRemote::PullInParts {
 public:
  PullInParts(PrimaryRemote* remote, const Revision& since, PageSink* sink, const Call& call)
      : remote_(remote), since_(since), sink_(sink), call_(call) {}

  Result<Revision> Run(Duration wait) {
    Ask(wait);
    for (;;) {
      Result<Answer> answer = remote_->Finish(call_);
      if (!answer.ok()) return answer.status();
      Result<Part> part = remote_->ReadPart(*answer);
      if (!part.ok()) return part.status();
      bool is_done = false;
      TURSO_RETURN_IF_ERROR(Continue(*answer, *part, &is_done));
      Status status = Take(*answer, *part);
      if (!status.ok()) {
        remote_->http_.Abandon();
        return status;
      }
      if (is_done) return part->revision;
    }
  }

 private:
  void Ask(Duration wait) {
    HeadText head;
    head.Add("since", since_.text())
        .Add("after_page", after_page_)
        .Add("wait_ms", Milliseconds(wait))
        .Add("codec", remote_->CodecName());
    if (wait > Duration::zero() && call_.replica != std::array<uint8_t, 16>{}) {
      head.Add("replica", ToHex(call_.replica));
    }
    remote_->Begin("pull", MessageWriter(head, PageCodec::kRaw).Finish(), Repeat::kOnce, wait,
                   call_);
  }

  // Asks for what comes after `part`, so that it is on its way while the part is taken.
  Status Continue(const Answer& answer, const Part& part, bool* is_done) {
    Result<uint64_t> next = NumberField(answer.message.head(), "next_after_page");
    if (!next.ok()) return remote_->Corrupt(next.status());
    if (*next != 0 && (*next <= after_page_ || *next > UINT32_MAX)) {
      return remote_->Corrupt(Status(Code::kCorrupt, "a pull whose parts do not move forward"));
    }
    if (page_size_ != 0 && part.page_size != page_size_) {
      return remote_->Corrupt(Status(Code::kCorrupt, "a page size that changes during a pull"));
    }
    if (answer.message.head().Has("since")) TURSO_RETURN_IF_ERROR(MoveBase(answer));
    if (after_page_ == 0) round_began_at_ = part.revision;
    after_page_ = *next;
    if (after_page_ == 0) {
      *is_done = part.revision == round_began_at_;
      since_ = round_began_at_;
    }
    if (!*is_done) {
      Ask(Duration::zero());
      remote_->http_.Advance();
    }
    return OkStatus();
  }

  // The replica itself committed while the question was open.
  Status MoveBase(const Answer& answer) {
    Result<std::string> text = TextField(answer.message.head(), "since");
    std::optional<Revision> base = text.ok() ? Revision::Parse(*text) : std::nullopt;
    if (!base || base->empty() || page_size_ != 0) {
      return remote_->Corrupt(Status(Code::kCorrupt, "a pull that builds on no revision"));
    }
    since_ = since_asked_first_ = *base;
    sink_->Base(*base);
    return OkStatus();
  }

  Status Take(const Answer& answer, const Part& part) {
    // Nothing new: the sink is not bothered.
    bool is_new = page_size_ == 0;
    if (is_new && part.revision == since_asked_first_) return OkStatus();
    if (is_new || part.db_size != db_size_) {
      page_size_ = part.page_size;
      db_size_ = part.db_size;
      TURSO_RETURN_IF_ERROR(sink_->Size(page_size_, db_size_));
    }
    return remote_->FeedPages(answer, part, sink_);
  }

  PrimaryRemote* const remote_;
  Revision since_;
  Revision since_asked_first_ = since_;
  PageSink* const sink_;
  const Call& call_;
  uint64_t after_page_ = 0;
  Revision round_began_at_;
  uint32_t page_size_ = 0;
  uint32_t db_size_ = 0;
};

Result<Revision> PrimaryRemote::Pull(const Revision& since, Duration wait, PageSink* sink,
                                     const Call& call) {
  TURSO_RETURN_IF_ERROR(token_.Load());
  return PullInParts(this, since, sink, call).Run(wait);
}

Result<LeaseAnswer> PrimaryRemote::AcquireLease(const LeaseRequest& request, PageSink* sink,
                                                const Call& call) {
  TURSO_RETURN_IF_ERROR(token_.Load());
  HeadText head;
  head.Add("holder", ToHex(request.holder))
      .Add("base", request.base.text())
      .Add("hold_ms", Milliseconds(request.hold))
      .Add("codec", CodecName());
  Begin("lease", MessageWriter(head, PageCodec::kRaw).Finish(), Repeat::kOnce, request.hold, call);
  Result<Answer> answer = Finish(call);
  if (!answer.ok()) return answer.status();
  const Head& fields = answer->message.head();
  Result<bool> granted = BoolField(fields, "granted");
  if (!granted.ok()) return Corrupt(granted.status());
  if (!*granted) {
    return Status(Code::kBusy, address_.base + ": another replica is writing");
  }
  LeaseAnswer lease;
  Result<uint64_t> fence = NumberField(fields, "fence");
  if (!fence.ok()) return Corrupt(fence.status());
  Result<Duration> lifetime = LifetimeField(fields);
  if (!lifetime.ok()) return Corrupt(lifetime.status());
  Result<bool> pages_sent = BoolField(fields, "pages_sent");
  if (!pages_sent.ok()) return Corrupt(pages_sent.status());
  Result<Part> part = ReadPart(*answer);
  if (!part.ok()) return part.status();
  lease.fence = *fence;
  lease.lifetime = *lifetime;
  lease.revision = part->revision;
  if (*pages_sent && sink) {
    Status taken;
    if (lease.revision != request.base) taken = sink->Size(part->page_size, part->db_size);
    if (taken.ok()) taken = FeedPages(*answer, *part, sink);
    if (!taken.ok()) {
      // The caller does not learn of this lease, so nobody else would give it back.
      (void)ReleaseLease(request.holder, lease.fence, call);
      return taken;
    }
    lease.pages_sent = true;
  }
  return lease;
}

Result<Duration> PrimaryRemote::RenewLease(const std::array<uint8_t, 16>& holder, uint64_t fence,
                                           const Call& call) {
  Result<Answer> answer =
      Ask("renew", HeadText().Add("holder", ToHex(holder)).Add("fence", fence), call);
  if (!answer.ok()) return answer.status();
  Result<Duration> lifetime = LifetimeField(answer->message.head());
  if (!lifetime.ok()) return Corrupt(lifetime.status());
  return lifetime;
}

Status PrimaryRemote::ReleaseLease(const std::array<uint8_t, 16>& holder, uint64_t fence,
                                   const Call& call) {
  return Ask("release", HeadText().Add("holder", ToHex(holder)).Add("fence", fence), call).status();
}

Result<CommitAnswer> PrimaryRemote::Commit(const Transaction& transaction, const Call& call) {
  TURSO_RETURN_IF_ERROR(token_.Load());
  const PageSet& pages = *transaction.pages;
  HeadText head;
  head.Add("replica", ToHex(transaction.id.replica))
      .Add("number", transaction.id.number)
      .Add("base", transaction.base.text())
      .Add("fence", transaction.fence)
      .Add("page_size", pages.page_size())
      .Add("db_size", pages.db_size());
  MessageWriter writer(head, address_.codec, pages.page_size());
  writer.Reserve(pages.size());
  for (auto it = pages.begin(); it != pages.end(); ++it) writer.Add(it->first, pages.image(it));
  Begin("commit", writer.Finish(), Repeat::kNever, Duration::zero(), call);
  Result<Answer> answer = Finish(call);
  if (!answer.ok()) return answer.status();
  const Head& fields = answer->message.head();
  Result<Revision> revision = RevisionField(fields, "revision");
  if (!revision.ok()) return OutcomeUnknown(Corrupt(revision.status()).text());
  Result<bool> lease_ended = BoolField(fields, "lease_ended");
  if (!lease_ended.ok()) return OutcomeUnknown(Corrupt(lease_ended.status()).text());
  return CommitAnswer{*revision, *lease_ended};
}

Result<SettleAnswer> PrimaryRemote::Settle(const CommitId& id, const Call& call) {
  Result<Answer> answer =
      Ask("settle", HeadText().Add("replica", ToHex(id.replica)).Add("number", id.number), call);
  if (!answer.ok()) return answer.status();
  Result<std::string> outcome = TextField(answer->message.head(), "outcome");
  if (!outcome.ok()) return Corrupt(outcome.status());
  if (*outcome == "refused") return SettleAnswer{SettleOutcome::kRefused, {}};
  if (*outcome == "unknown") return SettleAnswer{SettleOutcome::kUnknown, {}};
  if (*outcome != "committed") {
    return Corrupt(Status(Code::kCorrupt, "\"outcome\" is none that there is"));
  }
  Result<Revision> revision = RevisionField(answer->message.head(), "revision");
  if (!revision.ok()) return Corrupt(revision.status());
  return SettleAnswer{SettleOutcome::kCommitted, *revision};
}

// All hashes, if the revision stands still for that long; kBusy if it moved.
Result<HashesAnswer> PrimaryRemote::HashesOnce(const Call& call) {
  HashesAnswer hashes;
  uint64_t after_page = 0;
  for (;;) {
    Result<Answer> answer =
        Ask("hashes", HeadText().Add("after_page", after_page).Add("limit", kHashesPerPart), call);
    if (!answer.ok()) return answer.status();
    Result<Part> part = ReadPart(*answer);
    if (!part.ok()) return part.status();
    if (after_page == 0) hashes.revision = part->revision;
    if (part->revision != hashes.revision) {
      return Status(Code::kBusy, address_.base + ": changes while it is being compared");
    }
    const Head& head = answer->message.head();
    Result<uint64_t> next = NumberField(head, "next_after_page");
    if (!next.ok()) return Corrupt(next.status());
    Result<Head::Texts> list = TextsField(head, "hashes");
    if (!list.ok()) return Corrupt(list.status());
    for (const std::string& item : *list) {
      std::optional<Bytes> hash = FromHex(item);
      if (!hash || hash->size() != 16) return Corrupt(Status(Code::kCorrupt, "no hash of a page"));
      hashes.hashes.push_back({LoadBig64(hash->data() + 8), LoadBig64(hash->data())});
    }
    uint64_t known = hashes.hashes.size();
    if (*next == 0 ? known != part->db_size
                   : *next != known || known <= after_page || known >= part->db_size) {
      return Corrupt(Status(Code::kCorrupt, "hashes that are not those of every page"));
    }
    if (*next == 0) return hashes;
    after_page = *next;
  }
}

Result<HashesAnswer> PrimaryRemote::Hashes(const Call& call) {
  Result<HashesAnswer> hashes = HashesOnce(call);
  for (int i = 1; i < kMovedTriesMax && hashes.status().code() == Code::kBusy; i++) {
    hashes = HashesOnce(call);
  }
  return hashes;
}

Result<Revision> PrimaryRemote::FetchOnce(const std::vector<PageNo>& pages, PageSink* sink,
                                          const Call& call) {
  Revision revision;
  for (size_t begin = 0; begin == 0 || begin < pages.size(); begin += kFetchPerPart) {
    const std::span<const PageNo> part_pages =
        std::span(pages).subspan(begin, std::min(kFetchPerPart, pages.size() - begin));
    Result<Answer> answer =
        Ask("fetch", HeadText().Add("pages", part_pages).Add("codec", CodecName()), call);
    if (!answer.ok()) return answer.status();
    Result<Part> part = ReadPart(*answer);
    if (!part.ok()) return part.status();
    if (begin == 0) {
      revision = part->revision;
      TURSO_RETURN_IF_ERROR(sink->Size(part->page_size, part->db_size));
    }
    if (part->revision != revision) {
      return Status(Code::kBusy, address_.base + ": changes while its pages are being fetched");
    }
    TURSO_RETURN_IF_ERROR(FeedPages(*answer, *part, sink));
  }
  return revision;
}

Result<Revision> PrimaryRemote::Fetch(const std::vector<PageNo>& pages, PageSink* sink,
                                      const Call& call) {
  Result<Revision> revision = FetchOnce(pages, sink, call);
  for (int i = 1; i < kMovedTriesMax && revision.status().code() == Code::kBusy; i++) {
    revision = FetchOnce(pages, sink, call);
  }
  return revision;
}

Result<Order> PrimaryRemote::Compare(const Revision& a, const Revision& b, const Call& call) {
  Result<Answer> answer = Ask("compare", HeadText().Add("a", a.text()).Add("b", b.text()), call);
  if (!answer.ok()) return answer.status();
  Result<std::string> order = TextField(answer->message.head(), "order");
  if (!order.ok()) return Corrupt(order.status());
  if (*order == "before") return Order::kBefore;
  if (*order == "equal") return Order::kEqual;
  if (*order == "after") return Order::kAfter;
  if (*order == "unrelated") return Order::kUnrelated;
  return Corrupt(Status(Code::kCorrupt, "\"order\" is no order"));
}

}  // namespace turso
