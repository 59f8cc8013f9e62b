"""sqlite3_interrupt under a SQLite that tells us of it, by apsw: see interrupt_test.py. Its one argument is JSON; it
prints "passed" at its end."""

import json
import os
import sys
import threading
import time

import apsw
from newer_sqlite_checks import connect, load, rows, stop

OUTCOME_UNKNOWN = apsw.SQLITE_IOERR | 99 << 8
SOON = 6  # Seconds; the wait would last 40.


class Stopped:
    """The primary says nothing inside of this, and `db` is interrupted half a second later."""

    def __init__(self, given, db):
        self.pid, self.db = given["primary_pid"], db

    def __enter__(self):
        stop(self.pid)
        self.timer = threading.Timer(0.5, self.db.interrupt)
        self.timer.start()
        self.began = time.monotonic()
        return self

    def __exit__(self, *_):
        took = time.monotonic() - self.began
        os.kill(self.pid, 18)
        self.timer.join()
        print(f"took {took:.2f} s", flush=True)
        assert 0.4 < took < SOON, took

    def code_of(self, sql, parameters=()):
        try:
            answer = rows(self.db, sql, parameters)
        except apsw.Error as error:
            return error.extendedresult
        raise AssertionError(f"{sql} answered {answer}")


def at_the_lock(given):
    db = connect(given["uri"])
    with Stopped(given, db) as stopped:
        code = stopped.code_of("INSERT INTO t VALUES('at the lock')")
    assert code == apsw.SQLITE_INTERRUPT, code
    assert not db.in_transaction
    db.close()


def at_the_commit(given):
    db = connect(given["uri"])
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO t VALUES('at the commit')")
    with Stopped(given, db) as stopped:
        code = stopped.code_of("COMMIT")
    assert code == OUTCOME_UNKNOWN, code
    assert not db.in_transaction
    db.close()


def questions(given):
    db = connect(given["uri"])
    for sql, parameters in (
        ("SELECT turso_sync()", ()),
        ("SELECT turso_wait(?, 40000)", (given["not_reached"],)),
    ):
        with Stopped(given, db) as stopped:
            code = stopped.code_of(sql, parameters)
        assert code == apsw.SQLITE_INTERRUPT, (sql, code)
    assert rows(db, "SELECT count(*) FROM t")
    db.close()


def a_fresh_read(given):
    db = connect(given["uri"])
    assert rows(db, "SELECT 1 FROM t") == []
    with Stopped(given, db) as stopped:
        code = stopped.code_of("SELECT count(*) FROM t")
    assert code == apsw.SQLITE_INTERRUPT, code
    assert rows(db, "SELECT count(*) FROM t") == [(0,)]
    db.close()


def main():
    given = json.loads(sys.argv[1])
    load(given["extension"])
    globals()[given["check"]](given)
    print("passed")


if __name__ == "__main__":
    main()
