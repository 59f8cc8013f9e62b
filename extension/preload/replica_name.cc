#include "extension/preload/replica_name.h"

#include <fnmatch.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

namespace turso::preload {

namespace {

constexpr char kSidecarSuffix[] = "-turso";              // Sidecar::PathFor
constexpr char kMarkAttribute[] = "user.turso.replica";  // kMarkAttribute in src/replica/sidecar.cc
constexpr char kScheme[] = "file:";
constexpr size_t kSchemeLength = sizeof kScheme - 1;

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The path of a URI: https://sqlite.org/uri.html. What is too long is cut, and is no file then.
void PathOf(const char* uri, char (&path)[PATH_MAX]) {
  const char* from = uri + kSchemeLength;
  if (from[0] == '/' && from[1] == '/') {  // An authority: empty, or localhost.
    from += 2;
    while (*from != '\0' && *from != '/') ++from;
  }
  size_t length = 0;
  for (; *from != '\0' && *from != '?' && *from != '#' && length + 1 < sizeof path; ++from) {
    if (*from == '%' && HexDigit(from[1]) >= 0 && HexDigit(from[2]) >= 0) {
      path[length++] = static_cast<char>(HexDigit(from[1]) * 16 + HexDigit(from[2]));
      from += 2;
    } else {
      path[length++] = *from;
    }
  }
  path[length] = '\0';
}

bool QueryNamesUs(const char* uri) {
  constexpr char kParameter[] = "vfs=turso";
  constexpr size_t kLength = sizeof kParameter - 1;
  const char* at = strchr(uri, '?');
  while (at != nullptr) {
    ++at;
    const char end = strncmp(at, kParameter, kLength) == 0 ? at[kLength] : 'x';
    if (end == '\0' || end == '&' || end == '#') return true;
    at = strchr(at, '&');
  }
  return false;
}

bool IsListed(const char* path) {
  const char* list = getenv("TURSO_VFS_FILES");
  const char* slash = strrchr(path, '/');
  const char* file_name = slash == nullptr ? path : slash + 1;
  while (list != nullptr && *list != '\0') {
    const char* end = strchrnul(list, ':');
    char glob[PATH_MAX];
    snprintf(glob, sizeof glob, "%.*s", static_cast<int>(end - list), list);
    const char* subject = strchr(glob, '/') == nullptr ? file_name : path;
    if (glob[0] != '\0' && fnmatch(glob, subject, 0) == 0) return true;
    list = *end == '\0' ? nullptr : end + 1;
  }
  return false;
}

bool IsReplicaPath(const char* path) {
  char resolved[PATH_MAX];
  if (realpath(path, resolved) == nullptr) snprintf(resolved, sizeof resolved, "%s", path);
  char sidecar[PATH_MAX + sizeof kSidecarSuffix];
  snprintf(sidecar, sizeof sidecar, "%s%s", resolved, kSidecarSuffix);
  struct stat attributes;
  return stat(sidecar, &attributes) == 0 || getxattr(resolved, kMarkAttribute, nullptr, 0) >= 0 ||
         IsListed(resolved);
}

size_t Encode(uint32_t c, char* to) {
  if (c < 0x80) {
    to[0] = static_cast<char>(c);
    return 1;
  }
  if (c < 0x800) {
    to[0] = static_cast<char>(0xC0 | c >> 6);
    to[1] = static_cast<char>(0x80 | (c & 0x3F));
    return 2;
  }
  if (c < 0x10000) {
    to[0] = static_cast<char>(0xE0 | c >> 12);
    to[1] = static_cast<char>(0x80 | (c >> 6 & 0x3F));
    to[2] = static_cast<char>(0x80 | (c & 0x3F));
    return 3;
  }
  to[0] = static_cast<char>(0xF0 | c >> 18);
  to[1] = static_cast<char>(0x80 | (c >> 12 & 0x3F));
  to[2] = static_cast<char>(0x80 | (c >> 6 & 0x3F));
  to[3] = static_cast<char>(0x80 | (c & 0x3F));
  return 4;
}

}  // namespace

bool IsReplica(const char* name) {
  if (name == nullptr || *name == '\0' || strcmp(name, ":memory:") == 0) return false;
  // Tests want every new file to be a replica.
  if (getenv("TURSO_VFS_PROVISION") != nullptr) return true;
  if (strncmp(name, kScheme, kSchemeLength) == 0) {
    if (QueryNamesUs(name)) return true;
    char path[PATH_MAX];
    PathOf(name, path);
    if (path[0] != '\0' && IsReplicaPath(path)) return true;
  }
  return IsReplicaPath(name);
}

bool IsReplica16(const void* name) {
  if (name == nullptr) return false;
  const auto* from = static_cast<const uint16_t*>(name);
  char text[PATH_MAX];
  size_t length = 0;
  while (*from != 0 && length + 5 < sizeof text) {
    uint32_t c = *from++;
    if (c >= 0xD800 && c < 0xDC00 && *from >= 0xDC00 && *from < 0xE000) {
      c = 0x10000 + ((c - 0xD800) << 10) + (*from++ - 0xDC00u);
    }
    length += Encode(c, text + length);
  }
  text[length] = '\0';
  return IsReplica(text);
}

}  // namespace turso::preload
