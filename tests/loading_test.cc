// libturso_vfs.so as a host program takes it up, and whom it turns away.

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
// With SQLITE_CORE the functions keep their names; only the type of the table is wanted.
#ifndef SQLITE_CORE
#define SQLITE_CORE
#endif
#include <sqlite3ext.h>

#include <cstdarg>
#include <memory>
#include <string>

namespace turso {
namespace {

using ::testing::HasSubstr;

constexpr char kExtension[] = TURSO_BUILD_DIR "/libturso_vfs.so";

using EntryPoint = int (*)(sqlite3*, char**, const sqlite3_api_routines*);

EntryPoint Find(const char* name) {
  static void* library = dlopen(kExtension, RTLD_NOW | RTLD_LOCAL);
  EXPECT_NE(library, nullptr) << dlerror();
  return library == nullptr ? nullptr : reinterpret_cast<EntryPoint>(dlsym(library, name));
}

class Memory {
 public:
  Memory() {
    EXPECT_EQ(sqlite3_open(":memory:", &db_), SQLITE_OK);
    sqlite3_enable_load_extension(db_, 1);
  }
  ~Memory() { sqlite3_close(db_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  sqlite3* handle() const { return db_; }

  // "" if it is loaded, else the message.
  std::string Load(const char* entry_point = nullptr) {
    char* message = nullptr;
    const int rc = sqlite3_load_extension(db_, kExtension, entry_point, &message);
    std::string text = rc == SQLITE_OK ? "" : (message ? message : "no message");
    sqlite3_free(message);
    return text;
  }
  bool Knows(const char* sql) {
    return sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) == SQLITE_OK;
  }

 private:
  sqlite3* db_ = nullptr;
};

// The API table that this program's SQLite gives to extensions.
const sqlite3_api_routines* HostTable() {
  static const sqlite3_api_routines* table = nullptr;
  const auto take = +[](sqlite3*, char**, const sqlite3_api_routines* api) {
    table = api;
    return SQLITE_OK;
  };
  const auto callback = reinterpret_cast<void (*)()>(take);
  sqlite3_auto_extension(callback);
  Memory memory;
  sqlite3_cancel_auto_extension(callback);
  EXPECT_NE(table, nullptr);
  return table;
}

int g_messages = 0;
char* CountingPrint(const char* format, ...) {
  ++g_messages;
  va_list arguments;
  va_start(arguments, format);
  char* text = sqlite3_vmprintf(format, arguments);
  va_end(arguments);
  return text;
}

// All members but the named ones are null: a touch ends the test.
std::unique_ptr<sqlite3_api_routines> TableOf(int (*version)(), int (*threadsafe)()) {
  auto table = std::make_unique<sqlite3_api_routines>();
  table->libversion_number = version;
  table->xthreadsafe = threadsafe;
  table->mprintf = CountingPrint;
  return table;
}

struct Refusal {
  int code = 0;
  std::string message;
};

Refusal LoadAs(const sqlite3_api_routines* api, const char* entry_point) {
  Memory memory;
  Refusal refusal;
  char* message = nullptr;
  const EntryPoint entry = Find(entry_point);
  if (entry == nullptr) return refusal;
  refusal.code = entry(memory.handle(), &message, api);
  if (message != nullptr) refusal.message = message;
  sqlite3_free(message);
  return refusal;
}

const char* const kEntryPoints[] = {"sqlite3_tursovfs_init", "sqlite3_extension_init",
                                    "sqlite3_tursovfs_default_init"};

TEST(Loading, RefusesASqliteOlderThan332WithASentenceOfItsOwnMemory) {
  const auto old = TableOf([] { return 3031001; }, nullptr);
  for (const char* entry_point : kEntryPoints) {
    g_messages = 0;
    const Refusal refusal = LoadAs(old.get(), entry_point);
    EXPECT_EQ(refusal.code, SQLITE_ERROR) << entry_point;
    EXPECT_EQ(refusal.message, "libturso_vfs needs SQLite 3.32 or newer");
    EXPECT_EQ(g_messages, 1);
  }
  EXPECT_EQ(Find(kEntryPoints[0])(nullptr, nullptr, old.get()), SQLITE_ERROR);
}

TEST(Loading, RefusesASqliteWithoutThreads) {
  const auto single = TableOf([] { return 3045000; }, [] { return 0; });
  const Refusal refusal = LoadAs(single.get(), kEntryPoints[0]);
  EXPECT_EQ(refusal.code, SQLITE_ERROR);
  EXPECT_THAT(refusal.message, HasSubstr("thread-safe"));
}

TEST(Loading, StillServesAHostAfterItRefusedAnother) {
  const auto old = TableOf([] { return 3031001; }, nullptr);
  LoadAs(old.get(), kEntryPoints[0]);
  Memory memory;
  EXPECT_EQ(memory.Load(), "");
  EXPECT_TRUE(memory.Knows("SELECT turso_version()"));
}

TEST(Loading, RefusesASecondCopyOfSqliteInTheProcess) {
  Memory memory;
  ASSERT_EQ(memory.Load(), "");
  const auto other = TableOf([] { return 3045000; }, [] { return 1; });
  g_messages = 0;
  const Refusal refusal = LoadAs(other.get(), kEntryPoints[0]);
  EXPECT_EQ(refusal.code, SQLITE_ERROR);
  EXPECT_THAT(refusal.message, HasSubstr("another copy of SQLite"));
  EXPECT_EQ(g_messages, 1);
  Memory later;
  EXPECT_TRUE(later.Knows("SELECT turso_version()"));
}

TEST(Loading, StaysForEverAndAgain) {
  const sqlite3_api_routines* table = HostTable();
  for (int i = 0; i < 2; ++i) {
    const Refusal refusal = LoadAs(table, kEntryPoints[0]);
    EXPECT_EQ(refusal.code, SQLITE_OK_LOAD_PERMANENTLY) << refusal.message;
  }
}

TEST(Loading, ServesTheLoadingConnectionAndLaterOnes) {
  Memory loading;
  ASSERT_EQ(loading.Load(), "");
  ASSERT_EQ(loading.Load(), "");
  Memory later;
  for (Memory* memory : {&loading, &later}) {
    EXPECT_TRUE(memory->Knows("SELECT turso_version()"));
    EXPECT_TRUE(memory->Knows("SELECT * FROM turso_status"));
  }
  EXPECT_NE(sqlite3_vfs_find("turso"), nullptr);
}

TEST(Loading, LeavesTheDefaultVfsAloneUnlessAskedByName) {
  sqlite3_vfs* before = sqlite3_vfs_find(nullptr);
  Memory memory;
  ASSERT_EQ(memory.Load(), "");
  EXPECT_EQ(sqlite3_vfs_find(nullptr), before);
  ASSERT_EQ(memory.Load("sqlite3_tursovfs_default_init"), "");
  EXPECT_THAT(sqlite3_vfs_find(nullptr)->zName, HasSubstr("turso"));
  ASSERT_EQ(memory.Load(), "");
  EXPECT_THAT(sqlite3_vfs_find(nullptr)->zName, HasSubstr("turso"));
  sqlite3_vfs_register(before, 1);
}

TEST(Loading, LetsSqlMakeItTheDefaultVfs) {
  sqlite3_vfs* before = sqlite3_vfs_find(nullptr);
  Memory memory;
  ASSERT_EQ(memory.Load(), "");
  EXPECT_EQ(sqlite3_vfs_find(nullptr), before);
  EXPECT_TRUE(memory.Knows("SELECT turso_default()"));
  EXPECT_THAT(sqlite3_vfs_find(nullptr)->zName, HasSubstr("turso"));
  sqlite3_vfs_register(before, 1);
}

TEST(Loading, KeepsTheBusyTimeoutThatTheLoadingConnectionHas) {
  Memory memory;
  sqlite3_busy_timeout(memory.handle(), 1234);
  ASSERT_EQ(memory.Load(), "");
  sqlite3_stmt* statement = nullptr;
  ASSERT_EQ(sqlite3_prepare_v2(memory.handle(), "PRAGMA busy_timeout", -1, &statement, nullptr),
            SQLITE_OK);
  ASSERT_EQ(sqlite3_step(statement), SQLITE_ROW);
  EXPECT_EQ(sqlite3_column_int(statement, 0), 1234);
  sqlite3_finalize(statement);
}

}  // namespace
}  // namespace turso
