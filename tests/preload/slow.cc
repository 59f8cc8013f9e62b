// Takes the place of libturso_vfs.so and is not loaded before the test lets it be.

#include <dlfcn.h>
#include <fcntl.h>
#include <sqlite3ext.h>
#include <unistd.h>

#include <cstdlib>

namespace {

// One byte through a FIFO.
void Pass(const char* variable, int mode) {
  char byte = 0;
  const int fifo = open(std::getenv(variable), mode);
  const ssize_t passed = mode == O_RDONLY ? read(fifo, &byte, 1) : write(fifo, &byte, 1);
  if (passed != 1) std::abort();
  close(fifo);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int sqlite3_tursovfs_default_init(
    sqlite3* db, char** message, const sqlite3_api_routines* api) {
  Pass("SLOW_HAS_BEGUN", O_WRONLY);
  Pass("SLOW_MAY_GO_ON", O_RDONLY);
  using EntryPoint = int (*)(sqlite3*, char**, const sqlite3_api_routines*);
  void* library = dlopen(std::getenv("SLOW_EXTENSION"), RTLD_NOW);
  return reinterpret_cast<EntryPoint>(dlsym(library, "sqlite3_tursovfs_default_init"))(db, message,
                                                                                       api);
}
