// The half of LibsqlRemote that writes.

#include <algorithm>
#include <iterator>
#include <utility>

#include "src/changes/changes.h"
#include "src/changes/statements.h"
#include "src/format/page_reader.h"
#include "src/remote/libsql_remote.h"

namespace turso {

namespace {

constexpr const char* kTable = "_turso_vfs";
constexpr const char* kCreateTable =
    "CREATE TABLE IF NOT EXISTS _turso_vfs(replica BLOB PRIMARY KEY, number BLOB NOT NULL, "
    "refused INTEGER NOT NULL) WITHOUT ROWID";
// The same number again on one connection: no other has committed in between.
constexpr const char* kDataVersion = "PRAGMA data_version";
// Less than what the engine renews a lease at: the slot is given up soon.
constexpr Duration kSlotLifetime = milliseconds(1500);
constexpr Duration kGoOnPatience = seconds(1);
// Of one that was given up: nothing is left to be renewed.
constexpr Duration kGivenUpLifetime = seconds(30);
// Of one exchange: its answer has a few bytes for each step, and must stay under 10 MB.
constexpr size_t kStepsMax = 5000;
constexpr size_t kStatementBytesMax = 8u << 20;

Value Blob(const std::array<uint8_t, 16>& replica) { return Value::Blob(replica); }

Value NumberBlob(uint64_t number) {
  uint8_t raw[8];
  StoreBig64(raw, number);  // So that they compare as the numbers do.
  return Value::Blob(raw);
}

// Keeps the number, and fails if it is not above the last one. (LR4)
void AddRow(const CommitId& id, bool refused, std::vector<Statement>* body) {
  body->push_back(
      {"INSERT INTO _turso_vfs(replica, number, refused) VALUES(?, ?, ?) ON CONFLICT(replica) DO "
       "UPDATE SET number = excluded.number, refused = excluded.refused WHERE number < "
       "excluded.number",
       {Blob(id.replica), NumberBlob(id.number), Value::Integer(refused ? 1 : 0)}});
  body->push_back(
      Guard("EXISTS (SELECT 1 FROM _turso_vfs WHERE replica = ? AND number = ? AND "
            "refused = ?)",
            {Blob(id.replica), NumberBlob(id.number), Value::Integer(refused ? 1 : 0)}));
}

// Whether what a statement looks for is not so, in SQLite's words for it.
bool IsGuardThatFailed(const Statement& statement, const HranaError& error) {
  return IsGuard(statement) && error.message.find("integer overflow") != std::string::npos;
}

bool HasTable(const std::vector<SchemaRow>& rows) {
  return std::any_of(rows.begin(), rows.end(), [](const SchemaRow& row) {
    return row.type == "table" && row.name == kTable;
  });
}

// Takes pages and wants none.
class NoNews : public PageSink {
 public:
  Status Size(uint32_t, uint32_t) override { return OkStatus(); }
  Status Page(PageNo, ByteView) override { return OkStatus(); }
};

// The one number that a statement answered; none if it was refused.
std::optional<int64_t> NumberIn(const HranaResult& result) {
  if (result.error || result.rows.empty() || result.rows[0].empty()) return std::nullopt;
  const Value& value = result.rows[0][0];
  return value.type == Value::Type::kInteger ? std::optional(value.integer) : std::nullopt;
}

size_t BytesOf(const Statement& statement) {
  size_t bytes = statement.sql.size();
  for (const Value& value : statement.arguments) bytes += value.bytes.size() + 10;
  return bytes;
}

// What the transaction is in statements; none if the content stays as it was.
Result<std::vector<Statement>> StatementsOf(const Transaction& transaction) {
  const PageSet& pages = *transaction.pages;
  OverlaidPages after_pages(transaction.before, transaction.size_before, &pages);
  Result<DatabaseState> before =
      DatabaseState::Open(transaction.before, pages.page_size(), transaction.size_before);
  if (!before.ok()) return before.status();
  Result<DatabaseState> after =
      DatabaseState::Open(&after_pages, pages.page_size(), pages.db_size());
  if (!after.ok()) return after.status();
  PageNumbers written;
  for (const auto& [page, image] : pages) written.insert(page);
  Result<Changes> changes = FindChanges(&*before, &*after, written, transaction.scratch);
  if (!changes.ok()) return changes.status();
  if (HasTable(changes->schema_before) && !HasTable(changes->schema_after)) {
    return Status(Code::kReadOnly, std::string(kTable) +
                                       " is what replicas settle their commits by: it stays as it "
                                       "is");
  }
  PrimaryRules rules;
  rules.closed_tables.emplace_back(kTable);
  rules.own_table = kTable;
  const CookieDemand cookie{before->header().schema_cookie, after->header().schema_cookie};
  Result<Statements> statements = WriteStatements(*changes, rules, cookie);
  if (!statements.ok()) return statements.status();
  return std::move(statements->body);
}

// Why nothing is sent. Only of what was sent may a failure say that the outcome is not known.
Status Unsent(const Status& why) {
  switch (why.code()) {
    case Code::kReadOnly:
    case Code::kNoMemory:
    case Code::kIo: return why;
    default:
      return Status(Code::kReadOnly, "what this transaction leaves cannot be read: " + why.text());
  }
}

// Why the server was not asked to commit, whatever it made of what it was asked before.
Status NotAsked(const Status& why) {
  const Code code = why.code();
  return code == Code::kCorrupt || code == Code::kInvalid ? Status(Code::kUnavailable, why.text())
                                                          : why;
}

}  // namespace

// What the server says of a statement.
Status LibsqlRemote::Refused(const HranaError& error) const {
  const std::string text = address_.base + ": " + error.message + " (" + error.code + ")";
  if (error.code == "SQLITE_BUSY" || error.code == "TRANSACTION_BUSY") {
    return Status(Code::kBusy, text);
  }
  if (error.code == "TRANSACTION_TIMEOUT") return Status(Code::kConflict, text);
  if (error.code == "SQLITE_FULL") return Status(Code::kFull, text);
  if (error.code == "SQLITE_IOERR" || error.code == "SQLITE_INTERRUPT") {
    return Status(Code::kUnavailable, text);
  }
  return Status(Code::kReadOnly, text + ": it does not take this transaction");
}

// What the server says of a statement of a commit.
Status LibsqlRemote::FailedAt(const Statement& statement, const HranaError& error) const {
  if (!IsGuardThatFailed(statement, error)) return Refused(error);
  // (LR4)
  if (statement.sql.find(kTable) != std::string::npos) {
    return Status(Code::kInvalid,
                  address_.base + ": it knows a later commit of this replica, or of a copy of it");
  }
  if (IsGuardOfComputed(statement)) {
    return Status(Code::kReadOnly,
                  address_.base +
                      ": it computes another value of a generated column than is here, where blob "
                      "I/O may have left one stale or SQLite is another version; it was not "
                      "committed");
  }
  return Status(Code::kReadOnly,
                address_.base +
                    ": its SQLite makes another schema of this transaction than the one "
                    "here, or would let foreign keys act twice; it was not committed");
}

// Rolls back and closes, as far as the server can be reached.
void LibsqlRemote::Abandon(HranaStream* stream, const Call& call) {
  if (stream->baton.empty()) return;
  Call brief = call;
  brief.timeout = std::min<Duration>(call.timeout, seconds(2));
  bool sent = false;
  (void)hrana_.Ask(HranaRequest().Execute("ROLLBACK").Close(), stream, &sent, brief);
  *stream = {};
}

Status LibsqlRemote::MakeTable(HranaStream* stream, const Call& call) {
  bool sent = false;
  HranaRequest request;
  request.Execute(kCreateTable).Execute("COMMIT").Execute("BEGIN IMMEDIATE");
  Result<std::vector<HranaResult>> results = hrana_.Ask(request, stream, &sent, call);
  if (!results.ok()) return results.status();
  for (const HranaResult& result : *results) {
    if (result.error) return Refused(*result.error);
  }
  return OkStatus();
}

// The server lets who wants its slot wait in a queue; but whoever is next must be back within 15 ms
// of each commit in front, and after a few failures it is told that the server is busy. So we come
// again, as long as the patience lasts.
Result<Slot> LibsqlRemote::BeginSlot(Duration patience, const Call& call) {
  const Instant deadline = Instant::Now() + patience;
  Duration pause = milliseconds(5);
  for (;;) {
    Result<Slot> slot = BeginSlotOnce(call);
    const Instant now = Instant::Now();
    if (slot.status().code() != Code::kBusy || now >= deadline) return slot;
    const Duration jitter(now.nanoseconds % pause.count());
    TURSO_RETURN_IF_ERROR(hrana_.Rest(std::min<Duration>(pause + jitter, deadline - now), call));
    pause = std::min<Duration>(pause * 2, milliseconds(100));
  }
}

// A stream that has the server's slot. Its statements are never checked for foreign keys, nor do
// these act: that happened here already.
Result<Slot> LibsqlRemote::BeginSlotOnce(const Call& call) {
  Slot slot;
  bool sent = false;
  HranaRequest request;
  request.Execute("PRAGMA foreign_keys=OFF")
      .Execute("BEGIN IMMEDIATE")
      .Execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '_turso_vfs'")
      .Execute(kDataVersion);
  Result<std::vector<HranaResult>> results = hrana_.Ask(request, &slot.stream, &sent, call);
  if (!results.ok()) return results.status();
  for (size_t i = 0; i < 3; i++) {
    const std::optional<HranaError>& error = results->at(i).error;
    if (!error) continue;
    Abandon(&slot.stream, call);
    return Refused(*error);
  }
  if (results->at(1).last_frame) slot.end = *results->at(1).last_frame + 1;
  slot.has_table = !results->at(2).rows.empty();
  slot.data_version = NumberIn(results->at(3));
  return slot;
}

// The slot of the last lease, if it rests; none if that cannot be had any more. (LR6)
Result<std::optional<Slot>> LibsqlRemote::GoOn(const Call& call) {
  const uint64_t fence = std::exchange(last_fence_, 0);
  std::optional<Slot> slot = fence != 0 ? TakeSlot(fence) : std::nullopt;
  if (!slot || slot->begun) return slot;
  const Instant asked = Instant::Now();
  bool sent = false;
  HranaRequest request;
  request.Execute("BEGIN IMMEDIATE").Execute(kDataVersion);
  Result<std::vector<HranaResult>> results = hrana_.Ask(request, &slot->stream, &sent, call);
  // Nobody waits twice for a server that does not answer.
  if (!results.ok() && Instant::Now() - asked > kGoOnPatience) return results.status();
  if (!results.ok()) return std::optional<Slot>();
  if (results->at(0).error) {
    Abandon(&slot->stream, call);
    return std::optional<Slot>();
  }
  slot->begun = true;
  slot->end.reset();
  if (results->at(0).last_frame) slot->end = *results->at(0).last_frame + 1;
  slot->data_version = NumberIn(results->at(1));
  return slot;
}

// Whether a commit of that replica was ever there. Without the table there was none of anybody.
Result<bool> LibsqlRemote::Knows(const std::array<uint8_t, 16>& replica, const Call& call) {
  if (replica == std::array<uint8_t, 16>{}) return false;
  HranaStream stream;
  bool sent = false;
  HranaRequest request;
  request.Execute({"SELECT 1 FROM _turso_vfs WHERE replica = ?", {Blob(replica)}}).Close();
  Result<std::vector<HranaResult>> results = hrana_.Ask(request, &stream, &sent, call);
  if (!results.ok()) return results.status();
  return !results->front().rows.empty();
}

Result<LeaseAnswer> LibsqlRemote::AcquireLease(const LeaseRequest& request, PageSink* sink,
                                               const Call& call) {
  Result<std::optional<Slot>> rested = GoOn(call);
  if (!rested.ok()) return rested.status();
  Result<Slot> slot = rested->has_value() ? **std::move(rested) : BeginSlot(request.hold, call);
  if (!slot.ok()) return slot.status();
  LeaseAnswer lease;
  lease.lifetime = kSlotLifetime;
  const Revision& current = request.current.empty() ? request.base : request.current;
  const std::optional<LogPlace> base = LogPlace::Parse(current);
  const bool ends_there = base && base->IsBase() && slot->end == base->next;
  slot->current =
      ends_there && slot->log == base->log && (!base->exact || slot->session == base->session);
  const std::optional<LogPlace> origin = LogPlace::Parse(request.base);
  const bool asks = ends_there && !slot->current && origin && IsProven(*origin) &&
                    base->log == origin->log && IsBaseNow(*base) &&
                    log_.BeginCheck(base->next, call).ok();
  if (slot->current || asks) {
    lease.revision = current;
    lease.fence = last_fence_ = KeepSlot(*std::move(slot));
    checked_fence_ = asks ? lease.fence : 0;
    return lease;
  }
  NoNews nobody;
  Result<Revision> now = Pull(request.base, Duration{}, sink != nullptr ? sink : &nobody, call);
  if (now.ok()) {
    lease.revision = *now;
    lease.pages_sent = sink != nullptr && *now != request.base;
  } else if (now.status().code() != Code::kConflict) {
    Abandon(&slot->stream, call);
    return now.status();
  }
  slot->current = true;
  if (now.ok()) {
    slot->log = hello_->log;
    slot->session = session();
    if (base) {
      TURSO_RETURN_IF_ERROR(CheckCommit(*base, request.holder, *now, &*slot, call));
    }
  }
  lease.fence = last_fence_ = KeepSlot(*std::move(slot));
  return lease;
}

// The application thinks: others may write meanwhile.
Result<Duration> LibsqlRemote::RenewLease(const std::array<uint8_t, 16>&, uint64_t fence,
                                          const Call& call) {
  if (std::optional<Slot> slot = TakeSlot(fence)) Abandon(&slot->stream, call);
  return Duration(kGivenUpLifetime);
}

Status LibsqlRemote::ReleaseLease(const std::array<uint8_t, 16>&, uint64_t fence,
                                  const Call& call) {
  if (std::optional<Slot> slot = TakeSlot(fence)) Abandon(&slot->stream, call);
  return OkStatus();
}

// Where another server process took the commit at `place`, and the log of this one ends there:
// whether it has that commit. (LR5)
Status LibsqlRemote::CheckCommit(const LogPlace& place, const std::array<uint8_t, 16>& replica,
                                 const Revision& now, Slot* slot, const Call& call) {
  const std::optional<LogPlace> end = LogPlace::Parse(now);
  const bool is_there = end && end->log == place.log && end->next == place.next;
  if (!place.exact || IsBaseNow(place) || !is_there || !slot->has_table) return OkStatus();
  bool sent = false;
  HranaRequest request;
  request.Execute({"SELECT 1 FROM _turso_vfs WHERE replica = ? AND number = ? AND refused = 0",
                   {Blob(replica), NumberBlob(place.number)}});
  Result<std::vector<HranaResult>> results = hrana_.Ask(request, &slot->stream, &sent, call);
  if (!results.ok()) return results.status();
  if (!results->front().rows.empty()) checked_ = {place.ToRevision(), session()};
  return OkStatus();
}

// The slot of the lease, or a new one if the log still ends at `base`.
Result<Slot> LibsqlRemote::SlotAt(const LogPlace& base, const Transaction& transaction,
                                  const Call& call) {
  std::optional<Slot> held = TakeSlot(transaction.fence);
  const bool asked = std::exchange(checked_fence_, 0) == transaction.fence;
  if (held && held->current) return *std::move(held);
  if (held && asked && log_.FinishCheck(call)) {
    held->session = session();
    return *std::move(held);
  }
  Result<Slot> slot = held ? *std::move(held) : BeginSlot(call.timeout, call);
  if (!slot.ok()) return slot;
  NoNews nobody;
  Result<Revision> now = Pull(transaction.origin, Duration{}, &nobody, call);
  if (now.ok()) {
    const Status checked = CheckCommit(base, transaction.id.replica, *now, &*slot, call);
    if (!checked.ok()) return checked;
  }
  Result<Order> order = now.ok() ? Compare(*now, base.ToRevision(), call) : now.status();
  if (order.ok() && *order == Order::kEqual) {
    slot->session = session();
    return slot;
  }
  Abandon(&slot->stream, call);
  if (!order.ok()) return order.status();
  return Status(Code::kConflict, address_.base + ": somebody else has written meanwhile");
}

// (LR3)
Result<CommitAnswer> LibsqlRemote::Send(const std::vector<Statement>& body, const LogPlace& base,
                                        const Transaction& transaction, Slot slot,
                                        const Call& call) {
  const uint64_t fence = transaction.fence;
  HranaStream* stream = &slot.stream;
  LogPlace reached = base;
  reached.provisional = true;
  reached.exact = false;
  reached.number = transaction.id.number;
  reached.session = slot.session;
  for (size_t begin = 0; begin < body.size();) {
    size_t end = begin, bytes = 0;
    while (end < body.size() && end - begin < kStepsMax && bytes < kStatementBytesMax) {
      bytes += BytesOf(body[end++]);
    }
    const bool last = end == body.size();
    HranaRequest request;
    request.Batch(&body[begin], body.data() + end);
    if (last) request.Execute("SELECT 1").Execute(kDataVersion);
    bool sent = false;
    Result<std::vector<HranaResult>> results = hrana_.Ask(request, stream, &sent, call);
    if (!results.ok()) {
      const Code code = results.status().code();
      // What is too large is refused by its length, before any of it runs.
      const bool acted =
          last && sent && code != Code::kReadOnly && code != Code::kDenied && code != Code::kFull;
      Abandon(stream, call);
      return acted ? Status(Code::kOutcomeUnknown, results.status().text())
                   : NotAsked(results.status());
    }
    const HranaResult& batch = results->front();
    if (batch.steps_done != end - begin) {
      Abandon(stream, call);
      if (batch.error) return FailedAt(body[begin + batch.steps_done], *batch.error);
      return Status(Code::kConflict, address_.base + ": the server has ended the transaction");
    }
    if (last && results->at(1).last_frame) {
      reached.next = *results->at(1).last_frame + 1;
      // (LR5)
      const std::optional<int64_t> version = NumberIn(results->at(2));
      reached.exact = slot.session != 0 && version && version == slot.data_version;
    }
    begin = end;
  }
  slot.begun = slot.current = false;
  slot.has_table = true;
  slot.log = base.log;  // (LR3)
  if (fence == 0) {
    Abandon(stream, call);
  } else {
    RestSlot(fence, std::move(slot));
  }
  last_fence_ = fence;
  return CommitAnswer{reached.ToRevision(), false};
}

Result<CommitAnswer> LibsqlRemote::Commit(const Transaction& transaction, const Call& call) {
  const std::optional<LogPlace> base = LogPlace::Parse(transaction.base);
  if (!base || !base->IsBase()) {
    return Status(Code::kConflict, address_.base + ": the base of the transaction is not its own");
  }
  Result<std::vector<Statement>> body = StatementsOf(transaction);
  if (!body.ok()) return Unsent(body.status());
  if (body->empty()) {
    // Pages moved, but no content: the server has nothing to do.
    (void)ReleaseLease(transaction.id.replica, transaction.fence, call);
    LogPlace same = *base;
    if (!base->exact) {
      same.exact = IsProven(*base);
      same.session = session();
    }
    same.provisional = true;
    return CommitAnswer{same.ToRevision(), true};
  }
  Result<Slot> slot = SlotAt(*base, transaction, call);
  if (!slot.ok()) return NotAsked(slot.status());
  std::vector<Statement> all;
  if (!slot->has_table) all.push_back({kCreateTable, {}});
  AddRow(transaction.id, false, &all);
  std::move(body->begin(), body->end(), std::back_inserter(all));
  all.push_back({"COMMIT", {}});
  return Send(all, *base, transaction, *std::move(slot), call);
}

Result<SettleAnswer> LibsqlRemote::Settle(const CommitId& id, const Call& call) {
  Result<Slot> slot = BeginSlotOnce(call);
  if (!slot.ok()) return slot.status();
  HranaStream* stream = &slot->stream;
  if (!slot->has_table) {
    if (Status made = MakeTable(stream, call); !made.ok()) {
      Abandon(stream, call);
      return made;
    }
  }
  const Statement find = {"SELECT number, refused FROM _turso_vfs WHERE replica = ?",
                          {Blob(id.replica)}};
  bool sent = false;
  Result<std::vector<HranaResult>> found =
      hrana_.Ask(HranaRequest().Execute(find), stream, &sent, call);
  if (!found.ok()) return found.status();
  const HranaResult& result = found->front();
  if (result.error || !result.last_frame) {
    Abandon(stream, call);
    return result.error ? Refused(*result.error)
                        : Status(Code::kUnavailable, address_.base + ": its log is empty");
  }
  const Value number = NumberBlob(id.number);
  const bool has_row = !result.rows.empty() && result.rows[0].size() == 2 &&
                       result.rows[0][0].bytes.size() == number.bytes.size();
  if (has_row && result.rows[0][0].bytes >= number.bytes) {
    Abandon(stream, call);
    if (result.rows[0][0].bytes > number.bytes) return SettleAnswer{SettleOutcome::kUnknown, {}};
    if (result.rows[0][1].integer != 0) return SettleAnswer{SettleOutcome::kRefused, {}};
    if (!hello_) TURSO_RETURN_IF_ERROR(Hello(call));
    LogPlace place;
    place.log = hello_->log;
    place.next = *result.last_frame + 1;
    place.provisional = true;
    return SettleAnswer{SettleOutcome::kCommitted, place.ToRevision()};
  }
  std::vector<Statement> refusal;
  AddRow(id, true, &refusal);
  refusal.push_back({"COMMIT", {}});
  HranaRequest request;
  request.Batch(refusal.data(), refusal.data() + refusal.size()).Close();
  found = hrana_.Ask(request, stream, &sent, call);
  if (!found.ok()) return Status(Code::kUnavailable, found.status().text());
  if (found->front().steps_done != refusal.size()) {
    return Status(Code::kUnavailable, address_.base + ": the refusal of a commit was not taken");
  }
  return SettleAnswer{SettleOutcome::kRefused, {}};
}

}  // namespace turso
