// SQLite's variable-length integers: https://sqlite.org/fileformat2.html#varint
//
// One to nine bytes, big-endian: seven bits a byte while the high bit is set, all eight of the
// ninth.

#ifndef TURSO_SRC_FORMAT_VARINT_H_
#define TURSO_SRC_FORMAT_VARINT_H_

#include <cstdint>

#include "src/base/bytes.h"

namespace turso {

// Reads the integer at the front of *bytes and takes it off. False, with *bytes as it was, if it
// does not end there.
inline bool TakeVarint(ByteView* bytes, uint64_t* value) {
  uint64_t result = 0;
  for (size_t i = 0; i < 9 && i < bytes->size(); ++i) {
    const uint8_t byte = (*bytes)[i];
    if (i == 8) {
      result = result << 8 | byte;
    } else {
      result = result << 7 | (byte & 0x7f);
      if (byte & 0x80) continue;
    }
    *value = result;
    *bytes = bytes->subspan(i + 1);
    return true;
  }
  return false;
}

}  // namespace turso

#endif  // TURSO_SRC_FORMAT_VARINT_H_
