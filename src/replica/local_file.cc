#include "src/replica/local_file.h"

#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <system_error>

namespace turso {

OwnedFd& OwnedFd::operator=(OwnedFd&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

OwnedFd::~OwnedFd() {
  if (fd_ >= 0) ::close(fd_);
}

Status FileError(const std::string& doing, const std::string& path, int error) {
  Code code = Code::kIo;
  if (error == ENOENT) code = Code::kNotFound;
  if (error == ENOSPC || error == EDQUOT) code = Code::kFull;
  if (error == ENOMEM) code = Code::kNoMemory;
  return Status(code, doing + " " + path + ": " + std::generic_category().message(error));
}

Result<OwnedFd> OpenFile(const std::string& path, int flags, mode_t mode) {
  int fd;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NOCTTY, mode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return FileError("opening", path, errno);
  OwnedFd opened(fd);
  if (fd <= STDERR_FILENO) {
    fd = ::fcntl(opened.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (fd < 0) return FileError("opening", path, errno);
    opened = OwnedFd(fd);
  }
  return opened;
}

Status ReadAt(int fd, const std::string& path, uint64_t offset, MutableByteView out) {
  while (!out.empty()) {
    ssize_t n = ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError("reading", path, errno);
    if (n == 0) {
      return Status(Code::kCorrupt,
                    path + " is cut short: it ends at byte " + std::to_string(offset));
    }
    offset += static_cast<uint64_t>(n);
    out = out.subspan(static_cast<size_t>(n));
  }
  return OkStatus();
}

Status WriteAt(int fd, const std::string& path, uint64_t offset, ByteView bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError("writing", path, errno);
    offset += static_cast<uint64_t>(n);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return OkStatus();
}

Status CopyOwnerAndMode(int fd, const std::string& path, const std::string& model) {
  struct stat wanted, have;
  if (::stat(model.c_str(), &wanted) != 0) {
    return errno == ENOENT ? OkStatus() : FileError("looking at", model, errno);
  }
  if (::fstat(fd, &have) != 0) return FileError("looking at", path, errno);
  if (have.st_uid != wanted.st_uid || have.st_gid != wanted.st_gid) {
    // Only root may give files away, and others only to a group of their own: what is not allowed
    // stays as it is, as SQLite does with its -wal and -shm.
    if (::fchown(fd, wanted.st_uid, wanted.st_gid) != 0 && errno == EPERM &&
        ::fchown(fd, static_cast<uid_t>(-1), wanted.st_gid) != 0 && errno != EPERM) {
      return FileError("giving an owner to", path, errno);
    }
  }
  if (::fchmod(fd, wanted.st_mode & 0777) != 0) {
    return FileError("setting the mode of", path, errno);
  }
  return OkStatus();
}

std::string DirectoryOf(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string UtcStamp() {
  char stamp[32];
  const std::time_t now = std::time(nullptr);
  struct tm utc;
  ::gmtime_r(&now, &utc);
  std::strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc);
  return stamp;
}

bool IsFileAt(int fd, const std::string& path) {
  struct stat open, named;
  return ::fstat(fd, &open) == 0 && ::stat(path.c_str(), &named) == 0 &&
         open.st_dev == named.st_dev && open.st_ino == named.st_ino;
}

Status SyncDirectoryOf(const std::string& path) {
  const std::string directory = DirectoryOf(path);
  Result<OwnedFd> fd = OpenFile(directory, O_RDONLY | O_DIRECTORY);
  if (!fd.ok()) return fd.status();
  // A directory that cannot be synced at all is no failure: the file system has no such notion.
  if (::fsync(fd->get()) != 0 && errno != EINVAL && errno != EBADF) {
    return FileError("syncing", directory, errno);
  }
  return OkStatus();
}

namespace {

struct flock ByteRange(off_t byte, short type) {
  struct flock range;
  std::memset(&range, 0, sizeof range);  // l_pid must be 0 for locks of an open file description.
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = byte;
  range.l_len = 1;
  return range;
}

}  // namespace

Result<bool> TryLockByte(int fd, const std::string& path, off_t byte) {
  struct flock range = ByteRange(byte, F_WRLCK);
  if (::fcntl(fd, F_OFD_SETLK, &range) == 0) return true;
  if (errno == EAGAIN || errno == EACCES) return false;
  return FileError("locking", path, errno);
}

Status LockByte(int fd, const std::string& path, off_t byte) {
  struct flock range = ByteRange(byte, F_WRLCK);
  while (::fcntl(fd, F_OFD_SETLKW, &range) != 0) {
    if (errno != EINTR) return FileError("locking", path, errno);
  }
  return OkStatus();
}

void UnlockByte(int fd, off_t byte) {
  struct flock range = ByteRange(byte, F_UNLCK);
  ::fcntl(fd, F_OFD_SETLK, &range);
}

TemporaryFile::TemporaryFile(TemporaryFile&& other) noexcept
    : fd_(std::move(other.fd_)),
      path_(std::exchange(other.path_, {})),
      final_path_(std::exchange(other.final_path_, {})) {}

TemporaryFile::~TemporaryFile() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

Result<TemporaryFile> TemporaryFile::CreateFor(const std::string& final_path) {
  uint64_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != sizeof random) {
    return FileError("inventing a temporary name for", final_path, errno);
  }
  char suffix[64];
  std::snprintf(suffix, sizeof suffix, "%s%ld-%016llx", kMark, static_cast<long>(::getpid()),
                static_cast<unsigned long long>(random));
  std::string path = final_path + suffix;
  Result<OwnedFd> fd = OpenFile(path, O_RDWR | O_CREAT | O_EXCL);
  if (!fd.ok()) return fd.status();
  TemporaryFile file;
  file.fd_ = std::move(*fd);
  file.path_ = std::move(path);
  file.final_path_ = final_path;
  return file;
}

Status TemporaryFile::PutInPlace() {
  int rc = ::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, final_path_.c_str(), RENAME_NOREPLACE);
  if (rc != 0 && (errno == EINVAL || errno == ENOSYS)) {
    // Not every file system knows the flag. A link never replaces a file either, only it takes two
    // steps.
    rc = ::link(path_.c_str(), final_path_.c_str());
    if (rc == 0) ::unlink(path_.c_str());
  }
  if (rc != 0 && errno == EEXIST) {
    return Status(Code::kInvalid, final_path_ + " is there already");
  }
  if (rc != 0) return FileError("putting in place", final_path_, errno);
  path_.clear();
  return OkStatus();
}

}  // namespace turso
