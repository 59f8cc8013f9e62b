#include "src/changes/sql.h"

#include <algorithm>

#include "src/format/text.h"

namespace turso {

namespace {

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }
bool IsWordCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '$' || static_cast<unsigned char>(c) >= 0x80;
}

// The length of what `sql` begins with and that is no token; 0 if it begins with one.
size_t SkipLength(std::string_view sql) {
  if (IsBlank(sql[0])) return 1;
  const std::string_view start = sql.substr(0, 2);
  if (start != "--" && start != "/*") return 0;
  const std::string_view end = start == "--" ? "\n" : "*/";
  const size_t found = sql.find(end, 2);
  return found == std::string_view::npos ? sql.size() : found + end.size();
}

// The length of what begins with a quote, to the next that is not doubled.
size_t QuotedLength(std::string_view sql) {
  const char quote = sql[0] == '[' ? ']' : sql[0];
  for (size_t i = 1; i < sql.size(); ++i) {
    if (sql[i] != quote) continue;
    if (quote == ']' || i + 1 >= sql.size() || sql[i + 1] != quote) return i + 1;
    ++i;
  }
  return sql.size();
}

Token FirstToken(std::string_view sql) {
  const char c = sql[0];
  if (c == '"' || c == '`' || c == '[')
    return {Token::Kind::kQuotedName, sql.substr(0, QuotedLength(sql))};
  if (c == '\'') return {Token::Kind::kOther, sql.substr(0, QuotedLength(sql))};
  if (!IsWordCharacter(c)) return {Token::Kind::kOther, sql.substr(0, 1)};
  size_t length = 1;
  while (length < sql.size() && IsWordCharacter(sql[length])) ++length;
  const bool digit = c >= '0' && c <= '9';
  return {digit ? Token::Kind::kOther : Token::Kind::kWord, sql.substr(0, length)};
}

}  // namespace

std::string QuoteName(std::string_view name) {
  std::string quoted = "\"";
  for (char c : name) {
    quoted += c;
    if (c == '"') quoted += c;
  }
  return quoted + '"';
}

std::vector<Token> Tokens(std::string_view sql) {
  std::vector<Token> tokens;
  while (!sql.empty()) {
    if (const size_t skip = SkipLength(sql)) {
      sql = sql.substr(skip);
      continue;
    }
    tokens.push_back(FirstToken(sql));
    sql = sql.substr(tokens.back().text.size());
  }
  return tokens;
}

bool IsKeyword(const Token& token, std::string_view keyword) {
  return token.kind == Token::Kind::kWord && EqualNames(token.text, keyword);
}

bool HasKeyword(std::string_view sql, std::string_view keyword) {
  const std::vector<Token> tokens = Tokens(sql);
  return std::any_of(tokens.begin(), tokens.end(),
                     [&](const Token& token) { return IsKeyword(token, keyword); });
}

std::vector<std::string> SplitAtCommas(std::string_view sql) {
  std::vector<std::string> parts;
  int depth = 0;
  const char* start = sql.data();
  auto add = [&](const char* end) {
    std::string_view part(start, static_cast<size_t>(end - start));
    while (!part.empty() && IsBlank(part.front())) part.remove_prefix(1);
    while (!part.empty() && IsBlank(part.back())) part.remove_suffix(1);
    parts.emplace_back(part);
    start = end + 1;
  };
  for (const Token& token : Tokens(sql)) {
    if (token.text == "(") ++depth;
    if (token.text == ")") --depth;
    if (token.text == "," && depth == 0) add(token.text.data());
  }
  add(sql.data() + sql.size());
  return parts;
}

TriggerEvent EventOf(std::string_view create_trigger) {
  // CREATE TRIGGER name [BEFORE | AFTER | INSTEAD OF] event: SQLite keeps no more than that in
  // front.
  const std::vector<Token> tokens = Tokens(create_trigger);
  for (size_t i = 3; i < tokens.size() && i < 6; ++i) {
    if (IsKeyword(tokens[i], "INSERT")) return TriggerEvent::kInsert;
    if (IsKeyword(tokens[i], "UPDATE")) return TriggerEvent::kUpdate;
    if (IsKeyword(tokens[i], "DELETE")) return TriggerEvent::kDelete;
  }
  return TriggerEvent::kUnknown;
}

}  // namespace turso
