#include "tests/support/page_source.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace turso {
namespace {

std::string Insert(int rows, int bytes) {
  return "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<" +
         std::to_string(rows) + ") INSERT INTO t(v, pad) SELECT abs(random()%1000), randomblob(" +
         std::to_string(bytes) + ") FROM n";
}

std::string Chance(int percent) { return "abs(random()%100)<" + std::to_string(percent); }

}  // namespace

void CreateWorkload(Connection* db, uint32_t page_size) {
  db->Run("PRAGMA page_size=" + std::to_string(page_size));
  db->Run("PRAGMA auto_vacuum=INCREMENTAL");
  EXPECT_EQ(db->Text("PRAGMA journal_mode=WAL"), "wal");
  db->Run("PRAGMA wal_autocheckpoint=0");
  db->Run("PRAGMA synchronous=OFF");
  db->Run(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v INT, pad BLOB);"
      "CREATE INDEX t_v ON t(v);"
      "CREATE TABLE meta(txn INT, n INT, s INT);"
      "INSERT INTO meta VALUES(0,0,0)");
}

void RunTransaction(Connection* db, Rng* rng, int64_t txn, Bulk bulk) {
  db->Run("BEGIN IMMEDIATE");
  const int64_t rows = db->Int("SELECT count(*) FROM t");
  const int kind = Between(rng, 0, 99);
  if (rows < 20 || kind < 25) {
    db->Run(Insert(Between(rng, 1, 30), Between(rng, 0, 400)));
  } else if (kind < 65) {
    const int64_t from = Between(rng, 0, static_cast<int>(rows));
    db->Run("UPDATE t SET v=v+1 WHERE id IN (SELECT id FROM t LIMIT 5 OFFSET " +
            std::to_string(from) + ")");
  } else if (kind < 75) {
    db->Run("DELETE FROM t WHERE " + Chance(rows > 3000 ? 30 : 5));
  } else if (kind < 82) {
    db->Run("SAVEPOINT a");
    db->Run("UPDATE t SET pad=randomblob(300) WHERE " + Chance(20));
    db->Run("ROLLBACK TO a");
    db->Run("UPDATE t SET v=v+3 WHERE " + Chance(2));
  } else if (kind < 87) {
    db->Run(bulk == Bulk::kLarge ? Insert(Between(rng, 300, 1500), Between(rng, 500, 4000))
                                 : Insert(Between(rng, 30, 60), Between(rng, 100, 500)));
  } else if (kind < 93) {
    db->Run("DELETE FROM t WHERE " + Chance(rows > 400 ? 80 : 30));
    db->Run("PRAGMA incremental_vacuum(" + std::to_string(Between(rng, 0, 5000)) + ")");
  } else {
    db->Run("UPDATE t SET pad=randomblob(" + std::to_string(Between(rng, 0, 900)) + ") WHERE " +
            Chance(10));
  }
  db->Run("UPDATE meta SET txn=" + std::to_string(txn) +
          ", n=(SELECT count(*) FROM t), s=(SELECT ifnull(sum(v),0) FROM t)");
  db->Run("COMMIT");
}

std::string CheckWorkload(Connection* db, int64_t* txn) {
  const std::string row = db->Text(
      "SELECT txn || ' ' || (n=(SELECT count(*) FROM t)) || (s=(SELECT ifnull(sum(v),0) FROM t NOT "
      "INDEXED))"
      " || (s=(SELECT ifnull(sum(v),0) FROM t INDEXED BY t_v)) FROM meta");
  *txn = std::strtoll(row.c_str(), nullptr, 10);
  const size_t blank = row.find(' ');
  if (blank == std::string::npos) return "no row in meta";
  return row.substr(blank + 1) == "111" ? "" : "torn state " + row;
}

PageSource::PageSource(const std::string& path, uint32_t page_size) : db_(path) {
  db_.Run("PRAGMA wal_autocheckpoint=0");
  if (db_.Int("SELECT count(*) FROM sqlite_schema") == 0) CreateWorkload(&db_, page_size);
  Result<std::unique_ptr<HostWalFiles>> files = HostWalFiles::Open(path);
  EXPECT_TRUE(files.ok()) << files.status().text();
  files_ = std::move(*files);
  Checkpoint();
}

PageSet PageSource::Take() {
  Result<WalIndexHeader> header = CurrentHeader(files_.get());
  EXPECT_TRUE(header.ok()) << header.status().text();
  if (header->frames == 0) return {};
  const FrameNo base{header->salts == taken_.salts ? taken_.frames : 0};
  Result<PageSet> pages =
      CollectFrames(files_.get(), header->page_size, base, {header->frames}, header->db_size);
  EXPECT_TRUE(pages.ok()) << pages.status().text();
  taken_ = header->position();
  return std::move(*pages);
}

void PageSource::Checkpoint() {
  db_.Run("SELECT count(*) FROM sqlite_schema");
  EXPECT_EQ(db_.Text("PRAGMA wal_checkpoint(TRUNCATE)"), "0");
  taken_ = {};
}

void CopyDatabase(const std::string& from, const std::string& to) {
  std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing);
}

}  // namespace turso
