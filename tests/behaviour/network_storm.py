"""Many faults of the network in a row, while an application does what applications do."""

import os
import random
import signal
import sqlite3
import threading
import time

import libsql_primary
from network_cells import AFTER_READ, AT_QUESTION, AT_WRITE, Cell, World, run_one
from network_faults import EXCHANGE_FAULTS, TIMEOUT


class Storm(Cell):
    """Every exchange may meet a fault, another one each time, while the application does this and that."""

    RATE = 0.25

    def __init__(self, world, number, seed, duration):
        super().__init__(world, number, "turso_sync: pull", "answer lost", False)
        self.lasting = True  # Each exchange has its deadline.
        self.random = random.Random(seed)
        self.duration = duration
        self.faults = [fault for fault in EXCHANGE_FAULTS.values() if fault.timeout == TIMEOUT]
        self.name = {"step": "storm", "fault": f"seed {seed}", "lasting": False}

    def disturb(self, call):
        if self.armed and self.random.random() < self.RATE:
            self.met = True
            return self.random.choice(self.faults).act
        return None

    def run(self):
        self.ask_primary("CREATE TABLE t(marker, padding)")
        self.prepare(sync_interval=self.random.choice(["off", "follow", "300ms"]))
        self.armed = True
        deadline, number = time.monotonic() + self.duration, 0
        while time.monotonic() < deadline:
            number += 1
            self.random.choice(self.DEEDS)(self, f"storm {number}")
        self.lift()
        self.look_at_what_follows()
        return self.result()

    def insert_one(self, marker):
        self.write(marker, AT_WRITE | {sqlite3.SQLITE_BUSY})

    def transact(self, marker):
        codes = AFTER_READ | {sqlite3.SQLITE_BUSY}
        begin = self.random.choice(["BEGIN", "BEGIN IMMEDIATE"])
        code = self.attempt(lambda: self.db.execute(begin), codes)
        if code is None:
            self.attempt(self.read, ())
            code = self.write(marker, codes)
        if code is None:
            code = self.outcomes[marker] = self.attempt(lambda: self.db.execute("COMMIT"), AT_WRITE)
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")

    def read(self):
        self.db.execute("SELECT count(*) FROM t").fetchall()

    def write_away(self, marker):
        self.write_elsewhere(marker)

    def ask(self, _marker):
        # BUSY: the replica moved each time while it pulled.
        codes = AT_QUESTION | {sqlite3.SQLITE_BUSY}
        self.attempt(lambda: self.db.execute("SELECT turso_sync()").fetchall(), codes)

    def reopen(self, _marker):
        self.attempt(self.db.close, ())
        self.attempt(lambda: self.use(self.replica()), ())

    DEEDS = [insert_one, insert_one, transact, transact, write_away, ask, reopen]


class LibsqlStorm(Storm):
    """On a replica of a libSQL server, which goes away now and then."""

    EXCHANGES_MAX = 4  # Of one operation, each with a deadline of its own.
    # That the server was started anew is found at the commit.
    AGAIN = frozenset({sqlite3.SQLITE_BUSY_SNAPSHOT})
    # sqld keeps its slot for five seconds for each that is gone, one after the other.
    TRIES = 40
    ARRIVAL = 120

    def __init__(self, world, number, seed, duration, kind):
        super().__init__(world, number, seed, duration)
        self.database = ""
        self.server = libsql_primary.KINDS[kind](os.path.join(world.directory, f"server{number}"))

    def __enter__(self):
        self.server.start()
        return super().__enter__()

    def __exit__(self, *arguments):
        super().__exit__(*arguments)
        self.server.kill()

    def make_proxy(self, _tls):
        return libsql_primary.proxy_before(self.server)

    @property
    def port(self):
        return self.server.port

    def look_at_time(self, began, ended, limit, lost):
        if limit is None:
            limit = self.EXCHANGES_MAX * self.fault.timeout
        super().look_at_time(began, ended, limit, lost)

    def write_while_nobody_listens(self, marker):
        self.proxy.down()
        self.insert_one(marker)
        self.attempt(self.read, ())
        self.proxy.up()

    def write_while_it_is_stopped(self, marker):
        os.kill(self.server.process.pid, signal.SIGSTOP)
        self.insert_one(marker)
        self.attempt(self.read, ())
        os.kill(self.server.process.pid, signal.SIGCONT)

    def restart(self, _marker):
        self.server.restart()

    def crash(self, _marker):
        self.server.crash()

    DEEDS = [*Storm.DEEDS * 2, write_while_nobody_listens, write_while_it_is_stopped, restart, crash]


def run_storms(directory, port, seeds, duration, report):
    """In a process of its own, all at once."""
    world = World(directory, port)
    run_all([Storm(world, f"storm{seed}", seed, duration) for seed in seeds], report)


def run_libsql_storms(directory, kind, seeds, duration, report):
    world = World(directory, None)
    run_all([LibsqlStorm(world, f"storm{seed}", seed, duration, kind) for seed in seeds], report)


def run_all(storms, report):
    def work(storm):
        report.append(run_one(storm))

    workers = [threading.Thread(target=work, args=(storm,)) for storm in storms]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
