"""A URI that names the VFS is understood also where SQLite takes it for the name of a file, and is never the name of
an empty file."""

import json
import os
import subprocess
import sys
import urllib.parse

from harness import EXTENSION, PYTHON, BehaviourTest, main

# A program with URIs off, in a process of its own: that is for good once SQLite has been used.
PROGRAM = """
import ctypes, json, sys
assert ctypes.CDLL("libsqlite3.so.0").sqlite3_config(17, 0) == 0  # SQLITE_CONFIG_URI
import sqlite3
loader = sqlite3.connect(":memory:", isolation_level=None)
loader.enable_load_extension(True)
loader.execute("SELECT load_extension(?, 'sqlite3_tursovfs_default_init')", (sys.argv[1],))
said = []
for name, *statements in json.loads(sys.argv[2]):
    try:
        db = sqlite3.connect(name, isolation_level=None)
        said.append([db.execute(sql).fetchall() for sql in statements])
        db.close()
    except sqlite3.Error as error:
        said.append([error.sqlite_errorname, loader.execute("SELECT turso_last_error()").fetchone()[0]])
print(json.dumps(said))
"""


class LiteralUri(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        self.app = self.path("app")
        os.makedirs(self.app)
        os.makedirs(self.path("app/a directory"))
        self.url = urllib.parse.quote(self.server.url("app"), safe="")

    def without_uris(self, *opens):
        """Each is a name and statements; the rows of each statement, or the name of the code and the sentence."""
        ran = subprocess.run(
            [PYTHON, "-c", PROGRAM, str(EXTENSION), json.dumps(opens)],
            cwd=self.app,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return json.loads(ran.stdout)

    def files(self):
        return {
            os.path.relpath(os.path.join(directory, name), self.app)
            for directory, _, names in os.walk(self.app)
            for name in names
            if not name.endswith(("-turso", "-wal", "-shm"))
        }

    def test_every_spelling_of_a_replicas_uri_is_that_replica(self):
        names = [
            f"file:app.db?vfs=turso&url={self.url}",
            f"file:app.db?url={self.server.url('app')}&vfs=turso",
            "file:app.db?vfs=turso",
            "file:a%20directory/../app.db?vfs=turso#fragment",
            f"file:{self.app}/app.db?vfs=turso",
            f"file://{self.app}/app.db?vfs=turso&&nobody=knows",
            f"file://localhost{self.app}/app.db?vf%73=turso",
        ]
        create = (names[0], "CREATE TABLE t(a)")
        inserts = [(name, f"INSERT INTO t VALUES ({number})") for number, name in enumerate(names)]
        read = ("app.db", "SELECT group_concat(a) FROM t", "SELECT path FROM turso_status")
        *written, rows = self.without_uris(create, *inserts, read)
        self.assertEqual(written, [[[]]] * 8)
        self.assertEqual(rows, [[["0,1,2,3,4,5,6"]], [[f"{self.app}/app.db"]]])
        self.assertEqual(self.files(), {"app.db"})
        other = self.open(self.replica(self.server, "other", "app"))
        self.assertEqual(other.execute("SELECT count(*) FROM t").fetchall(), [(7,)])

    def test_its_parameters_count(self):
        said = self.without_uris(
            (f"file:app.db?vfs=turso&url={self.url}&timeout=soon", "SELECT 1"),
            (f"file:app.db?vfs=turso&url={self.url}&protocol=smoke", "SELECT 1"),
            ("file:none.db?vfs=turso", "SELECT 1"),
        )
        for (code, text), fragments in zip(said, (["timeout", "soon"], ["protocol"], ["url", "none.db"])):
            self.assertEqual(code, "SQLITE_CANTOPEN")
            for fragment in fragments:
                self.assertIn(fragment, text)
        self.assertEqual(self.files(), set())

    def test_its_parameters_do_not_count_for_another_open(self):
        said = self.without_uris(
            (f"file:missing/app.db?vfs=turso&url={self.url}", "SELECT 1"),
            ("plain.db", "CREATE TABLE t(a)", "PRAGMA journal_mode"),
        )
        self.assertEqual(said[0][0], "SQLITE_CANTOPEN")
        self.assertEqual(said[1], [[], [["delete"]]])
        self.assertEqual(self.files(), {"plain.db"})

    def test_it_can_be_attached(self):
        said = self.without_uris(
            (
                ":memory:",
                f"ATTACH 'file:app.db?vfs=turso&url={self.url}' AS app",
                "CREATE TABLE app.t(a)",
                "SELECT turso_revision('app') IS NOT NULL",
            )
        )
        self.assertEqual(said, [[[], [], [[1]]]])
        self.assertEqual(self.files(), {"app.db"})

    def test_what_only_sqlite_could_heed_is_refused(self):
        for parameter in ("mode=ro", "immutable=1", "cache=shared", "nolock=1"):
            ((code, text),) = self.without_uris(
                (f"file:app.db?vfs=turso&url={self.url}&{parameter}", "SELECT 1")
            )
            self.assertEqual(code, "SQLITE_CANTOPEN")
            self.assertIn(parameter.split("=")[0], text)
            self.assertIn("URIs are off", text)
        ((code, text),) = self.without_uris(("file://elsewhere/app.db?vfs=turso", "SELECT 1"))
        self.assertIn("elsewhere", text)
        self.assertEqual(self.files(), set())

    def test_names_that_are_not_ours_are_names(self):
        names = ["file:plain.db", "file:x.db?vfs=unix", "file:y.db?vfs=turso2&a=vfs=turso"]
        said = self.without_uris(*((name, "CREATE TABLE t(a)") for name in names))
        self.assertEqual(said, [[[]]] * 3)
        self.assertEqual(self.files(), set(names))


if __name__ == "__main__":
    sys.exit(main())
