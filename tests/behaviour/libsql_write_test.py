"""Writes through a replica of a libSQL server: they go there as rows and schema, and its pages come back."""

import glob
import os
import shutil
import sqlite3
import struct
import threading
import unittest

import libsql_server
from harness import (
    BUSY,
    BUSY_SNAPSHOT,
    OUTCOME_UNKNOWN,
    RETRY_CODES,
    BehaviourTest,
    content,
    error_code,
    last_error,
    main,
    sqlite_log,
    wait_until,
)

OWN_TABLE = "_turso_vfs"


class WritesToLibsql:
    """What is so of every server; `make_server` says which."""

    def server(self, name="server", **options):
        server = self.make_server(self.path(name), **options)
        self._primaries.append(server)
        return server.start()

    def app(self, server, name="app", **options):
        return self.replica(server, name, database="", **options)

    def converges(self, server, *replicas):
        """Every replica's file is the server's, page for page, as one that is made anew has it."""
        fresh = self.app(server, f"fresh{len(os.listdir(self.directory))}")
        contents = []
        for each in (fresh, *replicas):
            db = each.connect()
            db.execute("SELECT turso_sync()").fetchall()
            self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            contents.append(content(db))
            db.close()
        for each, found in zip(replicas, contents[1:]):
            self.assertEqual(found, contents[0])
            with open(each.path, "rb") as ours, open(fresh.path, "rb") as theirs:
                self.assertEqual(ours.read(), theirs.read())

    def test_a_write_is_at_the_server_and_here_at_once_and_then_page_for_page(self):
        server = self.server()
        app, other = self.app(server), self.app(server, "other")
        db, reader = self.open(app), self.open(other)
        db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
        db.execute("INSERT INTO t(b) VALUES('one')")
        self.assertEqual(db.execute("SELECT last_insert_rowid(), changes()").fetchall(), [(1, 1)])
        self.assertEqual(db.execute("SELECT * FROM t").fetchall(), [(1, "one")])
        self.assertEqual(server.sql("SELECT * FROM t"), [(1, "one")])
        revision = db.execute("SELECT turso_revision()").fetchone()[0]
        self.assertEqual(reader.execute("SELECT turso_wait(?)", (revision,)).fetchone(), (1,))
        self.assertEqual(reader.execute("SELECT * FROM t").fetchall(), [(1, "one")])
        db.execute("BEGIN")
        db.executemany("INSERT INTO t(b) VALUES(?)", [(str(i) * 50,) for i in range(1000)])
        db.execute("UPDATE t SET b = upper(b) WHERE a % 7 = 0")
        db.execute("DELETE FROM t WHERE a % 5 = 0")
        db.execute("COMMIT")
        db.close()
        reader.close()
        self.converges(server, app, other)

    def test_every_value_arrives_bit_for_bit(self):
        server = self.server()
        app = self.app(server)
        db = self.open(app)
        doubles = [
            struct.unpack("<d", struct.pack("<Q", bits))[0]
            for bits in (0x3FB999999999999A, 1, 0x7FEFFFFFFFFFFFFF, 0x8000000000000000,
                         0x7FF0000000000000, 0xFFF0000000000000, 0x4340000000000001,
                         0x3FF3C0CA428C59FB, 0x000FFFFFFFFFFFFF)
        ]  # fmt: skip
        values = [None, 2**63 - 1, -(2**63), 0, b"", b"\0\xff", "", "a\0b", "\u00e4\U0001f600"]
        db.execute("CREATE TABLE v(x, y REAL, z TEXT)")
        db.execute("BEGIN")
        for value in [*values, *doubles]:
            db.execute("INSERT INTO v VALUES(?, ?, ?)", (value, value, value))
        db.execute("INSERT INTO v SELECT CAST(x'ff00fe' AS TEXT), 1.0, CAST(x'80' AS TEXT)")
        db.execute("COMMIT")
        bits = "SELECT typeof(x), hex(x), typeof(y), y, typeof(z), hex(z) FROM v ORDER BY rowid"
        ours = db.execute(bits).fetchall()
        db.close()
        fresh = self.open(self.app(server, "fresh"))
        self.assertEqual(fresh.execute(bits).fetchall(), ours)
        found = [row[0] for row in fresh.execute("SELECT x FROM v WHERE typeof(x) = 'real'")]
        self.assertEqual(
            [struct.pack("<d", x) for x in found], [struct.pack("<d", x) for x in doubles]
        )
        fresh.close()
        db = self.open(app)
        db.execute("DELETE FROM v WHERE x = CAST(x'ff00fe' AS TEXT)")  # Python cannot read it.
        db.close()
        self.converges(server, app)

    def test_triggers_and_foreign_keys_act_once(self):
        server = self.server()
        app = self.app(server)
        db = self.open(app)
        db.execute("PRAGMA foreign_keys=ON")
        db.execute("CREATE TABLE first(a)")
        db.execute("SELECT turso_sync()").fetchall()  # And with it the table of the commits.
        db.executescript("""
            CREATE TABLE parent(id INTEGER PRIMARY KEY AUTOINCREMENT, n INT);
            CREATE TABLE child(id INTEGER PRIMARY KEY, p REFERENCES parent(id) ON DELETE CASCADE);
            CREATE TABLE log(what, id);
            CREATE TRIGGER gone AFTER DELETE ON child BEGIN INSERT INTO log VALUES('gone', old.id); END;
            CREATE TRIGGER more AFTER INSERT ON parent BEGIN
                UPDATE parent SET n = n + 1 WHERE id = new.id; INSERT INTO log VALUES('more', new.id); END;
            INSERT INTO parent(n) VALUES(1), (2), (3);
            INSERT INTO child VALUES(1, 1), (2, 1), (3, 2);
            DELETE FROM parent WHERE id = 1;
            INSERT INTO parent(n) VALUES(9);
        """)
        ours = content(db)
        self.assertEqual(db.execute("SELECT count(*) FROM log").fetchone(), (6,))
        del ours[f"table {OWN_TABLE}"]  # The row of the last commit comes with the server's pages.
        db.close()
        self.assertEqual(server.sql("SELECT count(*) FROM log"), [(6,)])
        self.converges(server, app)
        again = content(self.open(app))
        del again[f"table {OWN_TABLE}"]
        self.assertEqual(again, ours)

    def test_an_open_connection_sees_each_schema_with_its_own_pages(self):
        server = self.server()
        app = self.app(server)
        db, other = self.open(app), self.open(app)
        for n in range(6):
            db.execute(f"CREATE TABLE t{n}(a, b)")
            db.execute(f"INSERT INTO t{n} VALUES({n}, 'ours')")
            server.sql(f"CREATE TABLE s{n}(c)", f"INSERT INTO s{n} VALUES({n})")
            db.execute(f"ALTER TABLE t{n} ADD COLUMN c DEFAULT 7")
            db.execute("BEGIN")
            db.execute(f"CREATE INDEX i{n} ON t{n}(b)")
            db.execute(f"UPDATE t{n} SET c = 8")
            db.execute("COMMIT")
            for each in (db, other):
                self.assertEqual(
                    each.execute(f"SELECT * FROM t{n} INDEXED BY i{n} WHERE b = 'ours'").fetchall(),
                    [(n, "ours", 8)],
                )
                self.assertEqual(each.execute(f"SELECT * FROM s{n}").fetchall(), [(n,)])
            if n % 2:
                db.execute(f"DROP TABLE t{n - 1}")
                db.execute(f"ALTER TABLE t{n} RENAME TO u{n}")
        self.assertEqual(other.execute("SELECT * FROM u5").fetchall(), [(5, "ours", 8)])
        db.close()
        other.close()
        self.converges(server, app)

    def test_writers_of_several_replicas_and_of_the_server_make_one_history(self):
        server = self.server()
        server.sql("CREATE TABLE c(n)", "INSERT INTO c VALUES(0)")
        replicas = [self.app(server, f"app{n}") for n in range(2)]
        for replica in replicas:
            self.open(replica).close()
        each, failures = 15, []

        def count(replica):
            try:
                db = replica.connect(timeout=60, check_same_thread=False)
                done = 0
                while done < each:
                    try:
                        db.execute("UPDATE c SET n = n + 1")
                        done += 1
                    except sqlite3.OperationalError as error:
                        if error_code(error) not in RETRY_CODES:
                            raise
                db.close()
            except Exception as error:  # pylint: disable=broad-except
                failures.append(error)

        threads = [threading.Thread(target=count, args=(r,)) for r in replicas]
        for thread in threads:
            thread.start()
        for _ in range(each):
            server.sql("UPDATE c SET n = n + 1")
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(server.sql("SELECT n FROM c"), [(each * 3,)])
        self.converges(server, *replicas)

    def test_what_read_something_old_is_refused_and_a_fresh_statement_catches_up(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)", "INSERT INTO t VALUES(1)")
        db = self.open(self.app(server, sync_interval="off"))
        server.sql("INSERT INTO t VALUES(2)")
        db.execute("BEGIN")
        self.assertEqual(db.execute("SELECT count(*) FROM t").fetchone(), (1,))
        self.assert_code(self.fails(db.execute, "INSERT INTO t VALUES(3)"), BUSY_SNAPSHOT)
        db.execute("ROLLBACK")
        server.sql("INSERT INTO t VALUES(4)")
        db.execute("INSERT INTO t SELECT count(*) * 100 FROM t")
        self.assertEqual(server.sql("SELECT max(a) FROM t"), [(300,)])

    def test_who_thinks_lets_others_write_and_is_refused_only_if_they_did(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        db = self.open(self.app(server, sync_interval="off"))
        for others_write in (False, True):
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO t VALUES('ours')")
            # The slot is given up by itself; until then the server makes others wait.
            server.sql("UPDATE t SET a = a || 's'" if others_write else "SELECT 1")
            if others_write:
                self.assert_code(self.fails(db.execute, "COMMIT"), BUSY, BUSY_SNAPSHOT)
                self.assertFalse(db.in_transaction)
            else:
                db.execute("COMMIT")
        self.assertEqual(server.sql("SELECT count(*) FROM t"), [(1,)])

    def test_what_cannot_be_carried_is_refused_before_anything_is_sent(self):
        server = self.server()
        server.sql("CREATE TABLE t(a PRIMARY KEY)", "INSERT INTO t VALUES(1)")
        app = self.app(server)
        db = self.open(app)
        db.execute("INSERT INTO t VALUES(2)")
        db.execute("SELECT turso_sync()").fetchall()
        for sql, word in (
            ("ANALYZE", "ANALYZE"),
            ("VACUUM", ""),
            ("PRAGMA application_id=7", "application_id"),
            (f"DELETE FROM {OWN_TABLE}", OWN_TABLE),
            (f"DROP TABLE {OWN_TABLE}", OWN_TABLE),
            ("INSERT INTO t VALUES(zeroblob(6000000))", "bytes"),
        ):
            with self.subTest(sql=sql):
                self.assert_code(self.fails(db.execute, sql), sqlite3.SQLITE_READONLY)
                self.assert_explained([last_error(db)], word)
        db.execute("INSERT INTO t VALUES(3)")
        self.assertEqual(server.sql("SELECT a FROM t"), [(1,), (2,), (3,)])
        db.close()
        self.converges(server, app)

    def test_a_schema_that_sqlite_calls_malformed_is_refused_before_anything_is_sent(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)", "CREATE INDEX i ON t(a)", "INSERT INTO t VALUES(1)")
        app = self.app(server)
        db = self.open(app)
        db.execute("INSERT INTO t VALUES(2)")
        db.execute("SELECT turso_sync()").fetchall()
        known = f"SELECT hex(replica), hex(number), refused FROM {OWN_TABLE}"
        before = server.sql(known)
        table = "UPDATE sqlite_schema SET {} WHERE name = 't'"
        for spoil in (
            table.format("sql = 'CREATE TABLE t('"),
            table.format("sql = NULL"),
            table.format("sql = x'00ff'"),
            table.format("type = 'tabel'"),
            table.format("name = NULL"),
            *(
                table.format(f"rootpage = {page}")
                for page in ("0", "1", "-5", "9999", "'x'", "(SELECT max(rootpage) FROM sqlite_schema)")
            ),
            "UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON t(nowhere)' WHERE name = 'i'",
            "UPDATE sqlite_schema SET rootpage = 0 WHERE name = 'i'",
            "DELETE FROM sqlite_schema WHERE name = 't'",
            "INSERT INTO sqlite_schema SELECT * FROM sqlite_schema WHERE name = 't'",
            "INSERT INTO sqlite_schema VALUES('view', 'v', 'v', 2, 'CREATE VIEW v AS SELECT 1')",
            "INSERT INTO sqlite_schema VALUES('trigger', 'g', 't', 0, 'CREATE TRIGGER g')",
        ):
            with self.subTest(spoil):
                spoiler = self.open(app)
                spoiler.execute("PRAGMA writable_schema = ON")
                self.assert_code(self.fails(spoiler.execute, spoil), sqlite3.SQLITE_READONLY)
                self.assert_explained([last_error(spoiler)], "")
                spoiler.close()
                self.assertEqual(before, server.sql(known), "the server knows of it")
        db.execute("INSERT INTO t VALUES(3)")
        self.assertEqual(server.sql("SELECT a FROM t"), [(1,), (2,), (3,)])
        db.close()
        self.converges(server, app)

    def test_a_generated_column_that_the_server_computes_otherwise_is_refused(self):
        server = self.server()
        server.sql("CREATE TABLE t(k INTEGER PRIMARY KEY, a, s AS (hex(a)) STORED)")
        app = self.app(server)
        db = self.open(app)
        db.execute("INSERT INTO t(k, a) VALUES(1, x'00'), (2, 'text')")
        db.execute("UPDATE t SET a = 5 WHERE k = 2")
        # SQLite leaves `s` as it is, and computes it when the row is written next.
        db.execute("BEGIN")
        with db.blobopen("t", "a", 1) as blob:
            blob.write(b"x")
        self.assert_code(self.fails(db.execute, "COMMIT"), sqlite3.SQLITE_READONLY)
        self.assert_explained([last_error(db)], "generated column")
        self.assertEqual(server.sql("SELECT k, s FROM t"), [(1, "00"), (2, "35")])
        db.execute("UPDATE t SET a = x'78' WHERE k = 1")
        self.assertEqual(server.sql("SELECT s FROM t WHERE k = 1"), [("78",)])
        db.close()
        self.converges(server, app)

    def test_nothing_is_committed_over_what_a_server_wrote_after_it_was_set_back(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)", "INSERT INTO t VALUES('before')")
        app = self.app(server, sync_interval="off")
        db = self.open(app)
        db.execute("SELECT turso_sync()").fetchall()
        server.back_up()
        server.sql("INSERT INTO t VALUES('lost')")
        db.execute("SELECT turso_sync()").fetchall()
        server.set_back()
        server.sql("INSERT INTO t VALUES('again')")
        with self.assertRaises(sqlite3.OperationalError) as caught:
            db.execute("BEGIN")
            db.execute("SELECT count(*) FROM t").fetchall()
            db.execute("INSERT INTO t SELECT a || ', copied' FROM t")
            db.execute("COMMIT")
        self.assertIn(error_code(caught.exception), RETRY_CODES)
        if db.in_transaction:
            db.execute("ROLLBACK")
        wait_until(lambda: self.accepted(db, "INSERT INTO t SELECT a || ', copied' FROM t"))
        expected = [("before",), ("again",), ("before, copied",), ("again, copied",)]
        self.assertEqual(server.sql("SELECT a FROM t"), expected)
        db.close()
        self.converges(server, app)

    def test_nor_over_a_commit_of_ours_that_it_lost_where_its_log_is_as_long_again(self):
        server = self.server()
        server.sql("CREATE TABLE c(n)", "INSERT INTO c VALUES(0)")
        app = self.app(server, sync_interval="off")
        db = self.open(app)
        db.execute("UPDATE c SET n = 1")
        db.execute("SELECT turso_sync()").fetchall()
        server.back_up()
        db.execute("UPDATE c SET n = 2")

        def frames(connection):
            return connection.execute("SELECT turso_revision()").fetchone()[0].split(".")[1]

        server.set_back()
        # Of which each is a frame, as our row and that of our commit were.
        server.sql("UPDATE c SET n = 100", "UPDATE c SET n = 200")
        fresh = self.open(self.app(server, "fresh"))
        self.assertEqual(frames(fresh), frames(db))
        db.execute("BEGIN")
        self.assertEqual(db.execute("SELECT n FROM c").fetchone(), (2,))
        with self.assertRaises(sqlite3.OperationalError) as caught:
            db.execute("UPDATE c SET n = n + 1")
            db.execute("COMMIT")
        self.assert_code(caught.exception, BUSY_SNAPSHOT)
        if db.in_transaction:
            db.execute("ROLLBACK")
        db.execute("UPDATE c SET n = n + 1")
        self.assertEqual(server.sql("SELECT n FROM c"), [(201,)])
        db.close()
        fresh.close()
        self.converges(server, app)

    def test_no_table_is_taken_for_another_after_a_server_was_set_back(self):
        for whose, pulls in (("the server's", True), ("ours", True), ("ours", False)):
            with self.subTest(whose=whose, pulls=pulls):
                name = f"{whose[:4]}-{pulls}"
                server = self.server(f"server-{name}")
                server.sql("CREATE TABLE a(n)")
                app = self.app(server, f"app-{name}", sync_interval="off")
                db, other = self.open(app), self.open(app)
                db.execute("INSERT INTO a VALUES(0)")
                db.execute("SELECT turso_sync()").fetchall()
                server.back_up()
                if whose == "ours":
                    db.execute("CREATE TABLE x(n)")
                    db.execute("INSERT INTO x VALUES('x')")
                else:
                    server.sql("CREATE TABLE x(n)", "INSERT INTO x VALUES('x')")
                if pulls:
                    db.execute("SELECT turso_sync()").fetchall()
                shown = db.execute("PRAGMA schema_version").fetchone()[0]
                for each in (db, other):
                    self.assertEqual(each.execute("SELECT n FROM x").fetchall(), [("x",)])
                server.set_back()
                server.sql("CREATE TABLE y(p, q)", "INSERT INTO y VALUES('p', 'q')")
                while server.sql("PRAGMA schema_version")[0][0] < shown:
                    server.sql("CREATE VIEW v AS SELECT 1", "DROP VIEW v")
                db.execute("SELECT turso_sync()").fetchall()
                for each in (db, other):
                    error = self.fails(each.execute, "INSERT INTO x VALUES('wrong')")
                    self.assertIn("no such table", str(error))
                    self.assertEqual(each.execute("SELECT * FROM y").fetchall(), [("p", "q")])
                db.execute("ALTER TABLE y ADD COLUMN r DEFAULT 'r'")
                for each in (db, other):
                    self.assertEqual(each.execute("SELECT * FROM y").fetchall(), [("p", "q", "r")])
                db.execute("SELECT turso_sync()").fetchall()
                other.execute("INSERT INTO y VALUES(1, 2, 3)")
                self.assertEqual(server.sql("SELECT r FROM y"), [("r",), (3,)])
                self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
                db.close()
                other.close()

    def accepted(self, db, sql):
        try:
            db.execute(sql)
        except sqlite3.OperationalError as error:
            self.assertIn(error_code(error), RETRY_CODES)
            return False
        return True

    def test_a_replica_that_was_set_back_commits_under_a_name_of_its_own(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        app = self.app(server)
        files = [app.path + suffix for suffix in ("", "-wal", "-turso")]
        db = self.open(app)
        db.execute("INSERT INTO t VALUES(1)")
        db.execute("SELECT turso_sync()").fetchall()
        db.close()
        for file in files:
            shutil.copyfile(file, file + ".backup")
        db = self.open(app)
        for n in range(2, 5):
            db.execute("INSERT INTO t VALUES(?)", (n,))
        db.close()
        for file in files:
            shutil.copyfile(file + ".backup", file)
        db = self.open(app)
        error = self.fails(db.execute, "INSERT INTO t VALUES(5)")
        self.assert_code(error, BUSY_SNAPSHOT)
        self.assert_explained([last_error(db)], "identity")
        db.execute("INSERT INTO t VALUES(5)")
        self.assertEqual(server.sql("SELECT a FROM t"), [(n,) for n in range(1, 6)])
        db.close()
        self.converges(server, app)

    def asks_the_server(self, app, times=2):
        """Lets the replica ask for what is new while the caller does nothing."""
        aside = sqlite3.connect(":memory:")  # The caller may be in a transaction.

        def trips():
            rows = aside.execute("SELECT path, round_trips FROM turso_status").fetchall()
            return next(trips for path, trips in rows if os.path.samefile(path, app.path))

        start = trips()
        wait_until(lambda: trips() >= start + times, what="the follower to ask")
        aside.close()

    def test_transactions_in_a_row_may_read_before_they_write_where_nobody_else_writes(self):
        for sync in ("follow", "off"):
            with self.subTest(sync=sync):
                server = self.server(f"server-{sync}")
                server.sql("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
                app = self.app(server, f"app-{sync}", sync_interval=sync)
                db = self.open(app)
                for n in range(12):
                    db.execute("BEGIN")
                    count = db.execute("SELECT count(*) FROM t").fetchone()[0]
                    self.assertEqual(count, n)
                    if sync == "follow" and n % 3 == 0:
                        self.asks_the_server(app)
                    db.execute("INSERT INTO t(b) VALUES(?)", (count,))
                    db.execute("COMMIT")
                self.assertEqual(
                    server.sql("SELECT a, b FROM t"), [(n + 1, n) for n in range(12)]
                )
                db.close()
                self.converges(server, app)

    def test_each_of_several_commits_in_a_row_stands_on_the_one_before(self):
        server = self.server()
        app = self.app(server, sync_interval="off")
        db, other = self.open(app), self.open(app)

        def reads_first(*statements):
            db.execute("BEGIN")
            db.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            for statement in statements:
                db.execute(statement)
            db.execute("COMMIT")

        reads_first("CREATE TABLE p(id INTEGER PRIMARY KEY AUTOINCREMENT, n INT)")
        reads_first(
            "CREATE TABLE log(what)",
            "CREATE TRIGGER more AFTER INSERT ON p BEGIN INSERT INTO log VALUES(new.n); END",
        )
        reads_first("INSERT INTO p(n) VALUES(1), (2), (3)")
        reads_first("ALTER TABLE p ADD COLUMN m DEFAULT 5", "UPDATE p SET m = n WHERE n > 1")
        reads_first("CREATE UNIQUE INDEX i ON p(n)", "DELETE FROM p WHERE n = 3")
        reads_first("INSERT INTO p(n) VALUES(9)", "DROP TABLE log")
        for each in (db, other):
            rows = each.execute("SELECT id, n, m FROM p INDEXED BY i WHERE n > 0").fetchall()
            self.assertEqual(rows, [(1, 1, 5), (2, 2, 2), (4, 9, 5)])
        self.assertEqual(server.sql("SELECT id, n, m FROM p"), rows)
        db.close()
        other.close()
        self.converges(server, app)

    def test_what_read_our_last_commit_is_refused_where_somebody_else_wrote_behind_it(self):
        for sync in ("follow", "off"):
            with self.subTest(sync=sync):
                server = self.server(f"server-{sync}")
                server.sql("CREATE TABLE c(n)", "INSERT INTO c VALUES(0)")
                app = self.app(server, f"app-{sync}", sync_interval=sync)
                db = self.open(app)
                for n in range(4):
                    db.execute("UPDATE c SET n = n + 1")
                    db.execute("BEGIN")
                    (found,) = db.execute("SELECT n FROM c").fetchone()
                    server.sql("UPDATE c SET n = n + 10")
                    error = self.fails(db.execute, "UPDATE c SET n = ?", (found + 1,))
                    self.assert_code(error, BUSY_SNAPSHOT)
                    db.execute("ROLLBACK")
                    self.assertEqual(server.sql("SELECT n FROM c"), [(11 * (n + 1),)])
                db.close()
                self.converges(server, app)

    def test_a_process_that_dies_after_commits_on_one_another_leaves_them_to_the_next(self):
        server = self.server()
        server.sql("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
        app = self.app(server, sync_interval="off")
        for n in range(2):
            client = self.client(app, name=f"dies{n}")
            for m in range(3):
                client.sql("BEGIN")
                client.sql("SELECT count(*) FROM t")
                client.sql("INSERT INTO t(b) VALUES(?)", (str(m) * 3000,))
                client.sql("COMMIT")
            client.kill()
            db = self.open(app)
            # Another process goes on where that one stood.
            db.execute("BEGIN")
            self.assertEqual(db.execute("SELECT count(*) FROM t").fetchone(), (n * 4 + 3,))
            db.execute("INSERT INTO t(b) VALUES('next')")
            db.execute("COMMIT")
            db.close()
        self.assertEqual(server.sql("SELECT count(*) FROM t"), [(8,)])
        self.converges(server, app)

    def test_the_servers_pages_come_when_nobody_reads_the_newest_state(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        app = self.app(server)
        db, reader = self.open(app), self.client(app, name="reader")

        def is_provisional():
            return db.execute("PRAGMA wal_checkpoint").fetchone()[0] == 1

        def is_read_before_the_servers_pages_come():
            db.execute("INSERT INTO t VALUES(1)")
            reader.sql("BEGIN")
            reader.sql("SELECT count(*) FROM t")
            if is_provisional():
                return True
            reader.sql("COMMIT")
            return False

        wait_until(is_read_before_the_servers_pages_come, what="a snapshot of the newest state")
        pulls = db.execute("SELECT pulls FROM turso_status").fetchone()
        self.asks_the_server(app, times=4)
        self.assertEqual(db.execute("SELECT pulls FROM turso_status").fetchone(), pulls)
        self.assertTrue(is_provisional())
        self.assertLess(db.execute("SELECT turso_lag()").fetchone()[0], 5000)
        reader.sql("INSERT INTO t VALUES(2)")
        reader.sql("COMMIT")
        wait_until(lambda: not is_provisional(), what="the server's pages")
        # Somebody else's come at once, whoever reads.
        wait_until(is_read_before_the_servers_pages_come, what="a snapshot of the newest state")
        server.sql("INSERT INTO t VALUES('others')")
        wait_until(
            lambda: db.execute("SELECT count(*) FROM t WHERE a = 'others'").fetchone() == (1,),
            what="what somebody else wrote",
        )
        self.assertFalse(is_provisional())
        self.assertEqual(reader.sql("SELECT count(*) FROM t WHERE a = 'others'"), [(0,)])
        reader.close()
        db.close()
        self.converges(server, app)

    def test_the_log_of_a_replica_that_only_writes_does_not_grow_for_ever(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        app = self.app(server, sync_interval="off")
        db = self.open(app)
        for reads, size in ((False, 1200), (True, 4200)):
            # Nobody pulls but the writes themselves.
            pulls = db.execute("SELECT pulls FROM turso_status").fetchone()[0]
            refused = 0
            for n in range(size // 100):
                db.execute("BEGIN" if reads else "BEGIN IMMEDIATE")
                db.execute("SELECT count(*) FROM t").fetchall()
                try:
                    db.execute("INSERT INTO t VALUES(zeroblob(400000))")
                    db.execute("COMMIT")
                except sqlite3.OperationalError as error:
                    self.assert_code(error, BUSY_SNAPSHOT)
                    db.execute("ROLLBACK")
                    refused += 1
            self.assertEqual(refused, 1 if reads else 0)
            self.assertEqual(
                db.execute("SELECT pulls FROM turso_status").fetchone()[0], pulls + 1
            )
        db.close()
        self.converges(server, app)

    def test_nothing_is_checkpointed_until_the_servers_pages_are_here(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        app = self.app(server, sync_interval="off")
        db = self.open(app)
        db.execute("INSERT INTO t VALUES(zeroblob(100000))")
        before = os.path.getsize(app.path)
        for mode in ("PASSIVE", "FULL", "TRUNCATE"):
            db.execute("PRAGMA busy_timeout=10")
            self.assertEqual(db.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0], 1)
        self.assertEqual(os.path.getsize(app.path), before)
        db.execute("SELECT turso_sync()").fetchall()
        self.assertEqual(db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0], 0)
        db.close()
        self.converges(server, app)

    def test_who_only_looked_before_the_servers_pages_were_here_is_told_from_who_wrote(self):
        for n, (sql, asides) in enumerate((("SELECT * FROM t", 0), ("INSERT INTO t VALUES(7)", 1))):
            with self.subTest(sql=sql):
                server = self.server(f"server{n}")
                server.sql("CREATE TABLE t(a)")
                app = self.app(server, f"app{n}", sync_interval="off")
                db = self.open(app)
                db.execute("CREATE TABLE u(b)")
                db.execute("INSERT INTO t VALUES(zeroblob(20000))")
                db.close()
                # Its last close brings the log into the file.
                stranger = sqlite3.connect(app.path, isolation_level=None)
                stranger.execute(sql).fetchall()
                stranger.close()
                self.assertFalse(os.path.exists(app.path + "-wal"))
                db = self.open(app)
                wait_until(lambda db=db: self.accepted(db, "INSERT INTO u VALUES(1)"))
                self.assertEqual(db.execute("SELECT length(a) FROM t").fetchall(), [(20000,)])
                self.assertEqual(len(glob.glob(app.path + ".aside*")), asides)
                db.close()
                self.converges(server, app)

    def test_a_process_that_dies_after_its_commit_leaves_it_to_the_next(self):
        server = self.server()
        server.sql("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
        app = self.app(server, sync_interval="off")
        for n in range(3):
            client = self.client(app, name=f"dies{n}")
            client.sql("INSERT INTO t(b) VALUES(?)", (str(n) * 3000,))
            client.kill()
            db = self.open(app)
            self.assertEqual(db.execute("SELECT count(*) FROM t").fetchone(), (n + 1,))
            db.close()
        self.assertEqual(server.sql("SELECT count(*) FROM t"), [(3,)])
        self.converges(server, app)

    def test_a_server_that_was_started_anew_takes_writes_again(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        app = self.app(server)
        db = self.open(app)
        for n, again in enumerate((server.restart, server.crash), start=1):
            db.execute("INSERT INTO t VALUES(?)", (n,))
            again()

            def writes(n=n):
                try:
                    db.execute("INSERT INTO t VALUES(?)", (-n,))
                    return True
                except sqlite3.OperationalError:
                    return False

            wait_until(writes, what="a write to succeed")
        self.assertEqual(sorted(server.sql("SELECT a FROM t")), [(-2,), (-1,), (1,), (2,)])
        db.close()
        self.converges(server, app)

    def test_a_log_that_is_as_long_as_the_one_before_is_not_taken_for_it(self):
        server = self.server()
        server.sql("CREATE TABLE c(n)", "INSERT INTO c VALUES(0)")
        app = self.app(server, sync_interval="off")
        db = self.open(app)
        db.execute("UPDATE c SET n = 1")
        server.crash()
        wait_until(lambda: not self.is_refused(db, "BEGIN IMMEDIATE"), what="the slot")
        db.execute("ROLLBACK")
        server.sql("UPDATE c SET n = 100")
        server.crash()  # As many pages, so as many frames.
        wait_until(
            lambda: not self.is_refused(db, "UPDATE c SET n = n + 1"), what="a write to succeed"
        )
        self.assertEqual(server.sql("SELECT n FROM c"), [(101,)])
        db.close()
        self.converges(server, app)

    def test_pages_that_moved_without_a_change_become_the_servers_again(self):
        server = self.server()
        server.sql("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
        app = self.app(server, sync_interval="off")
        db = self.open(app)
        db.executemany("INSERT INTO t VALUES(?, ?)", [(n, str(n) * 40) for n in range(200)])
        for n in range(3):
            db.execute("BEGIN IMMEDIATE")
            rows = db.execute("SELECT a, b FROM t WHERE a % 3 = ?", (n,)).fetchall()
            db.execute("DELETE FROM t WHERE a % 3 = ?", (n,))
            db.executemany("INSERT INTO t VALUES(?, ?)", reversed(rows))
            if n == 2:
                db.execute("UPDATE t SET b = 'changed' WHERE a = 7")
            db.execute("COMMIT")
            self.assertEqual(db.execute("SELECT count(*) FROM t").fetchone(), (200,))
        self.assertEqual(server.sql("SELECT b FROM t WHERE a = 7"), [("changed",)])
        db.close()
        self.converges(server, app)

    def is_refused(self, db, sql):
        try:
            db.execute(sql).fetchall()
            return False
        except sqlite3.OperationalError:
            return True


class WritesToTheFake(WritesToLibsql, BehaviourTest):
    def make_server(self, directory, **options):
        return libsql_server.FakeServer(directory, **options)

    def test_a_lost_answer_is_settled_and_the_commit_there_once(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        app = self.app(server)
        db = self.open(app)
        for n, fault in enumerate(("lost-answer", "lost-request", "lost-answer")):
            server.fault(fault)
            if fault == "lost-answer":
                db.execute("INSERT INTO t VALUES(?)", (n,))
            else:
                error = self.fails(db.execute, "INSERT INTO t VALUES(?)", (n,))
                self.assert_code(error, BUSY_SNAPSHOT)
        self.assertEqual(server.sql("SELECT a FROM t"), [(0,), (2,)])
        self.assertEqual(db.execute("SELECT a FROM t").fetchall(), [(0,), (2,)])
        db.close()
        self.converges(server, app)

    def test_a_transaction_that_is_too_large_for_a_proxy_is_a_refusal(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        app = self.app(server)
        db = self.open(app)
        db.execute("INSERT INTO t VALUES(1)")
        server.fault("too-large")
        self.assert_code(self.fails(db.execute, "INSERT INTO t VALUES(2)"), sqlite3.SQLITE_FULL)
        self.assert_explained([last_error(db)], "too large")
        state, conflicts = db.execute("SELECT state, conflicts FROM turso_status").fetchone()
        self.assertNotEqual(state, "settling")
        self.assertEqual(conflicts, 0)
        server.sql("INSERT INTO t VALUES('others')", patient=False)  # The slot is free.
        db.execute("INSERT INTO t VALUES(3)")
        self.assertEqual(server.sql("SELECT a FROM t"), [(1,), ("others",), (3,)])
        db.close()
        self.converges(server, app)

    def test_a_server_where_others_write_is_asked_again_where_sqlite_would_not(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        app = self.app(server, sync_interval="off")
        db = self.open(app)
        db.execute("INSERT INTO t VALUES(0)")
        wait_until(lambda: server.streams() == 0, what="the slot of the first commit to end")
        # SQLite calls no busy handler for a transaction that has read...
        for _ in range(3):
            server.fault("begin-busy")
        db.execute("BEGIN")
        db.execute("SELECT * FROM t").fetchall()
        db.execute("INSERT INTO t VALUES(1)")
        # ...nor at a commit. The slot is given up where an application thinks for long.
        wait_until(lambda: server.streams() == 0, what="the slot to be given up")
        for _ in range(3):
            server.fault("begin-busy")
        db.execute("COMMIT")
        self.assertEqual(server.sql("SELECT a FROM t"), [(0,), (1,)])
        db.close()
        self.converges(server, app)

    def test_a_server_that_says_when_to_come_again_is_asked_then(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        app = self.app(server, sync_interval="off")
        db = self.open(app)
        db.execute("INSERT INTO t VALUES(0)")
        for n, fault in enumerate(("log-503", "begin-503", "429"), start=1):
            with self.subTest(fault=fault):
                server.fault(fault)
                db.execute("SELECT turso_sync()").fetchall()
                db.execute("INSERT INTO t VALUES(?)", (n,))
                self.assertEqual(server.sql("SELECT max(a) FROM t"), [(n,)])
        # A gateway that says so may have passed it on: the server is asked what became of it.
        server.fault("503")
        self.assert_code(self.fails(db.execute, "INSERT INTO t VALUES(9)"), BUSY_SNAPSHOT)
        db.execute("INSERT INTO t VALUES(4)")
        self.assertEqual(server.sql("SELECT a FROM t"), [(n,) for n in range(5)])
        self.assertEqual(db.execute("SELECT conflicts FROM turso_status").fetchone(), (1,))
        db.close()
        self.converges(server, app)

    def test_a_commit_without_an_answer_is_settled_where_it_was_sent_and_nowhere_else(self):
        server, stranger = self.server(), self.server("stranger")
        stranger.sql("CREATE TABLE t(a)", "INSERT INTO t VALUES('theirs')")
        other = self.open(self.app(stranger, "others"))
        other.execute("INSERT INTO t VALUES('theirs, too')")
        server.sql("CREATE TABLE t(a)")
        app = self.app(server, timeout="1s")
        db = self.open(app)
        db.execute("INSERT INTO t VALUES(1)")
        server.fault("last-words")
        error = self.fails(db.execute, "INSERT INTO t VALUES(2)")
        self.assert_code(error, OUTCOME_UNKNOWN)
        db.close()
        server.kill()
        app.url = stranger.url()
        start = len(sqlite_log)
        self.fails(app.connect)
        said = self.logged_since(start)
        self.assert_explained([said], app.path, "another history", stranger.url())
        self.assertEqual(stranger.sql(f"SELECT count(*) FROM {OWN_TABLE}"), [(1,)])
        self.assertEqual(glob.glob(app.path + ".aside*"), [])
        # It has another address now, and another log; the replica has written there before.
        server.start()
        app.url = server.url()
        db = self.open(app)
        db.execute("INSERT INTO t VALUES(3)")
        self.assertEqual(db.execute("SELECT a FROM t").fetchall(), [(1,), (2,), (3,)])
        self.assertEqual(server.sql("SELECT a FROM t"), [(1,), (2,), (3,)])
        db.close()
        self.converges(server, app)

    def test_a_lost_answer_to_a_commit_on_another_is_settled_too(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        app = self.app(server, sync_interval="off")
        db = self.open(app)
        kept = []
        for n, fault in enumerate((None, "lost-answer", None, "lost-request", None, None)):
            db.execute("BEGIN")
            self.assertEqual(db.execute("SELECT a FROM t").fetchall(), [(a,) for a in kept])
            if fault:
                server.fault(fault)
            try:
                db.execute("INSERT INTO t VALUES(?)", (n,))
                db.execute("COMMIT")
                kept.append(n)
            except sqlite3.OperationalError as error:
                # The state after a commit that had to be settled, and after a refusal, is no base.
                self.assertIn(n, (2, 3, 4))
                self.assert_code(error, BUSY_SNAPSHOT)
                if db.in_transaction:
                    db.execute("ROLLBACK")
        self.assertEqual(server.sql("SELECT a FROM t"), [(a,) for a in kept])
        self.assertEqual(kept, [0, 1, 5])
        db.close()
        self.converges(server, app)

    def test_a_commit_stands_on_one_that_the_server_took_before_it_was_stopped_and_started(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        app = self.app(server, sync_interval="off")
        db = self.open(app)
        for n in range(4):
            db.execute("BEGIN")
            self.assertEqual(db.execute("SELECT count(*) FROM t").fetchone(), (n,))
            if n > 1:
                server.restart()
            db.execute("INSERT INTO t VALUES(?)", (n,))
            db.execute("COMMIT")
        self.assertEqual(server.sql("SELECT a FROM t"), [(0,), (1,), (2,), (3,)])
        db.close()
        self.converges(server, app)

    def test_what_somebody_commits_right_behind_our_commit_is_not_taken_for_ours(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        for sync in ("off", "follow"):
            with self.subTest(sync=sync):
                db = self.open(self.app(server, f"app-{sync}", sync_interval=sync))
                server.fault("others-behind")  # INSERT INTO t VALUES('others')
                db.execute("INSERT INTO t VALUES('ours')")
                db.execute("BEGIN")
                others = "SELECT count(*) FROM t WHERE a = 'others'"
                (found,) = db.execute(others).fetchone()
                try:
                    db.execute(f"INSERT INTO t {others}")
                    db.execute("COMMIT")
                except sqlite3.OperationalError as error:
                    self.assert_code(error, BUSY_SNAPSHOT)
                    db.execute("ROLLBACK")
                    found = None
                seen = server.sql("SELECT a FROM t WHERE typeof(a) = 'integer'")
                self.assertEqual(seen, [] if found is None else server.sql(others))
                server.sql("DELETE FROM t")
                db.close()

    def test_no_statement_runs_outside_of_its_transaction_when_the_slot_is_taken(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        app = self.app(server)
        db = self.open(app)
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO t VALUES(1)")
        db.execute("INSERT INTO t VALUES(2)")
        server.steal()
        self.assert_code(self.fails(db.execute, "COMMIT"), BUSY, BUSY_SNAPSHOT)
        self.assertEqual(server.sql("SELECT count(*) FROM t"), [(0,)])
        db.execute("INSERT INTO t VALUES(3)")
        self.assertEqual(server.sql("SELECT a FROM t"), [(3,)])
        db.close()
        self.converges(server, app)

    def test_a_slot_that_rests_is_not_taken_by_another_process_and_is_given_back(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        app = self.app(server)
        one, other = self.client(app), self.client(app)
        other.sql("SELECT * FROM t")
        for n in range(20):
            one.sql("BEGIN IMMEDIATE")
            one.sql("COMMIT")  # It wrote nothing: the slot rests for a moment.
            other.sql("INSERT INTO t VALUES(?)", (n,))
        wait_until(lambda: server.streams() == 0, what="the last slot to be given back")
        self.assertEqual(server.sql("SELECT count(*) FROM t"), [(20,)])

    def test_a_transaction_of_ten_statements_costs_as_much_as_one_of_one(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        db = self.open(self.app(server, sync_interval="off"))
        db.execute("INSERT INTO t VALUES(0)")
        trips = "SELECT round_trips FROM turso_status"

        def cost(count):
            before = db.execute(trips).fetchone()[0]
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO t VALUES(?)", [(n,) for n in range(count)])
            db.execute("COMMIT")
            return db.execute(trips).fetchone()[0] - before

        for count in (1, 10, 1000):
            with self.subTest(count=count):
                # Behind another, as long as the server has the stream of that one.
                wait_until(lambda n=count: cost(n) == 2, what="a transaction in two exchanges")
                # What the server knows of us goes with its process.
                server.restart()
                self.assertGreater(cost(count), 2)

    def test_a_stream_that_rests_ends_soon_and_holds_nobody_up(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)")
        db = self.open(self.app(server))
        for n in range(3):
            wait_until(
                lambda: db.execute("INSERT INTO t VALUES('ours')") and server.streams() == 1,
                what="a stream that rests",
            )
            server.sql("INSERT INTO t VALUES('others')", patient=False)
            db.execute("INSERT INTO t SELECT count(*) FROM t WHERE a = 'others'")
            self.assertEqual(server.sql("SELECT max(a) FROM t WHERE a < 'a'"), [(n + 1,)])
        wait_until(lambda: server.streams() == 0, what="the stream to end")
        db.execute("INSERT INTO t VALUES('ours')")
        db.close()
        self.assertEqual(server.streams(), 0)


if libsql_server.SQLD:

    class WritesToSqld(WritesToLibsql, BehaviourTest):
        def make_server(self, directory, **options):
            return libsql_server.RealServer(directory, **options)


if __name__ == "__main__":
    assert unittest
    main()
