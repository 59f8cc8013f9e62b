// Preloaded into a program, it keeps the network's faults in the tests' hands and the disk's out of
// them: syncing a file takes no time and does nothing.
//
// It takes the place of the name service for names that end in ".test". TURSO_TEST_NAMES is a
// directory; the file NAME in it says what becomes of NAME:
//   fail    it is not known
//   stall   nobody answers until the file says something else, or half a minute has gone by
// Without such a file NAME is 127.0.0.1. Each question that is not answered so is noted in
// NAME.asked.

#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace {

std::string Fate(const std::string& file) {
  char text[16] = "";
  int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  ssize_t length = read(fd, text, sizeof text);
  close(fd);
  return std::string(text, length > 0 ? static_cast<size_t>(length) : 0);
}

void NoteQuestion(const std::string& file) {
  int fd = open((file + ".asked").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int fsync(int) { return 0; }
extern "C" __attribute__((visibility("default"))) int fdatasync(int) { return 0; }

extern "C" __attribute__((visibility("default"))) int getaddrinfo(const char* node,
                                                                  const char* service,
                                                                  const addrinfo* hints,
                                                                  addrinfo** result) {
  using Real = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
  static auto* real = reinterpret_cast<Real>(dlsym(RTLD_NEXT, "getaddrinfo"));
  const char* names = getenv("TURSO_TEST_NAMES");
  const std::string name = node == nullptr ? "" : node;
  const std::string suffix = ".test";
  if (names == nullptr || name.size() <= suffix.size() ||
      name.compare(name.size() - suffix.size(), suffix.size(), suffix) != 0) {
    return real(node, service, hints, result);
  }
  const std::string file = std::string(names) + "/" + name;
  std::string fate = Fate(file);
  if (fate.empty()) return real("127.0.0.1", service, hints, result);
  NoteQuestion(file);
  for (int i = 0; fate == "stall" && i < 600; i++) {
    usleep(50000);
    fate = Fate(file);
  }
  return fate.empty() ? real("127.0.0.1", service, hints, result) : EAI_NONAME;
}
