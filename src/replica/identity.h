// Who a replica is at its primary.
//
// A commit is named by the replica's id and a number. Files can be copied and restored: then two
// replicas have one id, or one replica counts from an earlier number on.
//   (I1) Two commits never have the same name: the low half of a number is random, so that what two
//        copies count alike still differs.
//   (I2) Numbers of one id only grow. The primary refuses one that is below the latest, and the
//        replica then takes another id.
// Pure but for the system's random bytes. Any thread.

#ifndef TURSO_SRC_REPLICA_IDENTITY_H_
#define TURSO_SRC_REPLICA_IDENTITY_H_

#include <array>
#include <cstdint>

#include "src/base/status.h"

namespace turso {

using ReplicaIdentity = std::array<uint8_t, 16>;

Result<ReplicaIdentity> NewIdentity();

// The number that follows `last`. Of one id there are 2^32: kFull after the last of them.
Result<uint64_t> NextCommitNumber(uint64_t last);

}  // namespace turso

#endif  // TURSO_SRC_REPLICA_IDENTITY_H_
