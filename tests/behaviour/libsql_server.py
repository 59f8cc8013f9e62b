"""libSQL servers for tests: a fake that is always there, and the real sqld where a machine has it.

sqld is somebody else's program and not part of this project. Tests look for it in $SQLD and in the PATH; where it is
not, they run against the fake alone (tests/support/fake_sqld.py), which is also what CI does.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

import harness

FAKE = pathlib.Path(__file__).resolve().parents[1] / "support" / "fake_sqld.py"
SQLD = os.environ.get("SQLD") or shutil.which("sqld")


def free_port():
    """Nobody's now; somebody else may be faster."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class HranaError(Exception):
    pass


class Server:
    """What both have in common: SQL by Hrana, as any of its clients would send it."""

    def __init__(self, directory, token=None):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.token = token
        self.process = None
        self.log_path = self.directory / "server.log"

    def url(self, name=""):
        return f"http://127.0.0.1:{self.port}" + (f"/{name}" if name else "")

    def file(self, _name=None):
        return None

    def database_file(self):
        """An ordinary SQLite database, to be opened while the server is stopped."""
        raise NotImplementedError

    def post(self, path, body):
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(
            self.url() + path, data=json.dumps(body).encode(), headers=headers
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)

    def sql(self, *statements, patient=True):
        """Each statement by itself, on one connection; the rows of the last. Waits for the slot to write, if patient."""
        deadline = time.monotonic() + harness.START_SECONDS
        while True:
            try:
                return self._sql(*statements)
            except HranaError as error:
                if not patient or "locked" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)

    def _sql(self, *statements):
        requests = [{"type": "execute", "stmt": {"sql": s}} for s in statements]
        answer = self.post(
            "/v2/pipeline", {"baton": None, "requests": [*requests, {"type": "close"}]}
        )
        for result in answer["results"]:
            if result["type"] == "error":
                raise HranaError(result["error"]["message"])
        rows = answer["results"][len(statements) - 1]["response"]["result"]["rows"]
        return [tuple(_value(v) for v in row) for row in rows]

    def log_text(self):
        try:
            return self.log_path.read_text("utf-8", "replace")
        except OSError:
            return ""

    def _end(self, number):
        if self.process is None:
            return
        process, self.process = self.process, None
        process.send_signal(number)
        try:
            process.wait(harness.START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def stop(self):
        self._end(signal.SIGTERM)

    def kill(self):
        self._end(signal.SIGKILL)


def _value(value):
    kind = value["type"]
    if kind == "null":
        return None
    return int(value["value"]) if kind == "integer" else value["value"]


class FakeServer(Server):
    """tests/support/fake_sqld.py."""

    port = 0

    def database_file(self):
        return self.directory / "data"

    def start(self):
        command = [harness.PYTHON, FAKE, "--data", self.directory]
        command += ["--listen", f"127.0.0.1:{self.port}"]
        if self.token:
            command += ["--token", self.token]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                harness.dies_with_us(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        line = harness.read_line(self.process.stdout, harness.START_SECONDS)
        match = re.search(r"listening on http://127.0.0.1:(\d+)", line)
        if not match:
            raise AssertionError(f"fake_sqld did not start: {line}\n{self.log_text()}")
        self.port = int(match.group(1))
        return self

    def restart(self):
        """As a clean stop and start leave it to clients."""
        self.post("/fake/forget", {})

    def crash(self):
        """As a kill and a start leave it: the content, under another log."""
        self.post("/fake/forget", {})
        self.post("/fake/new-log", {})

    def back_up(self):
        self.post("/fake/back-up", {})

    def set_back(self):
        self.post("/fake/set-back", {})

    def compact(self, **state):
        self.post("/fake/compact", state)

    def damage(self, what, calls=1):
        self.post("/fake/damage", {"what": what, "calls": calls})

    def fault(self, what):
        self.post("/fake/fault", {"what": what})

    def expire(self):
        self.post("/fake/expire", {})

    def calm(self):
        self.post("/fake/calm", {})

    def stream_no_log(self):
        self.post("/fake/no-stream", {})

    def steal(self):
        """Takes the slot from whoever has it, as sqld does after five seconds for another writer."""
        self.post("/fake/steal", {})

    def calls(self):
        return self._get("/fake/requests")

    def streams(self):
        return self._get("/fake/streams")

    def _get(self, path):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url() + path, timeout=60) as answer:
            return json.load(answer)


class RealServer(Server):
    """sqld itself."""

    def __init__(self, directory, *arguments, token=None):
        super().__init__(directory, token)
        self.arguments = arguments

    def database_file(self):
        return self.directory / "data.sqld/dbs/default/data"

    def snapshots(self):
        return list(self.directory.glob("data.sqld/dbs/*/snapshots/*.snap"))

    def start(self):
        deadline_tries = 20
        for _ in range(deadline_tries):
            self.port = getattr(self, "port", None) or free_port()
            command = [SQLD, "--db-path", self.directory / "data.sqld", "--no-welcome"]
            command += ["--http-listen-addr", f"127.0.0.1:{self.port}", *self.arguments]
            with open(self.log_path, "ab") as log:
                self.process = subprocess.Popen(
                    harness.dies_with_us(command),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.directory,
                )
            if harness.wait_until(self._is_up_or_dead, what="sqld to start") == "up":
                return self
            self.process = self.port = None
        raise AssertionError(f"sqld did not start:\n{self.log_text()}")

    def _is_up_or_dead(self):
        if self.process.poll() is not None:
            return "dead"
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                pass
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(self.url() + "/health", timeout=5):
                return "up"
        except OSError:
            return None

    def back_up(self):
        self.stop()
        shutil.copytree(self.directory / "data.sqld", self.directory / "backup")
        self.start()

    def set_back(self):
        self.stop()
        shutil.rmtree(self.directory / "data.sqld")
        shutil.copytree(self.directory / "backup", self.directory / "data.sqld")
        self.start()

    def restart(self):
        self.stop()
        self.start()

    def crash(self):
        self.kill()
        self.start()
