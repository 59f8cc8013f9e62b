"""After the last close a replica's file is whole by itself, as after SQLite's own: whoever copies it or looks into it
then gets what was committed, without the log."""

import ctypes
import os
import shutil
import sqlite3

from harness import BehaviourTest, libsqlite3, main, only_of_primary

NO_CKPT_ON_CLOSE = 1006  # SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE


class LastClose(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        self.app = self.replica(self.server, "app")

    def rows_in_a_copy_of_the_file_alone(self):
        copy = self.path("copy.db")
        shutil.copyfile(self.app.path, copy)
        db = sqlite3.connect(f"file:{copy}?mode=ro", uri=True)
        try:
            return db.execute("SELECT count(*) FROM t").fetchone()[0]
        finally:
            db.close()

    @only_of_primary("pages that a libSQL server has not sent back are in no checkpoint")
    def test_the_file_alone_has_everything_after_the_last_close_and_not_before(self):
        first, second = self.app.connect(), self.app.connect()
        first.execute("CREATE TABLE t(a)")
        first.execute("INSERT INTO t VALUES (randomblob(5000))")
        first.close()
        self.assertGreater(os.path.getsize(self.app.path + "-wal"), 0)
        second.execute("INSERT INTO t VALUES (randomblob(5000))")
        second.close()
        self.assertEqual(os.path.getsize(self.app.path + "-wal"), 0)
        self.assertEqual(self.rows_in_a_copy_of_the_file_alone(), 2)

    def test_a_connection_that_is_told_to_leave_the_log_leaves_it(self):
        db = self.app.connect()
        handle = ctypes.c_void_p.from_address(id(db) + object.__basicsize__)  # The sqlite3* is its first member.
        result = libsqlite3.sqlite3_db_config(handle, NO_CKPT_ON_CLOSE, 1, None)
        self.assertEqual(result, sqlite3.SQLITE_OK)
        db.execute("CREATE TABLE t(a)")
        db.close()
        self.assertGreater(os.path.getsize(self.app.path + "-wal"), 0)

    def test_a_file_that_took_the_place_of_the_replica_is_left_alone(self):
        db = self.app.connect()
        db.execute("CREATE TABLE t(a)")
        for suffix in ("", "-wal", "-shm", "-turso"):
            os.rename(self.app.path + suffix, self.path("moved.db") + suffix)
        theirs = sqlite3.connect(self.app.path, isolation_level=None)
        theirs.execute("PRAGMA journal_mode=WAL")
        theirs.execute("CREATE TABLE theirs(a)")
        db.close()
        theirs.execute("INSERT INTO theirs VALUES (1)")
        theirs.close()
        with open(self.app.path, "rb") as file:
            self.assertEqual(file.read(20)[18:], b"\2\2")

    def test_another_process_keeps_its_snapshot_and_its_log(self):
        db = self.app.connect()
        db.execute("CREATE TABLE t(a)")
        db.execute("INSERT INTO t VALUES (1)")
        reader = self.client(self.app)
        reader.sql("BEGIN")
        self.assertEqual(reader.sql("SELECT count(*) FROM t"), [(1,)])
        db.execute("INSERT INTO t VALUES (2)")
        db.close()
        self.assertEqual(reader.sql("SELECT count(*) FROM t"), [(1,)])
        reader.sql("COMMIT")
        self.assertEqual(reader.sql("SELECT count(*) FROM t"), [(2,)])

    @only_of_primary("the pages of a commit come back from a libSQL server")
    def test_the_replica_goes_on_where_it_was_without_having_pulled_anything_anew(self):
        for number in range(3):
            db = self.app.connect()
            db.execute("CREATE TABLE IF NOT EXISTS t(a)")
            db.execute("INSERT INTO t VALUES (?)", (number,))
            db.close()
        db = self.open(self.app)
        db.execute("INSERT INTO t VALUES (3)")
        self.assertEqual(db.execute("SELECT count(*) FROM t").fetchone(), (4,))
        self.assertEqual(db.execute("SELECT pages_pulled, conflicts FROM turso_status").fetchone(), (0, 0))


if __name__ == "__main__":
    main()
