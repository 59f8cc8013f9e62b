// The token that a primary is shown: one given, or the one in a file, which is read at first use
// and again when it was refused. One thread.

#ifndef TURSO_SRC_REMOTE_BEARER_TOKEN_H_
#define TURSO_SRC_REMOTE_BEARER_TOKEN_H_

#include <optional>
#include <string>

#include "src/base/status.h"

namespace turso {

class BearerToken {
 public:
  // `file` wins, if it is not empty.
  BearerToken(std::string token, std::string file)
      : given_(std::move(token)), file_(std::move(file)) {}

  // kDenied: the file cannot be read, or holds no token.
  Status Load();
  // After a refusal: whether there is another one now.
  Result<bool> Renew();
  // Empty for none, and before Load().
  std::string text() const { return token_.value_or(""); }

 private:
  Status ReadFile(std::string* token) const;

  const std::string given_;
  const std::string file_;
  std::optional<std::string> token_;
};

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_BEARER_TOKEN_H_
