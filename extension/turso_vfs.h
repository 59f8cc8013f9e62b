/* The VFS "turso" linked into a program. What it does: README.md. */

#ifndef TURSO_VFS_H_
#define TURSO_VFS_H_

#define TURSO_VFS_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* Registers the VFS, as the default one if make_default is not 0, and arranges that every
   connection opened from then on has the functions turso_* and the table turso_status. Returns a
   code of SQLite. Any thread, any number of times; after a sqlite3_shutdown() it is to be called
   again. */
int turso_vfs_register(int make_default);

#ifdef __cplusplus
}
#endif

#endif /* TURSO_VFS_H_ */
