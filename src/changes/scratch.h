// An empty database that has some schema: to ask SQLite about it, and to try changes of it before
// they are sent. The seam to SQLite, which this module does not know otherwise.

#ifndef TURSO_SRC_CHANGES_SCRATCH_H_
#define TURSO_SRC_CHANGES_SCRATCH_H_

#include <memory>
#include <string>
#include <vector>

#include "src/base/status.h"
#include "src/changes/table.h"
#include "src/format/database_header.h"
#include "src/format/schema.h"

namespace turso {

class Scratch {
 public:
  virtual ~Scratch() = default;
  // kNotFound if there is no such table, or if it is a virtual one.
  virtual Result<Table> Describe(const std::string& table) = 0;
  // kInvalid, in SQLite's words, if it refuses.
  virtual Status Run(const std::string& sql) = 0;
  // Rowids and root pages are the scratch's own.
  virtual Result<std::vector<SchemaRow>> Rows() = 0;
};

class ScratchMaker {
 public:
  virtual ~ScratchMaker() = default;
  // A database without rows whose schema is `rows`, of any order. kReadOnly if this copy of SQLite
  // cannot have that schema. Foreign keys are not enforced in it.
  virtual Result<std::unique_ptr<Scratch>> Make(const std::vector<SchemaRow>& rows,
                                                TextEncoding encoding) = 0;
  // Make(rows, encoding), then Describe(table).
  virtual Result<Table> Describe(const std::vector<SchemaRow>& rows, TextEncoding encoding,
                                 const std::string& table) {
    Result<std::unique_ptr<Scratch>> scratch = Make(rows, encoding);
    return scratch.ok() ? (*scratch)->Describe(table) : scratch.status();
  }
};

}  // namespace turso

#endif  // TURSO_SRC_CHANGES_SCRATCH_H_
