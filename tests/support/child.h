// Processes of a test. A parent that forks must have no SQLite file open: POSIX locks are not
// inherited, SQLite's books about them are.

#ifndef TURSO_TESTS_SUPPORT_CHILD_H_
#define TURSO_TESTS_SUPPORT_CHILD_H_

#include <gtest/gtest.h>
#include <signal.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

namespace turso {

// Exit status of a child whose expectations failed.
inline constexpr int kChildFailed = 99;

// Runs `body` in a new process, which exits with what it returns, or with kChildFailed.
template <typename Body>
pid_t Fork(Body body) {
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
#if defined(__linux__)
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
  const int status = body();
  std::fflush(nullptr);
  ::_exit(::testing::Test::HasFailure() ? kChildFailed : status);
}

// The exit status, or minus the signal that ended it.
inline int Wait(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return -1000;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// Whether it has ended; *result is then as from Wait().
inline bool HasEnded(pid_t pid, int* result) {
  int status = 0;
  if (::waitpid(pid, &status, WNOHANG) != pid) return false;
  *result = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return true;
}

template <typename Body>
int RunInChild(Body body) {
  return Wait(Fork(std::move(body)));
}

// One byte from one process to another: an event to wait for.
class Signal {
 public:
  Signal() { EXPECT_EQ(::pipe(ends_), 0); }
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;
  ~Signal() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  void Raise() { EXPECT_EQ(::write(ends_[1], "x", 1), 1); }
  void Await() {
    char byte;
    EXPECT_EQ(::read(ends_[0], &byte, 1), 1);
  }

 private:
  int ends_[2] = {-1, -1};
};

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_CHILD_H_
