// Named places at which a test may look at the files, or make the step that follows fail.

#ifndef TURSO_SRC_PRIMARY_FAULT_POINT_H_
#define TURSO_SRC_PRIMARY_FAULT_POINT_H_

#include <functional>

#include "src/base/status.h"

namespace turso {

// Set it only while no database is open. Empty outside of tests.
inline std::function<Status(const char* point)>& FaultHook() {
  static std::function<Status(const char*)> hook;
  return hook;
}

inline Status FaultPoint(const char* point) {
  return FaultHook() ? FaultHook()(point) : OkStatus();
}

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_FAULT_POINT_H_
