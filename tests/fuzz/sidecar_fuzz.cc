// The sidecar: its header, its slots, the file around them, and the part that processes share.
// Input: kind u8 | bytes. Kind 0: a header. 1: up to three slots, each a length u16 and bytes, with
//        zeros behind them. 2: the shared part as number of runs u8, runs of offset u32, length u8
//        and bytes, then a position and a revision to remember.

#include <sys/mman.h>
#include <unistd.h>

#include "src/replica/sidecar.h"
#include "src/replica/sidecar_format.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/temp_dir.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace turso {
namespace {

Bytes Padded(ByteView bytes) {
  Bytes page(kSidecarPage, 0);
  std::copy_n(bytes.begin(), std::min(bytes.size(), page.size()), page.begin());
  return page;
}

void Seal(MutableByteView page) {
  StoreBig64(page.data() + kChecksumAt, XXH3_64bits(page.data(), kChecksumAt));
}

void CheckHeader(const Bytes& header) {
  const Status status = CheckSidecarHeader(header);
  if (status.ok()) return;
  TURSO_REQUIRE(status.code() == Code::kCorrupt);
  fuzz::RequireSays(status);
}

// A record that was read can be written, and is then read as the same.
void CheckSlot(ByteView slot) {
  fuzz::AllocationMeter meter;
  Result<SidecarRecord> record = DecodeSlot(slot);
  TURSO_REQUIRE(meter.peak() <= 4 * kSidecarPage);
  if (!record.ok()) {
    TURSO_REQUIRE(record.status().code() == Code::kCorrupt);
    return fuzz::RequireSays(record.status());
  }
  TURSO_REQUIRE(CheckRecord(*record).ok());
  TURSO_REQUIRE(IsPageSize(record->page_size));
  TURSO_REQUIRE(SlotSequence(slot) == record->sequence);
  const Bytes encoded = EncodeSlot(*record);
  Result<SidecarRecord> again = DecodeSlot(encoded);
  TURSO_REQUIRE(again.ok() && EncodeSlot(*again) == encoded);
  TURSO_REQUIRE(again->url == record->url && again->database_id == record->database_id);
  TURSO_REQUIRE(again->durable == record->durable && again->current == record->current);
  TURSO_REQUIRE(again->current_position == record->current_position);
  TURSO_REQUIRE(again->intent.kind == record->intent.kind);
  TURSO_REQUIRE(again->provisional() == record->provisional());
  TURSO_REQUIRE(again->converged == record->converged);
  TURSO_REQUIRE(again->converged_salts == record->converged_salts);
  TURSO_REQUIRE(again->converged_frame == record->converged_frame);
  TURSO_REQUIRE(again->outdated == record->outdated);
  TURSO_REQUIRE(again->own_cookie == record->own_cookie);
}

// The file counts for what its newest valid slot says.
void CheckFile(ByteView slots) {
  int newest = -1;
  const std::optional<SidecarRecord> record = NewestRecord(slots, &newest);
  if (!record) return;  // Sidecar::Peek would wait for somebody who writes one.
  static const int file = memfd_create("sidecar", MFD_CLOEXEC);
  TURSO_REQUIRE(file >= 0 && ftruncate(file, static_cast<off_t>(kSidecarBytes)) == 0);
  static const Bytes header = EncodeSidecarHeader();
  TURSO_REQUIRE(pwrite(file, header.data(), header.size(), 0) > 0);
  TURSO_REQUIRE(pwrite(file, slots.data(), slots.size(), kSlotsAt) > 0);
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  Result<SidecarRecord> read = Sidecar::Peek(path);
  TURSO_REQUIRE(read.ok() && read->sequence == record->sequence && newest >= 0 && newest < kSlots);
  for (int i = 0; i < kSlots; i++) {
    Result<SidecarRecord> other =
        DecodeSlot(slots.subspan(static_cast<size_t>(i) * kSidecarPage, kSidecarPage));
    TURSO_REQUIRE(!other.ok() || other->sequence <= record->sequence);
  }
}

void CheckSlots(fuzz::Input* in) {
  Bytes slots;
  for (int i = 0; i < kSlots; i++) {
    const Bytes slot = Padded(in->Take(in->U16()));
    slots.insert(slots.end(), slot.begin(), slot.end());
  }
  CheckSlot(ByteView(slots).first(kSidecarPage));
  CheckFile(slots);
  for (size_t i = 0; i < kSlots; i++) {
    const MutableByteView slot = MutableByteView(slots).subspan(i * kSidecarPage, kSidecarPage);
    Seal(slot);
    CheckSlot(slot);
  }
  CheckFile(slots);
}

class OpenSidecar {
 public:
  OpenSidecar() {
    SidecarRecord record;
    record.url = "http://127.0.0.1/main";
    record.page_size = 512;
    const std::string path = Sidecar::PathFor(directory_.File("app.db"));
    TURSO_REQUIRE(Sidecar::Create(path, directory_.File("app.db"), record).ok());
    Result<std::unique_ptr<Sidecar>> opened = Sidecar::Open(path);
    TURSO_REQUIRE(opened.ok());
    sidecar_ = std::move(*opened);
  }
  Sidecar* operator->() { return sidecar_.get(); }

 private:
  TempDir directory_;
  std::unique_ptr<Sidecar> sidecar_;
};

// (S5)
void CheckShared(fuzz::Input* in) {
  static OpenSidecar sidecar;
  auto* shared = reinterpret_cast<uint8_t*>(&sidecar->shared());
  for (int run = in->U8(); run > 0; run--) {
    const size_t offset = in->U32() % sizeof(SharedState);
    const ByteView bytes = in->Take(in->U8());
    const size_t room = sizeof(SharedState) - offset;
    std::copy_n(bytes.begin(), std::min(bytes.size(), room), shared + offset);
  }
  WalPosition position;
  const ByteView salts = in->Take(position.salts.size());
  std::copy(salts.begin(), salts.end(), position.salts.begin());
  position.frames = in->U32();
  const std::optional<Revision> recalled = sidecar->Recall(position);
  TURSO_REQUIRE(!recalled || recalled->text().size() <= Revision::kMaxLength);
  std::optional<Revision> revision = Revision::Parse(in->Text().substr(0, 63));
  if (!revision) return;
  const uint64_t count = sidecar->shared().ring.count.load();
  sidecar->Remember(position, *revision);
  const std::optional<Revision> known = sidecar->Recall(position);
  TURSO_REQUIRE(count == UINT64_MAX || (known.has_value() && *known == *revision));
}

}  // namespace
}  // namespace turso

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turso;
  fuzz::Input in({data, size});
  const uint8_t kind = in.U8() % 3;
  if (kind == 0) {
    Bytes header = Padded(in.rest());
    CheckHeader(header);
    Seal(header);
    CheckHeader(header);
    CheckHeader({data, data + size});
  } else if (kind == 1) {
    CheckSlots(&in);
  } else {
    CheckShared(&in);
  }
  return 0;
}
