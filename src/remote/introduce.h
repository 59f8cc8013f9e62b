// A primary that has said who it is.

#ifndef TURSO_SRC_REMOTE_INTRODUCE_H_
#define TURSO_SRC_REMOTE_INTRODUCE_H_

#include <memory>

#include "src/remote/remote.h"

namespace turso {

struct Introduction {
  std::unique_ptr<Remote> remote;
  Identity identity;
};

// Opens and asks; with protocol "auto", which OpenRemote takes for "primary", in one protocol after
// the other, until one is understood.
Result<Introduction> Introduce(const Endpoint& endpoint, const Call& call);

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_INTRODUCE_H_
