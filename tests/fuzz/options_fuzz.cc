// What a user may say about a replica: options of the URI and of the environment, and URLs.
// Input: texts (length u16): url, token, token_file, protocol, sync_interval, max_staleness,
//        on_stale, hydrate, timeout of the URI; the same of the environment; the sidecar's URL.

#include <array>
#include <map>

#include "src/remote/primary_url.h"
#include "src/replica/options.h"
#include "src/replica/sidecar_format.h"
#include "tests/fuzz/fuzz.h"

namespace turso {
namespace {

constexpr std::array<const char*, 9> kParameters = {"url",      "token",         "token_file",
                                                    "protocol", "sync_interval", "max_staleness",
                                                    "on_stale", "hydrate",       "timeout"};
constexpr std::array<const char*, 9> kVariables = {
    "TURSO_DATABASE_URL", "TURSO_AUTH_TOKEN",        "TURSO_AUTH_TOKEN_FILE",
    "TURSO_VFS_PROTOCOL", "TURSO_VFS_SYNC_INTERVAL", "TURSO_VFS_MAX_STALENESS",
    "TURSO_VFS_ON_STALE", "TURSO_VFS_HYDRATE",       "TURSO_VFS_TIMEOUT"};

using Texts = std::map<std::string, std::string>;

Texts TakeTexts(fuzz::Input* in, const std::array<const char*, 9>& names) {
  Texts texts;
  for (const char* name : names) {
    const std::string text(in->Text());
    if (!text.empty()) texts[name] = text.c_str();  // A text of C's ends with its first zero.
  }
  return texts;
}

Lookup In(const Texts& texts) {
  return [&texts](const char* name) -> const char* {
    auto found = texts.find(name);
    return found == texts.end() ? nullptr : found->second.c_str();
  };
}

void CheckUrl(const std::string& text) {
  Result<PrimaryUrl> url = ParsePrimaryUrl(text);
  if (!url.ok()) {
    TURSO_REQUIRE(url.status().code() == Code::kInvalid && !url.status().text().empty());
    return;
  }
  TURSO_REQUIRE(url->base.rfind("http", 0) == 0 && url->base.back() != '/' && !url->host.empty());
  TURSO_REQUIRE(url->base.find_first_of("?#@ ") == std::string::npos ||
                url->base.find('@') > url->base.find('/', url->base.find("://") + 3));
  Result<PrimaryUrl> again = ParsePrimaryUrl(url->base);
  TURSO_REQUIRE(again.ok() && again->base == url->base && again->token.empty());
  TURSO_REQUIRE(again->host == url->host);
}

// What is shown and stored of a URL has no credentials.
void CheckStripped(const std::string& text) {
  std::string token;
  const std::string stripped = StripToken(text, &token);
  TURSO_REQUIRE(stripped.size() <= text.size());
  std::string left;
  TURSO_REQUIRE_OF(StripToken(stripped, &left) == stripped && left.empty(), stripped);
  Result<PrimaryUrl> url = ParsePrimaryUrl(stripped);
  TURSO_REQUIRE_OF(!url.ok() || url->token.empty(), stripped);
  // The two readers of a token agree, unless it may be a password as well.
  Result<PrimaryUrl> whole = ParsePrimaryUrl(text);
  if (text.find('@') == std::string::npos && whole.ok() && !whole->token.empty())
    TURSO_REQUIRE_OF(token == whole->token, text);
}

void CheckDuration(const std::string& text) {
  std::optional<Duration> duration = ParseDuration(text);
  if (!duration) return;
  TURSO_REQUIRE(duration->count() >= 0 && *duration <= std::chrono::hours(24 * 365));
  const int64_t ms = duration->count() / 1'000'000;
  TURSO_REQUIRE(ParseDuration(std::to_string(ms) + "ms") == milliseconds(ms));
}

void CheckResolved(const Result<Options>& options, const std::string& sidecar_url) {
  if (!options.ok()) {
    TURSO_REQUIRE(options.status().code() == Code::kInvalid && !options.status().text().empty());
    return;
  }
  TURSO_REQUIRE(options->timeout.count() > 0 && options->sync_interval.count() > 0);
  TURSO_REQUIRE(!options->max_staleness || options->max_staleness->count() >= 0);
  if (options->url == sidecar_url) return;
  // What the sidecar will be asked to keep, it can keep, and it is no secret.
  SidecarRecord record;
  record.url = options->url;
  TURSO_REQUIRE(CheckRecord(record).ok());
  CheckStripped(options->url);
  std::string token;
  TURSO_REQUIRE_OF(StripToken(options->url, &token) == options->url, options->url);
}

}  // namespace
}  // namespace turso

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turso;
  fuzz::Input in({data, size});
  const Texts uri = TakeTexts(&in, kParameters);
  const Texts environment = TakeTexts(&in, kVariables);
  const std::string sidecar_url(in.Text());
  fuzz::AllocationMeter meter;
  const Result<Options> options = ResolveOptions(In(uri), sidecar_url, In(environment));
  CheckResolved(options, sidecar_url);
  for (const Texts& texts : {uri, environment}) {
    for (const auto& [name, text] : texts) {
      CheckUrl(text);
      CheckStripped(text);
      CheckDuration(text);
    }
  }
  TURSO_REQUIRE(meter.peak() <= 64 * size + (64u << 10));
  return 0;
}
