// A URI that SQLite took for the name of a file.
//
// Where URIs are off, and some hosts turn them off, `file:app.db?vfs=turso` is to SQLite a file of
// that very name: it would be created, empty, and used, and nothing would ever reach a primary.
// SQLite asks xFullPathname what a file is called in full, and then opens what it was answered, in
// one go. So the URI is understood there, and its parameters are kept for the open that follows on
// the same thread.

#ifndef TURSO_VFS_LITERAL_URI_H_
#define TURSO_VFS_LITERAL_URI_H_

#include <map>
#include <optional>
#include <string>

#include "src/base/status.h"

namespace turso {

using UriParameters = std::map<std::string, std::string>;

struct LiteralUri {
  std::string path;
  UriParameters parameters;
};

// Nothing if `name` is not `file:…` with vfs=turso in its query; it is a file's name then.
// Invalid if it has parameters that only SQLite could heed: https://sqlite.org/uri.html.
std::optional<Result<LiteralUri>> ReadLiteralUri(const std::string& name);

// What the next open of this thread has to know, if it is of that file.
void ExpectOpen(const std::string& full_path, UriParameters parameters);
void ExpectNoOpen();
UriParameters TakeExpected(const std::string& full_path);

}  // namespace turso

#endif  // TURSO_VFS_LITERAL_URI_H_
