#include "src/base/clock.h"

#include <ctime>

namespace turso {

Instant Instant::Now() {
  timespec ts;
  clock_gettime(CLOCK_BOOTTIME, &ts);
  return {int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec};
}

}  // namespace turso
