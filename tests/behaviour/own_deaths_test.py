"""Our own deaths are no foreign hand: kill -9 at any moment of commits, pulls and checkpoints."""

import glob
import os
import random
import signal
import sqlite3
import time

from harness import (
    BehaviourTest,
    RETRY_CODES,
    content,
    error_code,
    load_extension_once,
    main,
    seeded_random,
    sqlite_log,
)


def write_until_killed(app, name, acknowledged):
    db = app.connect(with_url=False)
    db.execute("PRAGMA cache_size=5")
    db.execute("PRAGMA wal_autocheckpoint=20")
    number = 0
    while number < 1000:
        number += 1
        row = f"{name}/{number}"
        try:
            db.execute("INSERT INTO t(b, c) VALUES(?, zeroblob(abs(random()) % 20000))", (row,))
        except sqlite3.OperationalError as error:
            if error_code(error) not in RETRY_CODES:
                raise
            continue
        os.write(acknowledged, (row + "\n").encode())
        if number % 7 == 0:
            db.execute("UPDATE t SET c = NULL WHERE c IS NOT NULL")
        if number % 11 == 0:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def die_again_and_again(app, seed, rounds, report):
    """Forks the writers: nothing of the replica is open here."""
    load_extension_once()
    chance = random.Random(seed)
    acknowledged = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in range(rounds):
        pids = []
        before = os.fstat(acknowledged).st_size
        for twin in range(1 + number % 2):
            pid = os.fork()
            if pid == 0:
                try:
                    write_until_killed(app, f"{number}.{twin}", acknowledged)
                finally:
                    os.write(2, repr(sqlite_log[-5:]).encode())
                    os._exit(1)
            pids.append(pid)
        # By what was done and not by the clock alone: on a slow machine a writer begins late.
        enough = before + chance.choice((0, 1, 1, 1, 10, 50))
        patience = time.monotonic() + 10
        while os.fstat(acknowledged).st_size < enough and time.monotonic() < patience:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.02))
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            status = os.waitpid(pid, 0)[1]
            assert os.WIFSIGNALED(status), f"round {number}: a writer ended by itself: {status}"


class OwnDeaths(BehaviourTest):
    def test_kills_at_random_moments_leave_no_copy_aside_and_no_page_to_repair(self):
        rounds = int(os.environ.get("TURSO_TEST_ROUNDS", "200"))
        seed = seeded_random("own deaths").random()
        server = self.primary()
        app = self.replica(server, "app", timeout="5s")
        other = self.open(self.replica(server, "other"))
        other.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b, c)")
        other.execute("CREATE TABLE u(a)")
        app.connect().close()
        report = self.path("acknowledged")
        child = self.spawn("deaths", die_again_and_again, app, seed, rounds, report)
        while child.process.is_alive():
            # So that the replica has something to pull as well.
            try:
                other.execute("INSERT INTO u VALUES(randomblob(3000))")
                other.execute("DELETE FROM u WHERE rowid < (SELECT max(rowid) FROM u) - 20")
            except sqlite3.OperationalError as error:
                self.assertIn(error_code(error), RETRY_CODES, error)
            time.sleep(0.01)
        child.finish()
        with open(report, encoding="utf-8") as lines:
            acknowledged = lines.read().split()
        start = len(sqlite_log)
        db = self.open(app, with_url=False)
        db.execute("SELECT turso_sync()").fetchall()
        self.assertEqual([("ok",)], db.execute("PRAGMA integrity_check").fetchall())
        other.execute("SELECT turso_sync()").fetchall()
        self.assertEqual(content(other), content(db))
        rows = [row for (row,) in db.execute("SELECT b FROM t")]
        self.assertEqual(len(rows), len(set(rows)), "a commit happened twice")
        self.assertEqual(set(), set(acknowledged) - set(rows), "acknowledged commits are lost")
        self.assertGreater(len(acknowledged), rounds // 4)
        self.assertEqual([], glob.glob(glob.escape(app.path) + ".aside-*"))
        self.assertNotIn("brought anew", self.logged_since(start))
        print(f"{rounds} rounds, {len(acknowledged)} acknowledged commits")


if __name__ == "__main__":
    main()
