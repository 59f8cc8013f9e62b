"""Hosts with another SQLite than Debian's 3.40: one of 3.50 or newer works, one older than 3.32 is refused politely."""

import json
import os
import subprocess

from harness import EXTENSION, PYTHON, BehaviourTest, main, seconds
from other_sqlite import newer_python_path, older_library

HERE = os.path.dirname(os.path.abspath(__file__))

# Run in a process that has only the old library: loads the extension, shows the answer, goes on with plain work.
OLD_HOST = """
import ctypes, sys
library, extension, database = sys.argv[1:]
sqlite = ctypes.CDLL(library)
sqlite.sqlite3_libversion.restype = sqlite.sqlite3_errmsg.restype = ctypes.c_char_p
sqlite.sqlite3_vfs_find.restype = ctypes.c_void_p
sqlite.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
db, message = ctypes.c_void_p(), ctypes.c_char_p()
assert sqlite.sqlite3_open(database.encode(), ctypes.byref(db)) == 0
default = sqlite.sqlite3_vfs_find(None)
sqlite.sqlite3_enable_load_extension(db, 1)
for entry in (None, b"sqlite3_tursovfs_default_init"):
    code = sqlite.sqlite3_load_extension(db, extension.encode(), entry, ctypes.byref(message))
    print(sqlite.sqlite3_libversion().decode(), code, message.value.decode())
    assert sqlite.sqlite3_vfs_find(b"turso") is None, "it registered itself all the same"
    assert sqlite.sqlite3_vfs_find(None) == default, "the default VFS is another one"
for sql in (b"CREATE TABLE t(a)", b"INSERT INTO t VALUES(1)"):
    assert sqlite.sqlite3_exec(db, sql, None, None, None) == 0, sqlite.sqlite3_errmsg(db)
assert sqlite.sqlite3_close(db) == 0
print("goes on")
"""


class NewerSqlite(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        self.replicas = [self.replica(self.server, name) for name in ("one", "two")]

    def check(self, name):
        given = {
            "extension": str(EXTENSION),
            "one": self.replicas[0].uri(),
            "two": self.replicas[1].uri(),
            "primary_pid": self.server.process.pid,
            "seconds": seconds(8) / 2,
            "check": name,
        }
        done = subprocess.run(
            [PYTHON, os.path.join(HERE, "newer_sqlite_checks.py"), json.dumps(given)],
            env={**os.environ, "PYTHONPATH": newer_python_path()},
            capture_output=True,
            text=True,
            timeout=200,
        )
        print(done.stdout)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertTrue(done.stdout.endswith("passed\n"), done.stdout)

    def test_a_replica_works_under_a_newer_sqlite_and_beside_debians(self):
        self.check("all")


class OldSqlite(BehaviourTest):
    def test_a_host_older_than_3_32_is_refused_with_a_sentence_and_goes_on(self):
        done = subprocess.run(
            [PYTHON, "-c", OLD_HOST, older_library(), str(EXTENSION), self.path("old.db")],
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual("goes on", lines[-1])
        for line in lines[:-1]:
            self.assertRegex(line, r"^3\.30\.1 1 .*3\.32")


if __name__ == "__main__":
    main()
