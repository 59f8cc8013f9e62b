"""One file of SQLite's test suite: through plain SQLite, or as replicas of a primary of its own.

Through us, TURSO_VFS_PROVISION makes each new database of the file a replica of a fresh database at a turso-primary
on loopback, so that every write is forwarded. When the file has ended, each replica that is left is compared with its
database at the primary.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import urllib.request

STOCK = []
# The page size that testfixture is built with, and where test/tester.tcl moves the page that holds no data.
SUITE = ["--page-size", "1024", "--pending-byte", str(0x10000)]
WRITE_VERSION = 18  # In page 1; a replica's file has 3 there.
STOP_SECONDS = 60
PYTHON = "/usr/bin/python3"  # Debian's: it can load extensions.
CATCH_UP = """
import sqlite3, sys
db = sqlite3.connect(":memory:")
db.enable_load_extension(True)
db.load_extension(sys.argv[1])
sqlite3.connect(f"file:{sys.argv[2]}?vfs=turso", uri=True).execute("SELECT turso_sync()").fetchall()
"""


@dataclasses.dataclass
class Outcome:
    name: str
    seconds: float = 0.0
    tests: int = 0
    failed: list = dataclasses.field(default_factory=list)  # Names of tests, in the file's order.
    trouble: list = dataclasses.field(default_factory=list)  # What is wrong beside failed tests; sentences.
    notes: list = dataclasses.field(default_factory=list)  # More about a failed test.
    compared: int = 0
    commits: int = 0
    output: str = ""

    @property
    def clean(self):
        return not self.failed and not self.trouble


class Stage:
    """Where the files run: all that is needed, readable for a user without rights.

    The suite is made to run without root's rights (root may write what is not writable), and that user may not reach
    the sources; so the programs are copied."""

    def __init__(self, source, programs, extension, primary, parent):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="turso-sqlite-suite-", dir=parent))
        self.path.chmod(0o755)
        self.source = self.path / "source"
        for part in ("test", "ext", "tool", "mptest", "src"):
            shutil.copytree(source / part, self.source / part, symlinks=True)
        here = pathlib.Path(__file__).resolve().parent
        self._insert("permutations.test", here / "forcewal.tcl", 'if {[file tail $argv0] == "permutations.test"} {')
        if extension is not None:
            self._insert("tester.tcl", here / "copies.tcl", "database_never_corrupt\n")
        self.programs = self.path / "programs"
        self.programs.mkdir()
        for name in os.listdir(programs):
            path = programs / name
            if path.is_file() and os.access(path, os.X_OK) and name != "libtool":
                shutil.copy(path, self.programs / name)
        self.extension = self.primary = None
        if extension is not None:
            self.extension = pathlib.Path(shutil.copy(extension, self.programs))
            self.primary = pathlib.Path(shutil.copy(primary, self.programs))
        self.identity = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}

    def _insert(self, script, addition, before):
        path = self.source / "test" / script
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        if text.count(before) != 1:
            raise RuntimeError(f"{path} is not as expected: where does {addition.name} belong?")
        path.write_text(text.replace(before, addition.read_text() + "\n" + before), encoding="utf-8",
                        errors="surrogateescape")

    def make_directory(self, name):
        path = self.path / name
        path.mkdir()
        if self.identity:
            os.chown(path, self.identity["user"], self.identity["group"])
        return path

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Primary:
    """turso-primary for one file. `layout`: arguments that tell how the databases are laid out."""

    def __init__(self, stage, directory, layout):
        self.data = directory
        self.process = subprocess.Popen(
            [stage.primary, "--listen", "127.0.0.1:0", "--data", directory, "--create", "--log", directory / "log",
             *layout],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=directory, **stage.identity)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            raise RuntimeError(f"turso-primary says {line!r}, and exits with {self.process.wait()}")
        self.url = line.removeprefix("listening on ").strip()

    def commits(self):
        with urllib.request.urlopen(self.url + "/metrics", timeout=STOP_SECONDS) as answer:
            text = answer.read().decode()
        counted = re.findall(r"^turso_page_commits_total\{[^}]*\} (\d+)$", text, re.M)
        return sum(map(int, counted))

    def stop(self):
        """Databases at a stopped primary are ordinary files."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "killed"


def execute(place, command, timeout, outcome):
    """Appends to the outcome's output; the exit code, or None where that was no end of its own."""
    stage = place.stage
    with tempfile.TemporaryFile(dir=stage.path) as output:
        process = subprocess.Popen(command, cwd=place.work, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, env=place.environment, start_new_session=True,
                                   **stage.identity)
        try:
            code = process.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            code = None
        # What it started and left behind, and itself.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        output.seek(0)
        outcome.output += output.read().decode("utf-8", "replace")
    if code is None:
        outcome.trouble.append(f"did not end within {timeout} s")
    elif code < 0:
        outcome.trouble.append(f"killed by {signal.Signals(-code).name}")
        return None
    return code


def _read_output(outcome, code):
    summary = re.search(r"^(\d+) errors? out of (\d+) tests", outcome.output, re.M)
    outcome.failed = list(dict.fromkeys(re.findall(r"^! (\S+) expected:", outcome.output, re.M)))
    if summary is None:
        if not outcome.trouble:
            outcome.trouble.append(f"ended before its summary, with code {code}")
        outcome.tests = len(re.findall(r"^\S+\.\.\. Ok$", outcome.output, re.M))
        return
    errors, outcome.tests = map(int, summary.groups())
    listed = re.search(r"^!Failures on these tests: (.*)$", outcome.output, re.M)
    if listed is not None:
        outcome.failed = list(dict.fromkeys([*outcome.failed, *listed.group(1).split()]))
    if errors and not outcome.failed:
        outcome.trouble.append(f"{errors} errors without a test's name")
    if code and not errors and not outcome.trouble:
        outcome.trouble.append(f"exit code {code}")


def _sidecar_url(path):
    found = re.search(rb"http://127\.0\.0\.1:\d+/([A-Za-z0-9_.-]+)", path.read_bytes())
    return None if found is None else found.group(1).decode()


def _settled(database, scratch):
    """The database as one file, its log written into it by plain SQLite; never touches the original."""
    copy = scratch / "copy.db"
    for suffix in ("", "-wal", "-shm"):
        (scratch / ("copy.db" + suffix)).unlink(missing_ok=True)
    shutil.copyfile(database, copy)
    wal = database.with_name(database.name + "-wal")
    if wal.exists():
        shutil.copyfile(wal, scratch / "copy.db-wal")
        connection = sqlite3.connect(copy, isolation_level=None)
        try:
            connection.execute("PRAGMA writable_schema=ON")  # A schema that a test spoiled is no reason to stop.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.close()
    image = bytearray(copy.read_bytes())
    if len(image) > WRITE_VERSION:
        image[WRITE_VERSION] = 2
    return bytes(image)


def _page(image, number, size):
    return image[(number - 1) * size : number * size]


def _free_leaves(image, size):
    """Numbers of the pages whose content means nothing: https://sqlite.org/fileformat2.html#the_freelist"""
    free = set()
    trunk, seen = int.from_bytes(image[32:36], "big"), set()
    while trunk and trunk not in seen and trunk * size <= len(image):
        seen.add(trunk)
        page = _page(image, trunk, size)
        count = min(int.from_bytes(page[4:8], "big"), size // 4 - 2)
        free.update(int.from_bytes(page[8 + 4 * n : 12 + 4 * n], "big") for n in range(count))
        trunk = int.from_bytes(page[:4], "big")
    return free


def _different_pages(ours, theirs):
    size = max(512, int.from_bytes(theirs[16:18], "big"))
    free = _free_leaves(theirs, size)
    return [number for number in range(1, max(len(ours), len(theirs)) // size + 1)
            if number not in free and _page(ours, number, size) != _page(theirs, number, size)]


def _compare(work, primary, scratch, outcome):
    for sidecar in sorted(work.rglob("*-turso")):
        replica = sidecar.with_name(sidecar.name.removesuffix("-turso"))
        if not replica.exists():
            continue
        where = replica.relative_to(work)
        database = _sidecar_url(sidecar)
        served = primary.data / f"{database}.db"
        if database is None or not served.exists():
            outcome.trouble.append(f"{where}: its primary has no database {database}")
            continue
        try:
            ours, theirs = _settled(replica, scratch), _settled(served, scratch)
        except (sqlite3.Error, OSError) as failure:
            outcome.trouble.append(f"{where}: cannot be read for the comparison: {failure}")
            continue
        outcome.compared += 1
        if ours != theirs and (pages := _different_pages(ours, theirs)):
            # Named like a test, so that an exception can name it.
            outcome.failed.append(f"content:{replica.name}")
            outcome.notes.append(f"{where} differs from its primary's {database} in pages {pages[:10]} of"
                                 f" {len(ours)} and {len(theirs)} bytes")


class Place:
    """A directory to run in and, unless it is plain SQLite that runs, a primary of its own."""

    def __init__(self, stage, label, layout):
        self.stage = stage
        # The name is short: some tests count on that.
        self.work = stage.make_directory(f"{label}.run")
        self.data = self.primary = None
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("TURSO_")}
        self.environment["HOME"] = str(self.work)
        if stage.extension is not None:
            self.data = stage.make_directory(f"{label}.primary")
            self.primary = Primary(stage, self.data, layout)
            self.environment["TURSO_SUITE_EXTENSION"] = str(stage.extension)
            self.environment["TURSO_VFS_PROVISION"] = self.primary.url

    def compare(self, outcome):
        """Stops the primary, and compares with it what is left."""
        if self.primary is None:
            return
        if self.primary.process.poll() is None:
            outcome.commits = self.primary.commits()
        code = self.primary.stop()
        if code != 0:
            outcome.trouble.append(f"turso-primary ended with {code}")
            return
        with tempfile.TemporaryDirectory(dir=self.stage.path) as scratch:
            _compare(self.work, self.primary, pathlib.Path(scratch), outcome)

    def catch_up(self, outcome):
        """What a process left that was killed between the primary's yes and its own end."""
        if self.primary is None:
            return
        for sidecar in sorted(self.work.rglob("*-turso")):
            replica = str(sidecar).removesuffix("-turso")
            done = subprocess.run([PYTHON, "-c", CATCH_UP, self.stage.extension, replica], capture_output=True,
                                  text=True, check=False, timeout=STOP_SECONDS, **self.stage.identity)
            if done.returncode != 0:
                outcome.trouble.append(f"{replica} cannot catch up: {done.stderr.strip()}")
        outcome.trouble += [f"{path} was set aside" for path in self.work.rglob("*.aside-*")]

    def keep(self, directory, output):
        for path in (self.work, self.data):
            if path is not None:
                shutil.copytree(path, pathlib.Path(directory) / path.name, symlinks=True, dirs_exist_ok=True)
        (pathlib.Path(directory) / f"{self.work.stem}.output").write_text(output)

    def end(self):
        if self.primary is not None and self.primary.process.poll() is None:
            self.primary.stop()
        for path in (self.work, self.data):
            if path is not None:
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def place_for(stage, label, layout):
    place = Place(stage, label, layout)
    try:
        yield place
    finally:
        place.end()


def run(stage, name, *, timeout, keep=None):
    """`stage` without an extension runs plain SQLite."""
    outcome = Outcome(name)
    started = time.monotonic()
    with place_for(stage, name.removesuffix(".test").replace("/", "-"), SUITE) as place:
        # Where the n-th request for memory of the process is to fail, no thread of ours may be the one that makes it.
        script = stage.source / "test" / name
        text = script.read_text("utf-8", "replace") if script.exists() else ""
        if any(word in text for word in ("do_malloc_test", "do_faultsim_test")):
            place.environment["TURSO_VFS_SYNC_INTERVAL"] = "off"
        command = [stage.programs / "testfixture", stage.source / "test" / "permutations.test", "forcewal", name]
        _read_output(outcome, execute(place, command, timeout, outcome))
        place.compare(outcome)
        outcome.seconds = time.monotonic() - started
        if keep is not None and not outcome.clean:
            place.keep(keep, outcome.output)
    return outcome
