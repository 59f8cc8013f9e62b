"""Processes that read lists and append to others, and what they noted, as a history for list_append.py."""

import random
import sqlite3
import time

from harness import OUTCOME_UNKNOWN, RETRY_CODES, error_code, error_name
from list_append import Transaction

LISTS = 8
# After these nothing is committed: another writer, a stale snapshot, no primary (fresh, and after a read).
CLEAN_FAILURES = RETRY_CODES | {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}


class Appender:
    def __init__(self, replica, name, seed, report):
        self.name = name
        self.random = random.Random(seed)
        self.report = report
        self.db = replica.connect(with_url=False)
        self.values = 0
        self.transactions = 0

    def run(self, duration, least):
        """Until the time is over and `least` transactions were committed."""
        deadline = time.monotonic() + duration
        committed = 0
        while time.monotonic() < deadline or committed < least:
            self.transactions += 1
            outcome = self.transact()
            self.report.append(["end", self.name, self.transactions, outcome])
            if outcome == "ok":
                committed += 1
            else:
                time.sleep(self.random.random() * 0.003)
        self.db.close()

    def transact(self):
        operations = []
        try:
            self.db.execute(self.random.choice(["BEGIN", "BEGIN", "BEGIN IMMEDIATE"]))
            for _ in range(self.random.randint(1, 4)):
                self.operate(operations)
            # Before the commit: whoever is killed in it can say nothing afterwards.
            self.report.append(["try", self.name, self.transactions, operations])
            self.db.execute("COMMIT")
            return "ok"
        except sqlite3.Error as error:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            if error_code(error) in CLEAN_FAILURES:
                return "failed"
            return "unknown" if error_code(error) == OUTCOME_UNKNOWN else error_name(error)

    def operate(self, operations):
        key = self.random.randrange(LISTS)
        if self.random.random() < 0.5:
            operations.append(["read", key, self.read(key)])
            return
        self.values += 1
        value = f"{self.name}/{self.values}"
        operations.append(["append", key, value])
        self.db.execute("UPDATE lists SET items = items || ? WHERE key = ?", (value + " ", key))

    def read(self, key):
        sql = "SELECT items FROM lists WHERE key = ?"
        return self.db.execute(sql, (key,)).fetchone()[0].split()


def run_appender(replica, name, seed, report, duration, least=0):
    Appender(replica, name, seed, report).run(duration, least)


def make_lists(db):
    db.execute("CREATE TABLE lists(key INTEGER PRIMARY KEY, items TEXT NOT NULL)")
    db.executemany("INSERT INTO lists VALUES(?, '')", [(key,) for key in range(LISTS)])


def final_lists(db):
    return {key: items.split() for key, items in db.execute("SELECT * FROM lists")}


def history_of(reports):
    """Every transaction that came as far as its commit, and how many ended in which way."""
    history, outcomes = [], {}
    for report in reports:
        pending = {}
        for kind, process, number, value in report.read():
            if kind == "try":
                operations = [tuple(operation) for operation in value]
                pending[number] = Transaction(process, operations, "unknown")
                history.append(pending[number])
            else:
                outcomes[value] = outcomes.get(value, 0) + 1
                if number in pending:
                    pending[number].outcome = value
    return history, outcomes
