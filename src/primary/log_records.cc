#include "src/primary/log_records.h"

namespace turso {

namespace {

enum class Kind : uint8_t {
  kCommit = 1,
  kAborted = 2,
  kRefused = 3,
  kResolved = 4,
  kEpoch = 5,
  kStopped = 6,
  kSnapshot = 7,
};

class Writer {
 public:
  explicit Writer(Bytes* out) : out_(out) {}

  void U8(uint8_t v) { out_->push_back(v); }
  void Flag(bool v) { U8(v ? 1 : 0); }
  void U32(uint32_t v) {
    uint8_t raw[4];
    StoreBig32(raw, v);
    Raw(raw);
  }
  void U64(uint64_t v) {
    uint8_t raw[8];
    StoreBig64(raw, v);
    Raw(raw);
  }
  void Raw(ByteView bytes) { out_->insert(out_->end(), bytes.begin(), bytes.end()); }
  void Point(const WalPoint& point) {
    Raw(point.salts);
    U32(point.frames);
  }
  void Print(const Fingerprint& fingerprint) {
    U64(fingerprint.bytes);
    U64(static_cast<uint64_t>(fingerprint.modified_ns));
  }

  // kind | counter | source u8 | replica | number | committed_at | db_size | before | after | hash
  // | every_page | n u32 | page u32 * n
  void operator()(const CommitRecord& r) {
    Begin(Kind::kCommit);
    U64(r.counter);
    U8(static_cast<uint8_t>(r.source));
    Raw(r.replica);
    U64(r.number);
    U64(static_cast<uint64_t>(r.committed_at));
    U32(r.db_size);
    Point(r.before);
    Point(r.after);
    U64(r.hash);
    Flag(r.every_page);
    U32(static_cast<uint32_t>(r.pages.size()));
    for (PageNo page : r.pages) U32(page.value);
  }
  // kind | counter | outcome u8
  void operator()(const AbortedRecord& r) {
    Begin(Kind::kAborted);
    U64(r.counter);
    U8(static_cast<uint8_t>(r.outcome));
  }
  // kind | replica | number | heard_of
  void operator()(const RefusedRecord& r) {
    Begin(Kind::kRefused);
    Raw(r.replica);
    U64(r.number);
    U64(static_cast<uint64_t>(r.heard_of));
  }
  // kind | counter | point | restart_follows
  void operator()(const ResolvedRecord& r) {
    Begin(Kind::kResolved);
    U64(r.counter);
    Point(r.point);
    Flag(r.restart_follows);
  }
  // kind | id | counter | fingerprint
  void operator()(const EpochRecord& r) {
    Begin(Kind::kEpoch);
    U64(r.id);
    U64(r.counter);
    Print(r.fingerprint);
  }
  // kind | counter | fingerprint
  void operator()(const StoppedRecord& r) {
    Begin(Kind::kStopped);
    U64(r.counter);
    Print(r.fingerprint);
  }
  // kind | counter | point | restart_follows | fingerprint
  //   | n u32 | (epoch id | start) * n | n u32 | (pages u32 | counter) * n
  //   | n u32 | (replica | number | outcome u8 | counter | heard_of) * n
  void operator()(const SnapshotRecord& r) {
    Begin(Kind::kSnapshot);
    U64(r.history.counter);
    Point(r.point);
    Flag(r.restart_follows);
    Print(r.fingerprint);
    U32(static_cast<uint32_t>(r.history.epochs.size()));
    for (const Epoch& epoch : r.history.epochs) {
      U64(epoch.id);
      U64(epoch.start);
    }
    U32(static_cast<uint32_t>(r.history.runs.size()));
    for (const PageRun& run : r.history.runs) {
      U32(run.pages);
      U64(run.counter);
    }
    U32(static_cast<uint32_t>(r.history.commits.size()));
    for (const auto& [replica, commit] : r.history.commits) {
      Raw(replica);
      U64(commit.number);
      U8(static_cast<uint8_t>(commit.outcome));
      U64(commit.counter);
      U64(static_cast<uint64_t>(commit.heard_of));
    }
  }

 private:
  void Begin(Kind kind) { U8(static_cast<uint8_t>(kind)); }

  Bytes* out_;
};

// Reads fields one after another; after the first that is not there, all are zero and ok() is
// false.
class Reader {
 public:
  explicit Reader(ByteView bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  bool done() const { return rest_.empty(); }
  ByteView rest() const { return rest_; }

  uint8_t U8() {
    uint8_t v = 0;
    Raw({&v, 1});
    return v;
  }
  // Records have one spelling: what is read and written again has the same bytes.
  bool Flag() { return Choice(0, 1) != 0; }
  CommitSource Source() {
    return static_cast<CommitSource>(Choice(static_cast<uint8_t>(CommitSource::kReplica),
                                            static_cast<uint8_t>(CommitSource::kFound)));
  }
  Outcome Became() {
    return static_cast<Outcome>(
        Choice(static_cast<uint8_t>(Outcome::kCommitted), static_cast<uint8_t>(Outcome::kLost)));
  }
  uint32_t U32() {
    uint8_t raw[4]{};
    Raw(raw);
    return LoadBig32(raw);
  }
  uint64_t U64() {
    uint8_t raw[8]{};
    Raw(raw);
    return LoadBig64(raw);
  }
  void Raw(MutableByteView out) {
    if (!ok_ || rest_.size() < out.size()) {
      ok_ = false;
      return;
    }
    std::memcpy(out.data(), rest_.data(), out.size());
    rest_ = rest_.subspan(out.size());
  }
  WalPoint Point() {
    WalPoint point;
    Raw(point.salts);
    point.frames = U32();
    return point;
  }
  Fingerprint Print() {
    Fingerprint fingerprint;
    fingerprint.bytes = U64();
    fingerprint.modified_ns = static_cast<int64_t>(U64());
    return fingerprint;
  }
  // A count of items of `bytes` each, 0 if that many are not there.
  uint32_t Count(size_t bytes) {
    uint32_t count = U32();
    if (count > rest_.size() / bytes) ok_ = false;
    return ok_ ? count : 0;
  }

  CommitRecord Commit() {
    CommitRecord r;
    r.counter = U64();
    r.source = Source();
    Raw(r.replica);
    r.number = U64();
    r.committed_at = static_cast<int64_t>(U64());
    r.db_size = U32();
    r.before = Point();
    r.after = Point();
    r.hash = U64();
    r.every_page = Flag();
    r.pages.resize(Count(4));
    for (PageNo& page : r.pages) page.value = U32();
    return r;
  }
  SnapshotRecord Snapshot() {
    SnapshotRecord r;
    r.history.counter = U64();
    r.point = Point();
    r.restart_follows = Flag();
    r.fingerprint = Print();
    r.history.epochs.resize(Count(16));
    for (Epoch& epoch : r.history.epochs) {
      epoch.id = U64();
      epoch.start = U64();
    }
    r.history.runs.resize(Count(12));
    for (PageRun& run : r.history.runs) {
      run.pages = U32();
      run.counter = U64();
    }
    for (uint32_t n = Count(41); n > 0; n--) {
      ReplicaId replica;
      Raw(replica);
      LatestCommit commit;
      commit.number = U64();
      commit.outcome = Became();
      commit.counter = U64();
      commit.heard_of = static_cast<int64_t>(U64());
      // In the order of the map, each replica once.
      if (!r.history.commits.empty() && replica <= r.history.commits.rbegin()->first) ok_ = false;
      r.history.commits.emplace(replica, commit);
    }
    return r;
  }

 private:
  uint8_t Choice(uint8_t lowest, uint8_t highest) {
    uint8_t v = U8();
    if (v < lowest || v > highest) ok_ = false;
    return ok_ ? v : lowest;
  }

  ByteView rest_;
  bool ok_ = true;
};

std::optional<LogRecord> DecodeOne(Reader* in) {
  switch (static_cast<Kind>(in->U8())) {
    case Kind::kCommit: return in->Commit();
    case Kind::kAborted: {
      AbortedRecord r;
      r.counter = in->U64();
      r.outcome = in->Became();
      return r;
    }
    case Kind::kRefused: {
      RefusedRecord r;
      in->Raw(r.replica);
      r.number = in->U64();
      r.heard_of = static_cast<int64_t>(in->U64());
      return r;
    }
    case Kind::kResolved: {
      ResolvedRecord r;
      r.counter = in->U64();
      r.point = in->Point();
      r.restart_follows = in->Flag();
      return r;
    }
    case Kind::kEpoch: {
      EpochRecord r;
      r.id = in->U64();
      r.counter = in->U64();
      r.fingerprint = in->Print();
      return r;
    }
    case Kind::kStopped: {
      StoppedRecord r;
      r.counter = in->U64();
      r.fingerprint = in->Print();
      return r;
    }
    case Kind::kSnapshot: return in->Snapshot();
  }
  return std::nullopt;
}

}  // namespace

void EncodeRecord(const LogRecord& record, Bytes* out) { std::visit(Writer(out), record); }

std::optional<std::vector<LogRecord>> DecodeRecords(ByteView bytes) {
  std::vector<LogRecord> records;
  Reader in(bytes);
  while (!in.done()) {
    std::optional<LogRecord> record = DecodeOne(&in);
    if (!record || !in.ok()) return std::nullopt;
    records.push_back(std::move(*record));
  }
  return records;
}

}  // namespace turso
