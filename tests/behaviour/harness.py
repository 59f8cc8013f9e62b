"""What every test of this folder stands on: real primaries, real replicas, real processes.

    class Something(BehaviourTest):
        def test_a_sentence_that_is_true_when_it_passes(self):
            primary = self.primary()                      # turso-primary on a free port, in a directory of its own
            app = self.replica(primary, "app")            # a description; picklable, so it can go to another process
            db = self.open(app)                           # sqlite3.Connection, autocommit, closed at the end
            other = self.client(app)                      # the same in a process of its own: other.sql("SELECT 1")

Only the standard library of Debian's /usr/bin/python3 is used, since its sqlite3 can load extensions.

Environment:
    TURSO_BUILD_DIR      where libturso_vfs.so and turso-primary are (required)
    TURSO_TEST_SEED      the seed of the random tests; each prints its own
    TURSO_TEST_SECONDS   how long each random test runs, where that is longer than its own time
    TURSO_TEST_KEEP=1    leaves the temporary directories
    TURSO_TEST_REMOTE    what primary() is: turso-primary (unless said otherwise), fake_sqld, or sqld (libsql_primary.py)
    TURSO_TEST_CONTROL=plain   opens the primary's file itself, by plain SQLite, in place of every replica: a control
                         run that shows what the tests of P1, P4, P6 and of SQL say of a database known to be right
"""

import contextlib
import ctypes
import json
import multiprocessing
import os
import pathlib
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import unittest
import urllib.parse

# --- What SQLite logs: must be asked for before the first use of SQLite, so before `import sqlite3`. ---------------

_LOG_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
_SQLITE_CONFIG_LOG = 16
sqlite_log = []  # (code, text), oldest first, of this process.


@_LOG_CALLBACK
def _collect_log(_context, code, text):
    sqlite_log.append((code, (text or b"").decode("utf-8", "replace")))


libsqlite3 = ctypes.CDLL("libsqlite3.so.0")
libsqlite3.sqlite3_shutdown()  # It was initialized if somebody imported sqlite3 before us.
if libsqlite3.sqlite3_config(_SQLITE_CONFIG_LOG, _collect_log, None) != 0:
    raise AssertionError("SQLite is in use already: import harness earlier")
libsqlite3.sqlite3_initialize()

import sqlite3  # noqa: E402  (see above)

from proxy import Proxy  # noqa: E402

CONTROL = os.environ.get("TURSO_TEST_CONTROL") == "plain"
REMOTE = os.environ.get("TURSO_TEST_REMOTE", "turso-primary")
BUILD_DIR = pathlib.Path(os.environ.get("TURSO_BUILD_DIR", "build")).resolve()
EXTENSION = BUILD_DIR / "libturso_vfs.so"
PRIMARY = BUILD_DIR / "turso-primary"
PYTHON = "/usr/bin/python3"
NOT_HERE = 77  # The exit status of a test that needs a program which is not part of this project.
START_SECONDS = 30  # For anything that must happen soon on a loaded machine.

# The codes of the contract that a healthy primary's replicas may show to a writer.
BUSY = sqlite3.SQLITE_BUSY
BUSY_SNAPSHOT = sqlite3.SQLITE_BUSY_SNAPSHOT
RETRY_CODES = frozenset({BUSY, BUSY_SNAPSHOT})
OUTCOME_UNKNOWN = sqlite3.SQLITE_IOERR | 99 << 8  # kIoErrOutcomeUnknown in vfs/result_codes.h


def seconds(default):
    """How long a random test runs."""
    return max(default, float(os.environ.get("TURSO_TEST_SECONDS", "0")))


def seeded_random(name):
    seed = os.environ.get("TURSO_TEST_SEED") or str(random.SystemRandom().randrange(2**32))
    print(f"{name}: TURSO_TEST_SEED={seed}", flush=True)
    return random.Random(f"{seed}/{name}")


def is_io_error(code):
    return code & 0xFF == sqlite3.SQLITE_IOERR


def family(code):
    return code & 0xFF


def wait_until(condition, timeout=START_SECONDS, what="the condition"):
    """Asks often until `condition()` is true. For events that only asking can show."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain for {what}")
        time.sleep(0.005)


class Metronome:
    """How long this process, and so perhaps the whole machine, was not let run: what a wait may be longer by."""

    BEAT = 0.01

    def __init__(self):
        self.lost = 0.0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            began = time.monotonic()
            time.sleep(self.BEAT)
            late = time.monotonic() - began - self.BEAT
            self.lost += late if late > self.BEAT else 0


# --- Replicas. -----------------------------------------------------------------------------------------------------

_loaded = False


def load_extension(entry_point=None):
    """`.load` as a program would do it: on a connection of its own, which is then closed."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.enable_load_extension(True)
        if entry_point is None:
            connection.load_extension(str(EXTENSION))
        else:
            # Python 3.11 cannot name the entry point itself.
            connection.execute("SELECT load_extension(?, ?)", (str(EXTENSION), entry_point))
    finally:
        connection.close()


def load_extension_once():
    global _loaded
    if not _loaded and not CONTROL:
        load_extension()
        _loaded = True


class Replica:
    """Where a replica is and how it is opened. Picklable."""

    def __init__(self, path, url, control_path=None, **options):
        self.path = str(path)
        self.url = url
        self.options = {name: str(value) for name, value in options.items()}
        self.control_path = control_path

    def uri(self, *, with_url=True):
        query = {"vfs": "turso"}
        if with_url and self.url is not None:
            query["url"] = self.url
        query.update(self.options)
        return f"file:{urllib.parse.quote(self.path)}?{urllib.parse.urlencode(query)}"

    def connect(self, *, timeout=5.0, with_url=True, **arguments):
        """Autocommit unless BEGIN is said, as sqlite3's C interface has it."""
        arguments.setdefault("isolation_level", None)
        if CONTROL:
            connection = sqlite3.connect(self.control_path, timeout=timeout, **arguments)
            connection.execute("PRAGMA journal_mode=wal").fetchall()
            return connection
        load_extension_once()
        return sqlite3.connect(self.uri(with_url=with_url), uri=True, timeout=timeout, **arguments)

    def with_options(self, **options):
        return Replica(self.path, self.url, self.control_path, **{**self.options, **options})

    def files(self):
        """The names beside the database that exist now, itself included."""
        directory, name = os.path.split(self.path)
        return sorted(
            entry
            for entry in os.listdir(directory)
            if entry == name or entry.startswith(name + "-")
        )


def last_error(connection):
    """What the replica says of its last failure, or None."""
    with contextlib.suppress(sqlite3.Error):
        return connection.execute("SELECT turso_last_error()").fetchone()[0]
    return None


def error_name(error):
    return getattr(error, "sqlite_errorname", None) or type(error).__name__


def error_code(error):
    return getattr(error, "sqlite_errorcode", None)


# --- Sanitizers: tests/CMakeLists.txt has some tests run with sanitized builds. --------------------------------------

SANITIZER_OPTIONS = ("ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")
_sanitizer_options = {name: os.environ.get(name, "") for name in SANITIZER_OPTIONS}


def report_sanitizers_to(prefix):
    """What sanitizers say in processes that are started from now on goes to files PREFIX.PID."""
    for name, options in _sanitizer_options.items():
        os.environ[name] = f"{options}:log_path={prefix}"


def primary_environment():
    """A sanitized turso-primary must leave nothing allocated when it stops."""
    return {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=1"}


# --- The primary. --------------------------------------------------------------------------------------------------


def dies_with_us(command):
    """`command`, killed by the kernel should this process be killed before it can clean up."""
    return ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", *map(str, command)]


class Primary:
    """A turso-primary, with its directory. Restarts on the same port."""

    def __init__(self, directory, *arguments, create=True, environment=None):
        self.directory = pathlib.Path(directory)
        self.environment = environment
        self.data = self.directory / "data"
        self.log_path = self.directory / "primary.log"
        self.arguments = [*arguments, *(["--create"] if create else [])]
        self.address = "127.0.0.1:0"
        self.process = None
        self.base_url = None
        self.data.mkdir(parents=True, exist_ok=True)

    def start(self):
        assert self.process is None, "it runs already"
        if CONTROL:
            self.base_url = "http://control"
            return self
        command = self.command()
        deadline = time.monotonic() + START_SECONDS
        while not self._start_once(command):
            # A port that was ours a moment ago can be taken for a moment by an outgoing connection.
            if time.monotonic() > deadline:
                raise AssertionError(f"turso-primary did not start:\n{self.log_text()}")
            time.sleep(0.05)
        return self

    def command(self):
        return [PRIMARY, "--listen", self.address, "--data", self.data, *self.arguments]

    def _start_once(self, command):
        with open(self.log_path, "ab") as log:
            process = subprocess.Popen(
                dies_with_us(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment or primary_environment(),
            )
        line = read_line(process.stdout, START_SECONDS)
        match = re.search(r"listening on (https?://(\S+:\d+))", line)
        if not match:
            process.kill()
            rest = process.stdout.read().decode("utf-8", "replace")
            process.wait()
            process.stdout.close()
            with open(self.log_path, "a") as log:
                log.write(f"[stdout] {line}{rest}[exit] {process.returncode}\n")
            return False
        self.process = process
        self.base_url, self.address = match.group(1), match.group(2)
        return True

    @property
    def port(self):
        return int(self.address.rsplit(":", 1)[1])

    def url(self, name="main"):
        return f"{self.base_url}/{name}"

    def proxy(self):
        return Proxy(self.port)

    def stop(self):
        """SIGTERM, which it must take for a clean end."""
        self._end(signal.SIGTERM, expected=0)

    def kill(self):
        self._end(signal.SIGKILL, expected=-signal.SIGKILL)

    def _end(self, number, expected):
        if self.process is None:
            return
        process, self.process = self.process, None
        process.send_signal(number)
        with contextlib.suppress(ProcessLookupError):
            if number != signal.SIGKILL:
                process.send_signal(signal.SIGCONT)
        try:
            code = process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(
                f"turso-primary did not end on signal {number}:\n{self.log_text()}"
            ) from None
        finally:
            process.stdout.close()
        if code != expected:
            raise AssertionError(
                f"turso-primary ended with {code}, not {expected}:\n{self.log_text()}"
            )

    def begin_anew(self):
        """With other databases at the same URLs."""
        self.stop()
        shutil.rmtree(self.data)
        self.data.mkdir()
        self.start()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: process_state(self.process.pid) == "T", what="SIGSTOP to act")

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def restart(self):
        self.stop()
        self.start()

    def file(self, name="main"):
        """The database as an ordinary file: only while the primary is stopped."""
        return self.data / f"{name}.db"

    def open_file(self, name="main"):
        assert self.process is None, "the file is the primary's while it runs"
        return sqlite3.connect(self.file(name), isolation_level=None)

    def make_database(self, name, *arguments):
        """turso-primary create NAME --data DIR ..."""
        if CONTROL:
            return
        subprocess.run(
            [PRIMARY, "create", name, "--data", self.data, *map(str, arguments)],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def log_text(self):
        with contextlib.suppress(OSError):
            return self.log_path.read_text("utf-8", "replace")
        return ""


def read_line(pipe, timeout):
    """One line of a pipe, or what came of it before its end or the deadline."""
    line = b""
    deadline = time.monotonic() + timeout
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([pipe], [], [], max(0, deadline - time.monotonic()))
        byte = os.read(pipe.fileno(), 1) if ready else b""
        if not byte:
            break
        line += byte
    return line.decode("utf-8", "replace")


def process_state(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


# --- Other processes. ----------------------------------------------------------------------------------------------


def _run_in_child(function, arguments, output_path):
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    output = os.open(output_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        function(*arguments)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class Child:
    """`function(*arguments)` in a fresh process: nothing of ours is inherited but descriptors 0 to 2."""

    def __init__(self, directory, name, function, arguments):
        self.name = name
        self.output_path = os.path.join(directory, f"{name}.output")
        self.process = multiprocessing.get_context("spawn").Process(
            target=_run_in_child, args=(function, arguments, self.output_path), daemon=True
        )
        self.process.start()

    @property
    def pid(self):
        return self.process.pid

    def kill(self):
        self.process.kill()
        self.process.join()

    def finish(self, timeout=120):
        """Waits for its end, which must be a good one."""
        self.process.join(timeout)
        code = self.process.exitcode
        if code is None:
            self.kill()
        if code != 0:
            raise AssertionError(f"process {self.name} ended with {code}:\n{self.output()}")

    def output(self):
        with contextlib.suppress(OSError):
            return pathlib.Path(self.output_path).read_text("utf-8", "replace")
        return ""


class RemoteSqlError(Exception):
    """A sqlite3.Error of another process."""

    def __init__(self, sqlite_errorcode, sqlite_errorname, message):
        super().__init__(message)
        self.sqlite_errorcode = sqlite_errorcode
        self.sqlite_errorname = sqlite_errorname


def _serve_client(pipe, replica, arguments):
    connection = None
    while True:
        try:
            question, sql, parameters = pipe.recv()
        except EOFError:
            return
        try:
            if question == "open":
                connection = replica.connect(**arguments)
                answer = None
            elif question == "close":
                connection.close()
                answer = None
            else:
                answer = connection.execute(sql, parameters).fetchall()
            pipe.send(("ok", answer))
        except sqlite3.Error as error:
            pipe.send(("error", (error_code(error), error_name(error), str(error))))


class Client:
    """A connection to a replica in a process of its own."""

    def __init__(self, directory, name, replica, arguments):
        self.pipe, theirs = multiprocessing.get_context("spawn").Pipe()
        self.child = Child(directory, name, _serve_client, (theirs, replica, arguments))
        theirs.close()

    def open(self):
        self.ask("open")
        return self

    def sql(self, sql, parameters=()):
        self.ask_later(sql, parameters)
        return self.answer()

    def ask_later(self, sql, parameters=()):
        """Sends the statement; `answer` waits for what comes of it."""
        self.pipe.send(("sql", sql, parameters))

    def answer(self, timeout=60):
        if not self.pipe.poll(timeout):
            raise AssertionError(f"process {self.child.name} does not answer")
        try:
            kind, value = self.pipe.recv()
        except EOFError:
            raise AssertionError(
                f"process {self.child.name} died:\n{self.child.output()}"
            ) from None
        if kind == "error":
            raise RemoteSqlError(*value)
        return value

    def ask(self, question):
        self.pipe.send((question, None, None))
        return self.answer()

    def close(self):
        self.ask("close")

    def kill(self):
        self.child.kill()


class Report:
    """Lines of JSON that survive a kill -9 of the process that writes them."""

    def __init__(self, path):
        self.path = str(path)

    def append(self, value):
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, (json.dumps(value) + "\n").encode())
        os.close(descriptor)

    def read(self):
        with contextlib.suppress(FileNotFoundError):
            with open(self.path, encoding="utf-8") as lines:
                return [json.loads(line) for line in lines if line.endswith("\n")]
        return []


# --- Content. ------------------------------------------------------------------------------------------------------


def content(connection, schema="main"):
    """All that a database says: its schema and every row of every table, values with their types and bits."""
    objects = connection.execute(
        f"SELECT type, name, tbl_name, sql FROM {schema}.sqlite_schema ORDER BY type, name"
    ).fetchall()
    result = {"schema": objects}
    for pragma in ("user_version", "application_id", "encoding", "page_size", "auto_vacuum"):
        result[pragma] = connection.execute(f"PRAGMA {schema}.{pragma}").fetchall()
    for kind, name, _table, sql in objects:
        if kind == "table" and not (sql or "").upper().startswith("CREATE VIRTUAL"):
            quoted = '"' + name.replace('"', '""') + '"'
            rows = connection.execute(f"SELECT * FROM {schema}.{quoted}").fetchall()
            result[f"table {name}"] = sorted([typed(row) for row in rows])
    return result


def typed(row):
    """Tells 1 from 1.0 and from '1', and every REAL by its bits."""
    return [
        (type(value).__name__, value.hex() if isinstance(value, (float, bytes)) else str(value))
        for value in row
    ]


# --- The test case. ------------------------------------------------------------------------------------------------


class BehaviourTest(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        for needed in (EXTENSION, PRIMARY):
            if not CONTROL and not needed.exists():
                self.fail(
                    f"{needed} is missing: build it, and give its directory in TURSO_BUILD_DIR"
                )
        self.directory = tempfile.mkdtemp(prefix="turso-behaviour-")
        if os.environ.get("TURSO_TEST_KEEP") != "1":
            self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self._primaries, self._children, self._connections = [], [], []
        self._log_start = len(sqlite_log)
        report_sanitizers_to(self.path("sanitizer"))
        self.addCleanup(self._check_sanitizers)
        self.addCleanup(self._end_everything)

    def run(self, result=None):
        self._diagnostics = []
        outcome = result if result is not None else self.defaultTestResult()
        before = len(outcome.failures) + len(outcome.errors)
        super().run(outcome)
        if len(outcome.failures) + len(outcome.errors) > before:
            print(
                f"--- {self.id()} failed; what the parts said:",
                *self._diagnostics,
                sep="\n",
                flush=True,
            )
        return outcome

    def _end_everything(self):
        self._collect_diagnostics()
        for connection in self._connections:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        for child in self._children:
            child.kill()
        for primary in self._primaries:
            primary.kill()
            self._diagnostics.append(f"[{primary.log_path}]\n{primary.log_text()[-4000:]}")

    def _check_sanitizers(self):
        for report in sorted(pathlib.Path(self.directory).glob("sanitizer.*")):
            self.fail(f"{report.name}:\n{report.read_text('utf-8', 'replace')}")

    def _collect_diagnostics(self):
        for connection in self._connections:
            text = last_error(connection)
            if text:
                self._diagnostics.append(f"[turso_last_error] {text}")
        for child in self._children:
            if child.output():
                self._diagnostics.append(f"[{child.name}] {child.output()[-4000:]}")
        for code, text in sqlite_log[self._log_start :][-30:]:
            self._diagnostics.append(f"[sqlite3_log] ({code}) {text}")

    def path(self, name):
        return os.path.join(self.directory, name)

    def primary(self, *arguments, name="primary", create=True, start=True):
        if REMOTE == "turso-primary":
            primary = Primary(self.path(name), *arguments, create=create)
        else:
            from libsql_primary import LibsqlPrimary  # It stands on this module.

            assert create and not arguments, "only a turso-primary has options"
            primary = LibsqlPrimary(REMOTE, self.path(name))
        self._primaries.append(primary)
        return primary.start() if start else primary

    def proxy_before(self, primary):
        """Between it and the replicas that are given the proxy's url()."""
        proxy = primary.proxy()
        self.addCleanup(proxy.close)
        return proxy

    def replica(self, primary, name, database="main", **options):
        """Its file is NAME.db, in a directory of its own."""
        directory = self.path(name)
        os.makedirs(directory, exist_ok=True)
        return Replica(
            os.path.join(directory, f"{name}.db"),
            primary.url(database),
            control_path=str(primary.file(database)),
            **options,
        )

    def open(self, replica, **arguments):
        return self.keep(replica.connect(**arguments))

    def keep(self, connection):
        """Closed at the end of the test, after its last words were taken."""
        self._connections.append(connection)
        return connection

    def spawn(self, name, function, *arguments):
        child = Child(self.directory, name, function, arguments)
        self._children.append(child)
        return child

    def client(self, replica, name=None, **arguments):
        client = Client(self.directory, name or f"client{len(self._children)}", replica, arguments)
        self._children.append(client.child)
        self.addCleanup(client.pipe.close)
        return client.open()

    def report(self, name):
        return Report(self.path(name))

    def write_in_the_end(self, db, sql, parameters=()):
        """At once; but a libSQL server may keep its slot for somebody who is gone, for longer than `timeout`."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return db.execute(sql, parameters).fetchall()
            except sqlite3.OperationalError as error:
                kept = REMOTE != "turso-primary" and error_code(error) == sqlite3.SQLITE_IOERR
                if not kept or time.monotonic() > deadline:
                    raise

    def fails(self, call, *arguments, **keywords):
        """The sqlite3.Error (or another process's) that the call must end with."""
        try:
            value = call(*arguments, **keywords)
        except (sqlite3.Error, RemoteSqlError) as error:
            return error
        if isinstance(value, sqlite3.Connection):
            self.keep(value)
        self.fail(f"{call} {arguments} {keywords} succeeded with {value!r}")

    def assert_code(self, error, *codes):
        self.assertIn(error_code(error), codes, f"{error_name(error)}: {error}")

    def logged_since(self, start):
        return "\n".join(text for _code, text in sqlite_log[start:])

    def assert_explained(self, texts, *fragments):
        """At least one of the texts holds every fragment (case does not matter): a person can tell what to do."""
        shown = [text for text in texts if text]
        for text in shown:
            if all(fragment.lower() in text.lower() for fragment in fragments):
                return
        self.fail(f"no text names {fragments}; the texts are {shown}")


def only_of_primary(reason):
    """Of a test, or a class of them, that another remote (TURSO_TEST_REMOTE) cannot take."""

    def mark(test):
        test.only_of_primary = reason
        return test

    return mark


class _Loader(unittest.TestLoader):
    def getTestCaseNames(self, case):
        names = super().getTestCaseNames(case)
        if REMOTE == "turso-primary":
            return names
        marked = lambda what: getattr(what, "only_of_primary", None)  # noqa: E731
        return [name for name in names if not marked(case) and not marked(getattr(case, name))]


def main():
    if REMOTE == "sqld" and not (os.environ.get("SQLD") or shutil.which("sqld")):
        print("sqld is not here")
        sys.exit(NOT_HERE)
    assert sys.executable == PYTHON or os.path.samefile(
        sys.executable, PYTHON
    ), f"run by {sys.executable}; these tests need Debian's {PYTHON}"
    unittest.main(verbosity=2, testLoader=_Loader())
