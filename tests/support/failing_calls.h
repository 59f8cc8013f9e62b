// System calls that fail, or after which the process dies, when a test says so.
//
// They stand before libc's in the program that includes this, and count only in the thread that
// asked. Include it in one source file of a program.

#ifndef TURSO_TESTS_SUPPORT_FAILING_CALLS_H_
#define TURSO_TESTS_SUPPORT_FAILING_CALLS_H_

#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

namespace turso {

enum class Fate { kFail, kDieBefore, kDieAfter };

class FailingCalls {
 public:
  static constexpr int kDeath = 88;  // The exit status of whoever dies.

  // The nth counted call from now on meets its fate; 0: none does.
  FailingCalls(int nth, Fate fate, int error = EIO) {
    state() = {true, nth, fate, error, {}, {}, {}};
  }
  FailingCalls(const FailingCalls&) = delete;
  FailingCalls& operator=(const FailingCalls&) = delete;
  ~FailingCalls() { state() = {}; }

  // The call that it was; empty if there were fewer.
  std::string which() const { return state().which; }
  // The names of all calls so far.
  const std::vector<std::string>& names() const { return state().names; }

  // Whether this call fails.
  static bool Strikes(const char* name) {
    State& s = state();
    if (s.armed) s.names.push_back(name);
    if (!s.armed || s.countdown == 0 || --s.countdown != 0) return false;
    s.which = name;
    if (s.fate == Fate::kFail) errno = s.error;
    if (s.fate == Fate::kDieBefore) ::_exit(kDeath);
    s.dies = s.fate == Fate::kDieAfter;
    return s.fate == Fate::kFail;
  }
  static void Finish() {
    if (state().dies) ::_exit(kDeath);
  }

 private:
  struct State {
    bool armed = false;
    int countdown = 0;
    Fate fate = Fate::kFail;
    int error = 0;
    std::string which;
    bool dies = false;
    std::vector<std::string> names;
  };
  static State& state() {
    static thread_local State state;
    return state;
  }
};

template <typename Function>
Function* Libc(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

template <typename Function, typename... Arguments>
auto Counted(const char* name, Arguments... arguments) {
  using Answer = decltype(Libc<Function>(name)(arguments...));
  if (FailingCalls::Strikes(name)) return static_cast<Answer>(-1);
  Answer answer = Libc<Function>(name)(arguments...);
  FailingCalls::Finish();
  return answer;
}

}  // namespace turso

// Both this and the library's own are seen from outside, whatever the visibility of the rest.
#define TURSO_STANDS_IN extern "C" __attribute__((visibility("default")))

TURSO_STANDS_IN int open(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(list, mode_t) : 0;
  va_end(list);
  return turso::Counted<int(const char*, int, ...)>("open", path, flags, mode);
}
TURSO_STANDS_IN int fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void* argument = va_arg(list, void*);
  va_end(list);
  return turso::Counted<int(int, int, ...)>("fcntl", fd, command, argument);
}
TURSO_STANDS_IN ssize_t pread(int fd, void* bytes, size_t size, off_t offset) {
  return turso::Counted<ssize_t(int, void*, size_t, off_t)>("pread", fd, bytes, size, offset);
}
TURSO_STANDS_IN ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  return turso::Counted<ssize_t(int, const void*, size_t, off_t)>("pwrite", fd, bytes, size,
                                                                  offset);
}
TURSO_STANDS_IN int ftruncate(int fd, off_t size) noexcept {
  return turso::Counted<int(int, off_t)>("ftruncate", fd, size);
}
TURSO_STANDS_IN int fsync(int fd) { return turso::Counted<int(int)>("fsync", fd); }
TURSO_STANDS_IN int fdatasync(int fd) { return turso::Counted<int(int)>("fdatasync", fd); }
TURSO_STANDS_IN int fchmod(int fd, mode_t mode) noexcept {
  return turso::Counted<int(int, mode_t)>("fchmod", fd, mode);
}
TURSO_STANDS_IN int unlink(const char* path) noexcept {
  return turso::Counted<int(const char*)>("unlink", path);
}
TURSO_STANDS_IN int rename(const char* from, const char* to) noexcept {
  return turso::Counted<int(const char*, const char*)>("rename", from, to);
}
TURSO_STANDS_IN int renameat2(int from_at, const char* from, int to_at, const char* to,
                              unsigned flags) noexcept {
  return turso::Counted<int(int, const char*, int, const char*, unsigned)>("renameat2", from_at,
                                                                           from, to_at, to, flags);
}
TURSO_STANDS_IN int setxattr(const char* path, const char* name, const void* value, size_t size,
                             int flags) noexcept {
  return turso::Counted<int(const char*, const char*, const void*, size_t, int)>(
      "setxattr", path, name, value, size, flags);
}
TURSO_STANDS_IN ssize_t getrandom(void* bytes, size_t size, unsigned flags) {
  return turso::Counted<ssize_t(void*, size_t, unsigned)>("getrandom", bytes, size, flags);
}

#endif  // TURSO_TESTS_SUPPORT_FAILING_CALLS_H_
