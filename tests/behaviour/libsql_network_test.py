"""Every fault of an exchange (network_faults.py), at each exchange of a replica with a libSQL server: nothing that was
acknowledged is lost, nothing that was refused is there, nothing is there twice, and all goes on when the fault is over."""

import collections
import sqlite3
import threading
import time

import libsql_server
from harness import (
    BUSY,
    OUTCOME_UNKNOWN,
    BehaviourTest,
    Metronome,
    content,
    error_code,
    family,
    last_error,
    main,
    wait_until,
)
from network_faults import EXCHANGE_FAULTS
from proxy import Proxy

# Of one operation, which is of several exchanges, each with a deadline of its own, and may have to settle.
TIMEOUTS_MAX = 4
GRACE = 2.0
TRIES = 50


def name_call(exchange):
    """All SQL comes by one path."""
    call = exchange.handler.path.rsplit("/", 1)[1]
    if call != "pipeline":
        return call
    words = {b"BEGIN IMMEDIATE": "begin", b"COMMIT": "commit", b"SELECT number": "settle"}
    return next((name for word, name in words.items() if word in exchange.body), "other")


def lose_answer(exchange):
    exchange.deliver()
    exchange.close()


class Step:
    """One exchange, and a replica and a server for all faults that it is to meet, one after the other."""

    def __init__(self, test, call):
        self.test, self.call = test, call
        self.server = libsql_server.FakeServer(test.path(f"server-{call}")).start()
        test._primaries.append(self.server)
        self.server.sql("CREATE TABLE t(marker)")
        self.proxy = Proxy(self.server.port)
        test.addCleanup(self.proxy.close)
        self.proxy.name_call = name_call
        self.elsewhere = Proxy(None)
        test.addCleanup(self.elsewhere.close)
        self.proxy.elsewhere = self.elsewhere.url()
        self.proxy.disturb = self.disturb
        self.base = {}  # What else happens to an exchange, once.
        self.armed = None
        self.told = {}  # marker: code, of every write.
        self.counts = collections.Counter()
        self.slowest = 0.0
        self.problems = []

    def replica(self, name, **options):
        replica = self.test.replica(self.server, f"{self.call}-{name}", database="", **options)
        replica.url = self.proxy.url("")[:-1]
        return replica

    def disturb(self, call):
        if self.armed is not None and call == self.call:
            act, self.armed = self.armed.act, None
            return act
        return self.base.pop(call, None)

    def run(self, metronome):
        self.app = self.replica("app", sync_interval="off", timeout="1s")
        self.db = self.app.connect(timeout=0.2, check_same_thread=False)
        self.write_well("first")
        for number, fault in enumerate(EXCHANGE_FAULTS.values()):
            # What the step needs is done while all is well.
            self.server.sql(f"INSERT INTO t VALUES('elsewhere {number}')")
            self.armed = fault
            lost, began = metronome.lost, time.monotonic()
            code = self.act(fault, number)
            took = time.monotonic() - began - (metronome.lost - lost)
            self.counts[code] += 1
            self.slowest = max(self.slowest, took)
            if self.armed is not None:
                self.problems.append(f"{fault.name}: not met")
            if took > TIMEOUTS_MAX * fault.timeout + GRACE and not fault.slow:
                self.problems.append(f"{fault.name}: took {took:.1f} s")
            self.lift()
            self.write_well(f"after {fault.name}")
        self.compare()

    def act(self, fault, number):
        if self.call == "Hello":
            return self.make(fault, number)
        if self.call == "BatchLogEntries":
            return self.attempt(fault, "SELECT turso_sync()", {sqlite3.SQLITE_IOERR, BUSY})
        if self.call == "settle":
            self.base["commit"] = lose_answer
        return self.write(f"{fault.name}", fault)

    def make(self, fault, number):
        replica = self.replica(f"made{number}", timeout="1s", sync_interval="off", protocol="libsql")
        try:
            db = replica.connect()
        except sqlite3.Error as error:
            if replica.files() or error_code(error) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH):
                self.problems.append(f"{fault.name}: {error.sqlite_errorname}, left {replica.files()}")
            return error_code(error)
        rows = db.execute("SELECT count(*) FROM t").fetchone()[0]
        db.close()
        if rows != self.server.sql("SELECT count(*) FROM t")[0][0]:
            self.problems.append(f"{fault.name}: a new replica has {rows} rows")
        return None

    def attempt(self, fault, sql, families, parameters=()):
        try:
            self.db.execute(sql, parameters).fetchall()
            return None
        except sqlite3.Error as error:
            code = error_code(error)
            if family(code) not in families:
                self.problems.append(f"{fault.name}: {error.sqlite_errorname}, {last_error(self.db)}")
            return code

    def write(self, marker, fault):
        families = {sqlite3.SQLITE_IOERR, BUSY}
        code = self.attempt(fault, "INSERT INTO t VALUES(?)", families, (marker,))
        self.told[marker] = code
        return code

    def lift(self):
        """The network is well, nothing is under way, and the server has taken back a slot that nobody uses."""
        self.armed = None
        self.base.clear()
        wait_until(self.proxy.nothing_under_way, what="the last request to arrive")
        self.server.calm()
        self.server.steal()

    def write_well(self, marker):
        for number in range(TRIES):
            name = f"{marker} {number}"
            try:
                self.db.execute("INSERT INTO t VALUES(?)", (name,))
                self.told[name] = None
                return
            except sqlite3.Error as error:
                self.told[name] = error_code(error)
                # What took too long on a machine with too much to do is tried again; so is what is locked.
                again = family(error_code(error)) == BUSY or " within " in (last_error(self.db) or "")
                if not again:
                    self.problems.append(f"{name}: {error.sqlite_errorname}, {last_error(self.db)}")
                    return
        self.problems.append(f"{marker}: no write succeeds, {last_error(self.db)}")

    def compare(self):
        self.db.execute("SELECT turso_sync()").fetchall()
        there = collections.Counter(marker for (marker,) in self.server.sql("SELECT marker FROM t"))
        for marker, code in self.told.items():
            allowed = {None: (1,), OUTCOME_UNKNOWN: (0, 1)}.get(code, (0,))
            if there[marker] not in allowed:
                self.problems.append(f"{marker}: told {code}, and it is there {there[marker]} times")
        fresh = self.replica("fresh").connect()
        if content(fresh) != content(self.db):
            self.problems.append("the replica is not what the server has")
        fresh.close()
        self.db.close()
        if self.elsewhere.calls or "elsewhere" in self.proxy.calls:
            self.problems.append("a redirect was followed")


class Faults(BehaviourTest):
    def test_nothing_is_lost_or_doubled_by_any_fault_at_any_exchange(self):
        metronome = Metronome()
        steps = [Step(self, call) for call in ("Hello", "BatchLogEntries", "begin", "commit", "settle")]
        failures = []

        def run(step):
            try:
                step.run(metronome)
            except Exception as error:  # pylint: disable=broad-except
                failures.append((step.call, repr(error)))

        threads = [threading.Thread(target=run, args=(step,)) for step in steps]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for step in steps:
            print(f"{step.call:16} slowest {step.slowest:.1f} s, told {dict(step.counts)}", *step.problems, sep="\n    ")
        self.assertEqual([], failures)
        self.assertEqual([], [problem for step in steps for problem in step.problems])


if __name__ == "__main__":
    main()
