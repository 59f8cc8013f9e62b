"""CPython's own test_sqlite3, with every database in memory turned into a new WAL file: cpython_suite.py [TEST]

Prints a line `OUTCOME name` for each test.
"""

import os
import sqlite3
import sys
import unittest
import uuid

_connect = sqlite3.connect


def connect(database, *rest, **named):
    if database == ":memory:":
        database = os.path.join(os.environ["MEMORY_DIRECTORY"], uuid.uuid4().hex + ".db")
        fresh = _connect(database)
        fresh.execute("PRAGMA journal_mode=wal").fetchall()
        fresh.close()
    return _connect(database, *rest, **named)


sqlite3.connect = sqlite3.dbapi2.connect = connect


class Outcomes(unittest.TestResult):
    def stopTest(self, test):
        failed = {case.id() for case, _ in self.failures + self.errors}
        print("failed" if any(name.startswith(test.id()) for name in failed) else "passed", test.id(), flush=True)
        super().stopTest(test)


name = sys.argv[1] if len(sys.argv) > 1 else "test.test_sqlite3"
unittest.defaultTestLoader.loadTestsFromName(name).run(Outcomes())
