"""A long run of everything at once: see `scripts/soak --help`."""

import argparse
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "behaviour"))
import harness  # noqa: E402  (before sqlite3)
import sqlite3  # noqa: E402

import soak_board as boards  # noqa: E402
import soak_schema as schema  # noqa: E402
from soak_faults import Faults, Network  # noqa: E402
from soak_oracle import Round, Tally  # noqa: E402

BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_INTERRUPT}  # And all of their kind.
# What a writer may be told when the network or the primary are not well.
UNWELL = BUSY | {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
FULL = UNWELL | {sqlite3.SQLITE_FULL}
MOST_SENTENCES = 20


KILLS = ["kill_application", "kill_application", "kill_replica", "stop_application"]
PRIMARY = ["kill_primary", "kill_primary", "restart_primary", "stop_primary"]
NETWORK = ["bad_network", "no_network", "kill_at_a_commit", "kill_at_a_commit", "cut_at_a_commit"]


class Phase:
    """A kind of round: how many processes and threads each replica has, what is done to them, and which codes may
    come of it."""

    def __init__(self, name, shape, faults=(), codes=BUSY, kill_rate=0.0, stop_rate=0.0):
        self.name, self.shape, self.faults = name, shape, list(faults)
        self.codes, self.kill_rate, self.stop_rate = codes, kill_rate, stop_rate
        self.needs_proxy = not set(NETWORK).isdisjoint(faults)


# shape(replicas) -> for each replica (processes, threads of each)
def even(processes, threads):
    return lambda replicas: [(processes, threads)] * replicas


def crowd(replicas):
    return [(8, 8)] + [(1, 1)] * (replicas - 1)


PHASES = [
    Phase("calm", even(2, 2)),
    Phase("8 processes of 8 threads", crowd, ["kill_application"], kill_rate=0.002),
    Phase("kills of applications", even(3, 2), KILLS, BUSY, kill_rate=0.01),
    Phase("leases that end", even(2, 2), ["stop_application"], BUSY, stop_rate=0.02),
    Phase("kills of the primary", even(2, 2), PRIMARY, UNWELL),
    Phase("bad network", even(2, 2), NETWORK, UNWELL),
    Phase("no space", even(2, 2), ["no_space", "kill_application"], FULL),
    Phase("all at once", even(3, 2), KILLS + PRIMARY + NETWORK + ["no_space"], FULL, 0.003, 0.002),
]


# How a replica may be opened, while all is well and otherwise.
OPTIONS_WELL = [{}, {}, {"sync_interval": "300ms"}, {"sync_interval": "off"}]
OPTIONS_UNWELL = [{"max_staleness": "0"}, {"max_staleness": "500ms", "on_stale": "serve"}]


class Group:
    """A replica with its processes."""

    def __init__(self, replica, board):
        self.replica, self.board = replica, board
        self.processes = []  # subprocess.Popen; a place for each of the shape.
        self.threads = 0
        self.is_strict = False  # What is read is as new as the primary.

    def is_idle(self):
        return all(
            process.poll() is not None or self.board.is_idle(slot)
            for place, process in enumerate(self.processes)
            for slot in self.slots(place)
        )

    def slots(self, place):
        return list(range(place * self.threads, (place + 1) * self.threads))

    def forget(self):
        """As if it had never been: the next who opens it makes it from the primary."""
        for name in self.replica.files():
            os.unlink(os.path.join(os.path.dirname(self.replica.path), name))


class Soak:
    def __init__(self, options, directory):
        self.options = options
        self.directory = pathlib.Path(directory)
        self.random = random.Random(options.seed)
        self.total = Tally()
        self.counts = {}
        self.round = 0
        self.started = 0  # Processes, for their names.
        self.sentences = []
        self.primary = harness.Primary(self.directory / "primary")
        self.networks, self.groups = [], []
        self.sql_clients = None  # A Group without a replica, behind the others.
        self.board_slots = 64

    def count(self, kind, times=1):
        self.counts[kind] = self.counts.get(kind, 0) + times

    def names(self, replica):
        return [f"r{replica}s{slot}" for slot in range(self.board_slots)]

    # --- The whole. ---

    def set_up(self):
        self.primary.start()
        for number in range(self.options.replicas):
            network = Network(self.primary.port, self.random, self.count)
            self.networks.append(network)
            directory = self.directory / f"replica{number}"
            directory.mkdir()
            replica = harness.Replica(directory / "app.db", network.url(), timeout="3s")
            board = boards.Board(self.board_path(number), self.board_slots)
            self.groups.append(Group(replica, board))
        board = boards.Board(self.board_path(self.options.replicas), self.board_slots)
        self.sql_clients = Group(None, board)
        with self.open(self.groups[0]) as db:
            schema.make(db, [name for names in self.all_names() for name in names])
        for group in self.groups[1:]:
            self.open(group).close()

    def everybody(self):
        return [*self.groups, self.sql_clients]

    def board_path(self, number):
        return str(self.directory / f"board{number}")

    def all_names(self):
        return [self.names(number) for number in range(self.options.replicas + 1)]

    def open(self, group):
        return Checker(self.directory, group.replica)

    def run(self):
        self.set_up()
        end = time.monotonic() + self.options.minutes * 60
        phases = [p for p in PHASES if self.options.only in (None, p.name)]
        while time.monotonic() < end:
            if self.round % len(phases) == 0:
                order = list(phases)
                self.random.shuffle(order)
            try:
                self.run_round(order[self.round % len(phases)], end)
            except AssertionError as error:  # Of the harness: the primary ended badly, for one.
                self.total.violations += 1
                print(f"  FOUND: {error}", flush=True)
            self.round += 1
            if self.total.found():
                return False
        return True

    def tear_down(self):
        for group in filter(None, self.everybody()):
            for process in group.processes:
                if process.poll() is None:
                    process.kill()
                process.wait()
        self.primary.kill()
        for network in self.networks:
            network.close()

    # --- A round. ---

    def run_round(self, phase, end):
        length = min(self.options.round, max(5.0, end - time.monotonic()))
        self.phase = phase
        before = dict(self.counts)
        for number, shape in enumerate(phase.shape(self.options.replicas)):
            self.prepare(number, *shape)
        self.sql_clients.board.tell(boards.RUN)
        self.sql_clients.threads = 1
        self.sql_clients.processes = [self.start_worker(self.sql_clients, 0)]
        judged = Round()
        faults = Faults(self, phase.faults)
        faults.run(time.monotonic() + length / 2)
        self.compare_while_open(judged)
        faults.run(time.monotonic() + length / 2)
        self.end_workers()
        self.judge(judged)
        self.total.add(judged.tally)
        done = {k: v - before.get(k, 0) for k, v in self.counts.items() if v != before.get(k, 0)}
        tally = judged.tally
        print(
            f"round {self.round} ({phase.name}): {tally.acknowledged} of {tally.transactions}"
            f" acknowledged, unknown {tally.unknown_committed}+{tally.unknown_not},"
            f" refused {tally.refused}, {done}, found {tally.found()}",
            flush=True,
        )
        for sentence in judged.sentences[:MOST_SENTENCES]:
            print(f"  FOUND: {sentence[:3000]}", flush=True)
        if not tally.found():
            self.forget_round()

    def prepare(self, number, processes, threads):
        group, network = self.groups[number], self.networks[number]
        well = self.phase.codes == BUSY
        options = self.random.choice(OPTIONS_WELL if well else OPTIONS_WELL + OPTIONS_UNWELL)
        url = network.url() if self.phase.needs_proxy else self.primary.url()
        # While all is well a wait of seconds is a loaded machine's, and nothing to be told.
        timeout = "30s" if well else "3s"
        group.replica = harness.Replica(group.replica.path, url, timeout=timeout, **options)
        group.is_strict = options.get("max_staleness") == "0" and "on_stale" not in options
        if not well and self.random.random() < 0.2:
            group.forget()
            self.count("a replica made anew")
        else:
            self.open(group).close()  # Moves it to the URL.
        group.board.tell(boards.RUN)
        group.threads = threads
        group.processes = []
        for place in range(processes):
            group.processes.append(self.start_worker(group, place))

    def start_worker(self, group, place):
        number = self.everybody().index(group)
        is_sql = group is self.sql_clients
        slots = group.slots(place)
        names = self.names(number)
        self.started += 1
        settings = {
            "uri": self.primary.url() if is_sql else group.replica.uri(),
            "replica": number,
            "boards": [self.board_path(n) for n in range(len(self.everybody()))],
            "board_slots": self.board_slots,
            "board_names": self.all_names(),
            "slots": slots,
            "names": [names[slot] for slot in slots],
            "notes": str(self.directory / f"round{self.round}-{self.started:06}"),
            "round": self.round,
            "seed": f"{self.options.seed}/{self.started}",
            "kill_rate": self.phase.kill_rate,
            "stop_rate": self.phase.stop_rate,
            "is_strict": group.is_strict,
            "codes": sorted(self.phase.codes),
        }
        program = HERE / ("soak_sql_client.py" if is_sql else "soak_worker.py")
        with open(self.directory / f"worker{self.started}.output", "wb") as output:
            return subprocess.Popen(
                harness.dies_with_us([harness.PYTHON, program, json.dumps(settings)]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def look_after_workers(self):
        """Starts anew who died."""
        for group in self.everybody():
            for place, process in enumerate(group.processes):
                code = process.poll()
                if code is None:
                    continue
                if code == -signal.SIGKILL:
                    self.count("processes killed")
                else:
                    self.total.violations += 1
                    print(f"  FOUND: a worker of group {self.everybody().index(group)} ended with {code}")
                group.processes[place] = self.start_worker(group, place)

    def end_workers(self):
        for group in self.everybody():
            group.board.tell(boards.QUIT)
        deadline = time.monotonic() + 60
        for group in self.everybody():
            for process in group.processes:
                try:
                    code = process.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    self.total.violations += 1
                    print(f"  FOUND: process {process.pid} does not end", flush=True)
                    show_stacks(process.pid)
                    process.kill()
                    process.wait()
                    continue
                if code == -signal.SIGKILL:
                    self.count("processes killed")
                elif code != 0:
                    self.total.violations += 1
                    print(f"  FOUND: a worker ended with {code}", flush=True)
            group.processes = []

    # --- Its end. ---

    def judge(self, judged):
        judged.read(sorted(self.directory.glob("round*.notes")))
        copy = self.compare_all(judged)
        db = sqlite3.connect(copy)
        judged.judge(db)
        db.close()

    def compare_while_open(self, judged):
        """The processes do nothing for a moment, and have their connections open."""
        for group in self.everybody():
            group.board.tell(boards.PAUSE)
        deadline = time.monotonic() + 60
        while not all(group.is_idle() for group in self.everybody()):
            if time.monotonic() > deadline:
                judged.say("violations", "somebody does not come to rest")
                for process in [p for group in self.everybody() for p in group.processes]:
                    show_stacks(process.pid)
                break
            time.sleep(0.02)
        self.compare_all(judged)
        for group in self.everybody():
            group.board.tell(boards.RUN)

    def compare_all(self, judged):
        """A copy of the primary's file, which every replica has to be."""
        for group in self.groups:
            try:
                with self.open(group) as checker:
                    checker.converge()
            except Exception as error:
                judged.say("violations", f"{group.replica.path} does not converge: {error}")
        self.primary.stop()
        copy = self.directory / "copy.db"
        shutil.copyfile(self.primary.file(), copy)
        for group in self.groups:
            self.compare(judged, group, copy)
        self.primary.start()
        return copy

    def compare(self, judged, group, copy):
        replica = bytearray(pathlib.Path(group.replica.path).read_bytes())
        primary = bytearray(copy.read_bytes())
        replica[18] = primary[18] = 0
        if len(replica) != len(primary):
            judged.say(
                "violations", f"{group.replica.path}: {len(replica)} bytes, not {len(primary)}"
            )
        different = [
            page // 4096 + 1
            for page in range(0, min(len(replica), len(primary)), 4096)
            if replica[page : page + 4096] != primary[page : page + 4096]
        ]
        if different:
            judged.say("violations", f"{group.replica.path}: pages {different[:20]} are different")
        for path in pathlib.Path(group.replica.path).parent.iterdir():
            if ".aside-" in path.name:
                judged.say("violations", f"{path} was set aside")

    def forget_round(self):
        for pattern in ("round*.notes", "worker*.output"):
            for path in self.directory.glob(pattern):
                path.unlink()
        with self.open(self.groups[0]) as checker:
            checker.tidy()

    def report(self, minutes):
        total = self.total
        print(f"\nseed {self.options.seed}, {minutes:.1f} minutes, {self.round} rounds")
        print(f"transactions      {total.transactions}")
        print(f"acknowledged      {total.acknowledged}")
        print(f"refused at commit {total.failed_at_commit}")
        print(f"refused by code   {total.refused}")
        print(f"outslept a lease  {total.outslept}")
        print(f"outcome unknown   {total.unknown_committed} committed, {total.unknown_not} not")
        for kind, times in sorted(self.counts.items()):
            print(f"{times:7} {kind}")
        print(
            f"lost {total.lost}, doubled {total.doubled}, torn {total.torn}, violations {total.violations}"
        )


class Checker:
    """A replica, opened in a process of its own for a moment."""

    counted = 0

    def __init__(self, directory, replica):
        Checker.counted += 1
        self.client = harness.Client(directory, f"checker{Checker.counted}", replica, {})
        retry(self.client.open)
        self.sql = self.client.sql

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.client.close()
        self.client.pipe.close()
        self.client.child.finish()
        os.unlink(self.client.child.output_path)

    def execute(self, sql, parameters=()):
        return self.sql(sql, parameters)

    def executemany(self, sql, rows):
        for row in rows:
            self.sql(sql, row)

    def converge(self):
        """Has all that the primary has, in the database file."""
        retry(lambda: self.sql("SELECT turso_sync()"))
        harness.wait_until(lambda: self.sql("PRAGMA wal_checkpoint(TRUNCATE)")[0][0] == 0)
        check = self.sql("PRAGMA integrity_check")
        if check != [("ok",)]:
            raise AssertionError(f"integrity_check: {check[:3]}")

    def tidy(self):
        retry(lambda: schema.tidy(self))


def retry(action):
    """The first calls of a restarted primary, and of a replica with a commit to settle, may be refused."""
    for turn in range(20):
        try:
            return action()
        except harness.RemoteSqlError:
            if turn == 19:
                raise
            time.sleep(0.3)


def show_stacks(pid):
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 12"],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        print(done.stdout[-20000:], flush=True)


def parse(arguments):
    parser = argparse.ArgumentParser(prog="scripts/soak", description=DESCRIPTION)
    parser.add_argument("--minutes", type=float, default=10, help="how long (10)")
    parser.add_argument("--seed", type=int, help="which choices are made; printed")
    parser.add_argument("--replicas", type=int, default=3, help="of the one primary (3)")
    parser.add_argument("--round", type=float, default=45, help="seconds between two checks (45)")
    parser.add_argument("--only", choices=[p.name for p in PHASES], help="only rounds of this kind")
    parser.add_argument("--directory", help="where the databases are; a temporary one by default")
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(2**32)
    return options


DESCRIPTION = """A primary and replicas with many processes and threads each, which write, read and check; they, the
primary and the network are killed, stopped and harmed at random. What each writer was told is kept outside of the
database. At the end of every round all is compared: no acknowledged transaction is missing, none is there twice or in
part, nothing refused is there, histories are serializable, and every replica is the primary byte for byte. Exits with 1
if anything was found, and leaves the directory then."""


def run(arguments):
    """The Soak, with its counts, and whether nothing was found."""
    options = parse(arguments)
    directory = tempfile.mkdtemp(prefix="turso-soak-", dir=options.directory)
    print(f"seed {options.seed}, in {directory}", flush=True)
    soak = Soak(options, directory)
    start = time.monotonic()
    good = False
    try:
        good = soak.run() and not soak.total.found()
    finally:
        soak.tear_down()
        soak.report((time.monotonic() - start) / 60)
        if good:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(f"what is left of it: {directory}", flush=True)
    return soak, good


def main(arguments):
    _soak, good = run(arguments)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
