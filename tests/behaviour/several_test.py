"""Several replicas in one process, several processes on one replica, and databases of every page size."""

import os
import sqlite3

from harness import (
    BUSY,
    BehaviourTest,
    Replica,
    error_code,
    main,
    only_of_primary,
    seeded_random,
    wait_until,
)

OUTSIDE_CODES = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY)


class SeveralReplicas(BehaviourTest):
    @only_of_primary("databases of libSQL servers are told apart by their logs, and by no identity")
    def test_replicas_of_several_primaries_live_in_one_process(self):
        primaries = [self.primary(name=f"primary{n}") for n in range(3)]
        replicas = [
            self.replica(primary, f"app{n}-{database}", database=database)
            for n, primary in enumerate(primaries)
            for database in ("main", "other")
        ]
        connections = [self.open(replica) for replica in replicas]
        for number, db in enumerate(connections):
            db.execute("CREATE TABLE t(a)")
            db.execute("INSERT INTO t VALUES(?)", (number,))
        for number, db in enumerate(connections):
            self.assertEqual([(number,)], db.execute("SELECT a FROM t").fetchall())
        rows = connections[0].execute("SELECT path, url, database_id FROM turso_status").fetchall()
        self.assertEqual(
            sorted(os.path.realpath(replica.path) for replica in replicas),
            sorted(os.path.realpath(row[0]) for row in rows),
        )
        self.assertEqual(
            len(replicas), len({row[2] for row in rows}), "two databases have one identity"
        )
        for number, primary in enumerate(primaries):
            primary.stop()
            for offset, database in enumerate(("main", "other")):
                db = self.keep(primary.open_file(database))
                self.assertEqual([(2 * number + offset,)], db.execute("SELECT a FROM t").fetchall())

    def test_one_primary_that_is_down_does_not_hold_up_the_others(self):
        first, second = self.primary(name="first"), self.primary(name="second")
        one = self.open(self.replica(first, "one", timeout="1s"))
        two = self.open(self.replica(second, "two"))
        for db in (one, two):
            db.execute("CREATE TABLE t(a)")
        first.kill()
        self.fails(one.execute, "INSERT INTO t VALUES(1)")
        two.execute("INSERT INTO t VALUES(2)")
        self.assertEqual([(2,)], two.execute("SELECT * FROM t").fetchall())
        self.assertEqual([], one.execute("SELECT * FROM t").fetchall())

    def test_two_replicas_of_one_database_in_one_process_keep_apart(self):
        primary = self.primary()
        one, two = (self.open(self.replica(primary, name)) for name in ("one", "two"))
        one.execute("CREATE TABLE t(a)")
        one.execute("INSERT INTO t VALUES(1)")
        two.execute("SELECT turso_sync()").fetchall()  # SQLite looks for the table before it writes.
        two.execute("INSERT INTO t VALUES(2)")
        one.execute("INSERT INTO t VALUES(3)")
        for db in (one, two):
            db.execute("SELECT turso_sync()").fetchall()
            self.assertEqual(
                [(1,), (2,), (3,)], db.execute("SELECT a FROM t ORDER BY a").fetchall()
            )


class Attached(BehaviourTest):
    def setUp(self):
        super().setUp()
        primaries = [self.primary(name=name) for name in ("first", "second")]
        self.one, self.two = (
            self.replica(primary, f"app-{n}") for n, primary in enumerate(primaries)
        )
        for number, replica in enumerate((self.one, self.two), 1):
            db = replica.connect()
            db.execute("CREATE TABLE t(a)")
            db.execute("INSERT INTO t VALUES(?)", (number,))
            db.close()
        self.db = self.open(self.one)
        self.db.execute("ATTACH ? AS two", (self.two.uri(),))

    def rows(self, db, schema):
        return [row for (row,) in db.execute(f"SELECT a FROM {schema}.t ORDER BY a")]

    def test_both_can_be_read_in_one_transaction(self):
        self.db.execute("BEGIN")
        self.assertEqual(
            [(1, 2)], self.db.execute("SELECT x.a, y.a FROM main.t x, two.t y").fetchall()
        )
        self.db.execute("COMMIT")

    def test_each_can_be_written_in_a_transaction_of_its_own(self):
        self.db.execute("INSERT INTO main.t SELECT a + 10 FROM two.t")
        self.db.execute("INSERT INTO two.t SELECT a + 100 FROM main.t")
        self.assertEqual([1, 12], self.rows(self.db, "main"))
        self.assertEqual([2, 101, 112], self.rows(self.db, "two"))
        self.assertEqual([2, 101, 112], self.rows(self.open(self.two), "main"))

    def test_a_transaction_that_writes_both_is_refused_at_the_second_ones_write(self):
        for first, second in (("main", "two"), ("two", "main")):
            with self.subTest(first=first):
                self.db.execute("BEGIN")
                self.db.execute(f"INSERT INTO {first}.t VALUES(50)")
                self.fails(self.db.execute, f"INSERT INTO {second}.t VALUES(60)")
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                self.assertEqual(
                    ([1], [2]), (self.rows(self.db, "main"), self.rows(self.db, "two"))
                )
        self.assertEqual(
            ([1], [2]),
            (self.rows(self.open(self.one), "main"), self.rows(self.open(self.two), "main")),
        )

    def test_what_the_first_one_got_can_still_be_committed(self):
        self.db.execute("BEGIN")
        self.db.execute("INSERT INTO main.t VALUES(50)")
        error = self.fails(self.db.execute, "INSERT INTO two.t VALUES(60)")
        if not self.db.in_transaction:
            self.skipTest(f"{error_code(error)} ends the transaction")
        self.db.execute("COMMIT")
        self.assertEqual(
            ([1, 50], [2]),
            (self.rows(self.open(self.one), "main"), self.rows(self.open(self.two), "main")),
        )

    def test_pragmas_ask_the_schema_that_they_name(self):
        main, two = (
            self.db.execute(f"PRAGMA {schema}.turso_revision").fetchone()[0]
            for schema in ("main", "two")
        )
        self.assertNotEqual(main, two)
        self.assertEqual(two, self.db.execute("SELECT turso_revision('two')").fetchone()[0])
        self.assertEqual(main, self.db.execute("SELECT turso_revision()").fetchone()[0])
        self.assertEqual(main, self.db.execute("PRAGMA turso_revision").fetchone()[0])

    def test_a_replica_attached_to_a_plain_database_forwards_its_writes(self):
        plain = self.keep(sqlite3.connect(self.path("plain.db"), isolation_level=None, uri=True))
        plain.execute("ATTACH ? AS r", (self.two.uri(),))
        plain.execute("CREATE TABLE t(a)")
        plain.execute("BEGIN")
        plain.execute("INSERT INTO r.t VALUES(70)")
        plain.execute("INSERT INTO main.t VALUES(71)")
        plain.execute("COMMIT")
        self.assertEqual([2, 70], self.rows(self.open(self.two), "main"))
        self.assertEqual([71], self.rows(plain, "main"))
        plain.execute("PRAGMA r.journal_mode=delete")
        plain.execute("PRAGMA locking_mode=exclusive").fetchall()
        try:
            plain.execute("INSERT INTO r.t VALUES(72)")
            written = [2, 70, 72]
        except sqlite3.Error as error:
            self.assert_code(error, *OUTSIDE_CODES)
            written = [2, 70]
        plain.execute("PRAGMA locking_mode=normal").fetchall()
        fresh = self.replica_of(self.two)
        self.assertEqual(written, self.rows(self.open(fresh), "main"))

    def replica_of(self, other):
        os.makedirs(self.path("fresh"), exist_ok=True)
        return Replica(self.path("fresh/fresh.db"), other.url)


def sync_often(replica, report):
    db = replica.connect(with_url=False)
    for _ in range(100):
        db.execute("SELECT turso_sync()")
        db.execute("INSERT INTO t VALUES(hex(randomblob(4)))")
    report.append({"done": True})
    db.close()


WRITES = 150


def write_in_a_loop(replica, report):
    """Reports by how many others each of its writes was overtaken: so long it waited, whatever the machine does."""
    db = replica.connect(with_url=False, timeout=300)
    overtaken = []
    for _ in range(WRITES):
        (before,) = db.execute("SELECT max(rowid) FROM t").fetchone()
        db.execute("INSERT INTO t VALUES('loop')")
        (after,) = db.execute("SELECT last_insert_rowid()").fetchone()
        overtaken.append(after - before - 1)
    report.append({"overtaken": max(overtaken)})
    db.close()


def fail_in_a_loop(replica, path):
    """Each failure makes the file longer by a byte."""
    db = replica.connect(with_url=False, timeout=300)
    with open(path, "ab", buffering=0) as failures:
        while True:
            try:
                db.execute("INSERT INTO t VALUES('there')")
            except sqlite3.IntegrityError:
                failures.write(b"x")


class SeveralProcesses(BehaviourTest):
    def test_one_process_pulls_and_all_see_it(self):
        primary = self.primary()
        app, writer = self.replica(primary, "app"), self.open(self.replica(primary, "writer"))
        writer.execute("CREATE TABLE t(a)")
        clients = [self.client(app) for _ in range(4)]
        for client in clients:
            wait_until(
                lambda client=client: client.sql(
                    "SELECT count(*) FROM sqlite_schema WHERE name = 't'"
                )
                == [(1,)],
                what="the table",
            )
        before = [
            client.sql("SELECT pulls, round_trips FROM turso_status")[0] for client in clients
        ]
        for number in range(50):
            writer.execute("INSERT INTO t VALUES(?)", (number,))
        revision = writer.execute("SELECT turso_revision()").fetchone()[0]
        for client in clients:
            self.assertEqual([(1,)], client.sql("SELECT turso_wait(?, 5000)", (revision,)))
            self.assertEqual([(50,)], client.sql("SELECT count(*) FROM t"))
        after = [client.sql("SELECT pulls, round_trips FROM turso_status")[0] for client in clients]
        pulling = [index for index in range(4) if after[index][0] > before[index][0]]
        self.assertEqual(1, len(pulling), f"pulls before {before}, after {after}")

    def test_another_process_goes_on_pulling_when_the_one_that_pulls_is_killed(self):
        primary = self.primary()
        app, writer = self.replica(primary, "app"), self.open(self.replica(primary, "writer"))
        writer.execute("CREATE TABLE t(a)")
        clients = [self.client(app) for _ in range(3)]
        for number, victim in enumerate(clients[:2]):
            victim.kill()
            writer.execute("INSERT INTO t VALUES(?)", (number,))
            revision = writer.execute("SELECT turso_revision()").fetchone()[0]
            self.assertEqual([(1,)], clients[2].sql("SELECT turso_wait(?, 10000)", (revision,)))
            self.assertEqual([(number + 1,)], clients[2].sql("SELECT count(*) FROM t"))

    def test_any_process_may_write_and_pull_on_demand_at_once(self):
        seeded_random("several processes")
        primary = self.primary()
        app = self.replica(primary, "app")
        db = self.open(app)
        db.execute("CREATE TABLE t(a)")
        report = self.report("done")
        children = [self.spawn(f"p{n}", sync_often, app, report) for n in range(4)]
        for child in children:
            child.finish()
        self.assertEqual([(400,)], db.execute("SELECT count(*) FROM t").fetchall())
        primary.stop()
        self.assertEqual(
            [(400,)], self.keep(primary.open_file()).execute("SELECT count(*) FROM t").fetchall()
        )


    def test_who_does_not_wait_keeps_nobody_from_writing(self):
        # Without a follower, which would have the lock now and then itself.
        app = self.replica(self.primary(), "app", sync_interval="off")
        one, two = (self.keep(app.connect(timeout=0)) for _ in range(2))
        one.execute("CREATE TABLE t(a)")
        two.execute("SELECT * FROM t").fetchall()
        for number in range(20):
            one.execute("BEGIN IMMEDIATE")
            one.execute("INSERT INTO t VALUES(?)", (number,))
            self.assert_code(self.fails(two.execute, "INSERT INTO t VALUES('two')"), BUSY)
            one.execute("COMMIT")
            one.execute("INSERT INTO t VALUES('at once')")
        self.assertEqual([(40,)], one.execute("SELECT count(*) FROM t").fetchall())

    def test_who_rolls_back_in_a_loop_keeps_nobody_from_writing(self):
        app = self.replica(self.primary(), "app")
        db = self.open(app, timeout=30)
        db.execute("CREATE TABLE t(a UNIQUE)")
        db.execute("INSERT INTO t VALUES('there')")
        failures = self.path("failures")
        open(failures, "wb").close()
        child = self.spawn("fails", fail_in_a_loop, app, failures)
        wait_until(lambda: os.path.getsize(failures) > 0, what="the first failure")
        for number in range(60):
            before = os.path.getsize(failures)
            db.execute("INSERT INTO t VALUES(?)", (number,))
            self.assertLess(os.path.getsize(failures) - before, 2000)
        child.kill()

    def test_nobody_waits_while_another_process_writes_all_that_it_has(self):
        primary = self.primary()
        app = self.replica(primary, "app")
        db = self.open(app)
        db.execute("CREATE TABLE t(a)")
        db.execute("INSERT INTO t VALUES('first')")
        report = self.report("overtaken")
        children = [self.spawn(f"p{n}", write_in_a_loop, app, report) for n in range(4)]
        for child in children:
            child.finish()
        self.assertEqual([(601,)], db.execute("SELECT count(*) FROM t").fetchall())
        self.assertLess(max(entry["overtaken"] for entry in report.read()), WRITES)


@only_of_primary("a page of a libSQL server has 4096 bytes, and its databases are made elsewhere")
class PageSizes(BehaviourTest):
    def test_a_database_of_any_page_size_can_be_served_followed_and_written(self):
        primary = self.primary()
        for page_size in (512, 1024, 65536):
            with self.subTest(page_size):
                seed = self.path(f"seed{page_size}.db")
                plain = sqlite3.connect(seed)
                plain.execute(f"PRAGMA page_size={page_size}")
                plain.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
                plain.executemany(
                    "INSERT INTO t(a) VALUES(?)", [("x" * (n % 700),) for n in range(3000)]
                )
                plain.commit()
                plain.close()
                name = f"p{page_size}"
                primary.make_database(name, "--from", seed)
                one, two = (
                    self.open(self.replica(primary, f"{name}-{n}", database=name)) for n in range(2)
                )
                self.assertEqual([(page_size,)], one.execute("PRAGMA page_size").fetchall())
                self.assertEqual([(3000,)], one.execute("SELECT count(*) FROM t").fetchall())
                one.execute("UPDATE t SET a = a || 'y' WHERE id % 3 = 0")
                one.execute("DELETE FROM t WHERE id > 2500")
                one.execute("VACUUM")
                two.execute("SELECT turso_sync()")
                sql = "SELECT count(*), sum(length(a)) FROM t"
                self.assertEqual(one.execute(sql).fetchall(), two.execute(sql).fetchall())
                two.execute("INSERT INTO t(a) VALUES(zeroblob(200000))")
                for db in (one, two):
                    db.execute("SELECT turso_sync()")
                    self.assertEqual([("ok",)], db.execute("PRAGMA integrity_check").fetchall())
                    self.assertEqual([(2501,)], db.execute("SELECT count(*) FROM t").fetchall())

    def test_create_makes_an_empty_database_and_refuses_one_that_is_there(self):
        primary = self.primary(create=False, start=False)
        primary.make_database("made")
        primary.start()
        db = self.open(self.replica(primary, "app", database="made"))
        db.execute("CREATE TABLE t(a)")
        with self.assertRaises(Exception):
            primary.make_database("made")
        self.assertEqual([], db.execute("SELECT * FROM t").fetchall())
        error = self.fails(self.replica(primary, "absent", database="absent").connect)
        self.assert_code(error, sqlite3.SQLITE_CANTOPEN)


if __name__ == "__main__":
    main()
