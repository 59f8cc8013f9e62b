#!/usr/bin/env python3
"""Reads by Python's sqlite3 and by Django's ORM: a replica beside a plain WAL file of the same rows.

Processes with the extension and a replica, and without it and with a plain file, take turns with the same questions.
A process with a replica has a thread that follows the primary. Whatever it does, a second thread alone makes libc and
the kernel take their slower paths; so the replica is set beside a plain process with an idle thread, too, and with
sync_interval=off, where there is no such thread. scripts/bench --hosts runs this.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parents[1]
sys.path[:0] = [str(TESTS / "hosts"), str(TESTS / "behaviour")]

import harness  # noqa: E402
import packages  # noqa: E402
from host import EXTENSION, HOOKS, PYTHON, plain_environment  # noqa: E402

GROUPS = 6  # Of processes: where a process has its code and its memory makes some per cent.
HOSTS = {"Python sqlite3": "python_reads.py", "Django": "django_reads.py"}


class Worker:
    def __init__(self, script, path, environment):
        self.process = subprocess.Popen(
            [PYTHON, HERE / script, path], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.workloads = self.process.stdout.readline().strip().split(",")

    def round(self, seed, workload):
        """Seconds of the processor, which other programs do not lengthen as they do those of the clock."""
        self.process.stdin.write(f"{seed} {workload}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline().split()[1])

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def make_source(path, rows):
    db = harness.sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=wal").fetchall()
    db.execute("CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL, note TEXT)")
    db.executemany(
        "INSERT INTO item VALUES (?, ?, ?, ?)",
        ((number, f"item {number}", number / 7, "x" * (number % 200)) for number in range(1, rows + 1)),
    )
    db.execute("CREATE INDEX item_name ON item(name)")
    db.commit()
    db.close()


def compare(host, plain, replica, rounds):
    found = packages.pip("python", TESTS / "hosts" / "python" / "requirements.txt")
    bare = {"PYTHONPATH": f"{HERE}:{found}"}
    hooked = {"PYTHONPATH": f"{HOOKS}/python:{HERE}:{found}", "TURSO_VFS_EXTENSION": EXTENSION}
    settings = {
        "plain": (plain, bare),
        "idle": (plain, {**bare, "BENCH_IDLE_THREAD": 1}),
        "follow": (replica, hooked),
        "off": (replica, {**hooked, "TURSO_VFS_SYNC_INTERVAL": "off"}),
    }
    taken = {}  # By workload, one dictionary a round.
    for group in range(GROUPS):
        workers = {
            name: Worker(HOSTS[host], path, plain_environment(**environment))
            for name, (path, environment) in settings.items()
        }
        for number in range(-2, rounds // GROUPS):
            order = sorted(workers, reverse=(number + group) % 2 == 1)
            for workload in workers["plain"].workloads:
                round_taken = {name: workers[name].round(number + 2, workload) for name in order}
                if number >= 0:  # The first two warm up.
                    taken.setdefault(workload, []).append(round_taken)
        for worker in workers.values():
            worker.end()
    for workload, rounds_taken in taken.items():
        milliseconds = statistics.median(each["plain"] for each in rounds_taken) * 1000
        ratios = [
            statistics.median(each[base] / each[ours] for each in rounds_taken)
            for ours, base in (("follow", "plain"), ("follow", "idle"), ("off", "plain"))
        ]
        shown = " | ".join(f"{ratio:.3f}" for ratio in ratios)
        print(f"| {host} | {workload} | {milliseconds:.1f} | {shown} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--host", choices=HOSTS, action="append", help="only this one")
    parser.add_argument("--data", required=True, help="a directory for the databases")
    arguments = parser.parse_args()
    source, plain = (os.path.join(arguments.data, name) for name in ("source.db", "plain.db"))
    make_source(source, arguments.rows)
    primary = harness.Primary(os.path.join(arguments.data, "primary"))
    primary.make_database("bench", "--from", source)
    shutil.copyfile(primary.file("bench"), plain)  # The same pages, in the same order.
    primary.start()
    try:
        replica = harness.Replica(os.path.join(arguments.data, "replica.db"), primary.url("bench"))
        replica.connect().close()
        print("Speed on a replica, by processor time; 1 is the plain file.\n")
        print("| host | reads | plain, ms a round | replica | beside a plain process with an idle thread | sync_interval=off |")
        print("|---|---|---|---|---|---|")
        for host in arguments.host or HOSTS:
            compare(host, plain, replica.path, arguments.rounds)
    finally:
        primary.stop()


if __name__ == "__main__":
    main()
