"""Other programs at a replica's files: noticed, said, kept aside, repaired; nothing lost and nothing pushed."""

import glob
import os
import resource
import shutil
import sqlite3
import subprocess

from harness import (
    REMOTE,
    BehaviourTest,
    Replica,
    content,
    family,
    main,
    only_of_primary,
    sqlite_log,
)

ROWS = "SELECT group_concat(b, ' ') FROM (SELECT b FROM t ORDER BY b)"
SUFFIXES = ("", "-wal", "-shm", "-turso")


def run_shell(path, *statements, check=True):
    """Debian's sqlite3, which knows nothing of us."""
    done = subprocess.run(
        ["sqlite3", "-batch", path, *statements],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        text=True,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"sqlite3 {path} {statements}: {done.stdout}")
    return done.stdout.strip()


class ForeignHands(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        self.app = self.replica(self.server, "app", sync_interval="off")
        self.other = self.open(self.replica(self.server, "other", sync_interval="off"))
        self.other.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
        db = self.app.connect()
        db.execute("INSERT INTO t(b) VALUES('ours')")
        db.close()

    def aside(self, replica=None):
        return sorted(glob.glob(glob.escape((replica or self.app).path) + ".aside-*"))

    def write_elsewhere(self, text):
        while True:
            try:
                self.other.execute("INSERT INTO t(b) VALUES(?)", (text,))
                return
            except sqlite3.OperationalError as error:
                self.assertIn(family(error.sqlite_errorcode), (5,), error)

    def write(self, db, sql, parameters=()):
        """As an application does: begins afresh when it is told to."""
        for _ in range(20):
            try:
                return db.execute(sql, parameters).fetchall()
            except sqlite3.OperationalError as error:
                if family(error.sqlite_errorcode) != sqlite3.SQLITE_BUSY:
                    raise
        raise AssertionError("busy for ever")

    def assert_whole(self, db, rows, replica=None):
        """The replica is what its primary is, and can be written; then all is in order."""
        db.execute("SELECT turso_sync()").fetchall()
        self.assertEqual(rows, db.execute(ROWS).fetchone()[0])
        self.assertEqual([("ok",)], db.execute("PRAGMA integrity_check").fetchall())
        self.write(db, "INSERT INTO t(b) VALUES('~')")
        self.assert_same(db)
        self.write(self.other, "DELETE FROM t WHERE b = '~'")
        self.assert_same(db)

    def assert_same(self, db):
        # Whoever wrote, too: of what is a libSQL server's own it has the state before.
        for one in (self.other, db):
            one.execute("SELECT turso_sync()").fetchall()
        self.assertEqual(content(self.other), content(db))

    def assert_aside(self, rows, start):
        """One copy, a plain database that stock SQLite reads, and a text that names it and the replica."""
        kept = self.aside()
        self.assertEqual(1, len(kept), kept)
        self.assertEqual(rows, run_shell(kept[0], ROWS))
        self.assertEqual("ok", run_shell(kept[0], "PRAGMA integrity_check"))
        self.assert_explained([self.logged_since(start)], self.app.path, kept[0])
        self.assertEqual([], glob.glob(os.path.dirname(self.app.path) + "/*.turso-tmp-*"))

    def die_after(self, *statements):
        """They are committed, and the process that did it never closed the replica."""
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                db = self.app.connect(with_url=False)
                for sql in statements:
                    self.write(db, sql)
                status = 0
            finally:
                os._exit(status)
        self.assertEqual(0, os.waitpid(pid, 0)[1])

    def lose_guard(self):
        """Page 1 as SQLite itself wrote it is the newest in the log: others may write."""
        self.die_after("CREATE TABLE lost_guard(a)", "DROP TABLE lost_guard")


class Readers(ForeignHands):
    def test_a_stock_reader_that_closes_last_is_harmless(self):
        for guarded in (True, False):
            with self.subTest(guarded=guarded):
                if not guarded:
                    self.lose_guard()
                before = run_shell(self.app.path, ROWS)
                self.assertFalse(os.path.exists(self.app.path + "-wal"), "it should have closed last")
                # The primary goes on, on the very pages that the reader moved into the file.
                self.write_elsewhere(f"theirs{guarded}")
                db = self.open(self.app, with_url=False)
                pages = self.pages_pulled(db)
                db.execute("SELECT turso_sync()")
                # The pages of what was committed here come back from a libSQL server anyway.
                self.assertLess(self.pages_pulled(db) - pages, 4 if REMOTE == "turso-primary" else 6)
                self.assertLessEqual(set(before.split()), set(db.execute(ROWS).fetchone()[0].split()))
                self.assertEqual([], self.aside())
                db.close()

    def pages_pulled(self, db):
        return db.execute("SELECT pages_pulled FROM turso_status WHERE path = ?", (self.app.path,)).fetchone()[0]

    def test_a_stock_reader_needs_no_primary_afterwards(self):
        self.lose_guard()
        run_shell(self.app.path, ROWS)
        revision = None
        db = self.open(self.app, with_url=False)
        revision = db.execute("SELECT turso_sync()").fetchone()[0]
        self.server.kill()
        self.assertEqual("ours", db.execute(ROWS).fetchone()[0])
        self.assertEqual(revision, db.execute("SELECT turso_revision()").fetchone()[0])

    def test_stock_readers_and_checkpointers_beside_us_are_harmless(self):
        db = self.open(self.app, with_url=False)
        for turn in range(10):
            self.write(db, "INSERT INTO t(b) VALUES(?)", (f"z{turn}",))
            self.assertIn(f"z{turn}", run_shell(self.app.path, ROWS))
            run_shell(self.app.path, "PRAGMA wal_checkpoint(%s)" % ("PASSIVE", "TRUNCATE")[turn % 2])
        self.assertEqual([], self.aside())
        self.write(db, "DELETE FROM t WHERE b LIKE 'z%'")
        self.assert_whole(db, "ours")


class Writers(ForeignHands):
    def test_a_stock_writer_is_refused_by_the_guard(self):
        db = self.app.connect()
        self.write(db, "PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        for sql in ("INSERT INTO t(b) VALUES('foreign')", "VACUUM", "CREATE TABLE u(a)"):
            self.assertIn("readonly", run_shell(self.app.path, sql, check=False))
        run_shell(self.app.path, "PRAGMA journal_mode=DELETE", check=False)
        db = self.open(self.app, with_url=False)
        self.assert_whole(db, "ours")
        self.assertEqual([], self.aside())

    def foreign_write(self, *more):
        run_shell(self.app.path, *more, "INSERT INTO t(b) VALUES('foreign')")

    def test_what_a_stock_writer_checkpointed_away_is_kept_aside_and_never_pushed(self):
        for theirs in (False, True):
            with self.subTest(theirs=theirs):
                for kept in self.aside():
                    os.unlink(kept)
                self.lose_guard()
                self.foreign_write()
                if theirs:  # On the very page that the foreign hand wrote.
                    self.write_elsewhere("theirs")
                start = len(sqlite_log)
                db = self.app.connect(with_url=False)
                self.assert_whole(db, "ours theirs" if theirs else "ours")
                self.assert_aside("foreign ours", start)
                db.close()

    def test_a_stock_writer_beside_us_is_noticed_by_the_next_write(self):
        db = self.open(self.app, with_url=False)
        self.write(db, "CREATE TABLE lost_guard(a)")
        self.foreign_write()
        start = len(sqlite_log)
        self.write(db, "INSERT INTO t(b) VALUES('next')")
        self.assert_aside("foreign ours", start)
        self.assert_whole(db, "next ours")
        self.assert_explained([db.execute("SELECT turso_last_error()").fetchone()[0]], self.aside()[0])

    def test_frames_that_a_stock_writer_left_behind_ours_are_kept_aside(self):
        self.lose_guard()
        # Closed by a kill: its frames stay in the log.
        process = subprocess.Popen(["sqlite3", "-batch", self.app.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        process.stdin.write(b"INSERT INTO t(b) VALUES('foreign'); SELECT 'done';\n")
        process.stdin.flush()
        self.assertEqual(b"done\n", process.stdout.readline())
        process.kill()
        process.stdin.close()
        process.wait()
        self.write_elsewhere("theirs")
        start = len(sqlite_log)
        db = self.open(self.app, with_url=False)
        self.assert_whole(db, "ours theirs")
        self.assert_aside("foreign ours", start)

    def test_a_foreign_vacuum_is_kept_aside(self):
        self.lose_guard()
        run_shell(self.app.path, "DELETE FROM t", "VACUUM")
        db = self.open(self.app, with_url=False)
        self.assert_whole(db, "ours")
        self.assertEqual(1, len(self.aside()))
        self.assertEqual("0", run_shell(self.aside()[0], "SELECT count(*) FROM t"))

    @only_of_primary("with the lease comes a libSQL server's first page, and that has the guard")
    def test_foreign_frames_while_a_commit_is_pending_are_not_taken_for_it(self):
        self.lose_guard()
        db = self.app.with_options(timeout="1s").connect(with_url=False)
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO t(b) VALUES('pending')")
        self.server.pause()
        error = self.fails(db.execute, "COMMIT")
        self.assertTrue(error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR, error)
        self.foreign_write()
        db.close()
        self.server.resume()
        start = len(sqlite_log)
        db = self.open(self.app, with_url=False)
        db.execute("SELECT turso_sync()")
        self.other.execute("SELECT turso_sync()")
        rows = self.other.execute(ROWS).fetchone()[0]
        self.assertIn(rows, ("ours", "ours pending"))
        self.assert_whole(db, rows)
        self.assert_aside("foreign ours", start)

    def test_one_copy_is_kept_however_often_the_repair_fails(self):
        self.lose_guard()
        self.foreign_write()
        self.server.kill()
        db = self.open(self.app.with_options(timeout="1s"), with_url=False)
        for _ in range(3):
            self.fails(db.execute, "SELECT turso_sync()")
        self.assertEqual([], self.aside(), "a copy before it is known what the primary has")
        self.server.start()
        self.assert_whole(db, "ours")
        self.assertEqual(1, len(self.aside()))


class OtherModes(ForeignHands):
    """What a foreign program makes of a replica's file while nobody else has it open."""

    def test_a_foreign_change_of_the_journal_mode_is_undone_and_what_was_written_is_kept_aside(self):
        for hot in (False, True):
            with self.subTest(hot=hot):
                self.lose_guard()
                run_shell(self.app.path, "PRAGMA journal_mode=DELETE", "INSERT INTO t(b) VALUES('foreign')")
                if hot:
                    self.leave_a_hot_journal()
                start = len(sqlite_log)
                db = self.app.connect(with_url=False)
                self.assert_whole(db, "ours")
                self.assert_aside("foreign ours", start)
                self.assertEqual([("wal",)], db.execute("PRAGMA journal_mode").fetchall())
                db.close()
                os.unlink(self.aside()[0])

    def leave_a_hot_journal(self):
        process = subprocess.Popen(
            ["sqlite3", "-batch", self.app.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.addCleanup(process.stdout.close)
        process.stdin.write(
            b"PRAGMA cache_size=1; BEGIN IMMEDIATE;"
            b"INSERT INTO t(b) SELECT 'torn' || value FROM generate_series(1, 3000); SELECT 'done';\n"
        )
        process.stdin.flush()
        self.assertEqual(b"done\n", process.stdout.readline())
        process.kill()
        process.stdin.close()
        process.wait()
        self.assertGreater(os.path.getsize(self.app.path + "-journal"), 0)

    def test_a_file_that_pages_cannot_repair_is_kept_aside_and_made_anew(self):
        for spoil in ("page size", "cut to nothing", "cut in page 1", "overwritten"):
            with self.subTest(spoil):
                start = len(sqlite_log)
                if spoil == "page size":
                    self.lose_guard()
                    run_shell(
                        self.app.path,
                        "PRAGMA journal_mode=DELETE",
                        "INSERT INTO t(b) VALUES('foreign')",
                        "PRAGMA page_size=8192",
                        "VACUUM",
                    )
                elif spoil == "overwritten":
                    with open(self.app.path, "r+b") as file:
                        file.write(b"not a database at all" * 100)
                else:
                    os.truncate(self.app.path, 0 if spoil == "cut to nothing" else 50)
                before = None
                if spoil != "page size":
                    with open(self.app.path, "rb") as file:
                        before = file.read()
                # Without the primary nothing is touched, and the text says what is wrong.
                self.server.kill()
                self.fails(self.app.with_options(timeout="1s").connect, with_url=False)
                self.assert_explained([self.logged_since(start)], self.app.path, "making")
                self.assertEqual([], self.aside())
                self.server.start()
                db = self.app.connect(with_url=False)
                self.assert_whole(db, "ours")
                kept = [name for name in self.aside() if not name.endswith(("-wal", "-journal"))]
                if spoil == "page size":
                    self.assertEqual("foreign ours", run_shell(kept[0], ROWS))
                elif before:
                    with open(kept[0], "rb") as file:
                        self.assertEqual(before, file.read())
                db.close()
                for name in self.aside():
                    os.unlink(name)

    @only_of_primary("a page of a libSQL server has 4096 bytes")
    def test_a_primary_whose_pages_have_another_size_has_its_replicas_made_anew(self):
        db = self.app.connect(with_url=False)
        self.server.stop()
        run_shell(
            str(self.server.file()), "PRAGMA journal_mode=DELETE", "PRAGMA page_size=8192", "VACUUM",
            "INSERT INTO t(b) VALUES('wider')",
        )
        self.server.start()
        self.fails(db.execute, "SELECT turso_sync()")
        self.assert_explained([db.execute("SELECT turso_last_error()").fetchone()[0]], self.app.path, "open it again")
        self.fails(db.execute, "INSERT INTO t(b) VALUES('lost')")
        self.assertEqual("ours", db.execute(ROWS).fetchone()[0])
        db.close()
        self.other.close()
        self.other = self.open(self.replica(self.server, "third", sync_interval="off"))
        db = self.open(self.app, with_url=False)
        self.assertEqual([(8192,)], db.execute("PRAGMA page_size").fetchall())
        self.assert_whole(db, "ours wider")

    def test_without_room_for_the_copy_nothing_is_changed(self):
        db = self.app.connect()
        self.write(db, "INSERT INTO t(b) VALUES(hex(zeroblob(1000000)))")
        self.write(db, "UPDATE t SET b = 'ours ' || length(b) WHERE b LIKE '00%'")
        db.close()
        self.lose_guard()
        run_shell(self.app.path, "INSERT INTO t(b) VALUES('foreign')")
        rows = run_shell(self.app.path, ROWS)
        self.spawn("limited", repair_with_little_room, self.app).finish()
        self.assertEqual([], self.aside())
        start = len(sqlite_log)
        db = self.open(self.app, with_url=False)
        self.assertEqual(rows, db.execute(ROWS).fetchone()[0], "the foreign rows are gone")
        self.assert_whole(db, "ours ours 2000000")
        self.assert_aside(rows, start)


def repair_with_little_room(app):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500000, 1500000))
    db = app.connect(with_url=False)
    for _ in range(2):
        try:
            db.execute("SELECT turso_sync()").fetchall()
        except sqlite3.OperationalError as error:
            assert app.path in str(error) and "nothing was changed" in str(error), error
        else:
            raise AssertionError("it repaired without room for a copy")
    db.close()


class WhileOpen(ForeignHands):
    def test_files_that_are_removed_or_replaced_under_us_end_all_writing_until_they_are_opened_anew(self):
        for suffix in ("", "-wal", "-shm", "-turso"):
            for replaced in (False, True):
                if suffix in ("", "-turso") and not replaced:
                    continue  # Those who come then find a replica without its half: bad_file_test.
                with self.subTest(suffix=suffix, replaced=replaced):
                    one = self.client(self.app)
                    one.sql("INSERT INTO t(b) VALUES('mine')")
                    victim = self.app.path + suffix
                    shutil.copy2(victim, victim + ".copy")
                    os.unlink(victim)
                    if replaced:
                        os.rename(victim + ".copy", victim)
                    else:
                        os.unlink(victim + ".copy")
                    error = self.fails(one.sql, "INSERT INTO t(b) VALUES('lost')")
                    self.assertEqual(sqlite3.SQLITE_IOERR, family(error.sqlite_errorcode), error)
                    (text,) = one.sql("SELECT turso_last_error()")[0]
                    self.assert_explained([text], victim, "open it again")
                    if not replaced:
                        start = len(sqlite_log)
                        self.fails(self.app.connect, with_url=False)
                        self.assert_explained([self.logged_since(start)], self.app.path, "close it there")
                    self.assertEqual([("mine ours",)], one.sql(ROWS))
                    one.close()
                    db = self.app.connect(with_url=False)
                    self.assert_whole(db, "mine ours")
                    self.write(db, "DELETE FROM t WHERE b = 'mine'")
                    db.close()
                    self.assertEqual([], self.aside())

    def test_a_file_replaced_under_this_process_is_not_opened_beside_the_old_one(self):
        db = self.app.connect(with_url=False)
        self.write(db, "INSERT INTO t(b) VALUES('mine')")
        shutil.copy2(self.app.path, self.app.path + ".copy")
        os.rename(self.app.path + ".copy", self.app.path)
        start = len(sqlite_log)
        self.fails(self.app.connect, with_url=False)
        self.assert_explained([self.logged_since(start)], self.app.path, "replaced", "close")
        db.close()
        self.assert_whole(self.open(self.app, with_url=False), "mine ours")


@only_of_primary("the files of a libSQL server are its own")
class ThePrimarysFiles(ForeignHands):
    """Foreign hands at the other end."""

    def setUp(self):
        super().setUp()
        self.db = self.open(self.app, with_url=False)

    def stop_and_save(self):
        self.server.stop()
        shutil.copytree(self.server.data, self.path("backup"), copy_function=shutil.copy2)
        self.server.start()

    def restore(self, *suffixes):
        self.server.stop()
        for suffix in suffixes:
            shutil.copy2(self.path("backup/main.db") + suffix, str(self.server.file()) + suffix)
        self.server.start()

    def test_a_primary_restored_from_a_backup_that_counts_on_to_the_same_number_is_noticed(self):
        self.stop_and_save()
        self.write(self.db, "INSERT INTO t(b) VALUES('lost')")
        self.restore("", "-log")
        self.write(self.other, "INSERT INTO t(b) VALUES('instead')")
        start = len(sqlite_log)
        self.assert_whole(self.db, "instead ours")
        self.assert_aside("lost ours", start)

    def test_a_primary_whose_database_is_older_than_its_log_goes_on_as_its_database_is(self):
        self.stop_and_save()
        self.write(self.db, "INSERT INTO t(b) VALUES('lost')")
        self.restore("")
        self.assertIn("changed by another program", self.server_said())
        self.assert_whole(self.db, "ours")

    def test_a_primary_whose_log_is_older_than_its_database_loses_nothing(self):
        self.stop_and_save()
        self.write(self.db, "INSERT INTO t(b) VALUES('kept')")
        self.restore("-log")
        self.assert_whole(self.db, "kept ours")
        self.assertEqual([], self.aside())

    def server_said(self):
        self.other.execute("SELECT turso_sync()").fetchall()
        return self.server.log_text()

    def test_a_log_without_its_database_is_not_served_as_an_empty_one(self):
        self.server.stop()
        os.rename(self.server.file(), self.path("main.db"))
        self.server.start()
        self.fails(self.db.execute, "SELECT turso_sync()")
        self.assert_explained(
            [self.db.execute("SELECT turso_last_error()").fetchone()[0]], "main.db", "log"
        )
        self.assertEqual("ours", self.db.execute(ROWS).fetchone()[0])
        self.assertFalse(os.path.exists(self.server.file()))
        os.rename(self.path("main.db"), self.server.file())
        self.assert_whole(self.db, "ours")

    def test_a_database_without_its_log_is_another_database(self):
        self.server.stop()
        os.unlink(str(self.server.file()) + "-log")
        self.server.start()
        self.fails(self.db.execute, "INSERT INTO t(b) VALUES('where to?')")
        self.assert_explained(
            [self.db.execute("SELECT turso_last_error()").fetchone()[0]], self.app.path, "a name of its own"
        )
        self.assertEqual("ours", self.db.execute(ROWS).fetchone()[0])
        fresh = self.open(self.replica(self.server, "fresh"))
        self.assertEqual("ours", fresh.execute(ROWS).fetchone()[0])

    def test_what_stock_sqlite_writes_at_the_primary_comes_to_its_replicas(self):
        self.server.stop()
        run_shell(str(self.server.file()), "INSERT INTO t(b) VALUES('down')")
        self.server.start()
        self.assert_whole(self.db, "down ours")
        run_shell(str(self.server.file()), "INSERT INTO t(b) VALUES('up')")
        self.assert_whole(self.db, "down ours up")
        self.assertIn("changed by another program since", self.server.log_text())
        self.assertIn("has written to it while it is served", self.server.log_text())
        self.assertEqual([], self.aside())


class Copies(ForeignHands):
    def copy(self, name, *suffixes, tool=("cp",)):
        directory = self.path(name)
        os.mkdir(directory)
        twin = Replica(os.path.join(directory, f"{name}.db"), self.app.url, **self.app.options)
        for suffix in suffixes or SUFFIXES:
            if os.path.exists(self.app.path + suffix):
                subprocess.run([*tool, self.app.path + suffix, twin.path + suffix], check=True)
        return twin

    def test_a_copy_and_its_model_commit_the_same_and_both_count(self):
        for tool in (("cp",), ("cp", "-a")):
            with self.subTest(tool=tool):
                twin = self.copy("twin" + tool[-1], tool=tool)
                one, two = self.client(self.app), self.client(twin)
                for _ in range(3):
                    for client in (one, two):
                        for _ in range(20):
                            try:
                                client.sql("INSERT INTO t(b) VALUES('same')")
                                break
                            except Exception as error:
                                self.assertEqual(5, family(error.sqlite_errorcode), error)
                one.sql("SELECT turso_sync()")
                self.assertEqual([(6,)], one.sql("SELECT count(*) FROM t WHERE b = 'same'"))
                two.sql("SELECT turso_sync()")
                self.assertEqual([(6,)], two.sql("SELECT count(*) FROM t WHERE b = 'same'"))
                self.assertEqual([], self.aside() + self.aside(twin))
                one.sql("DELETE FROM t WHERE b = 'same'")
                one.close(), two.close()

    def test_a_copy_made_while_a_commit_is_pending_settles_it_as_its_model_does(self):
        db = self.app.with_options(timeout="1s").connect(with_url=False)
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO t(b) VALUES('pending')")
        self.server.pause()
        self.fails(db.execute, "COMMIT")
        twin = self.copy("twin")
        db.close()
        self.server.resume()
        one, two = self.open(self.app), self.open(twin)
        self.write(two, "INSERT INTO t(b) VALUES('by the copy')")
        self.write(one, "INSERT INTO t(b) VALUES('by the model')")
        rows = one.execute(ROWS).fetchone()[0]
        self.assertIn(rows, ("by the copy by the model ours", "by the copy by the model ours pending"))
        self.assert_whole(two, rows)
        self.assert_whole(one, rows)

    def test_a_replica_that_was_moved_goes_on_without_asking(self):
        os.mkdir(self.path("moved"))
        moved = Replica(self.path("moved/new.db"), self.app.url, **self.app.options)
        for suffix in SUFFIXES:
            os.rename(self.app.path + suffix, moved.path + suffix)
        db = self.open(moved, with_url=False)
        self.assert_whole(db, "ours")
        self.assertEqual(os.path.realpath(moved.path), os.path.realpath(
            db.execute("SELECT path FROM turso_status WHERE path LIKE '%new.db'").fetchone()[0]))

    def test_a_copy_without_its_log_is_repaired(self):
        self.die_after("UPDATE t SET b = 'ours'")
        twin = self.copy("twin", "", "-turso")
        self.assert_whole(self.open(twin, with_url=False), "ours")

    def test_a_copy_of_the_database_alone_is_no_replica(self):
        for tool in (("cp",), ("cp", "-a")):
            twin = self.copy("alone" + tool[-1], "", tool=tool)
            start = len(sqlite_log)
            self.fails(twin.connect)
            self.assert_explained([self.logged_since(start)], twin.path, "move")


class Restored(ForeignHands):
    def save(self):
        # A page that only an older database file tells wrong: the log has no image of it.
        self.die_after("CREATE TABLE u(a)", "INSERT INTO u VALUES('old')")
        os.mkdir(self.path("saved"))
        for suffix in SUFFIXES:
            subprocess.run(["cp", "-a", self.app.path + suffix, self.path("saved/app.db") + suffix], check=True)
        self.die_after(
            *(f"INSERT INTO t(b) VALUES('x{number}')" for number in range(3)),
            "UPDATE u SET a = 'new'",
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "INSERT INTO t(b) VALUES('x3')",
        )

    def restore(self, *suffixes, in_place):
        for suffix in suffixes:
            if not in_place:
                os.unlink(self.app.path + suffix)
            subprocess.run(["cp", "-a", self.path("saved/app.db") + suffix, self.app.path + suffix], check=True)

    def test_any_of_its_files_may_be_an_older_one(self):
        self.save()
        now = self.path("now")
        os.mkdir(now)
        for suffix in SUFFIXES:
            subprocess.run(["cp", "-a", self.app.path + suffix, now + "/app.db" + suffix], check=True)
        for suffixes in (SUFFIXES, ("",), ("-wal",), ("-turso",), ("-shm",), ("", "-turso"), ("-wal", "-turso"), ("", "-wal")):
            for in_place in (True, False):
                with self.subTest(suffixes=suffixes, in_place=in_place):
                    for suffix in SUFFIXES:
                        shutil.copy2(now + "/app.db" + suffix, self.app.path + suffix)
                    self.restore(*suffixes, in_place=in_place)
                    db = self.app.connect(with_url=False)
                    self.assert_whole(db, "ours x0 x1 x2 x3")
                    self.assertEqual([("new",)], db.execute("SELECT a FROM u").fetchall())
                    db.close()
                    # Only older states of our own came up: the primary has had all of it.
                    for kept in self.aside():
                        os.unlink(kept)


class Damaged(ForeignHands):
    def test_a_log_that_is_gone_or_cut_short_loses_nothing(self):
        frame = 24 + 4096
        for cut in (None, 0, 16, 32, 32 + 100, 32 + frame, 32 + frame + 2000, -1, -frame, -2 * frame):
            with self.subTest(cut=cut):
                self.die_after("INSERT INTO t(b) VALUES('late')")
                wal = self.app.path + "-wal"
                if cut is None:
                    os.unlink(wal)
                else:
                    size = os.path.getsize(wal)
                    os.truncate(wal, max(0, cut if cut >= 0 else size + cut))
                db = self.app.connect(with_url=False)
                self.assert_whole(db, "late ours")
                self.write(db, "DELETE FROM t WHERE b = 'late'")
                db.close()
                self.assertEqual([], self.aside(), "what the primary has was kept aside")

    def test_a_shared_memory_that_is_gone_or_damaged_is_made_anew(self):
        for damage in (None, 0, 100, 40000):
            shm = self.app.path + "-shm"
            os.unlink(shm) if damage is None else os.truncate(shm, damage)
            db = self.app.connect(with_url=False)
            self.assert_whole(db, "ours")
            db.close()
        self.assertEqual([], self.aside())

    def test_the_sidecar_of_another_replica_is_noticed(self):
        for database in ("main", "second"):
            with self.subTest(database=database):
                directory = self.path("stranger-" + database)
                os.mkdir(directory)
                stranger = Replica(directory + "/stranger.db", self.server.url(database), **self.app.options)
                db = stranger.connect()
                if database == "second":
                    db.execute("CREATE TABLE theirs(a)")
                db.close()
                shutil.copy2(self.app.path + "-turso", directory + "/right")
                shutil.copy2(stranger.path + "-turso", self.app.path + "-turso")
                db = self.app.connect(with_url=False)
                db.execute("SELECT turso_sync()")
                if database == "main":
                    self.assert_whole(db, "ours")
                else:
                    self.assertEqual(1, len(self.aside()))
                    self.assertEqual("ours", run_shell(self.aside()[0], ROWS))
                    names = "SELECT name FROM sqlite_schema WHERE name <> '_turso_vfs'"
                    self.assertEqual([("theirs",)], db.execute(names).fetchall())
                db.close()


if __name__ == "__main__":
    main()
