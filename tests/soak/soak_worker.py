"""A process of a soak: some threads that write, read, check what they read, and note what they were told.

    soak_worker.py JSON      what it is told: see `Settings`

It ends when its board says so, or when it is killed, which it does to itself now and then in the middle of a commit."""

import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "behaviour"))
import harness  # noqa: E402  (before sqlite3)
import sqlite3  # noqa: E402

import soak_board as boards  # noqa: E402
import soak_schema as schema  # noqa: E402

FAILED_BEFORE = "before"  # It did not come as far as its commit.


class Settings:
    """uri         of the replica
    boards      their files, of all replicas, and the number of this one's
    slots       numbers of ours on our board, one for each thread, and the number of slots of a board
    names       of those slots, all over the soak
    notes       the beginning of our notebooks' names
    kill_rate   of commits in which we kill ourselves
    stop_rate   of commits before which we stop for longer than a lease lasts
    codes       that may come
    is_strict   whether every read is as new as the primary
    """

    def __init__(self, text):
        self.__dict__.update(json.loads(text))


class Wrong(Exception):
    """A promise was broken."""


class Worker:
    """One thread."""

    def __init__(self, settings, index, all_boards):
        self.settings = settings
        self.slot = settings.slots[index]
        self.name = settings.names[index]
        self.boards = all_boards
        self.board = all_boards[settings.replica]
        self.random = random.Random(f"{settings.seed}/{self.name}")
        self.notes = boards.Notebook(f"{settings.notes}-{index}.notes")
        self.db = None
        self.second = None
        self.number = 0
        self.seen = {}  # Of each slot the newest transaction that was seen.
        self.codes = frozenset(settings.codes)

    # --- Its life. ---

    def run(self):
        try:
            while True:
                command = self.board.command()
                if command == boards.QUIT:
                    break
                if command == boards.PAUSE:
                    self.board.set_idle(self.slot, True)
                    time.sleep(0.02)
                    continue
                self.board.set_idle(self.slot, False)
                self.step()
            for connection in (self.db, self.second):
                if connection is not None:
                    connection.close()
        except Wrong as wrong:
            self.notes.note("wrong", self.name, self.number, str(wrong))
        except Exception as error:  # Everything unexpected is a finding.
            self.notes.note("wrong", self.name, self.number, f"{type(error).__name__}: {error}")
        self.board.set_idle(self.slot, True)

    def step(self):
        try:
            if self.db is None:
                self.db = self.connect()
            self.choose()()
        except sqlite3.Error as error:
            self.refused(error)

    def connect(self):
        db = sqlite3.connect(
            self.settings.uri,
            uri=True,
            isolation_level=None,
            timeout=self.random.choice([0, 0.05, 1, 5]),
            check_same_thread=False,
        )
        chance = self.random.choice
        db.execute(f"PRAGMA cache_size={chance([5, 20, -2000])}")
        db.execute(f"PRAGMA wal_autocheckpoint={chance([0, 50, 1000])}")
        db.execute(f"PRAGMA synchronous={chance(['off', 'normal', 'full', 'full'])}")
        db.execute(f"PRAGMA mmap_size={chance([0, 0, 1 << 28])}")
        return db

    def choose(self):
        kinds = [
            (30, self.transfer),
            (25, self.append),
            (10, self.one_statement),
            (8, self.big),
            (8, self.savepoints),
            (5, self.rolled_back),
            (3, self.interrupted),
            (20, self.read),
            (6, self.read_after_sync),
            (3, self.checkpoint),
            (2, self.reopen),
            (3, self.change_schema),
            (0.3, self.vacuum),
        ]
        return self.random.choices([k for _, k in kinds], [w for w, _ in kinds])[0]

    def refused(self, error):
        """A code of the contract, or a finding. What of the transaction is still there is rolled back."""
        code = harness.error_code(error)
        if code not in self.codes and code & 0xFF not in self.codes:
            raise Wrong(f"{harness.error_name(error)} ({code}): {error}: {self.last_error()}")
        self.notes.note("refused", code)
        if self.db is not None and self.db.in_transaction:
            self.db.execute("ROLLBACK")
        time.sleep(self.random.random() * 0.02)

    def last_error(self):
        return harness.last_error(self.db) if self.db is not None else None

    # --- Transactions that write. ---

    def begin(self):
        self.number = self.board.next_number(self.slot)
        self.db.execute(self.random.choice(["BEGIN", "BEGIN", "BEGIN IMMEDIATE"]))

    def mark(self, parts=1, size=20):
        mark = (self.name, self.number)
        for part in range(parts):
            self.db.execute(
                "INSERT INTO parts VALUES(?, ?, ?, randomblob(?))", (*mark, part, size)
            )
        self.db.execute("INSERT INTO marks VALUES(?, ?, ?)", (*mark, parts))

    def commit(self, kind, operations=(), sql="COMMIT", parameters=()):
        if self.random.random() < self.settings.kill_rate:
            self.die_soon()
        if self.random.random() < self.settings.stop_rate:
            self.outsleep_the_lease()
        self.notes.note("try", self.name, self.number, kind, operations)
        try:
            self.db.execute(sql, parameters)
        except sqlite3.Error as error:
            unknown = harness.error_code(error) == harness.OUTCOME_UNKNOWN
            self.notes.note("end", self.name, self.number, "unknown" if unknown else "failed")
            raise
        self.notes.note("end", self.name, self.number, "ok")
        self.board.acknowledge(self.slot, self.number)
        if self.random.random() < 0.3:
            self.read_own_write()

    def die_soon(self):
        delay = self.random.random() ** 2 * 0.02

        def die():
            time.sleep(delay)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=die, daemon=True).start()

    def outsleep_the_lease(self):
        """The whole process stops in the middle of the transaction, and others write meanwhile."""
        self.notes.note("stopped")
        subprocess.Popen(["/bin/sh", "-c", f"sleep 3; kill -CONT {os.getpid()}"])
        os.kill(os.getpid(), signal.SIGSTOP)

    def transfer(self):
        self.begin()
        source, target = self.random.sample(range(schema.ACCOUNTS), 2)
        balance = "SELECT balance FROM accounts WHERE id = ?"
        have = self.db.execute(balance, (source,)).fetchone()[0]
        other = self.db.execute(balance, (target,)).fetchone()[0]
        amount = self.random.randint(0, have)
        update = "UPDATE accounts SET balance = ? WHERE id = ?"
        self.db.execute(update, (have - amount, source))
        self.db.execute(update, (other + amount, target))
        self.mark()
        self.commit("transfer")

    def append(self):
        self.begin()
        operations = []
        for position in range(self.random.randint(1, 4)):
            key = f"{self.settings.round}/{self.random.randrange(6)}"
            items = self.items(key)
            while len(items) >= 50:
                key += "+"
                items = self.items(key)
            operations.append(("read", key, items))
            if self.random.random() < 0.6:
                value = f"{self.name}/{self.number}/{position}"
                operations.append(("append", key, value))
                self.db.execute(
                    "INSERT INTO lists VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET items = items || ?2",
                    (key, value + " "),
                )
        self.mark()
        self.commit("append", operations)

    def items(self, key):
        row = self.db.execute("SELECT items FROM lists WHERE key = ?", (key,)).fetchone()
        return row[0].split() if row else []

    def one_statement(self):
        self.number = self.board.next_number(self.slot)
        self.commit(
            "one statement", (), "INSERT INTO marks VALUES(?, ?, 0)", (self.name, self.number)
        )

    def big(self):
        """More than the cache holds: pages are spilled into the log before the commit."""
        self.begin()
        first = self.random.randrange(schema.BLOBS)
        count = self.random.choice([10, 40, schema.BLOBS])
        size = self.random.choice([10, 3000, 9000])
        self.db.execute(
            "UPDATE blobs SET version = version + 1, content = randomblob(?1)"
            " WHERE id BETWEEN ?2 AND ?3",
            (size, first, first + count),
        )
        self.mark(self.random.choice([1, 30]), self.random.choice([10, 2000]))
        self.commit("big")

    def savepoints(self):
        self.begin()
        for _ in range(self.random.randint(1, 3)):
            self.db.execute("SAVEPOINT s")
            self.lose(self.random.choice([1, 50]))
            self.db.execute("ROLLBACK TO s")
            self.db.execute("RELEASE s")
        self.mark()
        if self.random.random() < 0.5:
            self.db.execute("SAVEPOINT s")
            self.lose(self.random.choice([1, 50]))
            self.db.execute("ROLLBACK TO s")
        self.commit("savepoints")

    def lose(self, rows):
        """Writes what nobody may ever see."""
        for part in range(rows):
            self.db.execute(
                "INSERT INTO parts VALUES(?, ?, ?, randomblob(500))",
                (self.name, -self.number, part),
            )
        self.db.execute("UPDATE accounts SET balance = balance + 7 WHERE id % 3 = 0")

    def rolled_back(self):
        self.begin()
        self.lose(self.random.choice([1, 200]))
        self.db.execute("ROLLBACK")

    def interrupted(self):
        """By another thread, in a big transaction, in its commit, or too late: then it hits what comes next."""
        db = self.db

        def interrupt():
            with contextlib.suppress(sqlite3.Error):  # It may be closed by then.
                db.interrupt()

        threading.Timer(self.random.random() * 0.05, interrupt).start()
        self.big()

    def change_schema(self):
        self.begin()
        table = f"extra_{self.random.randrange(3)}"
        there = self.db.execute(
            "SELECT count(*) FROM sqlite_schema WHERE name = ?", (table,)
        ).fetchone()[0]
        if not there:
            self.db.execute(f"CREATE TABLE {table}(a INTEGER PRIMARY KEY, b)")
            self.db.execute(f"CREATE INDEX {table}_b ON {table}(b)")
            self.db.execute(f"INSERT INTO {table}(b) SELECT hex(randomblob(20)) FROM blobs")
        elif self.random.random() < 0.5:
            self.db.execute(f"DROP TABLE {table}")
        else:
            columns = len(self.db.execute(f"PRAGMA table_info({table})").fetchall())
            self.db.execute(f"ALTER TABLE {table} ADD COLUMN c{columns} DEFAULT {columns}")
        self.mark()
        self.commit("schema")

    def vacuum(self):
        self.db.execute("VACUUM")

    # --- Reading. ---

    def read_own_write(self):
        if self.second is None:
            self.second = self.connect()
        sql = "SELECT newest FROM counters WHERE slot = ?"
        newest = self.second.execute(sql, (self.name,)).fetchone()[0]
        if newest < self.number:
            raise Wrong(f"its own commit is not read in another connection, which reads {newest}")

    def read(self):
        """One snapshot, held for a while: whole, not older than what any process here was told of, and unchanged."""
        told = self.all_told(self.settings.is_strict)
        self.db.execute("BEGIN")
        counters = self.check_snapshot(self.random.random() < 0.1)
        self.check_told(told, counters)
        for name, newest in self.seen.items():
            if counters[name] < newest:
                raise Wrong(f"went back from {name}/{newest} to {counters[name]}")
        self.seen = counters
        if self.random.random() < 0.5:
            time.sleep(self.random.random() ** 3 * 1.5)
            if self.check_snapshot() != counters:
                raise Wrong("a snapshot changed while it was open")
        self.db.execute("COMMIT")

    def check_snapshot(self, whole=False):
        found = schema.violations(self.db, whole)
        if found:
            raise Wrong("; ".join(found))
        if whole and self.random.random() < 0.3:
            check = self.db.execute("PRAGMA integrity_check").fetchall()
            if check != [("ok",)]:
                raise Wrong(f"integrity_check: {check[:3]}")
        return dict(self.db.execute("SELECT slot, newest FROM counters"))

    def read_after_sync(self):
        """All that any replica was told of before is there after a sync."""
        told = self.all_told(True)
        self.db.execute("SELECT turso_sync()").fetchall()
        self.check_told(told, dict(self.db.execute("SELECT slot, newest FROM counters")))

    def all_told(self, everywhere):
        """What was acknowledged until now, by replica: of ours only or of all."""
        return {
            number: board.all_acked()
            for number, board in enumerate(self.boards)
            if everywhere or board is self.board
        }

    def check_told(self, told, counters):
        for replica, newest in told.items():
            for name, number in zip(self.settings.board_names[replica], newest):
                if counters[name] < number:
                    raise Wrong(
                        f"{name}/{number} was acknowledged and is not read: {counters[name]}"
                    )

    def checkpoint(self):
        mode = self.random.choice(["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
        self.db.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()

    def reopen(self):
        for connection in (self.db, self.second):
            if connection is not None:
                connection.close()
        self.db = self.second = None


def trim_log():
    while True:
        time.sleep(5)
        for code, text in harness.sqlite_log:
            print(f"{time.time():.3f} ({code}) {text}", flush=True)
        harness.sqlite_log.clear()


def main():
    settings = Settings(sys.argv[1])
    all_boards = [boards.Board(path, settings.board_slots) for path in settings.boards]
    harness.load_extension()
    workers = [Worker(settings, index, all_boards) for index in range(len(settings.slots))]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    threading.Thread(target=trim_log, daemon=True).start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
