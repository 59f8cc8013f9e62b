#include "tests/support/wal_scan.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace turso {

WalScan ScanWal(ByteView file) {
  WalScan scan;
  if (file.size() < kWalHeaderBytes) return scan;
  Result<WalHeader> header = DecodeWalHeader(file.first<kWalHeaderBytes>());
  if (!header.ok()) return scan;
  scan.header = *header;
  const size_t frame_bytes = kFrameHeaderBytes + header->page_size;
  Checksum checksum = header->checksum;
  for (size_t at = kWalHeaderBytes; file.size() - at >= frame_bytes; at += frame_bytes) {
    const auto raw = file.subspan(at).first<kFrameHeaderBytes>();
    const ByteView page = file.subspan(at + kFrameHeaderBytes, header->page_size);
    if (!FrameFollows(header->order, header->salts, checksum, raw, page)) break;
    scan.valid.push_back(DecodeFrameHeader(raw));
    checksum = scan.valid.back().checksum;
    if (scan.valid.back().db_size != 0) {
      scan.committed = {header->salts, static_cast<uint32_t>(scan.valid.size()), checksum};
      scan.db_size = scan.valid.back().db_size;
    }
  }
  return scan;
}

Bytes ReadWholeFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return Bytes(std::istreambuf_iterator<char>(in), {});
}

void WriteWholeFile(const std::string& path, ByteView bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  EXPECT_TRUE(out.good()) << path;
}

}  // namespace turso
