"""Every name of the contract's table, as function and as PRAGMA; the status table; options and their precedence; the
answers to journal_mode and locking_mode; the result codes."""

import os
import sqlite3
import subprocess
import threading
import time

from harness import (
    EXTENSION,
    REMOTE,
    BehaviourTest,
    Replica,
    error_code,
    is_io_error,
    load_extension,
    main,
    only_of_primary,
    sqlite_log,
)

PROTOCOL = "primary" if REMOTE == "turso-primary" else "libsql"

STATUS_COLUMNS = [
    "path",
    "url",
    "protocol",
    "database_id",
    "revision",
    "lag_ms",
    "last_sync_ms",
    "state",
    "lease",
    "page_count",
    "pages_present",
    "pulls",
    "pages_pulled",
    "commits",
    "conflicts",
    "round_trips",
    "bytes_sent",
    "bytes_received",
    "last_error",
]


class Asking(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        self.app = self.replica(self.server, "app")
        self.db = self.open(self.app)
        self.db.execute("CREATE TABLE t(a)")

    def one(self, sql, parameters=(), db=None):
        rows = (db or self.db).execute(sql, parameters).fetchall()
        self.assertEqual(1, len(rows), sql)
        self.assertEqual(1, len(rows[0]), sql)
        return rows[0][0]

    def both(self, name):
        """As a PRAGMA and as a function, with and without the schema's name."""
        return [
            self.one(f"PRAGMA {name}"),
            self.one(f"PRAGMA main.{name}"),
            self.one(f"SELECT {name}()"),
            self.one(f"SELECT {name}('main')"),
        ]

    def test_turso_version(self):
        answers = {self.one("PRAGMA turso_version"), self.one("SELECT turso_version()")}
        self.assertEqual(1, len(answers))
        self.assertRegex(answers.pop(), r"^\d+\.\d+\.\d+")
        self.assertRegex(
            self.one("SELECT turso_version()", db=self.keep(sqlite3.connect(":memory:"))), r"^\d+\."
        )

    def test_turso_revision(self):
        answers = self.both("turso_revision")
        self.assertEqual(1, len(set(answers)), answers)
        self.assertIsInstance(answers[0], str)
        self.db.execute("INSERT INTO t VALUES(1)")
        self.assertNotEqual(answers[0], self.one("SELECT turso_revision()"))

    def test_turso_revision_is_the_open_snapshots(self):
        self.db.execute("BEGIN")
        self.db.execute("SELECT * FROM t").fetchall()
        before = self.one("SELECT turso_revision()")
        self.open(self.app).execute("INSERT INTO t VALUES(1)")
        self.assertEqual(before, self.one("SELECT turso_revision()"))
        self.assertEqual(before, self.one("PRAGMA turso_revision"))
        self.db.execute("COMMIT")
        self.assertNotEqual(before, self.one("SELECT turso_revision()"))

    def test_turso_sync(self):
        other = self.open(self.replica(self.server, "other", sync_interval="off"))
        for number, ask in enumerate(
            (
                "SELECT turso_sync()",
                "PRAGMA turso_sync",
                "SELECT turso_sync('main')",
                "PRAGMA main.turso_sync",
            )
        ):
            self.db.execute("INSERT INTO t VALUES(?)", (number,))
            self.assertEqual(
                number,
                self.one("SELECT count(*) FROM t", db=other),
                "sync_interval=off, and yet it came",
            )
            reached = self.one(ask, db=other)
            self.take_back()
            self.assertEqual(self.one("SELECT turso_revision()"), reached)
            self.assertEqual(number + 1, self.one("SELECT count(*) FROM t", db=other))

    def take_back(self):
        """A commit at a libSQL server has another name here until the server's pages of it have come."""
        self.db.execute("SELECT turso_sync()").fetchall()

    def test_turso_sync_inside_a_read_transaction_brings_the_replica_forward_and_not_the_snapshot(
        self,
    ):
        app = self.replica(self.server, "other", sync_interval="off")
        other, beside = self.open(app), self.open(app)
        other.execute("BEGIN")
        self.assertEqual(0, self.one("SELECT count(*) FROM t", db=other))
        self.db.execute("INSERT INTO t VALUES(1)")
        reached = self.one("SELECT turso_sync()", db=other)
        self.take_back()
        self.assertEqual(self.one("SELECT turso_revision()"), reached)
        self.assertEqual(0, self.one("SELECT count(*) FROM t", db=other))
        self.assertEqual(1, self.one("SELECT count(*) FROM t", db=beside))
        other.execute("COMMIT")
        self.assertEqual(1, self.one("SELECT count(*) FROM t", db=other))

    def test_turso_wait(self):
        other = self.open(self.replica(self.server, "other"))
        for ask in (
            "SELECT turso_wait(?, 5000)",
            "SELECT turso_wait(?, 5000, 'main')",
            "SELECT turso_wait(?)",
        ):
            self.db.execute("INSERT INTO t VALUES(1)")
            revision = self.one("SELECT turso_revision()")
            self.assertEqual(1, self.one(ask, (revision,), db=other))
            self.assertEqual(
                self.one("SELECT count(*) FROM t"), self.one("SELECT count(*) FROM t", db=other)
            )
        self.db.execute("INSERT INTO t VALUES(1)")
        revision = self.one("SELECT turso_revision()")
        self.assertEqual("1", self.one(f"PRAGMA turso_wait='{revision} 5000'", db=other))
        self.assertEqual(
            self.one("SELECT count(*) FROM t"), self.one("SELECT count(*) FROM t", db=other)
        )
        self.assertEqual("1", self.one(f"PRAGMA turso_wait='{revision}'", db=other))

    def test_turso_wait_ends_at_its_deadline(self):
        other = self.open(self.replica(self.server, "other", sync_interval="off"))
        self.db.execute("INSERT INTO t VALUES(1)")
        revision = self.one("SELECT turso_revision()")
        self.server.pause()
        began = time.monotonic()
        self.assertEqual(0, self.one("SELECT turso_wait(?, 400)", (revision,), db=other))
        self.assertTrue(0.3 < time.monotonic() - began < 1.5, time.monotonic() - began)
        self.assertEqual("0", self.one(f"PRAGMA turso_wait='{revision} 100'", db=other))
        self.server.resume()

    def test_turso_wait_for_nonsense_is_an_error(self):
        for revision in ("nonsense with blanks", "x" * 1000):
            self.fails(self.db.execute, "SELECT turso_wait(?, 100)", (revision,))

    def test_turso_lag(self):
        for answer, kind in zip(self.both("turso_lag"), (str, str, int, int)):
            self.assertIsInstance(answer, kind)  # A PRAGMA of a VFS can only answer text.
            self.assertTrue(0 <= int(answer) < 2000, answer)
        time.sleep(1.5)
        self.assertLess(
            self.one("SELECT turso_lag()"), 1500, "a follower hears from the primary once a second"
        )

    def test_turso_last_error(self):
        self.assertEqual(["", "", None, None], self.both("turso_last_error"))
        self.server.kill()
        time.sleep(0.3)
        quick = self.open(self.app.with_options(timeout="1s"))
        self.fails(quick.execute, "INSERT INTO t VALUES(1)")
        answers = self.both("turso_last_error")
        self.assert_explained(answers, self.server.address)

    def test_turso_status(self):
        cursor = self.db.execute("SELECT * FROM turso_status")
        self.assertEqual(STATUS_COLUMNS, [column[0] for column in cursor.description])
        row = dict(zip(STATUS_COLUMNS, cursor.fetchone()))
        self.assertEqual(os.path.realpath(self.app.path), os.path.realpath(row["path"]))
        self.assertEqual(self.app.url, row["url"])
        self.assertEqual(PROTOCOL, row["protocol"])
        self.assertEqual(self.one("SELECT turso_revision()"), row["revision"])
        self.assertEqual("live", row["state"])
        self.assertIn(row["lease"], ("none", "idle", "held"))
        self.assertEqual(self.one("PRAGMA page_count"), row["page_count"])
        self.assertEqual(row["page_count"], row["pages_present"])
        self.assertEqual(1, row["commits"])
        self.assertEqual(0, row["conflicts"])
        self.assertGreater(row["round_trips"], 1)
        self.assertGreater(row["bytes_sent"], 100)
        self.assertGreater(row["bytes_received"], 100)
        self.assertIsNone(row["last_error"])

    def test_asking_for_the_status_keeps_nobody_from_opening_what_was_just_closed(self):
        other = self.replica(self.server, "other", sync_interval="off")
        done = threading.Event()

        def ask():
            db = sqlite3.connect(self.app.uri(), uri=True)
            while not done.is_set():
                db.execute("SELECT * FROM turso_status").fetchall()
            db.close()

        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        try:
            for _ in range(500):
                db = other.connect()
                db.execute("SELECT count(*) FROM t").fetchall()
                db.close()
        finally:
            done.set()
            for asker in askers:
                asker.join()

    @only_of_primary("a stream rests at a libSQL server for longer, and holds nobody up")
    def test_the_lease_is_held_in_a_transaction_then_idle_then_none(self):
        lease = "SELECT lease FROM turso_status"
        self.db.execute("BEGIN IMMEDIATE")
        self.db.execute("INSERT INTO t VALUES(1)")
        self.assertEqual("held", self.one(lease))
        self.db.execute("COMMIT")
        self.assertIn(self.one(lease), ("idle", "none"))
        time.sleep(0.5)
        self.assertEqual("none", self.one(lease))

    def test_asking_of_a_plain_database_is_an_error_or_null_and_never_a_crash(self):
        plain = self.keep(sqlite3.connect(self.path("plain.db")))
        for name in ("turso_sync", "turso_revision", "turso_lag", "turso_last_error"):
            for sql in (f"SELECT {name}()", f"PRAGMA {name}", f"SELECT {name}('nowhere')"):
                try:
                    self.assertIn(plain.execute(sql).fetchall(), ([], [(None,)]), sql)
                except sqlite3.Error as error:
                    self.assert_code(error, sqlite3.SQLITE_ERROR)
        self.fails(self.db.execute, "SELECT turso_sync('nowhere')")

    def test_turso_replica_makes_a_replica_ahead(self):
        path = self.path("made.db")
        anywhere = self.keep(sqlite3.connect(":memory:", isolation_level=None))
        anywhere.execute("SELECT turso_replica(?, ?)", (path, self.app.url))
        db = self.open(Replica(path, None))
        db.execute("INSERT INTO t VALUES('through the made one')")
        self.db.execute("SELECT turso_sync()")
        self.assertEqual("through the made one", self.one("SELECT a FROM t"))

    def test_turso_replica_leaves_a_plain_database_as_it_is(self):
        path = self.path("plain.db")
        plain = sqlite3.connect(path)
        plain.executescript("CREATE TABLE mine(a); INSERT INTO mine VALUES(1)")
        plain.close()
        with open(path, "rb") as file:
            before = file.read()
        error = self.fails(self.db.execute, "SELECT turso_replica(?, ?)", (path, self.app.url))
        self.assertIn("plain.db", str(error))
        with open(path, "rb") as file:
            self.assertEqual(before, file.read())
        self.assertFalse(os.path.exists(path + "-turso"))


class ModesOfTheContract(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        self.app = self.replica(self.server, "app")
        self.db = self.open(self.app)
        self.db.execute("CREATE TABLE t(a)")

    def test_another_journal_mode_is_answered_wal_without_an_error(self):
        for mode in ("DELETE", "TRUNCATE", "PERSIST", "MEMORY", "OFF", "WAL", "nonsense"):
            for schema in ("", "main."):
                self.assertEqual(
                    [("wal",)],
                    self.db.execute(f"PRAGMA {schema}journal_mode={mode}").fetchall(),
                    mode,
                )
                self.db.execute("INSERT INTO t VALUES(1)")
        self.assertEqual([("wal",)], self.db.execute("PRAGMA journal_mode").fetchall())
        self.assert_forwarded(14)

    def test_exclusive_locking_is_answered_normal(self):
        for mode in ("EXCLUSIVE", "NORMAL", "EXCLUSIVE"):
            self.assertEqual(
                [("normal",)], self.db.execute(f"PRAGMA locking_mode={mode}").fetchall()
            )
            self.db.execute("INSERT INTO t VALUES(1)")
        self.assertEqual([("normal",)], self.db.execute("PRAGMA main.locking_mode").fetchall())
        self.assert_forwarded(3)

    def test_exclusive_locking_before_the_first_use_is_answered_normal(self):
        db = self.open(self.app)
        self.assertEqual([("normal",)], db.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall())
        db.execute("INSERT INTO t VALUES(1)")
        self.assert_forwarded(1)

    def assert_forwarded(self, rows):
        self.assertEqual(
            [(rows,)], self.open(self.app).execute("SELECT count(*) FROM t").fetchall()
        )
        self.server.stop()
        db = self.keep(self.server.open_file())
        self.assertEqual([(rows,)], db.execute("SELECT count(*) FROM t").fetchall())

    def test_our_connections_wait_five_seconds_unless_the_application_says_otherwise(self):
        script = (
            f".open '{self.app.uri()}'\nPRAGMA busy_timeout;\n"
            f".open '{self.path('plain.db')}'\nPRAGMA busy_timeout;\n"
        )
        done = subprocess.run(
            [
                "sqlite3",
                "-batch",
                "-cmd",
                f".load {str(EXTENSION).removesuffix('.so')}",
                ":memory:",
            ],
            input=script,
            capture_output=True,
            text=True,
            timeout=30,
        )
        self.assertEqual(("5000\n0\n", ""), (done.stdout, done.stderr))
        mine = self.open(self.app, timeout=0.25)
        self.assertEqual([(250,)], mine.execute("PRAGMA busy_timeout").fetchall())

    @only_of_primary("a lease at a libSQL server is a slot, which whoever thinks gives up")
    def test_a_writer_waits_for_the_other_replicas_lease_in_its_busy_handler(self):
        other = self.client(self.replica(self.server, "other"))
        self.db.execute("BEGIN IMMEDIATE")
        self.db.execute("INSERT INTO t VALUES(1)")
        impatient = self.client(self.replica(self.server, "impatient"), timeout=0.3)
        began = time.monotonic()
        self.assert_code(self.fails(impatient.sql, "INSERT INTO t VALUES(2)"), sqlite3.SQLITE_BUSY)
        self.assertLess(time.monotonic() - began, 3)
        other.ask_later("INSERT INTO t VALUES(3)")
        time.sleep(1)
        self.db.execute("COMMIT")
        other.answer()
        self.db.execute("SELECT turso_sync()")
        self.assertEqual([(1,), (3,)], self.db.execute("SELECT a FROM t").fetchall())

    @only_of_primary("a lease at a libSQL server is a slot, which whoever thinks gives up")
    def test_a_lease_lives_as_long_as_its_transaction_thinks(self):
        other = self.client(self.replica(self.server, "other"))
        self.db.execute("BEGIN IMMEDIATE")
        self.db.execute("INSERT INTO t VALUES(1)")
        other.ask_later("INSERT INTO t VALUES(2)")
        time.sleep(4)  # Two lifetimes of a lease, and less than the other's patience.
        self.db.execute("INSERT INTO t VALUES(1)")
        self.db.execute("COMMIT")
        other.answer()

    def test_mode_ro_never_writes(self):
        reader = self.open(self.app.with_options(mode="ro"))
        self.db.execute("INSERT INTO t VALUES(1)")
        self.assertEqual([(1,)], reader.execute("SELECT * FROM t").fetchall())
        self.assert_code(
            self.fails(reader.execute, "INSERT INTO t VALUES(2)"), sqlite3.SQLITE_READONLY
        )

    def test_immutable_and_nolock_are_refused(self):
        for option in ("immutable", "nolock"):
            start = len(sqlite_log)
            error = self.fails(self.app.with_options(**{option: 1}).connect, with_url=False)
            self.assert_code(error, sqlite3.SQLITE_CANTOPEN)
            self.assert_explained([self.logged_since(start)], option)


class Options(BehaviourTest):
    def setUp(self):
        # Behind the end of every connection: other threads read it.
        self.saved = dict(os.environ)
        self.addCleanup(self.restore_environment)
        super().setUp()
        self.server = self.primary()

    def restore_environment(self):
        os.environ.clear()
        os.environ.update(self.saved)

    def url_of(self, db):
        return db.execute("SELECT url FROM turso_status").fetchone()[0]

    def test_the_uri_wins_over_the_sidecar_and_the_sidecar_over_the_environment(self):
        app = self.replica(self.server, "app")
        self.open(app).close()
        os.environ["TURSO_DATABASE_URL"] = "http://127.0.0.1:9/wrong"
        db = self.open(app, with_url=False)
        self.assertEqual(app.url, self.url_of(db))
        db.close()
        same_database = app.url.replace("127.0.0.1", "localhost")
        db = self.open(Replica(app.path, same_database))
        self.assertEqual(same_database, self.url_of(db))
        db.close()
        self.assertEqual(
            same_database, self.url_of(self.open(app, with_url=False)), "it was not stored"
        )

    def test_the_environment_names_the_primary_where_nothing_else_does(self):
        os.environ["TURSO_DATABASE_URL"] = self.server.url("from-environment")
        db = self.open(self.replica(self.server, "app"), with_url=False)
        self.assertEqual(self.server.url("from-environment"), self.url_of(db))

    @only_of_primary("libsql_replica_test moves libSQL servers")
    def test_a_moved_primary_is_followed_to_its_new_address(self):
        app = self.replica(self.server, "app")
        db = app.connect()
        db.execute("CREATE TABLE t(a)")
        db.close()
        self.server.stop()
        self.server.address = "127.0.0.1:0"
        self.server.start()
        db = self.open(Replica(app.path, self.server.url()))
        db.execute("INSERT INTO t VALUES(1)")
        self.assertEqual(self.server.url(), self.url_of(db))

    @only_of_primary("libsql_replica_test has what is told of another libSQL server")
    def test_the_url_of_another_database_is_refused_and_changes_nothing(self):
        app = self.replica(self.server, "app")
        db = app.connect()
        db.execute("CREATE TABLE t(a)")
        db.close()
        start = len(sqlite_log)
        self.fails(Replica(app.path, self.server.url("another")).connect)
        self.assert_explained([self.logged_since(start)], "app.db", "/another")
        db = self.open(app, with_url=False)
        self.assertEqual(app.url, self.url_of(db))
        db.execute("INSERT INTO t VALUES(1)")

    def test_an_unknown_value_is_an_error_that_names_the_parameter(self):
        for name, value in (
            ("sync_interval", "sometimes"),
            ("max_staleness", "young"),
            ("on_stale", "panic"),
            ("hydrate", "maybe"),
            ("timeout", "soon"),
            ("timeout", "-1s"),
            ("protocol", "smoke"),
            ("url", "ftp://127.0.0.1/x"),
            ("url", "nonsense"),
        ):
            with self.subTest(name=name, value=value):
                start = len(sqlite_log)
                app = self.replica(self.server, f"bad-{name}")
                broken = (
                    Replica(app.path, value) if name == "url" else app.with_options(**{name: value})
                )
                self.fails(broken.connect)
                self.assert_explained([self.logged_since(start)], name, value)
                self.assertEqual([], app.files())

    def test_an_unknown_value_in_the_environment_names_the_variable(self):
        for name, value in (
            ("TURSO_VFS_SYNC_INTERVAL", "sometimes"),
            ("TURSO_VFS_TIMEOUT", "soon"),
            ("TURSO_VFS_MAX_STALENESS", "young"),
            ("TURSO_VFS_ON_STALE", "panic"),
            ("TURSO_VFS_HYDRATE", "maybe"),
            ("TURSO_VFS_PROTOCOL", "smoke"),
        ):
            with self.subTest(name):
                os.environ[name] = value
                start = len(sqlite_log)
                self.fails(self.replica(self.server, f"bad-{name}").connect)
                self.assert_explained([self.logged_since(start)], name, value)
                del os.environ[name]

    def test_every_known_value_is_taken(self):
        for number, options in enumerate(
            (
                {"sync_interval": "500ms"},
                {"sync_interval": "follow"},
                {"sync_interval": "2m"},
                {"sync_interval": "0.5"},
                {"max_staleness": "5s"},
                {"max_staleness": "0"},
                {"on_stale": "wait"},
                {"on_stale": "error"},
                {"on_stale": "serve"},
                {"hydrate": "full"},
                {"timeout": "3"},
                {"protocol": "auto"},
                {"protocol": PROTOCOL},
            )
        ):
            with self.subTest(**options):
                db = self.open(self.replica(self.server, f"good{number}", **options))
                db.execute("CREATE TABLE IF NOT EXISTS t(a)")
                self.assertEqual([], db.execute("SELECT * FROM t").fetchall())
                db.close()

    def test_an_interval_brings_news_by_itself(self):
        app = self.open(self.replica(self.server, "app"))
        app.execute("CREATE TABLE t(a)")
        other = self.open(self.replica(self.server, "other", sync_interval="200ms"))
        app.execute("INSERT INTO t VALUES(1)")
        revision = app.execute("SELECT turso_revision()").fetchone()[0]
        self.assertEqual(
            [(1,)], other.execute("SELECT turso_wait(?, 3000)", (revision,)).fetchall()
        )

    def test_a_bound_of_zero_reads_what_is_current(self):
        app = self.open(self.replica(self.server, "app"))
        app.execute("CREATE TABLE t(a)")
        other = self.open(
            self.replica(self.server, "other", sync_interval="off", max_staleness="0")
        )
        for number in range(20):
            app.execute("INSERT INTO t VALUES(?)", (number,))
            self.assertEqual([(number + 1,)], other.execute("SELECT count(*) FROM t").fetchall())

    def test_what_happens_when_the_bound_cannot_be_met(self):
        self.open(self.replica(self.server, "maker")).execute("CREATE TABLE t(a)")
        readers = {
            policy: self.open(
                self.replica(
                    self.server,
                    policy,
                    sync_interval="off",
                    max_staleness="100ms",
                    on_stale=policy,
                    timeout="1s",
                )
            )
            for policy in ("serve", "error", "wait")
        }
        for db in readers.values():
            db.execute("SELECT * FROM t").fetchall()
        self.server.pause()
        time.sleep(0.3)
        self.assertEqual([], readers["serve"].execute("SELECT * FROM t").fetchall())
        for policy, least, most in (("error", 0, 2), ("wait", 0.8, 3)):
            began = time.monotonic()
            error = self.fails(readers[policy].execute, "SELECT * FROM t")
            self.assertTrue(
                least <= time.monotonic() - began < most, f"{policy}: {time.monotonic() - began}"
            )
            self.assertTrue(
                is_io_error(error_code(error)) or error_code(error) == sqlite3.SQLITE_BUSY, error
            )
        self.server.resume()
        for db in readers.values():
            self.assertEqual([], db.execute("SELECT * FROM t").fetchall())

    def test_files_named_in_the_environment_are_replicas_when_it_is_the_default(self):
        os.environ["TURSO_DATABASE_URL"] = self.server.url("listed")
        os.environ["TURSO_VFS_FILES"] = "nothing.db:" + self.path("li*ed.db")
        self.spawn("listed", use_listed_files, self.directory).finish()
        check = self.open(self.replica(self.server, "check", database="listed"))
        self.assertEqual([("listed",)], check.execute("SELECT a FROM t").fetchall())


def use_listed_files(directory):
    load_extension("sqlite3_tursovfs_default_init")
    for name in ("listed", "other"):
        db = sqlite3.connect(os.path.join(directory, f"{name}.db"), isolation_level=None)
        db.execute("CREATE TABLE t(a)")
        db.execute("INSERT INTO t VALUES(?)", (name,))
        db.close()
    assert os.path.exists(os.path.join(directory, "listed.db-turso"))
    assert not os.path.exists(os.path.join(directory, "other.db-turso"))


if __name__ == "__main__":
    main()
