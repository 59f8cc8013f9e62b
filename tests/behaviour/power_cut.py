"""The power of the application's machine, of the primary's, or of both goes at any moment, and what was not
synced is gone, or is there in part, or in another order.

A scenario runs once, while libturso_faults.so writes down what it does to the disk. Between any two of these deeds the
power may go; power.py tells what a disk may look like then. Each such state is laid out, both sides are started on it, in
a new boot of the machine, and everything is looked at. States that are the same are looked at once, with the most that had
been acknowledged by then.

TURSO_TEST_CRASH=long tries every single write lost, and every outcome of one machine with every one of the other.
TURSO_TEST_SCENARIO=TEXT runs only the scenarios with that in their name.
"""

import collections
import json
import os
import random

import harness
import power
from crash_attack import LONG, ONLY
from crash_table import Table
from crash_world import Ledger, World

SHARED_AT = 16384  # Of the sidecar: src/replica/sidecar.h.
ALL_KEPT = "all kept"
State = collections.namedtuple("State", "position victim outcome application primary")


class Recording:
    """One run of a scenario, and what may be left of it at every moment."""

    def __init__(self, test, scenario):
        self.test, self.scenario = test, scenario
        name = scenario.name.replace(" ", "-").replace(",", "").replace("'", "")
        self.world = World(test.path(name), scenario.environment)
        self.world.recording = True
        self.events = []

    def make(self):
        world, scenario = self.world, self.scenario
        world.primary.data.mkdir(parents=True, exist_ok=True)
        lines = (f"record {world.record}", "quick", "boot the first")
        world.app_control.arm(world.app, *lines)
        world.primary_control.arm(world.primary.data, *lines)
        world.set_up()
        world.attempt(self.run_scenario, on_line=self.when_ready)
        if scenario.act_at_primary is not None:
            world.mark("start")
            scenario.act_at_primary(world)
            world.mark("end")
        world.end()
        world.recording = False
        self.events = power.events(world.record.read_bytes())

    def run_scenario(self, run):
        self.scenario.prepare(run)
        if self.scenario.act_at_primary is None:
            run.say("ready")
            run.wait_for_go()
            self.scenario.act(run)
            run.world.mark("end")
        return True

    def when_ready(self, line):
        if line[0] != "ready":
            return False
        if self.scenario.restarted_after is not None:
            self.world.end_primary(self.scenario.restarted_after)
        self.world.mark("start")
        if self.world.primary.process is None:
            self.world.primary.start()
        return True

    def states(self):
        """The last of those that are the same: most was acknowledged by then."""
        application, primary = power.Disk(self.world.app), power.Disk(self.world.primary.data)
        for disk in (application, primary):
            disk.names, disk.synced_names, disk.files = {}, {}, {}
        found = {}
        total = collections.Counter()
        attacked = False
        for position, event in enumerate(self.events):
            if event.kind == "mark" and event.text in ("start", "end"):
                attacked = event.text == "start"
                if attacked:
                    continue
            changes = event.kind in power.CHANGES and (
                application.below(event.path) or primary.below(event.path)
            )
            if attacked and changes or event.text == "end" and event.kind == "mark":
                total["points"] += 1
                for state in self.outcomes(position, application, primary):
                    total[state.victim] += 1
                    found[self.key(state)] = state
            application.take(event)
            primary.take(event)
        return found.values(), total

    @staticmethod
    def outcomes(position, application, primary):
        ours, theirs = list(application.outcomes(LONG)), list(primary.outcomes(LONG))
        ours_kept, theirs_kept = application.kept(), primary.kept()
        for name, files in ours:
            yield State(position, "application", name, files, theirs_kept)
        for name, files in theirs:
            yield State(position, "primary", name, ours_kept, files)
        few = None if LONG else 3
        for name, files in ours[:few]:
            for their_name, their_files in theirs[:few]:
                yield State(position, "both", f"{name}; primary's: {their_name}", files, their_files)

    @staticmethod
    def key(state):
        parts = []
        for files in (state.application, state.primary):
            for path, image in sorted(files.items()):
                if not path.endswith("-shm"):
                    # Only that of a database means something to somebody.
                    time = image.time if path.endswith(".db") else 0
                    parts.append((path, image.data, image.size, time))
        return hash(tuple(parts))

    def ledger_at(self, position):
        ledger = Ledger()
        for event in self.events[:position]:
            if event.kind == "mark" and event.text.startswith("["):
                ledger.take(json.loads(event.text))
        return ledger

    def look_at(self, state, number):
        world = self.world
        world.ledger = self.ledger_at(state.position)
        world.empty(world.app)
        world.empty(world.primary.data)
        for files in (state.application, state.primary):
            power.write_out(world.app, {p: i for p, i in files.items() if not p.endswith("-shm")})
        if state.victim != "primary" and ALL_KEPT in state.outcome:
            self.scribble(state)
        world.primary.start()
        boot = "the first" if state.victim == "primary" else f"number {number}"
        wrong, texts = world.verify(self.scenario.database, self.scenario.new_replica, boot=boot)
        world.primary.stop()
        return wrong, texts

    def scribble(self, state):
        """What the processes of an earlier boot told each other means nothing any more."""
        for path in state.application:
            if path.endswith("-turso") and os.path.getsize(path) > SHARED_AT:
                with open(path, "r+b") as sidecar:
                    sidecar.seek(SHARED_AT)
                    sidecar.write(random.Random(0).randbytes(os.path.getsize(path) - SHARED_AT))
            elif path.endswith("-shm"):
                power.write_out(self.world.app, {path: state.application[path]})

    def describe(self, state):
        event = self.events[state.position]
        what = os.path.basename(event.path)
        return f"{self.scenario.name}: {state.victim} cut before {event.kind} {what} (event {state.position}): {state.outcome}"


def cut_power(test, scenarios):
    harness.load_extension_once()  # Before the fork of an application, and used by none of us.
    table = Table("power cut")
    test.addCleanup(table.print)
    for scenario in scenarios:
        if ONLY in scenario.name:
            with test.subTest(scenario.name):
                row = table.row(scenario.name)
                cut(test, scenario, row)
                table.print_row(scenario.name, row)


def cut(test, scenario, row):
    recording = Recording(test, scenario)
    recording.make()
    states, total = recording.states()
    row.points = total["points"]
    row.outcomes = sum(total.values()) - total["points"]
    failures = []
    try:
        for number, state in enumerate(states):
            try:
                wrong, texts = recording.look_at(state, number)
            except Exception as error:
                print(f"{recording.describe(state)}: {error}", flush=True)
                raise AssertionError(recording.describe(state)) from error
            row.states += 1
            row.count(wrong)
            row.acknowledged += recording.ledger_at(state.position).acknowledged()
            row.slowest = max(row.slowest, recording.world.slowest)
            if texts:
                failures.append(f"{recording.describe(state)}: {texts}")
                print(failures[-1], flush=True)
    finally:
        recording.world.end()
    test.assertEqual([], failures)

