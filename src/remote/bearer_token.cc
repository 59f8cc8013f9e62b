#include "src/remote/bearer_token.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace turso {

namespace {

constexpr size_t kFileBytesMax = 64 << 10;

}  // namespace

Status BearerToken::ReadFile(std::string* token) const {
  std::FILE* file = std::fopen(file_.c_str(), "re");
  if (!file) {
    return Status(Code::kDenied, "token file " + file_ + ": " + std::strerror(errno));
  }
  std::string text(kFileBytesMax + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  bool failed = std::ferror(file) != 0;
  std::fclose(file);
  if (failed) return Status(Code::kDenied, "token file " + file_ + ": cannot be read");
  constexpr const char* kBlanks = " \t\r\n";
  size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string::npos || text.size() > kFileBytesMax) {
    return Status(Code::kDenied, "token file " + file_ + ": holds no token");
  }
  text = text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
  if (text.find_first_of(kBlanks) != std::string::npos) {
    return Status(Code::kDenied, "token file " + file_ + ": holds more than one token");
  }
  *token = std::move(text);
  return OkStatus();
}

Status BearerToken::Load() {
  if (token_) return OkStatus();
  std::string token = given_;
  if (!file_.empty()) TURSO_RETURN_IF_ERROR(ReadFile(&token));
  token_ = std::move(token);
  return OkStatus();
}

Result<bool> BearerToken::Renew() {
  if (file_.empty()) return false;
  std::string token;
  TURSO_RETURN_IF_ERROR(ReadFile(&token));
  if (token == token_) return false;
  token_ = std::move(token);
  return true;
}

}  // namespace turso
