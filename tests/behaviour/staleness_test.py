"""max_staleness, on_stale, turso_wait and turso_lag, while the primary stalls and while it does not."""

import contextlib
import os
import sqlite3
import threading
import time

from harness import (
    REMOTE,
    BehaviourTest,
    Metronome,
    Replica,
    error_code,
    is_io_error,
    main,
    only_of_primary,
    seconds,
    seeded_random,
    wait_until,
)
from proxy import Exchange

GRACE = 1.0  # Seconds by which a wait may outlast its deadline.
COUNT = "SELECT n FROM t"
# At most, and a little: a turso-primary is asked once a second, a libSQL server every 200 ms.
QUESTIONS_IN_2_SECONDS = 6 if REMOTE == "turso-primary" else 16


def keep_counting(replica, report, stop):
    """Notes each value and when it was acknowledged, until the file `stop` is there."""
    db = replica.connect()
    n = 0
    while not os.path.exists(stop):
        with contextlib.suppress(sqlite3.OperationalError):
            db.execute("UPDATE t SET n = ?", (n + 1,))
            n += 1
            report.append([n, time.monotonic()])
        time.sleep(0.01)
    db.close()


class Staleness(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.metronome = Metronome()
        self.server = self.primary()
        self.proxy = self.proxy_before(self.server)
        self.writer = self.open(self.replica(self.server, "writer"))
        self.writer.execute("CREATE TABLE t(n)")
        self.writer.execute("INSERT INTO t VALUES(0)")

    def reader(self, name="reader", **options):
        os.makedirs(self.path(name), exist_ok=True)
        options = {"timeout": "1s", "sync_interval": "off", **options}
        return Replica(self.path(f"{name}/{name}.db"), self.proxy.url(), **options)

    def stall(self, how="silent"):
        """From now on no question is answered."""
        if how == "stopped":
            self.server.pause()
        else:
            self.proxy.disturb = lambda _call: Exchange.stall

    def resume(self, how="silent"):
        if how == "stopped":
            self.server.resume()
        else:
            self.proxy.disturb = None
            self.proxy.drop_connections()

    def timed(self, act, at_most, at_least=0.0):
        """What `act` returns or fails with. It may take longer by as much as the machine did not let it run."""
        lost, began = self.metronome.lost, time.monotonic()
        try:
            return act()
        except sqlite3.Error as error:
            return error
        finally:
            took = time.monotonic() - began
            self.assertGreater(took, at_least)
            self.assertLess(took - (self.metronome.lost - lost), at_most)

    def read(self, db):
        return db.execute(COUNT).fetchone()[0]

    def status(self, db, column):
        """Asked of another database of the process: to ask a replica for a table is to read it."""
        path = db.execute("PRAGMA database_list").fetchone()[2]
        sql = f"SELECT {column} FROM turso_status WHERE path = ?"
        with contextlib.closing(sqlite3.connect(":memory:")) as other:
            return other.execute(sql, (path,)).fetchone()[0]

    def assert_too_old(self, db, error):
        self.assertIsInstance(error, sqlite3.Error)
        self.assert_code(error, sqlite3.SQLITE_IOERR)
        self.assertFalse(db.in_transaction)


class Bounds(Staleness):
    def test_no_read_is_older_than_its_bound_while_the_network_comes_and_goes(self):
        kinds = [
            {"max_staleness": bound, "sync_interval": sync, "on_stale": policy}
            for bound, sync, policy in (
                ("0", "off", "wait"),
                ("0", "follow", "error"),
                ("100ms", "off", "error"),
                ("100ms", "follow", "wait"),
                ("400ms", "follow", "error"),
                ("400ms", "200ms", "wait"),
                ("100ms", "off", "serve"),
            )
        ]
        dbs = [self.reader(f"r{n}", **kind).connect(check_same_thread=False) for n, kind in enumerate(kinds)]
        for db in dbs:
            self.keep(db)
        report, stop = self.report("counted"), self.path("stop")
        counting = self.spawn("counter", keep_counting, self.replica(self.server, "c"), report, stop)
        wait_until(report.read, what="the first count")
        deadline = time.monotonic() + seconds(6)
        seen = [[] for _ in kinds]
        readers = [
            threading.Thread(target=self.keep_reading, args=(db, deadline, notes))
            for db, notes in zip(dbs, seen)
        ]
        for reader in readers:
            reader.start()
        self.come_and_go(deadline)
        for reader in readers:
            reader.join()
        open(stop, "w", encoding="utf-8").close()
        counting.finish()
        acknowledged = report.read()
        for kind, notes in zip(kinds, seen):
            with self.subTest(**kind):
                self.look_at(kind, notes, acknowledged)

    def keep_reading(self, db, deadline, notes):
        while time.monotonic() < deadline:
            began = time.monotonic()
            try:
                notes.append((began, self.read(db)))
            except sqlite3.Error as error:
                notes.append((began, error))
            time.sleep(0.005)

    def come_and_go(self, deadline):
        generator = seeded_random("staleness")
        stall = 1.4  # The first outlasts the one try of a read that is rather served something old.
        while time.monotonic() < deadline:
            self.stall()
            time.sleep(stall)
            self.resume()
            time.sleep(generator.uniform(0.1, 0.9))
            stall = generator.uniform(0.1, 0.9)

    def look_at(self, kind, notes, acknowledged):
        bound = 0.0 if kind["max_staleness"] == "0" else float(kind["max_staleness"][:-2]) / 1000
        answers = [note for note in notes if isinstance(note[1], int)]
        failures = [note[1] for note in notes if not isinstance(note[1], int)]
        late = [
            (began, value)
            for began, value in answers
            if value < max((n for n, at in acknowledged if at <= began - bound), default=0)
        ]
        print(f"{kind}: {len(answers)} reads, {len(failures)} refused, {len(late)} older")
        self.assertGreater(len(answers), 5)
        self.assertEqual({sqlite3.SQLITE_IOERR}, {sqlite3.SQLITE_IOERR, *map(error_code, failures)})
        if kind["on_stale"] == "serve":
            self.assertEqual([], failures)
            self.assertGreater(len(late), 0, "so these stalls would have shown")
        else:
            self.assertEqual([], late[:5])

    def test_a_bound_of_zero_is_current_as_of_the_start_of_each_transaction(self):
        db = self.open(self.reader(max_staleness="0"))
        for number in range(1, 6):
            db.execute("BEGIN")
            before = self.read(db)
            self.writer.execute("UPDATE t SET n = ?", (number,))
            self.assertEqual(before, self.read(db), "a snapshot moved")
            db.execute("COMMIT")
            self.assertEqual(number, self.read(db))

    def test_no_read_asks_while_the_follower_is_current_within_the_bound(self):
        db = self.open(self.reader(sync_interval="follow", max_staleness="5s", on_stale="error"))
        self.read(db)
        wait_until(lambda: self.proxy.count("pull") > 2, what="the follower")
        asked, began = len(self.proxy.calls), time.monotonic()
        reads = 0
        while time.monotonic() < began + 2:
            self.read(db)
            reads += 1
        self.assertGreater(reads, 100)
        questions = len(self.proxy.calls) - asked
        self.assertLess(questions, QUESTIONS_IN_2_SECONDS, "more than the follower's own")

    def test_one_process_follows_and_another_reads_within_the_bound_without_asking(self):
        options = {"max_staleness": "5s", "on_stale": "error", "sync_interval": "follow"}
        follower = self.client(self.reader(**options), name="follower")
        follower.sql(COUNT)
        reader = self.open(self.reader(**{**options, "sync_interval": "off"}))
        for number in range(1, 4):
            self.writer.execute("UPDATE t SET n = ?", (number,))
            wait_until(lambda number=number: self.read(reader) == number, 5, "the news")
        self.assertEqual(0, self.status(reader, "round_trips"))
        # Another process follows when this one is gone.
        heir = self.client(self.reader(**options), name="heir")
        heir.sql(COUNT)
        follower.kill()
        self.writer.execute("UPDATE t SET n = 9")
        wait_until(lambda: self.read(reader) == 9, 10, "the heir's news")
        self.assertEqual(0, self.status(reader, "round_trips"))

    def test_an_open_snapshot_is_not_refused(self):
        replica = self.reader(max_staleness="100ms", on_stale="error")
        db, other = self.open(replica), self.open(replica)
        db.execute("BEGIN")
        self.assertEqual(0, self.read(db))
        self.stall()
        time.sleep(0.2)
        for _ in range(20):
            self.assertEqual(0, self.timed(lambda: self.read(db), at_most=0.2))
        self.assert_too_old(other, self.timed(lambda: self.read(other), at_most=1 + GRACE))
        self.assertEqual(0, self.read(db))
        db.execute("COMMIT")
        self.assert_too_old(db, self.timed(lambda: self.read(db), at_most=1 + GRACE))
        self.resume()
        wait_until(lambda: not isinstance(self.timed(lambda: self.read(db), 3), sqlite3.Error), 5)


class Policies(Staleness):
    def stalled_reader(self, how, policy, **options):
        options = {"max_staleness": "100ms", "on_stale": policy, "timeout": "2s", **options}
        db = self.open(self.reader(f"{policy}-{how}-{len(options)}", **options))
        self.read(db)
        self.stall(how)
        time.sleep(0.2)
        return db

    def test_wait_fails_at_the_timeout_and_not_before(self):
        for how in ("silent", "stopped"):
            with self.subTest(how):
                db = self.stalled_reader(how, "wait")
                read = lambda db=db: self.read(db)  # noqa: E731
                self.assert_too_old(db, self.timed(read, at_most=2 + GRACE, at_least=1.9))
                self.assert_explained(
                    [db.execute("SELECT turso_last_error()").fetchone()[0]], str(self.proxy.port)
                )
                self.resume(how)
                self.assertEqual(0, self.read(db))

    def test_wait_also_fails_at_the_timeout_where_every_try_fails_at_once(self):
        db = self.stalled_reader("silent", "wait", sync_interval="300ms")
        self.proxy.down()
        self.assert_too_old(db, self.timed(lambda: self.read(db), 2 + GRACE, at_least=1.9))
        self.proxy.up()
        self.resume()
        self.assertEqual(0, self.read(db))

    def test_wait_goes_on_as_soon_as_the_primary_answers(self):
        db = self.stalled_reader("silent", "wait", timeout="20s")
        self.writer.execute("UPDATE t SET n = 7")
        threading.Timer(0.5, self.resume).start()
        self.assertEqual(7, self.timed(lambda: self.read(db), at_most=10, at_least=0.4))

    def test_error_fails_after_one_short_try_and_then_at_once(self):
        for how in ("silent", "stopped"):
            for sync in ("off", "follow"):
                with self.subTest(how, sync=sync):
                    db = self.stalled_reader(how, "error", timeout="20s", sync_interval=sync)
                    read = lambda db=db: self.read(db)  # noqa: E731
                    time.sleep(1.2 if sync == "follow" else 0)
                    self.assert_too_old(db, self.timed(read, at_most=1 + GRACE))
                    self.assert_too_old(db, self.timed(read, at_most=0.08))
                    self.resume(how)
                    wait_until(lambda db=db: self.tried(db) == 0, 10, "the end of the refusals")

    def tried(self, db):
        with contextlib.suppress(sqlite3.Error):
            return self.read(db)
        return None

    def test_serve_serves_after_one_short_try_and_then_at_once(self):
        for sync in ("off", "follow"):
            with self.subTest(sync=sync):
                db = self.stalled_reader("silent", "serve", timeout="20s", sync_interval=sync)
                self.writer.execute("UPDATE t SET n = n + 1")
                old = self.timed(lambda db=db: self.read(db), at_most=1 + GRACE)
                self.assertIsInstance(old, int)
                self.assertEqual(old, self.timed(lambda db=db: self.read(db), at_most=0.08))
                self.resume()
                wait_until(lambda db=db, old=old: self.read(db) == old + 1, 10, "the news")

    def test_serve_never_waits_for_long_while_the_primary_stalls(self):
        db = self.stalled_reader("silent", "serve", sync_interval="follow")
        self.read(db)
        began, reads = time.monotonic(), 0
        while time.monotonic() < began + 4:
            self.timed(lambda: self.read(db), at_most=1 + GRACE)
            reads += 1
        self.assertGreater(reads, 500)


class Waiting(Staleness):
    def newer_revision(self):
        self.writer.execute("UPDATE t SET n = n + 1")
        return self.writer.execute("SELECT turso_revision()").fetchone()[0]

    def test_turso_wait_keeps_its_deadline_while_the_primary_stalls(self):
        revision = self.newer_revision()
        for sync in ("off", "follow", "200ms"):
            with self.subTest(sync=sync):
                db = self.open(self.reader(f"wait-{sync}", timeout="20s", sync_interval=sync))
                self.read(db)
                db.execute("SELECT turso_sync()")
                self.stall()
                self.proxy.drop_connections()  # A question that is open already would still be answered.
                newer = self.newer_revision()
                wait = lambda r, db=db: db.execute("SELECT turso_wait(?, 300)", (r,)).fetchone()[0]  # noqa: E731
                self.assertEqual(0, self.timed(lambda wait=wait: wait(newer), 0.3 + GRACE, 0.25))
                self.resume()
                wait_until(lambda wait=wait: wait(newer) == 1, 10, "the revision")
                self.assertEqual(1, wait(revision))

    def test_turso_wait_keeps_its_deadline_where_only_pulls_stall(self):
        db = self.open(self.reader(timeout="20s"))
        db.execute("SELECT turso_sync()")
        newer = self.newer_revision()
        self.proxy.disturb = lambda call: Exchange.stall if call == "pull" else None
        wait = lambda: db.execute("SELECT turso_wait(?, 300)", (newer,)).fetchone()[0]  # noqa: E731
        self.assertEqual(0, self.timed(wait, 0.3 + GRACE, 0.25))
        self.resume()
        wait_until(lambda: wait() == 1, 10, "the revision")

    @only_of_primary("places in the log of a libSQL server are compared without asking it")
    def test_turso_wait_asks_again_when_it_could_not_compare(self):
        revision = self.newer_revision()
        db = self.open(self.reader(timeout="20s"))
        db.execute("SELECT turso_sync()")
        self.newer_revision()
        db.execute("SELECT turso_sync()")
        self.proxy.down()
        threading.Timer(0.5, self.proxy.up).start()
        wait = lambda: db.execute("SELECT turso_wait(?, 15000)", (revision,)).fetchone()[0]  # noqa: E731
        self.assertEqual(1, self.timed(wait, at_most=10, at_least=0.4))

    def test_questions_of_several_threads_keep_their_deadlines_together(self):
        replica = self.reader(timeout="1s")
        self.open(replica)
        self.stall()
        revision = self.newer_revision()
        wrong = []

        def ask(sql, limit):
            db = replica.connect()
            lost, began = self.metronome.lost, time.monotonic()
            with contextlib.suppress(sqlite3.Error):
                db.execute(sql).fetchall()
            took = time.monotonic() - began - (self.metronome.lost - lost)
            db.close()
            if took > limit + GRACE:
                wrong.append((sql, took))

        wait = f"SELECT turso_wait('{revision}', 500)"
        questions = [("SELECT turso_sync()", 1.0)] * 6 + [(wait, 0.5)] * 4
        threads = [threading.Thread(target=ask, args=question) for question in questions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], wrong)

    def test_a_write_does_not_wait_for_another_threads_question(self):
        replica = self.reader(timeout="5s")
        db = self.open(replica)
        db.execute("UPDATE t SET n = 1")
        asking = threading.Event()

        def stall_pulls(call):
            if call != "pull":
                return None
            asking.set()
            return Exchange.stall

        self.proxy.disturb = stall_pulls
        threading.Thread(target=sync_once, args=(replica,), daemon=True).start()
        self.assertTrue(asking.wait(20))
        written = self.timed(lambda: db.execute("UPDATE t SET n = 2").fetchall(), at_most=2)
        self.assertEqual([], written)
        self.resume()


def sync_once(replica):
    db = replica.connect()
    with contextlib.suppress(sqlite3.Error):
        db.execute("SELECT turso_sync()")
    db.close()


class Lag(Staleness):
    def lag(self, db):
        lag = db.execute("SELECT turso_lag()").fetchone()[0]
        return float("inf") if lag is None else lag

    def test_the_lag_grows_while_the_primary_stalls_and_falls_again(self):
        db = self.open(self.reader(sync_interval="follow"))
        self.read(db)
        for how in ("silent", "stopped"):
            with self.subTest(how):
                wait_until(lambda: self.lag(db) < 1500, what="a small lag")
                self.stall(how)
                wait_until(lambda: self.lag(db) > 2500, 20, "a lag of 2.5 s")
                before, at = self.lag(db), time.monotonic()
                time.sleep(0.3)
                after, passed = self.lag(db), (time.monotonic() - at) * 1000
                self.assertGreaterEqual(after - before, 290)
                self.assertLess(after - before, passed + 50)
                self.resume(how)
                wait_until(lambda: self.lag(db) < 1500, 20, "a small lag again")

    def test_without_following_the_lag_falls_when_it_is_asked(self):
        db = self.open(self.reader())
        db.execute("SELECT turso_sync()")
        first = self.lag(db)
        wait_until(lambda: self.lag(db) > first + 400, 10, "a greater lag")
        db.execute("SELECT turso_sync()")
        self.assertLess(self.lag(db), 400)

    def test_the_state_is_stale_when_the_bound_is_exceeded_and_live_after_a_read(self):
        db = self.open(self.reader(max_staleness="300ms"))
        for _ in range(2):
            self.read(db)
            self.assertEqual("live", self.status(db, "state"))
            wait_until(lambda: self.status(db, "state") == "stale", 10, "stale")

    def test_the_state_is_offline_in_every_process_while_the_primary_stalls(self):
        replica = self.reader(sync_interval="follow", timeout="20s")
        first, second = self.client(replica), self.client(replica)
        state = "SELECT state FROM turso_status"

        def all_say(word):
            states = [client.sql(state)[0][0] for client in (first, second)]
            return states == [word, word]

        for client in (first, second):
            client.sql(COUNT)
        wait_until(lambda: all_say("live"), what="live")
        for how in ("silent", "stopped"):
            with self.subTest(how):
                self.stall(how)
                wait_until(lambda: all_say("offline"), 15, "offline")
                self.resume(how)
                wait_until(lambda: all_say("live"), 30, "live again")

    def test_a_process_that_failed_is_not_offline_when_another_hears_the_primary(self):
        follower = self.client(self.reader(sync_interval="follow"), name="follower")
        follower.sql(COUNT)
        db = self.open(self.reader())
        self.stall()
        error = self.timed(lambda: db.execute("SELECT turso_sync()").fetchall(), 1 + GRACE)
        self.assertTrue(is_io_error(error_code(error)))
        self.assertEqual("offline", self.status(db, "state"))
        self.resume()
        wait_until(lambda: self.status(db, "state") == "live", 10, "what the follower knows")


if __name__ == "__main__":
    main()
