"""P2 and P3: what was acknowledged is at the primary, once, whoever is killed and whenever."""

import collections
import sqlite3
import time

from harness import (
    OUTCOME_UNKNOWN,
    BehaviourTest,
    error_code,
    error_name,
    main,
    seconds,
    seeded_random,
    wait_until,
)

# Failures after which nothing may be there.
CLEAN_FAILURES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_SNAPSHOT, sqlite3.SQLITE_IOERR}


def insert_until_killed(replica, prefix, report):
    db = replica.connect(with_url=False)
    number = 0
    while True:
        number += 1
        rows = [f"{prefix}.{number}.{part}" for part in range(1 if number % 3 else 4)]
        try:
            if len(rows) == 1:
                db.execute("INSERT INTO log(text, padding) VALUES(?, randomblob(500))", rows)
            else:
                db.execute("BEGIN IMMEDIATE")
                db.executemany(
                    "INSERT INTO log(text, padding) VALUES(?, randomblob(500))",
                    [(row,) for row in rows],
                )
                db.execute("COMMIT")
            report.append(["ok", rows])
        except sqlite3.Error as error:
            report.append([error_name(error), rows, error_code(error), str(error)])
            if db.in_transaction:
                db.execute("ROLLBACK")
            time.sleep(0.02)


class Durable(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        self.app = self.replica(self.server, "app", timeout="3s")
        db = self.app.connect()
        db.execute("CREATE TABLE log(id INTEGER PRIMARY KEY, text TEXT NOT NULL, padding BLOB)")
        db.execute("CREATE INDEX log_text ON log(text)")
        db.close()
        self.reports = []

    def test_acknowledged_inserts_survive_kill_9_of_replica_and_primary(self):
        generator = seeded_random("kill both")
        deadline = time.monotonic() + seconds(25)
        rounds = 0
        while time.monotonic() < deadline or rounds < 6:
            writer = self.start_writer(f"r{rounds}")
            time.sleep(generator.random() * 0.4)
            victims = [writer.kill, self.server.kill]
            generator.shuffle(victims)
            victims[0]()
            time.sleep(generator.choice([0, 0, generator.random() * 0.3]))
            victims[1]()
            self.server.start()
            self.check_through_a_new_replica(f"check{rounds}")
            rounds += 1
        print(f"{rounds} rounds")
        self.check_the_file()

    def test_a_writer_that_outlives_its_primary_never_loses_or_doubles_a_row(self):
        generator = seeded_random("kill the primary")
        writer = self.start_writer("w")
        deadline = time.monotonic() + seconds(12)
        while time.monotonic() < deadline:
            time.sleep(generator.random() * 0.5)
            self.server.kill()
            time.sleep(generator.choice([0, generator.random() * 0.3]))
            self.server.start()
            self.wait_for_another_commit(self.reports[0])
        writer.kill()
        self.check_through_a_new_replica("check")
        self.check_the_file()

    def test_a_writer_killed_often_goes_on_where_it_was(self):
        generator = seeded_random("kill the replica")
        for number in range(6):
            writer = self.start_writer(f"w{number}")
            time.sleep(generator.random() * 0.3)
            writer.kill()
            db = self.open(self.app, with_url=False)
            self.assertEqual([("ok",)], db.execute("PRAGMA integrity_check").fetchall())
            self.check(db, "the replica itself")
            db.close()
        self.check_the_file()

    def start_writer(self, name):
        report = self.report(name)
        self.reports.append(report)
        writer = self.spawn(name, insert_until_killed, self.app, name, report)
        self.wait_for_another_commit(report)
        return writer

    def wait_for_another_commit(self, report):
        before = acknowledged(report)
        wait_until(lambda: acknowledged(report) > before, what=f"a commit; {report.read()[-3:]}")

    def check_through_a_new_replica(self, name):
        db = self.replica(self.server, name).connect()
        self.check(db, "a new replica")
        fresh = db.execute("SELECT * FROM log ORDER BY id").fetchall()
        db.close()
        # sqld keeps for five seconds what a writer held that was killed.
        db = self.app.with_options(timeout="10s").connect(with_url=False)
        db.execute("SELECT turso_sync()")
        self.assertEqual([("ok",)], db.execute("PRAGMA integrity_check").fetchall())
        if not self.writer_runs():
            self.assertEqual(fresh, db.execute("SELECT * FROM log ORDER BY id").fetchall())
        db.close()

    def writer_runs(self):
        return any(child.process.is_alive() for child in self._children)

    def check_the_file(self):
        self.server.stop()
        db = self.keep(self.server.open_file())
        self.check(db, "the primary's file")
        self.assertEqual([("ok",)], db.execute("PRAGMA integrity_check").fetchall())

    def check(self, db, where):
        present = collections.Counter(text for (text,) in db.execute("SELECT text FROM log"))
        outcomes = collections.Counter()
        for report in self.reports:
            for line in report.read():
                self.check_line(line, present, where)
                outcomes[line[0]] += 1
        self.assertEqual(
            [], [text for text, count in present.items() if count > 1], f"doubled in {where}"
        )
        print(f"{where}: {dict(outcomes)}, {len(present)} rows")

    def check_line(self, line, present, where):
        rows = [row for row in line[1] if row in present]
        self.assertIn(len(rows), (0, len(line[1])), f"half a transaction is in {where}: {line}")
        if line[0] == "ok":
            self.assertTrue(rows, f"acknowledged and not in {where}: {line}")
        elif line[2] in CLEAN_FAILURES:
            self.assertFalse(rows, f"told that it failed, and in {where}: {line}")
        else:
            self.assertEqual(OUTCOME_UNKNOWN, line[2], f"not a code of the contract: {line}")


def acknowledged(report):
    return sum(1 for line in report.read() if line[0] == "ok")


if __name__ == "__main__":
    main()
