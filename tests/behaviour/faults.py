"""Faults at chosen system calls of a process, through libturso_faults.so: tests/support/faults/plan.h says what it can.

    control = Control(directory / "control")        # one for each process that is to be attacked
    environment = preloaded(control)                # for subprocess: turso-primary, the sqlite3 shell
    control.arm(data, f"log {log}", "kill before 3 pwrite app.db-wal")
    ...                                             # the process dies at that call
    control.disarm()

A test that attacks processes forked from itself calls run_preloaded() first; each child then names its control by use().
"""

import contextlib
import ctypes
import os
import pathlib
import sys

BUILD_DIR = pathlib.Path(os.environ.get("TURSO_BUILD_DIR", "build")).resolve()
LIBRARY = BUILD_DIR / "libturso_faults.so"


def preloaded(control=None):
    """The environment of a process that can be attacked."""
    environment = {**os.environ, "LD_PRELOAD": str(LIBRARY)}
    environment.pop("TURSO_FAULTS_CONTROL", None)
    if control is not None:
        environment["TURSO_FAULTS_CONTROL"] = str(control.path)
    return environment


def run_preloaded():
    """Starts this program anew with the library in it, unless it has it."""
    if not LIBRARY.exists():
        raise AssertionError(f"{LIBRARY} is missing: build the target turso_faults")
    if str(LIBRARY) not in os.environ.get("LD_PRELOAD", ""):
        os.execve(sys.executable, [sys.executable, *sys.argv], preloaded())


def use(control):
    """The control file of this very process from now on."""
    ctypes.CDLL(None).turso_faults_control(os.fsencode(control.path))


def mark(text):
    """A line in the record of this process."""
    ctypes.CDLL(None).turso_faults_mark(text.encode())


class Control:
    def __init__(self, path):
        self.path = pathlib.Path(path)

    def arm(self, directory, *lines):
        """From now on calls on files of `directory` count, from one on."""
        text = "\n".join([f"directory {os.path.realpath(directory)}", *lines]) + "\n"
        fresh = self.path.with_name(self.path.name + ".fresh")
        fresh.write_text(text)
        os.replace(fresh, self.path)

    def disarm(self):
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


def points(log):
    """The names in a log, in their order; none if nothing was counted."""
    try:
        lines = pathlib.Path(log).read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [line.split(" ", 1)[1] for line in lines]
