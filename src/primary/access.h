// What a request may do, decided from its bearer token before its body is read.

#ifndef TURSO_SRC_PRIMARY_ACCESS_H_
#define TURSO_SRC_PRIMARY_ACCESS_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/status.h"

namespace turso {

enum class Access { kNone, kRead, kWrite };

// The tokens that the server knows. Without any, everybody may write (the server then listens on
// loopback only). Immutable once made; any thread.
class Tokens {
 public:
  Tokens() = default;

  // Reads one token a line; empty lines and lines that start with '#' are skipped. kInvalid if the
  // file has none.
  Status AddFile(const std::string& path, Access access);
  void Add(std::string_view token, Access access);

  bool empty() const { return tokens_.empty(); }
  // What the Authorization header allows. Takes the same time whichever token it is compared with,
  // and however many of its characters are right.
  Access Check(std::optional<std::string_view> authorization) const;

 private:
  struct Token {
    std::string digest;
    Access access;
  };
  std::vector<Token> tokens_;
};

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_ACCESS_H_
