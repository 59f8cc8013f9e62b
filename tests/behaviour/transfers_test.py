"""P1: whatever three replicas with two processes each do at once, no money is made or lost, and no update is lost."""

import random
import sqlite3
import time

from harness import RETRY_CODES, BehaviourTest, error_code, error_name, main, seconds, seeded_random

ACCOUNTS = 20
START_BALANCE = 1000
PROCESSES_PER_REPLICA = 2


class Transferer:
    """One process: it moves money, counts what it was told was committed, and checks every snapshot that it reads."""

    def __init__(self, replica, name, seed, report):
        self.name = name
        self.random = random.Random(seed)
        self.report = report
        self.db = replica.connect()
        self.committed = 0
        self.refused = {}
        self.newest_total = 0

    def run(self, duration):
        deadline = time.monotonic() + duration
        while time.monotonic() < deadline or not self.everybody_has_committed():
            if self.random.random() < 0.3:
                self.check_snapshot()
            try:
                self.transfer()
            except sqlite3.Error as error:
                self.note_refusal(error)
        self.check_snapshot()
        self.db.close()
        self.report.append(
            {"name": self.name, "committed": self.committed, "refused": self.refused}
        )

    def transfer(self):
        source, target = self.random.sample(range(ACCOUNTS), 2)
        self.db.execute(self.random.choice(["BEGIN", "BEGIN IMMEDIATE"]))
        balance = self.balance(source)
        amount = self.random.randint(0, balance)
        target_balance = self.balance(target)
        mine, total = self.counters()
        self.db.execute("UPDATE accounts SET balance = ? WHERE id = ?", (balance - amount, source))
        self.db.execute(
            "UPDATE accounts SET balance = ? WHERE id = ?", (target_balance + amount, target)
        )
        self.db.execute("UPDATE counters SET n = ? WHERE process = ?", (mine + 1, self.name))
        self.db.execute("UPDATE counters SET n = ? WHERE process = 'all'", (total + 1,))
        self.db.execute("COMMIT")
        self.committed += 1

    def note_refusal(self, error):
        name = error_name(error)
        self.refused[name] = self.refused.get(name, 0) + 1
        if error_code(error) not in RETRY_CODES:
            self.report.append({"name": self.name, "unexpected": f"{name}: {error}"})
            raise error
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        time.sleep(self.random.random() * 0.003)

    def balance(self, account):
        return self.db.execute("SELECT balance FROM accounts WHERE id = ?", (account,)).fetchone()[
            0
        ]

    def counters(self):
        rows = dict(
            self.db.execute(
                "SELECT process, n FROM counters WHERE process IN (?, 'all')", (self.name,)
            )
        )
        return rows[self.name], rows["all"]

    def everybody_has_committed(self):
        return self.db.execute("SELECT min(n) FROM counters").fetchone()[0] > 0

    def check_snapshot(self):
        self.db.execute("BEGIN")
        check_invariants(self.db)
        mine, total = self.counters()
        self.db.execute("COMMIT")
        assert mine == self.committed, f"{self.name} committed {self.committed} and reads {mine}"
        assert (
            total >= self.newest_total
        ), f"{self.name} went back from {self.newest_total} to {total}"
        self.newest_total = total


def check_invariants(db):
    money, lowest = db.execute("SELECT sum(balance), min(balance) FROM accounts").fetchone()
    assert money == ACCOUNTS * START_BALANCE, f"there is {money} in the bank"
    assert lowest >= 0, f"an account has {lowest}"
    parts, total = db.execute(
        "SELECT sum(n) FILTER (WHERE process <> 'all'), sum(n) FILTER (WHERE process = 'all')"
        " FROM counters"
    ).fetchone()
    assert parts == total, f"the processes committed {parts}, all together {total}"


def run_transferer(replica, name, seed, report, duration):
    Transferer(replica, name, seed, report).run(duration)


class Transfers(BehaviourTest):
    def test_money_is_conserved_and_no_update_is_lost(self):
        generator = seeded_random("transfers")
        primary = self.primary()
        replicas = [self.replica(primary, f"replica{number}") for number in range(3)]
        names = [
            f"{number}-{process}" for number in range(3) for process in range(PROCESSES_PER_REPLICA)
        ]
        self.make_bank(self.open(replicas[0]), names)
        report = self.report("transfers")

        children = [
            self.spawn(
                name,
                run_transferer,
                replicas[int(name[0])],
                name,
                generator.random(),
                report,
                seconds(20),
            )
            for name in names
        ]
        # Who is starved keeps all from their end, and the others go on to be in its way.
        for child in children:
            child.finish(timeout=seconds(20) + 180)

        lines = report.read()
        print(*lines, sep="\n")
        self.assertEqual([], [line for line in lines if "unexpected" in line])
        committed = {line["name"]: line["committed"] for line in lines}
        self.assertEqual(set(names), set(committed))
        self.check_the_primary(primary, committed)

    def make_bank(self, db, names):
        db.execute("BEGIN IMMEDIATE")
        db.execute("CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)")
        db.execute("CREATE TABLE counters(process TEXT PRIMARY KEY, n INTEGER NOT NULL)")
        db.executemany(
            "INSERT INTO accounts VALUES(?, ?)", [(n, START_BALANCE) for n in range(ACCOUNTS)]
        )
        db.executemany("INSERT INTO counters VALUES(?, 0)", [(name,) for name in [*names, "all"]])
        db.execute("COMMIT")

    def check_the_primary(self, primary, committed):
        primary.stop()
        db = self.keep(primary.open_file())
        check_invariants(db)
        counters = dict(db.execute("SELECT process, n FROM counters WHERE process <> 'all'"))
        self.assertEqual(committed, counters)
        self.assertEqual([("ok",)], db.execute("PRAGMA integrity_check").fetchall())


if __name__ == "__main__":
    main()
