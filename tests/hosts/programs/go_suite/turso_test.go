// Beside go-sqlite3's own tests: makes the VFS the default one before any of them runs.
package sqlite3

import (
	"database/sql"
	"os"
)

func init() {
	library := os.Getenv("TURSO_VFS_EXTENSION")
	if library == "" {
		return
	}
	sql.Register("turso", &SQLiteDriver{ConnectHook: func(connection *SQLiteConn) error {
		return connection.LoadExtension(library, "sqlite3_tursovfs_default_init")
	}})
	db, err := sql.Open("turso", ":memory:")
	if err == nil {
		err = db.Ping()
	}
	if err != nil {
		panic(err)
	}
	db.Close()
}
