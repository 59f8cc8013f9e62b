"""A fault of the network at one step of a replica's life, and whether all is well afterwards.

A cell has a database of its own at a primary that many share, a proxy, and a replica behind it. Its step brings the
replica to the exchange in question, where the fault waits; what the application is told there is noted. Then the fault
is lifted, the replica writes once more, and the primary is asked, around the proxy, what it has."""

import contextlib
import http.client
import json
import os
import sqlite3
import threading
import time
import traceback

from harness import (
    OUTCOME_UNKNOWN,
    START_SECONDS,
    Metronome,
    Replica,
    error_code,
    last_error,
    sqlite_log,
    wait_until,
)
from network_faults import EXCHANGE_FAULTS, NAME_FAULTS, OUTAGES, TLS_FAULTS, Certificates
from proxy import Proxy

GRACE = 1.0  # Seconds by which a wait may outlast its deadline.
BUSY_TIMEOUT = 0.2  # While the fault is there; afterwards 5 s, as applications have it.
TRIES = 8
AT_WRITE = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY_SNAPSHOT}
AFTER_READ = AT_WRITE | {sqlite3.SQLITE_CANTOPEN}
AT_OPEN = {sqlite3.SQLITE_CANTOPEN}
AT_QUESTION = {sqlite3.SQLITE_IOERR}

STEPS = {}


class Step:
    """`call` is the exchange that the fault waits for, `after` the one that comes before it, if one does."""

    def __init__(self, run, call, after):
        self.run, self.call, self.after = run, call, after


def step(name, call, after=None):
    def add(run):
        STEPS[name] = Step(run, call, after)
        return run

    return add


class Problem(Exception):
    pass


class World:
    """What the cells of one process share."""

    def __init__(self, directory, port):
        self.directory, self.port = directory, port
        self.certificates = Certificates(os.path.join(directory, "certificates"))
        self.names = os.path.join(directory, "names")
        self.metronome = Metronome()


class Cell:
    AGAIN = frozenset()  # What a write may be told once more when all is well.
    TRIES = TRIES
    ARRIVAL = START_SECONDS  # Of the last request.

    def __init__(self, world, number, step_name, fault_name, lasting):
        self.world, self.number = world, number
        self.database = f"/cell{number}"
        self.step = STEPS[step_name]
        self.fault = EXCHANGE_FAULTS.get(fault_name) or OUTAGES[fault_name]
        self.name = {"step": step_name, "fault": fault_name, "lasting": lasting}
        self.lasting = lasting or fault_name in OUTAGES
        self.certificates = world.certificates
        self.proxy = self.elsewhere = self.db = None
        self.base = None  # A disturbance that belongs to the step and not to the fault.
        self.armed = self.met = False
        self.end_outage = None
        self.outage_lock = threading.Lock()
        self.outcomes = {}  # marker: code
        self.told, self.over, self.problems = [], 0, []
        self.not_run = 0.0  # Seconds, while something was attempted.

    # --- The network.

    def __enter__(self):
        needs = getattr(self.fault, "needs", "")
        self.host = f"cell{self.number}.test" if needs == "name" else "127.0.0.1"
        tls = self.certificates.context("good") if needs == "tls" else None
        self.scheme = "https" if tls else "http"
        self.proxy, self.elsewhere = self.make_proxy(tls), Proxy(None)
        self.proxy.elsewhere = self.elsewhere.url()
        self.proxy.disturb = self.disturb
        self.directory = os.path.join(self.world.directory, f"cell{self.number}")
        os.makedirs(self.directory)
        return self

    def __exit__(self, *_):
        with contextlib.suppress(sqlite3.Error):
            if self.db is not None:
                self.db.close()
        self.proxy.close()
        self.elsewhere.close()

    def make_proxy(self, tls):
        return Proxy(self.port, tls)

    @property
    def port(self):
        """The primary's."""
        return self.world.port

    def url(self):
        return f"{self.scheme}://{self.host}:{self.proxy.port}{self.database}"

    def resolve(self, how):
        path = os.path.join(self.world.names, self.host)
        if how is None:
            os.unlink(path)
        else:
            with open(path + ".new", "w", encoding="utf-8") as file:
                file.write(how)
            os.rename(path + ".new", path)

    def arm(self):
        self.armed = True
        if self.fault.name in OUTAGES and not self.step.after:
            self.begin_outage()

    def begin_outage(self):
        with self.outage_lock:
            if self.armed:
                self.armed = False
                self.met = True
                self.end_outage = self.fault.begin(self)

    def disturb(self, call):
        if self.armed and self.fault.name in OUTAGES:
            if call == self.step.after:
                return self.pass_on_and_fail
        elif self.armed and (call == self.step.call or (self.met and self.lasting)):
            self.met = True
            self.armed = self.lasting
            return self.fault.act
        return self.base(call) if self.base is not None else None

    def pass_on_and_fail(self, exchange):
        """Not in one go: what ends the connections would end the answer too."""
        other = self.base(exchange.call) if self.base is not None else None
        if other is not None:
            other(exchange)
        else:
            exchange.send(exchange.deliver())
        exchange.close()
        self.begin_outage()

    def lift(self):
        with self.outage_lock:
            self.armed = False
            self.base = None
            if self.end_outage is not None:
                self.end_outage()
                self.end_outage = None

    # --- The application.

    def replica(self, **options):
        path = os.path.join(self.directory, "app.db")
        options = {"timeout": f"{self.fault.timeout}s", "sync_interval": "off", **options}
        return Replica(path, self.url(), **options)

    def open(self, **options):
        self.use(self.replica(**options))

    def use(self, replica):
        self.db = replica.connect(timeout=BUSY_TIMEOUT)
        self.db.execute("SELECT count(*) FROM t").fetchall()

    def prepare(self, **options):
        """While all is well. A replica is made with time to spare, and opened without asking anybody."""
        replica = self.replica(**options)
        if not os.path.exists(replica.path):
            replica.with_options(timeout="20s", max_staleness="none").connect().close()
        self.well(lambda: self.use(replica))

    def well(self, act):
        """Where no fault is met; what takes too long on a machine with too much to do is tried again."""
        for tries_left in range(TRIES - 1, -1, -1):
            try:
                return act()
            except sqlite3.Error as error:
                if tries_left == 0 or not took_too_long(f"{error} {self.said()}"):
                    raise

    def close(self):
        self.db.close()
        self.db = None

    def attempt(self, act, codes, limit=None):
        """The code that it ends with, None if all went well. How long it takes, and what it says, is looked at."""
        commits = self.proxy.count("commit")
        lost = self.world.metronome.lost
        began = time.monotonic()
        code = text = None
        try:
            act()
        except sqlite3.Error as error:
            code, text = error_code(error), str(error)
        ended = time.monotonic()
        lost = self.world.metronome.lost - lost
        self.not_run += lost
        self.look_at_time(began, ended, limit, lost)
        # It may have been under way when the connection ended.
        sent = self.proxy.count("commit") > commits or self.step is STEPS["write: commit"]
        if code == OUTCOME_UNKNOWN and sent:
            pass
        elif code is not None and code not in codes:
            self.problems.append(f"code {code}: {text}; {self.said()}")
        if code is not None and self.met and self.db is not None:
            self.look_at_words()
        self.told.append(code)
        return code

    def look_at_words(self):
        said = self.said() or ""
        for words in self.fault.words:
            if words not in said and not took_too_long(said):
                self.problems.append(f"no word of {words!r} in {said!r}")

    def look_at_time(self, began, ended, limit, lost):
        limit = self.fault.timeout if limit is None else limit
        if self.lasting or self.fault.slow:
            # Each exchange has a deadline of its own.
            began = max(began, min(self.proxy.moved_at, ended))
        if ended - began > limit + GRACE + lost:
            self.over += 1
            self.problems.append(
                f"took {ended - began:.2f} s, deadline {limit} s, {lost:.2f} s not let run"
            )

    def said(self):
        return last_error(self.db) if self.db is not None else sqlite_log[-3:]

    def write(self, marker, codes=frozenset(AT_WRITE), sql="INSERT INTO t(marker) VALUES(?)"):
        self.outcomes[marker] = self.attempt(lambda: self.db.execute(sql, (marker,)), codes)
        return self.outcomes[marker]

    def write_well(self, marker):
        """Each try under a name of its own: one that took too long may have been committed."""
        for number in range(self.TRIES):
            self.insert_noting(f"{marker} {number}")
            # A release that came before the second try has met the fault, and so may that.
            code = self.told.pop()
            if code is None or (self.met and self.armed):
                return
            if code not in self.AGAIN and not took_too_long(self.said()):
                break
        self.problems.append(f"a write without a fault failed: {code}, {self.said()}")

    def insert_noting(self, marker):
        # A lease that a fault left behind may have to end first.
        limit = 5.0 + self.fault.timeout
        self.outcomes[marker] = self.attempt(lambda: self.insert(marker), AT_WRITE, limit)

    def insert(self, marker):
        self.db.execute("INSERT INTO t(marker) VALUES(?)", (marker,))

    def wait_for(self, call, count=1):
        """Until so many such exchanges were asked for."""
        wait_until(lambda: self.proxy.count(call) >= count, 60, call)

    # --- The primary, around the proxy.

    def ask_primary(self, sql):
        """By SQL. It waits for a lease that is out."""
        deadline = time.monotonic() + 20
        while True:
            answer = self._ask_primary(sql)
            if answer["type"] == "ok":
                rows = answer["response"]["result"]["rows"]
                return [tuple(value.get("value") for value in row) for row in rows]
            if time.monotonic() > deadline or "BUSY" not in str(answer):
                raise Problem(f"the primary says {answer}")
            time.sleep(0.02)

    def _ask_primary(self, sql):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            question = {"requests": [{"type": "execute", "stmt": {"sql": sql}}, {"type": "close"}]}
            connection.request("POST", f"{self.database}/v2/pipeline", json.dumps(question))
            return json.loads(connection.getresponse().read())["results"][0]

    def write_elsewhere(self, marker="elsewhere", size=100):
        self.ask_primary(f"INSERT INTO t VALUES('{marker}', hex(randomblob({size // 2})))")

    # --- From the beginning to the end.

    def run(self):
        self.ask_primary("CREATE TABLE t(marker, padding)")
        self.write_elsewhere("first", 5000)
        self.step.run(self)
        self.look_for_harmlessness()
        self.lift()
        self.look_at_what_follows()
        return self.result()

    def look_for_harmlessness(self):
        """Of a 429 with a time, of a request that comes twice nobody needs to know."""
        harmless = self.fault.harmless and not self.lasting
        fine = {None, sqlite3.SQLITE_BUSY_SNAPSHOT} if self.fault.ambiguous else {None}
        # Where nothing ran for a while a timeout proves nothing.
        if harmless and self.not_run < 0.2 and not fine.issuperset(self.told):
            self.problems.append(f"a harmless fault, and yet {self.told}; {self.said()}")

    def look_at_what_follows(self):
        wait_until(self.proxy.nothing_under_way, self.ARRIVAL, what="the last request to arrive")
        if self.db is None:
            self.prepare()
        self.db.execute("PRAGMA busy_timeout=5000")
        self.write_well("afterwards")
        wait_until(self.proxy.nothing_under_way, self.ARRIVAL, what="the last request to arrive")
        self.well(lambda: self.db.execute("SELECT turso_sync()").fetchall())
        sql = "SELECT state FROM turso_status WHERE path LIKE ?"
        state = self.db.execute(sql, (f"%/cell{self.number}/%",)).fetchone()[0]
        if state not in ("live", "stale"):
            self.problems.append(f"in the end the state is {state}")
        self.compare()

    def compare(self):
        here = self.db.execute("SELECT marker, padding FROM t ORDER BY rowid").fetchall()
        there = self.ask_primary("SELECT marker, padding FROM t ORDER BY rowid")
        if here != there:
            self.problems.append(f"the replica has {brief(here)}, the primary {brief(there)}")
        if self.db.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            self.problems.append("the integrity check fails")
        counts = {}
        for marker, _ in there:
            counts[marker] = counts.get(marker, 0) + 1
        self.lost = sum(
            1 for marker, code in self.outcomes.items() if code is None and marker not in counts
        )
        self.doubled = sum(1 for count in counts.values() if count > 1) + sum(
            1
            for marker, code in self.outcomes.items()
            if code not in (None, OUTCOME_UNKNOWN) and marker in counts
        )
        if self.lost or self.doubled:
            self.problems.append(f"told {self.outcomes}, the primary has {counts}")
        if self.elsewhere.calls or "elsewhere" in self.proxy.calls:
            self.problems.append("a redirect was followed")

    def result(self):
        met = self.met and (getattr(self.fault, "needs", "") != "name" or self.was_asked())
        return {
            **self.name,
            "met": met,
            "told": self.told,
            "lost": self.lost,
            "doubled": self.doubled,
            "over": self.over,
            "problems": self.problems,
        }

    def was_asked(self):
        return os.path.exists(os.path.join(self.world.names, self.host + ".asked"))


def took_too_long(text):
    return any(words in str(text) for words in (" within ", "timeout", "timed out"))


def brief(rows):
    return [marker for marker, _ in rows]


# --- The steps. ----------------------------------------------------------------------------------------------------


def make(cell):
    cell.attempt(cell.open, AT_OPEN)
    if cell.told[-1] is not None and (left := os.listdir(cell.directory)):
        cell.problems.append(f"a replica that could not be made left {left}")


@step("make: identify", "identify")
def make_identify(cell):
    cell.arm()
    make(cell)


@step("make: pull", "pull", after="identify")
def make_pull(cell):
    cell.arm()
    make(cell)


@step("move: identify", "identify")
def move(cell):
    cell.prepare()
    cell.close()
    cell.arm()
    # The same database under another name.
    moved = Replica(cell.replica().path, cell.url() + "/", **cell.replica().options)
    cell.attempt(lambda: cell.use(moved), AT_OPEN)


@step("write: lease", "lease")
def lease(cell):
    cell.prepare()
    cell.write_elsewhere()
    cell.arm()
    cell.write("lease")


@step("write after a read: lease", "lease")
def lease_after_read(cell):
    cell.prepare()
    cell.db.execute("BEGIN")
    cell.db.execute("SELECT count(*) FROM t").fetchall()
    cell.arm()
    marker = "after a read"
    if cell.write(marker, AFTER_READ) is None:
        cell.outcomes[marker] = cell.attempt(lambda: cell.db.execute("COMMIT"), AT_WRITE)
    if cell.told[-1] == sqlite3.SQLITE_CANTOPEN:
        cell.attempt(lambda: cell.db.execute("SELECT count(*) FROM t").fetchall(), (), limit=0)
    if cell.db.in_transaction:
        cell.db.execute("ROLLBACK")


@step("write: pull", "pull", after="lease")
def catch_up(cell):
    cell.prepare()
    cell.write_elsewhere(size=1_200_000)  # The answer to a lease carries up to a megabyte.
    cell.arm()
    cell.write("caught up")


@step("write: commit", "commit", after="lease")
def commit(cell):
    cell.prepare()
    cell.arm()
    cell.write("commit")


@step("write: commit under a lease", "commit")
def commit_under_lease(cell):
    cell.prepare()
    cell.well(lambda: cell.db.execute("BEGIN IMMEDIATE"))
    cell.arm()
    cell.db.execute("INSERT INTO t(marker) VALUES('held')")
    cell.outcomes["held"] = cell.attempt(lambda: cell.db.execute("COMMIT"), AT_WRITE)


def lose_answer(exchange):
    exchange.deliver()
    exchange.close()


def lose_first_commit(cell):
    left = ["commit"]

    def base(call):
        if call in left:
            left.remove(call)
            return lose_answer
        return None

    cell.base = base


@step("write: settle", "settle", after="commit")
def settle(cell):
    cell.prepare()
    lose_first_commit(cell)
    cell.arm()
    cell.write("settle")


@step("next write: settle", "settle")
def settle_later(cell):
    cell.prepare()
    cell.base = {"commit": lose_answer, "settle": lambda exchange: exchange.reset()}.get
    if cell.write("unknown") != OUTCOME_UNKNOWN:
        cell.problems.append(f"a commit and its settling were lost, and yet {cell.told}")
    cell.told.clear()
    cell.base = None
    cell.arm()
    cell.write("later")


@step("transaction: renew", "renew", after="lease")
def renew(cell):
    cell.prepare()
    cell.arm()
    marker = "renewed"
    code = cell.attempt(lambda: cell.db.execute("BEGIN IMMEDIATE"), AT_WRITE)
    if code is None:
        code = cell.attempt(lambda: cell.insert(marker), AT_WRITE)
        if cell.fault.name in EXCHANGE_FAULTS:
            cell.wait_for("renew")
        else:
            time.sleep(1.6)  # Nobody can see the renewal that is not to come through.
        code = cell.attempt(lambda: cell.db.execute("COMMIT"), AT_WRITE)
    cell.outcomes[marker] = code


def wait_for_release(cell):
    if cell.fault.name in EXCHANGE_FAULTS:
        cell.wait_for("release")
    else:
        time.sleep(0.3)  # Nobody can see what is not to come through.


@step("afterwards: release", "release", after="commit")
def release(cell):
    cell.prepare()
    cell.arm()
    cell.write_well("before release")
    wait_for_release(cell)
    cell.lift()
    lost, began = cell.world.metronome.lost, time.monotonic()
    cell.write_elsewhere("another writer")
    took = time.monotonic() - began - (cell.world.metronome.lost - lost)
    if took > 3.5:
        cell.problems.append(f"another writer waited {took:.1f} s for a lease of 2 s")


@step("close: release", "release", after="commit")
def release_at_close(cell):
    cell.prepare()
    cell.arm()
    cell.write_well("before close")
    cell.attempt(cell.close, ())


@step("close in between: release", "release", after="commit")
def close_while_releasing(cell):
    cell.prepare()
    cell.arm()
    cell.write_well("before close")
    wait_for_release(cell)
    cell.attempt(cell.close, ())


@step("close in between: pull", "pull")
def close_while_following(cell):
    cell.prepare(sync_interval="follow")
    cell.wait_for("pull", 3)
    cell.arm()
    wait_until(lambda: cell.met, what="the next pull")
    cell.attempt(cell.close, ())


@step("turso_sync: pull", "pull")
def sync(cell):
    cell.prepare()
    cell.write_elsewhere()
    cell.arm()
    cell.attempt(lambda: cell.db.execute("SELECT turso_sync()").fetchall(), AT_QUESTION)


@step("bounded read: pull", "pull")
def bounded_read(cell):
    cell.prepare(max_staleness="0")
    cell.write_elsewhere()
    cell.arm()
    read = lambda: cell.db.execute("SELECT count(*) FROM t").fetchall()  # noqa: E731
    cell.attempt(read, AT_QUESTION)
    cell.lift()
    if cell.well(read) != [(2,)]:
        cell.problems.append("a read with a bound of 0 does not see what is there")


@step("turso_wait: compare", "compare")
def compare(cell):
    cell.prepare()
    cell.write_elsewhere()
    reached = Replica(os.path.join(cell.directory, "other.db"), f"http://127.0.0.1:{cell.world.port}/cell{cell.number}")
    other = reached.connect()
    revision = other.execute("SELECT turso_revision()").fetchone()[0]
    other.close()
    cell.arm()
    wait = lambda: cell.db.execute("SELECT turso_wait(?, 500)", (revision,)).fetchall()  # noqa: E731
    cell.attempt(wait, AT_QUESTION, limit=0.5)
    cell.lift()
    if cell.db.execute("SELECT turso_wait(?, 5000)", (revision,)).fetchall() != [(1,)]:
        cell.problems.append("the revision that was waited for does not come")


@step("following: pull", "pull")
def follow(cell):
    cell.prepare(sync_interval="follow")
    cell.wait_for("pull", 3)
    cell.arm()
    cell.write_elsewhere("followed")
    wait_until(lambda: cell.met, what="the next pull")
    read = lambda: cell.db.execute("SELECT count(*) FROM t").fetchall()  # noqa: E731
    for _ in range(5):
        cell.attempt(read, (), limit=-0.5)
        time.sleep(0.1)
    cell.lift()
    # What is under way ends by its timeout, and the next try comes within two seconds.
    lost, began = cell.world.metronome.lost, time.monotonic()
    wait_until(lambda: read() == [(2,)], what="the follower to follow again")
    took = time.monotonic() - began - (cell.world.metronome.lost - lost)
    if took > cell.fault.timeout + 2 + GRACE and not cell.fault.slow:
        cell.problems.append(f"the follower followed again after {took:.1f} s")


def write_into_file(cell):
    """As another program might: the replica must be compared with its primary, page by page."""
    cell.prepare()
    cell.write_well("before")
    cell.close()
    with open(cell.replica().path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        (last,) = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    cell.db = cell.replica().connect(timeout=BUSY_TIMEOUT)


@step("repair: hashes", "hashes", after="identify")
def hashes(cell):
    write_into_file(cell)
    cell.arm()
    cell.attempt(lambda: cell.db.execute("SELECT turso_sync()").fetchall(), AT_QUESTION)


@step("repair: fetch", "fetch", after="hashes")
def fetch(cell):
    write_into_file(cell)
    cell.arm()
    cell.write("repaired")


# --- Many of them. -------------------------------------------------------------------------------------------------


def run_cells(directory, port, cells, threads, report):
    """In a process of its own. What needs TLS is work for the machine, and done by few at a time."""
    world = World(directory, port)
    with_tls = [cell for cell in cells if cell[2] in TLS_FAULTS]
    others = [cell for cell in cells if cell[2] not in TLS_FAULTS]

    def work(waiting):
        while True:
            try:
                cell = waiting.pop()
            except IndexError:
                return
            report.append(run_until_met(world, *cell))

    workers = [threading.Thread(target=work, args=(others,)) for _ in range(threads)]
    workers += [threading.Thread(target=work, args=(with_tls,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def run_until_met(world, number, *description):
    """On a machine with too much to do the exchange before it may have taken too long."""
    for again in range(TRIES):
        result = run_one(Cell(world, f"{number}.{again}", *description))
        if result["met"] or result["problems"] or description[1] in NAME_FAULTS:
            break
    return result


def run_one(cell):
    began = time.monotonic()
    try:
        with cell:
            result = cell.run()
    except Exception:
        result = {**cell.name, "met": False, "told": cell.told, "lost": 0, "doubled": 0, "over": 0}
        result["problems"] = [*cell.problems, traceback.format_exc()]
    return {**result, "seconds": round(time.monotonic() - began, 2)}
