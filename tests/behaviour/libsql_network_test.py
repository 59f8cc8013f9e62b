"""Every fault of an exchange (network_faults.py), at each exchange of a replica with a libSQL server: nothing that was
acknowledged is lost, nothing that was refused is there, nothing is there twice, and all goes on when the fault is over."""

import collections
import contextlib
import sqlite3
import threading
import time

import libsql_primary
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
    seconds,
    seeded_random,
    wait_until,
)
from network_faults import EXCHANGE_FAULTS
from network_storm import run_libsql_storms
from proxy import Proxy

# Of one operation, which is of several exchanges, each with a deadline of its own, and may have to settle.
TIMEOUTS_MAX = 4
GRACE = 2.0
TRIES = 50


PROCESSES, STORMS = 2, 3


def lose_answer(exchange):
    exchange.deliver()
    exchange.close()


def lose_request(exchange):
    _ = exchange.body
    exchange.close()


class Step:
    """One exchange, and a replica and a server for all faults that it is to meet, one after the other."""

    NAMES = ("identify", "pull", "lease", "commit", "settle", "refuse", "lease at commit", "pull at commit")
    # What happens to the commit, so that it must be settled.
    BEFORE = {"settle": lose_answer, "refuse": lose_request}

    def __init__(self, test, kind, name, metronome):
        self.test, self.name, self.metronome = test, name, metronome
        self.call = name.split()[0]
        self.server = libsql_primary.KINDS[kind](test.path(f"server-{name}")).start()
        test._primaries.append(self.server)
        self.server.sql("CREATE TABLE t(marker)")
        self.proxy = libsql_primary.proxy_before(self.server)
        test.addCleanup(self.proxy.close)
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
        replica = self.test.replica(self.server, f"{self.name}-{name}", database="", **options)
        replica.url = self.proxy.url("")[:-1]
        return replica

    def disturb(self, call):
        if self.armed is not None and call == self.call:
            act, self.armed = self.armed.act, None
            return act
        return self.base.pop(call, None)

    @contextlib.contextmanager
    def in_time(self, fault):
        lost, began = self.metronome.lost, time.monotonic()
        try:
            yield
        finally:
            self.look_at_time(fault, time.monotonic() - began - (self.metronome.lost - lost))

    def look_at_time(self, fault, took):
        self.slowest = max(self.slowest, took)
        if took > TIMEOUTS_MAX * fault.timeout + GRACE and not fault.slow:
            self.problems.append(f"{fault.name}: took {took:.1f} s")

    def run(self):
        self.app = self.replica("app", sync_interval="off", timeout="1s")
        self.db = self.app.connect(timeout=0.2, check_same_thread=False)
        self.write_well("first")
        for number, fault in enumerate(EXCHANGE_FAULTS.values()):
            # What the step needs is done while all is well.
            self.server.sql(f"INSERT INTO t VALUES('elsewhere {number}')")
            self.armed = fault
            self.counts[self.act(fault, number)] += 1
            if self.armed is not None:
                self.problems.append(f"{fault.name}: not met")
            self.lift()
            self.write_well(f"after {fault.name}")
        self.compare()

    def act(self, fault, number):
        if self.call == "identify":
            return self.make(fault, number)
        if self.call == "pull":
            return self.attempt(fault, "SELECT turso_sync()", {sqlite3.SQLITE_IOERR, BUSY})
        if self.call in self.BEFORE:
            self.base["commit"] = self.BEFORE[self.call]
        if self.name.endswith("at commit"):
            return self.think_and_commit(fault)
        code = self.write(f"{fault.name}", fault)
        # What did not arrive is refused when its slot is free again.
        for _ in range(TRIES if self.call == "refuse" else 0):
            if self.armed is None:
                break
            self.free_slot()
            self.attempt(fault, "SELECT turso_sync()", {sqlite3.SQLITE_IOERR, BUSY})
        return code

    def make(self, fault, number):
        replica = self.replica(f"made{number}", timeout="1s", sync_interval="off", protocol="libsql")
        try:
            with self.in_time(fault):
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
        sent = self.proxy.count("commit")
        try:
            with self.in_time(fault):
                self.db.execute(sql, parameters).fetchall()
            return None
        except sqlite3.Error as error:
            code = error_code(error)
            if family(code) not in families:
                self.problems.append(f"{fault.name}: {error.sqlite_errorname}, {last_error(self.db)}")
            if code == OUTCOME_UNKNOWN and self.proxy.count("commit") == sent:
                self.problems.append(f"{fault.name}: not sent, and yet unknown: {last_error(self.db)}")
            return code

    def think_and_commit(self, fault):
        """The slot is given up meanwhile, and taken again."""
        self.armed = None
        wait_until(self.begins, what="a transaction to begin")
        self.db.execute("INSERT INTO t VALUES(?)", (fault.name,))
        given_up = self.proxy.count("release")
        wait_until(lambda: self.proxy.count("release") > given_up, what="the slot to be given up")
        wait_until(self.proxy.nothing_under_way, what="the slot to be given up")
        self.armed = fault
        code = self.told[fault.name] = self.attempt(fault, "COMMIT", {sqlite3.SQLITE_IOERR, BUSY})
        if code == BUSY:
            self.problems.append(f"{fault.name}: a commit was told SQLITE_BUSY")
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        return code

    def begins(self):
        try:
            self.db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:
            return False
        return True

    def write(self, marker, fault):
        families = {sqlite3.SQLITE_IOERR, BUSY}
        code = self.attempt(fault, "INSERT INTO t VALUES(?)", families, (marker,))
        self.told[marker] = code
        return code

    def lift(self):
        """The network is well, and nothing is under way."""
        self.armed = None
        self.base.clear()
        wait_until(self.proxy.nothing_under_way, what="the last request to arrive")
        self.free_slot()

    def free_slot(self):
        """The fake takes it back from whoever does not use it; sqld does so in its own time."""
        if isinstance(self.server, libsql_server.FakeServer):
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


class AtLibsql:
    kind = None

    def test_nothing_is_lost_or_doubled_by_any_fault_at_any_exchange(self):
        metronome = Metronome()
        steps = [Step(self, self.kind, name, metronome) for name in Step.NAMES]
        failures = []

        def run(step):
            try:
                step.run()
            except Exception as error:  # pylint: disable=broad-except
                failures.append((step.name, repr(error)))

        threads = [threading.Thread(target=run, args=(step,)) for step in steps]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for step in steps:
            print(f"{step.name:16} slowest {step.slowest:.1f} s, told {dict(step.counts)}", *step.problems, sep="\n    ")
        self.assertEqual([], failures)
        self.assertEqual([], [problem for step in steps for problem in step.problems])

    def test_faults_and_outages_in_a_row_lose_and_double_nothing(self):
        generator = seeded_random("storms")
        duration = seconds(20)
        report = self.report("storms")
        children = []
        for n in range(PROCESSES):
            seeds = [generator.randrange(2**32) for _ in range(STORMS)]
            arguments = (self.directory, self.kind, seeds, duration, report)
            children.append(self.spawn(f"storms{n}", run_libsql_storms, *arguments))
        for child in children:
            child.finish(duration + 300)
        results = report.read()
        told = collections.Counter(str(code) for result in results for code in result["told"])
        print(f"{len(results)} storms, {sum(told.values())} deeds, {dict(told)}")
        for result in results:
            if result["problems"]:
                print(result["fault"], *result["problems"], sep="\n    ")
        self.assertEqual(PROCESSES * STORMS, len(results))
        self.assertEqual([], [problem for result in results for problem in result["problems"]])
        self.assertGreater(told["None"], 10 * len(results))


class AtTheFake(AtLibsql, BehaviourTest):
    kind = "fake_sqld"


if libsql_server.SQLD:

    class AtSqld(AtLibsql, BehaviourTest):
        kind = "sqld"


if __name__ == "__main__":
    main()
