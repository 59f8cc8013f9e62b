"""Every call that can fail, failing in the primary: it does each operation again and again while its 1st, 2nd, 3rd ...
call fails, until the operation passes untouched. Each time: a documented code or success at the client, and the next
try works. At the end: nothing lost, nothing doubled. A server without memory may end; started again it goes on.

TURSO_TEST_EVERY=1 lets every call for memory fail; otherwise it is every call up to 40 and every 13th after that.
"""

import contextlib
import itertools
import json
import os
import random
import sqlite3
import time
import urllib.error
import urllib.request

import faults
from harness import OUTCOME_UNKNOWN, PRIMARY, BehaviourTest, error_code, family, main

DOCUMENTED = frozenset(
    (
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_BUSY,
    )
)
MANY = 40
PATIENCE = 1.5  # For a server that will get over it by itself.
DEADLINE = 20.0


class Refused(Exception):
    """What a client of Hrana is told."""


def numbers(kind):
    if kind != "memory" or os.environ.get("TURSO_TEST_EVERY") == "1":
        return itertools.count(1)
    start = random.SystemRandom().randrange(13)
    return itertools.chain(range(1, MANY), itertools.count(MANY + start, 13))


class FailingPrimary(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.control = faults.Control(self.path("control"))
        self.log = self.path("points")
        os.environ["TURSO_FAULTS_CONTROL"] = str(self.control.path)
        self.addCleanup(os.environ.pop, "TURSO_FAULTS_CONTROL", None)
        self.server = self.primary()
        self.app = self.replica(self.server, "app", "app", sync_interval="off", timeout="2s")
        self.db = self.open(self.app, timeout=5)
        self.db.executescript(
            "CREATE TABLE note(id INTEGER PRIMARY KEY, text); CREATE TABLE bulk(id INTEGER PRIMARY KEY, body)"
        )
        self.number = 0
        self.sure, self.never, self.either = set(), set(), set()
        self.starts = 0

    # --- The operations. -------------------------------------------------------------------------------------------

    def pages(self):
        """A commit of a replica."""
        self.number += 1
        try:
            self.db.execute("INSERT INTO note(id, text) VALUES (?, randomblob(30))", (self.number,))
        except sqlite3.Error as error:
            unknown = error_code(error) == OUTCOME_UNKNOWN
            (self.either if unknown else self.never).add(self.number)
            raise
        self.sure.add(self.number)

    def many_pages(self):
        """A commit of a replica that fills more than a megabyte of the primary's WAL."""
        self.number += 1
        try:
            self.db.execute("BEGIN IMMEDIATE")
            self.db.execute("INSERT INTO note(id, text) VALUES (?, 'x')", (self.number,))
            self.db.execute(
                "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 300)"
                " INSERT INTO bulk SELECT i, randomblob(3900) FROM s WHERE true"
                " ON CONFLICT(id) DO UPDATE SET body = excluded.body"
            )
            self.db.execute("COMMIT")
        except sqlite3.Error as error:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            unknown = error_code(error) == OUTCOME_UNKNOWN
            (self.either if unknown else self.never).add(self.number)
            raise
        self.sure.add(self.number)

    def sql(self):
        """A commit of a client of Hrana. Of an answer that does not come nobody promises anything."""
        self.number += 1
        statement = {"sql": f"INSERT INTO note(id, text) VALUES ({self.number}, 'by SQL')"}
        requests = [{"type": "execute", "stmt": statement}, {"type": "close"}]
        body = json.dumps({"requests": requests}).encode()
        request = urllib.request.Request(self.server.url("app") + "/v2/pipeline", body)
        self.either.add(self.number)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                result = json.load(answer)["results"][0]
        except (OSError, ValueError) as error:
            words = error.read().decode() if isinstance(error, urllib.error.HTTPError) else ""
            raise Refused(f"{error} {words}") from error
        if result["type"] != "ok":
            raise Refused(result["error"]["message"])
        self.sure.add(self.number)

    def pull(self):
        """A new replica, and what is new for it."""
        path = self.path("second.db")
        for name in os.listdir(self.directory):
            if name.startswith("second.db"):
                os.unlink(os.path.join(self.directory, name))
        second = type(self.app)(path, self.app.url, **self.app.options)
        with contextlib.closing(second.connect()) as db:
            db.execute("SELECT count(*) FROM note").fetchall()
            db.execute("SELECT turso_sync()").fetchall()

    # --- The attack. -----------------------------------------------------------------------------------------------

    def end_of_lease(self):
        """So that each try makes the same calls."""
        query = "SELECT lease FROM turso_status"
        deadline = time.monotonic() + DEADLINE
        while self.db.execute(query).fetchall() not in ([], [("none",)]):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.005)

    def try_again(self, act):
        begin, started = time.monotonic(), False
        while True:
            try:
                return act()
            except (sqlite3.Error, Refused) as error:
                dead = self.server.process.poll() is not None
                waited = time.monotonic() - begin
                if started and waited > DEADLINE:
                    raise AssertionError(f"the next try fails: {error!r}") from error
                if not started and (dead or waited > PATIENCE):
                    self.start_again(dead)
                    started, begin = True, time.monotonic()
                time.sleep(0.01)

    def start_again(self, dead):
        self.starts += 1
        if dead:
            self.server.process.stdout.close()
            self.server.process = None
        else:
            self.server.kill()
        self.server.start()

    def strike(self, kind, how, n, act):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.log)
        self.control.arm(self.server.data, f"count {kind}", f"log {self.log}", how.format(n=n))
        try:
            act()
            error = None
        except (sqlite3.Error, Refused) as raised:
            error = raised
        self.control.disarm()
        points = faults.points(self.log)
        if "*write*" in how:
            points = [point for point in points if "write" in point]
        return points[n - 1] if len(points) >= n else None, error

    def attack(self, act, kind, how):
        failed, self.starts, passed = 0, 0, 0
        for n in numbers(kind):
            self.end_of_lease()
            point, error = self.strike(kind, how, n, act)
            if point is None:
                # Some calls belong to the time of day: it must pass twice in a row.
                passed += 1
                if passed == 2:
                    break
                continue
            passed = 0
            failed += error is not None
            which = f"{act.__name__}, {how.format(n=n)} ({point}): {error!r}"
            if isinstance(error, sqlite3.Error):
                self.assertIn(family(error_code(error)), DOCUMENTED, which)
            try:
                self.try_again(act)
            except AssertionError as wrong:
                raise AssertionError(f"{which}: {wrong}") from wrong
        if kind != "memory":
            self.assertEqual(self.starts, 0, "it had to be started again")
        word = how.split()[1]
        print(f"\nTABLE {act.__name__} | {word} | {n - 1} | {failed} | {self.starts}", flush=True)

    def attack_all(self, kind, how):
        for act in (self.pages, self.sql, self.pull, self.many_pages):
            self.attack(act, kind, how)
        self.db.execute("SELECT turso_sync()").fetchall()
        here = {row[0] for row in self.db.execute("SELECT id FROM note")}
        self.server.stop()
        file = self.keep(self.server.open_file("app"))
        there = [row[0] for row in file.execute("SELECT id FROM note")]
        self.assertEqual(here, set(there))
        self.assertEqual(len(there), len(set(there)))
        self.assertLessEqual(self.sure, here, "acknowledged and lost")
        self.assertLessEqual(here, self.sure | self.either, "refused and there")
        for database in (file, self.db):
            self.assertEqual(database.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        self.assertEqual([n for n in os.listdir(self.path("app")) if ".aside-" in n], [])

    def test_each_system_call_fails_once(self):
        self.attack_all("file net", "fail EIO {n}")

    def test_the_disk_is_full_from_each_write_on(self):
        self.attack_all("file", "partial ENOSPC {n}+ *write*")

    def test_each_request_for_memory_fails_once(self):
        self.attack_all("memory", "fail ENOMEM {n}")

    def test_a_start_during_which_a_call_fails_says_so_and_the_next_one_works(self):
        started = failed = 0
        for n in itertools.count(1):
            # The same WAL to recover each time.
            self.server.restart()
            self.try_again(self.pages)
            self.server.kill()
            point, error = self.strike("file", "fail EIO {n}", n, self.start_and_read)
            if point is None:
                self.assertIsNone(error)
                break
            started += self.server.process is not None
            failed += error is not None
            if self.server.process is None:
                self.server.start()
            self.try_again(self.pages)
        print(f"\nTABLE start | EIO | {n - 1} | {failed} | {started}", flush=True)
        here = {row[0] for row in self.db.execute("SELECT id FROM note")}
        self.assertEqual(here - self.either, self.sure)

    def start_and_read(self):
        command = [PRIMARY, "--listen", self.server.address, "--data", self.server.data]
        if not self.server._start_once(command):
            raise Refused("it did not start")
        self.db.execute("SELECT turso_sync()").fetchall()


if __name__ == "__main__":
    faults.run_preloaded()
    main()
