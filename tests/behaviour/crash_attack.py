"""Kills the application or the primary at every system call of a scenario, and checks after each death that nothing
acknowledged is lost, nothing is done twice or by half, and all goes on.

Exhaustive: the scenario is run dying at its first call, at its second, and so on, until it comes to its end untouched. A
call that leaves nothing behind (a read, a lock: gone with the process) is died at before it; one that does, on either side
of it. With TURSO_TEST_CRASH=long every call is died at on either side. Where threads race, a call
has another number in each run: those that were missed so are died at by their names.

TURSO_TEST_SCENARIO=TEXT runs only the scenarios with that in their name.
"""

import collections
import os
import re
import time

import crash_scenarios
import faults
import harness
import power
from crash_table import Table
from crash_world import World

LONG = os.environ.get("TURSO_TEST_CRASH") == "long"
ONLY = os.environ.get("TURSO_TEST_SCENARIO", "")
LEAVES_NOTHING = frozenset(
    "pread read stat fstat access getlock recv accept mmap lock unlock close fsync fdatasync".split()
)
SIDES = ("before", "after")
UNTOUCHED_IN_A_ROW = 2  # The calls of two runs are not always as many.
TRIES_AT_A_NAME = 3


def leaves_something(name):
    return name.lstrip("~").split(" ")[0] not in LEAVES_NOTHING


def numbered_of_their_name(names):
    """Names as patterns: numbers and random parts are others in the next run."""
    counts = collections.Counter()
    numbered = []
    for name in (re.sub(r"(?<=\.create-)\w+|\d+", "*", name) for name in names):
        counts[name] += 1
        numbered.append((name, counts[name]))
    return numbered


class Attack:
    """One scenario, one victim."""

    world_kind = World
    everywhere = True  # Else only where a call leaves something behind, on either side of it.

    def __init__(self, test, scenario, victim, row):
        self.test, self.scenario, self.victim, self.row = test, scenario, victim, row
        name = f"{victim}-{scenario.name}".replace(" ", "-").replace(",", "").replace("'", "")
        self.world = self.world_kind(test.path(name), scenario.environment)
        self.log = self.world.directory / "points"
        self.plan = []
        self.died = False
        # Calls, by their name and which of that name: those that some run came to; those that were died at, and on
        # which side.
        self.seen, self.died_at = set(), set()
        # What the primary's machine loses with its power, if it is to: the disk since the last start.
        self.cut = None

    def run(self):
        try:
            self.world.set_up()
            self.attempt()
            self.seen.update(numbered_of_their_name(faults.points(self.log)))
            self.verify("untouched")
            if self.everywhere or LONG:
                self.die_at_every_call()
            self.die_at_what_was_missed()
        finally:
            self.world.end()
            self.row.acknowledged += self.world.ledger.acknowledged()
            self.row.slowest = max(self.row.slowest, self.world.slowest)

    def die_at_every_call(self):
        number, untouched = 1, 0
        while untouched < UNTOUCHED_IN_A_ROW:
            untouched = 0 if self.die_at(number) else untouched + 1
            number += 1

    def die_at_what_was_missed(self):
        """Of what leaves something behind: threads race, so that a call may have another number in each run."""
        missed = {
            (side, *call) for side in SIDES for call in self.seen if leaves_something(call[0])
        } - self.died_at
        for side, name, nth in sorted(missed):
            any(self.die_at(nth, name, [side]) for _ in range(TRIES_AT_A_NAME))
        # Whatever is done is written down somewhere, or sent to somebody.
        effects = {name for _, name, _ in self.died_at if leaves_something(name)}
        self.test.assertTrue(effects, f"{self.scenario.name}: nothing was attacked")

    def die_at(self, number, name="", sides=SIDES):
        """At the call of that number, of those of that name if there is one. False if the scenario has no such call."""
        died = False
        for side in sides:
            lived = self.attempt(side, number, name)
            passed = faults.points(self.log)
            numbered = numbered_of_their_name(passed)
            self.seen.update(numbered)
            met = (name, number) if name else numbered[number - 1] if len(passed) >= number else ("the end", 0)
            self.verify(f"{self.victim} killed {side} call {number}, {met[0]}")
            if lived:
                break
            died = True
            self.row.points += 1
            self.died_at.add((side, *met))
            if not LONG and not leaves_something(met[0]):
                break
        return died

    def arm(self):
        control, directory = (
            (self.world.app_control, self.world.app)
            if self.victim == "application"
            else (self.world.primary_control, self.world.primary.data)
        )
        control.arm(directory, f"log {self.log}", "quick", *self.plan)

    def disarm(self):
        self.world.app_control.disarm()
        self.world.primary_control.disarm()

    def attempt(self, side="before", number=1 << 30, name=""):
        """True if nobody died."""
        self.plan = [f"kill {side} {number} {name}".rstrip()]
        self.log.unlink(missing_ok=True)
        if self.scenario.new_replica:
            self.world.empty(self.world.app)
        self.died = False
        if self.scenario.act_at_primary is not None:
            return self.attempt_at_primary()
        if self.victim == "application":
            lived = self.world.attempt(self.attacked_application) is not None
            self.disarm()
            return lived
        self.world.attempt(
            self.application_beside_attacked_primary,
            on_line=self.when_ready,
            watch_primary=self.restart_primary,
        )
        self.disarm()
        passed = numbered_of_their_name(faults.points(self.log))
        if not self.died and (len(passed) >= number if name == "" else (name, number) in passed):
            self.restart_primary()  # It died of the very last thing that it did.
        return not self.died

    def attempt_at_primary(self):
        self.world.attempt(self.prepare_only)
        self.before_arming()
        self.arm()
        lived = self.scenario.act_at_primary(self.world)
        if lived:
            self.disarm()
            self.world.primary.start()
        else:
            self.after_death()
        return lived

    def prepare_only(self, run):
        self.scenario.prepare(run)
        return True

    def attacked_application(self, run):
        self.scenario.prepare(run)
        self.arm()
        self.scenario.act(run)
        self.disarm()
        return True

    def application_beside_attacked_primary(self, run):
        self.scenario.prepare(run)
        run.say("ready")
        run.wait_for_go()
        self.scenario.act(run)
        self.disarm()
        # It lives on, and so does what it does.
        if run.db is not None:
            deadline = time.monotonic() + 60
            while not run.commit("small"):
                if time.monotonic() > deadline:
                    raise AssertionError(f"no write succeeds any more: {harness.last_error(run.db)}")
        return True

    def when_ready(self, line):
        if line[0] != "ready":
            return False
        if self.scenario.restarted_after is not None:
            self.world.end_primary(self.scenario.restarted_after)
        self.before_arming()
        self.arm()
        if self.world.primary.process is None and not self.world.start_to_die():
            self.died = True
            self.after_death()
        return True

    def before_arming(self):
        pass

    def after_death(self):
        self.disarm()
        self.world.primary.start()

    def restart_primary(self):
        self.died = True
        self.world.primary_has_died()
        self.after_death()

    def verify(self, what):
        try:
            wrong, texts = self.world.verify(self.scenario.database, self.scenario.new_replica)
        except Exception as error:
            print(f"{self.scenario.name}: {what}: {error}", flush=True)
            raise AssertionError(f"{self.scenario.name}: {what}") from error
        self.row.count(wrong)
        if texts:
            print(f"{self.scenario.name}: {what}: {texts}", flush=True)
        self.test.assertEqual([], texts, f"{self.scenario.name}: {what}")


class AttackWithPowerCut(Attack):
    """Of the primary's machine, while the application lives on: what was not synced is gone."""

    def __init__(self, test, scenario, victim, row):
        super().__init__(test, scenario, victim, row)
        self.record = self.world.directory / "primary.record"

    def before_arming(self):
        # All that was done before is on the disk: it was long ago. But not what it does behind an answer, such as a
        # checkpoint: files that are read meanwhile are of no one moment.
        self.record.unlink(missing_ok=True)
        if self.world.primary.process is not None:
            self.world.primary.pause()
        self.cut = power.Disk(self.world.primary.data)

    def arm(self):
        self.plan = [f"record {self.record}", *self.plan]
        super().arm()
        if self.world.primary.process is not None:
            self.world.primary.resume()

    def after_death(self):
        if self.record.exists():
            for event in power.events(self.record.read_bytes()):
                self.cut.take(event)
        files = dict(self.cut.outcomes())["nothing unsynced kept"]
        self.world.empty(self.world.primary.data)
        power.write_out(
            self.world.primary.data, {p: i for p, i in files.items() if not p.endswith("-shm")}
        )
        super().after_death()


def attack(test, victim, kind=None, scenarios=crash_scenarios.EVERY, title=None):
    """Every scenario in which `victim` may die."""
    harness.load_extension_once()  # Before the fork of an application, and used by none of us.
    table = Table(title or f"{victim} killed")
    test.addCleanup(table.print)
    for scenario in scenarios:
        if victim not in scenario.victims or ONLY not in scenario.name:
            continue
        with test.subTest(scenario.name):
            row = table.row(scenario.name)
            (kind or Attack)(test, scenario, victim, row).run()
            table.print_row(scenario.name, row)
