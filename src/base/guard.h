// The guard of a replica's file: a write version in page 1 at which stock SQLite reads the database
// and refuses to write it. https://sqlite.org/fileformat2.html#file_format_version_numbers

#ifndef TURSO_SRC_BASE_GUARD_H_
#define TURSO_SRC_BASE_GUARD_H_

#include <cstddef>
#include <cstdint>

namespace turso {

inline constexpr size_t kWriteVersionAt = 18;  // In page 1.
inline constexpr size_t kReadVersionAt = 19;
inline constexpr uint8_t kWalModeVersion = 2;  // Of either, in WAL mode.
inline constexpr uint8_t kGuardVersion = 3;

}  // namespace turso

#endif  // TURSO_SRC_BASE_GUARD_H_
