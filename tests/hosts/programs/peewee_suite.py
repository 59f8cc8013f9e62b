"""peewee's own tests, from its source: peewee_suite.py SOURCE [TEST]

Prints a line `OUTCOME name` for each test that is not skipped. Its files are made in the current directory.
"""

import sys
import unittest

# It wants an answer that takes 10 ms to be later than 1 ms, and hangs where a loaded machine has both at once.
LEFT_OUT = ("tests.sqliteq.TestThreadedDatabaseThreads.test_timeout",)


class Outcomes(unittest.TestResult):
    def stopTest(self, test):
        failed = [case.id() for case, _ in self.failures + self.errors]
        if any(name.startswith(test.id()) for name in failed):
            print("failed", test.id(), flush=True)
        elif not any(case is test for case, _ in self.skipped):
            print("passed", test.id(), flush=True)
        super().stopTest(test)


def every_test(suite):
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from every_test(part)
        else:
            yield part


sys.path.insert(0, sys.argv[1])
name = sys.argv[2] if len(sys.argv) > 2 else "tests"
found = every_test(unittest.defaultTestLoader.loadTestsFromName(name))
unittest.TestSuite(test for test in found if test.id() not in LEFT_OUT).run(Outcomes())
