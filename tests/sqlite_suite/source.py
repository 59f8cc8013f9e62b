"""SQLite's own test programs, built from Debian's source package.

The source is fetched by `fetch` (scripts/install-deps --test does that), into build/sqlite-suite/; nothing else here
touches the network. `build` makes the programs there, once.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# As Debian's library, beside what SQLite's Makefile itself gives its test programs.
CONFIGURE = ["--with-tcl=/usr/lib/tcl8.6", "--enable-fts5", "--enable-session", "--quiet"]


class SuiteError(Exception):
    """Something that the person who runs the suite has to change; the text says what."""


def directory():
    return ROOT / "build" / "sqlite-suite"


@contextlib.contextmanager
def _only_one(place):
    place.mkdir(parents=True, exist_ok=True)
    with open(place / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command, log, **arguments):
    with open(log, "ab") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False, **arguments)
    if done.returncode != 0:
        tail = log.read_text(errors="replace").splitlines()[-15:]
        raise SuiteError(f"{' '.join(map(str, command))} failed; {log} ends with:\n" + "\n".join(tail))


def installed_version():
    """Of Debian's libsqlite3: its source package has the same one."""
    asked = subprocess.run(["dpkg-query", "-W", "-f=${source:Version}", "libsqlite3-0"],
                           capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        raise SuiteError("libsqlite3-0 is not installed: run scripts/install-deps --test")
    return asked.stdout.strip()


def is_fetched():
    return (directory() / "source" / "test" / "permutations.test").is_file()


def _private_sources(apt):
    """The system's package sources as sources of source packages, for one call of apt-get."""
    parts = apt / "sources.list.d"
    parts.mkdir(parents=True)
    found = False
    etc = pathlib.Path("/etc/apt")
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".list":
            text = "\n".join(re.sub(r"^deb\b", "deb-src", line) for line in text.splitlines()
                             if re.match(r"\s*deb\b(?!-src)", line)) + "\n"
        else:
            text = re.sub(r"^Types:.*$", "Types: deb-src", text, flags=re.M)
        if "debian" not in text:
            continue  # A vendor's, which need not have sources.
        (parts / path.name).write_text(text, encoding="utf-8")
        found = True
    if not found:
        raise SuiteError("no package source in /etc/apt names Debian")
    for name in ("lists/partial", "cache/archives/partial"):
        (apt / name).mkdir(parents=True)
    configuration = apt / "apt.conf"
    configuration.write_text(
        f'Dir::Etc::SourceList "{apt}/none";\nDir::Etc::SourceParts "{parts}";\n'
        f'Dir::State::Lists "{apt}/lists";\nDir::Cache "{apt}/cache";\n'
        # What is fetched goes to a directory of ours, which the user _apt need not reach.
        'APT::Sandbox::User "root";\n', encoding="utf-8")
    return configuration


def fetch():
    """SQLite's, into directory()/source."""
    place = directory()
    with _only_one(place):
        if not is_fetched():
            # The archive may have gone on since the library was installed.
            fetch_package("sqlite3", place, [f"sqlite3={installed_version()}", "sqlite3"])


def fetch_package(package, place, wanted=None):
    """Debian's source package, to PLACE/source, by apt with a configuration of its own: neither root nor a change of
    the system's. The first of `wanted` that can be had."""
    apt = place / "apt"
    shutil.rmtree(apt, ignore_errors=True)
    shutil.rmtree(place / "source", ignore_errors=True)
    log = place / "fetch.log"
    log.unlink(missing_ok=True)
    environment = dict(os.environ, APT_CONFIG=str(_private_sources(apt)), LC_ALL="C.UTF-8")
    _run(["apt-get", "-q", "update"], log, env=environment)
    for version in wanted or [package]:
        try:
            _run(["apt-get", "-q", "source", "--download-only", version], log, env=environment, cwd=apt)
            break
        except SuiteError as failure:
            problem = failure
    else:
        raise problem
    (description,) = apt.glob(f"{package}_*.dsc")
    _run(["dpkg-source", "--extract", description, apt / "source"], log)
    (apt / "source").rename(place / "source")
    shutil.rmtree(apt)


def _recipe():
    parts = [*CONFIGURE, (HERE / "default_vfs.h").read_text()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def build(*programs):
    """The directory with these programs."""
    place = directory()
    if not is_fetched():
        raise SuiteError("the source of SQLite is not there: run scripts/install-deps --test")
    objects = place / "programs"
    stamp = objects / "recipe"

    def is_current():
        return stamp.is_file() and stamp.read_text() == _recipe()

    def missing():
        return [program for program in programs if not (objects / program).exists()]

    if is_current() and not missing():
        return objects
    with _only_one(place):
        log = place / "build.log"
        log.unlink(missing_ok=True)
        if not is_current():
            shutil.rmtree(objects, ignore_errors=True)
            objects.mkdir()
            _run(["../source/configure", *CONFIGURE], log, cwd=objects, env=dict(os.environ, CFLAGS=""))
            # Made by one process: their rules do not know each other.
            _run(["make", "sqlite3.c", "lemon", "mkkeywordhash"], log, cwd=objects)
            stamp.write_text(_recipe())
        flags = f"-O2 -DSQLITE_OS_UNIX=1 -DSQLITE_EXTRA_INIT=turso_suite_init -include {HERE / 'default_vfs.h'}"
        if missing():
            _run(["make", f"-j{os.cpu_count()}", f"CFLAGS={flags}", *missing()], log, cwd=objects)
        return objects
