"""A replica of a libSQL server that is not written to: it has the server's pages, and follows them."""

import contextlib
import sqlite3
import time
import unittest

import libsql_server
from harness import BehaviourTest, content, main, sqlite_log, wait_until

FILL = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
    "INSERT INTO t SELECT i, zeroblob({}) FROM n"
)


class ReplicaOfLibsql:
    """What is so of every server; `make_server` says which."""

    def server(self, name="server", **options):
        server = self.make_server(self.path(name), **options)
        self._primaries.append(server)
        return server.start()

    def follower(self, server, name="app", **options):
        return self.open(self.replica(server, name, database="", **options))

    def follows(self, db, sql, rows):
        def answers():
            try:
                return db.execute(sql).fetchall() == rows
            except sqlite3.OperationalError as error:
                if "no such" in str(error):
                    return False
                raise

        wait_until(answers, what=f"{sql} to answer {rows}")

    def equals_a_fresh_replica(self, server, replica):
        """Page for page, once both are closed."""
        fresh = self.replica(server, f"fresh{len(self._connections)}", database="")
        for each in (replica, fresh):
            db = each.connect()
            db.execute("SELECT turso_sync()").fetchall()
            # The last close checkpoints for whoever has read.
            db.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            db.close()
        with open(replica.path, "rb") as ours, open(fresh.path, "rb") as theirs:
            self.assertEqual(ours.read(), theirs.read())

    def test_it_has_the_content_and_follows_it(self):
        server = self.server()
        server.sql("CREATE TABLE t(a PRIMARY KEY, b)", "INSERT INTO t VALUES(1, 'one')")
        db = self.follower(server)
        self.assertEqual(db.execute("SELECT * FROM t").fetchall(), [(1, "one")])
        self.assertEqual(db.execute("SELECT protocol FROM turso_status").fetchall(), [("libsql",)])
        server.sql("INSERT INTO t VALUES(2, 'two')", "CREATE INDEX i ON t(b)")
        self.follows(db, "SELECT a FROM t INDEXED BY i WHERE b = 'two'", [(2,)])
        self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])

    def test_a_server_without_a_table_is_followed_to_its_first(self):
        server = self.server()
        db = self.follower(server)
        self.assertEqual(db.execute("SELECT count(*) FROM sqlite_schema").fetchall(), [(0,)])
        server.sql("CREATE TABLE t(a)", "INSERT INTO t VALUES(1)")
        wait_until(lambda: db.execute("SELECT count(*) FROM sqlite_schema").fetchall() == [(1,)])
        self.follows(db, "SELECT a FROM t", [(1,)])

    def test_a_transaction_of_many_batches_comes_whole(self):
        server = self.server()
        server.sql("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
        replica = self.replica(server, "app", database="", sync_interval="off")
        db = self.open(replica)
        server.sql(FILL.format(1500, 4000), "DELETE FROM t WHERE a % 3 = 0")
        self.assertEqual(db.execute("SELECT count(*) FROM t").fetchall(), [(0,)])
        db.execute("SELECT turso_sync()").fetchall()
        self.assertEqual(db.execute("SELECT count(*), max(a) FROM t").fetchall(), [(1000, 1499)])
        self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        db.close()
        self.equals_a_fresh_replica(server, replica)

    def test_a_snapshot_holds_while_the_schema_changes_under_it(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)", "INSERT INTO t VALUES(1)")
        replica = self.replica(server, "app", database="")
        reader, watcher = self.open(replica), self.open(replica)
        reader.execute("BEGIN")
        self.assertEqual(reader.execute("SELECT * FROM t").fetchall(), [(1,)])
        server.sql(
            "ALTER TABLE t ADD COLUMN b DEFAULT 'new'", "CREATE TABLE u(x)", "INSERT INTO u VALUES(7)"
        )
        wait_until(
            lambda: watcher.execute("SELECT count(*) FROM sqlite_schema").fetchall() == [(2,)]
        )
        self.follows(watcher, "SELECT x FROM u", [(7,)])
        self.assertEqual(reader.execute("SELECT * FROM t").fetchall(), [(1,)])
        reader.execute("COMMIT")
        self.assertEqual(reader.execute("SELECT * FROM t").fetchall(), [(1, "new")])

    def test_a_server_that_was_stopped_and_started_is_followed_on(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)", "INSERT INTO t VALUES(1)")
        db = self.follower(server)
        logs = {self.log_of(db)}
        for n in range(2, 5):
            server.restart()
            server.sql(f"INSERT INTO t VALUES({n})")
            self.follows(db, "SELECT max(a) FROM t", [(n,)])
            logs.add(self.log_of(db))
        # sqld begins a new log now and then, as after a kill.
        if len(logs) > 1 and self.may_begin_anew:
            return
        self.assertEqual(len(logs), 1)
        self.assertEqual(self.path_kept(), [])

    def log_of(self, db):
        return db.execute("SELECT turso_revision()").fetchone()[0].split(".")[0]

    def test_a_server_that_was_killed_is_followed_on_in_its_new_log(self):
        server = self.server()
        server.sql("CREATE TABLE t(a INTEGER PRIMARY KEY, b)", FILL.format(100, 500))
        replica = self.replica(server, "app", database="")
        db = self.open(replica)
        before = db.execute("SELECT turso_revision()").fetchone()[0]
        server.crash()
        server.sql("INSERT INTO t VALUES(1000, 'after')")
        self.follows(db, "SELECT b FROM t WHERE a = 1000", [("after",)])
        after = db.execute("SELECT turso_revision()").fetchone()[0]
        self.assertNotEqual(before.split(".")[0], after.split(".")[0])
        db.close()
        self.equals_a_fresh_replica(server, replica)

    def test_a_server_that_was_set_back_and_wrote_as_much_again_is_followed_in_what_it_has(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)", "INSERT INTO t VALUES('before')")
        replica = self.replica(server, "app", database="")
        db = self.open(replica)
        server.back_up()
        server.sql("INSERT INTO t VALUES('lost')")
        self.follows(db, "SELECT a FROM t", [("before",), ("lost",)])
        db.close()
        server.set_back()
        server.sql("INSERT INTO t VALUES('again')")
        db = self.open(replica)
        self.follows(db, "SELECT a FROM t", [("before",), ("again",)])
        db.close()
        self.equals_a_fresh_replica(server, replica)

    def test_what_a_server_that_was_set_back_has_lost_is_kept(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)", "INSERT INTO t VALUES('before')")
        replica = self.replica(server, "app", database="", sync_interval="off")
        db = self.open(replica)
        # All that follows is in the log, and not yet in the database file.
        server.sql("INSERT INTO t VALUES('kept')")
        db.execute("SELECT turso_sync()").fetchall()
        server.back_up()
        server.sql("INSERT INTO t VALUES('lost')")
        db.execute("SELECT turso_sync()").fetchall()
        server.set_back()
        db.execute("SELECT turso_sync()").fetchall()
        self.assertEqual(db.execute("SELECT a FROM t").fetchall(), [("before",), ("kept",)])
        (kept,) = self.path_kept()
        with contextlib.closing(sqlite3.connect(kept)) as aside:
            rows = aside.execute("SELECT a FROM t").fetchall()
        self.assertEqual(rows, [("before",), ("kept",), ("lost",)])
        db.close()
        self.equals_a_fresh_replica(server, replica)

    def path_kept(self):
        import glob

        return glob.glob(self.path("app/*aside*"))

    def test_a_replica_that_was_closed_goes_on_where_it_was(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)", "INSERT INTO t VALUES(1)")
        replica = self.replica(server, "app", database="")
        for n in range(2, 5):
            db = replica.connect(with_url=n == 2)
            server.sql(f"INSERT INTO t VALUES({n})")
            self.follows(db, "SELECT max(a) FROM t", [(n,)])
            db.close()
        self.equals_a_fresh_replica(server, replica)

    def test_its_revision_can_be_waited_for_elsewhere(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        one, other = self.follower(server, "one"), self.follower(server, "other")
        server.sql("INSERT INTO t VALUES(1)")
        revision = one.execute("SELECT turso_sync()").fetchone()[0]
        self.assertEqual(other.execute("SELECT turso_wait(?)", (revision,)).fetchone(), (1,))
        self.assertEqual(other.execute("SELECT a FROM t").fetchall(), [(1,)])

    def test_a_transaction_that_does_not_fit_into_the_servers_cache_is_followed(self):
        server = self.server()
        server.sql("CREATE TABLE t(a INTEGER PRIMARY KEY, b)", FILL.format(50, 3000))
        replica = self.replica(server, "app", database="", sync_interval="off")
        db = self.open(replica)
        more = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) "
            "INSERT INTO t(b) SELECT zeroblob(3000 + i % 7) FROM n"
        )
        server.sql(
            "BEGIN",
            more,
            "SAVEPOINT s",
            more,
            "UPDATE t SET b = zeroblob(3100)",
            "ROLLBACK TO s",
            "UPDATE t SET b = zeroblob(2900) WHERE a % 3 = 0",
            "DELETE FROM t WHERE a > 700",
            "COMMIT",
        )
        db.execute("SELECT turso_sync()").fetchall()
        self.assertEqual(db.execute("SELECT count(*), max(a) FROM t").fetchone(), (700, 700))
        self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        db.close()
        self.equals_a_fresh_replica(server, replica)

    def test_a_log_that_begins_anew_is_read_once(self):
        server = self.server()
        server.sql("CREATE TABLE t(a INTEGER PRIMARY KEY, b)", FILL.format(400, 3000))
        replica = self.replica(server, "app", database="", sync_interval="off")
        db = self.open(replica)
        db.execute("SELECT turso_sync()").fetchall()
        server.crash()
        server.sql("UPDATE t SET b = 'new' WHERE a = 200", "DELETE FROM t WHERE a > 390")
        received = "SELECT bytes_received FROM turso_status"
        before = db.execute(received).fetchone()[0]
        db.execute("SELECT turso_sync()").fetchall()
        size = db.execute("PRAGMA page_count").fetchone()[0] * 4096
        self.assertLess(db.execute(received).fetchone()[0] - before, 1.5 * size)
        self.assertEqual(
            db.execute("SELECT count(*), max(typeof(b)) FROM t").fetchone(), (390, "text")
        )
        db.close()
        self.equals_a_fresh_replica(server, replica)

    def test_another_address_is_taken_only_for_the_same_log(self):
        server, stranger = self.server(), self.server("stranger")
        for each, word in ((server, "ours"), (stranger, "theirs")):
            each.sql("CREATE TABLE t(a)", f"INSERT INTO t VALUES('{word}')")
        app = self.replica(server, "app", database="")
        app.connect().close()
        for url, stays in ((stranger.url(), True), (server.url().replace("127.0.0.1", "localhost"), False)):
            before = app.url
            app.url = url
            if stays:
                start = len(sqlite_log)
                self.fails(app.connect)
                self.assert_explained([self.logged_since(start)], "another history", url)
                app.url = before
            db = app.connect()
            self.assertEqual(db.execute("SELECT url FROM turso_status").fetchone()[0], app.url)
            self.assertEqual(db.execute("SELECT a FROM t").fetchall(), [("ours",)])
            db.close()


class ReplicaOfTheFake(ReplicaOfLibsql, BehaviourTest):
    may_begin_anew = False

    def make_server(self, directory, **options):
        return libsql_server.FakeServer(directory, **options)

    def test_a_log_that_was_cut_is_read_from_its_snapshots(self):
        server = self.server()
        server.sql("CREATE TABLE t(a INTEGER PRIMARY KEY, b)", FILL.format(200, 3000))
        replica = self.replica(server, "app", database="", sync_interval="off")
        db = self.open(replica)
        server.sql("UPDATE t SET b = 'x' WHERE a < 50", "DELETE FROM t WHERE a > 150")
        server.compact()
        server.sql("INSERT INTO t VALUES(500, 'live')")
        db.execute("SELECT turso_sync()").fetchall()
        self.assertEqual(db.execute("SELECT count(*), max(a) FROM t").fetchall(), [(151, 500)])
        self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        self.assertIn("/wal_log.ReplicationLog/Snapshot", server.calls())
        db.close()
        self.equals_a_fresh_replica(server, replica)

    def count(self, server, call):
        return server.calls().get(f"/wal_log.ReplicationLog/{call}", 0)

    def test_a_follower_is_told_and_asks_but_once_a_second(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        db = self.follower(server)
        wait_until(lambda: self.count(server, "LogEntries") == 1)
        for n in range(5):
            server.sql(f"INSERT INTO t VALUES({n})")
            self.follows(db, "SELECT max(a) FROM t", [(n,)])
        asked, start = self.count(server, "BatchLogEntries"), time.monotonic()
        wait_until(lambda: self.count(server, "BatchLogEntries") >= asked + 4)
        # One may have been under way, or have come behind the last news.
        self.assertGreater(time.monotonic() - start, 2 * 0.8)
        self.assertEqual(self.count(server, "LogEntries"), 1)

    def test_a_server_that_sends_nothing_by_itself_is_asked(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        server.stream_no_log()
        db = self.follower(server)
        for n in range(5):
            server.sql(f"INSERT INTO t VALUES({n})")
            self.follows(db, "SELECT max(a) FROM t", [(n,)])
        self.assertIn(self.count(server, "LogEntries"), range(1, 7))  # Ever more seldom.

    def test_nothing_of_damaged_news_is_applied(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        replica = self.replica(server, "app", database="")
        db = self.open(replica)
        for n, damage in enumerate(("bit", "cut", "no_trailers", "not_grpc", "trailing_error")):
            with self.subTest(damage=damage):
                server.damage(damage)
                server.sql(f"INSERT INTO t VALUES({n})")
                self.follows(db, "SELECT count(*), max(a) FROM t", [(n + 1, n)])
        db.close()
        self.equals_a_fresh_replica(server, replica)

    def test_a_snapshot_that_is_not_ready_is_waited_for(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)", "INSERT INTO t VALUES(1)")
        client = self.client(
            self.replica(server, "app", database="", sync_interval="off"), name="app"
        )
        server.sql("INSERT INTO t VALUES(2)")
        server.compact(ready=False)
        client.ask_later("SELECT turso_sync()")
        wait_until(lambda: server.calls().get("/wal_log.ReplicationLog/Snapshot", 0) >= 2)
        server.post("/fake/ready", {})
        client.answer()
        self.assertEqual(client.sql("SELECT max(a) FROM t"), [(2,)])

    def test_nothing_of_a_damaged_answer_is_applied(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)", "INSERT INTO t VALUES(1)")
        db = self.follower(server, sync_interval="off")
        for n, damage in enumerate(
            ("bit", "cut", "no_trailers", "not_grpc", "trailing_error"), start=2
        ):
            with self.subTest(damage=damage):
                server.sql(f"INSERT INTO t VALUES({n})")
                server.damage(damage)
                error = self.fails(db.execute, "SELECT turso_sync()")
                self.assert_code(error, sqlite3.SQLITE_IOERR)
                self.assert_explained([str(error)], server.url())
                self.assertEqual(db.execute("SELECT max(a) FROM t").fetchall(), [(n - 1,)])
                db.execute("SELECT turso_sync()").fetchall()
                self.assertEqual(db.execute("SELECT max(a) FROM t").fetchall(), [(n,)])

    def test_a_damaged_first_answer_makes_no_replica(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        replica = self.replica(server, "app", database="", protocol="libsql")
        # Who asks for the last frame alone, to identify the database, cannot know its predecessor.
        for damage, calls in (("bit", 2), ("cut", 1)):
            server.damage(damage, calls=calls)
            self.assert_code(self.fails(replica.connect), sqlite3.SQLITE_CANTOPEN)
            self.assertEqual(replica.files(), [])
        self.assertEqual(self.open(replica).execute("SELECT * FROM t").fetchall(), [])

    def test_a_token_is_shown_and_a_wrong_one_is_told(self):
        server = self.server(token="s3cret")
        server.sql("CREATE TABLE t(a)")
        for token in ({}, {"token": "wrong"}):
            replica = self.replica(server, "app", database="", **token)
            self.assert_code(self.fails(replica.connect), sqlite3.SQLITE_AUTH)
        with open(self.path("token"), "w", encoding="utf-8") as file:
            file.write("s3cret\n")
        db = self.follower(server, token_file=self.path("token"), sync_interval="off")
        server.sql("INSERT INTO t VALUES(1)")
        db.execute("SELECT turso_sync()").fetchall()
        self.assertEqual(db.execute("SELECT a FROM t").fetchall(), [(1,)])

    def test_what_is_pulled_twice_is_asked_for_once(self):
        """Nothing new costs one exchange, and so does a thousand changed pages' worth of news."""
        server = self.server()
        server.sql("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
        db = self.follower(server, sync_interval="off")
        trips = "SELECT round_trips FROM turso_status"
        db.execute("SELECT turso_sync()").fetchall()
        before = db.execute(trips).fetchone()[0]
        db.execute("SELECT turso_sync()").fetchall()
        self.assertEqual(db.execute(trips).fetchone()[0], before + 1)
        server.sql(FILL.format(500, 3000))
        db.execute("SELECT turso_sync()").fetchall()
        self.assertEqual(db.execute(trips).fetchone()[0], before + 2)

    def test_the_protocol_need_not_be_named(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        for protocol in ("auto", "libsql"):
            replica = self.replica(server, protocol, database="", protocol=protocol)
            self.assertEqual(self.open(replica).execute("SELECT * FROM t").fetchall(), [])
            self.assertEqual(content(self.open(replica))["table t"], [])


if libsql_server.SQLD:

    class ReplicaOfSqld(ReplicaOfLibsql, BehaviourTest):
        may_begin_anew = True

        def make_server(self, directory, *arguments, **options):
            return libsql_server.RealServer(directory, *arguments, **options)

        def test_a_log_that_was_cut_is_read_from_its_snapshots(self):
            server = self.make_server(self.path("server"), "--max-log-size", "1")
            self._primaries.append(server)
            server.start()
            server.sql("CREATE TABLE t(a INTEGER PRIMARY KEY, b)", FILL.format(200, 3000))
            replica = self.replica(server, "app", database="", sync_interval="off")
            db = self.open(replica)
            for n in range(6):
                server.sql(f"UPDATE t SET b = zeroblob({2000 + n})", "DELETE FROM t WHERE a > 150")
            wait_until(server.snapshots, what="a snapshot")
            db.execute("SELECT turso_sync()").fetchall()
            self.assertEqual(
                db.execute("SELECT count(*), max(length(b)) FROM t").fetchall(), [(150, 2005)]
            )
            db.execute("INSERT INTO t VALUES(1000, 'ours')")
            self.assertEqual(server.sql("SELECT max(a) FROM t"), [(1000,)])
            db.close()
            self.equals_a_fresh_replica(server, replica)


if __name__ == "__main__":
    assert unittest
    main()
