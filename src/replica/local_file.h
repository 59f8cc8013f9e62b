// Local files beside a database: opened so that no child inherits them, and put in place whole or
// not at all.
//
// A file under construction has a name of its own in the same directory,
// `FINAL.turso-tmp-PID-RANDOM`, so that whoever finds one left behind knows what it is. Errors:
// kNotFound (no such file), kFull (no space), else kIo; the text names the file. Any thread; one at
// a time for one object.

#ifndef TURSO_SRC_REPLICA_LOCAL_FILE_H_
#define TURSO_SRC_REPLICA_LOCAL_FILE_H_

#include <fcntl.h>
#include <sys/types.h>

#include <string>
#include <utility>

#include "src/base/bytes.h"
#include "src/base/status.h"

namespace turso {

// A descriptor that closes itself.
class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept;
  ~OwnedFd();

  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

// "reading FILE: No space left on device", with the code that `error` (an errno) calls for.
Status FileError(const std::string& doing, const std::string& path, int error);

// Close-on-exec, and above 2: what a program writes to its standard output must never land in a
// file of ours.
Result<OwnedFd> OpenFile(const std::string& path, int flags, mode_t mode = 0644);

// All of it or a failure. kCorrupt if the file ends before `out` is full.
Status ReadAt(int fd, const std::string& path, uint64_t offset, MutableByteView out);
Status WriteAt(int fd, const std::string& path, uint64_t offset, ByteView bytes);
// Owner, group and mode of `model`, as far as we may; nothing if there is no such file.
Status CopyOwnerAndMode(int fd, const std::string& path, const std::string& model);
// "." for a bare name.
std::string DirectoryOf(const std::string& path);
Status SyncDirectoryOf(const std::string& path);
// "20260131T235959Z": now, for the name of a file that is kept.
std::string UtcStamp();
// Whether this descriptor's file is the one under that name.
bool IsFileAt(int fd, const std::string& path);

// A lock of the open file description on one byte: it ends with the last descriptor of that
// description, so with its process, and another thread's lock is another's. False: somebody else
// has it.
Result<bool> TryLockByte(int fd, const std::string& path, off_t byte);
Status LockByte(int fd, const std::string& path, off_t byte);  // Waits.
void UnlockByte(int fd, off_t byte);

// A file that is removed again unless it is put in place.
class TemporaryFile {
 public:
  static constexpr const char* kMark = ".turso-tmp-";

  TemporaryFile() = default;
  TemporaryFile(TemporaryFile&& other) noexcept;
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile();

  static Result<TemporaryFile> CreateFor(const std::string& final_path);

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  // Gives it its final name. kInvalid if that is taken; never replaces a file. The directory is not
  // synced.
  Status PutInPlace();

 private:
  OwnedFd fd_;
  std::string path_;
  std::string final_path_;
};

}  // namespace turso

#endif  // TURSO_SRC_REPLICA_LOCAL_FILE_H_
