#!/usr/bin/python3
"""Runs files of sqllogictest (https://sqlite.org/sqllogictest) on plain SQLite and on a replica, and compares what each
record answers. What the files expect is not looked at: some collections of them were made for other databases.

    TURSO_BUILD_DIR=build tests/sqlite_suite/logictest.py FILE.test...

The files are not part of this project."""

import hashlib
import multiprocessing
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile

BUILD = pathlib.Path(os.environ.get("TURSO_BUILD_DIR", "build")).resolve()
ENGINE = "sqlite"


def records(text):
    """(kind, SQL), where kind is "statement" or "query"."""
    for block in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n")):
        lines = [line for line in block.split("\n") if not line.startswith("#")]
        while lines and (not lines[0].strip() or lines[0].split()[0] in ("skipif", "onlyif")):
            words = lines.pop(0).split()
            if words and (words[0] == "skipif") == (words[1] == ENGINE):
                lines = []
        if not lines or lines[0].split()[0] not in ("statement", "query"):
            continue
        sql = []
        for line in lines[1:]:
            if line.startswith("----"):
                break
            sql.append(line)
        yield lines[0].split()[0], "\n".join(sql)


def digest_of(path, database):
    """(records, digest of all answers) of the file, on a fresh database."""
    db = sqlite3.connect(database, isolation_level=None)
    db.text_factory = bytes
    digest, count = hashlib.sha256(), 0
    for kind, sql in records(path.read_text(encoding="utf-8", errors="replace")):
        count += 1
        try:
            rows = db.execute(sql).fetchall()
            answer = repr(sorted(rows, key=repr)) if kind == "query" else "ok"
        except (sqlite3.Error, sqlite3.Warning) as error:
            answer = str(error)
        digest.update(f"{kind} {answer}\n".encode())
    db.close()
    return count, digest.hexdigest()


def run(question):
    path, database, url = question
    if url is not None:
        os.environ["TURSO_VFS_PROVISION"] = url
        loader = sqlite3.connect(":memory:")
        loader.enable_load_extension(True)
        loader.execute("SELECT load_extension(?, 'sqlite3_tursovfs_default_init')", (str(BUILD / "libturso_vfs.so"),))
    return digest_of(path, database)


def main():
    paths = [pathlib.Path(name).resolve() for name in sys.argv[1:]]
    if not paths:
        sys.exit(__doc__)
    different = total = 0
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="turso-logictest-", dir=memory) as directory:
        data = os.path.join(directory, "primary")
        primary = subprocess.Popen([BUILD / "turso-primary", "--listen", "127.0.0.1:0", "--data", data, "--create"],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            url = primary.stdout.readline().removeprefix("listening on ").strip()
            # A process of its own for each: what is loaded stays loaded.
            with multiprocessing.get_context("spawn").Pool(os.cpu_count() * 2, maxtasksperchild=1) as pool:
                answers = pool.imap(run, [(path, os.path.join(directory, f"{n}-{name}.db"), where)
                                          for n, path in enumerate(paths)
                                          for name, where in (("plain", None), ("replica", url))])
                for path in paths:
                    expected, got = next(answers), next(answers)
                    total += got[0]
                    if got != expected:
                        different += 1
                        print(f"{path.name}: {got} and not {expected}", flush=True)
        finally:
            primary.send_signal(signal.SIGTERM)
            primary.wait()
    print(f"{len(paths)} files, {total} records, {different} files answered otherwise than plain SQLite")
    return 1 if different or primary.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
