// What a recovery makes of the bytes of a WAL file: the committed prefix of its valid frames.

#ifndef TURSO_TESTS_SUPPORT_WAL_SCAN_H_
#define TURSO_TESTS_SUPPORT_WAL_SCAN_H_

#include <optional>
#include <string>
#include <vector>

#include "src/wal/wal.h"

namespace turso {

struct WalScan {
  std::optional<WalHeader> header;
  std::vector<FrameHeader> valid;  // Every frame of the chain, committed or not.
  WalPosition committed;
  uint32_t db_size = 0;  // After the last commit.
};

WalScan ScanWal(ByteView file);

// The whole file, or nothing but a failure of the test.
Bytes ReadWholeFile(const std::string& path);
void WriteWholeFile(const std::string& path, ByteView bytes);

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_WAL_SCAN_H_
