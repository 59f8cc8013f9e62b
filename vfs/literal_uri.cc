#include "vfs/literal_uri.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "src/replica/options.h"

namespace turso {

namespace {

constexpr std::string_view kScheme = "file:";
constexpr std::string_view kOfSqlite[] = {"mode", "cache", "immutable", "nolock", "psow", "modeof"};

struct Expected {
  std::string full_path;
  UriParameters parameters;
};
thread_local std::optional<Expected> t_expected;

UriParameters ReadQuery(std::string_view query) {
  UriParameters parameters;
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    const size_t equals = pair.find('=');
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    // The first of two counts, as in sqlite3_uri_parameter().
    if (!pair.empty())
      parameters.emplace(PercentDecoded(pair.substr(0, equals)), PercentDecoded(value));
  }
  return parameters;
}

}  // namespace

std::optional<Result<LiteralUri>> ReadLiteralUri(const std::string& name) {
  std::string_view rest = name;
  if (rest.substr(0, kScheme.size()) != kScheme) return std::nullopt;
  rest.remove_prefix(kScheme.size());
  rest = rest.substr(0, rest.find('#'));
  const size_t question = rest.find('?');
  if (question == std::string_view::npos) return std::nullopt;
  LiteralUri uri;
  uri.parameters = ReadQuery(rest.substr(question + 1));
  const auto vfs = uri.parameters.find("vfs");
  if (vfs == uri.parameters.end() || vfs->second != "turso") return std::nullopt;
  for (const std::string_view parameter : kOfSqlite) {
    if (uri.parameters.count(std::string(parameter)) != 0) {
      return Result<LiteralUri>(Status(
          Code::kInvalid, name + ": URIs are off in this program, so that SQLite cannot heed " +
                              std::string(parameter) + "=: leave it out"));
    }
  }
  std::string_view path = rest.substr(0, question);
  if (path.substr(0, 2) == "//") {
    const size_t end = path.find('/', 2);
    const std::string_view authority =
        path.substr(2, end == std::string_view::npos ? end : end - 2);
    if (!authority.empty() && authority != "localhost") {
      return Result<LiteralUri>(Status(
          Code::kInvalid, name + ": a file is on no other host (" + std::string(authority) + ")"));
    }
    path = end == std::string_view::npos ? std::string_view() : path.substr(end);
  }
  uri.path = PercentDecoded(path);
  if (uri.path.empty() || uri.path.find('\0') != std::string::npos) {
    return Result<LiteralUri>(Status(Code::kInvalid, name + ": names no file"));
  }
  return Result<LiteralUri>(std::move(uri));
}

void ExpectOpen(const std::string& full_path, UriParameters parameters) {
  t_expected = Expected{full_path, std::move(parameters)};
}

void ExpectNoOpen() { t_expected.reset(); }

UriParameters TakeExpected(const std::string& full_path) {
  const std::optional<Expected> expected = std::exchange(t_expected, std::nullopt);
  return expected && expected->full_path == full_path ? expected->parameters : UriParameters();
}

}  // namespace turso
