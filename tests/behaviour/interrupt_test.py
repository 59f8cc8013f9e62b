"""sqlite3_interrupt and Ctrl-C while a replica waits for its primary.

SQLite 3.41 and newer let us see an interrupt; under Debian's 3.40 a wait ends at `timeout`."""

import contextlib
import json
import os
import pathlib
import pty
import re
import select
import sqlite3
import subprocess
import threading
import time

from harness import (
    EXTENSION,
    OUTCOME_UNKNOWN,
    PYTHON,
    REMOTE,
    BehaviourTest,
    dies_with_us,
    main,
    wait_until,
)
from other_sqlite import newer_python_path

HERE = pathlib.Path(__file__).parent


class Interrupt(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        db = self.replica(self.server, "app").connect()
        db.execute("CREATE TABLE t(a)")
        db.close()

    def app(self, **options):
        return self.replica(self.server, "app", **options)

    def counted(self, value):
        """How often it is there, once the primary is well again."""
        db = self.open(self.app())
        wait_until(lambda: self.works(db), what="a write to work again")
        return db.execute("SELECT count(*) FROM t WHERE a = ?", (value,)).fetchone()[0]

    def works(self, db):
        try:
            db.execute("INSERT INTO t VALUES('after')")
            return True
        except sqlite3.Error:
            return False


class NewerSqlite(Interrupt):
    """The primary is stopped and continued by a thread of the other process."""

    def check(self, name, **options):
        given = {
            "extension": str(EXTENSION),
            "uri": self.app(timeout="40s", **options).uri(),
            "primary_pid": self.server.process.pid,
            "check": name,
            "not_reached": self.not_reached(),
        }
        done = subprocess.run(
            [PYTHON, HERE / "interrupt_checks.py", json.dumps(given)],
            env={**os.environ, "PYTHONPATH": newer_python_path()},
            capture_output=True,
            text=True,
            timeout=100,
        )
        print(done.stdout)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        self.assertTrue(done.stdout.endswith("passed\n"), done.stdout)

    def not_reached(self):
        """A revision in the words of this primary, at which no replica ever is."""
        if REMOTE == "turso-primary":
            return "0123456789abcdef-7"
        with contextlib.closing(self.app().connect()) as db:
            log, end, *_ = db.execute("SELECT turso_revision()").fetchone()[0].split(".")
        return f"{log}.{int(end, 16) + 1000:x}.p"

    def test_an_interrupt_ends_the_wait_for_the_right_to_write(self):
        self.check("at_the_lock")
        self.assertEqual(0, self.counted("at the lock"))

    def test_an_interrupt_ends_the_wait_for_the_answer_to_a_commit_as_outcome_unknown(self):
        self.check("at_the_commit")
        self.assertIn(self.counted("at the commit"), (0, 1))

    def test_an_interrupt_ends_a_sync_and_a_wait_for_a_revision(self):
        self.check("questions")

    def test_an_interrupt_ends_the_wait_of_a_read_that_must_be_fresh(self):
        self.check("a_fresh_read", max_staleness="0")


class DebiansSqlite(Interrupt):
    def interrupted_while_stopped(self, db, sql):
        """The error, and how long it took."""
        self.server.pause()
        timer = threading.Timer(0.3, db.interrupt)
        timer.start()
        began = time.monotonic()
        try:
            error = self.fails(db.execute, sql)
        finally:
            took = time.monotonic() - began
            self.server.resume()
            timer.join()
        return error, took

    def test_a_wait_at_the_lock_ends_at_the_timeout(self):
        db = self.open(self.app(timeout="1500ms"), check_same_thread=False)
        error, took = self.interrupted_while_stopped(db, "INSERT INTO t VALUES('lock')")
        self.assert_code(error, sqlite3.SQLITE_IOERR)
        self.assertTrue(1.2 < took < 4, f"{took} s")
        self.assertEqual(0, self.counted("lock"))

    def test_a_wait_at_the_commit_ends_at_the_timeout_as_outcome_unknown(self):
        db = self.open(self.app(timeout="1500ms"), check_same_thread=False)
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO t VALUES('commit')")
        error, took = self.interrupted_while_stopped(db, "COMMIT")
        self.assert_code(error, OUTCOME_UNKNOWN)
        self.assertTrue(1.2 < took < 5, f"{took} s")
        self.assertFalse(db.in_transaction)
        self.assertIn(self.counted("commit"), (0, 1))


class Terminal:
    """The stock shell at a terminal, as a person has it."""

    def __init__(self, test, database):
        self.master, theirs = pty.openpty()
        test.addCleanup(os.close, self.master)
        self.shell = subprocess.Popen(
            dies_with_us(["setsid", "--ctty", "--wait", "sqlite3", ":memory:"]),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "dumb"},
        )
        test.addCleanup(self.shell.wait)
        test.addCleanup(self.shell.kill)
        os.close(theirs)
        self.expect("sqlite> ")
        self.do(f".load {EXTENSION}")
        self.do(f".open {database}")

    def type(self, keys):
        os.write(self.master, keys.encode())

    def expect(self, pattern, timeout=20):
        """What came until it."""
        text = ""
        deadline = time.monotonic() + timeout
        while not re.search(pattern, text):
            ready, _, _ = select.select([self.master], [], [], deadline - time.monotonic())
            if not ready:
                raise AssertionError(f"waited in vain for {pattern!r}: {text!r}")
            try:
                text += os.read(self.master, 4096).decode()
            except OSError:  # The shell has gone.
                raise AssertionError(f"the shell ended without {pattern!r}: {text!r}") from None
        return text

    def do(self, line, timeout=20):
        """What the shell says to it."""
        self.type(line + "\n")
        return self.expect("sqlite> $", timeout)


class CtrlC(Interrupt):
    def in_a_stalled_commit(self, **options):
        terminal = Terminal(self, self.app(**options).uri())
        terminal.do("BEGIN IMMEDIATE;")
        terminal.do("INSERT INTO t VALUES('shell');")
        self.server.pause()
        terminal.type("COMMIT;\n")
        time.sleep(0.5)
        self.assertIsNone(terminal.shell.poll())
        return terminal

    def test_ctrl_c_in_a_stalled_commit_gets_the_prompt_back_at_the_timeout(self):
        terminal = self.in_a_stalled_commit(timeout="2s")
        try:
            terminal.type("\x03")
            began = time.monotonic()
            self.assertRegex(terminal.expect("sqlite> $"), "disk I/O error")
            self.assertLess(time.monotonic() - began, 6)
        finally:
            self.server.resume()
        self.assertRegex(terminal.do("SELECT turso_last_error();"), "outcome is unknown")
        # A server that keeps its slot for who is gone lets nobody write for a while.
        insert = "INSERT INTO t VALUES('next');"
        wait_until(lambda: "rror" not in terminal.do(insert), what="a write to work again")
        self.assertRegex(terminal.do("SELECT 'n=' || count(*) FROM t WHERE a = 'next';"), "n=1")
        terminal.type(".quit\n")
        self.assertEqual(1, terminal.shell.wait(20))  # A statement failed.
        self.assertIn(self.counted("shell"), (0, 1))

    def test_the_third_ctrl_c_ends_the_shell_and_nothing_hangs(self):
        terminal = self.in_a_stalled_commit(timeout="60s")
        began = time.monotonic()
        try:
            for _ in range(3):
                terminal.type("\x03")
                time.sleep(0.1)
            code = terminal.shell.wait(10)
            took = time.monotonic() - began
        finally:
            self.server.resume()
        print(f"ended with {code} after {took:.1f} s")
        self.assertEqual(1, code)
        self.assertIn(self.counted("shell"), (0, 1))


if __name__ == "__main__":
    main()
