"""Many faults of the network in a row, while an application does what applications do."""

import random
import sqlite3
import threading
import time

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


def run_storms(directory, port, seeds, duration, report):
    """In a process of its own, all at once."""
    world = World(directory, port)

    def work(seed):
        report.append(run_one(Storm(world, f"storm{seed}", seed, duration)))

    workers = [threading.Thread(target=work, args=(seed,)) for seed in seeds]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
