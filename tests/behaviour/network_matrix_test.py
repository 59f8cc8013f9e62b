"""Every fault of the network at every step at which a replica talks to its primary."""

import collections
import os
from unittest import mock

from harness import BUILD_DIR, BehaviourTest, main, seconds, seeded_random
from network_cells import STEPS, run_cells
from network_faults import EXCHANGE_FAULTS, NAME_FAULTS, OUTAGES, Certificates
from network_storm import run_storms

PROCESSES, THREADS = 3, 8  # Most of it is waiting.
FIRST_CONTACTS = {"make: identify", "move: identify", "write: lease", "turso_sync: pull"}


class NetworkMatrix(BehaviourTest):
    def setUp(self):
        super().setUp()
        os.mkdir(self.path("names"))
        certificates = Certificates(self.path("certificates")).make()
        self.environment = {
            "LD_PRELOAD": str(BUILD_DIR / "libnetwork_shim.so"),
            "TURSO_TEST_NAMES": self.path("names"),
            "SSL_CERT_FILE": certificates.trusted,
        }
        # One for each process, since each cell has a database of its own and a server may not have files without end.
        with mock.patch.dict(os.environ, self.environment):
            self.servers = [self.primary(name=f"primary{n}") for n in range(PROCESSES)]

    def test_no_fault_at_any_step_loses_or_doubles_anything_or_outlasts_its_deadline(self):
        cells = [(step, fault, lasting) for step in STEPS for fault, lasting in self.faults()]
        results = self.run_all([(number, *cell) for number, cell in enumerate(cells)])
        self.assertEqual(len(cells), len(results))
        print_table(results)
        self.assert_no_problems(results)
        self.assert_all_met(results)

    def assert_no_problems(self, results):
        problems = [result for result in results if result["problems"]]
        for result in problems:
            print(result["step"], "|", result["fault"], "| lasting" if result["lasting"] else "")
            print("    told", result["told"], *result["problems"], sep="\n    ")
        self.assertEqual(0, len(problems))

    def assert_all_met(self, results):
        """A name is asked for once, and remembered: the name service is met only where the first contact is."""
        missed = {
            (result["step"], result["fault"])
            for result in results
            if not result["met"]
            and (result["fault"] not in NAME_FAULTS or result["step"] in FIRST_CONTACTS)
        }
        self.assertEqual(set(), missed)

    def faults(self):
        chosen = os.environ.get("TURSO_TEST_FAULT")
        for fault in EXCHANGE_FAULTS:
            for lasting in (False, True):
                if chosen in (None, fault):
                    yield fault, lasting
        for fault in OUTAGES:
            if chosen in (None, fault):
                yield fault, True

    def run_all(self, cells):
        shares = [cells[n::PROCESSES] for n in range(PROCESSES)]
        return self.run_in_processes(run_cells, [(share, THREADS) for share in shares], 600)

    def run_in_processes(self, function, arguments, timeout):
        report = self.report(function.__name__)
        with mock.patch.dict(os.environ, self.environment):
            children = [
                self.spawn(
                    f"{function.__name__}{n}",
                    function,
                    self.directory,
                    self.servers[n].port,
                    *these,
                    report,
                )
                for n, these in enumerate(arguments)
            ]
        for child in children:
            child.finish(timeout)
        return report.read()

    def test_faults_in_a_row_lose_and_double_nothing(self):
        generator = seeded_random("storms")
        duration = seconds(20)
        seeds = [[generator.randrange(2**32) for _ in range(4)] for _ in range(PROCESSES)]
        arguments = [(share, duration) for share in seeds]
        results = self.run_in_processes(run_storms, arguments, duration + 300)
        self.assertEqual(4 * PROCESSES, len(results))
        told = collections.Counter(str(code) for result in results for code in result["told"])
        sums = {key: sum(result[key] for result in results) for key in ("lost", "doubled", "over")}
        print(f"{len(results)} storms, {sum(told.values())} deeds, {dict(told)}, {sums}")
        self.assert_no_problems(results)


def print_table(results):
    """A row for each fault, a column for each step: how often it was met, and what went wrong then."""
    steps = list(STEPS)
    print("\nmet (lost, doubled, over deadline); alone: none of these. At step:")
    for number, name in enumerate(steps):
        print(f"  {chr(ord('a') + number)}  {name}")
    table = collections.defaultdict(lambda: [0, 0, 0, 0])
    for result in results:
        keys = ("lost", "doubled", "over")
        for row in (result["fault"], "all"):
            for column in (result["step"], "all"):
                cell = table[row, column]
                cell[0] += result["met"]
                for index, key in enumerate(keys, 1):
                    cell[index] += result[key]
    faults = [*EXCHANGE_FAULTS, *OUTAGES, "all"]
    width = max(map(len, faults))
    print(" " * width, *(f"{chr(ord('a') + n):>3}" for n in range(len(steps))), "  all")
    for fault in faults:
        print(f"{fault:{width}}", *(f"{shown(table[fault, step]):>3}" for step in [*steps, "all"]))
    print("met {}, lost {}, doubled {}, over deadline {}".format(*table["all", "all"]))


def shown(cell):
    return str(cell[0]) if not any(cell[1:]) else "{}({},{},{})".format(*cell)


if __name__ == "__main__":
    main()
