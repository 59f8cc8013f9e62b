"""A small library of books with peewee, as its documentation has it."""

import sys

import peewee
from playhouse.migrate import SqliteMigrator, migrate

db = peewee.SqliteDatabase(sys.argv[1], pragmas={"foreign_keys": 1})


class Model(peewee.Model):
    class Meta:
        database = db


class Author(Model):
    name = peewee.CharField(unique=True)


class Book(Model):
    author = peewee.ForeignKeyField(Author, backref="books", on_delete="CASCADE")
    title = peewee.CharField()
    pages = peewee.IntegerField(null=True)
    cover = peewee.BlobField(null=True)


db.connect()
db.create_tables([Author, Book])
with db.atomic():
    ada = Author.create(name="Ada, 世界 🎈")
    Book.insert_many([{"author": ada, "title": f"Volume {number}", "pages": number} for number in range(100)]).execute()
    Book.create(author=ada, title="bytes", cover=b"\x00\xff")
try:
    with db.atomic():
        Author.create(name="lost")
        with db.atomic():  # A savepoint.
            Author.create(name="lost too")
        raise RuntimeError("rolled back")
except RuntimeError as error:
    print(error)
try:
    Author.create(name="Ada, 世界 🎈")
except peewee.IntegrityError as error:
    print("refused:", error)
with db.atomic() as transaction:
    Book.update(pages=Book.pages + 1000).where(Book.pages >= 90).execute()
    with db.atomic() as savepoint:
        Book.delete().execute()
        savepoint.rollback()
migrator = SqliteMigrator(db)
migrate(  # Each makes the table anew.
    migrator.add_column("book", "year", peewee.IntegerField(default=1843)),
    migrator.rename_column("book", "pages", "length"),
    migrator.drop_not_null("book", "title"),
    migrator.add_index("book", ("title", "year"), unique=True),
)
upsert = Author.insert(name="Grace").on_conflict_ignore()
upsert.execute(), upsert.execute()
print(Author.select().count(), db.execute_sql("SELECT count(*), sum(length) FROM book").fetchone())
db.close()
