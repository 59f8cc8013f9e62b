"""The work of tests/hosts/work.py, by Python's own sqlite3."""

import sqlite3
import sys

# As 3.11 and older have it: the module itself begins transactions.
db = sqlite3.connect(sys.argv[1], uri=sys.argv[1].startswith("file:"))
db.execute(
    "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL, picture BLOB, note TEXT)"
)
db.execute("CREATE TABLE series(n INTEGER)")
with db:
    db.executemany(
        "INSERT INTO item(name, price, picture, note) VALUES (?, ?, ?, ?)",
        [
            ("Grüße, 世界 🎈", 2.5, b"\x00\xff\x80", None),
            ("plain", 0.25, None, ""),
            ("third", None, b"", "it's"),
        ],
    )
with db:
    db.executemany("INSERT INTO series VALUES (?)", [(number,) for number in range(1, 501)])
db.execute("INSERT INTO item(name) VALUES ('lost')")
db.rollback()
print("rolled back")
try:
    with db:
        db.execute("INSERT INTO item(name) VALUES (?)", ("plain",))
except sqlite3.IntegrityError as error:
    print("refused:", error)
with db:
    db.execute("UPDATE item SET price = price * 2 WHERE name = ?", ("plain",))
    db.execute("DELETE FROM item WHERE name = ?", ("third",))
for row in db.execute("SELECT id, name, price, picture, note FROM item ORDER BY id"):
    shown = [value.hex() if isinstance(value, bytes) else value for value in row]
    print(*["null" if value is None else value for value in shown], sep="|")
print(db.execute("SELECT sum(n) FROM series").fetchone()[0])
db.close()
