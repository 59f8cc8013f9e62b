"""PROJ's geodetic registry, a real database with triggers, views and many indexes, goes to a libSQL server through a
replica, as its own dump does it in one transaction, and is then maintained with its triggers. Its statistics stay
behind: the server takes no statement that makes their table."""

import os
import shutil
import sqlite3
import subprocess

import libsql_server
from harness import EXTENSION, BehaviourTest, main

PROJ = "/usr/share/proj/proj.db"
OWN_TABLE = "_turso_vfs"
USAGE = """
    INSERT INTO usage SELECT 'TEST', ?, 'geodetic_crs', 'EPSG', ?, extent_auth_name, extent_code,
    scope_auth_name, scope_code FROM usage WHERE object_auth_name = 'EPSG' AND object_code = '4326'
"""


def hash_of(path):
    """Of all rows and the schema, but not of how they lie in the file."""
    command = ["sqlite3", f"file:{path}?mode=ro", ".sha3sum --schema"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class ProjAtLibsql:
    """What is so of every server; `make_server` says which."""

    def copied(self, path):
        """The database file of somebody who has stopped, without the table that settles commits."""
        copy = self.path(f"copy{len(os.listdir(self.directory))}.db")
        for suffix in ("", "-wal"):
            if os.path.exists(f"{path}{suffix}"):
                shutil.copyfile(f"{path}{suffix}", copy + suffix)
        # A replica's file is nothing that SQLite writes without us.
        sqlite3.connect(copy).execute("VACUUM INTO ?", (f"{copy}.whole",)).connection.close()
        db = sqlite3.connect(f"{copy}.whole", isolation_level=None)
        db.execute(f"DROP TABLE {OWN_TABLE}")
        db.close()
        return f"{copy}.whole"

    def shell(self, database, script):
        command = ["sqlite3", "-batch", "-bail", "-cmd", f".load {EXTENSION}"]
        command += ["-cmd", f".log {self.path('shell.log')}", "-cmd", f".open '{database}'", ":memory:"]
        done = subprocess.run(command, stdin=script, capture_output=True, text=True, timeout=900)
        with open(self.path("shell.log"), encoding="utf-8") as log:
            self.assertEqual((0, ""), (done.returncode, done.stderr), log.read()[-2000:])
        return done.stdout

    def test_it_is_loaded_through_a_replica_and_is_the_same_at_the_server(self):
        server = self.make_server(self.path("server"))
        self._primaries.append(server)
        server.start()
        app = self.replica(server, "app", database="", timeout="60s")
        plain = self.path("plain.db")
        shutil.copyfile(PROJ, plain)
        with sqlite3.connect(plain, isolation_level=None) as without:
            without.execute("DROP TABLE sqlite_stat1")
        without.close()
        dump = self.path("proj.sql")
        with open(dump, "w", encoding="utf-8") as file:
            subprocess.run(["sqlite3", plain, ".dump"], stdout=file, check=True)
        with open(dump, encoding="utf-8") as file:
            self.shell(app.uri(), file)

        # Its triggers refuse what is no registry, and a transaction that heeds them goes through.
        db, beside = self.open(app), self.keep(sqlite3.connect(plain, isolation_level=None))
        self.assertGreater(len(self.triggers(db)), 30)
        self.assertEqual(self.triggers(db), self.triggers(beside))
        for each in (db, beside):
            each.execute("PRAGMA foreign_keys=ON")
            with self.assertRaisesRegex(sqlite3.IntegrityError, "unexisting code"):
                each.execute(USAGE, ("refused", "SUCH"))
            each.execute("BEGIN")
            each.execute(USAGE, ("taken", "4326"))
            each.execute("UPDATE extent SET description = upper(description) WHERE code LIKE '1%'")
            each.execute("DELETE FROM alias_name WHERE source = 'PROJ'")
            each.execute("COMMIT")
        db.close()
        beside.close()

        follower = self.replica(server, "follower", database="", timeout="60s")
        self.open(follower).close()
        server.stop()
        expected = hash_of(plain)
        self.assertNotEqual(expected, hash_of(PROJ))
        for path in (server.database_file(), app.path, follower.path):
            self.assertEqual(expected, hash_of(self.copied(path)), path)

    def triggers(self, db):
        return db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name").fetchall()


class ProjAtTheFake(ProjAtLibsql, BehaviourTest):
    def make_server(self, directory):
        return libsql_server.FakeServer(directory)


if libsql_server.SQLD:

    class ProjAtSqld(ProjAtLibsql, BehaviourTest):
        def make_server(self, directory):
            return libsql_server.RealServer(directory)


if __name__ == "__main__":
    main()
