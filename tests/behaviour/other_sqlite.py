"""SQLite libraries of other versions than Debian's, each in the build directory, fetched and built once.

A newer one comes inside the wheel of `apsw` (PyPI), an older one as source inside the package `sqlite3` (npm)."""

import fcntl
import pathlib
import subprocess
import tarfile

from harness import BUILD_DIR, PYTHON

APSW = "3.54.1.0"
OLD_NPM_PACKAGE = "sqlite3@4.1.1"
OLD_SOURCE = "deps/sqlite-autoconf-3300100.tar.gz"  # SQLite 3.30.1

_DIRECTORY = BUILD_DIR / "other-sqlite"


def newer_python_path():
    """A directory for PYTHONPATH in which `import apsw` finds a SQLite >= 3.50."""
    target = _DIRECTORY / f"apsw-{APSW}"
    with _only_one_at_a_time():
        if not (target / "done").exists():
            _run(
                [
                    PYTHON,
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--root-user-action=ignore",
                    "--only-binary",
                    ":all:",
                    "--upgrade",
                    "--target",
                    str(target),
                    f"apsw=={APSW}",
                ]
            )
            (target / "done").touch()
    return str(target)


def older_library():
    """The path of a shared library: SQLite 3.30.1 that can load extensions."""
    library = _DIRECTORY / "libsqlite-3.30.1.so"
    with _only_one_at_a_time():
        if not library.exists():
            source = _fetch_old_source()
            unfinished = library.with_suffix(".unfinished")
            _run(
                [
                    "cc",
                    "-O1",
                    "-fPIC",
                    "-shared",
                    "-DSQLITE_ENABLE_LOAD_EXTENSION",
                    "-o",
                    str(unfinished),
                    str(source / "sqlite3.c"),
                    "-lpthread",
                    "-ldl",
                ]
            )
            unfinished.rename(library)
    return str(library)


def _fetch_old_source():
    packed = _DIRECTORY / "npm"
    packed.mkdir(exist_ok=True)
    _run(["npm", "pack", "--silent", OLD_NPM_PACKAGE, "--pack-destination", str(packed)])
    archive = next(packed.glob("sqlite3-*.tgz"))
    with tarfile.open(archive) as package:
        package.extract(f"package/{OLD_SOURCE}", packed)
    with tarfile.open(packed / "package" / OLD_SOURCE) as source:
        source.extractall(packed)
    return next(packed.glob("sqlite-autoconf-*"))


class _only_one_at_a_time:
    def __enter__(self):
        _DIRECTORY.mkdir(parents=True, exist_ok=True)
        self.lock = open(_DIRECTORY / "lock", "w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.lock.close()


def _run(command):
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
        cwd=pathlib.Path("/"),
    )
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
