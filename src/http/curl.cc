#include "src/http/curl.h"

#include <dlfcn.h>

#include "src/base/fork_gate.h"

namespace turso {

namespace {

struct Loaded {
  CurlFunctions functions;
  std::string problem;
};

bool Fill(void* library, CurlFunctions* functions, std::string* missing) {
#define TURSO_CURL_FILL(name)                                                                   \
  functions->name = reinterpret_cast<decltype(functions->name)>(dlsym(library, "curl_" #name)); \
  if (functions->name == nullptr) *missing = "curl_" #name;
  TURSO_CURL_FUNCTIONS(TURSO_CURL_FILL)
#undef TURSO_CURL_FILL
  return missing->empty();
}

Loaded* Load() {
  auto* loaded = new Loaded;
  for (const char* name : {"libcurl-gnutls.so.4", "libcurl.so.4"}) {
    void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) continue;
    std::string missing;
    if (Fill(library, &loaded->functions, &missing)) {
      // Never undone: the host may use libcurl too, and its counter of users is not safe in old
      // versions.
      loaded->functions.global_init(CURL_GLOBAL_DEFAULT);
      loaded->problem.clear();
      return loaded;
    }
    loaded->problem = std::string(name) + " is too old: it has no " + missing +
                      " (libcurl 7.74 or newer is needed)";
    dlclose(library);
  }
  if (loaded->problem.empty()) {
    loaded->problem =
        "libcurl is not installed: neither libcurl-gnutls.so.4 nor libcurl.so.4 can be loaded "
        "(Debian: "
        "apt-get install libcurl3-gnutls)";
  }
  return loaded;
}

const Loaded& LoadedOnce() {
  ForkGate::Inside inside;  // A child could not finish what its parent has begun.
  static const Loaded* loaded = Load();
  return *loaded;
}

}  // namespace

const CurlFunctions* LoadCurl() {
  return LoadedOnce().problem.empty() ? &LoadedOnce().functions : nullptr;
}
const std::string& CurlProblem() { return LoadedOnce().problem; }

}  // namespace turso
