"""SQLite's other test programs, each through plain SQLite or with its database a replica: several processes (mptester),
several threads (threadtest3), much work (speedtest1, kvtest)."""

import dataclasses
import re
import time

import one_file

MULTI_PROCESS = ["{programs}/mptester", "test.db", "--journalmode", "wal", "--timeout", "{patience}"]


@dataclasses.dataclass
class Program:
    name: str
    commands: list  # Run one after the other in one directory; all must end with 0.
    # How many errors the output counts, and out of how many tests. A program without them passes by its exit code.
    counts: str = None
    # At least so many must have run: mptester ends well also if it ran none. Of 94 and 81 it may not count the last ones
    # of each client.
    tests: int = 0


PROGRAMS = [
    Program("mptester crash01", [[*MULTI_PROCESS, "{source}/mptest/crash01.test"]],
            r"Summary: (\d+) errors out of (\d+) tests", 90),
    Program("mptester multiwrite01", [[*MULTI_PROCESS, "{source}/mptest/multiwrite01.test"]],
            r"Summary: (\d+) errors out of (\d+) tests", 72),
    *[Program(f"threadtest3 {name}", [["{programs}/threadtest3", name]], r"(\d+) errors out of (\d+) tests", 1)
      for name in ("walthread1", "walthread2", "walthread3", "walthread4", "walthread5")],
    Program("speedtest1", [["{programs}/speedtest1", "--journal", "wal", "--size", "{size}", "test.db"]]),
    Program("kvtest", [["{programs}/kvtest", "init", "test.db", "--count", "2000", "--size", "10000"],
                       ["{programs}/kvtest", "run", "test.db", "--count", "20000", "--random"],
                       ["{programs}/kvtest", "run", "test.db", "--count", "2000", "--update", "--jmode", "wal",
                        "--integrity-check"]]),
]


def executables(programs):
    return sorted({command[0].rsplit("/", 1)[1] for program in programs for command in program.commands})


def run(stage, program, *, timeout, size):
    outcome = one_file.Outcome(program.name)
    started = time.monotonic()
    words = {"programs": stage.programs, "source": stage.source, "patience": "60000", "size": str(size)}
    commands = [[word.format(**words) for word in command] for command in program.commands]
    label = program.name.replace(" ", "-")
    with one_file.place_for(stage, label, one_file.STOCK) as place:
        for command in commands:
            code = one_file.execute(place, command, timeout, outcome)
            if code:
                outcome.trouble.append(f"{command[0].rsplit('/', 1)[1]} ended with {code}")
        if program.counts is not None:
            counted = re.findall(program.counts, outcome.output)
            errors, outcome.tests = map(int, counted[-1]) if counted else (0, 0)
            if errors:
                outcome.trouble.append(f"{errors} errors")
            if outcome.tests < program.tests:
                outcome.trouble.append(f"{outcome.tests} tests ran, and there are {program.tests}")
        outcome.seconds = time.monotonic() - started
        place.catch_up(outcome)
        place.compare(outcome)
    return outcome
