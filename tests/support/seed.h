// The seed of a random test: printed, and taken back from TURSO_TEST_SEED to run the same again.
// SQLite's random() follows it too.

#ifndef TURSO_TESTS_SUPPORT_SEED_H_
#define TURSO_TESTS_SUPPORT_SEED_H_

#include <sqlite3.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace turso {

using Rng = std::mt19937_64;

inline uint64_t TestSeed() {
  const char* given = std::getenv("TURSO_TEST_SEED");
  const uint64_t seed = given ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("TURSO_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, static_cast<int>(seed) | 1, nullptr);
  return seed;
}

// A number from `low` to `high`, both included.
inline int Between(Rng* rng, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(*rng);
}

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_SEED_H_
