"""The core of the promises under another SQLite, by apsw. A program of its own, so that only one copy of SQLite in its
process loads the extension. Its one argument is JSON; it prints "passed" at its end."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import apsw

FLAGS = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
ACCOUNTS = 10


def load(extension):
    connection = apsw.Connection(":memory:")
    connection.enable_load_extension(True)
    connection.load_extension(extension)
    connection.close()


def connect(uri, timeout_ms=5000):
    connection = apsw.Connection(uri, flags=FLAGS)
    connection.set_busy_timeout(timeout_ms)
    return connection


def rows(db, sql, parameters=()):
    return list(db.execute(sql, parameters))


def code_of(function, *arguments):
    try:
        function(*arguments)
    except apsw.Error as error:
        return error.extendedresult
    raise AssertionError(f"{arguments} succeeded")


def the_extension_runs_under_this_sqlite(given):
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= (
        3,
        50,
    ), apsw.sqlite_lib_version()
    db = connect(given["one"])
    db.execute("CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance)")
    db.execute("CREATE TABLE counter(n)")
    db.execute("INSERT INTO counter VALUES(0)")
    for number in range(ACCOUNTS):
        db.execute("INSERT INTO accounts VALUES(?, 100)", (number,))
    assert rows(db, "PRAGMA journal_mode=delete") == [("wal",)]
    assert rows(db, "PRAGMA locking_mode=exclusive") == [("normal",)]
    assert rows(db, "SELECT state FROM turso_status") == [("live",)]
    db.close()


def a_stale_transaction_is_refused(given):
    one, two = connect(given["one"]), connect(given["two"])
    rows(two, "SELECT turso_sync()")
    two.execute("BEGIN")
    rows(two, "SELECT * FROM accounts")
    one.execute("UPDATE accounts SET balance = balance + 0.0 WHERE id = 0")
    code = code_of(two.execute, "UPDATE accounts SET balance = 0")
    assert code in (apsw.SQLITE_BUSY, apsw.SQLITE_BUSY_SNAPSHOT), code
    assert code_of(two.execute, "UPDATE accounts SET balance = 0") == apsw.SQLITE_BUSY_SNAPSHOT
    two.execute("ROLLBACK")
    two.execute("UPDATE accounts SET balance = balance")
    one.close()
    two.close()


def transfer(db, generator):
    source, target = generator.sample(range(ACCOUNTS), 2)
    db.execute(generator.choice(["BEGIN", "BEGIN IMMEDIATE"]))
    balances = dict(rows(db, "SELECT id, balance FROM accounts"))
    count = rows(db, "SELECT n FROM counter")[0][0]
    amount = generator.randint(0, balances[source])
    db.execute("UPDATE accounts SET balance = ? WHERE id = ?", (balances[source] - amount, source))
    db.execute("UPDATE accounts SET balance = ? WHERE id = ?", (balances[target] + amount, target))
    db.execute("UPDATE counter SET n = ?", (count + 1,))
    db.execute("COMMIT")


def transfer_for_a_while(uri, seed, duration):
    """How many were committed."""
    generator, db, committed = random.Random(seed), connect(uri), 0
    deadline = time.monotonic() + duration
    while time.monotonic() < deadline:
        try:
            transfer(db, generator)
            committed += 1
        except apsw.Error as error:
            assert error.extendedresult in (apsw.SQLITE_BUSY, apsw.SQLITE_BUSY_SNAPSHOT), error
            if db.in_transaction:
                db.execute("ROLLBACK")
            time.sleep(generator.random() * 0.003)
        if generator.random() < 0.2:
            assert rows(db, "SELECT sum(balance) FROM accounts") == [(ACCOUNTS * 100,)]
        if generator.random() < 0.05:
            mode = generator.choice(["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
            try:
                rows(db, f"PRAGMA wal_checkpoint({mode})")
            except apsw.BusyError:
                pass
    db.close()
    return committed


def money_is_conserved_among_processes(given):
    """Two processes of this SQLite and one of Debian's on each of two replicas."""
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, json.dumps({**given, "transfer": given[name], "seed": n})],
            stdout=subprocess.PIPE,
            text=True,
        )
        for n, name in enumerate(("one", "one", "two", "two"))
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    processes += [
        subprocess.Popen(
            [
                sys.executable,
                str(pathlib.Path(__file__).with_name("debian_sqlite_transfers.py")),
                json.dumps({**given, "transfer": given[name], "seed": 10 + n}),
            ],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for n, name in enumerate(("one", "two"))
    ]
    committed = []
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        committed.append(int(output.split()[-1]))
    print("committed", committed, flush=True)
    assert all(committed)
    for name in ("one", "two"):
        db = connect(given[name])
        rows(db, "SELECT turso_sync()")
        assert rows(db, "SELECT sum(balance) FROM accounts") == [(ACCOUNTS * 100,)]
        assert rows(db, "SELECT n FROM counter") == [(sum(committed),)]
        assert rows(db, "PRAGMA integrity_check") == [("ok",)]
        db.close()


def big_changes_are_followed_through_restarts_of_the_log(given):
    one, two = connect(given["one"]), connect(given["two"])
    one.execute("CREATE TABLE big(id INTEGER PRIMARY KEY, a)")
    for number in range(8):
        one.execute(
            "INSERT INTO big(a) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
            " SELECT hex(randomblob(100)) FROM n"
        )
        if number % 3 == 2:
            one.execute("DELETE FROM big WHERE id % 2")
            one.execute("VACUUM")
        rows(one, "PRAGMA wal_checkpoint(TRUNCATE)")
        revision = rows(one, "SELECT turso_revision()")[0][0]
        assert rows(two, "SELECT turso_wait(?, 10000)", (revision,)) == [(1,)]
        for sql in (
            "SELECT count(*), sum(length(a)), max(id) FROM big",
            "SELECT group_concat(a) FROM big WHERE id < 50",
        ):
            assert rows(one, sql) == rows(two, sql)
    assert rows(two, "PRAGMA integrity_check") == [("ok",)]
    one.close()
    two.close()


def stop(pid):
    """SIGSTOP acts a moment after kill() returns, and thread by thread: a write is faster than that."""
    os.kill(pid, signal.SIGSTOP)
    tasks = pathlib.Path(f"/proc/{pid}/task")
    deadline = time.monotonic() + 10
    while any(
        (task / "stat").read_text().rpartition(")")[2].split()[0] != "T" for task in tasks.iterdir()
    ):
        assert time.monotonic() < deadline, "SIGSTOP does not act"


def an_interrupt_ends_a_wait_for_the_primary(given):
    db = connect(given["one"] + "&timeout=20s")
    time.sleep(0.5)
    stop(given["primary_pid"])
    try:
        threading.Timer(0.5, db.interrupt).start()
        began = time.monotonic()
        code = code_of(db.execute, "UPDATE counter SET n = n")
        took = time.monotonic() - began
        assert 0.3 < took < 4, f"{took} s, code {code}"
        assert code & 0xFF in (apsw.SQLITE_INTERRUPT, apsw.SQLITE_IOERR), code
    finally:
        os.kill(given["primary_pid"], signal.SIGCONT)
    db.execute("UPDATE counter SET n = n")
    db.close()


CHECKS = [
    the_extension_runs_under_this_sqlite,
    a_stale_transaction_is_refused,
    money_is_conserved_among_processes,
    big_changes_are_followed_through_restarts_of_the_log,
    an_interrupt_ends_a_wait_for_the_primary,
]


def main():
    given = json.loads(sys.argv[1])
    load(given["extension"])
    if "transfer" in given:
        print(transfer_for_a_while(given["transfer"], given["seed"], given["seconds"]))
        return
    for check in CHECKS:
        if given["check"] in (check.__name__, "all"):
            check(given)
    print("passed")


if __name__ == "__main__":
    main()
