"""P5: without its primary a replica reads as ever, refuses writes in time, and goes on when the primary is back."""

import os
import sqlite3
import statistics
import time

from harness import BehaviourTest, error_code, is_io_error, main, wait_until

TIMEOUT = 2  # seconds, the option of the replicas here
STICKY = 0.5  # Longer than a lease is kept after a transaction.


def read_for_a_while(replica, report):
    db = replica.connect(with_url=False)
    report.append(
        {"rows": db.execute("SELECT count(*) FROM t").fetchone()[0], "took": time_reads(db)}
    )
    db.close()


def time_reads(db):
    """Seconds that each of some reads took."""
    took = []
    for _ in range(200):
        began = time.perf_counter()
        db.execute("SELECT * FROM t WHERE id = 1").fetchall()
        took.append(time.perf_counter() - began)
    return took


class PrimaryDown(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        self.app = self.replica(self.server, "app", timeout=f"{TIMEOUT}s")
        self.db = self.open(self.app)
        self.db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER)")
        self.db.execute("INSERT INTO t VALUES(1, 0)")

    def down(self, how):
        """Stopped in its tracks, or gone. A lease that is still held is left to end first."""
        time.sleep(STICKY)
        (self.server.pause if how == "paused" else self.server.kill)()

    def back(self, how):
        (self.server.resume if how == "paused" else self.server.start)()

    def refused_write(self, db, sql="UPDATE t SET n = n + 1"):
        began = time.monotonic()
        error = self.fails(db.execute, sql)
        self.assertLess(time.monotonic() - began, TIMEOUT + 1)
        self.assertTrue(is_io_error(error_code(error)), f"{error_code(error)}: {error}")
        return error

    def assert_reads_at_full_speed(self, took, usual):
        self.assertLess(max(took), 0.25, "a read waited")
        self.assertLess(statistics.median(took), max(5 * statistics.median(usual), 0.001))

    def test_reads_go_on_at_full_speed(self):
        usual = time_reads(self.db)
        report = self.report("reader")
        for how in ("paused", "killed"):
            with self.subTest(how):
                self.down(how)
                self.assert_reads_at_full_speed(time_reads(self.db), usual)
                began = time.monotonic()
                self.assertEqual(
                    [(0,)],
                    self.open(self.app, with_url=False).execute("SELECT n FROM t").fetchall(),
                )
                self.assertLess(
                    time.monotonic() - began,
                    1,
                    "opening an existing replica waited for the primary",
                )
                self.spawn(f"reader-{how}", read_for_a_while, self.app, report).finish()
                line = report.read()[-1]
                self.assertEqual(1, line["rows"])
                self.assert_reads_at_full_speed(line["took"], usual)
                self.back(how)

    def test_writes_fail_in_time_and_work_again_without_reopening(self):
        for number, how in enumerate(("paused", "killed"), 1):
            with self.subTest(how):
                self.down(how)
                error = self.refused_write(self.db)
                self.assert_code(error, sqlite3.SQLITE_IOERR)
                self.assert_explained(
                    [self.db.execute("SELECT turso_last_error()").fetchone()[0]],
                    self.server.address,
                )
                self.assertFalse(self.db.in_transaction)
                self.assertEqual([(number - 1,)], self.db.execute("SELECT n FROM t").fetchall())
                self.back(how)
                self.db.execute("UPDATE t SET n = n + 1")
                self.assertEqual([(number,)], self.db.execute("SELECT n FROM t").fetchall())
        self.assert_primary_has(2)

    def test_transactions_fail_in_time_and_leave_nothing(self):
        for how in ("paused", "killed"):
            for begin in ("BEGIN", "BEGIN IMMEDIATE"):
                with self.subTest(how=how, begin=begin):
                    self.down(how)
                    began = time.monotonic()
                    error = self.fails(
                        lambda: (self.db.execute(begin), self.db.execute("UPDATE t SET n = -1"))
                    )
                    self.assertLess(time.monotonic() - began, TIMEOUT + 1)
                    self.assert_code(error, sqlite3.SQLITE_IOERR)
                    if self.db.in_transaction:
                        self.db.execute("ROLLBACK")
                    self.assertEqual([(0,)], self.db.execute("SELECT n FROM t").fetchall())
                    self.back(how)
        self.assert_primary_has(0)

    def test_a_transaction_that_has_read_can_go_on_reading_after_its_write_was_refused(self):
        for how in ("paused", "killed"):
            with self.subTest(how):
                self.down(how)
                self.db.execute("BEGIN")
                self.assertEqual([(0,)], self.db.execute("SELECT n FROM t").fetchall())
                began = time.monotonic()
                error = self.fails(self.db.execute, "UPDATE t SET n = 5")
                self.assertLess(time.monotonic() - began, TIMEOUT + 1)
                # SQLITE_IOERR would end the transaction (vfs/result_codes.h).
                self.assert_code(error, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
                self.assertTrue(self.db.in_transaction)
                self.assertEqual([(0,)], self.db.execute("SELECT n FROM t").fetchall())
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                self.back(how)

    def test_a_transaction_whose_primary_goes_away_before_its_commit_is_settled_afterwards(self):
        for how in ("paused", "killed"):
            with self.subTest(how):
                self.db.execute("UPDATE t SET n = 0")
                self.db.execute("BEGIN IMMEDIATE")
                self.db.execute("UPDATE t SET n = 100")
                (self.server.pause if how == "paused" else self.server.kill)()
                began = time.monotonic()
                error = self.fails(self.db.execute, "COMMIT")
                self.assertLess(time.monotonic() - began, TIMEOUT + 1)
                self.assertTrue(is_io_error(error_code(error)), f"{error_code(error)}: {error}")
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                self.back(how)
                self.write_in_the_end(self.db, "UPDATE t SET n = n + 1")
                value = self.db.execute("SELECT n FROM t").fetchone()[0]
                self.assertIn(value, (1, 101), "neither committed nor refused")
                if error_code(error) == sqlite3.SQLITE_IOERR:
                    self.assertEqual(1, value, "a clean failure that happened all the same")
        self.assert_primary_has(value)

    def test_other_processes_of_the_replica_work_again_too(self):
        other = self.client(self.app)
        self.down("killed")
        self.refused_write(self.db)
        error = self.fails(other.sql, "UPDATE t SET n = n + 1")
        self.assertTrue(is_io_error(error_code(error)))
        self.back("killed")
        other.sql("UPDATE t SET n = n + 1")
        self.db.execute("UPDATE t SET n = n + 1")
        self.assertEqual([(2,)], other.sql("SELECT n FROM t"))
        self.assert_primary_has(2)

    def test_a_new_replica_cannot_be_made_and_leaves_nothing_behind(self):
        new = self.replica(self.server, "new", timeout=f"{TIMEOUT}s")
        for how in ("killed", "paused"):
            with self.subTest(how):
                self.down(how)
                began = time.monotonic()
                error = self.fails(new.connect)
                self.assertLess(time.monotonic() - began, TIMEOUT + 1)
                self.assert_code(error, sqlite3.SQLITE_CANTOPEN)
                self.assertEqual([], os.listdir(os.path.dirname(new.path)))
                self.back(how)
        self.assertEqual([(0,)], self.open(new).execute("SELECT n FROM t").fetchall())

    def test_an_existing_replica_opens_in_a_new_process_and_can_write_later(self):
        self.down("killed")
        late = self.client(self.app)
        self.assertEqual([(0,)], late.sql("SELECT n FROM t"))
        self.assertTrue(is_io_error(error_code(self.fails(late.sql, "UPDATE t SET n = 1"))))
        self.back("killed")
        late.sql("UPDATE t SET n = 1")
        self.assertEqual([(1,)], self.db.execute("SELECT n FROM t").fetchall())

    def test_asking_for_news_fails_and_the_status_says_offline(self):
        for how in ("paused", "killed"):
            with self.subTest(how):
                self.down(how)
                began = time.monotonic()
                self.fails(self.db.execute, "SELECT turso_sync()")
                self.assertLess(time.monotonic() - began, TIMEOUT + 1)
                wait_until(lambda: self.status("state") == "offline", what="state offline")
                wait_until(
                    lambda: self.db.execute("SELECT turso_lag()").fetchone()[0] > 1000,
                    what="a growing lag",
                )
                self.back(how)
                self.db.execute("SELECT turso_sync()")
                wait_until(lambda: self.status("state") == "live", what="state live")
                wait_until(
                    lambda: self.db.execute("SELECT turso_lag()").fetchone()[0] < 1500,
                    what="a small lag",
                )

    def status(self, column):
        return self.db.execute(f"SELECT {column} FROM turso_status").fetchone()[0]

    def test_a_follower_follows_again_by_itself(self):
        follower = self.open(self.replica(self.server, "follower"))
        for number, how in enumerate(("paused", "killed"), 1):
            with self.subTest(how):
                self.down(how)
                time.sleep(1)
                self.back(how)
                self.db.execute("UPDATE t SET n = ?", (number,))
                wait_until(
                    lambda: follower.execute("SELECT n FROM t").fetchone()[0] == number,
                    timeout=10,
                    what="the follower to follow",
                )

    def assert_primary_has(self, value):
        self.server.stop()
        db = self.keep(self.server.open_file())
        self.assertEqual([(value,)], db.execute("SELECT n FROM t").fetchall())
        db.close()


if __name__ == "__main__":
    main()
