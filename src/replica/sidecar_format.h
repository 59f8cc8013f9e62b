// The sidecar as bytes: what sidecar.cc needs of its codec besides the slots. Pure; any thread.

#ifndef TURSO_SRC_REPLICA_SIDECAR_FORMAT_H_
#define TURSO_SRC_REPLICA_SIDECAR_FORMAT_H_

#include <optional>

#include "src/base/bytes.h"
#include "src/base/status.h"
#include "src/replica/sidecar.h"

namespace turso {

inline constexpr uint32_t kFormatVersion = 2;
inline constexpr uint32_t kOldestReader = 2;  // Of the formats that we write.

inline constexpr size_t kSidecarPage = 4096;
inline constexpr size_t kChecksumAt = kSidecarPage - 8;
inline constexpr int kSlots = 3;
inline constexpr uint64_t kSlotsAt = kSidecarPage;
inline constexpr uint64_t kSharedAt = kSlotsAt + kSlots * kSidecarPage;
inline constexpr uint64_t kSidecarBytes = kSharedAt + sizeof(SharedState);

inline constexpr size_t kUrlMax = 1024;
inline constexpr size_t kDatabaseIdMax = 128;
inline constexpr size_t kProtocolMax = 32;

Bytes EncodeSidecarHeader();
// kCorrupt, with a text that goes after the file's name.
Status CheckSidecarHeader(ByteView header);

// kInvalid if a text of the record does not fit.
Status CheckRecord(const SidecarRecord& record);

// Of all slots in a row: the record that counts and which slot it is in (-1: none is valid).
std::optional<SidecarRecord> NewestRecord(ByteView slots, int* newest);
// 0 if the slot is not valid.
uint64_t SlotSequence(ByteView slot);

}  // namespace turso

#endif  // TURSO_SRC_REPLICA_SIDECAR_FORMAT_H_
