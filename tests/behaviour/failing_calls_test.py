"""Every call that can fail, failing: each operation is done again and again while its 1st, 2nd, 3rd ... call fails,
until it passes untouched. Each time: a documented code or success, and the next try works. At the end: nothing lost,
nothing doubled, nothing left over, replica and primary are equal.

TURSO_TEST_EVERY=1 lets every call for memory fail; otherwise it is every call up to 100 and every 11th after that.
"""

import contextlib
import ctypes
import gc
import itertools
import json
import os
import random
import re
import sqlite3
import time

import faults
from harness import (
    OUTCOME_UNKNOWN,
    BehaviourTest,
    Replica,
    family,
    libsqlite3,
    load_extension_once,
    main,
    wait_until,
)

# SQLITE_AUTH, _CORRUPT, _NOTADB, _MISUSE, _PERM are not among them, whatever fails.
DOCUMENTED = frozenset(
    (
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PROTOCOL,
    )
)
MANY = 100


class MallocInfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


MALLINFO = ctypes.CDLL(None).mallinfo2
MALLINFO.restype = MallocInfo
DEADLINE = 20.0


def numbers(kind):
    """Which of the calls fail, one after another."""
    if kind != "memory" or os.environ.get("TURSO_TEST_EVERY") == "1":
        return itertools.count(1)
    start = random.SystemRandom().randrange(11)
    return itertools.chain(range(1, MANY), itertools.count(MANY + start, 11))


class Failed(sqlite3.Error):
    def __init__(self, code, message):
        super().__init__(message)
        self.sqlite_errorcode = code


class Database:
    """SQLite by its C interface: Python's module leaks statements that no memory is left for."""

    def __init__(self, replica):
        load_extension_once()
        self.handle = ctypes.c_void_p()
        flags = 2 | 4 | 64  # SQLITE_OPEN_READWRITE | _CREATE | _URI
        uri = os.fsencode(replica.uri())
        try:
            self.check(libsqlite3.sqlite3_open_v2(uri, ctypes.byref(self.handle), flags, None))
        except Failed:
            self.close()  # There is a handle all the same.
            raise
        libsqlite3.sqlite3_extended_result_codes(self.handle, 1)
        self.rows = []
        self.take = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.c_void_p, ctypes.c_int, *[ctypes.POINTER(ctypes.c_char_p)] * 2
        )(self._take)

    def _take(self, _context, count, values, _names):
        self.rows.append(tuple(values[i] and values[i].decode() for i in range(count)))
        return 0

    def check(self, code):
        if code != 0:
            raise Failed(code, libsqlite3.sqlite3_errmsg(self.handle).decode("utf-8", "replace"))

    def execute(self, sql):
        self.rows = []
        self.check(libsqlite3.sqlite3_exec(self.handle, sql.encode(), self.take, None, None))
        return self.rows

    @property
    def in_transaction(self):
        return libsqlite3.sqlite3_get_autocommit(self.handle) == 0

    def last_error(self):
        with contextlib.suppress(Failed):
            return self.execute("SELECT turso_last_error()")[0][0]
        return None

    def close(self):
        handle, self.handle = self.handle, ctypes.c_void_p()
        libsqlite3.sqlite3_close(handle)


libsqlite3.sqlite3_errmsg.restype = ctypes.c_char_p


class World:
    """A replica in this process, and what was answered about each of its rows."""

    def __init__(self, replica, other, scratch):
        self.replica, self.other_replica, self.scratch = replica, other, scratch
        self.control = faults.Control(os.path.join(scratch, "control"))
        faults.use(self.control)
        self.log = os.path.join(scratch, "points")
        self.number = 0
        self.sure, self.never, self.either = set(), set(), set()
        self.db = self.connect()
        self.other = Database(other)

    def connect(self):
        db = Database(self.replica)
        try:
            db.execute("PRAGMA cache_size=20")
        except Failed:
            db.close()
            raise
        return db

    def insert(self, sql="INSERT INTO note(id, text) VALUES ({id}, randomblob(30))"):
        """One transaction that leaves its number in the table, or an error."""
        self.number += 1
        number = self.number
        try:
            statements = sql.format(id=number).split(";;")
            for statement in statements:
                self.db.execute(statement)
                if statement != statements[-1] and not self.db.in_transaction:
                    # Without memory, a statement of a plain database ends so, too: rolled back, and no error.
                    raise Failed(sqlite3.SQLITE_NOMEM, "rolled back without an error")
        except Failed as error:
            if self.db.in_transaction:
                with contextlib.suppress(Failed):
                    self.db.execute("ROLLBACK")
            (self.either if error.sqlite_errorcode == OUTCOME_UNKNOWN else self.never).add(number)
            raise
        self.sure.add(number)

    def lease_is_back(self):
        path = os.path.realpath(self.replica.path)
        query = f"SELECT lease FROM turso_status WHERE path = '{path}'"
        wait_until(lambda: self.db.execute(query) in ([], [("none",)]))


# --- The operations: what comes before each, unharmed, and what is attacked. ---------------------------------------


def nothing(_world):
    pass


def small(world):
    world.insert()


def fresh_lease(world):
    world.lease_is_back()


def spilling(world):
    world.insert(
        "BEGIN;;INSERT INTO note(id, text) VALUES ({id}, 'x');;"
        "INSERT INTO bulk SELECT value, randomblob(900) FROM generate_series_60 WHERE true"
        " ON CONFLICT(id) DO UPDATE SET body = excluded.body;;COMMIT"
    )


def no_extra(world):
    # Not by IF EXISTS, which finds nothing where there is no memory, of a plain database too.
    for (name,) in world.db.execute("SELECT name FROM sqlite_schema WHERE name LIKE 'extra%'"):
        world.db.execute(f"DROP TABLE {name}")


def schema(world):
    world.insert(
        "BEGIN IMMEDIATE;;INSERT INTO note(id, text) VALUES ({id}, 'x');;"
        "CREATE TABLE extra_{id}(a, b UNIQUE);;INSERT INTO extra_{id} VALUES (1, {id});;COMMIT"
    )


def news(world):
    world.other.execute("SELECT turso_sync()")
    world.other.execute("UPDATE counter SET n = n + 1")


def sync(world):
    world.db.execute("SELECT turso_sync()")


def catch_up(world):
    world.lease_is_back()
    news(world)


def frames(world):
    world.insert()
    # What a libSQL server has not sent back is in no checkpoint.
    sync(world)


def checkpoint(world):
    if world.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")[0][0] != "0":
        raise Failed(sqlite3.SQLITE_BUSY, "the checkpoint was in the way of somebody")


def emptied(world):
    sync(world)
    checkpoint(world)
    world.lease_is_back()


def open_again(world):
    world.db.close()
    world.db = world.connect()
    world.db.execute("SELECT count(*) FROM note")
    world.db.execute("SELECT * FROM turso_status")


def read(world):
    world.db.execute("SELECT sum(length(text)) FROM note")
    world.db.execute("SELECT turso_revision(), turso_lag()")


def no_second(world):
    for name in os.listdir(os.path.dirname(world.second)):
        if name.startswith(os.path.basename(world.second)):
            os.unlink(os.path.join(os.path.dirname(world.second), name))


def make_second(world):
    replica = Replica(world.second, world.replica.url, **world.replica.options)
    with contextlib.closing(Database(replica)) as db:
        db.execute("SELECT count(*) FROM note")


OPERATIONS = {
    "a commit under the lease": (nothing, small),
    "a commit that asks for the lease": (fresh_lease, small),
    "a commit that catches up first": (catch_up, small),
    "a commit that spills": (nothing, spilling),
    "a commit that changes the schema": (no_extra, schema),
    "a commit that restarts the log": (emptied, small),
    "a pull": (news, sync),
    "a pull that restarts the log": (lambda world: (emptied(world), news(world)), sync),
    "a checkpoint": (frames, checkpoint),
    "an open": (nothing, open_again),
    "a read": (nothing, read),
    "a new replica": (no_second, make_second),
}


def documented(error, point):
    code = error.sqlite_errorcode
    # Of EIO from a read SQLite says by itself that the file system is corrupt: the same for any file.
    return family(code) in DOCUMENTED or (
        family(code) == sqlite3.SQLITE_CORRUPT and re.fullmatch(r"~?pread (app|second).db(-wal|-shm)?", point)
    )


def try_again(world, act):
    """Works at once, or as soon as whoever was told to wait has waited."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            return act(world)
        except Failed as error:
            # A settled commit, a lease on its way back, a replica that has to catch up.
            if time.monotonic() > deadline or family(error.sqlite_errorcode) not in (
                sqlite3.SQLITE_BUSY,
                sqlite3.SQLITE_LOCKED,
            ):
                raise AssertionError(
                    f"the next try fails: {error!r} ({world.db.last_error()})"
                ) from error
            time.sleep(0.005)


def strike(world, directory, kind, how, n, act):
    """Does `act` while the n-th call fails: which call that was, if it came to so many, and how it ended."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(world.log)
    world.control.arm(directory, f"count {kind}", f"log {world.log}", how.format(n=n))
    try:
        act(world)
        error = None
    except Failed as raised:
        error = raised
    world.control.disarm()
    points = faults.points(world.log)
    if "*write*" in how:
        points = [point for point in points if "write" in point]
    return points[n - 1] if len(points) >= n else None, error


def held():
    """Handles, threads and bytes of memory of this process."""
    gc.collect()
    info = MALLINFO()
    threads = len(os.listdir("/proc/self/task"))
    return len(os.listdir("/proc/self/fd")), threads, info.uordblks + info.hblkhd


def attack(world, name, kind, how):
    prepare, act = OPERATIONS[name]
    prepare(world)
    try_again(world, act)
    before, failed = held(), 0
    for n in numbers(kind):
        prepare(world)
        point, error = strike(world, os.path.dirname(world.replica.path), kind, how, n, act)
        if point is None:
            if error is not None:
                raise AssertionError(f"{name}, untouched: {error!r}")
            break
        which = f"{name}, {how.format(n=n)} ({point})"
        print(f"{which}: {error!r}", flush=True)
        failed += error is not None
        if error is not None and not documented(error, point):
            raise AssertionError(f"{which}: {error!r} ({world.db.last_error()})")
        try:
            if act is make_second:
                prepare(world)
            try_again(world, act)
        except Exception as wrong:
            raise AssertionError(f"{which}, answered by {error!r}: {wrong}") from wrong
    handles, threads, memory = (after - earlier for after, earlier in zip(held(), before))
    # What the allocator and the pages of statements keep does not grow with the number of failures.
    if handles > 4 or threads > 2 or memory > (1 << 18) + 100 * n:
        raise AssertionError(f"{name}: {handles} handles, {threads} threads, {memory} bytes were kept")
    return n, failed


def run(replica, other, scratch, kind, how):
    world = World(replica, other, scratch)
    world.second = os.path.join(os.path.dirname(replica.path), "second.db")
    for name in OPERATIONS:
        calls, failed = attack(world, name, kind, how)
        print(f"TABLE {name} | {how.split()[1]} | {calls - 1} | {failed}", flush=True)
    sync(world)
    check_answers({int(row[0]) for row in world.db.execute("SELECT id FROM note")}, world)
    assert world.db.execute("PRAGMA integrity_check") == [("ok",)]
    names = os.listdir(os.path.dirname(replica.path))
    strange = [n for n in names if not re.fullmatch(r"(app|second)\.db(-wal|-shm|-turso)?", n)]
    assert strange == [], strange
    world.db.close()
    world.other.close()
    with open(os.path.join(scratch, "answers"), "w", encoding="utf-8") as answers:
        json.dump([sorted(world.sure), sorted(world.either)], answers)


def check_answers(found, world):
    lost, invented = world.sure - found, found - world.sure - world.either
    assert not lost, f"acknowledged and lost: {sorted(lost)}"
    assert not invented, f"refused and there: {sorted(invented)}"


class FailingCalls(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        seed = self.replica(self.server, "other", "app", sync_interval="off")
        db = self.open(seed)
        db.executescript(
            "CREATE TABLE note(id INTEGER PRIMARY KEY, text); CREATE TABLE counter(n);"
            "INSERT INTO counter VALUES (0); CREATE TABLE bulk(id INTEGER PRIMARY KEY, body);"
            "CREATE VIEW generate_series_60 AS WITH RECURSIVE s(value) AS"
            " (SELECT 1 UNION ALL SELECT value + 1 FROM s WHERE value < 60) SELECT value FROM s"
        )
        db.close()
        self.other = seed

    def attacked(self, kind, how):
        app = self.replica(self.server, "app", "app", sync_interval="off", timeout="5s")
        scratch = self.path("scratch")
        os.makedirs(scratch)
        child = self.spawn("attacked", run, app, self.other, scratch, kind, how)
        try:
            child.finish(timeout=500)
        finally:
            table = [line for line in child.output().splitlines() if line.startswith("TABLE")]
            print("", *table, sep="\n", flush=True)
        self.assertEqual(len(table), len(OPERATIONS))
        self.compare()

    def compare(self):
        with open(self.path("scratch/answers"), encoding="utf-8") as answers:
            sure, either = map(set, json.load(answers))
        self.server.stop()
        file = self.keep(self.server.open_file("app"))
        rows = [row[0] for row in file.execute("SELECT id FROM note")]
        self.assertEqual(len(rows), len(set(rows)))
        self.assertLessEqual(sure, set(rows))
        self.assertLessEqual(set(rows), sure | either)
        self.assertEqual(file.execute("PRAGMA integrity_check").fetchall(), [("ok",)])

    def test_each_system_call_of_each_operation_fails_once(self):
        self.attacked("file net", "fail EIO {n}")

    def test_the_disk_is_full_from_each_write_on(self):
        self.attacked("file", "partial ENOSPC {n}+ *write*")

    def test_each_request_for_memory_of_each_operation_fails_once(self):
        self.attacked("memory", "fail ENOMEM {n}")


if __name__ == "__main__":
    faults.run_preloaded()
    main()
