"""P7: after .load, everything that is not a replica is as before: files, default VFS, threads, handles, fork()."""

import ctypes
import os
import sqlite3
import subprocess
import sys
import time

import harness
from harness import (
    EXTENSION,
    BehaviourTest,
    libsqlite3,
    load_extension,
    main,
    sqlite_log,
    wait_until,
)

VFS_NAME_OFFSET = 24  # struct sqlite3_vfs: iVersion, szOsFile, mxPathname, pNext, zName

libsqlite3.sqlite3_vfs_find.restype = ctypes.c_void_p
libsqlite3.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]


def vfs_address(name=None):
    return libsqlite3.sqlite3_vfs_find(name.encode() if name else None)


def default_vfs_name():
    return ctypes.c_char_p.from_address(vfs_address() + VFS_NAME_OFFSET).value.decode()


def threads():
    return len(os.listdir("/proc/self/task"))


def open_files():
    """{descriptor: what it is}, without the one that looks."""
    result = {}
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            result[int(descriptor)] = os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:
            pass
    return {number: name for number, name in result.items() if not name.startswith("/proc/")}


def use_plain_database(path, *, wal=False, uri=False):
    """Creates, writes, reads and reopens a database; what it answered, to be compared."""
    answers = []
    name = f"file:{path}" if uri else path
    for _ in range(2):
        db = sqlite3.connect(name, isolation_level=None, uri=uri)
        if wal:
            answers += db.execute("PRAGMA journal_mode=wal").fetchall()
        answers += db.execute("PRAGMA journal_mode").fetchall()
        answers += db.execute("PRAGMA locking_mode").fetchall()
        answers += db.execute("PRAGMA busy_timeout").fetchall()
        db.execute("CREATE TABLE IF NOT EXISTS t(a)")
        db.execute("BEGIN EXCLUSIVE")
        db.execute("INSERT INTO t VALUES(1)")
        db.execute("COMMIT")
        answers += db.execute("SELECT count(*) FROM t").fetchall()
        answers += db.execute("PRAGMA journal_mode=truncate").fetchall()
        db.execute("CREATE TEMP TABLE scratch AS SELECT * FROM t")
        answers += db.execute("SELECT count(*) FROM scratch").fetchall()
        answers += db.execute("PRAGMA integrity_check").fetchall()
        db.close()
    if path != ":memory:":
        directory, base = os.path.split(path)
        answers.append(sorted(entry for entry in os.listdir(directory) if entry.startswith(base)))
    return answers


def use_everything_plain(directory):
    os.makedirs(directory)
    return [
        use_plain_database(os.path.join(directory, "a.db")),
        use_plain_database(os.path.join(directory, "b.db"), wal=True),
        use_plain_database(os.path.join(directory, "c.db"), uri=True),
        use_plain_database(":memory:"),
    ]


def environment_with_a_url():
    os.environ["TURSO_DATABASE_URL"] = "http://127.0.0.1:1/nobody"


# Each of these runs in a process of its own.


def plain_databases_are_as_before(directory, entry_point):
    before = use_everything_plain(os.path.join(directory, "before"))
    default, name = vfs_address(), default_vfs_name()
    tasks, files = threads(), open_files()
    environment_with_a_url()
    load_extension(entry_point)
    assert vfs_address("turso"), "no VFS named turso"
    if entry_point is None:
        assert (vfs_address(), default_vfs_name()) == (
            default,
            name,
        ), "the default VFS is another one"
    else:
        assert default_vfs_name().startswith("turso"), default_vfs_name()
    after = use_everything_plain(os.path.join(directory, "after"))
    assert before == after, f"{before}\n{after}"
    assert threads() == tasks, f"{threads()} threads, {tasks} before"
    assert open_files() == files, f"{open_files()}, before {files}"


def a_second_load_changes_nothing():
    load_extension()
    first, default = vfs_address("turso"), vfs_address()
    load_extension()
    load_extension("sqlite3_extension_init")
    assert (vfs_address("turso"), vfs_address()) == (first, default)
    db = sqlite3.connect(":memory:")
    assert db.execute("SELECT 1").fetchall() == [(1,)]


def the_second_load_may_make_it_the_default():
    load_extension()
    assert default_vfs_name() == "unix", default_vfs_name()
    load_extension("sqlite3_tursovfs_default_init")
    assert default_vfs_name().startswith("turso"), default_vfs_name()


def an_open_that_fails_says_why(directory):
    load_extension("sqlite3_tursovfs_default_init")
    path = os.path.join(directory, "new.db")
    files = open_files()
    for name, text in [
        (f"file:{path}?vfs=turso", "no primary is named to make it from"),
        (f"file:{path}?vfs=turso&url=http://127.0.0.1:1/x", "is the primary running there?"),
        (f"file:{path}?vfs=turso&url=gopher://x", "is not a primary's address"),
        (f"file:{directory}/none/new.db?vfs=turso", "unable to open database file"),
    ]:
        try:
            sqlite3.connect(name, uri=True)
        except sqlite3.Error as error:
            assert error.sqlite_errorcode == sqlite3.SQLITE_CANTOPEN, error.sqlite_errorname
            assert text in str(error), error
        else:
            raise AssertionError(f"{name} was opened")
        db = sqlite3.connect(":memory:")
        try:
            db.execute("ATTACH ? AS other", (name,))
        except sqlite3.Error as error:
            assert error.sqlite_errorcode == sqlite3.SQLITE_CANTOPEN, error.sqlite_errorname
        else:
            raise AssertionError(f"{name} was attached")
        assert [row[1] for row in db.execute("PRAGMA database_list")] == ["main"]
        db.close()
    assert not os.path.exists(path)
    assert open_files() == files, f"{open_files()}, before {files}"
    # A program may take the extension's look at new connections away.
    libsqlite3.sqlite3_reset_auto_extension()
    db = sqlite3.connect(f"file:{path}?vfs=turso", uri=True)
    for sql in ("SELECT * FROM sqlite_schema", "CREATE TABLE t(a)", "PRAGMA journal_mode=wal"):
        try:
            db.execute(sql).fetchall()
        except sqlite3.Error as error:
            assert error.sqlite_errorcode == sqlite3.SQLITE_CANTOPEN, error.sqlite_errorname
        else:
            raise AssertionError(f"{sql} was done")
    db.close()
    assert not os.path.exists(path)


def loading_and_using_plain_files_forks_well(directory):
    load_extension()
    db = sqlite3.connect(os.path.join(directory, "forked.db"), isolation_level=None)
    db.execute("CREATE TABLE t(a)")
    db.close()
    in_fork(
        lambda: sqlite3.connect(os.path.join(directory, "forked.db"), isolation_level=None).execute(
            "INSERT INTO t VALUES(1)"
        )
    )
    db = sqlite3.connect(os.path.join(directory, "forked.db"))
    assert db.execute("SELECT * FROM t").fetchall() == [(1,)]


def no_thread_and_no_handle_outlives_the_last_close(replica):
    harness.load_extension_once()
    tasks, files = threads(), open_files()
    for _ in range(3):
        first, second = replica.connect(), replica.connect()
        assert first.execute("SELECT count(*) FROM t").fetchone()[0] >= 1
        second.execute("INSERT INTO t VALUES(1)")
        assert threads() > tasks, "who follows the primary?"
        first.close()
        assert second.execute("SELECT count(*) FROM t").fetchone()[0] >= 1
        second.close()
        assert threads() == tasks, f"{threads()} threads, {tasks} before"
        assert open_files() == files, f"{open_files()}, before {files}"


def closing_ends_a_long_poll_at_once(replica):
    db = replica.connect()
    db.execute("SELECT * FROM t").fetchall()
    time.sleep(0.5)  # It asks for news by now.
    began = time.monotonic()
    db.close()
    assert time.monotonic() - began < 0.3, f"close took {time.monotonic() - began} s"


def threads_of_ours_block_all_signals(replica):
    db = replica.connect()
    db.execute("SELECT * FROM t").fetchall()
    others = [task for task in os.listdir("/proc/self/task") if int(task) != os.getpid()]
    assert others
    for task in others:
        with open(f"/proc/self/task/{task}/status") as lines:
            blocked = next(line.split()[1] for line in lines if line.startswith("SigBlk"))
        must = sum(1 << (number - 1) for number in (1, 2, 3, 10, 12, 13, 14, 15, 17))
        assert int(blocked, 16) & must == must, f"thread {task} blocks only {blocked}"
    db.close()


def a_fork_with_nothing_open_works(replica):
    db = replica.connect()
    db.execute("INSERT INTO t VALUES(10)")
    db.close()

    def child():
        inner = replica.connect()
        inner.execute("INSERT INTO t VALUES(11)")
        inner.close()

    in_fork(child)
    db = replica.connect()
    rows = [row for (row,) in db.execute("SELECT a FROM t WHERE a >= 10 ORDER BY a")]
    assert rows == [10, 11], rows
    db.execute("INSERT INTO t VALUES(12)")
    db.close()


def a_fork_with_a_replica_open_is_refused_in_the_child(replica):
    db = replica.connect()
    db.execute("INSERT INTO t VALUES(20)")

    def child():
        sqlite_log.clear()
        try:
            replica.connect(with_url=False)
        except sqlite3.Error as error:
            assert error.sqlite_errorcode == sqlite3.SQLITE_CANTOPEN, error.sqlite_errorname
            texts = [text for _code, text in sqlite_log if "fork" in text]
            assert texts, f"no text names fork: {sqlite_log}"
            assert any(os.path.basename(replica.path) in text for text in texts), texts
        else:
            raise AssertionError("the child could open it")
        plain = sqlite3.connect(":memory:")
        assert plain.execute("SELECT 1").fetchall() == [(1,)]

    in_fork(child)
    db.execute("INSERT INTO t VALUES(21)")
    other = replica.connect()
    assert other.execute("SELECT count(*) FROM t WHERE a IN (20, 21)").fetchall() == [(2,)]
    other.close()
    db.close()


def an_inherited_connection_is_refused_in_the_child(replica):
    db = replica.connect()
    db.execute("INSERT INTO t VALUES(30)")

    def child():
        try:
            db.execute("INSERT INTO t VALUES(31)")
        except sqlite3.Error:
            return
        raise AssertionError("the child wrote through its parent's connection")

    in_fork(child)
    db.execute("INSERT INTO t VALUES(32)")
    rows = [row for (row,) in db.execute("SELECT a FROM t WHERE a >= 30 ORDER BY a")]
    assert rows == [30, 32], rows
    db.close()


def the_parent_goes_on_after_many_forks(replica):
    db = replica.connect()
    for number in range(20):
        in_fork(lambda: None)
        db.execute("INSERT INTO t VALUES(?)", (100 + number,))
    assert db.execute("SELECT count(*) FROM t WHERE a >= 100").fetchall() == [(20,)]
    db.close()


def in_fork(function, timeout=20):
    """Runs it in a forked child, which must end well and in time."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            function()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"in the forked child: {type(error).__name__}: {error}\n".encode())
            os._exit(1)
    deadline = time.monotonic() + timeout
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            raise AssertionError("the forked child hangs")
        time.sleep(0.005)
    assert status == 0, f"the forked child ended with {status}"


def nothing_is_written_to_stdout(replica):
    db = replica.connect()
    db.execute("INSERT INTO t VALUES(1)")
    db.execute("SELECT turso_sync()").fetchall()
    db.close()


class Loading(BehaviourTest):
    def alone(self, function, *arguments):
        child = self.spawn(function.__name__, function, *arguments)
        child.finish()
        return child

    def replica_with_a_table(self):
        app = self.replica(self.primary(), "app")
        db = app.connect()
        db.execute("CREATE TABLE t(a)")
        db.execute("INSERT INTO t VALUES(0)")
        db.close()
        return app

    def test_plain_databases_are_as_before(self):
        os.mkdir(self.path("named"))
        self.alone(plain_databases_are_as_before, self.path("named"), None)

    def test_plain_databases_are_as_before_when_it_is_the_default_vfs(self):
        os.mkdir(self.path("default"))
        self.alone(
            plain_databases_are_as_before, self.path("default"), "sqlite3_tursovfs_default_init"
        )

    def test_a_second_load_changes_nothing(self):
        self.alone(a_second_load_changes_nothing)

    def test_the_second_load_may_make_it_the_default(self):
        self.alone(the_second_load_may_make_it_the_default)

    def test_loading_takes_under_five_milliseconds(self):
        for number in range(7):
            self.spawn(f"time{number}", report_load_time, self.report("times")).finish()
        took = [line["ms"] for line in self.report("times").read()]
        print(f"loading took {took} ms")
        self.assertLess(min(took), 5)

    def test_an_open_that_fails_says_why(self):
        self.alone(an_open_that_fails_says_why, self.directory)

    def test_fork_after_load_works(self):
        self.alone(loading_and_using_plain_files_forks_well, self.directory)

    def test_no_thread_and_no_handle_outlives_the_last_close(self):
        self.alone(no_thread_and_no_handle_outlives_the_last_close, self.replica_with_a_table())

    def test_closing_ends_a_long_poll_at_once(self):
        self.alone(closing_ends_a_long_poll_at_once, self.replica_with_a_table())

    def test_threads_of_ours_block_all_signals(self):
        self.alone(threads_of_ours_block_all_signals, self.replica_with_a_table())

    def test_a_fork_with_nothing_open_works(self):
        self.alone(a_fork_with_nothing_open_works, self.replica_with_a_table())

    def test_a_fork_with_a_replica_open_is_refused_in_the_child_while_the_parent_goes_on(self):
        self.alone(a_fork_with_a_replica_open_is_refused_in_the_child, self.replica_with_a_table())

    def test_an_inherited_connection_is_refused_in_the_child(self):
        self.alone(an_inherited_connection_is_refused_in_the_child, self.replica_with_a_table())

    def test_the_parent_goes_on_after_many_forks(self):
        self.alone(the_parent_goes_on_after_many_forks, self.replica_with_a_table())

    def test_nothing_is_written_to_stdout(self):
        app = self.replica_with_a_table()
        self.assertEqual("", self.alone(nothing_is_written_to_stdout, app).output())

    def test_the_shell_loads_it_by_its_name_alone(self):
        done = subprocess.run(
            ["sqlite3", "-batch", ":memory:"],
            text=True,
            capture_output=True,
            timeout=30,
            input=f".load {str(EXTENSION).removesuffix('.so')}\nSELECT turso_version();\n",
        )
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        self.assertRegex(done.stdout, r"^\d+\.\d+\.\d+")

    def test_a_replica_in_the_default_vfs_needs_no_uri(self):
        app = self.replica_with_a_table()
        self.alone(opens_by_its_name_alone, app)

    def test_a_load_in_a_thread_that_has_ended_stays(self):
        self.alone(loads_in_a_thread, self.replica_with_a_table())


def report_load_time(report):
    db = sqlite3.connect(":memory:")
    db.enable_load_extension(True)
    began = time.process_time()  # Not the clock's: others run on this machine.
    db.load_extension(str(EXTENSION))
    report.append({"ms": (time.process_time() - began) * 1000})


def opens_by_its_name_alone(replica):
    load_extension("sqlite3_tursovfs_default_init")
    db = sqlite3.connect(replica.path, isolation_level=None)
    db.execute("INSERT INTO t VALUES(40)")
    assert db.execute("SELECT count(*) FROM turso_status").fetchall() == [(1,)]
    db.close()


def loads_in_a_thread(replica):
    import threading

    thread = threading.Thread(target=load_extension)
    thread.start()
    thread.join()
    wait_until(lambda: threads() == 1, timeout=5, what="the loading thread to end")
    db = sqlite3.connect(replica.uri(), uri=True)
    assert db.execute("SELECT count(*) FROM t").fetchall() == [(1,)]
    db.close()
    wait_until(lambda: threads() == 1, timeout=1, what="our threads to end")


if __name__ == "__main__":
    main()
