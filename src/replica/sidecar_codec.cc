#include <algorithm>
#include <cassert>

#include "src/replica/sidecar.h"
#include "src/replica/sidecar_format.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace turso {

namespace {

// The table in sidecar.h.
constexpr size_t kSequence = 0;
constexpr size_t kReplicaId = 8;
constexpr size_t kLastCommitNumber = 24;
constexpr size_t kPageSize = 32;
constexpr size_t kFlags = 36;
constexpr size_t kIntentKind = 37;
constexpr size_t kPosition = 40;
constexpr size_t kIntentFrames = 64;
constexpr size_t kIntentHash = 80;
constexpr size_t kIntentCommitNumber = 88;
constexpr size_t kContentDigest = 96;
constexpr size_t kIntentContentDigest = 104;
constexpr size_t kConvergedAt = 112;
constexpr size_t kDurable = 128;
constexpr size_t kCurrent = 192;
constexpr size_t kIntentTarget = 256;
constexpr size_t kIntentBase = 320;
constexpr size_t kProtocol = 384;
constexpr size_t kDatabaseId = 448;
constexpr size_t kUrl = 640;
constexpr size_t kTextsEnd = 1728;
constexpr size_t kConverged = 1728;

constexpr uint8_t kCurrentInDatabase = 1;
constexpr uint8_t kOutdated = 2;
constexpr uint8_t kOwnCookie = 4;
constexpr char kMagic[16] = "turso replica\0\0";

Status Damaged(const char* what) {
  return Status(Code::kCorrupt, std::string("its record is damaged: ") + what);
}

void StoreText(uint8_t* slot, size_t offset, size_t end, std::string_view text) {
  assert(text.size() < end - offset);
  std::memcpy(slot + offset, text.data(), std::min(text.size(), end - offset - 1));
}

// Nothing if the text does not end within its field, or is longer than the record may have it.
std::optional<std::string> LoadText(ByteView slot, size_t offset, size_t end, size_t length_max) {
  std::string_view field = AsText(slot.subspan(offset, end - offset));
  size_t length = field.find('\0');
  if (length == std::string_view::npos || length > length_max) return std::nullopt;
  return std::string(field.substr(0, length));
}

void StoreRevision(uint8_t* slot, size_t offset, const Revision& revision) {
  StoreText(slot, offset, offset + Revision::kMaxLength + 1, revision.text());
}

std::optional<Revision> LoadRevision(ByteView slot, size_t offset) {
  auto text = LoadText(slot, offset, offset + Revision::kMaxLength + 1, Revision::kMaxLength);
  return text ? Revision::Parse(*text) : std::nullopt;
}

void SealPage(uint8_t* page) { StoreBig64(page + kChecksumAt, XXH3_64bits(page, kChecksumAt)); }

bool PageIsSealed(ByteView page) {
  return LoadBig64(page.data() + kChecksumAt) == XXH3_64bits(page.data(), kChecksumAt);
}

}  // namespace

Bytes EncodeSlot(const SidecarRecord& record) {
  Bytes bytes(kSidecarPage, 0);
  uint8_t* slot = bytes.data();
  StoreBig64(slot + kSequence, record.sequence);
  std::memcpy(slot + kReplicaId, record.replica_id.data(), record.replica_id.size());
  StoreBig64(slot + kLastCommitNumber, record.last_commit_number);
  StoreBig32(slot + kPageSize, record.page_size);
  slot[kFlags] = static_cast<uint8_t>((record.current_in_database ? kCurrentInDatabase : 0) |
                                      (record.outdated ? kOutdated : 0) |
                                      (record.own_cookie ? kOwnCookie : 0));
  slot[kIntentKind] = static_cast<uint8_t>(record.intent.kind);

  const WalPosition& position = record.current_position;
  std::memcpy(slot + kPosition, position.salts.data(), position.salts.size());
  StoreBig32(slot + kPosition + 8, position.frames);
  StoreBig32(slot + kPosition + 12, position.checksum.first);
  StoreBig32(slot + kPosition + 16, position.checksum.second);

  const FramePlan& frames = record.intent.frames;
  std::memcpy(slot + kIntentFrames, frames.salts.data(), frames.salts.size());
  StoreBig32(slot + kIntentFrames + 8, frames.base.value);
  StoreBig32(slot + kIntentFrames + 12, frames.last.value);
  StoreBig64(slot + kIntentHash, record.intent.page_set_hash);
  StoreBig64(slot + kIntentCommitNumber, record.intent.commit_number);
  StoreBig64(slot + kContentDigest, record.content_digest);
  StoreBig64(slot + kIntentContentDigest, record.intent.content_digest);

  std::memcpy(slot + kConvergedAt, record.converged_salts.data(), record.converged_salts.size());
  StoreBig32(slot + kConvergedAt + 8, record.converged_frame.value);
  StoreRevision(slot, kConverged, record.converged);
  StoreRevision(slot, kDurable, record.durable);
  StoreRevision(slot, kCurrent, record.current);
  StoreRevision(slot, kIntentTarget, record.intent.target);
  StoreRevision(slot, kIntentBase, record.intent.base);
  StoreText(slot, kProtocol, kDatabaseId, record.protocol);
  StoreText(slot, kDatabaseId, kUrl, record.database_id);
  StoreText(slot, kUrl, kTextsEnd, record.url);
  SealPage(slot);
  return bytes;
}

Result<SidecarRecord> DecodeSlot(ByteView slot) {
  if (slot.size() != kSidecarPage) return Damaged("it has another length");
  if (!PageIsSealed(slot)) return Damaged("its checksum is wrong");
  SidecarRecord record;
  const uint8_t* p = slot.data();
  record.sequence = LoadBig64(p + kSequence);
  std::memcpy(record.replica_id.data(), p + kReplicaId, record.replica_id.size());
  record.last_commit_number = LoadBig64(p + kLastCommitNumber);
  record.page_size = LoadBig32(p + kPageSize);
  if (!IsPageSize(record.page_size)) return Damaged("a page size that no database has");
  record.current_in_database = (p[kFlags] & kCurrentInDatabase) != 0;
  record.outdated = (p[kFlags] & kOutdated) != 0;
  record.own_cookie = (p[kFlags] & kOwnCookie) != 0;
  if (p[kIntentKind] > static_cast<uint8_t>(IntentKind::kCommitted)) {
    return Damaged("an intent of an unknown kind");
  }
  record.intent.kind = static_cast<IntentKind>(p[kIntentKind]);

  WalPosition& position = record.current_position;
  std::memcpy(position.salts.data(), p + kPosition, position.salts.size());
  position.frames = LoadBig32(p + kPosition + 8);
  position.checksum = {LoadBig32(p + kPosition + 12), LoadBig32(p + kPosition + 16)};

  FramePlan& frames = record.intent.frames;
  std::memcpy(frames.salts.data(), p + kIntentFrames, frames.salts.size());
  frames.base.value = LoadBig32(p + kIntentFrames + 8);
  frames.last.value = LoadBig32(p + kIntentFrames + 12);
  record.intent.page_set_hash = LoadBig64(p + kIntentHash);
  record.intent.commit_number = LoadBig64(p + kIntentCommitNumber);
  record.content_digest = LoadBig64(p + kContentDigest);
  record.intent.content_digest = LoadBig64(p + kIntentContentDigest);

  std::memcpy(record.converged_salts.data(), p + kConvergedAt, record.converged_salts.size());
  record.converged_frame.value = LoadBig32(p + kConvergedAt + 8);

  auto durable = LoadRevision(slot, kDurable);
  auto current = LoadRevision(slot, kCurrent);
  auto target = LoadRevision(slot, kIntentTarget);
  auto base = LoadRevision(slot, kIntentBase);
  auto converged = LoadRevision(slot, kConverged);
  if (!durable || !current || !target || !base || !converged)
    return Damaged("a revision is malformed");
  record.durable = *durable;
  record.current = *current;
  record.intent.target = *target;
  record.intent.base = *base;
  record.converged = *converged;

  auto protocol = LoadText(slot, kProtocol, kDatabaseId, kProtocolMax);
  auto database_id = LoadText(slot, kDatabaseId, kUrl, kDatabaseIdMax);
  auto url = LoadText(slot, kUrl, kTextsEnd, kUrlMax);
  if (!protocol || !database_id || !url) return Damaged("a text is too long");
  record.protocol = *std::move(protocol);
  record.database_id = *std::move(database_id);
  record.url = *std::move(url);
  return record;
}

Status CheckRecord(const SidecarRecord& record) {
  auto fits = [](const std::string& text, size_t length_max) {
    return text.size() <= length_max && text.find('\0') == std::string::npos;
  };
  auto wrong = [](const char* what, const std::string& text, size_t length_max) {
    return Status(Code::kInvalid, std::string(what) + " has " + std::to_string(text.size()) +
                                      " bytes, or a zero among them; at most " +
                                      std::to_string(length_max) + " can be kept");
  };
  if (!fits(record.url, kUrlMax)) return wrong("the primary's URL", record.url, kUrlMax);
  if (!fits(record.database_id, kDatabaseIdMax)) {
    return wrong("the database's identity", record.database_id, kDatabaseIdMax);
  }
  if (!fits(record.protocol, kProtocolMax)) {
    return wrong("the protocol's name", record.protocol, kProtocolMax);
  }
  return OkStatus();
}

Bytes EncodeSidecarHeader() {
  Bytes header(kSidecarPage, 0);
  std::memcpy(header.data(), kMagic, sizeof kMagic);
  StoreBig32(header.data() + sizeof kMagic, kFormatVersion);
  StoreBig32(header.data() + sizeof kMagic + 4, kOldestReader);
  SealPage(header.data());
  return header;
}

Status CheckSidecarHeader(ByteView header) {
  if (header.size() != kSidecarPage || std::memcmp(header.data(), kMagic, sizeof kMagic) != 0) {
    return Status(Code::kCorrupt, "it does not begin as the sidecar of a replica does");
  }
  if (!PageIsSealed(header)) {
    return Status(Code::kCorrupt, "its header is damaged: the checksum is wrong");
  }
  uint32_t version = LoadBig32(header.data() + sizeof kMagic);
  uint32_t oldest_reader = LoadBig32(header.data() + sizeof kMagic + 4);
  if (version < kFormatVersion || oldest_reader > kFormatVersion) {
    return Status(Code::kCorrupt, "it is of format version " + std::to_string(version) +
                                      ", and this library reads version " +
                                      std::to_string(kFormatVersion) +
                                      ": use a library that knows the other one");
  }
  return OkStatus();
}

std::optional<SidecarRecord> NewestRecord(ByteView slots, int* newest) {
  std::optional<SidecarRecord> record;
  *newest = -1;
  for (int i = 0; i < kSlots; i++) {
    Result<SidecarRecord> decoded =
        DecodeSlot(slots.subspan(static_cast<size_t>(i) * kSidecarPage, kSidecarPage));
    if (decoded.ok() && (!record || decoded->sequence > record->sequence)) {
      record = std::move(*decoded);
      *newest = i;
    }
  }
  return record;
}

uint64_t SlotSequence(ByteView slot) {
  return PageIsSealed(slot) ? LoadBig64(slot.data() + kSequence) : 0;
}

}  // namespace turso
