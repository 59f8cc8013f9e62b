"""Files that are not what they should be: a clear error that names the file, nothing lost, nothing overwritten."""

import ctypes
import hashlib
import os
import sqlite3
import struct

from harness import REMOTE, BehaviourTest, Replica, error_code, load_extension, main, sqlite_log

HEADER_SIZE = (
    4096  # Of the sidecar: magic, format version, oldest reader, zeros, XXH3-64 of all before it.
)
VERSION_OFFSET = 16
SLOTS = 3  # Behind the header, each as big as it.


def fingerprint(directory):
    """{name: hash} of every file there."""
    result = {}
    for name in sorted(os.listdir(directory)):
        with open(os.path.join(directory, name), "rb") as file:
            result[name] = hashlib.sha256(file.read()).hexdigest()
    return result


def xxh3(data):
    library = ctypes.CDLL("libxxhash.so.0")
    library.XXH3_64bits.restype = ctypes.c_uint64
    return library.XXH3_64bits(data, ctypes.c_size_t(len(data)))


class BadSidecar(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        self.app = self.replica(self.server, "app")
        db = self.app.connect()
        db.execute("CREATE TABLE t(a)")
        db.execute("INSERT INTO t VALUES('precious')")
        db.close()
        self.folder = os.path.dirname(self.app.path)
        self.sidecar = self.app.path + "-turso"
        with open(self.sidecar, "rb") as file:
            self.good = file.read()

    def put(self, data):
        with open(self.sidecar, "wb") as file:
            file.write(data)

    def assert_refused(self, replica, *fragments, with_url=True):
        """The open fails with a text that names the file, and every file stays as it is."""
        before, start = fingerprint(self.folder), len(sqlite_log)
        error = self.fails(replica.connect, with_url=with_url)
        self.assert_code(error, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)
        self.assert_explained([self.logged_since(start)], "app.db", *fragments)
        self.assertEqual(before, fingerprint(self.folder))

    def assert_usable_again(self):
        self.put(self.good)
        db = self.open(self.app, with_url=False)
        self.assertEqual([("precious",)], db.execute("SELECT * FROM t").fetchall())
        db.execute("UPDATE t SET a = 'still precious'")

    def test_a_truncated_sidecar_is_refused(self):
        for size in (
            0,
            1,
            15,
            100,
            HEADER_SIZE - 1,
            HEADER_SIZE,
            HEADER_SIZE + 100,
            3 * HEADER_SIZE,
        ):
            for with_url in (True, False):
                with self.subTest(size=size, with_url=with_url):
                    self.put(self.good[:size])
                    self.assert_refused(self.app, with_url=with_url)
        self.assert_usable_again()

    def test_a_sidecar_of_another_format_version_is_refused_with_both_versions_in_the_text(self):
        stored = struct.unpack(">Q", self.good[HEADER_SIZE - 8 : HEADER_SIZE])[0]
        self.assertEqual(
            stored, xxh3(self.good[: HEADER_SIZE - 8]), "the header's checksum is somewhere else"
        )
        header = bytearray(self.good[: HEADER_SIZE - 8])
        struct.pack_into(">II", header, VERSION_OFFSET, 99, 99)
        self.put(bytes(header) + struct.pack(">Q", xxh3(bytes(header))) + self.good[HEADER_SIZE:])
        for with_url in (True, False):
            self.assert_refused(self.app, "version", "99", with_url=with_url)
        self.assert_usable_again()

    def test_a_newer_version_that_this_reader_may_read_is_read(self):
        header = bytearray(self.good[: HEADER_SIZE - 8])
        version, oldest = struct.unpack_from(">II", header, VERSION_OFFSET)
        struct.pack_into(">II", header, VERSION_OFFSET, version + 1, oldest)
        self.put(bytes(header) + struct.pack(">Q", xxh3(bytes(header))) + self.good[HEADER_SIZE:])
        db = self.open(self.app, with_url=False)
        self.assertEqual([("precious",)], db.execute("SELECT * FROM t").fetchall())

    def test_a_damaged_header_or_all_slots_damaged_is_refused(self):
        for name, ranges in (
            ("magic", [(0, 4)]),
            ("header", [(2000, 2001)]),
            (
                "slots",
                [
                    (HEADER_SIZE * (1 + slot) + 100, HEADER_SIZE * (1 + slot) + 110)
                    for slot in range(SLOTS)
                ],
            ),
            ("noise", [(0, 16384)]),
        ):
            with self.subTest(name):
                data = bytearray(self.good)
                for start, end in ranges:
                    data[start:end] = bytes(byte ^ 0x5A for byte in data[start:end])
                self.put(bytes(data))
                self.assert_refused(self.app)
        self.assert_usable_again()

    def test_one_damaged_slot_is_survived(self):
        for start in range(HEADER_SIZE, (1 + SLOTS) * HEADER_SIZE, HEADER_SIZE):
            with self.subTest(start):
                data = bytearray(self.good)
                data[start + 100] ^= 1
                self.put(bytes(data))
                db = self.open(self.app, with_url=False)
                self.assertEqual([("precious",)], db.execute("SELECT * FROM t").fetchall())
                db.execute("INSERT INTO t VALUES('more')")
                db.execute("DELETE FROM t WHERE a = 'more'")
                db.close()
                with open(self.sidecar, "rb") as file:
                    self.good = file.read()

    def test_a_sidecar_that_is_a_directory_or_unreadable_is_refused(self):
        os.unlink(self.sidecar)
        os.mkdir(self.sidecar)
        start = len(sqlite_log)
        error = self.fails(self.app.connect)
        self.assert_code(error, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)
        self.assert_explained([self.logged_since(start)], "app.db")
        os.rmdir(self.sidecar)
        self.assert_usable_again()

    def test_a_replica_whose_sidecar_is_gone_is_never_a_plain_database(self):
        os.unlink(self.sidecar)
        self.assert_refused(self.app)
        try:
            os.getxattr(self.app.path, next(iter(os.listxattr(self.app.path)), "user.none"))
        except OSError:
            self.skipTest("no extended attributes here")
        self.spawn("default", open_by_default_vfs_is_refused, self.app.path).finish()
        self.assert_usable_again()

    def test_two_primaries_for_one_file_name_are_refused(self):
        other = self.primary(name="other")
        seed = self.open(self.replica(other, "seed"))
        seed.execute("CREATE TABLE theirs(a)")
        for url in (other.url(), self.server.url("second")):
            with self.subTest(url):
                start = len(sqlite_log)
                self.fails(Replica(self.app.path, url).connect)
                self.assert_explained([self.logged_since(start)], "app.db", url)
        db = self.open(self.app, with_url=False)
        self.assertEqual([("precious",)], db.execute("SELECT * FROM t").fetchall())
        urls = db.execute("SELECT url FROM turso_status WHERE path LIKE '%/app.db'").fetchall()
        self.assertEqual([(self.app.url,)], urls)
        db.execute("INSERT INTO t VALUES('goes to the first')")
        names = "SELECT name FROM sqlite_schema WHERE name <> '_turso_vfs'"
        self.assertEqual([("theirs",)], seed.execute(names).fetchall())

    def test_two_primaries_for_one_file_name_are_refused_while_it_is_open(self):
        other = self.primary(name="other")
        db = self.open(self.app)
        self.fails(Replica(self.app.path, other.url()).connect)
        client_error = None
        try:
            self.client(Replica(self.app.path, other.url()))
        except Exception as error:
            client_error = error
        self.assertIsNotNone(client_error, "another process could open it for another primary")
        db.execute("INSERT INTO t VALUES('goes to the first')")
        self.assertEqual([(2,)], db.execute("SELECT count(*) FROM t").fetchall())

    def test_a_replica_of_a_database_made_anew_at_the_same_url_is_told(self):
        self.server.begin_anew()
        db = self.open(self.app, with_url=False)
        self.assertEqual([("precious",)], db.execute("SELECT * FROM t").fetchall())
        error = self.fails(db.execute, "INSERT INTO t VALUES('where to?')")
        self.assertNotIn(error_code(error) & 0xFF, (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
        said = db.execute("SELECT turso_last_error()").fetchone()[0]
        if REMOTE == "turso-primary":
            self.assert_explained([said], self.server.address)
            self.assertEqual([("precious",)], db.execute("SELECT * FROM t").fetchall())
        else:
            # A libSQL server that was killed has another log, too: it is believed, and nothing is thrown away.
            self.assert_explained([said], "a copy is kept as ")
            aside = self.keep(sqlite3.connect(said.partition("a copy is kept as ")[2]))
            self.assertEqual([("precious",)], aside.execute("SELECT * FROM t").fetchall())


def open_by_default_vfs_is_refused(path):
    load_extension("sqlite3_tursovfs_default_init")
    try:
        db = sqlite3.connect(path)
        db.execute("INSERT INTO t VALUES('nowhere')")
    except sqlite3.Error as error:
        assert error_code(error) == sqlite3.SQLITE_CANTOPEN, error
        assert any(path in text for _code, text in sqlite_log), sqlite_log
        return
    raise AssertionError("a replica without its sidecar was opened as a plain database and written")


class PlainFiles(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        os.mkdir(self.path("plain"))
        self.app = Replica(self.path("plain/app.db"), self.server.url())

    def assert_refused_and_untouched(self):
        before, start = fingerprint(self.path("plain")), len(sqlite_log)
        self.assert_code(self.fails(self.app.connect), sqlite3.SQLITE_CANTOPEN)
        self.assert_explained([self.logged_since(start)], "app.db")
        self.assertEqual(before, fingerprint(self.path("plain")))

    def make_plain(self, journal_mode="delete"):
        db = sqlite3.connect(self.app.path)
        db.execute(f"PRAGMA journal_mode={journal_mode}")
        db.executescript("CREATE TABLE mine(a); INSERT INTO mine VALUES('mine');")
        return db

    def test_a_plain_database_is_never_made_a_replica(self):
        for journal_mode in ("delete", "wal"):
            with self.subTest(journal_mode):
                self.make_plain(journal_mode).close()
                self.assert_refused_and_untouched()
                db = sqlite3.connect(self.app.path)
                self.assertEqual([("mine",)], db.execute("SELECT * FROM mine").fetchall())
                db.close()
                os.unlink(self.app.path)

    def test_a_plain_database_that_another_process_uses_is_left_alone(self):
        db = self.keep(self.make_plain("wal"))
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO mine VALUES('still open')")
        self.assert_code(self.fails(self.app.connect), sqlite3.SQLITE_CANTOPEN)
        db.execute("COMMIT")
        self.assertEqual([(2,)], db.execute("SELECT count(*) FROM mine").fetchall())

    def test_a_file_that_is_no_database_is_left_alone(self):
        for content in (b"just a letter\n", os.urandom(5000)):
            with open(self.app.path, "wb") as file:
                file.write(content)
            self.assert_refused_and_untouched()

    def test_a_directory_that_is_not_there_is_an_error_that_names_the_file(self):
        start = len(sqlite_log)
        error = self.fails(Replica(self.path("absent/app.db"), self.server.url()).connect)
        self.assert_code(error, sqlite3.SQLITE_CANTOPEN)
        self.assert_explained([self.logged_since(start)], "absent/app.db")

    def test_a_directory_that_cannot_be_written_is_an_error_that_names_the_file(self):
        if os.geteuid() == 0:
            self.skipTest("root may write anywhere")
        os.chmod(self.path("plain"), 0o500)
        self.addCleanup(os.chmod, self.path("plain"), 0o700)
        start = len(sqlite_log)
        self.assert_code(self.fails(self.app.connect), sqlite3.SQLITE_CANTOPEN)
        self.assert_explained([self.logged_since(start)], "app.db")

    def test_a_plain_database_opened_by_the_vfs_without_a_url_is_refused_too(self):
        self.make_plain().close()
        before = fingerprint(self.path("plain"))
        self.assert_code(self.fails(self.app.connect, with_url=False), sqlite3.SQLITE_CANTOPEN)
        self.assertEqual(before, fingerprint(self.path("plain")))

    def test_stock_sqlite_reads_a_replica_that_has_not_written_and_refuses_to_write_it(self):
        writer = self.open(self.replica(self.server, "writer"))
        writer.execute("CREATE TABLE t(a)")
        writer.execute("INSERT INTO t VALUES(1)")
        os.mkdir(self.path("guarded"))
        app = Replica(self.path("guarded/app.db"), self.server.url())
        app.connect().close()
        self.spawn("stock", stock_sqlite_reads_only, app.path).finish()
        db = self.open(app, with_url=False)
        writer.execute("INSERT INTO t VALUES(2)")
        db.execute("SELECT turso_sync()")
        self.assertEqual([(1,), (2,)], db.execute("SELECT a FROM t ORDER BY a").fetchall())
        db.execute("INSERT INTO t VALUES(3)")


def stock_sqlite_reads_only(path):
    db = sqlite3.connect(path, isolation_level=None)
    assert db.execute("SELECT * FROM t").fetchall() == [(1,)]
    try:
        db.execute("INSERT INTO t VALUES('by a foreign hand')")
    except sqlite3.Error as error:
        assert error_code(error) == sqlite3.SQLITE_READONLY, error
    else:
        raise AssertionError("stock SQLite wrote to a replica")
    db.close()


if __name__ == "__main__":
    main()
