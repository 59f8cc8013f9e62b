#include "src/primary/access.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include <fstream>
#include <utility>

namespace turso {

namespace {

constexpr size_t kDigestSize = 32;

// Digests have one length, so comparing them tells nothing of the length of a token.
std::string Digest(std::string_view text) {
  std::string digest(kDigestSize, '\0');
  gnutls_hash_fast(GNUTLS_DIG_SHA256, text.data(), text.size(), digest.data());
  return digest;
}

std::string_view Trim(std::string_view text) {
  const char* kSpace = " \t\r\n";
  size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::optional<std::string_view> BearerToken(std::string_view header) {
  constexpr std::string_view kScheme = "bearer ";
  if (header.size() < kScheme.size()) return std::nullopt;
  for (size_t i = 0; i < kScheme.size(); ++i) {
    char c = header[i];
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c != kScheme[i]) return std::nullopt;
  }
  return Trim(header.substr(kScheme.size()));
}

}  // namespace

Status Tokens::AddFile(const std::string& path, Access access) {
  std::ifstream file(path);
  if (!file) return Status(Code::kInvalid, "cannot read the token file " + path);
  size_t before = tokens_.size();
  std::string line;
  while (std::getline(file, line)) {
    std::string_view token = Trim(line);
    if (token.empty() || token[0] == '#') continue;
    Add(token, access);
  }
  if (file.bad()) return Status(Code::kInvalid, "cannot read the token file " + path);
  if (tokens_.size() == before) return Status(Code::kInvalid, "no token in the token file " + path);
  return OkStatus();
}

void Tokens::Add(std::string_view token, Access access) {
  tokens_.push_back({Digest(token), access});
}

Access Tokens::Check(std::optional<std::string_view> authorization) const {
  if (tokens_.empty()) return Access::kWrite;
  if (!authorization) return Access::kNone;
  std::optional<std::string_view> token = BearerToken(*authorization);
  if (!token) return Access::kNone;
  std::string digest = Digest(*token);
  Access access = Access::kNone;
  for (const Token& known : tokens_) {
    bool same = gnutls_memcmp(known.digest.data(), digest.data(), kDigestSize) == 0;
    if (same && known.access > access) access = known.access;
  }
  return access;
}

}  // namespace turso
