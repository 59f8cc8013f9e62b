#include "src/primary/commit_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "src/base/log.h"
#include "src/primary/fault_point.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace turso {

namespace {

constexpr std::string_view kFileMagic = "TURSOLOG";
constexpr std::string_view kUnitMagic = "TLU1";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 40;
constexpr size_t kUnitHeaderBytes = 16;

Status Failure(const std::string& doing, const std::string& path) {
  Code code = errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? Code::kFull : Code::kIo;
  return Status(code, doing + " " + path + ": " + std::strerror(errno));
}

Status WriteAll(int fd, uint64_t offset, ByteView bytes, const std::string& path) {
  while (!bytes.empty()) {
    ssize_t n = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Failure("writing", path);
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return OkStatus();
}

Result<Bytes> ReadAll(int fd, const std::string& path) {
  struct stat st;
  if (fstat(fd, &st) != 0) return Failure("reading", path);
  Bytes bytes(static_cast<size_t>(st.st_size));
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t n = pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failure("reading", path);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

Status SyncDirectoryOf(const std::string& path) {
  size_t slash = path.rfind('/');
  std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Failure("opening", directory);
  int failed = fsync(fd);
  int error = errno;
  close(fd);
  errno = error;
  return failed == 0 ? OkStatus() : Failure("syncing", directory);
}

Bytes EncodeHeader(const DatabaseId& id) {
  Bytes header(kHeaderBytes);
  std::copy(kFileMagic.begin(), kFileMagic.end(), header.begin());
  StoreBig32(&header[8], kVersion);
  std::copy(id.begin(), id.end(), header.begin() + 16);
  StoreBig64(&header[32], XXH3_64bits(header.data(), 32));
  return header;
}

uint64_t UnitChecksum(uint64_t offset, ByteView records) {
  uint8_t start[16];
  StoreBig64(start, offset);
  StoreBig64(start + 8, records.size());
  return XXH3_64bits_withSeed(records.data(), records.size(), XXH3_64bits(start, sizeof start));
}

Bytes EncodeUnit(uint64_t offset, ByteView records) {
  Bytes unit(kUnitHeaderBytes);
  std::copy(kUnitMagic.begin(), kUnitMagic.end(), unit.begin());
  StoreBig32(&unit[4], static_cast<uint32_t>(records.size()));
  StoreBig64(&unit[8], UnitChecksum(offset, records));
  unit.insert(unit.end(), records.begin(), records.end());
  return unit;
}

// The records of the unit at `offset`, if there is a whole one that verifies.
std::optional<ByteView> UnitAt(ByteView file, uint64_t offset) {
  ByteView rest = file.subspan(offset);
  if (rest.size() < kUnitHeaderBytes) return std::nullopt;
  if (std::memcmp(rest.data(), kUnitMagic.data(), kUnitMagic.size()) != 0) return std::nullopt;
  uint32_t length = LoadBig32(&rest[4]);
  if (length > rest.size() - kUnitHeaderBytes) return std::nullopt;
  ByteView records = rest.subspan(kUnitHeaderBytes, length);
  if (UnitChecksum(offset, records) != LoadBig64(&rest[8])) return std::nullopt;
  return records;
}

bool UnitBehind(ByteView file, uint64_t offset) {
  std::string_view text = AsText(file);
  for (size_t at = text.find(kUnitMagic, offset); at != text.npos;
       at = text.find(kUnitMagic, at + 1)) {
    if (UnitAt(file, at)) return true;
  }
  return false;
}

Status Lock(int fd, const std::string& path) {
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return OkStatus();
  if (errno == EWOULDBLOCK)
    return Status(Code::kBusy, path + ": another process serves this database");
  return Failure("locking", path);
}

// Writes a whole new log under another name, synced and locked. Returns its descriptor.
Result<int> WriteNew(const std::string& path, const DatabaseId& id, const Bytes& records,
                     uint64_t* size) {
  int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return Failure("creating", path);
  Bytes bytes = EncodeHeader(id);
  Bytes unit = EncodeUnit(bytes.size(), records);
  bytes.insert(bytes.end(), unit.begin(), unit.end());
  Status status = Lock(fd, path);
  if (status.ok() && ftruncate(fd, 0) != 0) status = Failure("emptying", path);
  if (status.ok()) status = WriteAll(fd, 0, bytes, path);
  if (status.ok() && fsync(fd) != 0) status = Failure("syncing", path);
  if (!status.ok()) {
    close(fd);
    return status;
  }
  *size = bytes.size();
  return fd;
}

}  // namespace

CommitLog::CommitLog(std::string path, int fd, const DatabaseId& id)
    : path_(std::move(path)), fd_(fd), id_(id) {}

CommitLog::~CommitLog() { close(fd_); }

Result<std::unique_ptr<CommitLog>> CommitLog::Create(const std::string& path, const DatabaseId& id,
                                                     const std::vector<LogRecord>& first) {
  Bytes records;
  for (const LogRecord& record : first) EncodeRecord(record, &records);
  std::string fresh = path + "-new";
  uint64_t size = 0;
  Result<int> fd = WriteNew(fresh, id, records, &size);
  if (!fd.ok()) return fd.status();
  std::unique_ptr<CommitLog> log(new CommitLog(path, *fd, id));
  log->size_ = log->size_at_compaction_ = size;
  // link() and not rename(): it fails if somebody else was faster.
  if (link(fresh.c_str(), path.c_str()) != 0) return Failure("creating", path);
  unlink(fresh.c_str());
  TURSO_RETURN_IF_ERROR(SyncDirectoryOf(path));
  return log;
}

Result<std::unique_ptr<CommitLog>> CommitLog::Open(const std::string& path, const Visitor& visit) {
  int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return Status(Code::kNotFound, path + ": no such file");
  if (fd < 0) return Failure("opening", path);
  std::unique_ptr<CommitLog> log(new CommitLog(path, fd, {}));
  TURSO_RETURN_IF_ERROR(Lock(fd, path));
  TURSO_RETURN_IF_ERROR(log->ReadUnits(visit));
  return log;
}

Status CommitLog::ReadUnits(const Visitor& visit) {
  Result<Bytes> read = ReadAll(fd_, path_);
  if (!read.ok()) return read.status();
  ByteView file = *read;
  if (file.size() < kHeaderBytes ||
      std::memcmp(file.data(), kFileMagic.data(), kFileMagic.size()) != 0 ||
      XXH3_64bits(file.data(), 32) != LoadBig64(&file[32])) {
    return Status(Code::kCorrupt, path_ + ": its header, at offset 0, is damaged");
  }
  if (uint32_t version = LoadBig32(&file[8]); version != kVersion) {
    return Status(Code::kInvalid, path_ + ": a log of version " + std::to_string(version) +
                                      ", of which this program knows nothing");
  }
  std::copy_n(&file[16], id_.size(), id_.begin());
  uint64_t offset = kHeaderBytes;
  while (offset < file.size()) {
    std::optional<ByteView> unit = UnitAt(file, offset);
    if (!unit) break;
    std::optional<std::vector<LogRecord>> records = DecodeRecords(*unit);
    if (!records) {
      return Status(Code::kCorrupt,
                    path_ + ": the records at offset " + std::to_string(offset) + " make no sense");
    }
    for (const LogRecord& record : *records) TURSO_RETURN_IF_ERROR(visit(record));
    offset += kUnitHeaderBytes + unit->size();
  }
  if (offset < file.size()) {
    if (UnitBehind(file, offset + 1)) {
      return Status(Code::kCorrupt, path_ + ": damaged at offset " + std::to_string(offset));
    }
    if (offset == kHeaderBytes) {
      // The first unit came into being together with the file (CL1).
      return Status(Code::kCorrupt, path_ + ": damaged at offset " + std::to_string(offset));
    }
    Log(LogLevel::kWarning,
        path_ + ": cut off a torn end of " + std::to_string(file.size() - offset) + " bytes");
    if (ftruncate(fd_, static_cast<off_t>(offset)) != 0)
      return Failure("cutting off the torn end of", path_);
    if (fdatasync(fd_) != 0) return Failure("syncing", path_);
  }
  size_ = size_at_compaction_ = offset;
  return OkStatus();
}

void CommitLog::Add(const LogRecord& record) {
  Bytes all = pending_;
  EncodeRecord(record, &all);
  pending_ = std::move(all);
}

Status CommitLog::Write(const std::vector<LogRecord>& records) {
  if (broken_) return Status(Code::kIo, path_ + ": takes no more after a failed write");
  // Not in pending_ itself: where memory runs out, nothing of `records` may stay behind, to be
  // written with others later (CL5).
  Bytes all = pending_;
  for (const LogRecord& record : records) EncodeRecord(record, &all);
  if (all.empty()) return OkStatus();
  const Bytes unit = EncodeUnit(size_, all);
  Status status = FaultPoint("log:write");
  if (status.ok()) status = WriteAll(fd_, size_, unit, path_);
  if (!status.ok()) {
    // What was not synced and is cut off again cannot come back; if it cannot be cut off, nobody
    // knows.
    if (ftruncate(fd_, static_cast<off_t>(size_)) != 0 || fdatasync(fd_) != 0) broken_ = true;
    return status;
  }
  status = FaultPoint("log:sync");
  // After a failed sync the kernel may have dropped the pages and report success the next time.
  broken_ = true;
  if (status.ok() && fdatasync(fd_) != 0) status = Failure("syncing", path_);
  if (!status.ok()) return status;
  broken_ = false;
  size_ += unit.size();
  pending_.clear();
  return OkStatus();
}

Status CommitLog::Compact(const SnapshotRecord& snapshot) {
  if (broken_) return Status(Code::kIo, path_ + ": takes no more after a failed write");
  Bytes records;
  EncodeRecord(snapshot, &records);
  std::string fresh = path_ + "-new";
  uint64_t size = 0;
  Result<int> fd = WriteNew(fresh, id_, records, &size);
  if (!fd.ok()) return fd.status();
  Status status = FaultPoint("log:rename");
  if (status.ok() && rename(fresh.c_str(), path_.c_str()) != 0)
    status = Failure("replacing", path_);
  if (!status.ok()) {
    close(*fd);
    return status;
  }
  close(fd_);
  fd_ = *fd;
  size_ = size_at_compaction_ = size;
  // Everything pending is part of the history that the snapshot was made of.
  pending_.clear();
  // From here on records go to the new file, so a crash must not bring the old one back.
  broken_ = true;
  status = SyncDirectoryOf(path_);
  if (status.ok()) broken_ = false;
  return status;
}

}  // namespace turso
