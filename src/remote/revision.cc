#include <cstring>

#include "src/base/guard.h"
#include "src/remote/remote.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace turso {

std::optional<Revision> Revision::Parse(std::string_view text) {
  if (text.size() > kMaxLength) return std::nullopt;
  Revision revision;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] <= ' ' || text[i] > '~') return std::nullopt;
    revision.text_[i] = text[i];
  }
  return revision;
}

PageHash HashPage(PageNo page, ByteView image) {
  XXH128_hash_t hash;
  if (page.value == 1 && image.size() > kWriteVersionAt &&
      image[kWriteVersionAt] != kWalModeVersion) {
    Bytes copy(image.begin(), image.end());
    copy[kWriteVersionAt] = kWalModeVersion;
    hash = XXH3_128bits(copy.data(), copy.size());
  } else {
    hash = XXH3_128bits(image.data(), image.size());
  }
  return {hash.low64, hash.high64};
}

}  // namespace turso
