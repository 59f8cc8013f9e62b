"""Reads by better-sqlite3 on a replica and on a plain database in WAL mode, with the library loaded, in one process and in turns.

    TURSO_BUILD_DIR=build /usr/bin/python3 tests/bench/better_sqlite3.py [ROUNDS]

Prints a table: the medians of the rounds (31), and the median of their ratios. The databases are the same, and in the file system's cache.
"""

import json
import os
import pathlib
import sqlite3
import statistics
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "hosts"))

from host import harness  # noqa: E402
import node_programs  # noqa: E402

ROWS = 100_000


class Bench(node_programs.NodeHost):
    host = "better-sqlite3"
    way_in = "benchmark"
    package = "better-sqlite3"

    @classmethod
    def _write_row(cls):
        """It is no test, and in no table of tests."""

    def runTest(self):
        app = self.app()
        database = harness.Replica(app.path, app.url).connect()
        plain = sqlite3.connect(os.path.join(app.directory, "plain.db"), isolation_level=None)
        plain.execute("PRAGMA journal_mode=wal")
        for connection in (database, plain):
            connection.execute("CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT UNIQUE, price REAL, note TEXT)")
            connection.execute(
                "INSERT INTO item WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?) "
                "SELECT n, 'name ' || n, n / 3.0, hex(zeroblob(50)) FROM n",
                (ROWS,),
            )
            connection.execute("PRAGMA wal_checkpoint")
            connection.close()
        rounds = sys.argv[1] if len(sys.argv) > 1 else "31"
        program = ROOT / "tests" / "bench" / "better_sqlite3.cjs"
        ran = self.run_program(
            [self.node, program, rounds, app.path, os.path.join(app.directory, "plain.db")],
            environment=self.node_environment(NODE_PATH=self.modules),
            timeout=600,
        )
        kinds = {}
        for line in map(json.loads, ran.stdout.splitlines()):
            kinds.setdefault(line["kind"], []).append(line["rates"])
        print(f"better-sqlite3 {self.version()}, reads by the second of CPU time; load {os.getloadavg()[0]:.1f}\n")
        print("| | replica | plain | ratio |\n|---|---|---|---|")
        for kind, rates in kinds.items():
            ours, plain = (statistics.median(column) for column in zip(*rates))
            ratio = statistics.median(replica / other for replica, other in rates)
            print(f"| {kind} | {ours:,.0f} | {plain:,.0f} | {ratio:.3f} |")


if __name__ == "__main__":
    result = unittest.TextTestRunner(verbosity=0).run(unittest.TestSuite([Bench()]))
    sys.exit(not result.wasSuccessful())
