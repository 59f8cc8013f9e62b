// Empty databases in memory with a schema of one's choice, by the SQLite that we are in.

#ifndef TURSO_VFS_SCRATCH_H_
#define TURSO_VFS_SCRATCH_H_

#include "src/changes/scratch.h"

namespace turso {

// Each scratch is a connection of its own, without any function, collation or module that the
// application added to its connections: what needs one to be parsed is put into sqlite_schema as
// text.
class MemoryScratchMaker : public ScratchMaker {
 public:
  Result<std::unique_ptr<Scratch>> Make(const std::vector<SchemaRow>& rows,
                                        TextEncoding encoding) override;
};

}  // namespace turso

#endif  // TURSO_VFS_SCRATCH_H_
