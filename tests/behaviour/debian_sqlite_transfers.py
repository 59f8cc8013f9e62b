"""What newer_sqlite_checks.py does to the accounts, by Debian's SQLite, on the same files at the same time."""

import json
import random
import sqlite3
import sys
import time

ACCOUNTS = 10


def main():
    given = json.loads(sys.argv[1])
    loader = sqlite3.connect(":memory:")
    loader.enable_load_extension(True)
    loader.load_extension(given["extension"])
    loader.close()
    generator = random.Random(given["seed"])
    db = sqlite3.connect(given["transfer"], uri=True, isolation_level=None)
    deadline, committed = time.monotonic() + given["seconds"], 0
    while time.monotonic() < deadline:
        try:
            db.execute(generator.choice(["BEGIN", "BEGIN IMMEDIATE"]))
            transfer(db, generator)
            db.execute("COMMIT")
            committed += 1
        except sqlite3.Error as error:
            assert error.sqlite_errorcode in (
                sqlite3.SQLITE_BUSY,
                sqlite3.SQLITE_BUSY_SNAPSHOT,
            ), error.sqlite_errorname
            if db.in_transaction:
                db.execute("ROLLBACK")
            time.sleep(generator.random() * 0.003)
        assert db.execute("SELECT sum(balance) FROM accounts").fetchone() == (ACCOUNTS * 100,)
    db.close()
    print(committed)


def transfer(db, generator):
    source, target = generator.sample(range(ACCOUNTS), 2)
    balances = dict(db.execute("SELECT id, balance FROM accounts"))
    count = db.execute("SELECT n FROM counter").fetchone()[0]
    amount = generator.randint(0, balances[source])
    db.execute("UPDATE accounts SET balance = ? WHERE id = ?", (balances[source] - amount, source))
    db.execute("UPDATE accounts SET balance = ? WHERE id = ?", (balances[target] + amount, target))
    db.execute("UPDATE counter SET n = ?", (count + 1,))


if __name__ == "__main__":
    main()
