// What the user may say about a replica, and whose word counts: URI parameter, then sidecar, then
// environment, then default. Pure but for the reading of durations and numbers; any thread.

#ifndef TURSO_SRC_REPLICA_OPTIONS_H_
#define TURSO_SRC_REPLICA_OPTIONS_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/clock.h"
#include "src/base/status.h"

namespace turso {

enum class SyncMode { kFollow, kInterval, kOff };
enum class OnStale { kWait, kError, kServe };

struct Options {
  std::string url;    // Without any token; empty if nobody named one.
  std::string token;  // From `token`, TURSO_AUTH_TOKEN, or authToken= in the URL.
  std::string token_file;
  std::string protocol = "auto";
  SyncMode sync = SyncMode::kFollow;
  Duration sync_interval = seconds(1);  // For kInterval.
  std::optional<Duration> max_staleness;
  OnStale on_stale = OnStale::kWait;
  Duration timeout = seconds(10);
  // `url` names a database that is as new as the replica: one that is there already stays what it
  // is, and what was left of a deleted one does not count.
  bool provisioned = false;
  std::string sidecar_url;  // What the sidecar says, to notice that another one was asked for.
};

// Null for "not given".
using Lookup = std::function<const char*(const char* name)>;

// `uri` answers for the parameters of the open, `environment` is getenv or a test's. An unknown
// value is kInvalid and its text names the parameter or the variable, where it came from, and what
// is allowed. `hydrate` other than `full` is kInvalid in this version, with a text that says so.
Result<Options> ResolveOptions(const Lookup& uri, const std::string& sidecar_url,
                               const Lookup& environment);

// "500ms", "5s", "2m"; a bare number is seconds, also with a fraction. Nothing if it is neither,
// negative, or over a year.
std::optional<Duration> ParseDuration(const std::string& text);

// A URL without credentials: `authToken` taken out of the query, user:password@ out of the
// authority. `token` gets the token if there was one.
std::string StripToken(const std::string& url, std::string* token);

// What a part of a URI stands for: %41 is A. What is no such triple stands for itself.
std::string PercentDecoded(std::string_view text);

}  // namespace turso

#endif  // TURSO_SRC_REPLICA_OPTIONS_H_
