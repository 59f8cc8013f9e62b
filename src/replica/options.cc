#include "src/replica/options.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "src/base/bytes.h"
#include "src/replica/sidecar_format.h"

namespace turso {

namespace {

bool SameIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return std::tolower(static_cast<unsigned char>(x)) ==
                  std::tolower(static_cast<unsigned char>(y));
         });
}

bool IsVisible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

// What was given for one option, and in whose name it is complained of.
struct Given {
  std::string value;
  std::string source;
};

Status Refused(const Given& given, const std::string& allowed) {
  return Status(Code::kInvalid, given.source + ": \"" + given.value + "\" is not " + allowed);
}

class Sources {
 public:
  Sources(const Lookup& uri, const Lookup& environment) : uri_(uri), environment_(environment) {}

  std::optional<Given> FromUri(const char* parameter) const {
    const char* value = uri_ ? uri_(parameter) : nullptr;
    if (value == nullptr) return std::nullopt;
    return Given{value, std::string("parameter ") + parameter + " of the database's URI"};
  }
  // A variable that is set to nothing is as good as unset.
  std::optional<Given> FromEnvironment(const char* variable) const {
    const char* value = environment_ ? environment_(variable) : nullptr;
    if (value == nullptr || *value == 0) return std::nullopt;
    return Given{value, std::string("environment variable ") + variable};
  }
  std::optional<Given> Find(const char* parameter, const char* variable) const {
    auto given = FromUri(parameter);
    return given ? given : FromEnvironment(variable);
  }

 private:
  const Lookup& uri_;
  const Lookup& environment_;
};

Status CheckUrl(const Given& given) {
  std::string_view url = given.value;
  size_t colon = url.find("://");
  std::string_view scheme = url.substr(0, colon == std::string_view::npos ? 0 : colon);
  bool known = SameIgnoringCase(scheme, "http") || SameIgnoringCase(scheme, "https") ||
               SameIgnoringCase(scheme, "libsql");
  std::string_view rest = known ? url.substr(colon + 3) : std::string_view();
  if (!known || rest.empty() || rest[0] == '/' || rest[0] == '?' || rest[0] == '#' ||
      rest[0] == ':') {
    return Refused(given,
                   "a primary's address: http://, https:// or libsql://, a host, and perhaps :port "
                   "and /database");
  }
  if (url.size() > kUrlMax || !IsVisible(url)) {
    return Status(Code::kInvalid, given.source + ": a primary's address has at most " +
                                      std::to_string(kUrlMax) +
                                      " bytes, all of them visible ASCII characters");
  }
  return OkStatus();
}

Status CheckToken(const std::string& token, const std::string& source) {
  if (IsVisible(token)) return OkStatus();
  return Status(Code::kInvalid,
                source + ": a token consists of visible ASCII characters without blanks");
}

// Whoever names credentials in the URI means these and no others: none of the environment are mixed
// in.
Status ResolvePrimary(const Sources& sources, const std::string& sidecar_url, Options* options) {
  options->sidecar_url = sidecar_url;
  auto uri_url = sources.FromUri("url");
  auto variable_url = sources.FromEnvironment("TURSO_DATABASE_URL");
  std::string uri_url_token, variable_url_token;
  for (auto [given, token] :
       {std::pair{&uri_url, &uri_url_token}, {&variable_url, &variable_url_token}}) {
    if (!*given) continue;
    (*given)->value = StripToken((*given)->value, token);
    bool used = given == &uri_url || (!uri_url && sidecar_url.empty());
    if (used) TURSO_RETURN_IF_ERROR(CheckUrl(**given));
  }
  if (uri_url) {
    options->url = uri_url->value;
  } else if (!sidecar_url.empty()) {
    options->url = sidecar_url;
  } else if (variable_url) {
    options->url = variable_url->value;
  }

  auto token = sources.FromUri("token");
  auto token_file = sources.FromUri("token_file");
  if (!token && !uri_url_token.empty())
    token = Given{uri_url_token, "authToken in " + uri_url->source};
  if (!token && !token_file) {
    token = sources.FromEnvironment("TURSO_AUTH_TOKEN");
    token_file = sources.FromEnvironment("TURSO_AUTH_TOKEN_FILE");
    // The token in a URL is for that URL only.
    if (!token && !variable_url_token.empty() && variable_url->value == options->url) {
      token = Given{variable_url_token, "authToken in " + variable_url->source};
    }
  }
  if (token) {
    TURSO_RETURN_IF_ERROR(CheckToken(token->value, token->source));
    options->token = token->value;
  }
  if (token_file) options->token_file = token_file->value;
  return OkStatus();
}

Status ResolveSync(const Sources& sources, Options* options) {
  auto given = sources.Find("sync_interval", "TURSO_VFS_SYNC_INTERVAL");
  if (!given) return OkStatus();
  if (given->value == "follow") {
    options->sync = SyncMode::kFollow;
  } else if (given->value == "off") {
    options->sync = SyncMode::kOff;
  } else if (auto interval = ParseDuration(given->value); interval && interval->count() > 0) {
    options->sync = SyncMode::kInterval;
    options->sync_interval = *interval;
  } else {
    return Refused(*given,
                   "allowed: follow, off, or a duration above zero such as 500ms, 5s or 2m");
  }
  return OkStatus();
}

Status ResolveStaleness(const Sources& sources, Options* options) {
  if (auto given = sources.Find("max_staleness", "TURSO_VFS_MAX_STALENESS")) {
    options->max_staleness = ParseDuration(given->value);
    if (!options->max_staleness && given->value != "none") {
      return Refused(*given, "allowed: none, or a duration such as 0, 500ms, 5s or 2m");
    }
  }
  if (auto given = sources.Find("on_stale", "TURSO_VFS_ON_STALE")) {
    if (given->value == "wait") {
      options->on_stale = OnStale::kWait;
    } else if (given->value == "error") {
      options->on_stale = OnStale::kError;
    } else if (given->value == "serve") {
      options->on_stale = OnStale::kServe;
    } else {
      return Refused(*given, "allowed: wait, error or serve");
    }
  }
  return OkStatus();
}

Status ResolveProtocol(const Sources& sources, Options* options) {
  auto given = sources.Find("protocol", "TURSO_VFS_PROTOCOL");
  if (!given) return OkStatus();
  for (const char* known : {"auto", "primary", "libsql", "libsql-sync", "pull-updates"}) {
    if (given->value == known) {
      options->protocol = known;
      return OkStatus();
    }
  }
  return Refused(*given, "allowed: auto, primary, libsql, libsql-sync or pull-updates");
}

Status ResolveHydrate(const Sources& sources) {
  auto given = sources.Find("hydrate", "TURSO_VFS_HYDRATE");
  if (!given || given->value == "full") return OkStatus();
  if (given->value == "lazy" || given->value == "never") {
    return Status(Code::kInvalid, given->source +
                                      ": this version keeps whole replicas only, so \"" +
                                      given->value + "\" cannot be had; allowed: full");
  }
  return Refused(*given, "allowed: full");
}

}  // namespace

Result<Options> ResolveOptions(const Lookup& uri, const std::string& sidecar_url,
                               const Lookup& environment) {
  Options options;
  const Sources sources(uri, environment);
  TURSO_RETURN_IF_ERROR(ResolvePrimary(sources, sidecar_url, &options));
  TURSO_RETURN_IF_ERROR(ResolveProtocol(sources, &options));
  TURSO_RETURN_IF_ERROR(ResolveSync(sources, &options));
  TURSO_RETURN_IF_ERROR(ResolveStaleness(sources, &options));
  TURSO_RETURN_IF_ERROR(ResolveHydrate(sources));
  if (auto given = sources.Find("timeout", "TURSO_VFS_TIMEOUT")) {
    auto timeout = ParseDuration(given->value);
    if (!timeout || timeout->count() == 0) {
      return Refused(*given, "allowed: a duration above zero such as 500ms, 5s or 2m");
    }
    options.timeout = *timeout;
  }
  return options;
}

std::optional<Duration> ParseDuration(const std::string& text) {
  constexpr int64_t kSecond = 1'000'000'000;
  constexpr int64_t kYear = 365 * 24 * 3600 * kSecond;
  size_t at = 0;
  int64_t whole = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; at++) {
    whole = whole * 10 + (text[at] - '0');
    if (whole > kYear) return std::nullopt;
  }
  if (at == 0) return std::nullopt;
  const size_t point = at;
  int64_t billionths = 0;
  if (at < text.size() && text[at] == '.') {
    int64_t place = kSecond / 10;
    for (at++; at < text.size() && text[at] >= '0' && text[at] <= '9'; at++, place /= 10) {
      billionths += place * (text[at] - '0');
    }
    if (at == point + 1) return std::nullopt;
  }
  const std::string unit_text = text.substr(at);
  int64_t unit;
  if (unit_text == "ms") {
    unit = kSecond / 1000;
  } else if (unit_text == "s" || unit_text.empty()) {
    unit = kSecond;
  } else if (unit_text == "m") {
    unit = 60 * kSecond;
  } else {
    return std::nullopt;
  }
  if (whole > kYear / unit) return std::nullopt;
  int64_t nanoseconds = whole * unit + billionths * (unit / 1'000'000) / 1000;
  if (nanoseconds > kYear) return std::nullopt;
  return Duration(nanoseconds);
}

std::string PercentDecoded(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '%' && i + 2 < text.size()) {
      if (auto byte = FromHex(text.substr(i + 1, 2))) {
        decoded += static_cast<char>((*byte)[0]);
        i += 2;
        continue;
      }
    }
    decoded += text[i];
  }
  return decoded;
}

std::string StripToken(const std::string& url, std::string* token) {
  token->clear();
  std::string_view rest = url;
  std::string stripped;
  if (size_t colon = rest.find("://");
      colon != std::string_view::npos && colon < rest.find_first_of("/?#")) {
    stripped = rest.substr(0, colon + 3);
    rest.remove_prefix(colon + 3);
    const size_t at = rest.substr(0, rest.find_first_of("/?#")).rfind('@');
    if (at != std::string_view::npos) rest.remove_prefix(at + 1);
    std::string_view host = rest.substr(0, rest.find_first_of("/?#&"));
    rest.remove_prefix(host.size());
    stripped += host;
  }
  std::string_view fragment = rest.substr(std::min(rest.find('#'), rest.size()));
  rest.remove_suffix(fragment.size());
  // An & without a ? comes of a URL that was appended to without looking; it begins the query, too.
  size_t question = rest.find_first_of("?&");
  stripped += rest.substr(0, question);
  char separator = question < rest.size() ? rest[question] : '?';
  while (question != std::string_view::npos) {
    rest.remove_prefix(question + 1);
    question = rest.find('&');
    std::string_view parameter = rest.substr(0, question);
    size_t equals = std::min(parameter.find('='), parameter.size());
    if (SameIgnoringCase(PercentDecoded(parameter.substr(0, equals)), "authToken")) {
      if (equals < parameter.size()) *token = PercentDecoded(parameter.substr(equals + 1));
    } else {
      stripped += separator;
      stripped += parameter;
      separator = '&';
    }
  }
  stripped += fragment;
  return stripped;
}

}  // namespace turso
