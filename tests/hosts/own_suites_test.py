"""The own tests of go-sqlite3, DBD::SQLite, CPython and peewee, with every database file a replica, beside the same on plain files.

TURSO_VFS_PROVISION makes each new database a replica of a fresh one at a primary. What differs from plain files must be
what EXPECTED lists, with the reason. Where a test depends on time, a loaded machine can fail it: it counts as failed if it also fails alone.
"""

import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request

import packages
import pythons
from host import EXTENSION, HERE, HOOKS, PRELOAD, PYTHON, HostTest, main, plain_environment

sys.path.insert(0, str(HERE.parent / "sqlite_suite"))

import source as debian_source  # noqa: E402

PROGRAMS = HERE / "programs"
SUITE_SECONDS = 600


class OwnSuite(HostTest):
    way_in = "own tests, provisioned"
    EXPECTED = {}

    def outcomes(self, environment, only=None):
        """{test: whether it passed}"""
        raise NotImplementedError

    def provisioned(self, primary):
        return {"TURSO_VFS_PROVISION": primary.base_url, "TURSO_VFS_EXTENSION": EXTENSION}

    def compare(self, least):
        plain = self.outcomes({})
        self.assertGreater(len(plain), least, "tests that ran")
        primary = self.primary()
        ours = self.outcomes(self.provisioned(primary))
        self.assertEqual(plain.keys(), ours.keys(), "the tests that ran")
        suspects = [test for test in ours if plain[test] and not ours[test] and test not in self.EXPECTED]
        failed = [test for test in suspects if not self.outcomes(self.provisioned(primary), test)[test]]
        commits = commits_at(primary)
        print(
            f"{self.host}: {sum(plain.values())} of {len(plain)} pass on plain files, {sum(ours.values())} on replicas, "
            f"{commits} commits at the primary",
            flush=True,
        )
        self.assertEqual(failed, [])
        for test, reason in self.EXPECTED.items():
            self.assertFalse(ours[test], f"{test} passes, though {reason}")
        return commits


def commits_at(primary):
    """How many transactions came from replicas, to all databases."""
    with urllib.request.urlopen(f"{primary.base_url}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return sum(int(number) for number in re.findall(r"^turso_page_commits_total\{[^}]*\} (\d+)$", text, re.M))


class GoSqlite3(OwnSuite):
    host = "go-sqlite3's own tests"
    EXPECTED = {
        "TestFileCopyTruncate": "it empties the file behind SQLite's back; in WAL mode the log has it all",
    }

    @classmethod
    def prepare(cls):
        packages.require("go")
        module = packages.run(["go", "list", "-m", "-f", "{{.Path}}@{{.Version}}", "github.com/mattn/go-sqlite3"],
                              cwd=PROGRAMS / "go").strip()
        key = [module, (PROGRAMS / "go_suite" / "turso_test.go").read_text("utf-8")]

        def make(place):
            found = json.loads(packages.run(["go", "mod", "download", "-json", module], cwd=PROGRAMS / "go"))
            tree = place / "source"
            shutil.copytree(found["Dir"], tree)
            packages.run(["chmod", "-R", "u+w", tree])
            shutil.copy(PROGRAMS / "go_suite" / "turso_test.go", tree)
            tags = "libsqlite3 sqlite_fts5 sqlite_json"
            packages.run(["go", "test", "-c", "-tags", tags, "-o", place / "suite", "."], cwd=tree)

        cls.place = packages.once("go-suite", key, make)
        cls.module_version = module.split("@v")[1]

    @classmethod
    def version(cls):
        return cls.module_version

    def outcomes(self, environment, only=None):
        os.makedirs(self.path("tmp"), exist_ok=True)
        command = [self.place / "suite", "-test.v", "-test.timeout", f"{SUITE_SECONDS}s"]
        if only:
            command += ["-test.run", f"^{only}$"]
        ran = subprocess.run(
            [str(part) for part in command],
            cwd=self.place / "source",
            env=plain_environment(**environment, TMPDIR=self.path("tmp")),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SUITE_SECONDS + 60,
            check=False,
        )
        found = re.findall(r"^--- (PASS|FAIL|SKIP): (\w+)", ran.stdout, re.M)
        self.assertTrue(found, ran.stdout[-2000:] + ran.stderr[-2000:])
        return {name: outcome != "FAIL" for outcome, name in found}

    def test_they_pass_on_replicas_as_on_plain_files(self):
        self.assertGreater(self.compare(60), 500)


class DbdSqlite(OwnSuite):
    """A test here is one of the numbered tests of a file. Most want a database in memory, and get a file: programs/MemoryAsFile.pm."""

    host = "DBD::SQLite's own tests"
    programs = ("perl", "dpkg-source")
    EXPECTED = {
        "08_busy.t 9": "its child opens a database that its parent has open across the fork",
        "08_busy.t 20": "the same, with the other way to call a method",
    }

    @classmethod
    def prepare(cls):
        cls.packaged = packages.run(["dpkg-query", "-W", "-f=${source:Version}", "libdbd-sqlite3-perl"])
        cls.place = packages.once("dbd-sqlite", cls.packaged, cls._fetch)

    @classmethod
    def _fetch(cls, place):
        package = "libdbd-sqlite3-perl"
        debian_source.fetch_package(package, place, [f"{package}={cls.packaged}", package])

    @classmethod
    def version(cls):
        return cls.packaged.split("-")[0]

    def outcomes(self, environment, only=None):
        hooks = ["MemoryAsFile"]
        if environment:
            hooks.insert(0, "TursoVfs")
        environment = plain_environment(
            **environment, PERL5OPT=" ".join(f"-M{hook}" for hook in hooks), PERL5LIB=f"{HOOKS}:{PROGRAMS}"
        )
        files = [only.split()[0]] if only else sorted(file.name for file in (self.place / "source" / "t").glob("*.t"))
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            said = pool.map(lambda file: self.run_file(file, environment), files)
        found = {}
        for file, text in zip(files, said):
            for failed, number, rest in re.findall(r"^(not )?ok (\d+)\b(.*)$", text, re.M):
                found[f"{file} {number}"] = not failed or "# TODO" in rest
        return found

    def run_file(self, file, environment):
        with tempfile.TemporaryDirectory(dir=self.directory) as directory:
            for name in ("t", "inc"):
                os.symlink(self.place / "source" / name, os.path.join(directory, name))
            command = ["perl", "-I.", "-It/lib", f"t/{file}"]
            return subprocess.run(
                command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True, errors="replace", timeout=SUITE_SECONDS, check=False,
            ).stdout

    def test_they_pass_on_replicas_as_on_plain_files(self):
        self.assertGreater(self.compare(3000), 500)


class PythonSuite(OwnSuite):
    """Of which a program prints the outcome of each test."""

    def run_suite(self, command, only, **environment):
        with tempfile.TemporaryDirectory(dir=self.directory) as directory:
            ran = subprocess.run(
                [str(part) for part in (*command, *([only] if only else []))],
                cwd=directory, env=plain_environment(**environment, MEMORY_DIRECTORY=directory), stdin=subprocess.DEVNULL,
                capture_output=True, text=True, errors="replace", timeout=SUITE_SECONDS, check=False,
            )
        found = re.findall(r"^(passed|failed) ([\w.]+)$", ran.stdout, re.M)
        self.assertTrue(found, ran.stdout[-2000:] + ran.stderr[-2000:])
        return {name: outcome == "passed" for outcome, name in found}


class CPython(PythonSuite):
    """A Python without load_extension, behind libturso_preload; programs/cpython_suite.py turns memory into files."""

    host = "CPython's test_sqlite3"
    EXPECTED = {
        "test.test_sqlite3.test_dbapi.MultiprocessTests.test_ctx_mgr_rollback_if_commit_failed": "it wants a reader to be in "
        "a commit's way, which is so with a rollback journal only",
    }

    @classmethod
    def prepare(cls):
        cls.python = pythons.without_load_extension("test.test_sqlite3")

    @classmethod
    def version(cls):
        return cls.output([cls.python, "-c", "import platform; print(platform.python_version())"])

    def outcomes(self, environment, only=None):
        if environment:
            environment = {**environment, "LD_PRELOAD": PRELOAD}
        return self.run_suite([self.python, PROGRAMS / "cpython_suite.py"], only, **environment)

    def test_they_pass_on_replicas_as_on_plain_files(self):
        self.assertGreater(self.compare(400), 300)


class Peewee(PythonSuite):
    """Debian's source package has them; the one on PyPI does not. A test of it leaves connections behind, and the next one deletes
    the file and makes it anew."""

    host = "peewee's own tests"
    programs = ("dpkg-source",)

    @classmethod
    def prepare(cls):
        cls.place = packages.once("peewee-suite", "peewee", lambda place: debian_source.fetch_package("peewee", place))

    @classmethod
    def version(cls):
        return re.search(r"^__version__ = '([\d.]+)'", (cls.place / "source" / "peewee.py").read_text("utf-8"), re.M)[1]

    def outcomes(self, environment, only=None):
        if environment:
            environment = {**environment, "PYTHONPATH": HOOKS / "python"}
        return self.run_suite([PYTHON, PROGRAMS / "peewee_suite.py", self.place / "source"], only, **environment)

    def test_they_pass_on_replicas_as_on_plain_files(self):
        self.assertGreater(self.compare(700), 1000)


if __name__ == "__main__":
    main()
