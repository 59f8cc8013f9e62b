#!/usr/bin/python3
"""Makes the seeds of the fuzz targets from real objects: the files and messages of a turso-primary and its replicas, of
small pages. The inputs that fuzzing found (named by their hash) are left alone.

    TURSO_BUILD_DIR=build tests/fuzz/make_corpus.py
"""

import json
import os
import pathlib
import struct
import sys
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "behaviour"))
sys.path.insert(0, str(HERE.parent / "support"))

import harness  # noqa: E402
import fake_sqld  # noqa: E402
import proxy  # noqa: E402
import sqlite3  # noqa: E402

CORPUS = HERE / "corpus"
FIXTURES = HERE.parent / "fixtures" / "libsql"
SEED_BYTES_MAX = 4096
ERRORS = ["conflict", "busy", "denied", "outcome_unknown", "unheard-of"]


def text(value):
    data = value.encode() if isinstance(value, str) else bytes(value)
    return struct.pack("<H", len(data)) + data


def save(target, name, data):
    """Seeds are named seed-…; what was there under that name is replaced."""
    if len(data) > SEED_BYTES_MAX:
        return
    directory = CORPUS / target
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"seed-{name}").write_bytes(data)


class Recorder(proxy.Proxy):
    """Passes on, and keeps what was said."""

    def __init__(self, port):
        super().__init__(port)
        self.exchanges = []

    def _ask(self, handler, body):
        answer = super()._ask(handler, body)
        self.exchanges.append((handler.path.rsplit("/", 1)[1], body, answer))
        return answer


def runs(block, data):
    """The parts of a block of the wal-index that are not zero, as wal_index_fuzz.cc reads them."""
    found = []
    at = 0
    while at < len(data):
        if data[at] == 0:
            at += 1
            continue
        end = at
        while end < min(len(data), at + 255) and any(data[end : end + 8]):
            end += 1
        found.append(struct.pack("<BHB", block, at, end - at) + data[at:end])
        at = end
    return found


def provisional(slot):
    """As of a replica that shows a commit of its own whose pages the server has in another form."""
    slot = bytearray(slot)
    slot[112:124] = bytes(range(1, 9)) + struct.pack(">I", 7)
    place = b"AAECAwQFBgcICQoLDA0ODw.2a.9f.3"
    slot[1728 : 1728 + len(place)] = place
    return bytes(slot[:1800])


class MakeCorpus(harness.BehaviourTest):
    def test_seeds_are_made_of_real_objects(self):
        source = self.path("source.db")
        with sqlite3.connect(source) as plain:
            plain.executescript(
                "PRAGMA page_size=512; CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c UNIQUE);"
                "INSERT INTO t VALUES(1,'one',x'01'),(2,'two',2.5),(3,NULL,'three');"
            )
        plain.close()
        primary = self.primary(start=False)
        primary.make_database("main", "--from", source)
        primary.start()
        recorder = Recorder(primary.port)
        self.addCleanup(recorder.close)
        app = harness.Replica(self.path("app.db"), recorder.url("main"))
        db = self.open(app)
        db.execute("INSERT INTO t VALUES(4,'four',zeroblob(700))")
        other = self.open(harness.Replica(self.path("other.db"), recorder.url("main")))
        other.execute("DELETE FROM t WHERE a=2")
        db.execute("SELECT turso_sync()").fetchall()
        db.executescript("BEGIN; UPDATE t SET b='x'; CREATE INDEX i ON t(b); COMMIT")
        db.execute("PRAGMA wal_checkpoint").fetchall()
        db.execute("INSERT INTO t VALUES(9,'nine',9)")
        self.save_files(app, primary)
        self.save_exchanges(recorder.exchanges)
        self.save_hrana(primary)
        primary.stop()
        self.save_log("stopped", primary)
        self.save_words()
        self.save_libsql()
        self.save_hrana_answers()
        size = sum(file.stat().st_size for file in CORPUS.rglob("*") if file.is_file())
        count = sum(1 for file in CORPUS.rglob("*") if file.is_file())
        print(f"{count} files, {size} bytes in {CORPUS}")

    def save_files(self, app, primary):
        wal = pathlib.Path(app.path + "-wal").read_bytes()
        save("wal", "replica", wal[: 32 + 5 * 536])
        save("wal", "short", wal[: 32 + 536 + 100])
        shm = pathlib.Path(app.path + "-shm").read_bytes()[:32768]
        parts = runs(0, shm)[:120]
        for name, flags in (("found", 0), ("sealed", 1), ("restarted", 3)):
            ops = bytes([3, 1, 7, 2, 8, 200, 9]) + bytes(range(12))
            save("wal_index", name, bytes([flags, len(parts)]) + b"".join(parts) + ops)
        sidecar = pathlib.Path(app.path + "-turso").read_bytes()
        slots = [sidecar[4096 * i : 4096 * (i + 1)].rstrip(b"\0") for i in range(4)]
        save("sidecar", "header", b"\0" + slots[0][:64])
        save("sidecar", "slots", b"\1" + b"".join(text(slot[:1800]) for slot in slots[1:]))
        whole = sidecar[4096:8192]
        save("sidecar", "slot", b"\1" + text(whole[:4088]))
        save("sidecar", "converged", b"\1" + text(provisional(slots[1].ljust(1800, b"\0"))))
        entry = sidecar[16384 + 80 : 16384 + 80 + 200]
        shared = bytes([2, 2]) + struct.pack("<IB", 64, 16) + sidecar[16448:16464]
        shared += struct.pack("<IB", 80, 200) + entry + entry[8:20] + text("0123456789abcdef-9")
        save("sidecar", "shared", shared)
        self.save_log("running", primary)

    def save_log(self, name, primary):
        log = primary.file().with_name("main.db-log").read_bytes()
        save("primary_log", name, b"\1" + log)
        units, at = [], 40
        while log[at : at + 4] == b"TLU1":
            length = struct.unpack(">I", log[at + 4 : at + 8])[0]
            units.append(log[at + 16 : at + 16 + length])
            at += 16 + length
        save("primary_log", f"{name}-units", b"\2" + b"".join(map(text, units)) + b"torn")
        for index, unit in enumerate(units[:6]):
            save("primary_log", f"{name}-records-{index}", b"\0" + unit)

    def save_exchanges(self, exchanges):
        calls = ["identify", "pull", "-", "lease", "renew", "commit", "settle", "hashes", "fetch"]
        seen = set()
        for call, request, answer in exchanges:
            name = f"{call}-{answer.status}"
            if name in seen or len(answer.body) > 3000:
                continue
            seen.add(name)
            save("message", f"{name}-request", b"\0" + request)
            save("message", f"{name}-answer", b"\0" + answer.body)
            length = int.from_bytes(answer.body[4:8], "big")
            save("message", f"{name}-head", b"\2" + answer.body[8 : 8 + length])
            number = calls.index(call) if call in calls else 9
            save("primary_remote", name, bytes([number, 2, 0, 0]) + text(answer.body))
        made = b"\1\1\0" + struct.pack("<H", 77) + text('{"revision":"a-1","db_size":9}')
        save("message", "made", made + bytes([3]) + struct.pack("<III", 1, 2, 9) + b"some image")
        base = {"revision": "0123456789abcdef-8", "page_size": 512, "db_size": 20}
        heads = {
            0: dict(base, database_id="00" * 16, writable=True, protocol_version=1),
            1: dict(base, next_after_page=0),
            2: dict(base, next_after_page=0, since="0123456789abcdef-7"),
            3: dict(base, granted=True, fence=1, lifetime_ms=2000, pages_sent=True),
            4: {"lifetime_ms": 2000},
            5: dict(base, lease_ended=False),
            6: dict(base, outcome="committed"),
            7: dict(base, db_size=2, hashes=["00" * 16] * 2, next_after_page=0),
            8: base,
            9: {"order": "before"},
        }
        for call, head in heads.items():
            answer = bytes([3, 0, 0]) + text(json.dumps(head)) + bytes([0, 1]) + struct.pack("<I", 3)
            save("primary_remote", f"made-{call}", bytes([call]) + answer)
            save("primary_remote", f"made-{call}-twice", bytes([call]) + answer + answer)
        for index, error in enumerate(ERRORS):
            head = text(json.dumps({"error": error, "message": "it says"}))
            answer = bytes([3, [9, 9, 4, 13, 13][index], 0]) + head + bytes([0, 0])
            for call in (1, 5):
                save("primary_remote", f"error-{error}-{call}", bytes([call]) + answer)

    def save_hrana(self, primary):
        value = {"type": "integer", "value": "9007199254740993"}
        statement = {
            "sql": "SELECT ?, :b",
            "args": [value, {"type": "float", "value": 0.1}, {"type": "null"}],
            "named_args": [{"name": "b", "value": {"type": "blob", "base64": "/w=="}}],
            "want_rows": True,
        }
        condition = {"type": "and", "conds": [{"type": "ok", "step": 0}, {"type": "not", "cond":
                     {"type": "error", "step": 0}}, {"type": "is_autocommit"}]}
        batch = {"steps": [{"stmt": {"sql": "SELECT 1"}},
                           {"stmt": statement, "condition": condition}]}
        requests = [
            {"type": "execute", "stmt": statement},
            {"type": "batch", "batch": batch},
            {"type": "sequence", "sql": "SELECT 1; SELECT 2"},
            {"type": "describe", "sql": "SELECT ?1"},
            {"type": "store_sql", "sql_id": -5, "sql": "SELECT 5"},
            {"type": "execute", "stmt": {"sql_id": 2147483647}},
            {"type": "close_sql", "sql_id": -5},
            {"type": "get_autocommit"},
            {"type": "close"},
        ]
        for kind in (0, 1):
            body = json.dumps({"baton": None, "requests": requests[:3]}).encode()
            if kind == 1:
                request = urllib.request.Request(primary.url() + "/v3/pipeline", body)
                with urllib.request.urlopen(request) as answer:
                    self.assertIn(b'"ok"', answer.read())
            for index, one in enumerate(requests):
                alone = json.dumps({"requests": [one]}).encode()
                save("hrana_request", f"pipeline-{kind}-{index}", bytes([kind]) + alone)
        save("hrana_request", "cursor", b"\2" + json.dumps({"batch": batch}).encode())
        save("hrana_request", "base64", b"\3aGVsbG8gd29ybGQ=")
        values = b"\2" + b"\1" + struct.pack("<q", -(2**63)) + b"\2" + struct.pack("<d", 0.1)
        values += b"\3" + text("text\u00e9") + b"\4" + text(b"\0\xff")
        for index, sql in enumerate([
            "INSERT INTO t VALUES(1,2,3) RETURNING *", "ATTACH 'x.db' AS x", "VACUUM INTO 'y.db'",
            "PRAGMA journal_mode=delete", "SELECT CAST(x'ff' AS TEXT) AS broken",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 9) SELECT * FROM n",
            "BEGIN READONLY; SELECT * FROM sqlite_schema", "SELECT load_extension('x')",
        ]):
            made = bytes([index % 2, 5]) + b"\0" + values[1:] + bytes([index % 4]) + text(sql)
            save("hrana_session", f"sql-{index}", made)

    def save_libsql(self):
        """Of one exchange as tests/support/fake_sqld.py has it, without its pages."""
        log = "00112233-4455-6677-8899-aabbccddeeff"
        hello = fake_sqld.field(3, log) + fake_sqld.field(4, log) + fake_sqld.field(5, 41)
        save("libsql_log", "hello", b"\0" + hello + fake_sqld.field(6, fake_sqld.field(4, 9)))
        trailers = b"grpc-status:9\r\ngrpc-message:NEED%20SNAPSHOT\r\n"
        save("libsql_log", "trailers", b"\1" + trailers)
        frames = b"".join(b"page %d" % n + bytes([n, size]) for n, size in ((1, 0), (2, 2), (1, 2)))
        end = b"\x80" + struct.pack(">I", len(trailers)) + trailers
        for flags in range(4):
            body = (frames if flags & 2 else b"\0\0\0\0\0") + end
            save("libsql_log", f"body-{flags}", bytes([2, flags, 7, 0]) + body)

    def save_hrana_answers(self):
        for name, asked in (("commit", 3), ("error", 2), ("expired", 1)):
            body = (FIXTURES / f"hrana_{name}.answer").read_bytes().split(b"\n\n", 1)[1]
            save("hrana_answer", name, bytes([asked]) + body)
        values = (None, -(2**63), 0.1, "text\u00e9", b"\0\xff")
        row = b"".join(fake_sqld.field(1, fake_sqld.to_protobuf(value)) for value in values)
        result = fake_sqld.field(2, row) + fake_sqld.field(5, 41)
        executed = fake_sqld.field(1, fake_sqld.field(2, fake_sqld.field(1, result)))
        failure = fake_sqld.field(1, "SQLite error: \x1b[31m") + fake_sqld.field(2, "SQLITE_FULL")
        steps = fake_sqld.field(1, fake_sqld.field(2, result))
        steps += fake_sqld.field(2, fake_sqld.field(1, 1) + fake_sqld.field(2, failure))
        batch = fake_sqld.field(1, fake_sqld.field(3, fake_sqld.field(1, steps)))
        body = fake_sqld.field(1, "baton") + fake_sqld.field(2, "http://other.example")
        body += b"".join(fake_sqld.field(3, one) for one in (executed, batch))
        save("hrana_answer", "rows", b"\2" + body)

    def save_words(self):
        def options(uri, environment=(), sidecar=""):
            both = [*uri, *[""] * (9 - len(uri)), *environment, *[""] * (9 - len(environment))]
            return b"".join(map(text, [*both, sidecar]))

        everything = ["http://127.0.0.1:8080/app?authToken=t", "token", "file", "primary",
                      "500ms", "5s", "serve", "full", "10s"]
        save("options", "all", options(everything, everything, "http://h/db"))
        for index, url in enumerate([
            "libsql://db-me.turso.io?authToken=abc", "http://user:pass@host/app",
            "http://[::1]:8080/app", "HTTP://Example.com/a/b/", "http://host/a%20b?x=1&y#f",
        ]):
            save("options", f"url-{index}", options([url], [url]))
        save("options", "words", options(["http://h", "", "", "auto", "follow", "none", "wait",
                                          "lazy", "1.5m"]))
        for index, (path, headers) in enumerate([
            ("/main/v2/pipeline", [(0, "Bearer writer")]),
            ("/v3/cursor", [(0, "bearer  reader ")]),
            ("/app/_turso/v1/commit", [(4, "Basic x"), (1, "http://localhost:3000")]),
            ("/metrics", []), ("/%2e%2e/v2", [(1, "http://evil.example")]),
            ("/0123456789abcdef-42/v3", [(2, "POST"), (3, "authorization")]),
            ("0123456789abcdef-42", []),
        ]):
            head = b"".join(bytes([name]) + text(value) for name, value in headers)
            save("router", f"path-{index}", bytes([1, index % 2]) + text(path) + head)
            save("router", f"open-{index}", bytes([0, 1 + index % 3]) + text(path) + head)
        pages = bytes([9, 11]) + struct.pack("<I", 11) + bytes([1, 3, 1, 1, 1, 10, 1, 11])
        save("page_check", "grows", pages)
        save("page_check", "shrinks", bytes([9, 4]) + struct.pack("<I", 4) + bytes([1, 1, 1, 1]))
        save("page_check", "header", pages + bytes([18, 3, 60, 1]))


if __name__ == "__main__":
    harness.main()
