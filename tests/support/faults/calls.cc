// The functions that stand in front of libc's. Each is defined under a name of its own with libc's
// as its label, so that it need not agree with a header about attributes.

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "tests/support/faults/plan.h"

#define EXPORTED __attribute__((visibility("default")))
#define IN_FRONT_OF(name) asm(name) EXPORTED
#define ALSO(name) __attribute__((alias(name))) EXPORTED

namespace faults {
namespace {

// The call, unless it is to fail.
template <typename Real>
long Counted(const char* call, const Subject& subject, Real real, Kind kind = Kind::kOther,
             const Subject* second = nullptr) {
  const Verdict verdict = Arrive(call, subject, kind, second);
  if (verdict.error != 0) {
    errno = verdict.error;
    return -1;
  }
  const long result = real(verdict);
  Leave(verdict);
  return result;
}

bool Exists(const Subject& file) {
  struct stat st;
  const int error = errno;
  const bool exists = syscall(SYS_newfstatat, AT_FDCWD, file.path, &st, 0) == 0;
  errno = error;
  return exists;
}

// The boot id that the plan gives, as a file; -1 if it gives none.
int OpenBootId(const char* path) {
  if (strcmp(path, "/proc/sys/kernel/random/boot_id") != 0) return -1;
  const char* text = BootId();
  if (text == nullptr) return -1;
  const int fd = static_cast<int>(syscall(SYS_memfd_create, "boot_id", MFD_CLOEXEC));
  if (fd < 0) return fd;
  syscall(SYS_write, fd, text, strlen(text));
  syscall(SYS_lseek, fd, 0, SEEK_SET);
  return fd;
}

int Open(int directory, const char* path, int flags, unsigned mode) {
  if (path != nullptr) {
    if (const int fd = OpenBootId(path); fd >= 0) return fd;
  }
  const Subject file = FileAt(directory, path);
  return static_cast<int>(Counted("open", file, [&](const Verdict& verdict) {
    const bool existed = verdict.recorded && Exists(file);
    const int fd = static_cast<int>(syscall(SYS_openat, directory, path, flags, mode));
    if (!verdict.recorded || fd < 0) return static_cast<long>(fd);
    const unsigned long inode = Inode(fd);
    if (!existed) {
      Record("create %lu %s", inode, file.path);
      RecordTime(fd);
    } else if ((flags & O_TRUNC) != 0) {
      Record("size %lu 0 %s", inode, file.path);
      RecordTime(fd);
    }
    return static_cast<long>(fd);
  }));
}

void RecordWrite(int fd, const Subject& file, const iovec* parts, int count, long written,
                 int64_t offset) {
  if (file.path[0] == 0 || written <= 0) return;
  if (offset < 0) offset = syscall(SYS_lseek, fd, 0, SEEK_CUR) - written;
  char line[1200];
  snprintf(line, sizeof line, "write %lu %lld %ld %s\n", static_cast<unsigned long>(Inode(fd)),
           static_cast<long long>(offset), written, file.path);
  RecordBytes(line, parts, count, static_cast<size_t>(written));
  RecordTime(fd);
}

// Any write: of `parts`, at `offset` or, if it is negative, where the descriptor stands.
long Write(const char* call, int fd, const iovec* parts, int count, int64_t offset) {
  const Subject file = Descriptor(fd);
  const auto real = [&](const Verdict& verdict) -> long {
    iovec half;
    if (verdict.half && parts[0].iov_len > 1) {
      half = {parts[0].iov_base, parts[0].iov_len / 2};
      parts = &half;
      count = 1;
    }
    const long written = offset < 0 ? syscall(SYS_writev, fd, parts, count)
                                    : syscall(SYS_pwritev, fd, parts, count, offset, 0L);
    if (verdict.recorded) RecordWrite(fd, file, parts, count, written, offset);
    return written;
  };
  return Counted(call, file, real, file.path[0] != 0 ? Kind::kWrite : Kind::kOther);
}

long Sync(const char* call, long number, int fd) {
  const Subject file = Descriptor(fd);
  return Counted(call, file, [&](const Verdict& verdict) -> long {
    const long result = verdict.quick ? 0 : syscall(number, fd);
    if (result == 0 && verdict.recorded) {
      Record("%s %lu %s", call, static_cast<unsigned long>(Inode(fd)), file.path);
    }
    return result;
  });
}

long Allocate(int fd, int mode, int64_t offset, int64_t length) {
  const Subject file = Descriptor(fd);
  return Counted(
      "fallocate", file,
      [&](const Verdict& verdict) {
        const long result = syscall(SYS_fallocate, fd, mode, offset, length);
        if (result == 0 && verdict.recorded && (mode & FALLOC_FL_KEEP_SIZE) == 0) {
          Record("grow %lu %lld %s", static_cast<unsigned long>(Inode(fd)),
                 static_cast<long long>(offset + length), file.path);
          RecordTime(fd);
        }
        return result;
      },
      Kind::kWrite);
}

int Rename(int from_directory, const char* from, int to_directory, const char* to, unsigned flags) {
  const Subject source = FileAt(from_directory, from);
  const Subject target = FileAt(to_directory, to);
  const auto real = [&](const Verdict& verdict) {
    const long result = syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
    if (result == 0 && verdict.recorded) Record("rename %s\t%s", source.path, target.path);
    return result;
  };
  return static_cast<int>(Counted("rename", source, real, Kind::kOther, &target));
}

int Link(int from_directory, const char* from, int to_directory, const char* to, int flags) {
  const Subject source = FileAt(from_directory, from);
  const Subject target = FileAt(to_directory, to);
  const auto real = [&](const Verdict& verdict) {
    const long result = syscall(SYS_linkat, from_directory, from, to_directory, to, flags);
    if (result == 0 && verdict.recorded) Record("link %s\t%s", source.path, target.path);
    return result;
  };
  return static_cast<int>(Counted("link", source, real, Kind::kOther, &target));
}

int Unlink(int directory, const char* path, int flags) {
  const Subject file = FileAt(directory, path);
  return static_cast<int>(Counted("unlink", file, [&](const Verdict& verdict) {
    const long result = syscall(SYS_unlinkat, directory, path, flags);
    if (result == 0 && verdict.recorded) Record("unlink %s", file.path);
    return result;
  }));
}

int Truncate(int fd, int64_t size) {
  const Subject file = Descriptor(fd);
  return static_cast<int>(Counted("ftruncate", file, [&](const Verdict& verdict) {
    const long result = syscall(SYS_ftruncate, fd, size);
    if (result == 0 && verdict.recorded) {
      Record("size %lu %lld %s", static_cast<unsigned long>(Inode(fd)),
             static_cast<long long>(size), file.path);
      RecordTime(fd);
    }
    return result;
  }));
}

const char* NameOfControl(int command, const void* argument) {
  switch (command) {
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
      return static_cast<const struct flock*>(argument)->l_type == F_UNLCK ? "unlock" : "lock";
    case F_GETLK:
    case F_OFD_GETLK: return "getlock";
    default: return nullptr;
  }
}

int Control(int fd, int command, void* argument) {
  const char* name = NameOfControl(command, argument);
  const auto real = [&](const Verdict&) { return syscall(SYS_fcntl, fd, command, argument); };
  if (name == nullptr) return static_cast<int>(real({}));
  return static_cast<int>(Counted(name, Descriptor(fd), real));
}

int Close(int fd) {
  const Subject file = Descriptor(fd);
  const Verdict verdict = Arrive("close", file);
  const long result = syscall(SYS_close, fd);
  Leave(verdict);
  if (verdict.error == 0) return static_cast<int>(result);
  errno = verdict.error;
  return -1;
}

long Read(const char* call, int fd, void* buffer, size_t size, int64_t offset) {
  return Counted(call, Descriptor(fd), [&](const Verdict&) {
    return offset < 0 ? syscall(SYS_read, fd, buffer, size)
                      : syscall(SYS_pread64, fd, buffer, size, offset);
  });
}

long LookAt(const char* call, int directory, const char* path, void* out, int flags) {
  const Subject file = path[0] == 0 ? Descriptor(directory) : FileAt(directory, path);
  return Counted(call, file, [&](const Verdict&) {
    return syscall(SYS_newfstatat, directory, path, out, flags);
  });
}

// Of memory only the number counts.
bool OutOfMemory(const char* call) {
  const Verdict verdict = Arrive(call, Memory());
  if (verdict.error != 0) errno = ENOMEM;
  return verdict.error != 0;
}

}  // namespace
}  // namespace faults

using namespace faults;  // NOLINT: what follows is C.

extern "C" {

// ---- Names

int in_front_open(const char* path, int flags, ...) IN_FRONT_OF("open");
int in_front_open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const unsigned mode = va_arg(arguments, unsigned);
  va_end(arguments);
  return Open(AT_FDCWD, path, flags, mode);
}
int in_front_open64(const char*, int, ...) asm("open64") ALSO("open");

int in_front_openat(int directory, const char* path, int flags, ...) IN_FRONT_OF("openat");
int in_front_openat(int directory, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const unsigned mode = va_arg(arguments, unsigned);
  va_end(arguments);
  return Open(directory, path, flags, mode);
}
int in_front_openat64(int, const char*, int, ...) asm("openat64") ALSO("openat");

int in_front_open_2(const char* path, int flags) IN_FRONT_OF("__open_2");
int in_front_open_2(const char* path, int flags) { return Open(AT_FDCWD, path, flags, 0); }
int in_front_open64_2(const char*, int) asm("__open64_2") ALSO("__open_2");

int in_front_creat(const char* path, mode_t mode) IN_FRONT_OF("creat");
int in_front_creat(const char* path, mode_t mode) {
  return Open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int in_front_creat64(const char*, mode_t) asm("creat64") ALSO("creat");

int in_front_close(int fd) IN_FRONT_OF("close");
int in_front_close(int fd) { return Close(fd); }

int in_front_rename(const char* from, const char* to) IN_FRONT_OF("rename");
int in_front_rename(const char* from, const char* to) {
  return Rename(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int in_front_renameat(int a, const char* from, int b, const char* to) IN_FRONT_OF("renameat");
int in_front_renameat(int a, const char* from, int b, const char* to) {
  return Rename(a, from, b, to, 0);
}
int in_front_renameat2(int a, const char* from, int b, const char* to, unsigned flags)
    IN_FRONT_OF("renameat2");
int in_front_renameat2(int a, const char* from, int b, const char* to, unsigned flags) {
  return Rename(a, from, b, to, flags);
}
int in_front_link(const char* from, const char* to) IN_FRONT_OF("link");
int in_front_link(const char* from, const char* to) {
  return Link(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int in_front_linkat(int a, const char* from, int b, const char* to, int flags)
    IN_FRONT_OF("linkat");
int in_front_linkat(int a, const char* from, int b, const char* to, int flags) {
  return Link(a, from, b, to, flags);
}
int in_front_unlink(const char* path) IN_FRONT_OF("unlink");
int in_front_unlink(const char* path) { return Unlink(AT_FDCWD, path, 0); }
int in_front_unlinkat(int directory, const char* path, int flags) IN_FRONT_OF("unlinkat");
int in_front_unlinkat(int directory, const char* path, int flags) {
  return Unlink(directory, path, flags);
}

int in_front_access(const char* path, int mode) IN_FRONT_OF("access");
int in_front_access(const char* path, int mode) {
  return static_cast<int>(Counted("access", File(path), [&](const Verdict&) {
    return syscall(SYS_faccessat, AT_FDCWD, path, mode);
  }));
}
int in_front_stat(const char* path, void* out) IN_FRONT_OF("stat");
int in_front_stat(const char* path, void* out) {
  return static_cast<int>(LookAt("stat", AT_FDCWD, path, out, 0));
}
int in_front_stat64(const char*, void*) asm("stat64") ALSO("stat");
int in_front_lstat(const char* path, void* out) IN_FRONT_OF("lstat");
int in_front_lstat(const char* path, void* out) {
  return static_cast<int>(LookAt("stat", AT_FDCWD, path, out, AT_SYMLINK_NOFOLLOW));
}
int in_front_lstat64(const char*, void*) asm("lstat64") ALSO("lstat");
int in_front_fstat(int fd, void* out) IN_FRONT_OF("fstat");
int in_front_fstat(int fd, void* out) {
  return static_cast<int>(LookAt("fstat", fd, "", out, AT_EMPTY_PATH));
}
int in_front_fstat64(int, void*) asm("fstat64") ALSO("fstat");

int in_front_setxattr(const char* path, const char* name, const void* value, size_t size, int flags)
    IN_FRONT_OF("setxattr");
int in_front_setxattr(const char* path, const char* name, const void* value, size_t size,
                      int flags) {
  const Subject file = File(path);
  return static_cast<int>(Counted("setxattr", file, [&](const Verdict& verdict) {
    const long result = syscall(SYS_setxattr, path, name, value, size, flags);
    struct stat st {};
    if (result != 0 || !verdict.recorded || size > 64) return result;
    char hex[130] = "";
    for (size_t i = 0; i < size; i++) {
      snprintf(hex + 2 * i, 3, "%02x", static_cast<const uint8_t*>(value)[i]);
    }
    syscall(SYS_newfstatat, AT_FDCWD, path, &st, 0);
    Record("attribute %lu %s %s %s", static_cast<unsigned long>(st.st_ino), name, hex, file.path);
    return result;
  }));
}

// ---- Bytes

ssize_t in_front_read(int fd, void* buffer, size_t size) IN_FRONT_OF("read");
ssize_t in_front_read(int fd, void* buffer, size_t size) {
  return Read("read", fd, buffer, size, -1);
}
ssize_t in_front_read_chk(int fd, void* buffer, size_t size, size_t) IN_FRONT_OF("__read_chk");
ssize_t in_front_read_chk(int fd, void* buffer, size_t size, size_t) {
  return Read("read", fd, buffer, size, -1);
}
ssize_t in_front_pread(int fd, void* buffer, size_t size, off_t offset) IN_FRONT_OF("pread");
ssize_t in_front_pread(int fd, void* buffer, size_t size, off_t offset) {
  return Read("pread", fd, buffer, size, offset);
}
ssize_t in_front_pread64(int, void*, size_t, off_t) asm("pread64") ALSO("pread");
ssize_t in_front_pread_chk(int fd, void* buffer, size_t size, off_t offset, size_t)
    IN_FRONT_OF("__pread_chk");
ssize_t in_front_pread_chk(int fd, void* buffer, size_t size, off_t offset, size_t) {
  return Read("pread", fd, buffer, size, offset);
}
ssize_t in_front_pread64_chk(int, void*, size_t, off_t, size_t) asm("__pread64_chk")
    ALSO("__pread_chk");

ssize_t in_front_write(int fd, const void* bytes, size_t size) IN_FRONT_OF("write");
ssize_t in_front_write(int fd, const void* bytes, size_t size) {
  const iovec part{const_cast<void*>(bytes), size};
  return Write("write", fd, &part, 1, -1);
}
ssize_t in_front_writev(int fd, const iovec* parts, int count) IN_FRONT_OF("writev");
ssize_t in_front_writev(int fd, const iovec* parts, int count) {
  return Write("writev", fd, parts, count, -1);
}
ssize_t in_front_pwrite(int fd, const void* bytes, size_t size, off_t offset) IN_FRONT_OF("pwrite");
ssize_t in_front_pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  const iovec part{const_cast<void*>(bytes), size};
  return Write("pwrite", fd, &part, 1, offset);
}
ssize_t in_front_pwrite64(int, const void*, size_t, off_t) asm("pwrite64") ALSO("pwrite");
ssize_t in_front_pwritev(int fd, const iovec* parts, int count, off_t offset)
    IN_FRONT_OF("pwritev");
ssize_t in_front_pwritev(int fd, const iovec* parts, int count, off_t offset) {
  return Write("pwritev", fd, parts, count, offset);
}
ssize_t in_front_pwritev64(int, const iovec*, int, off_t) asm("pwritev64") ALSO("pwritev");

int in_front_ftruncate(int fd, off_t size) IN_FRONT_OF("ftruncate");
int in_front_ftruncate(int fd, off_t size) { return Truncate(fd, size); }
int in_front_ftruncate64(int, off_t) asm("ftruncate64") ALSO("ftruncate");
int in_front_fallocate(int fd, int mode, off_t offset, off_t length) IN_FRONT_OF("fallocate");
int in_front_fallocate(int fd, int mode, off_t offset, off_t length) {
  return static_cast<int>(Allocate(fd, mode, offset, length));
}
int in_front_fallocate64(int, int, off_t, off_t) asm("fallocate64") ALSO("fallocate");
int in_front_posix_fallocate(int fd, off_t offset, off_t length) IN_FRONT_OF("posix_fallocate");
int in_front_posix_fallocate(int fd, off_t offset, off_t length) {
  return Allocate(fd, 0, offset, length) == 0 ? 0 : errno;
}
int in_front_posix_fallocate64(int, off_t, off_t) asm("posix_fallocate64") ALSO("posix_fallocate");

int in_front_fsync(int fd) IN_FRONT_OF("fsync");
int in_front_fsync(int fd) { return static_cast<int>(Sync("fsync", SYS_fsync, fd)); }
int in_front_fdatasync(int fd) IN_FRONT_OF("fdatasync");
int in_front_fdatasync(int fd) { return static_cast<int>(Sync("fdatasync", SYS_fdatasync, fd)); }

// ---- Locks and mappings

int in_front_fcntl(int fd, int command, ...) IN_FRONT_OF("fcntl");
int in_front_fcntl(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  return Control(fd, command, argument);
}
int in_front_fcntl64(int, int, ...) asm("fcntl64") ALSO("fcntl");
int in_front_flock(int fd, int operation) IN_FRONT_OF("flock");
int in_front_flock(int fd, int operation) {
  const char* name = (operation & LOCK_UN) != 0 ? "unlock" : "lock";
  return static_cast<int>(Counted(
      name, Descriptor(fd), [&](const Verdict&) { return syscall(SYS_flock, fd, operation); }));
}
void* in_front_mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset)
    IN_FRONT_OF("mmap");
void* in_front_mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset) {
  const Subject file = fd < 0 ? Subject{} : Descriptor(fd);
  return reinterpret_cast<void*>(Counted("mmap", file, [&](const Verdict&) {
    return syscall(SYS_mmap, at, size, protection, flags, fd, offset);
  }));
}
void* in_front_mmap64(void*, size_t, int, int, int, off_t) asm("mmap64") ALSO("mmap");

// ---- Sockets

int in_front_connect(int fd, const sockaddr* to, socklen_t size) IN_FRONT_OF("connect");
int in_front_connect(int fd, const sockaddr* to, socklen_t size) {
  return static_cast<int>(Counted(
      "connect", Socket(fd), [&](const Verdict&) { return syscall(SYS_connect, fd, to, size); }));
}
int in_front_accept4(int fd, sockaddr* from, socklen_t* size, int flags) IN_FRONT_OF("accept4");
int in_front_accept4(int fd, sockaddr* from, socklen_t* size, int flags) {
  return static_cast<int>(Counted("accept", Socket(fd), [&](const Verdict&) {
    return syscall(SYS_accept4, fd, from, size, flags);
  }));
}
int in_front_accept(int fd, sockaddr* from, socklen_t* size) IN_FRONT_OF("accept");
int in_front_accept(int fd, sockaddr* from, socklen_t* size) {
  return in_front_accept4(fd, from, size, 0);
}
ssize_t in_front_sendto(int fd, const void* bytes, size_t size, int flags, const sockaddr* to,
                        socklen_t length) IN_FRONT_OF("sendto");
ssize_t in_front_sendto(int fd, const void* bytes, size_t size, int flags, const sockaddr* to,
                        socklen_t length) {
  return Counted("send", Socket(fd), [&](const Verdict&) {
    return syscall(SYS_sendto, fd, bytes, size, flags, to, length);
  });
}
ssize_t in_front_send(int fd, const void* bytes, size_t size, int flags) IN_FRONT_OF("send");
ssize_t in_front_send(int fd, const void* bytes, size_t size, int flags) {
  return in_front_sendto(fd, bytes, size, flags, nullptr, 0);
}
ssize_t in_front_sendmsg(int fd, const msghdr* message, int flags) IN_FRONT_OF("sendmsg");
ssize_t in_front_sendmsg(int fd, const msghdr* message, int flags) {
  return Counted("send", Socket(fd),
                 [&](const Verdict&) { return syscall(SYS_sendmsg, fd, message, flags); });
}
ssize_t in_front_recvfrom(int fd, void* buffer, size_t size, int flags, sockaddr* from,
                          socklen_t* length) IN_FRONT_OF("recvfrom");
ssize_t in_front_recvfrom(int fd, void* buffer, size_t size, int flags, sockaddr* from,
                          socklen_t* length) {
  return Counted("recv", Socket(fd), [&](const Verdict&) {
    return syscall(SYS_recvfrom, fd, buffer, size, flags, from, length);
  });
}
ssize_t in_front_recv(int fd, void* buffer, size_t size, int flags) IN_FRONT_OF("recv");
ssize_t in_front_recv(int fd, void* buffer, size_t size, int flags) {
  return in_front_recvfrom(fd, buffer, size, flags, nullptr, nullptr);
}
ssize_t in_front_recv_chk(int fd, void* buffer, size_t size, size_t, int flags)
    IN_FRONT_OF("__recv_chk");
ssize_t in_front_recv_chk(int fd, void* buffer, size_t size, size_t, int flags) {
  return in_front_recvfrom(fd, buffer, size, flags, nullptr, nullptr);
}
ssize_t in_front_recvmsg(int fd, msghdr* message, int flags) IN_FRONT_OF("recvmsg");
ssize_t in_front_recvmsg(int fd, msghdr* message, int flags) {
  return Counted("recv", Socket(fd),
                 [&](const Verdict&) { return syscall(SYS_recvmsg, fd, message, flags); });
}

// ---- Memory

void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* block, size_t size);

void* in_front_malloc(size_t size) IN_FRONT_OF("malloc");
void* in_front_malloc(size_t size) { return OutOfMemory("malloc") ? nullptr : __libc_malloc(size); }
void* in_front_calloc(size_t count, size_t size) IN_FRONT_OF("calloc");
void* in_front_calloc(size_t count, size_t size) {
  return OutOfMemory("calloc") ? nullptr : __libc_calloc(count, size);
}
void* in_front_realloc(void* block, size_t size) IN_FRONT_OF("realloc");
void* in_front_realloc(void* block, size_t size) {
  return OutOfMemory("realloc") ? nullptr : __libc_realloc(block, size);
}
}
