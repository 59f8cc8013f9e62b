#include "src/replica/identity.h"

#include <unistd.h>
#if defined(__APPLE__)
#include <sys/random.h>
#endif

namespace turso {

namespace {

Status NoRandomBytes() {
  return Status(Code::kIo, "inventing an identity: the system gives no random bytes");
}

}  // namespace

Result<ReplicaIdentity> NewIdentity() {
  ReplicaIdentity id;
  if (getentropy(id.data(), id.size()) != 0) return NoRandomBytes();
  return id;
}

Result<uint64_t> NextCommitNumber(uint64_t last) {
  const uint64_t turn = (last >> 32) + 1;
  if (turn > UINT32_MAX) return Status(Code::kFull, "this identity has no commit numbers left");
  uint32_t random;
  if (getentropy(&random, sizeof random) != 0) return NoRandomBytes();
  return turn << 32 | random;
}

}  // namespace turso
