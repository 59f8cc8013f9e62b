// The primary's log: its records, and the file around them.
// Input: kind u8. Kind 0: records. 1: a whole log. 2: units, each a length u16 and records, with
//        what is left as a torn end.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "src/primary/commit_log.h"
#include "src/primary/recovery.h"
#include "tests/fuzz/fuzz.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace turso {
namespace {

constexpr size_t kHeaderBytes = 40;
constexpr size_t kUnitHeaderBytes = 16;

Bytes Encoded(const std::vector<LogRecord>& records) {
  Bytes bytes;
  for (const LogRecord& record : records) EncodeRecord(record, &bytes);
  return bytes;
}

// A run of pages is short for many: histories of huge databases would only take time.
bool IsSmall(const LogRecord& record) {
  constexpr uint64_t kPagesMax = 10'000;
  if (const auto* commit = std::get_if<CommitRecord>(&record)) return commit->db_size <= kPagesMax;
  uint64_t pages = 0;
  if (const auto* snapshot = std::get_if<SnapshotRecord>(&record)) {
    for (const PageRun& run : snapshot->history.runs) pages += run.pages;
  }
  return pages <= kPagesMax;
}

// What the log says of the past, or that it contradicts itself.
void CheckTail(const std::vector<LogRecord>& records) {
  LogTail tail;
  for (const LogRecord& record : records) {
    if (!IsSmall(record)) return;
    const uint64_t before = tail.history().counter();
    const Status taken = tail.Take(record);
    if (!taken.ok()) {
      TURSO_REQUIRE(taken.code() == Code::kCorrupt);
      return fuzz::RequireSays(taken);
    }
    TURSO_REQUIRE(std::holds_alternative<SnapshotRecord>(record) ||
                  tail.history().counter() - before <= 2);
  }
  // A history that was written is read as it was.
  SnapshotRecord snapshot;
  snapshot.history = tail.history().state();
  const Bytes bytes = Encoded({snapshot});
  std::optional<std::vector<LogRecord>> again = DecodeRecords(bytes);
  TURSO_REQUIRE(again.has_value() && again->size() == 1);
  TURSO_REQUIRE(std::get<SnapshotRecord>(again->front()) == snapshot);
  TURSO_REQUIRE(History(snapshot.history).state() == snapshot.history);
}

// Records have one spelling.
void CheckRecords(ByteView bytes) {
  fuzz::AllocationMeter meter;
  std::optional<std::vector<LogRecord>> records = DecodeRecords(bytes);
  TURSO_REQUIRE(meter.peak() <= 64 * bytes.size() + 4096);
  if (!records) return;
  const Bytes encoded = Encoded(*records);
  TURSO_REQUIRE(std::equal(encoded.begin(), encoded.end(), bytes.begin(), bytes.end()));
  CheckTail(*records);
}

class LogFile {
 public:
  LogFile() : file_(memfd_create("log", MFD_CLOEXEC)) { TURSO_REQUIRE(file_ >= 0); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }
  void Fill(ByteView bytes) {
    TURSO_REQUIRE(ftruncate(file_, 0) == 0);
    TURSO_REQUIRE(pwrite(file_, bytes.data(), bytes.size(), 0) ==
                  static_cast<ssize_t>(bytes.size()));
  }
  std::unique_ptr<CommitLog> Open(std::vector<LogRecord>* records) {
    records->clear();
    Result<std::unique_ptr<CommitLog>> log =
        CommitLog::Open(path(), [records](const LogRecord& record) {
          records->push_back(record);
          return OkStatus();
        });
    if (log.ok()) return std::move(*log);
    TURSO_REQUIRE(log.status().code() == Code::kCorrupt || log.status().code() == Code::kInvalid);
    TURSO_REQUIRE(log.status().text().find(path()) != std::string::npos);
    fuzz::RequireSays(log.status());
    return nullptr;
  }

 private:
  const int file_;
};

// What is read once is read again, and what is written behind it comes behind it.
void CheckFile(ByteView bytes) {
  static LogFile file;
  file.Fill(bytes);
  std::vector<LogRecord> first;
  std::unique_ptr<CommitLog> log = file.Open(&first);
  if (log == nullptr) return;
  TURSO_REQUIRE(log->size() <= bytes.size());
  const LogRecord more = RefusedRecord{{7}, 9, 11};
  TURSO_REQUIRE(log->Write({more}).ok());
  log.reset();
  std::vector<LogRecord> second;
  log = file.Open(&second);
  TURSO_REQUIRE(log != nullptr);
  first.push_back(more);
  TURSO_REQUIRE(second == first);
}

Bytes SealedHeader() {
  Bytes header(kHeaderBytes, 0);
  std::copy_n("TURSOLOG", 8, header.begin());
  StoreBig32(&header[8], 1);
  StoreBig64(&header[32], XXH3_64bits(header.data(), 32));
  return header;
}

std::array<uint8_t, kUnitHeaderBytes> UnitHeader(uint64_t offset, ByteView records) {
  uint8_t start[16];
  StoreBig64(start, offset);
  StoreBig64(start + 8, records.size());
  std::array<uint8_t, kUnitHeaderBytes> header = {'T', 'L', 'U', '1'};
  StoreBig32(&header[4], static_cast<uint32_t>(records.size()));
  StoreBig64(&header[8], XXH3_64bits_withSeed(records.data(), records.size(),
                                              XXH3_64bits(start, sizeof start)));
  return header;
}

// Whether a unit begins at or behind `offset` that verifies. libFuzzer finds out how to make one.
bool HasUnit(ByteView log, size_t offset) {
  for (; offset + kUnitHeaderBytes <= log.size(); offset++) {
    const ByteView rest = log.subspan(offset);
    const size_t length = LoadBig32(&rest[4]);
    if (AsText(rest.first(4)) != "TLU1" || length > rest.size() - kUnitHeaderBytes) continue;
    const auto header = UnitHeader(offset, rest.subspan(kUnitHeaderBytes, length));
    if (std::equal(header.begin(), header.end(), rest.begin())) return true;
  }
  return false;
}

void AppendUnit(ByteView records, Bytes* log) {
  const auto header = UnitHeader(log->size(), records);
  log->insert(log->end(), header.begin(), header.end());
  log->insert(log->end(), records.begin(), records.end());
}

void CheckUnits(fuzz::Input* in) {
  Bytes log = SealedHeader();
  std::vector<LogRecord> expected;
  bool sound = true;
  bool any = false;
  while (in->rest().size() > 2) {
    const size_t length = in->U16();
    if (length > in->rest().size()) break;
    const ByteView records = in->Take(length);
    AppendUnit(records, &log);
    any = true;
    std::optional<std::vector<LogRecord>> decoded = DecodeRecords(records);
    sound = sound && decoded.has_value();
    if (decoded) expected.insert(expected.end(), decoded->begin(), decoded->end());
  }
  CheckFile(log);
  // (CL1) A torn end is cut off, and nothing before it is lost.
  const ByteView torn = in->rest();
  const size_t whole = log.size();
  log.insert(log.end(), torn.begin(), torn.end());
  if (HasUnit(log, whole)) return CheckFile(log);
  static LogFile file;
  file.Fill(log);
  std::vector<LogRecord> read;
  std::unique_ptr<CommitLog> opened = file.Open(&read);
  TURSO_REQUIRE((opened != nullptr) == (sound && (any || torn.empty())));
  TURSO_REQUIRE(opened == nullptr || read == expected);
}

}  // namespace
}  // namespace turso

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turso;
  fuzz::Input in({data, size});
  const uint8_t kind = in.U8() % 3;
  if (kind == 0) {
    CheckRecords(in.rest());
  } else if (kind == 1) {
    CheckFile(in.rest());
  } else {
    CheckUnits(&in);
  }
  return 0;
}
