"""The database of a soak, and what is true of every snapshot of it.

    marks      one row for each committed transaction that marks itself: slot, number, how many parts it has
    parts      its parts: all of them or none
    counters   for each slot the number of its newest transaction and how many there are; a trigger keeps it
    accounts   money, which is moved and never made
    lists      values, which are only appended (list_append.py reads history off them)
    blobs      bulk that is written anew
Whatever has a negative number was rolled back, and is seen by nobody.
"""

ACCOUNTS = 24
BALANCE = 1000
BLOBS = 160

STATEMENTS = [
    "CREATE TABLE marks(slot TEXT NOT NULL, number INTEGER NOT NULL, parts INTEGER NOT NULL)",
    "CREATE TABLE parts(slot TEXT NOT NULL, number INTEGER NOT NULL, part INTEGER, filler BLOB)",
    "CREATE INDEX marks_of ON marks(slot, number)",
    "CREATE INDEX parts_of ON parts(slot, number)",
    "CREATE TABLE counters(slot TEXT PRIMARY KEY, newest INTEGER NOT NULL, count INTEGER NOT NULL)"
    " WITHOUT ROWID",
    "CREATE TRIGGER counted AFTER INSERT ON marks BEGIN UPDATE counters SET newest = new.number,"
    " count = count + 1 WHERE slot = new.slot; END",
    "CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL CHECK(balance >= 0))",
    "CREATE TABLE lists(key TEXT PRIMARY KEY, items TEXT NOT NULL)",
    "CREATE TABLE blobs(id INTEGER PRIMARY KEY, version INTEGER, content BLOB)",
]


def make(db, slots):
    db.execute("BEGIN IMMEDIATE")
    for statement in STATEMENTS:
        db.execute(statement)
    db.executemany("INSERT INTO accounts VALUES(?, ?)", [(n, BALANCE) for n in range(ACCOUNTS)])
    db.executemany("INSERT INTO counters VALUES(?, 0, 0)", [(slot,) for slot in slots])
    db.executemany("INSERT INTO blobs VALUES(?, 0, zeroblob(3000))", [(n,) for n in range(BLOBS)])
    db.execute("COMMIT")


def tidy(db):
    """Before a new round: what was checked goes."""
    db.execute("BEGIN IMMEDIATE")
    for table in ("marks", "parts", "lists"):
        db.execute(f"DELETE FROM {table}")
    db.execute("UPDATE counters SET count = 0")
    db.execute("COMMIT")


# Of the marks from this rowid on; 0 for all.
_WRONG_MARKS = """
SELECT m.slot, m.number, m.parts,
  (SELECT count(*) FROM parts AS p WHERE p.slot = m.slot AND p.number = m.number) AS n
FROM marks AS m WHERE m.rowid >= ? AND (n <> m.parts OR m.number <= 0) LIMIT 3
"""
_LONE_PARTS = """
SELECT slot, number FROM parts AS p WHERE NOT EXISTS
(SELECT 1 FROM marks AS m WHERE m.slot = p.slot AND m.number = p.number AND m.number > 0) LIMIT 3
"""


def violations(db, whole=False):
    """Sentences; inside the caller's transaction, of one snapshot."""
    found = []
    money, lowest, accounts = db.execute(
        "SELECT sum(balance), min(balance), count(*) FROM accounts"
    ).fetchone()
    if (money, accounts) != (ACCOUNTS * BALANCE, ACCOUNTS) or lowest < 0:
        found.append(f"there is {money} in {accounts} accounts, the lowest has {lowest}")
    newest = db.execute("SELECT coalesce(max(rowid), 0) FROM marks").fetchone()[0]
    since = 0 if whole else newest - 100
    for slot, number, parts, there in db.execute(_WRONG_MARKS, (since,)):
        found.append(f"torn: {slot}/{number} has {there} of {parts} parts")
    counted, marked = db.execute(
        "SELECT (SELECT sum(count) FROM counters), (SELECT count(*) FROM marks)"
    ).fetchone()
    if counted != marked:
        found.append(f"the counters count {counted} transactions, there are {marked} marks")
    if whole:
        for slot, number in db.execute(_LONE_PARTS):
            found.append(f"torn: there is a part of {slot}/{number} without its mark")
    return found
