"""A primary, an application with a replica, and what the application was told: the ground that crash_test.py and
power_cut_test.py stand on.

The application is forked from the test for each attempt, so that an attempt costs milliseconds, and may die. What it
tells goes through a pipe, line by line, so that nothing of it is lost. Its transactions put rows `NAME/PART/PARTS` into
the table `log`: from the rows alone one sees whether one is there, twice, or in part.
"""

import collections
import contextlib
import http.client
import json
import os
import pathlib
import select
import shutil
import signal
import sqlite3
import subprocess
import time
import traceback

import faults
import harness

REFUSED, UNKNOWN, OK = "refused", "unknown", "ok"
PARTS = {"small": 1, "pages": 6, "spill": 3, "schema": 2}
ROWS_OF_BULK = 20


class Ledger:
    """What is known of each transaction: begun, and then what was said of it."""

    def __init__(self):
        self.parts = {}
        self.outcome = {}

    def take(self, line):
        if line[0] == "begin":
            self.parts[line[1]] = line[2]
        elif line[0] == "end":
            self.outcome[line[1]] = line[2]

    def acknowledged(self):
        return sum(1 for outcome in self.outcome.values() if outcome == OK)

    def faults(self, rows):
        """What is wrong with the rows that are there: counts of lost, doubled, torn, and a text for each."""
        wrong, texts = collections.Counter(), []
        present = collections.Counter(rows)
        found = collections.Counter(row.split("/")[0] for row in present)
        for row, count in present.items():
            if count > 1:
                wrong["doubled"] += 1
                texts.append(f"{row} is there {count} times")
        for name, count in found.items():
            if count != self.parts.get(name):
                wrong["torn"] += 1
                texts.append(f"{count} rows of {name}, which has {self.parts.get(name)}")
        for name, outcome in self.outcome.items():
            if outcome == OK and name not in found:
                wrong["lost"] += 1
                texts.append(f"{name} was acknowledged and is not there")
            if outcome == REFUSED and name in found:
                wrong["doubled"] += 1
                texts.append(f"{name} was refused and is there")
        return wrong, texts


def close_and_forget(descriptor):
    if descriptor >= 0:
        os.close(descriptor)
    return -1


class Run:
    """The application's side of an attempt, in the forked process."""

    def __init__(self, world, pipe, go):
        self.world, self.pipe, self.go = world, pipe, go
        self.db = None

    def say(self, *line):
        os.write(self.pipe, (json.dumps(line) + "\n").encode())
        self.world.mark(json.dumps(line))

    def wait_for_go(self):
        os.read(self.go, 1)

    def connect(self, url=None, name=None):
        replica = self.world.replica(name=name)
        replica.url = url
        self.db = replica.connect(with_url=url is not None, timeout=30)
        self.db.execute("PRAGMA wal_autocheckpoint=0")
        return self.db

    def begin(self, kind):
        name = self.world.next_name()
        self.say("begin", name, PARTS[kind])
        return name, [f"{name}/{part}/{PARTS[kind]}" for part in range(PARTS[kind])]

    def commit(self, kind):
        """One transaction through the replica; what became of it is said, and true if it was acknowledged."""
        name, rows = self.begin(kind)
        try:
            self.statements(kind, name, rows)
            outcome, code = OK, 0
        except sqlite3.Error as error:
            code = harness.error_code(error)
            outcome = UNKNOWN if code == harness.OUTCOME_UNKNOWN else REFUSED
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
        self.say("end", name, outcome, code)
        return outcome == OK

    def statements(self, kind, name, rows):
        insert = "INSERT INTO log(text, padding) VALUES (?, randomblob(?))"
        if kind == "small":
            self.db.execute(insert, (rows[0], 10))
            return
        self.db.execute("BEGIN IMMEDIATE")
        if kind == "spill":
            self.db.execute("PRAGMA cache_size=3")
            self.db.execute("UPDATE bulk SET data = randomblob(2500)")
        if kind == "schema":
            for (table,) in self.db.execute(
                "SELECT name FROM sqlite_schema WHERE name LIKE 'scratch%' AND type = 'table'"
            ).fetchall():
                self.db.execute(f"DROP TABLE {table}")
            self.db.execute(f"CREATE TABLE scratch{name}(a INTEGER PRIMARY KEY, b UNIQUE)")
            self.db.execute(f"INSERT INTO scratch{name}(b) VALUES (randomblob(100)), (1)")
        for row in rows:
            self.db.execute(insert, (row, 1500 if kind == "pages" else 10))
        self.db.execute("COMMIT")

    def commit_at_primary(self, kind="pages", extra=""):
        """The same as SQL over Hrana, in one statement."""
        name, rows = self.begin(kind)
        values = ", ".join(f"('{row}', randomblob(1500))" for row in rows)
        outcome = self.hrana(f"INSERT INTO log(text, padding) VALUES {values}{extra}")
        self.say("end", name, outcome, 0)
        return outcome == OK

    def hrana(self, sql):
        body = {"requests": [{"type": "execute", "stmt": {"sql": sql}}, {"type": "close"}]}
        connection = http.client.HTTPConnection("127.0.0.1", self.world.primary.port, timeout=60)
        try:
            connection.request("POST", self.world.pipeline, json.dumps(body))
            answer = connection.getresponse()
            result = json.loads(answer.read())
            if answer.status == 200 and result["results"][0]["type"] == "ok":
                return OK
            return UNKNOWN
        except (OSError, http.client.HTTPException, ValueError):
            return UNKNOWN
        finally:
            connection.close()


class World:
    pipeline = "/main/v2/pipeline"

    def __init__(self, directory, environment=()):
        self.directory = pathlib.Path(os.path.realpath(directory))
        self.app = self.directory / "app"
        self.fresh = self.directory / "fresh"
        for made in (self.app, self.fresh):
            made.mkdir(parents=True)
        self.app_control = faults.Control(self.directory / "app.control")
        self.primary_control = faults.Control(self.directory / "primary.control")
        self.record = self.directory / "record"
        self.recording = False
        self.ledger = Ledger()
        self.names = 0
        self.slowest = 0.0
        self.primary = self.make_primary(environment)

    def make_primary(self, environment):
        return harness.Primary(
            self.directory / "primary",
            environment={**faults.preloaded(self.primary_control), **dict(environment)},
        )

    # --- The application.

    def replica(self, name=None):
        path = self.app / f"{name or 'app'}.db"
        return harness.Replica(path, self.url(), sync_interval="off", timeout="30s")

    def url(self, database="main"):
        return self.primary.url(database)

    def next_name(self):
        """Also in a forked process, which may die here: names are numbered by a file, and that is replaced."""
        counter = self.directory / "names"
        number = int(counter.read_text()) + 1 if counter.exists() else 1
        fresh = counter.with_suffix(".fresh")
        fresh.write_text(str(number))
        os.replace(fresh, counter)
        return str(number)

    def mark(self, text):
        if self.recording:
            with open(self.record, "ab", buffering=0) as record:
                record.write(f"mark {text}\n".encode())

    def attempt(self, body, on_line=None, watch_primary=None):
        """`body(run)` in a process of its own: what it returns, or None if it died of SIGKILL.

        `on_line` is told each line that it says; `watch_primary` is called when the primary ends meanwhile."""
        reading, writing = os.pipe()
        go, let_go = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._be_the_application(body, writing, go)
        os.close(writing)
        os.close(go)
        result = None
        try:
            for line in self._lines(reading, watch_primary):
                self.ledger.take(line)
                if line[0] == "result":
                    result = line
                elif line[0] == "failure":
                    raise AssertionError(f"the application failed:\n{line[1]}")
                elif on_line is not None and on_line(line):
                    os.write(let_go, b"g")
        finally:
            os.close(reading)
            os.close(let_go)
            status = self._reap(pid)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            return None
        if status != 0 or result is None:
            raise AssertionError(f"the application ended with status {status}")
        return result[1]

    def _be_the_application(self, body, pipe, go):
        try:
            faults.use(self.app_control)
            run = Run(self, pipe, go)
            result = body(run)
            if run.db is not None:
                run.db.close()
            os.write(pipe, (json.dumps(["result", result]) + "\n").encode())
            os._exit(0)
        except BaseException:  # Whatever it is, the test has to hear of it.
            os.write(pipe, (json.dumps(["failure", traceback.format_exc()]) + "\n").encode())
        finally:
            os._exit(1)

    def _lines(self, pipe, watch_primary):
        buffer = b""
        deadline = time.monotonic() + 180
        pidfd, watched = -1, None
        try:
            while True:
                waited = [pipe]
                if watch_primary is not None:
                    if watched is not self.primary.process:
                        pidfd = close_and_forget(pidfd)
                        watched = self.primary.process
                        if watched is not None:
                            pidfd = os.pidfd_open(watched.pid)
                    waited += [pidfd] if pidfd >= 0 else []
                ready, _, _ = select.select(waited, [], [], max(0, deadline - time.monotonic()))
                if not ready:
                    raise AssertionError("the application does not come to its end")
                if pidfd in ready:
                    watch_primary()
                    continue
                data = os.read(pipe, 65536)
                if not data:
                    return
                buffer += data
                *whole, buffer = buffer.split(b"\n")
                yield from (json.loads(line) for line in whole)
        finally:
            close_and_forget(pidfd)

    def _reap(self, pid):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return status
            time.sleep(0.0005)
        os.kill(pid, signal.SIGKILL)
        return os.waitpid(pid, 0)[1]

    # --- The primary.

    def primary_has_ended(self):
        """After a SIGTERM: whether it came to a clean end, and was not killed on the way."""
        process, self.primary.process = self.primary.process, None
        code = process.wait(60)
        process.stdout.close()
        if code not in (0, -signal.SIGKILL):
            raise AssertionError(f"turso-primary ended with {code}:\n{self.primary.log_text()[-3000:]}")
        return code == 0

    def primary_has_died(self):
        process, self.primary.process = self.primary.process, None
        code = process.wait(60)
        process.stdout.close()
        if code != -signal.SIGKILL:
            raise AssertionError(f"turso-primary ended with {code}:\n{self.primary.log_text()[-3000:]}")

    def end_primary(self, how):
        if how == "kill":
            self.primary.kill()
        else:
            self.primary.stop()

    def start_to_die(self):
        """Starts the primary; true if it lived to listen."""
        with open(self.primary.log_path, "ab") as log:
            process = subprocess.Popen(
                harness.dies_with_us(self.primary.command()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.primary.environment,
            )
        line = harness.read_line(process.stdout, 30)
        self.primary.process = process
        if "listening on" in line:
            return True
        self.primary_has_died()
        return False

    def database_file(self):
        return self.primary.data / "main.db"

    def set_up(self):
        """An application that has a replica, with two tables."""
        self.primary.start()

        def body(run):
            run.connect(self.url())
            run.db.execute("PRAGMA journal_mode")
            run.db.execute(
                "CREATE TABLE log(id INTEGER PRIMARY KEY, text TEXT NOT NULL, padding BLOB)"
            )
            run.db.execute("CREATE TABLE bulk(id INTEGER PRIMARY KEY, data BLOB)")
            run.db.executemany(
                "INSERT INTO bulk(data) VALUES (randomblob(?))", [(2500,)] * ROWS_OF_BULK
            )
            run.db.execute("CREATE INDEX log_text ON log(text)")

        self.attempt(body)

    def end(self):
        for control in (self.app_control, self.primary_control):
            control.disarm()
        self.primary.kill()

    def empty(self, directory):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()

    # --- What must be so afterwards.

    def verify(self, name=None, with_url=False, boot=None):
        """Opens the replica anew and looks at everything. Texts of what is wrong."""
        start = time.monotonic()
        self.app_control.arm(self.app, "quick", *([] if boot is None else [f"boot {boot}"]))
        self.empty(self.fresh)

        def body(run):
            return check_replica(run, self, name, with_url)

        result = self.attempt(body)
        self.app_control.disarm()
        wrong, texts = self.ledger.faults(result["rows"])
        texts += result["texts"]
        texts += self.foreign_hands()
        self.slowest = max(self.slowest, time.monotonic() - start)
        return wrong, texts

    def foreign_hands(self):
        """A crash of ours must not be taken for another program's work."""
        texts = [f"{path.name} was set aside" for path in self.app.glob("*.aside-*")]
        for path in self.app.glob("*.aside-*"):
            path.unlink()
        log = self.primary.log_text()
        texts += [line for line in log.splitlines() if "another program" in line]
        if self.primary.log_path.exists():
            os.truncate(self.primary.log_path, 0)
        return texts


def check_replica(run, world, name, with_url):
    texts = []
    db = run.connect(world.url() if with_url else None, name)
    sync(db)
    rows = all_rows(db)
    for (answer,) in db.execute("PRAGMA integrity_check").fetchall():
        if answer != "ok":
            texts.append(f"integrity_check: {answer}")
    fresh = world.fresh / "fresh.db"
    db.execute("SELECT turso_replica(?, ?)", (str(fresh), world.url()))
    busy, frames, moved = db.execute("PRAGMA wal_checkpoint").fetchone()
    if busy or frames != moved:
        texts.append(f"the replica's checkpoint: {busy} {frames} {moved}")
    texts += differences(pathlib.Path(world.replica(name=name).path), fresh)
    if not run.commit("small"):
        texts.append(f"the next write fails: {harness.last_error(db)}")
    sync(db)
    (state,) = db.execute("SELECT state FROM turso_status").fetchone()
    if state != "live":
        texts.append(f"the replica is {state} in the end")
    last_rows = all_rows(db)
    if last_rows[: len(rows)] != rows:
        texts.append("rows that were there are gone after the next write")
    return {"rows": last_rows, "texts": texts}


def all_rows(db):
    return [text for (text,) in db.execute("SELECT text FROM log ORDER BY id")]


def sync(db):
    """A pull gives way to whoever else is at it; nobody is, for long."""
    for last in (False, False, True):
        try:
            return db.execute("SELECT turso_sync()").fetchone()[0]
        except sqlite3.Error as error:
            if last or harness.family(harness.error_code(error)) != harness.BUSY:
                raise


def differences(replica, other):
    """Of two database files without anything in their logs; byte 18 of page 1 is the replica's guard."""
    ours, theirs = bytearray(replica.read_bytes()), bytearray(other.read_bytes())
    ours[18:19] = theirs[18:19]
    if ours == theirs:
        return []
    pages = [
        1 + at // 4096
        for at in range(0, max(len(ours), len(theirs)), 4096)
        if ours[at : at + 4096] != theirs[at : at + 4096]
    ]
    return [f"{replica.name} and its primary differ in pages {pages[:20]} of {len(theirs) // 4096}"]
