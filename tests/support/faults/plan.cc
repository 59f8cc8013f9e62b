#include "tests/support/faults/plan.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

// Nothing here allocates, and all system calls are made directly: whoever calls may be in the
// middle of malloc(), and every function of libc that we used could be one that we are in front of.

namespace faults {
namespace {

constexpr size_t kTextMax = 1024;

enum class Deed { kNone, kKillBefore, kKillAfter, kFail, kPartial };

struct Plan {
  char directory[kTextMax];
  char log[kTextMax];
  char record[kTextMax];
  char pattern[kTextMax];
  char boot[128];
  bool files, net, memory, quick;
  Deed deed;
  long number;
  bool and_later;
  int error;

  long points;   // Counted so far.
  long fitting;  // Those of them that fit the pattern.
  bool full;     // A partial write was made: writes fail.
};

char g_control[kTextMax];
Plan g_plan;
bool g_armed = false;
struct stat g_seen;
std::atomic_flag g_lock = ATOMIC_FLAG_INIT;
__thread bool t_inside __attribute__((tls_model("initial-exec"))) = false;

class Locked {
 public:
  Locked() {
    t_inside = true;
    while (g_lock.test_and_set(std::memory_order_acquire)) syscall(SYS_sched_yield);
  }
  ~Locked() {
    g_lock.clear(std::memory_order_release);
    t_inside = false;
  }
};

void Copy(char* to, size_t size, const char* from) {
  const size_t length = strnlen(from, size - 1);
  memcpy(to, from, length);
  to[length] = 0;
}

void Die(const char* why) {
  syscall(SYS_write, 2, why, strlen(why));
  syscall(SYS_exit_group, 99);
}

int ErrorNumber(const char* name) {
  static const struct {
    const char* name;
    int number;
  } kErrors[] = {{"EIO", EIO},
                 {"ENOSPC", ENOSPC},
                 {"EDQUOT", EDQUOT},
                 {"ENOMEM", ENOMEM},
                 {"EACCES", EACCES},
                 {"EPERM", EPERM},
                 {"EAGAIN", EAGAIN},
                 {"EINTR", EINTR},
                 {"EMFILE", EMFILE},
                 {"ENOENT", ENOENT},
                 {"ENOLCK", ENOLCK},
                 {"EROFS", EROFS},
                 {"ECONNREFUSED", ECONNREFUSED},
                 {"ECONNRESET", ECONNRESET},
                 {"ENETUNREACH", ENETUNREACH},
                 {"ETIMEDOUT", ETIMEDOUT},
                 {"EPIPE", EPIPE}};
  for (const auto& one : kErrors) {
    if (strcmp(one.name, name) == 0) return one.number;
  }
  const int number = atoi(name);
  if (number <= 0) Die("turso_faults: an errno that is not known\n");
  return number;
}

// "[before|after|ERRNO] N[+] [NAME]"
void ParseDeed(Deed deed, char* rest) {
  char* save = nullptr;
  const char* how = strtok_r(rest, " ", &save);
  const char* number = strtok_r(nullptr, " ", &save);
  if (how == nullptr || number == nullptr) Die("turso_faults: a line of the plan is too short\n");
  if (deed == Deed::kKillBefore) {
    g_plan.deed = strcmp(how, "after") == 0 ? Deed::kKillAfter : Deed::kKillBefore;
  } else {
    g_plan.deed = deed;
    g_plan.error = ErrorNumber(how);
  }
  g_plan.number = atol(number);
  g_plan.and_later = strchr(number, '+') != nullptr;
  if (save != nullptr) Copy(g_plan.pattern, sizeof g_plan.pattern, save);
}

void ParseLine(char* line) {
  char* rest = strchr(line, ' ');
  if (rest != nullptr) *rest++ = 0;
  if (rest == nullptr) rest = line + strlen(line);
  if (strcmp(line, "directory") == 0) {
    Copy(g_plan.directory, sizeof g_plan.directory, rest);
  } else if (strcmp(line, "log") == 0) {
    Copy(g_plan.log, sizeof g_plan.log, rest);
  } else if (strcmp(line, "record") == 0) {
    Copy(g_plan.record, sizeof g_plan.record, rest);
  } else if (strcmp(line, "boot") == 0) {
    Copy(g_plan.boot, sizeof g_plan.boot, rest);
  } else if (strcmp(line, "quick") == 0) {
    g_plan.quick = true;
  } else if (strcmp(line, "count") == 0) {
    g_plan.files = strstr(rest, "file") != nullptr;
    g_plan.net = strstr(rest, "net") != nullptr;
    g_plan.memory = strstr(rest, "memory") != nullptr;
  } else if (strcmp(line, "kill") == 0) {
    ParseDeed(Deed::kKillBefore, rest);
  } else if (strcmp(line, "fail") == 0) {
    ParseDeed(Deed::kFail, rest);
  } else if (strcmp(line, "partial") == 0) {
    ParseDeed(Deed::kPartial, rest);
  } else if (*line != 0) {
    Die("turso_faults: a line of the plan is not known\n");
  }
}

void Parse() {
  memset(&g_plan, 0, sizeof g_plan);
  g_plan.files = g_plan.net = true;
  static char text[8 * kTextMax];
  const int fd =
      static_cast<int>(syscall(SYS_openat, AT_FDCWD, g_control, O_RDONLY | O_CLOEXEC, 0));
  const long length = fd < 0 ? 0 : syscall(SYS_read, fd, text, sizeof text - 1);
  if (fd >= 0) syscall(SYS_close, fd);
  text[length > 0 ? length : 0] = 0;
  char* save = nullptr;
  for (char* line = strtok_r(text, "\n", &save); line != nullptr;
       line = strtok_r(nullptr, "\n", &save)) {
    ParseLine(line);
  }
}

// Whether there is a plan, which is read if it is a new one. With the lock held.
bool Armed() {
  struct stat now;
  if (g_control[0] == 0 || syscall(SYS_newfstatat, AT_FDCWD, g_control, &now, 0) != 0) {
    g_armed = false;
    return false;
  }
  if (!g_armed || now.st_ino != g_seen.st_ino || now.st_size != g_seen.st_size ||
      now.st_mtim.tv_sec != g_seen.st_mtim.tv_sec ||
      now.st_mtim.tv_nsec != g_seen.st_mtim.tv_nsec) {
    g_seen = now;
    Parse();
    g_armed = true;
  }
  return true;
}

void Append(const char* file, const iovec* parts, int count) {
  const int fd = static_cast<int>(
      syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (fd < 0) Die("turso_faults: cannot open the log\n");
  // In one call, so that the lines of several processes do not mix.
  if (syscall(SYS_writev, fd, parts, count) < 0) Die("turso_faults: cannot write the log\n");
  syscall(SYS_close, fd);
}

void AppendText(const char* file, const char* text) {
  iovec part{const_cast<char*>(text), strlen(text)};
  Append(file, &part, 1);
}

void CutAt(char* text, const char* mark, size_t keep) {
  if (char* found = strstr(text, mark)) found[keep] = 0;
}

// The subject of an absolute path.
void SetFile(Subject* subject, const char* path) {
  Locked locked;
  if (!Armed() || !g_plan.files) return;
  const size_t length = strlen(g_plan.directory);
  if (length == 0 || strncmp(path, g_plan.directory, length) != 0) return;
  if (path[length] != '/' && path[length] != 0) return;
  subject->counts = true;
  Copy(subject->path, sizeof subject->path, path);
  CutAt(subject->path, " (deleted)", 0);
  const char* rest = subject->path + length;
  while (*rest == '/') rest++;
  Copy(subject->role, sizeof subject->role, *rest == 0 ? "." : rest);
  CutAt(subject->role, ".turso-tmp-", strlen(".turso-tmp"));
  CutAt(subject->role, ".aside-", strlen(".aside"));
}

bool Unarmed() { return g_control[0] == 0 || t_inside; }

[[noreturn]] void Kill() {
  for (;;) syscall(SYS_kill, static_cast<int>(syscall(SYS_getpid)), SIGKILL);
}

bool Fits(const char* name) {
  return g_plan.pattern[0] == 0 || fnmatch(g_plan.pattern, name, 0) == 0;
}

void Decide(Kind kind, const char* name, Verdict* verdict) {
  if (g_plan.full && kind == Kind::kWrite) {
    verdict->error = g_plan.error;
    g_plan.full = g_plan.and_later;
    return;
  }
  if (g_plan.deed == Deed::kNone || !Fits(name)) return;
  g_plan.fitting++;
  const bool now = g_plan.fitting == g_plan.number;
  const bool later = g_plan.and_later && g_plan.fitting > g_plan.number;
  if (now && g_plan.deed == Deed::kKillBefore) Kill();
  verdict->kill_after = now && g_plan.deed == Deed::kKillAfter;
  if (!now && !later) return;
  if (g_plan.deed == Deed::kPartial && kind == Kind::kWrite && now) {
    verdict->half = g_plan.full = true;
  } else if (g_plan.deed == Deed::kFail || g_plan.deed == Deed::kPartial) {
    const bool unlocks = strncmp(name[0] == '~' ? name + 1 : name, "unlock ", 7) == 0;
    if (!unlocks) verdict->error = g_plan.error;
  }
}

__attribute__((constructor)) void ReadEnvironment() {
  const char* control = getenv("TURSO_FAULTS_CONTROL");
  if (control != nullptr && g_control[0] == 0) Copy(g_control, sizeof g_control, control);
}

}  // namespace

Subject FileAt(int directory, const char* path) {
  Subject subject{};
  if (Unarmed() || path == nullptr) return subject;
  const int error = errno;
  char whole[2 * kTextMax];
  if (path[0] == '/') {
    Copy(whole, sizeof whole, path);
  } else {
    char link[64];
    if (directory == AT_FDCWD) {
      Copy(link, sizeof link, "/proc/self/cwd");
    } else {
      snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    }
    const long length = syscall(SYS_readlinkat, AT_FDCWD, link, whole, kTextMax);
    if (length > 0) snprintf(whole + length, sizeof whole - length, "/%s", path);
    if (length <= 0) whole[0] = 0;
  }
  SetFile(&subject, whole);
  errno = error;
  return subject;
}

Subject File(const char* path) { return FileAt(AT_FDCWD, path); }

Subject Socket(int fd) {
  Subject subject{};
  if (Unarmed()) return subject;
  const int error = errno;
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (syscall(SYS_getsockname, fd, &address, &length) == 0 &&
      (address.ss_family == AF_INET || address.ss_family == AF_INET6)) {
    Locked locked;
    subject.counts = Armed() && g_plan.net;
    Copy(subject.role, sizeof subject.role, "tcp");
  }
  errno = error;
  return subject;
}

Subject Descriptor(int fd) {
  Subject subject{};
  if (Unarmed()) return subject;
  const int error = errno;
  char link[64], path[kTextMax];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
  errno = error;
  if (length <= 0) return subject;
  path[length] = 0;
  if (path[0] == '/') {
    SetFile(&subject, path);
  } else if (strncmp(path, "socket:", 7) == 0) {
    return Socket(fd);
  }
  return subject;
}

Subject Memory() {
  Subject subject{};
  if (Unarmed()) return subject;
  const int error = errno;
  {
    Locked locked;
    subject.counts = Armed() && g_plan.memory;
  }
  errno = error;
  return subject;
}

Verdict Arrive(const char* call, const Subject& subject, Kind kind, const Subject* second) {
  Verdict verdict;
  const bool counts = subject.counts || (second != nullptr && second->counts);
  if (!counts || Unarmed()) return verdict;
  const int error = errno;
  char name[1200];
  const bool first = syscall(SYS_gettid) == syscall(SYS_getpid);
  snprintf(name, sizeof name, "%s%s%s%s%s%s", first ? "" : "~", call,
           subject.role[0] == 0 ? "" : " ", subject.role, second == nullptr ? "" : " ",
           second == nullptr ? "" : second->role);
  {
    Locked locked;
    if (!Armed()) return verdict;
    verdict.counted = true;
    verdict.recorded = g_plan.record[0] != 0;
    verdict.quick = g_plan.quick;
    g_plan.points++;
    char line[1400];
    if (g_plan.log[0] != 0) {
      snprintf(line, sizeof line, "%ld %s\n", g_plan.points, name);
      AppendText(g_plan.log, line);
    }
    if (verdict.recorded) {
      snprintf(line, sizeof line, "at %ld %s\n", syscall(SYS_getpid), name);
      AppendText(g_plan.record, line);
    }
    Decide(kind, name, &verdict);
  }
  errno = error;
  return verdict;
}

void Leave(const Verdict& verdict) {
  if (verdict.kill_after) Kill();
}

void RecordBytes(const char* line, const iovec* parts, int count, size_t bytes) {
  const int error = errno;
  {
    Locked locked;
    if (Armed() && g_plan.record[0] != 0) {
      constexpr int kPartsMax = 64;
      iovec all[kPartsMax + 2];
      int n = 0;
      all[n++] = {const_cast<char*>(line), strlen(line)};
      for (int i = 0; i < count && n <= kPartsMax && bytes > 0; i++) {
        all[n] = parts[i];
        if (all[n].iov_len > bytes) all[n].iov_len = bytes;
        bytes -= all[n++].iov_len;
      }
      char newline[] = "\n";
      all[n++] = {newline, 1};
      Append(g_plan.record, all, n);
    }
  }
  errno = error;
}

void Record(const char* format, ...) {
  char line[3 * kTextMax];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  RecordBytes(line, nullptr, 0, 0);
}

uint64_t Inode(int fd) {
  struct stat st {};
  const int error = errno;
  syscall(SYS_newfstatat, fd, "", &st, AT_EMPTY_PATH);
  errno = error;
  return st.st_ino;
}

void RecordTime(int fd) {
  struct stat st {};
  const int error = errno;
  if (syscall(SYS_newfstatat, fd, "", &st, AT_EMPTY_PATH) == 0) {
    Record("time %lu %lld", static_cast<unsigned long>(st.st_ino),
           static_cast<long long>(st.st_mtim.tv_sec) * 1'000'000'000 + st.st_mtim.tv_nsec);
  }
  errno = error;
}

const char* BootId() {
  if (Unarmed()) return nullptr;
  Locked locked;
  return Armed() && g_plan.boot[0] != 0 ? g_plan.boot : nullptr;
}

}  // namespace faults

extern "C" __attribute__((visibility("default"))) void turso_faults_control(const char* path) {
  faults::Locked locked;
  faults::g_armed = false;
  faults::Copy(faults::g_control, sizeof faults::g_control, path);
}

extern "C" __attribute__((visibility("default"))) void turso_faults_mark(const char* text) {
  faults::Record("mark %s", text);
}
