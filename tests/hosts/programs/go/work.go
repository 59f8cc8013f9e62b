package main

import (
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/mattn/go-sqlite3"
)

func inTransaction(db *sql.DB, body func(tx *sql.Tx) error) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	if err := body(tx); err != nil {
		tx.Rollback()
		return err
	}
	return tx.Commit()
}

func work(name string) error {
	db, err := sql.Open("sqlite3", name)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := inTransaction(db, fill); err != nil {
		return err
	}
	if err := inTransaction(db, func(tx *sql.Tx) error {
		for n := 1; n <= 500; n++ {
			if _, err := tx.Exec("INSERT INTO series VALUES (?)", n); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	errLost := errors.New("rolled back")
	if err := inTransaction(db, func(tx *sql.Tx) error {
		if _, err := tx.Exec("INSERT INTO item(name) VALUES ('lost')"); err != nil {
			return err
		}
		return errLost
	}); err != errLost {
		return err
	}
	fmt.Println("rolled back")
	var refused sqlite3.Error
	if _, err := db.Exec("INSERT INTO item(name) VALUES (?)", "plain"); errors.As(err, &refused) {
		fmt.Println("refused:", refused)
	}
	if err := inTransaction(db, func(tx *sql.Tx) error {
		if _, err := tx.Exec("UPDATE item SET price = price * 2 WHERE name = ?", "plain"); err != nil {
			return err
		}
		_, err := tx.Exec("DELETE FROM item WHERE name = ?", "third")
		return err
	}); err != nil {
		return err
	}
	return show(db)
}

func fill(tx *sql.Tx) error {
	if _, err := tx.Exec(`
		CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL, picture BLOB, note TEXT);
		CREATE TABLE series(n INTEGER)`); err != nil {
		return err
	}
	insert, err := tx.Prepare("INSERT INTO item(name, price, picture, note) VALUES (?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer insert.Close()
	for _, row := range [][]any{
		{"Grüße, 世界 🎈", 2.5, []byte{0x00, 0xff, 0x80}, nil},
		{"plain", 0.25, nil, ""},
		{"third", nil, []byte{}, "it's"},
	} {
		if _, err := insert.Exec(row...); err != nil {
			return err
		}
	}
	return nil
}

func show(db *sql.DB) error {
	rows, err := db.Query("SELECT id, name, price, picture, note FROM item ORDER BY id")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int
		var name string
		var price sql.NullFloat64
		var picture []byte
		var note sql.NullString
		if err := rows.Scan(&id, &name, &price, &picture, &note); err != nil {
			return err
		}
		pictureText, noteText := "null", "null"
		if picture != nil {
			pictureText = hex.EncodeToString(picture)
		}
		if note.Valid {
			noteText = note.String
		}
		fmt.Printf("%d|%s|%v|%s|%s\n", id, name, price.Float64, pictureText, noteText)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	var sum int
	if err := db.QueryRow("SELECT sum(n) FROM series").Scan(&sum); err != nil {
		return err
	}
	fmt.Println(sum)
	return nil
}
