// Two programs: "work DATABASE" is the work of tests/hosts/work.py by database/sql, "gorm DATABASE" is GORM's.
package main

import (
	"database/sql"
	"fmt"
	"os"

	"github.com/mattn/go-sqlite3"
)

// The one line: a driver that loads the library into every connection it opens; it opens one.
func loadTurso(library string) error {
	sql.Register("turso", &sqlite3.SQLiteDriver{Extensions: []string{library}})
	db, err := sql.Open("turso", ":memory:")
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Ping()
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	if library := os.Getenv("TEST_LIBRARY"); library != "" {
		check(loadTurso(library))
	}
	switch os.Args[1] {
	case "version":
		version, _, _ := sqlite3.Version()
		fmt.Println(version)
	case "work":
		check(work(os.Args[2]))
	case "gorm":
		check(gormWork(os.Args[2]))
	}
}
