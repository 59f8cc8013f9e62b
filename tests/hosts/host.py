"""What every test of a host stands on: a published program or library, its own process, a replica, the primary.

    class PeeweeTest(HostTest):
        host = "peewee"                               # the row of the table in the README
        way_in = "default VFS"                        # how it comes to the replica

        @classmethod
        def prepare(cls):                             # once: what must be installed; see packages.py
            cls.packages = packages.pip("peewee", HERE / "peewee" / "requirements.txt")

        @classmethod
        def version(cls):                             # as the package itself says
            return cls.output([PYTHON, "-c", "import peewee; print(peewee.__version__)"], PYTHONPATH=cls.packages)

        def test_a_sentence_that_is_true_when_it_passes(self):
            app = self.app()                          # a primary, and app.db, a replica of its database "app"
            self.run_program(["..."], cwd=app.directory, environment={...})
            self.assertEqual(app.rows("SELECT ..."), [[...]])      # at the primary, not on the replica
            app.assert_replica(commits=3)

        def test_the_recipe_works_as_it_stands(self):
            self.run_recipe("peewee", self.app(made=False))

What passed goes to build/hosts/*.json, a file for each class, from which scripts/hosts-table makes the table.
Where CI=true, a runtime that is not installed is a failure; elsewhere its tests are skipped, and the table says so.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "behaviour"))

import harness  # noqa: E402  (see above; before sqlite3, too)
from harness import BUILD_DIR, EXTENSION, PYTHON, main  # noqa: E402,F401

import packages  # noqa: E402
import recipes  # noqa: E402
from packages import require  # noqa: E402,F401

PRELOAD = BUILD_DIR / "libturso_preload.so"
HOOKS = pathlib.Path(__file__).resolve().parents[2] / "extension" / "hooks"
HERE = pathlib.Path(__file__).resolve().parent
PROGRAM_SECONDS = 120

# How a block of a recipe is run; a class may add to it.
INTERPRETERS = {
    "sh": ["bash", "-euo", "pipefail"],
    "python": [PYTHON],
    "js": ["node"],
    "ts": ["node"],
    "php": ["php"],
    "ruby": ["ruby"],
    "perl": ["perl"],
    "r": ["Rscript"],
}
SUFFIXES = {"python": "py", "ruby": "rb", "perl": "pl", "r": "R"}


def plain_environment(**more):
    """Ours, without anything that leads a program to a replica, and `more`."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TURSO_") and name not in ("LD_PRELOAD", "PYTHONPATH", "NODE_OPTIONS")
    }
    environment.update({name: str(value) for name, value in more.items()})
    return environment


def hrana_value(cell):
    kind = cell["type"]
    if kind == "integer":
        return int(cell["value"])
    return cell["base64"] if kind == "blob" else cell.get("value")


class App:
    """A database at a primary and, in a directory of its own, a replica of it: app.db."""

    def __init__(self, test, primary, name="app", made=True):
        self.primary = primary
        self.name = name
        self.directory = tempfile.mkdtemp(prefix=f"{name}-", dir=test.directory)
        self.path = os.path.join(self.directory, f"{name}.db")
        self.url = primary.url(name)
        if made:
            self.make()

    def make(self):
        """What the documentation calls making the replica ahead: SELECT turso_replica(...), by the sqlite3 shell."""
        sql = f"SELECT turso_replica('{self.path}', '{self.url}')"
        packages.run(["sqlite3", "-cmd", f".load {EXTENSION}", ":memory:", sql], env=plain_environment())

    def uri(self, **more):
        return harness.Replica(self.path, None, **more).uri()

    def uri_with_url(self, **more):
        return harness.Replica(self.path, self.url, **more).uri()

    def execute(self, sql, *arguments):
        """At the primary, over Hrana; the rows."""
        arguments = [{"type": "text", "value": str(value)} for value in arguments]
        request = {"type": "execute", "stmt": {"sql": sql, "args": arguments}}
        body = json.dumps({"requests": [request, {"type": "close"}]}).encode()
        question = urllib.request.Request(f"{self.url}/v2/pipeline", body)
        with urllib.request.urlopen(question, timeout=60) as answer:
            result = json.load(answer)["results"][0]
        if result["type"] != "ok":
            raise AssertionError(f"the primary refuses {sql}: {result['error']['message']}")
        return [[hrana_value(cell) for cell in row] for row in result["response"]["result"]["rows"]]

    rows = execute

    def value(self, sql, *arguments):
        return self.execute(sql, *arguments)[0][0]

    def commits(self):
        """How many transactions the primary has taken from replicas."""
        if harness.REMOTE != "turso-primary":
            return self.commits_at_libsql()
        with urllib.request.urlopen(f"{self.primary.base_url}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        found = re.search(rf'^turso_page_commits_total{{database="{self.name}"}} (\d+)$', text, re.M)
        return int(found.group(1)) if found else 0

    def commits_at_libsql(self):
        """The upper half of the number of a replica's last commit counts its commits."""
        if not self.rows("SELECT 1 FROM sqlite_schema WHERE name = '_turso_vfs'"):
            return 0
        return sum(int(number[:8], 16) for (number,) in self.rows("SELECT hex(number) FROM _turso_vfs"))

    def assert_replica(self, commits=1):
        """The file is a replica, nothing beside it is a file with the name of a URI, and at least that many
        transactions came to the primary through replicas."""
        assert os.path.exists(self.path), f"there is no {self.path}: {os.listdir(self.directory)}"
        assert os.path.exists(self.path + "-turso"), f"{self.path} is no replica: it has no sidecar"
        self.assert_no_stray_files()
        came = self.commits()
        assert came >= commits, f"{came} commits came to the primary from replicas, not {commits}"

    def assert_no_stray_files(self):
        """No file of which the name is a URI was made by a program that does not know URIs."""
        for directory, folders, files in os.walk(self.directory):
            for name in [*folders, *files]:
                assert "file:" not in name and "?" not in name, f"stray {os.path.join(directory, name)}"

    def content(self):
        """All of the replica, read through the VFS in this process; compare with content_at_primary()."""
        connection = harness.Replica(self.path, self.url).connect()
        try:
            connection.execute("SELECT turso_sync()").fetchall()
            return harness.content(connection)
        finally:
            connection.close()

    def content_at_primary(self):
        """Of the primary's own file: the primary is stopped for a moment."""
        self.primary.stop()
        connection = self.primary.open_file(self.name)
        try:
            return harness.content(connection)
        finally:
            connection.close()
            self.primary.start()


class HostTest(harness.BehaviourTest):
    host = None
    way_in = None
    programs = ()  # That must be installed.
    interpreters = {}  # Additions to INTERPRETERS.

    @classmethod
    def prepare(cls):
        pass

    @classmethod
    def version(cls):
        raise NotImplementedError(f"{cls.__name__} does not say the version of {cls.host}")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        assert cls.host and cls.way_in, f"{cls.__name__} says no host, or no way in"
        cls._row = {"host": cls.host, "way in": cls.way_in, "version": "", "passed": 0}
        cls._row["tests"] = len(unittest.defaultTestLoader.getTestCaseNames(cls))
        cls._write_row()  # Nothing passed so far, whatever an earlier run had.
        try:
            require(*cls.programs)
            cls.prepare()
            cls._row["version"] = str(cls.version()).strip()
        except unittest.SkipTest as reason:
            cls._row["skipped"] = str(reason)
            raise
        finally:
            cls._write_row()

    @classmethod
    def tearDownClass(cls):
        cls._write_row()
        super().tearDownClass()

    @classmethod
    def _write_row(cls):
        if harness.REMOTE != "turso-primary":
            return  # The table is of replicas of a turso-primary.
        packages.HOSTS.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w.-]+", "-", f"{cls.host} {cls.way_in}".lower()).strip("-")
        (packages.HOSTS / f"{name}.json").write_text(json.dumps(cls._row) + "\n", "utf-8")

    def run(self, result=None):
        outcome = result if result is not None else self.defaultTestResult()
        before = len(outcome.failures) + len(outcome.errors) + len(outcome.skipped)
        super().run(outcome)
        if len(outcome.failures) + len(outcome.errors) + len(outcome.skipped) == before:
            type(self)._row["passed"] += 1
        return outcome

    def app(self, name="app", *, primary=None, made=True):
        return App(self, primary or self.primary(), name, made)

    def certificate(self):
        """For localhost, signed by itself: the files of the certificate and of its key."""
        certificate, key = self.path("certificate.pem"), self.path("key.pem")
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
        packages.run(command)
        return certificate, key

    @staticmethod
    def output(command, **environment):
        """What a command prints, which must end well. For versions."""
        return packages.run(command, env=plain_environment(**environment)).strip()

    def run_program(
        self, command, *, environment=None, cwd=None, stdin="", status=0, timeout=PROGRAM_SECONDS
    ):
        """Runs a host's program to its end; stdout and stderr are text. `status` is the exit status that it must end
        with; None for any but 0."""
        ran = subprocess.run(
            [str(part) for part in command],
            cwd=cwd or self.directory,
            env=plain_environment(**(environment or {})),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        as_expected = ran.returncode != 0 if status is None else status in (ran.returncode, "any")
        if not as_expected:
            self.fail(
                f"{command} ended with {ran.returncode}, not {status}:\n{ran.stdout}\n[stderr]\n{ran.stderr}"
            )
        return ran

    def run_recipe(self, page, app, *, environment=None, timeout=PROGRAM_SECONDS):
        """Runs the blocks of extension/recipes/PAGE.md in the directory of `app`; what they print, block by block."""
        said = []
        found = recipes.blocks(page)
        self.assertTrue(any(block.runs for block in found), f"{page}.md has nothing to run")
        for number, block in enumerate(found):
            suffix = SUFFIXES.get(block.language, block.language)
            name = os.path.join(app.directory, block.file or f"recipe-{number}.{suffix}")
            os.makedirs(os.path.dirname(name), exist_ok=True)
            pathlib.Path(name).write_text(recipes.placed(block.text, app.url, BUILD_DIR), "utf-8")
            if block.runs:
                interpreter = {**INTERPRETERS, **self.interpreters}[block.language]
                ran = self.run_program(
                    [*interpreter, name], cwd=app.directory, environment=environment, timeout=timeout
                )
                said.append(ran.stdout)
        return said
