"""A worker of tests/bench/hosts/compare.py: Python's sqlite3. python_reads.py FILE"""

import random
import sqlite3
import sys

import worker

db = sqlite3.connect(sys.argv[1], isolation_level=None)
ROWS = db.execute("SELECT count(*) FROM item").fetchone()[0]


def by_key():
    for _ in range(4000):
        db.execute("SELECT name, price FROM item WHERE id = ?", (random.randrange(1, ROWS),)).fetchone()


def by_name():
    for _ in range(4000):
        db.execute("SELECT id FROM item WHERE name = ?", (f"item {random.randrange(1, ROWS)}",)).fetchone()


def hundred_rows():
    for _ in range(600):
        first = random.randrange(1, ROWS - 100)
        db.execute("SELECT * FROM item WHERE id BETWEEN ? AND ?", (first, first + 99)).fetchall()


def full_scan():
    db.execute("SELECT sum(price), max(name) FROM item").fetchone()


worker.serve(by_key, by_name, hundred_rows, full_scan)
