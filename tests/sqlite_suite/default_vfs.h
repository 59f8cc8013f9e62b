// Put in front of every source of SQLite's own test programs (-include), which are built with
// -DSQLITE_EXTRA_INIT=turso_suite_init. If TURSO_SUITE_EXTENSION names libturso_vfs.so, its VFS is
// the default one from sqlite3_initialize() on, after each sqlite3_shutdown() again; otherwise the
// program is stock SQLite. A library that cannot be loaded ends the process: a run that silently
// went through plain SQLite would prove nothing. Only want of memory is an ordinary failure of
// sqlite3_initialize(): some tests make it scarce.
//
// Only declarations of its own: a system header here would come before SQLite's feature macros.

#ifndef TURSO_TESTS_SQLITE_SUITE_DEFAULT_VFS_H_
#define TURSO_TESTS_SQLITE_SUITE_DEFAULT_VFS_H_

typedef struct sqlite3 sqlite3;
extern char* getenv(const char*);
extern int dprintf(int, const char*, ...);
extern void abort(void);
int sqlite3_open_v2(const char*, sqlite3**, int, const char*);
int sqlite3_close(sqlite3*);
int sqlite3_errcode(sqlite3*);
int sqlite3_enable_load_extension(sqlite3*, int);
int sqlite3_load_extension(sqlite3*, const char*, const char*, char**);

static int turso_suite_init(const char* unused) __attribute__((unused));
static int turso_suite_init(const char* unused) {
  const char* extension = getenv("TURSO_SUITE_EXTENSION");
  sqlite3* db = 0;
  char* why = 0;
  int failed, code;
  (void)unused;
  if (extension == 0) return 0;
  failed = sqlite3_open_v2(":memory:", &db, 0x6 /* READWRITE | CREATE */, "unix") != 0 ||
           sqlite3_enable_load_extension(db, 1) != 0 ||
           sqlite3_load_extension(db, extension, "sqlite3_tursovfs_default_init", &why) != 0;
  code = db == 0 ? 7 /* NOMEM */ : sqlite3_errcode(db);
  sqlite3_close(db);
  if (!failed) return 0;
  if (code == 7) return code;
  dprintf(2, "turso_suite_init: cannot load %s: %d, %s\n", extension, code, why ? why : "?");
  abort();
}

#endif  // TURSO_TESTS_SQLITE_SUITE_DEFAULT_VFS_H_
