"""P7: fork(), with replicas open and without, in processes of one thread and of many."""

import ctypes
import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import harness
from harness import EXTENSION, PYTHON, BehaviourTest, dies_with_us, main, sqlite_log, wait_until

CHILD_SECONDS = 30
ALONE = "--alone"  # Runs one function of this file.


class Forked:
    """`function` in a forked child that ends as programs do, with all that runs at an exit. Must end well."""

    def __init__(self, function):
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                function()
            except BaseException as error:
                os.write(2, f"in the forked child: {type(error).__name__}: {error}\n".encode())
                os._exit(1)
            ctypes.pythonapi.Py_Exit(0)

    def ended(self):
        done, status = os.waitpid(self.pid, os.WNOHANG)
        if done:
            assert status == 0, f"the forked child ended with {status}"
        return bool(done)

    def finish(self):
        deadline = time.monotonic() + CHILD_SECONDS
        while not self.ended():
            if time.monotonic() > deadline:
                self.show_stack()
                self.kill()
                raise AssertionError("the forked child hangs")
            time.sleep(0.002)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def show_stack(self):
        """Where it hangs, if there is a debugger."""
        command = ["gdb", "-p", str(self.pid), "-batch", "-ex", "thread apply all bt 30"]
        try:
            print(subprocess.run(command, capture_output=True, text=True, timeout=60).stdout)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"no stack: {error}")


def rows(db, sql, parameters=()):
    return db.execute(sql, parameters).fetchall()


def refused_at_fork(replica):
    """The sentence with which an open is refused."""
    sqlite_log.clear()
    try:
        replica.connect(with_url=False)
    except sqlite3.Error as error:
        assert error.sqlite_errorcode == sqlite3.SQLITE_CANTOPEN, error.sqlite_errorname
    else:
        raise AssertionError("the child could open it")
    assert any("fork()" in text and replica.path in text for _, text in sqlite_log), sqlite_log


# --- Each of these runs in a process of its own. -------------------------------------------------------------------


def pool_child(replica, number):
    db = replica.connect()
    db.execute("INSERT INTO t VALUES(?)", (number,))
    count = rows(db, "SELECT count(*) FROM t WHERE a = ?", (number,))[0][0]
    db.close()
    return number, count, os.getpid()


def a_pool_of_forked_processes(replica):
    harness.load_extension_once()
    db = replica.connect()  # Once open and closed is as never open.
    db.execute("INSERT INTO t VALUES(-1)")
    db.close()
    with multiprocessing.get_context("fork").Pool(4) as pool:
        answers = pool.starmap(pool_child, [(replica, number) for number in range(40)], 1)
    assert [(number, 1) for number in range(40)] == [answer[:2] for answer in answers], answers
    assert os.getpid() not in {pid for _, _, pid in answers}
    db = replica.connect()
    found = [a for (a,) in rows(db, "SELECT a FROM t WHERE a >= -1 ORDER BY a")]
    assert found == list(range(-1, 40)), found
    db.close()


def preforking_server(replica):
    db = replica.connect()
    db.execute("INSERT INTO t VALUES(1)")
    Forked(lambda: refused_at_fork(replica)).finish()
    db.execute("INSERT INTO t VALUES(2)")
    db.close()

    def serve(number):
        inner = replica.connect()
        for turn in range(5):
            inner.execute("INSERT INTO t VALUES(?)", (100 * number + turn,))
        inner.close()

    children = [Forked(lambda number=number: serve(number)) for number in range(1, 5)]
    for child in children:
        child.finish()
    db = replica.connect()
    assert rows(db, "SELECT count(*), count(DISTINCT a) FROM t WHERE a >= 100") == [(20, 20)]
    db.close()


def a_child_that_ends_disturbs_no_transaction(replica, other):
    """In the midst of a transaction with spilled pages, to which the child has a connection, too."""
    db = replica.connect()
    db.execute("CREATE TABLE big(id INTEGER PRIMARY KEY, v BLOB)")
    db.execute("PRAGMA cache_size = 5")
    db.execute("BEGIN IMMEDIATE")
    for number in range(300):
        db.execute("INSERT INTO big VALUES(?, randomblob(3000))", (number,))
    before = rows(db, "SELECT sum(length(v)), max(id), group_concat(substr(hex(v), 1, 8)) FROM big")
    for ending in (lambda: db.close(), lambda: None, lambda: db.execute("ROLLBACK")):

        def child(ending=ending):
            try:
                ending()
            except sqlite3.Error:
                pass

        Forked(child).finish()
        after = rows(
            db, "SELECT sum(length(v)), max(id), group_concat(substr(hex(v), 1, 8)) FROM big"
        )
        assert before == after, "its own pages are gone"
    busy = subprocess.run(shell_command(other, "INSERT INTO t VALUES(77)"), capture_output=True, text=True)
    assert "locked" in busy.stderr, f"the write lock is gone: {busy}"
    db.execute("COMMIT")
    assert rows(db, "PRAGMA integrity_check") == [("ok",)]
    after = rows(db, "SELECT sum(length(v)), max(id), group_concat(substr(hex(v), 1, 8)) FROM big")
    assert before == after, "what was committed is something else"
    fresh = subprocess.run(
        shell_command(other, "SELECT count(*), sum(length(v)) FROM big; PRAGMA integrity_check"),
        capture_output=True,
        text=True,
    )
    assert fresh.stdout.split() == ["300|900000", "ok"], fresh
    db.close()


def shell_command(replica, sql):
    return [
        "sqlite3",
        "-batch",
        ":memory:",
        f".load {EXTENSION}",
        f".open {replica.uri(with_url=False)}",
        ".timeout 100",
        sql,
    ]


def an_inherited_connection_says_no(replica):
    db = replica.connect()
    db.execute("INSERT INTO t VALUES(5)")

    def child():
        for sql in ("SELECT * FROM t", "INSERT INTO t VALUES(6)", "PRAGMA wal_checkpoint"):
            try:
                rows(db, sql)
                raise AssertionError(f"{sql} was done in the child")
            except sqlite3.Error:
                pass
            other = sqlite3.connect(":memory:")
            assert "fork()" in rows(other, "SELECT turso_last_error()")[0][0]
            assert rows(other, "SELECT * FROM turso_status") == []

    Forked(child).finish()
    assert rows(db, "SELECT a FROM t WHERE a > 4") == [(5,)]
    db.close()


def forks_while_threads_of_ours_work(replicas):
    """They must hold no lock of SQLite's, of libc's or of ours at a fork: the child would hang in it."""
    opened = [replica.connect() for replica in replicas]
    plain = os.path.join(os.path.dirname(replicas[0].path), "plain.db")

    def child():
        inner = sqlite3.connect(plain, isolation_level=None)
        inner.execute("CREATE TABLE IF NOT EXISTS t(a)")
        inner.close()
        for db in opened:
            db.close()
        os._exit(0)

    deadline = time.monotonic() + harness.seconds(10)
    forks, slowest = 0, 0.0
    while time.monotonic() < deadline:
        began = time.monotonic()
        forked = Forked(child)
        slowest = max(slowest, time.monotonic() - began)
        forked.finish()
        forks += 1
    print(f"{forks} forks, the slowest took {slowest * 1000:.0f} ms")
    for db in opened:
        assert rows(db, "PRAGMA integrity_check") == [("ok",)]
        db.close()


def write_much(replica, until_file):
    db = replica.connect()
    db.execute("CREATE TABLE much(v)")
    while not os.path.exists(until_file):
        db.execute("INSERT INTO much VALUES(randomblob(20000))")
        db.execute("DELETE FROM much WHERE rowid < (SELECT max(rowid) - 50 FROM much)")
    db.close()


def a_fork_beside_a_commit(replica, primary_pid):
    """A thread waits for the primary's answer to its COMMIT while another forks."""
    db = replica.connect(check_same_thread=False)
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO t VALUES(7)")
    os.kill(primary_pid, signal.SIGSTOP)
    wait_until(lambda: harness.process_state(primary_pid) == "T", what="SIGSTOP to act")
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(db.execute("COMMIT")))
    thread.start()
    try:
        time.sleep(0.3)
        assert not outcome
        for _ in range(3):
            Forked(lambda: refused_at_fork(replica)).finish()
    finally:
        os.kill(primary_pid, signal.SIGCONT)
    thread.join(20)
    assert len(outcome) == 1, "the commit did not end"
    assert rows(db, "SELECT count(*) FROM t WHERE a = 7") == [(1,)]
    db.execute("INSERT INTO t VALUES(8)")
    db.close()


def a_daemon(replica, open_before, report):
    """Forks twice; the grandchild works on when its parents have gone."""
    db = replica.connect()
    db.execute("INSERT INTO t VALUES(50)")
    if open_before == "closed":
        db.close()

    def grandchild():
        try:
            if open_before == "open":
                refused_at_fork(replica)
            else:
                inner = replica.connect()
                inner.execute("INSERT INTO t VALUES(51)")
                inner.close()
            report.append("good")
        except BaseException as error:
            report.append(f"{type(error).__name__}: {error}")

    def child():
        os.setsid()
        if os.fork() == 0:
            grandchild()

    Forked(child).finish()
    wait_until(report.read, what="the daemon's word")
    if open_before == "open":
        db.execute("INSERT INTO t VALUES(52)")
        db.close()


def programs_are_run_with_replicas_open(replica):
    db = replica.connect()
    db.execute("INSERT INTO t VALUES(60)")
    listing = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, close_fds=False)
    assert os.path.basename(replica.path) not in listing.stdout, listing.stdout
    done = subprocess.run(
        shell_command(replica, "INSERT INTO t VALUES(61); SELECT count(*) FROM t WHERE a > 59;"),
        capture_output=True,
        text=True,
        close_fds=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "2"), done
    db.execute("INSERT INTO t VALUES(62)")
    assert rows(db, "SELECT a FROM t WHERE a > 59 ORDER BY a") == [(60,), (61,), (62,)]
    db.close()


def leave_a_child_behind(replica, report):
    """A child that does nothing lives on when its parent, which held the lease and followed, is killed."""
    db = replica.connect()
    db.execute("INSERT INTO t VALUES(70)")
    time.sleep(0.5)  # It follows.
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    report.append(pid)
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO t VALUES(71)")
    report.append(0)
    signal.pause()


class Fork(BehaviourTest):
    def alone(self, function, *arguments):
        """In a process of its own, which ends as programs do."""
        done = subprocess.run(
            dies_with_us([PYTHON, __file__, ALONE, function.__name__, pickled(arguments)]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=150,
        )
        print(done.stdout)
        self.assertEqual(0, done.returncode, done.stdout)

    def a_replica(self, name="app"):
        if not self._primaries:
            self.primary()
        app = self.replica(self._primaries[0], name)
        db = app.connect()
        db.execute("CREATE TABLE IF NOT EXISTS t(a)")
        db.close()
        return app

    def test_a_pool_of_forked_processes_works(self):
        self.alone(a_pool_of_forked_processes, self.a_replica())

    def test_a_preforking_server_is_told_to_close_before_it_forks_and_then_works(self):
        self.alone(preforking_server, self.a_replica())

    def test_a_child_that_ends_disturbs_no_transaction_of_its_parent(self):
        app = self.a_replica()
        self.alone(a_child_that_ends_disturbs_no_transaction, app, app)

    def test_an_inherited_connection_says_no_and_does_not_hang(self):
        self.alone(an_inherited_connection_says_no, self.a_replica())

    def test_forks_go_well_while_threads_of_ours_apply_and_checkpoint(self):
        replicas = [self.a_replica(f"app{number}") for number in range(4)]
        writer = self.spawn("writer", write_much, self.a_replica("other"), self.path("enough"))
        self.alone(forks_while_threads_of_ours_work, replicas)
        open(self.path("enough"), "w").close()
        writer.finish()

    def test_a_fork_beside_a_commit_disturbs_it_not(self):
        app = self.a_replica()
        self.alone(a_fork_beside_a_commit, app, self._primaries[0].process.pid)

    def test_a_daemon_opens_its_replica_after_it_has_forked(self):
        for state in ("closed", "open"):
            report = self.report(f"said-{state}")
            self.alone(a_daemon, self.a_replica(state), state, report)
            self.assertEqual(["good"], report.read())

    def test_programs_are_run_with_replicas_open(self):
        self.alone(programs_are_run_with_replicas_open, self.a_replica())

    def test_a_child_that_lives_on_keeps_nothing_of_a_killed_parents(self):
        app = self.a_replica()
        other = self.open(self.a_replica("other"))
        report = self.report("left")
        parent = self.spawn("parent", leave_a_child_behind, app, report)
        wait_until(lambda: len(report.read()) == 2, what="the fork")
        child = report.read()[0]
        try:
            parent.kill()
            db = self.open(app)
            began = time.monotonic()
            db.execute("INSERT INTO t VALUES(72)")  # The lock and the lease.
            other.execute("INSERT INTO t VALUES(73)")
            wait_until(
                lambda: db.execute("SELECT 1 FROM t WHERE a = 73").fetchall(),
                timeout=5,
                what="somebody to follow the primary",
            )
            print(f"took {time.monotonic() - began:.2f} s")
            self.assertEqual([(70,), (72,), (73,)], rows(db, "SELECT a FROM t WHERE a > 69"))
        finally:
            os.kill(child, signal.SIGKILL)


def pickled(arguments):
    return pickle.dumps(arguments).hex()


if __name__ == "__main__":
    if sys.argv[1:2] == [ALONE]:
        globals()[sys.argv[2]](*pickle.loads(bytes.fromhex(sys.argv[3])))
    else:
        main()
