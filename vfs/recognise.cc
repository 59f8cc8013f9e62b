#include "vfs/recognise.h"

#include <fnmatch.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <cstdlib>

#include "src/replica/sidecar.h"

namespace turso {

namespace {

std::string FileName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// TURSO_VFS_FILES: names or globs, ":" between; one with a slash is held against the whole path.
bool IsListed(const std::string& path) {
  const char* list = std::getenv("TURSO_VFS_FILES");
  if (list == nullptr) return false;
  std::string rest = list;
  while (!rest.empty()) {
    size_t end = rest.find(':');
    std::string glob = rest.substr(0, end);
    rest = end == std::string::npos ? "" : rest.substr(end + 1);
    if (glob.empty()) continue;
    const std::string subject = glob.find('/') == std::string::npos ? FileName(path) : path;
    if (fnmatch(glob.c_str(), subject.c_str(), 0) == 0) return true;
  }
  return false;
}

constexpr size_t kProvisionNameMax = 40;  // A database's name has 64 characters at most.

// The URL of a fresh database of the file's own, for tests that invent file names.
std::string ProvisionUrl(const std::string& base, const std::string& path) {
  std::string url = base;
  while (!url.empty() && url.back() == '/') url.pop_back();
  url += "/";
  const std::string name = FileName(path).substr(0, kProvisionNameMax);
  for (char c : name) url += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '-';
  uint8_t random[8];
  if (getrandom(random, sizeof random, 0) != sizeof random) std::abort();
  return url + "-" + ToHex(random);
}

struct Presence {
  bool exists = false;
  bool empty = true;
};

Presence Look(const std::string& path) {
  struct stat attributes;
  if (stat(path.c_str(), &attributes) != 0) return {};
  return {true, attributes.st_size == 0};
}

// Null if there is none of that name.
const char* Parameter(const char* name, const UriParameters& literal, const char* parameter) {
  const auto found = literal.find(parameter);
  return found != literal.end() ? found->second.c_str() : sqlite3_uri_parameter(name, parameter);
}

bool NamesOurVfs(const char* name, const UriParameters& literal) {
  const char* vfs = Parameter(name, literal, "vfs");
  return vfs != nullptr && std::string(vfs) == "turso";
}

// An ATTACH or a VACUUM INTO of a plain file inherits the VFS of its connection, and xOpen cannot
// tell it from an open that names the VFS as its argument. Such a connection has its replica open
// by then.
bool NamedByArgument(Through through) { return through == Through::kName && !IsAnythingOpen(); }

}  // namespace

Result<Recognised> Recognise(const char* name, int flags, Through through,
                             const UriParameters& literal) {
  const std::string path = name;
  const std::string sidecar_path = Sidecar::PathFor(path);
  const bool has_sidecar = Look(sidecar_path).exists;
  const Presence presence = Look(path);
  const bool by_uri = NamesOurVfs(name, literal);
  const bool by_name = by_uri || IsListed(path);
  const char* provision = std::getenv("TURSO_VFS_PROVISION");
  const bool provisioned =
      provision != nullptr && presence.empty && (flags & SQLITE_OPEN_CREATE) != 0;

  Recognised recognised;
  recognised.is_replica = has_sidecar || by_name || provisioned;
  if (!recognised.is_replica && NamedByArgument(through)) {
    recognised.is_replica = true;
  }
  if (!recognised.is_replica) {
    if (presence.exists && IsMarked(path)) {
      return Status(Code::kInvalid,
                    path + " is a replica, but its " + sidecar_path +
                        " is missing: put it back, or move " + path +
                        " away and open the name again with its url to make the replica anew");
    }
    return recognised;
  }
  if (sqlite3_uri_boolean(name, "immutable", 0) != 0 ||
      sqlite3_uri_boolean(name, "nolock", 0) != 0) {
    return Status(Code::kInvalid,
                  path +
                      ": immutable=1 and nolock=1 are not possible on a replica, which changes "
                      "under its locks");
  }
  if (!has_sidecar && presence.exists && IsMarked(path)) {
    return Status(Code::kInvalid, path + " is a replica, but its " + sidecar_path +
                                      " is missing: put it back, or "
                                      "move " +
                                      path + " away");
  }

  std::string sidecar_url;
  if (has_sidecar) {
    Result<SidecarRecord> record = Sidecar::Peek(sidecar_path);
    if (!record.ok()) return record.status();
    sidecar_url = record->url;
  }
  auto uri = [name, &literal](const char* parameter) {
    return Parameter(name, literal, parameter);
  };
  Result<Options> options =
      ResolveOptions(uri, sidecar_url, [](const char* n) -> const char* { return std::getenv(n); });
  if (!options.ok()) return options.status();
  recognised.options = *options;
  if (provisioned && !by_uri) {
    recognised.options.url = ProvisionUrl(provision, path);
    recognised.options.provisioned = true;
  }
  if ((presence.empty || !has_sidecar) && (flags & SQLITE_OPEN_CREATE) != 0)
    recognised.missing = Missing::kCreate;
  return recognised;
}

}  // namespace turso
