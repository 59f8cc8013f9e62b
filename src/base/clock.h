// Time for deadlines: counts on while the machine sleeps, never jumps with the wall clock.

#ifndef TURSO_SRC_BASE_CLOCK_H_
#define TURSO_SRC_BASE_CLOCK_H_

#include <chrono>

namespace turso {

using Duration = std::chrono::nanoseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A point on CLOCK_BOOTTIME. Comparable between the processes of one boot of one machine.
struct Instant {
  int64_t nanoseconds = 0;

  static Instant Now();
  friend auto operator<=>(Instant, Instant) = default;
  friend Instant operator+(Instant t, Duration d) { return {t.nanoseconds + d.count()}; }
  friend Duration operator-(Instant a, Instant b) {
    return Duration(a.nanoseconds - b.nanoseconds);
  }
};

}  // namespace turso

#endif  // TURSO_SRC_BASE_CLOCK_H_
