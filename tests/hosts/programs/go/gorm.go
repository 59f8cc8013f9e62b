package main

import (
	"errors"
	"fmt"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

type Author struct {
	ID    uint
	Name  string `gorm:"uniqueIndex;not null"`
	Books []Book
}

type Book struct {
	ID       uint
	AuthorID uint
	Title    string
	Cover    []byte
}

// The same tables a version later: AutoMigrate adds a column and rebuilds a table for a narrower type.
type BookV2 struct {
	ID       uint
	AuthorID uint
	Title    string `gorm:"size:200;not null;default:untitled"`
	Cover    []byte
	Pages    *int `gorm:"check:pages > 0"`
}

func (BookV2) TableName() string { return "books" }

func gormWork(name string) error {
	db, err := gorm.Open(sqlite.Open(name), &gorm.Config{Logger: logger.Default.LogMode(logger.Silent)})
	if err != nil {
		return err
	}
	if err := db.AutoMigrate(&Author{}, &Book{}); err != nil {
		return err
	}
	author := Author{Name: "Grüße, 世界 🎈", Books: []Book{{Title: "one", Cover: []byte{0, 255}}, {Title: "two"}}}
	if err := db.Create(&author).Error; err != nil {
		return err
	}
	errLost := errors.New("lost")
	if err := db.Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&Author{Name: "lost"}).Error; err != nil {
			return err
		}
		return errLost
	}); err != errLost {
		return fmt.Errorf("the transaction ended with %v", err)
	}
	fmt.Println("refused:", db.Create(&Author{Name: author.Name}).Error)
	if err := db.AutoMigrate(&BookV2{}); err != nil {
		return err
	}
	if err := db.Migrator().AlterColumn(&BookV2{}, "Title"); err != nil {
		return err
	}
	if err := db.Model(&BookV2{}).Where("title = ?", "two").Update("pages", 7).Error; err != nil {
		return err
	}
	fmt.Println("refused:", db.Model(&BookV2{}).Where("title = ?", "one").Update("pages", -1).Error)
	var back Author
	if err := db.Preload("Books").First(&back, "name = ?", author.Name).Error; err != nil {
		return err
	}
	fmt.Println(back.Name, len(back.Books), back.Books[0].Cover)
	return nil
}
