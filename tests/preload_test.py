"""libturso_preload.so in front of programs: it reaches the copy of SQLite that they use, and harms nobody."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "hosts"))

from host import BUILD_DIR, EXTENSION, PRELOAD, PYTHON, App, harness, main, plain_environment  # noqa: E402

USERS = BUILD_DIR / "preload-test"
CANTOPEN, READONLY, OK, ERROR = 14, 8, 0, 1

# Runs in the process that has the library in front. `user` calls SQLite from inside a library of its own.
PRELUDE = """
import ctypes, json, os, sys, threading
DEEPBIND = os.RTLD_DEEPBIND

def library(name, mode=os.RTLD_LOCAL):
    return ctypes.CDLL(f"{os.environ['USERS']}/libpreload_{name}.so", mode)

def ask(user, name, sql, how="open_v2", vfs=None):
    answer = ctypes.create_string_buffer(4096)
    vfs = None if vfs is None else vfs.encode()
    code = user.turso_try(how.encode(), name.encode(), vfs, sql.encode(), answer, len(answer))
    return [code, answer.value.decode()]

def say(*values):
    print(json.dumps(values), flush=True)

"""


class PreloadTest(harness.BehaviourTest):
    def preloaded(self, command, *, cwd=None, preload=PRELOAD, **environment):
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd or self.directory,
            env=plain_environment(LD_PRELOAD=preload, USERS=USERS, **environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def python(self, script, **arguments):
        """What the script says, and its stderr."""
        ran = self.preloaded([PYTHON, "-c", PRELUDE + script], **arguments)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        return [json.loads(line) for line in ran.stdout.splitlines()], ran.stderr

    def app_with_a_table(self, name="app"):
        app = App(self, self.primary(name=name), made=False)
        app.execute("CREATE TABLE t(a)")
        app.make()
        return app


class WhatItReaches(PreloadTest):
    def test_the_shell_on_a_plain_name_writes_at_the_primary(self):
        app = App(self, self.primary())
        ran = self.preloaded(
            ["sqlite3", "app.db", "CREATE TABLE t(a); INSERT INTO t VALUES (1); SELECT * FROM t"], cwd=app.directory
        )
        self.assertEqual((ran.returncode, ran.stdout, ran.stderr), (0, "1\n", ""))
        self.assertEqual(app.rows("SELECT a FROM t"), [[1]])
        app.assert_replica(commits=2)

    def test_every_kind_of_open_is_met(self):
        app = self.app_with_a_table()
        said, _ = self.python(
            """
user = library("linked")
for number, how in enumerate(["open", "open_v2", "open16", "uri"]):
    say(*ask(user, "app.db", f"INSERT INTO t VALUES ({number})", how))
""",
            cwd=app.directory,
        )
        self.assertEqual(said, [[OK, ""]] * 4)
        self.assertEqual(app.rows("SELECT a FROM t"), [[0], [1], [2], [3]])

    def test_a_copy_of_a_librarys_own_is_reached_and_not_the_systems(self):
        app = self.app_with_a_table()
        said, _ = self.python(
            """
user = library("own")
say(user.turso_mark(b"mark"))
say(*ask(user, "plain.db", "SELECT 1", vfs="mark"))
say(*ask(user, "app.db", "INSERT INTO t VALUES (1)"))
say(*ask(library("linked"), "plain.db", "SELECT 1", vfs="mark"))
""",
            cwd=app.directory,
        )
        self.assertEqual(said[:3], [[OK], [OK, "1\n"], [OK, ""]])
        self.assertEqual(said[3], [ERROR, "no such vfs: mark"])
        self.assertEqual(app.rows("SELECT a FROM t"), [[1]])

    def test_symbols_that_are_asked_for_by_dlsym_are_met(self):
        app = self.app_with_a_table()
        script = """
sqlite = ctypes.CDLL("libsqlite3.so.0")
db = ctypes.c_void_p()
say(sqlite.sqlite3_open_v2(b"app.db", ctypes.byref(db), 6, None))
say(sqlite.sqlite3_exec(db, b"INSERT INTO t VALUES (1)", None, None, None))
"""
        said, _ = self.python(script, cwd=app.directory)
        self.assertEqual(said, [[OK], [OK]])
        said, _ = self.python(script, cwd=app.directory, TURSO_VFS_PRELOAD="linked")
        self.assertEqual(said, [[OK], [READONLY]])
        self.assertEqual(app.rows("SELECT a FROM t"), [[1]])

    def test_libraries_that_are_bound_deeply_are_met(self):
        for name in ("linked", "linked_now", "own"):
            with self.subTest(name):
                app = self.app_with_a_table(name)
                script = f"""
user = library("{name}", os.RTLD_LOCAL | DEEPBIND)
say(*ask(user, "app.db", "INSERT INTO t VALUES (1)"))
say(*ask(user, "app.db", "INSERT INTO t VALUES (2)", "open"))
"""
                said, _ = self.python(script, cwd=app.directory)
                self.assertEqual(said, [[OK, ""]] * 2)
                self.assertEqual(app.rows("SELECT a FROM t"), [[1], [2]])
                said, _ = self.python(script, cwd=app.directory, TURSO_VFS_PRELOAD="linked")
                self.assertEqual({code for code, _ in said}, {READONLY})

    def test_a_library_that_is_bound_deeply_reaches_its_own_copy_and_not_that_of_all(self):
        said, _ = self.python(
            """
ctypes.CDLL("libsqlite3.so.0", os.RTLD_GLOBAL)
user = library("own", os.RTLD_LOCAL | DEEPBIND)
say(user.turso_mark(b"mark"))
say(*ask(user, "plain.db", "SELECT 1", vfs="mark"))
"""
        )
        self.assertEqual(said, [[OK], [OK, "1\n"]])

    def test_a_hidden_copy_is_not_reached_and_cannot_write_to_the_replica(self):
        app = self.app_with_a_table()
        ran = self.preloaded([USERS / "preload_hidden", "app.db", "SELECT count(*) FROM t"], cwd=app.directory)
        self.assertEqual((ran.returncode, ran.stdout), (OK, "0\n"))
        ran = self.preloaded([USERS / "preload_hidden", "app.db", "INSERT INTO t VALUES (1)"], cwd=app.directory)
        self.assertEqual((ran.returncode, ran.stdout), (READONLY, "attempt to write a readonly database"))
        self.assertEqual(app.commits(), 0)

    def test_after_a_shutdown_the_replica_is_one_still(self):
        app = self.app_with_a_table()
        said, _ = self.python(
            """
user = library("linked")
for number in range(3):
    say(*ask(user, "app.db", f"INSERT INTO t VALUES ({number})"))
    say(user.turso_shutdown(), "")
""",
            cwd=app.directory,
        )
        self.assertEqual(said, [[OK, ""]] * 6)
        self.assertEqual(app.rows("SELECT a FROM t"), [[0], [1], [2]])


class WhatItLeavesAlone(PreloadTest):
    def test_programs_without_sqlite_are_as_before_and_load_nothing(self):
        for command in (["env", "-i", "ls", "/"], ["bash", "-c", "for i in 1 2 3; do (echo $i | cat); done"]):
            without = self.preloaded(command, preload="")
            with_it = self.preloaded(command)
            self.assertEqual(
                (with_it.returncode, with_it.stdout, with_it.stderr), (0, without.stdout, without.stderr)
            )
        maps = self.preloaded(["cat", "/proc/self/maps"]).stdout
        self.assertIn("libturso_preload", maps)
        for name in ("libturso_vfs", "libsqlite3", "libstdc++", "libcurl"):
            self.assertNotIn(name, maps)

    def test_it_depends_on_nothing_but_libc_and_exports_what_it_takes_the_place_of(self):
        def output(*command):
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout

        needed = [line for line in output("readelf", "-d", PRELOAD).splitlines() if "(NEEDED)" in line]
        self.assertTrue(all("libc.so" in line or "libdl.so" in line for line in needed), needed)
        exported = {line.split()[-1] for line in output("nm", "-D", "--defined-only", PRELOAD).splitlines()}
        self.assertEqual(exported, {"sqlite3_open", "sqlite3_open_v2", "sqlite3_open16", "dlopen", "dlsym"})

    def test_sqlite_can_be_configured_until_the_first_open(self):
        said, _ = self.python(
            """
user = library("linked", os.RTLD_LOCAL | DEEPBIND)
ctypes.CDLL("libsqlite3.so.0").sqlite3_open_v2
say(user.turso_configure())
say(*ask(user, ":memory:", "SELECT turso_version() > ''"))
say(user.turso_configure())
"""
        )
        self.assertEqual(said, [[OK], [OK, "1\n"], [21]])

    def test_libraries_and_symbols_are_looked_up_for_their_caller(self):
        for preload in ("", PRELOAD):
            said, _ = self.python(
                """
user = library("linked")
say(user.turso_finds_its_neighbour(), user.turso_next_of_the_same_name(), user.turso_keeps_an_error())
""",
                preload=preload,
            )
            self.assertEqual(said, [[1, 2, 0]], preload)

    def test_plain_databases_are_plain(self):
        said, err = self.python(
            """
user = library("linked")
say(*ask(user, "plain.db", "PRAGMA journal_mode; CREATE TABLE t(a); INSERT INTO t VALUES (1); SELECT * FROM t"))
say(sorted(os.listdir(".")))
""",
            cwd=self.emptied("plain"),
        )
        self.assertEqual(said, [[OK, "delete\n1\n"], [["plain.db"]]])
        self.assertEqual(err, "")

    def test_it_can_be_told_to_do_nothing(self):
        app = self.app_with_a_table()
        ran = self.preloaded(
            ["sqlite3", "app.db", "INSERT INTO t VALUES (1)"], cwd=app.directory, TURSO_VFS_PRELOAD="off"
        )
        self.assertIn("readonly", ran.stderr)
        self.assertEqual(app.commits(), 0)

    def emptied(self, name):
        os.makedirs(self.path(name))
        return self.path(name)


class SeveralAtOnce(PreloadTest):
    def test_of_two_copies_one_has_replicas_and_the_other_is_told_so(self):
        app = self.app_with_a_table()
        said, err = self.python(
            """
first, second = library("linked"), library("own")
say(*ask(first, "app.db", "INSERT INTO t VALUES (1)"))
say(*ask(second, "plain.db", "CREATE TABLE t(a); INSERT INTO t VALUES (7); SELECT a FROM t"))
sys.stderr.write("until here\\n")
say(*ask(second, "app.db", "INSERT INTO t VALUES (2)"))
say(*ask(first, "app.db", "INSERT INTO t VALUES (3)"))
""",
            cwd=app.directory,
        )
        self.assertEqual(said[0:2] + said[3:], [[OK, ""], [OK, "7\n"], [OK, ""]])
        self.assertEqual(said[2][0], CANTOPEN)
        self.assertIn("another copy of SQLite", said[2][1])
        self.assertTrue(err.startswith("until here\n"), err)
        self.assertIn("another copy of SQLite", err)
        self.assertEqual(app.rows("SELECT a FROM t"), [[1], [3]])

    def test_threads_that_open_for_the_first_time_at_once_all_have_the_replica(self):
        app = self.app_with_a_table()
        said, _ = self.python(
            """
user = library("linked")
start = threading.Barrier(8)
def work(number):
    start.wait()
    say(*ask(user, "app.db", f"INSERT INTO t VALUES ({number})"))
threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""",
            cwd=app.directory,
        )
        self.assertEqual(said, [[OK, ""]] * 8)
        self.assertEqual(app.rows("SELECT a FROM t ORDER BY a"), [[number] for number in range(8)])

    def test_a_child_of_a_fork_that_fell_into_the_loading_can_open(self):
        # The thread that has loaded is then for some microseconds in SQLite, where no fork should happen: hence thrice.
        self.assertTrue(any(self.fork_while_it_loads(f"app{number}") == [[OK]] for number in range(3)))

    def fork_while_it_loads(self, name):
        app = self.app_with_a_table(name)
        fifos = {fifo: self.path(f"{name}-{fifo}") for fifo in ("SLOW_HAS_BEGUN", "SLOW_MAY_GO_ON")}
        for fifo in fifos.values():
            os.mkfifo(fifo)
        said, _ = self.python(
            """
user = library("linked")
loader = threading.Thread(target=ask, args=(user, ":memory:", "", "open_v2", "no such"))
loader.start()
open(os.environ["SLOW_HAS_BEGUN"], "rb").read(1)
forked = threading.Event()
def fork():
    pid = user.turso_fork_and_try(b"app.db", b"INSERT INTO t VALUES (1)")
    forked.set()
    say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
thread = threading.Thread(target=fork)
thread.start()
forked.wait(0.5)
open(os.environ["SLOW_MAY_GO_ON"], "wb").write(b"x")
thread.join()
loader.join()
""",
            cwd=app.directory,
            TURSO_VFS_EXTENSION=USERS / "libpreload_slow.so",
            SLOW_EXTENSION=EXTENSION,
            **fifos,
        )
        return said

    def test_our_own_connections_are_of_the_copy_that_has_the_replica(self):
        app = self.app_with_a_table()
        said, _ = self.python(
            """
ctypes.CDLL(f"{os.environ['USERS']}/neighbours/libsqlite3.so.9").sqlite3_open_v2  # The first that is known.
say(*ask(library("linked"), "app.db", "INSERT INTO t VALUES (1)"))
say(os.path.getsize("app.db-wal"))
""",
            cwd=app.directory,
        )
        self.assertEqual(said, [[OK, ""], [0]], "the log is not checkpointed at the last close")

    def test_a_program_that_is_executed_has_the_replica_too(self):
        app = self.app_with_a_table()
        said, _ = self.python(
            """
user = library("linked")
say(*ask(user, "app.db", "INSERT INTO t VALUES (1)"))
os.execvp("sqlite3", ["sqlite3", "app.db", "INSERT INTO t VALUES (2)"])
""",
            cwd=app.directory,
        )
        self.assertEqual(said, [[OK, ""]])
        self.assertEqual(app.rows("SELECT a FROM t"), [[1], [2]])


class WithoutTheExtension(PreloadTest):
    SCRIPT = """
user = library("linked")
for how in ("open", "open_v2", "open16"):
    say(*ask(user, "app.db", "INSERT INTO t VALUES (1)", how))
say(*ask(user, "file:app.db?mode=rw", "INSERT INTO t VALUES (1)", "uri"))
say(*ask(user, "file:new.db?vfs=turso", "SELECT 1"))
say(*ask(user, "listed.db", "SELECT 1"))
say(*ask(user, "plain.db", "CREATE TABLE t(a); SELECT 1"))
"""

    def check(self, app, extension, *fragments):
        said, err = self.python(
            self.SCRIPT, cwd=app.directory, TURSO_VFS_EXTENSION=extension, TURSO_VFS_FILES="listed.db"
        )
        for code, text in said[:-1]:
            self.assertEqual(code, CANTOPEN, text)
            for fragment in fragments:
                self.assertIn(fragment, text)
        self.assertEqual(said[-1], [OK, "1\n"])
        self.assertEqual(len(err.splitlines()), 1, err)
        for fragment in (*fragments, "TURSO_VFS_EXTENSION", "libturso_vfs is not loaded"):
            self.assertIn(fragment, err)
        names = {name for name in os.listdir(app.directory) if "-" not in name}
        self.assertEqual(names, {"app.db", "plain.db"})
        self.assertEqual(app.commits(), 0)

    def test_replicas_are_refused_and_no_file_is_made_if_it_is_missing(self):
        self.check(self.app_with_a_table(), "/nowhere/libturso_vfs.so", "/nowhere/libturso_vfs.so", "No such file")

    def test_the_same_if_it_is_of_another_architecture(self):
        foreign = bytearray(EXTENSION.read_bytes())
        foreign[18:20] = b"\xb7\x00"  # e_machine: AArch64
        path = self.path("libturso_vfs.so")
        pathlib.Path(path).write_bytes(foreign)
        self.check(self.app_with_a_table(), path, path)

    def test_it_is_looked_for_beside_the_library(self):
        os.makedirs(self.path("elsewhere"))
        alone = shutil.copy(PRELOAD, self.path("elsewhere"))
        app = self.app_with_a_table()
        command = ["sqlite3", "app.db", "INSERT INTO t VALUES (1)"]
        ran = self.preloaded(command, cwd=app.directory, preload=alone)
        self.assertNotEqual(ran.returncode, 0)
        self.assertIn(self.path("elsewhere/libturso_vfs.so"), ran.stderr)
        shutil.copy(EXTENSION, self.path("elsewhere"))
        ran = self.preloaded(command, cwd=app.directory, preload=alone)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual(app.rows("SELECT a FROM t"), [[1]])


if __name__ == "__main__":
    main()
