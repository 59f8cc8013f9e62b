// Empty databases in memory with a schema of one's choice, by the SQLite that we are in.

#ifndef TURSO_VFS_SCRATCH_H_
#define TURSO_VFS_SCRATCH_H_

#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "src/changes/scratch.h"

namespace turso {

// Each scratch is a connection of its own, without the functions, collations and modules that the
// application added to its connections, other than by sqlite3_auto_extension: what needs one to be
// created is put into sqlite_schema as text.
class MemoryScratchMaker : public ScratchMaker {
 public:
  Result<std::unique_ptr<Scratch>> Make(const std::vector<SchemaRow>& rows,
                                        TextEncoding encoding) override;
  // Keeps the last answers: who writes a table writes it again, and a scratch takes as long as the
  // rest of a small commit.
  Result<Table> Describe(const std::vector<SchemaRow>& rows, TextEncoding encoding,
                         const std::string& table) override;

 private:
  struct Answer {
    std::vector<SchemaRow> rows;
    TextEncoding encoding;
    std::string name;
    Table table;
  };

  std::mutex mutex_;
  std::deque<Answer> answers_;  // The newest last.
};

}  // namespace turso

#endif  // TURSO_VFS_SCRATCH_H_
