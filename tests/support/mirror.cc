#include "tests/support/mirror.h"

#include "tests/support/content.h"

namespace turso {

namespace {

void Bind(sqlite3_stmt* statement, int i, const Value& value) {
  const auto* bytes = reinterpret_cast<const char*>(value.bytes.data());
  const auto size = static_cast<int>(value.bytes.size());
  switch (value.type) {
    case Value::Type::kNull: sqlite3_bind_null(statement, i); break;
    case Value::Type::kInteger: sqlite3_bind_int64(statement, i, value.integer); break;
    case Value::Type::kReal: sqlite3_bind_double(statement, i, value.real); break;
    case Value::Type::kText:
      sqlite3_bind_text(statement, i, bytes ? bytes : "", size, SQLITE_STATIC);
      break;
    case Value::Type::kBlob:
      if (size == 0) {
        sqlite3_bind_zeroblob(statement, i, 0);
      } else {
        sqlite3_bind_blob(statement, i, bytes, size, SQLITE_STATIC);
      }
      break;
  }
}

Status RunOne(Connection* db, const Statement& statement) {
  sqlite3_stmt* prepared = nullptr;
  const char* tail = nullptr;
  int rc = sqlite3_prepare_v2(db->handle(), statement.sql.c_str(), -1, &prepared, &tail);
  if (rc == SQLITE_OK) {
    EXPECT_EQ(sqlite3_bind_parameter_count(prepared), static_cast<int>(statement.arguments.size()))
        << statement.sql;
    for (size_t i = 0; i < statement.arguments.size(); ++i)
      Bind(prepared, static_cast<int>(i) + 1, statement.arguments[i]);
    while ((rc = sqlite3_step(prepared)) == SQLITE_ROW) {
    }
  }
  sqlite3_finalize(prepared);
  if (rc == SQLITE_DONE) return OkStatus();
  return {Code::kInvalid, statement.sql.substr(0, 500) + ": " + sqlite3_errmsg(db->handle())};
}

}  // namespace

Status RunStatements(Connection* db, const Statements& statements) {
  db->Run("PRAGMA foreign_keys=ON");
  for (const Statement& statement : statements.setup) TURSO_RETURN_IF_ERROR(RunOne(db, statement));
  db->Run("BEGIN IMMEDIATE");
  for (const Statement& statement : statements.body) {
    const Status status = RunOne(db, statement);
    if (status.ok()) continue;
    db->Try("ROLLBACK");
    return status;
  }
  db->Run("COMMIT");
  return OkStatus();
}

Mirror::Mirror(const std::string& sql) {
  const std::string path = dir_.File("source.db");
  {
    Connection db(path);
    db.Run(sql);
    EXPECT_EQ(db.Text("PRAGMA journal_mode=WAL"), "wal");
  }
  source_ = std::make_unique<PageSource>(path, 0);
  CopyAgain();
}

void Mirror::CopyAgain() {
  copy_.reset();
  source_->Checkpoint();
  const std::string path = dir_.File("copy.db");
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix);
  CopyDatabase(dir_.File("source.db"), path);
  copy_ = std::make_unique<Connection>(path);
  copy_->Run("PRAGMA foreign_keys=ON; PRAGMA trusted_schema=ON");
  before_ = std::make_unique<MemoryPages>(source()->Image(),
                                          static_cast<uint32_t>(source()->Int("PRAGMA page_size")));
}

Result<Statements> Mirror::Translate(const PrimaryRules& rules,
                                     const std::optional<CookieDemand>& cookie) {
  const PageSet pages = source_->Take();
  pages_written_ = pages.size();
  changes_ = {};
  if (pages.empty()) return Statements();
  PageNumbers written;
  for (const auto& [page, image] : pages) written.insert(page);
  before_->ForgetReads();
  const uint32_t size = before_->page_size();
  Result<DatabaseState> before = DatabaseState::Open(before_.get(), size, before_->db_size());
  if (!before.ok()) return before.status();
  OverlaidPages overlaid(before_.get(), before_->db_size(), &pages);
  Result<DatabaseState> after = DatabaseState::Open(&overlaid, size, pages.db_size());
  if (!after.ok()) return after.status();
  Result<Changes> changes = FindChanges(&*before, &*after, written, &maker_);
  pages_read_ = before_->read().size();
  Bytes image = before_->image();
  image.resize(size_t{pages.db_size()} * size);
  for (const auto& [page, bytes] : pages)
    std::copy_n(bytes, size, image.begin() + static_cast<ptrdiff_t>(size_t{page.value - 1} * size));
  before_ = std::make_unique<MemoryPages>(std::move(image), size);
  if (!changes.ok()) return changes.status();
  changes_ = std::move(*changes);
  return WriteStatements(changes_, rules, cookie);
}

Status Mirror::Carry(const PrimaryRules& rules, const std::optional<CookieDemand>& cookie) {
  Result<Statements> statements = Translate(rules, cookie);
  if (!statements.ok()) return statements.status();
  statements_ = std::move(*statements);
  if (!statements_.body.empty()) TURSO_RETURN_IF_ERROR(RunStatements(copy(), statements_));
  const std::string difference = CompareContent(source(), copy());
  EXPECT_EQ(difference, "");
  return OkStatus();
}

Status Mirror::Run(const std::string& sql) {
  source()->Run("BEGIN;" + sql + ";COMMIT");
  return Carry();
}

}  // namespace turso
