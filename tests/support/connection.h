// A connection of stock SQLite to a database file, for tests. A statement that fails where it must
// not is a failure of the test.

#ifndef TURSO_TESTS_SUPPORT_CONNECTION_H_
#define TURSO_TESTS_SUPPORT_CONNECTION_H_

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <string>

#include "src/base/bytes.h"

namespace turso {

class Connection {
 public:
  // The VFS is named, so that no other default gets in between.
  explicit Connection(const std::string& path, int busy_timeout_ms = 10000,
                      const char* vfs = "unix") {
    const int rc =
        sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs);
    EXPECT_EQ(rc, SQLITE_OK) << path << ": " << sqlite3_errmsg(db_);
    sqlite3_extended_result_codes(db_, 1);
    sqlite3_busy_timeout(db_, busy_timeout_ms);
    // No test cuts the power.
    sqlite3_exec(db_, "PRAGMA synchronous=OFF", nullptr, nullptr, nullptr);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { sqlite3_close(db_); }

  sqlite3* handle() const { return db_; }

  // The result code.
  int Try(const std::string& sql) {
    return sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
  }
  void Run(const std::string& sql) {
    const int rc = Try(sql);
    EXPECT_EQ(rc, SQLITE_OK) << sql << ": " << sqlite3_errmsg(db_);
  }
  // The first column of the first row; "" for no row.
  std::string Text(const std::string& sql) {
    std::string text;
    sqlite3_stmt* statement = nullptr;
    int rc = sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr);
    if (rc == SQLITE_OK) {
      rc = sqlite3_step(statement);
      if (rc == SQLITE_ROW && sqlite3_column_text(statement, 0))
        text = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
    }
    EXPECT_TRUE(rc == SQLITE_ROW || rc == SQLITE_DONE) << sql << ": " << sqlite3_errmsg(db_);
    sqlite3_finalize(statement);
    return text;
  }
  int64_t Int(const std::string& sql) { return std::strtoll(Text(sql).c_str(), nullptr, 10); }
  // Every page of `main` as this connection reads it now.
  Bytes Image() {
    sqlite3_int64 size = 0;
    unsigned char* image = sqlite3_serialize(db_, "main", &size, 0);
    EXPECT_NE(image, nullptr);
    Bytes bytes(image, image + (image ? size : 0));
    sqlite3_free(image);
    return bytes;
  }

 private:
  sqlite3* db_ = nullptr;
};

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_CONNECTION_H_
