#include "src/http/curl.h"

#include <dlfcn.h>

#include <atomic>
#include <memory>
#include <mutex>

#include "src/base/fork_gate.h"

namespace turso {

namespace {

// Never undone: the host may use libcurl too, and its counter of users is not safe in old versions.
std::atomic<const CurlFunctions*> g_loaded{nullptr};

struct Attempt {
  std::mutex mutex;
  std::string problem;
};
Attempt& LastAttempt() {
  static auto* last = new Attempt;
  return *last;
}

bool Fill(void* library, CurlFunctions* functions, std::string* missing) {
#define TURSO_CURL_FILL(name)                                                                   \
  functions->name = reinterpret_cast<decltype(functions->name)>(dlsym(library, "curl_" #name)); \
  if (functions->name == nullptr) *missing = "curl_" #name;
  TURSO_CURL_FUNCTIONS(TURSO_CURL_FILL)
#undef TURSO_CURL_FILL
  return missing->empty();
}

// Null, and why.
const CurlFunctions* Load(std::string* problem) {
  *problem =
      "libcurl is not installed: neither libcurl-gnutls.so.4 nor libcurl.so.4 can be loaded "
      "(Debian: apt-get install libcurl3-gnutls)";
  for (const char* name : {"libcurl-gnutls.so.4", "libcurl.so.4"}) {
    void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) continue;
    auto functions = std::make_unique<CurlFunctions>();
    std::string missing;
    if (!Fill(library, functions.get(), &missing)) {
      *problem = std::string(name) + " is too old: it has no " + missing +
                 " (libcurl 7.74 or newer is needed)";
    } else if (functions->global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
      *problem = std::string(name) + " cannot be set up";
    } else {
      return functions.release();
    }
    dlclose(library);
  }
  return nullptr;
}

}  // namespace

const CurlFunctions* LoadCurl() {
  if (const CurlFunctions* loaded = g_loaded.load(std::memory_order_acquire)) return loaded;
  ForkGate::Inside inside;  // A child could not finish what its parent has begun.
  Attempt& last = LastAttempt();
  std::lock_guard lock(last.mutex);
  if (g_loaded.load() == nullptr) g_loaded.store(Load(&last.problem));
  return g_loaded.load();
}

std::string CurlProblem() {
  Attempt& last = LastAttempt();
  std::lock_guard lock(last.mutex);
  return g_loaded.load() != nullptr ? "" : last.problem;
}

}  // namespace turso
