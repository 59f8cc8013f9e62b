"""A replica that is deleted while this process has it open, and the one that is made in its place: two files, two replicas."""

import gc
import os
import shutil
import sqlite3

from harness import BehaviourTest, content, family, last_error, load_extension, main, sqlite_log, wait_until

ROWS = "SELECT group_concat(b, ' ') FROM (SELECT b FROM t ORDER BY b)"
SUFFIXES = ("", "-wal", "-shm", "-turso")
# What applications delete: the file, what SQLite's documentation names, all that is there.
DELETED = (("",), ("", "-wal", "-shm"), SUFFIXES)


class Deleted(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        self.app = self.replica(self.server, "app")
        self.other = self.open(self.replica(self.server, "other"))
        self.other.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
        self.write(self.other, "old")

    def write(self, db, text, sql="INSERT INTO t(b) VALUES (?)"):
        """As an application does: begins afresh when it is told to."""
        for _ in range(50):
            try:
                return db.execute(sql, (text,))
            except sqlite3.OperationalError as error:
                if family(error.sqlite_errorcode) != sqlite3.SQLITE_BUSY:
                    raise
        raise AssertionError("busy for ever")

    def delete(self, suffixes):
        for suffix in suffixes:
            os.unlink(self.app.path + suffix)

    def places(self):
        return {suffix: os.stat(self.app.path + suffix).st_ino for suffix in SUFFIXES}

    def rows(self, db):
        db.execute("SELECT turso_sync()").fetchall()
        return db.execute(ROWS).fetchone()[0]

    def assert_refuses(self, db, text):
        error = self.fails(db.execute, "INSERT INTO t(b) VALUES ('lost')")
        self.assertEqual(sqlite3.SQLITE_IOERR, family(error.sqlite_errorcode), error)
        self.assert_explained([last_error(db)], self.app.path, text, "open it again")

    def assert_same_as_primary(self, db, rows):
        self.assertEqual(rows, self.rows(db))
        self.assertEqual(rows, self.rows(self.other))
        self.assertEqual([("ok",)], db.execute("PRAGMA integrity_check").fetchall())
        self.assertEqual(content(self.other), content(db))

    def test_the_new_file_is_a_replica_at_once_and_the_old_connection_keeps_to_the_old_one(self):
        for suffixes in DELETED:
            with self.subTest(suffixes=suffixes):
                before = self.rows(self.other)
                old = self.open(self.app)
                self.assertEqual(before, self.rows(old))
                old.execute("BEGIN")
                self.assertEqual(before, old.execute(ROWS).fetchone()[0])
                self.delete(suffixes)
                new = self.app.connect()
                self.write(new, "z")
                after = before + " z"
                made = self.places()
                # Its snapshot, and then all that is left of its file.
                self.assertEqual(before, old.execute(ROWS).fetchone()[0])
                self.assert_refuses(old, "was replaced")  # Which ends its transaction, as any SQLITE_IOERR does.
                self.assertEqual(before, old.execute(ROWS).fetchone()[0])
                self.assert_refuses(old, "was replaced")
                self.fails(old.execute, "SELECT turso_sync()")
                old.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self.assertGreater(os.path.getsize(self.app.path + "-wal"), 0, "it reached the new file's log")
                self.assert_same_as_primary(new, after)
                old.close()
                self.assertEqual(made, self.places(), "its close touched the new file's")
                self.assertGreater(os.path.getsize(self.app.path + "-wal"), 0, "its close emptied the new file's log")
                self.write(new, "z")
                self.assert_same_as_primary(new, after + " z")
                new.close()
                opened_again = self.app.connect(with_url=False)
                self.assert_same_as_primary(opened_again, after + " z")
                opened_again.close()
                self.write(self.other, "z", "DELETE FROM t WHERE b = ?")

    def test_a_connection_that_never_read_finds_neither_log_nor_index_of_the_new_file(self):
        for suffixes in DELETED:
            with self.subTest(suffixes=suffixes):
                # Without a follower nobody else in the process has the old log and index open.
                old = self.open(self.app.with_options(sync_interval="off"))
                self.delete(suffixes)
                new = self.app.connect()
                for number in range(9):
                    self.write(new, f"y{number}")
                expected = self.rows(new)
                for sql in ("SELECT count(*) FROM t", "INSERT INTO t(b) VALUES ('lost')", "PRAGMA wal_checkpoint"):
                    error = self.fails(old.execute, sql)
                    self.assertEqual(sqlite3.SQLITE_CANTOPEN, family(error.sqlite_errorcode), error)
                error = self.fails(old.execute, "SELECT turso_revision()")
                self.assert_explained([str(error)], self.app.path, "was replaced")
                self.assert_explained([last_error(old)], self.app.path, "was replaced")
                old.close()
                new.execute("INSERT INTO t(b) VALUES ('z')")
                self.assert_same_as_primary(new, expected + " z")
                self.write(new, "old", "DELETE FROM t WHERE b <> ?")
                new.close()

    def test_a_deleted_replica_asks_nothing_of_its_primary(self):
        old = self.open(self.app)
        self.assertEqual("old", self.rows(old))
        round_trips = "SELECT round_trips FROM turso_status WHERE path = ?"
        start = len(sqlite_log)
        self.delete(SUFFIXES)
        wait_until(lambda: "was removed" in self.logged_since(start), what="the follower to notice")
        asked = old.execute(round_trips, (self.app.path,)).fetchone()[0]
        self.write(self.other, "news")
        self.fails(old.execute, "SELECT turso_sync()")
        self.assertEqual(asked, old.execute(round_trips, (self.app.path,)).fetchone()[0])
        self.assert_refuses(old, "was removed")
        self.assertEqual("old", old.execute(ROWS).fetchone()[0])

    def test_the_right_to_write_does_not_stay_with_the_deleted_one(self):
        old = self.app.connect()
        old.execute("BEGIN IMMEDIATE")
        self.delete(SUFFIXES)
        new = self.open(self.app)
        old.execute("COMMIT")
        self.write(new, "new")
        old.close()
        self.assert_same_as_primary(new, "new old")

    def test_generations_of_replicas_end_in_any_order(self):
        held = []
        for number in range(4):
            db = self.open(self.app)
            self.write(db, f"r{number}")
            held.append(db)
            self.delete(DELETED[number % len(DELETED)])
        last = self.open(self.app)
        for db in (held[2], held[0], held[3], held[1]):
            self.assert_refuses(db, "was replaced")
            db.close()
            self.write(last, "z")
        self.assert_same_as_primary(last, "old r0 r1 r2 r3 z z z z")
        self.assertEqual(1, last.execute("SELECT count(*) FROM turso_status WHERE path = ?", (self.app.path,)).fetchone()[0])

    def test_one_that_comes_back_under_its_name_is_the_same_again(self):
        old = self.open(self.app)
        self.write(old, "mine")
        aside = self.path("aside")
        os.mkdir(aside)
        for suffix in SUFFIXES:
            os.rename(self.app.path + suffix, f"{aside}/app.db{suffix}")
        new = self.open(self.app)
        self.write(new, "theirs")
        self.assert_refuses(old, "was replaced")
        self.delete(SUFFIXES)
        for suffix in SUFFIXES:
            os.rename(f"{aside}/app.db{suffix}", self.app.path + suffix)
        again = self.open(self.app)
        self.write(again, "again")
        self.write(old, "old too")
        self.assert_refuses(new, "was replaced")
        new.close()
        self.assert_same_as_primary(again, "again mine old old too theirs")

    def test_a_file_beside_the_log_or_the_sidecar_of_another_is_not_opened(self):
        for kept in (("-turso",), ("-wal",), ("-shm",)):
            with self.subTest(kept=kept):
                saved = self.path("saved" + kept[0])
                os.mkdir(saved)
                old = self.app.connect()
                self.write(old, "mine")
                for suffix in SUFFIXES:
                    if suffix not in kept:
                        shutil.copy2(self.app.path + suffix, f"{saved}/app.db{suffix}")
                        os.unlink(self.app.path + suffix)
                        shutil.copy2(f"{saved}/app.db{suffix}", self.app.path + suffix)
                start = len(sqlite_log)
                self.fails(self.app.connect, with_url=False)
                self.assert_explained([self.logged_since(start)], self.app.path, "was replaced", "close all connections")
                old.close()
                db = self.app.connect(with_url=False)
                self.assert_same_as_primary(db, self.rows(self.other))
                db.close()

    def test_one_restored_with_all_its_files_is_opened_beside_the_old_one(self):
        saved = self.path("saved")
        os.mkdir(saved)
        db = self.app.connect()
        self.write(db, "before")
        db.close()
        for suffix in SUFFIXES:
            if os.path.exists(self.app.path + suffix):
                shutil.copy2(self.app.path + suffix, f"{saved}/app.db{suffix}")
        old = self.open(self.app, with_url=False)
        self.write(old, "after")
        self.delete(SUFFIXES)
        for name in os.listdir(saved):
            shutil.copy2(f"{saved}/{name}", os.path.join(os.path.dirname(self.app.path), name))
        new = self.open(self.app, with_url=False)
        self.write(new, "z")
        self.assert_refuses(old, "was replaced")
        old.close()
        self.assert_same_as_primary(new, "after before old z")

    def test_a_plain_file_in_its_place_is_sqlites_own(self):
        self.spawn("plain", replace_by_a_plain_file, self.app).finish()

    def test_a_child_of_a_fork_leaves_both_to_its_parent(self):
        old = self.open(self.app)
        self.assertEqual("old", self.rows(old))
        self.delete(("",))
        new = self.open(self.app)
        self.write(new, "new")
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for db in (old, new):
                    self.fails(db.execute, "SELECT count(*) FROM t")
                    db.close()
                self.fails(self.app.connect)
                gc.collect()
                status = 0
            finally:
                os._exit(status)
        self.assertEqual(0, os.waitpid(pid, 0)[1])
        self.assertEqual("old", old.execute(ROWS).fetchone()[0])
        self.write(new, "z")
        self.assert_same_as_primary(new, "new old z")


def replace_by_a_plain_file(app):
    """In a process in which every file goes through our VFS."""
    load_extension("sqlite3_tursovfs_default_init")
    old = app.connect()
    old.execute("SELECT count(*) FROM t").fetchall()
    for suffix in SUFFIXES:
        os.unlink(app.path + suffix)
    plain = sqlite3.connect(app.path, isolation_level=None)
    plain.execute("PRAGMA journal_mode=wal").fetchall()
    plain.execute("CREATE TABLE p(a)")
    plain.close()
    assert app.files() == ["app.db"], app.files()
    try:
        old.execute("INSERT INTO t(b) VALUES ('lost')")
    except sqlite3.OperationalError:
        assert "was replaced" in last_error(old), last_error(old)
    else:
        raise AssertionError("a replica that is gone was written")
    old.close()
    assert app.files() == ["app.db"], app.files()
    plain = sqlite3.connect(app.path)
    assert plain.execute("SELECT name FROM sqlite_schema").fetchall() == [("p",)]


if __name__ == "__main__":
    main()
