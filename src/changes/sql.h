// SQL as text: names, and just enough of its tokens to cut a statement at the right places.

#ifndef TURSO_SRC_CHANGES_SQL_H_
#define TURSO_SRC_CHANGES_SQL_H_

#include <string>
#include <string_view>
#include <vector>

namespace turso {

// As a name that can be nothing else: "a ""b""".
std::string QuoteName(std::string_view name);

struct Token {
  enum class Kind { kWord, kQuotedName, kOther };  // kOther: numbers, strings, signs.
  Kind kind = Kind::kOther;
  std::string_view text;
};

// Blanks and comments are no tokens. The views are into `sql`.
std::vector<Token> Tokens(std::string_view sql);
// Whether the token is this keyword, in either case.
bool IsKeyword(const Token& token, std::string_view keyword);
bool HasKeyword(std::string_view sql, std::string_view keyword);

// The parts between commas that are not in parentheses, without blanks around them.
std::vector<std::string> SplitAtCommas(std::string_view sql);

// What makes a trigger fire: from "CREATE TRIGGER ...".
enum class TriggerEvent { kInsert, kUpdate, kDelete, kUnknown };
TriggerEvent EventOf(std::string_view create_trigger);

}  // namespace turso

#endif  // TURSO_SRC_CHANGES_SQL_H_
