#include "src/remote/primary_url.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "src/base/bytes.h"

namespace turso {

namespace {

constexpr std::string_view kForm = "expected http(s)://host[:port][/database] or libsql://…";

// What may be shown and stored of `url`: no query, no user and password.
std::string WithoutSecrets(std::string_view url) {
  std::string shown(url.substr(0, url.find_first_of("?#&")));
  size_t authority = shown.find("://");
  authority = authority == std::string::npos ? 0 : authority + 3;
  size_t at = shown.rfind('@', shown.find('/', authority));
  if (at != std::string::npos && at >= authority) shown.erase(authority, at + 1 - authority);
  return shown;
}

bool IsPlain(char c) { return c > ' ' && c <= '~' && !std::strchr("\"<>\\^`{|}", c); }

Result<std::string> PercentDecoded(std::string_view url, std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    std::optional<Bytes> byte = FromHex(text.substr(i + 1, 2));
    if (!byte || byte->size() != 1)
      return InvalidPrimaryUrl(url, "a % in authToken that encodes nothing");
    decoded += static_cast<char>((*byte)[0]);
    i += 2;
  }
  return decoded;
}

Status CheckPort(std::string_view url, std::string_view port) {
  unsigned value = 0;
  bool is_number = !port.empty() && port.size() <= 5;
  for (char c : port) {
    is_number = is_number && c >= '0' && c <= '9';
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  if (!is_number || value == 0 || value > 65535)
    return InvalidPrimaryUrl(url, "the port is no port number");
  return OkStatus();
}

// authority := host[:port]
Status TakeAuthority(std::string_view url, std::string_view authority, PrimaryUrl* parsed) {
  if (authority.find('@') != std::string_view::npos) {
    return InvalidPrimaryUrl(url,
                             "a user name or password in a URL is not used; give a token instead");
  }
  size_t host_length = authority.find(':');
  if (!authority.empty() && authority[0] == '[') {
    host_length = authority.find(']');
    if (host_length == std::string_view::npos)
      return InvalidPrimaryUrl(url, "an IPv6 address without its ]");
    host_length++;
  }
  parsed->host = authority.substr(0, host_length);
  std::string_view rest = authority.substr(parsed->host.size());
  bool is_plain = std::all_of(parsed->host.begin(), parsed->host.end(), IsPlain);
  if (parsed->host.empty() || !is_plain)
    return InvalidPrimaryUrl(url, "no host name; " + std::string(kForm));
  if (rest.empty()) return OkStatus();
  if (rest[0] != ':') return InvalidPrimaryUrl(url, kForm);
  return CheckPort(url, rest.substr(1));
}

Status TakeQuery(std::string_view url, std::string_view query, PrimaryUrl* parsed) {
  while (!query.empty()) {
    std::string_view field = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), field.size() + 1));
    if (field.empty()) continue;
    std::string_view name = field.substr(0, field.find('='));
    if (name != "authToken") {
      // Its value might be a secret, too: only the name is shown.
      return InvalidPrimaryUrl(
          url, "unknown parameter \"" + std::string(name) + "\"; only authToken is known");
    }
    Result<std::string> token =
        PercentDecoded(url, field.substr(std::min(field.size(), name.size() + 1)));
    if (!token.ok()) return token.status();
    parsed->token = *token;
  }
  return OkStatus();
}

Status TakePath(std::string_view url, std::string_view path, std::string* database) {
  while (!path.empty() && path.back() == '/') path.remove_suffix(1);
  if (!std::all_of(path.begin(), path.end(), IsPlain)) {
    return InvalidPrimaryUrl(url, "a character in the path that must be percent-encoded");
  }
  std::string_view rest = path;
  while (!rest.empty()) {
    rest.remove_prefix(1);
    std::string_view segment = rest.substr(0, rest.find('/'));
    if (segment.empty() || segment == "." || segment == "..") {
      return InvalidPrimaryUrl(url, "a path with an empty, \".\" or \"..\" segment");
    }
    rest.remove_prefix(segment.size());
  }
  *database = path;
  return OkStatus();
}

}  // namespace

Result<PrimaryUrl> ParsePrimaryUrl(std::string_view url) {
  size_t scheme_length = url.find("://");
  if (scheme_length == std::string_view::npos) return InvalidPrimaryUrl(url, kForm);
  std::string scheme(url.substr(0, scheme_length));
  for (char& c : scheme) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (scheme == "libsql") scheme = "https";
  if (scheme != "http" && scheme != "https") {
    return InvalidPrimaryUrl(url, "unknown scheme \"" + scheme + "\"; " + std::string(kForm));
  }
  std::string_view rest = url.substr(scheme_length + 3);
  if (rest.find('#') != std::string_view::npos)
    return InvalidPrimaryUrl(url, "a # has no meaning here");
  // An & without a ? comes of a URL that was appended to without looking.
  size_t query_at = std::min(rest.find_first_of("?&"), rest.size());
  std::string_view query = rest.substr(std::min(rest.size(), query_at + 1));
  rest = rest.substr(0, query_at);
  size_t path_at = std::min(rest.find('/'), rest.size());
  PrimaryUrl parsed;
  std::string database;
  TURSO_RETURN_IF_ERROR(TakeAuthority(url, rest.substr(0, path_at), &parsed));
  TURSO_RETURN_IF_ERROR(TakePath(url, rest.substr(path_at), &database));
  TURSO_RETURN_IF_ERROR(TakeQuery(url, query, &parsed));
  parsed.origin = scheme + "://" + std::string(rest.substr(0, path_at));
  parsed.base = parsed.origin + (database.empty() ? "/main" : database);
  parsed.database = database.substr(std::min<size_t>(database.size(), 1));
  return parsed;
}

Status InvalidPrimaryUrl(std::string_view url, std::string_view why) {
  return Status(Code::kInvalid, "URL " + WithoutSecrets(url) + ": " + std::string(why));
}

}  // namespace turso
