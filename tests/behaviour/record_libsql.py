#!/usr/bin/python3
"""Records what a replica of ours and the sqld in $SQLD say to each other: tests/fixtures/libsql.

    TURSO_BUILD_DIR=build SQLD=/path/to/sqld tests/behaviour/record_libsql.py

An exchange is two files, NAME.request and NAME.answer: header lines, an empty line, the body. LOG.db is the database
file that sqld had at the end of a log.
"""

import http.client
import http.server
import pathlib
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import libsql_server
from fake_sqld import field, fields, numbers
from harness import Replica, load_extension, wait_until

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "libsql"
KEPT = ("content-type", "grpc-status", "grpc-message", "x-session-token", "authorization")
LOG = "/wal_log.ReplicationLog/"
PIPELINE = "/v3-protobuf/pipeline"


class Recorder(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, server):
        super().__init__(("127.0.0.1", 0), Handler)
        self.target, self.exchanges = server.port, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, name=""):
        return f"http://127.0.0.1:{self.server_address[1]}" + (f"/{name}" if name else "")

    def ask(self, path, body, **headers):
        """An exchange that no replica has at will. What is kept of it."""
        kind = "application/x-protobuf" if path == PIPELINE else "application/grpc-web+proto"
        headers = {"Content-Type": kind, **{n.replace("_", "-"): v for n, v in headers.items()}}
        return self.exchange(path, headers, body)[0]

    def exchange(self, path, headers, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.target, timeout=60)
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        kept = (
            path,
            text([("path", path)], headers.items(), body),
            text([("status", str(response.status))], response.getheaders(), answer),
            body,
            answer,
        )
        self.exchanges.append(kept)
        return kept, response

    def last(self, path, wanted=lambda body, answer: True):
        return [e for e in self.exchanges if e[0] == path and wanted(e[3], e[4])][-1]


def text(first, headers, body):
    kept = sorted((n.lower(), v) for n, v in headers if n.lower() in KEPT)
    return "".join(f"{n}: {v}\n" for n, v in [*first, *kept]).encode() + b"\n" + body


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        dropped = ("host", "content-length", "connection", "expect")
        headers = {n: v for n, v in self.headers.items() if n.lower() not in dropped}
        kept, response = self.server.exchange(self.path, headers, body)
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(kept[4])))
        self.end_headers()
        self.wfile.write(kept[4])


def save(name, exchange):
    (FIXTURES / f"{name}.request").write_bytes(exchange[1])
    (FIXTURES / f"{name}.answer").write_bytes(exchange[2])


def save_file(name, server):
    """As sqld leaves it, its WAL included."""
    server.stop()
    (source,) = server.directory.glob("data.sqld/dbs/*/data")
    copy = server.directory / "copy"
    shutil.copy(source, copy)
    if pathlib.Path(f"{source}-wal").exists():
        shutil.copy(f"{source}-wal", f"{copy}-wal")
    db = sqlite3.connect(copy)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.close()
    shutil.copy(copy, FIXTURES / f"{name}.db")


def request(number=None, first=0):
    message = field(1, number if number is not None else first)
    return b"\0" + struct.pack(">I", len(message)) + message


def follow(recorder, path):
    db = Replica(path, recorder.url(), sync_interval="off").connect()
    db.execute("SELECT turso_sync()").fetchall()
    return db


def starts_at_0(body, _answer=None):
    return numbers(body[5:]).get(1, 0) == 0


def record_log(directory):
    server = libsql_server.RealServer(directory / "log").start()
    recorder = Recorder(server)
    server.sql("CREATE TABLE t(a INTEGER PRIMARY KEY, b)", "INSERT INTO t VALUES(1, 'one')")
    fill = (
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 16) "
        "INSERT INTO t SELECT i, zeroblob(3000) FROM n"
    )
    server.sql("BEGIN", fill, "UPDATE t SET b = 7 WHERE a < 9", "COMMIT")
    server.sql("DELETE FROM t WHERE a > 10")
    server.sql("CREATE INDEX i ON t(b)")
    db = follow(recorder, directory / "log.replica")
    db.execute("SELECT turso_sync()").fetchall()
    db.close()
    batch = LOG + "BatchLogEntries"
    save("hello", recorder.last(LOG + "Hello"))
    whole = [e for e in recorder.exchanges if e[0] == batch and starts_at_0(e[3])]
    save("batch", max(whole, key=lambda e: len(e[4])))
    save("empty_batch", recorder.last(batch, lambda _b, a: len(a) < 100))
    other = "00000000-0000-4000-8000-000000000000"
    save("no_hello", recorder.ask(batch, request(0), x_session_token=other))
    save_file("batch", server)


def record_snapshot(directory):
    server = libsql_server.RealServer(directory / "cut", "--max-log-size", "1").start()
    recorder = Recorder(server)
    server.sql(
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6) "
        "INSERT INTO t SELECT i, zeroblob(3000) FROM n",
    )
    # What nobody writes again is in the snapshot alone.
    for n in range(3):
        server.sql(f"CREATE TABLE u{n} AS SELECT replace(hex(zeroblob(1500)), '00', 'u{n}') AS a")
    for n in range(500):
        server.sql(f"UPDATE t SET b = zeroblob({2500 + n})")
        if server.snapshots():
            break
    wait_until(server.snapshots, what="a snapshot")
    server.sql("UPDATE t SET b = 'last' WHERE a = 3")
    follow(recorder, directory / "cut.replica").close()
    save("need_snapshot", recorder.last(LOG + "BatchLogEntries", starts_at_0))
    save("snapshot", recorder.last(LOG + "Snapshot"))
    save("batch_after_snapshot", recorder.last(LOG + "BatchLogEntries", lambda _b, a: len(a) > 4000))
    save_file("snapshot", server)


def record_hrana(directory):
    server = libsql_server.RealServer(directory / "hrana").start()
    recorder = Recorder(server)
    db = follow(recorder, directory / "hrana.replica")
    db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
    db.execute("BEGIN")
    for value in (2**63 - 1, -(2**63), 0.1, b"\0\xff", "a\0b", None):
        db.execute("INSERT INTO t(b) VALUES(?)", (value,))
    db.execute("COMMIT")
    save("hrana_commit", recorder.last(PIPELINE, lambda body, _a: b"COMMIT" in body))
    statement = field(2, field(2, field(1, field(1, "INSERT INTO t VALUES(1, 2)"))))
    save("hrana_error", recorder.ask(PIPELINE, statement + field(2, field(1, b""))))
    begin = field(2, field(2, field(1, field(1, "BEGIN IMMEDIATE"))))
    baton = next(v for n, v in fields(recorder.ask(PIPELINE, begin)[4]) if n == 1)
    time.sleep(12)  # The server lets a stream wait for ten.
    save("hrana_expired", recorder.ask(PIPELINE, field(1, baton) + statement))
    db.close()
    server.stop()


def record_denied(directory):
    key = directory / "key"
    key.write_text("A" * 43)
    server = libsql_server.RealServer(directory / "denied", "--auth-jwt-key-file", key).start()
    hello = b"\0" + struct.pack(">I", 2) + field(1, 1)
    save("unauthenticated", Recorder(server).ask(LOG + "Hello", hello, authorization="Bearer a.b.c"))
    server.stop()


def main():
    if not libsql_server.SQLD:
        sys.exit("no sqld: set SQLD")
    load_extension()
    FIXTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        for record in (record_log, record_snapshot, record_hrana, record_denied):
            record(pathlib.Path(name))
    print(subprocess.check_output([libsql_server.SQLD, "--version"], text=True).strip())


if __name__ == "__main__":
    main()
