// The address of a primary, as a user writes it:
//
//   url       := scheme "://" host [":" port] ["/" database] ["?" "authToken=" token]
//   scheme    := "http" | "https" | "libsql", which is https
//
// Pure; any thread.

#ifndef TURSO_SRC_REMOTE_PRIMARY_URL_H_
#define TURSO_SRC_REMOTE_PRIMARY_URL_H_

#include <string>
#include <string_view>

#include "src/base/status.h"

namespace turso {

struct PrimaryUrl {
  std::string base;      // http(s)://host[:port]/database; without one, the database is `main`.
  std::string origin;    // http(s)://host[:port]
  std::string database;  // As in `base`, and empty if the URL names none.
  std::string host;      // [::1] in its brackets.
  std::string token;     // Decoded; empty if there is none.
};

// kInvalid, with a text that names the URL without what may be secret in it.
Result<PrimaryUrl> ParsePrimaryUrl(std::string_view url);

// That failure, for what else a URL is refused for.
Status InvalidPrimaryUrl(std::string_view url, std::string_view why);

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_PRIMARY_URL_H_
