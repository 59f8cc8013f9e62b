#!/usr/bin/python3
"""A libSQL server as far as replicas need one, for machines without sqld: a real SQLite whose WAL is the replication
log, behind the same gRPC-web calls (wal_log.ReplicationLog) and enough of Hrana's JSON for a test to write.

    fake_sqld.py --data DIR [--listen 127.0.0.1:0] [--token T]

It prints "listening on http://127.0.0.1:PORT". What sqld does by itself now and then, it does when asked:

    POST /fake/compact     the log up to now becomes a snapshot; {"ready": false}: which is not there yet
    POST /fake/ready       it is
    POST /fake/forget      sessions and streams end, as when the process was started anew
    POST /fake/new-log     and so does the log: another id, and the content in one transaction
    POST /fake/back-up      keeps what the files hold
    POST /fake/set-back     puts that back, log and all, as if the server had been stopped for it
    POST /fake/expire      the streams that are open end, as after ten seconds without a request
    POST /fake/steal       who has the slot to write loses it, as at sqld after five seconds
    POST /fake/fault       {"what": "lost-request" or "lost-answer"}: of the next write; "too-large": it is refused;
                           "last-words": the server ends after it, without an answer; "429", "503": come again,
                           in a second. "begin-503", "log-503": so of what opens a stream, or asks for the log
                           "begin-busy": BEGIN IMMEDIATE finds others writing, as at sqld after a tenth of a second
                           "others-behind": somebody inserts a row into t between its COMMIT and its answer
    POST /fake/no-stream   it sends no frames by itself, as a proxy may have it that ends long answers
    POST /fake/calm        a fault that nobody met is forgotten
    POST /fake/damage      {"what": ..., "calls": n}: the next n answers with frames are spoiled; see Damage
    GET  /fake/requests    how often which path was asked for
    GET  /fake/streams     how many streams of Hrana are open
"""

import argparse
import collections
import contextlib
import http.server
import json
import os
import pathlib
import select
import signal
import sqlite3
import struct
import sys
import threading
import time
import urllib.parse
import uuid

PAGE = 4096
BATCH = 1024
SLOT_SECONDS = 2  # Five at sqld.
PATIENCE_SECONDS = 10  # Of who waits for a slot that is not taken from its holder.
MASK = (1 << 64) - 1
TYPES = (
    "application/grpc-web",
    "application/grpc-web+proto",
)
FAILED_PRECONDITION, UNAVAILABLE, UNAUTHENTICATED, INVALID_ARGUMENT = 9, 14, 16, 3


def _table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ 0xD800000000000000 if value & 1 else value >> 1
        table.append(value)
    return table


TABLE = _table()


def checksum(previous, page):
    state = int(f"{previous:064b}"[::-1], 2)
    for byte in page:
        state = TABLE[(state ^ byte) & 0xFF] ^ state >> 8
    return ~state & MASK


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(message):
    """(number, value) of each: a number, or bytes."""
    found, at = [], 0

    def take():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = take()
        if key & 7 == 0:
            value = take()
        else:
            size = take() if key & 7 == 2 else 8
            value, at = message[at : at + size], at + size
        found.append((key >> 3, value))
    return found


def numbers(message):
    return dict(fields(message))


class Log:
    """Frames, from a WAL that is never checkpointed while the server runs."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.connect()
        self.id = uuid.uuid4()
        self.session = uuid.uuid4()
        self.frames = []  # (number, checksum, page number, size after, page)
        self.first = 0  # Of those in the live log.
        self.snapshot_ready = True
        self.read_to = 32
        size = self.path.stat().st_size // PAGE
        with open(self.path, "rb") as file:
            for number in range(1, size + 1):
                self.append(number, size if number == size else 0, file.read(PAGE))

    def connect(self):
        self.lock = threading.RLock()

    def open(self):
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=0)
        db.execute("PRAGMA journal_mode=wal").fetchall()
        db.execute("PRAGMA wal_autocheckpoint=0").fetchall()
        return db

    def append(self, page_number, size_after, page):
        if page_number == 1:
            page = page[:18] + b"\2\2" + page[20:]
        # As sqld does, whose chain begins anew where its log was cut.
        previous = 0 if len(self.frames) == self.first else self.frames[-1][1]
        self.frames.append(
            (len(self.frames), checksum(previous, page), page_number, size_after, page)
        )

    def read(self):
        """What was committed since."""
        wal = pathlib.Path(f"{self.path}-wal")
        with self.lock:
            data = b""
            if wal.exists():
                with open(wal, "rb") as file:
                    salts = file.read(32)[16:24]
                    file.seek(self.read_to)
                    data = file.read()
            pending = []
            for at in range(0, len(data) - 24 - PAGE + 1, 24 + PAGE):
                page_number, size_after = struct.unpack(">II", data[at : at + 8])
                if data[at + 8 : at + 16] != salts:
                    break
                pending.append((page_number, size_after, data[at + 24 : at + 24 + PAGE]))
                if size_after:
                    for frame in pending:
                        self.append(*frame)
                    self.read_to += len(pending) * (24 + PAGE)
                    pending = []

    @property
    def end(self):
        return len(self.frames)


def frame_bytes(frame):
    number, check, page_number, size_after, page = frame
    return struct.pack("<QQII", number, check, page_number, size_after) + page


def grpc_records(messages):
    return b"".join(b"\0" + struct.pack(">I", len(m)) + m for m in messages)


GRPC_TRAILERS = b"\x80" + struct.pack(">I", 15) + b"grpc-status:0\r\n"


class Damage:
    """What a bad network or a bad server makes of an answer with frames."""

    @staticmethod
    def bit(body):
        """A bit of the first page."""
        spoiled = bytearray(body)
        spoiled[min(2000, len(body) - 1)] ^= 0x10
        return bytes(spoiled)

    @staticmethod
    def cut(body):
        return body[: len(body) * 2 // 3]

    @staticmethod
    def no_trailers(body):
        return body[: body.rindex(b"\x80\0\0\0")]

    @staticmethod
    def not_grpc(_body):
        return b"<html>login please</html>"

    @staticmethod
    def trailing_error(body):
        trailers = b"grpc-status:13\r\ngrpc-message:logger%20closed\r\n"
        return Damage.no_trailers(body) + b"\x80" + struct.pack(">I", len(trailers)) + trailers


class Stream:
    def __init__(self, log):
        self.db = log.open()
        self.db.execute("PRAGMA foreign_keys=ON")  # As sqld has it.
        self.stolen = False


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_arguments):
        pass

    # --- HTTP

    def answer(self, status, content_type, body, headers=()):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def answer_json(self, value, status=200):
        self.answer(status, "application/json", json.dumps(value).encode())

    def do_GET(self):
        if self.path == "/fake/requests":
            self.answer_json(self.server.requests)
        elif self.path == "/fake/streams":
            self.answer_json(len(self.server.streams))
        elif self.path in ("/health", "/v2", "/v3", "/v3-protobuf"):
            self.answer(200, "text/plain", b"")
        else:
            self.answer(404, "text/plain", b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        counts = self.server.requests
        counts[self.path] = counts.get(self.path, 0) + 1
        with self.server.turned:
            try:
                return self.take(body)
            finally:
                self.server.turned.notify_all()

    def take(self, body):
        if self.path.startswith("/fake/"):
            return self.control(self.path[6:], json.loads(body or b"{}"))
        if self.path.startswith("/wal_log.ReplicationLog/"):
            return self.replication(self.path.rsplit("/", 1)[1], body)
        if self.path in ("/v2/pipeline", "/v3/pipeline"):
            return self.pipeline(json.loads(body))
        if self.path == "/v3-protobuf/pipeline":
            return self.protobuf_pipeline(fields(body))
        return self.answer(404, "text/plain", b"")

    def is_authorized(self):
        token = self.server.token
        given = self.headers.get("authorization") or self.headers.get("x-authorization")
        return token is None or given == f"Bearer {token}"

    def control(self, what, wanted):
        log = self.server.log
        if what == "compact":
            log.read()
            log.first = log.end
            log.snapshot_ready = wanted.get("ready", True)
        elif what == "ready":
            log.snapshot_ready = True
        elif what == "forget":
            log.session = uuid.uuid4()
            self.server.end_streams()
        elif what == "new-log":
            self.server.new_log()
        elif what == "back-up":
            self.server.back_up()
        elif what == "set-back":
            self.server.set_back()
        elif what == "expire":
            self.server.expire()
        elif what == "steal":
            self.steal()
        elif what == "no-stream":
            self.server.streams_log = False
        elif what == "calm":
            self.server.faults.clear()
        elif what == "fault":
            self.server.faults.append(wanted["what"])
        elif what == "damage":
            self.server.damage = [getattr(Damage, wanted["what"])] * wanted.get("calls", 1)
        else:
            return self.answer(404, "text/plain", b"")
        return self.answer_json({})

    # --- Replication

    def grpc_error(self, status, message):
        headers = [
            ("grpc-status", str(status)),
            ("grpc-message", urllib.parse.quote(message, safe=" _:,.").replace(" ", "%20")),
        ]
        self.answer(200, TYPES[1], b"", headers)

    def grpc_answer(self, messages, damage=None):
        body = grpc_records(messages) + GRPC_TRAILERS
        self.answer(200, TYPES[1], damage(body) if damage else body)

    def replication(self, call, body):
        log = self.server.log
        if self.headers.get("content-type") not in TYPES:
            return self.answer(400, "text/plain", b"")
        if not self.is_authorized():
            if "authorization" not in self.headers:
                return self.grpc_error(
                    13,
                    "Error parsing auth header: Expected authorization header but none given",
                )
            return self.grpc_error(UNAUTHENTICATED, "AuthError: The JWT is invalid")
        if self.take_fault("log-503"):
            return self.come_again(503)
        message = numbers(body[5:])
        log.read()
        if call == "Hello":
            if message.get(1) != 1:
                return self.grpc_error(INVALID_ARGUMENT, "handshake version")
            answer = field(1, str(log.session)) + field(3, str(log.id)) + field(4, str(log.session))
            if log.end:
                answer += field(5, log.end - 1)
            return self.grpc_answer([answer + field(6, field(4, 1 << 40))])
        if self.headers.get("x-session-token") != str(log.session):
            return self.grpc_error(FAILED_PRECONDITION, "NO_HELLO")
        wanted = message.get(1, 0)
        if call == "BatchLogEntries":
            if wanted < log.first:
                return self.grpc_error(FAILED_PRECONDITION, "NEED_SNAPSHOT")
            frames = []
            for frame in log.frames[wanted:]:
                frames.append(frame)
                if len(frames) >= BATCH and frame[3]:
                    break
            # As sqld has it: the time of the commit goes with the last frame.
            packed = b"".join(
                field(1, field(1, frame_bytes(f)) + (field(2, 1764000000000) if f[3] else b""))
                for f in frames
            )
            return self.grpc_answer([packed], self.take_damage() if frames else None)
        if call == "LogEntries" and not self.server.streams_log:
            return self.answer(504, "text/plain", b"too long")
        if call == "LogEntries":
            return self.log_entries(log, wanted)
        if call == "Snapshot":
            if not log.snapshot_ready or wanted >= log.first:
                return self.grpc_error(UNAVAILABLE, "snapshot not found")
            newest = {}
            for frame in log.frames[wanted : log.first]:
                newest[frame[2]] = frame
            size = log.frames[log.first - 1][3]
            frames = sorted(newest.values(), reverse=True)
            last = len(frames) - 1
            packed = [
                field(1, frame_bytes((n, c, p, size if i == last else 0, page)))
                for i, (n, c, p, _size, page) in enumerate(frames)
            ]
            return self.grpc_answer(packed, self.take_damage())
        return self.grpc_error(12, "unknown call")

    def log_entries(self, log, wanted):
        """Frames as they come, in an answer that ends with the session or the client."""
        if wanted < log.first:
            return self.grpc_error(FAILED_PRECONDITION, "NEED_SNAPSHOT")
        self.send_response(200)
        self.send_header("Content-Type", TYPES[1])
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        session = log.session
        while self.server.log is log and log.session == session and not self.hung_up():
            log.read()
            frames = log.frames[wanted:]
            wanted += len(frames)
            damage = self.take_damage() if frames else None
            body = grpc_records(
                field(1, frame_bytes(f)) + (field(2, 1764000000000) if f[3] else b"") for f in frames
            )
            if damage:
                body = damage(body + GRPC_TRAILERS)
            if body:
                with self.out_of_turn():  # A client that does not read holds nobody up.
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(body), body))
                    self.wfile.flush()
            if damage:
                break
            self.server.turned.wait(0.5)
        self.close_connection = True
        return None

    @contextlib.contextmanager
    def out_of_turn(self):
        self.server.turned.release()
        try:
            yield
        finally:
            self.server.turned.acquire()

    def take_damage(self):
        return self.server.damage.pop() if self.server.damage else None

    # --- Hrana, as JSON

    def pipeline(self, body):
        if not self.is_authorized():
            return self.answer_json({"error": "Unauthorized: `The JWT is invalid`"}, 401)
        if body.get("baton") is None:
            stream = Stream(self.server.log)
        else:
            stream = self.server.streams.pop(body["baton"], None)
            if stream is None:
                return self.answer(400, "text/plain", b"Received an invalid baton")
        results, closed = [], False
        for request in body["requests"]:
            if request["type"] == "close":
                closed = True
                response = {"type": "close"}
            else:
                try:
                    result = self.in_turn(lambda: execute(stream.db, request["stmt"]))
                    response = {"type": "execute", "result": result}
                except sqlite3.Error as error:
                    text = f"SQLite error: {error}"
                    failure = {"message": text, "code": getattr(error, "sqlite_errorname", None)}
                    results.append({"type": "error", "error": failure})
                    continue
            results.append({"type": "ok", "response": response})
        baton = None
        if closed:
            stream.db.close()
        else:
            baton = str(uuid.uuid4())
            self.server.streams[baton] = stream
        self.server.log.read()
        return self.answer_json({"baton": baton, "base_url": None, "results": results})


    # --- Hrana, as Protocol Buffers: libsql-hrana/src/proto.rs

    def protobuf_pipeline(self, body):
        if not self.is_authorized():
            return self.answer_json({"error": "Unauthorized: `The JWT is invalid`"}, 401)
        has_batch = any(n == 2 and fields(r)[0][0] == 3 for n, r in body)
        if has_batch and self.take_fault("lost-request"):
            return self.drop()
        if has_batch and self.take_fault("too-large"):
            return self.answer(413, "text/html", b"<h1>413 Request Entity Too Large</h1>")
        baton = next((v.decode() for n, v in body if n == 1), None)
        for status in (429, 503):
            if has_batch and self.take_fault(str(status)):
                return self.come_again(status)
        if baton is None and self.take_fault("begin-503"):
            return self.come_again(503)
        if baton is None:
            stream = Stream(self.server.log)
        else:
            stream = self.server.streams.pop(baton, None)
            if stream is None:
                return self.no_stream(baton)
        results, closed = b"", False
        for number, request in body:
            if number != 2:
                continue
            ((kind, what),) = fields(request)
            if kind == 1:
                closed, response = True, field(1, b"")
            elif kind == 2:
                done = self.run(stream, fields(what)[0][1], says_end=True)
                if done[1]:
                    results += field(3, field(2, done[1]))
                    continue
                response = field(2, field(1, done[0]))
            elif kind == 3:
                response = field(3, field(1, self.batch(stream, fields(fields(what)[0][1]))))
                if self.take_fault("others-behind"):
                    self.server.keeper.execute("INSERT INTO t VALUES('others')")
            else:
                return self.answer(400, "text/plain", b"unknown request")
            results += field(3, field(1, response))
        answer = results
        committed = has_batch and not stream.db.in_transaction
        if closed:
            stream.db.close()
        else:
            baton = str(uuid.uuid4())
            self.server.streams[baton] = stream
            answer = field(1, baton) + answer
        self.server.log.read()
        if committed and self.take_fault("lost-answer"):
            return self.drop()
        if committed and self.take_fault("last-words"):
            os._exit(0)
        return self.answer(200, "application/x-protobuf", answer)

    def hung_up(self):
        """sqld ends a stream when its client goes away."""
        poll = select.poll()
        poll.register(self.connection, select.POLLRDHUP)
        return bool(poll.poll(0))

    def take_fault(self, what):
        return what in self.server.faults and not self.server.faults.remove(what)

    def come_again(self, status):
        self.answer(status, "text/plain", b"too much to do", [("Retry-After", "1")])

    def drop(self):
        self.close_connection = True
        self.connection.shutdown(2)

    def no_stream(self, baton):
        if baton not in self.server.expired:
            return self.answer(400, "text/plain", b"Received an invalid baton")
        error = field(1, "The stream has expired due to inactivity") + field(2, "STREAM_EXPIRED")
        return self.answer(400, "application/x-protobuf", error)

    def run(self, stream, statement, says_end=False):
        """(the result, the error), one of them empty. Of a batch, no step says where the log ends."""
        sql, arguments = "", []
        for number, value in fields(statement):
            if number == 1:
                sql = value.decode()
            elif number == 3:
                arguments.append(from_protobuf(fields(value)[0]))
        if stream.stolen:
            return b"", field(1, "Transaction timed out") + field(2, "TRANSACTION_TIMEOUT")
        if sql == "BEGIN IMMEDIATE" and self.take_fault("begin-busy"):
            return b"", field(1, "SQLite error: database is locked") + field(2, "SQLITE_BUSY")
        try:
            cursor = self.in_turn(lambda: stream.db.execute(sql, arguments))
            rows = b"".join(
                field(2, b"".join(field(1, to_protobuf(v)) for v in row)) for row in cursor
            )
        except (sqlite3.Error, sqlite3.Warning) as error:
            code = getattr(error, "sqlite_errorname", "SQLITE_UNKNOWN")
            return b"", field(1, f"SQLite error: {error}") + field(2, code)
        if sql == "BEGIN IMMEDIATE":
            if self.hung_up():
                stream.db.execute("ROLLBACK")
            self.server.holder = stream
            stream.since = time.monotonic()
        self.server.log.read()
        end = self.server.log.end
        return rows + (field(5, end - 1) if end and says_end else b""), b""

    def in_turn(self, act):
        """Who comes while another has the slot to write waits, and those who wait come one after another."""
        waiting, ticket = self.server.waiting, object()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            if ticket not in waiting or waiting[0] is ticket:
                try:
                    done = act()
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                        self.leave(ticket)
                        raise
                    self.steal_from_the_slow()
                else:
                    self.leave(ticket)
                    return done
            if ticket not in waiting:
                waiting.append(ticket)
            self.server.turned.wait(0.02)

    def leave(self, ticket):
        if ticket in self.server.waiting:
            self.server.waiting.remove(ticket)

    def steal_from_the_slow(self):
        holder = self.server.holder
        if holder is not None and time.monotonic() - holder.since > SLOT_SECONDS:
            self.steal()

    def steal(self):
        holder = self.server.holder
        with contextlib.suppress(sqlite3.ProgrammingError):  # It is closed.
            holder.stolen = holder.db.in_transaction
            if holder.stolen:
                holder.db.execute("ROLLBACK")

    def batch(self, stream, steps):
        results, done = b"", set()
        for index, (_number, step) in enumerate(steps):
            parts = dict(fields(step))
            if 1 in parts and not holds(fields(parts[1])[0], done, stream.db):
                continue
            result, error = self.run(stream, parts[2])
            entry = field(1, index) if index else b""
            if error:
                results += field(2, entry + field(2, error))
            else:
                done.add(index)
                results += field(1, entry + field(2, result))
        stream.stolen = False
        return results


def holds(condition, done, db):
    kind, value = condition
    if kind == 1:
        return value in done
    if kind == 3:
        return not holds(fields(value)[0], done, db)
    if kind == 4:
        return all(holds(fields(c)[0], done, db) for n, c in fields(value) if n == 1)
    assert kind == 6, condition
    return not db.in_transaction


def from_protobuf(value):
    kind, what = value
    if kind == 2:
        return what >> 1 ^ -(what & 1)
    if kind == 3:
        return struct.unpack("<d", what)[0]
    return {1: None, 4: what.decode() if kind == 4 else None, 5: what}[kind]


def to_protobuf(value):
    if value is None:
        return field(1, b"")
    if isinstance(value, int):
        return field(2, value * 2 if value >= 0 else -value * 2 - 1)
    if isinstance(value, float):
        return varint(3 << 3 | 1) + struct.pack("<d", value)
    return field(5 if isinstance(value, bytes) else 4, value)


def execute(db, statement):
    arguments = [from_json(a) for a in statement.get("args", [])]
    cursor = db.execute(statement["sql"], arguments)
    rows = [[to_json(v) for v in row] for row in cursor.fetchall()]
    columns = [{"name": d[0]} for d in cursor.description or ()]
    return {"cols": columns, "rows": rows, "affected_row_count": max(0, cursor.rowcount)}


def from_json(value):
    kind = value["type"]
    if kind == "null":
        return None
    return int(value["value"]) if kind == "integer" else value["value"]


def to_json(value):
    if value is None:
        return {"type": "null"}
    if isinstance(value, int):
        return {"type": "integer", "value": str(value)}
    return {"type": "float" if isinstance(value, float) else "text", "value": value}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address, data, token):
        super().__init__(address, Handler)
        self.token = token
        self.turned = threading.Condition()  # One request at a time, but for those that wait for the slot.
        self.waiting = collections.deque()
        self.requests, self.streams, self.damage, self.faults = {}, {}, [], []
        self.expired = set()
        self.streams_log = True
        self.holder = None  # The stream that began to write last.
        self.path = pathlib.Path(data) / "data"
        self.path.touch()
        self.log = Log(self.path)
        # As long as somebody has it open, the WAL is not checkpointed away.
        self.keeper = self.log.open()
        self.keeper.execute("SELECT count(*) FROM sqlite_schema").fetchall()

    def end_streams(self):
        for stream in self.streams.values():
            stream.db.close()
        self.streams.clear()

    def expire(self):
        self.expired.update(self.streams)
        self.end_streams()

    def back_up(self):
        self.log.read()
        files = {name: pathlib.Path(name).read_bytes() for name in (f"{self.path}", f"{self.path}-wal")}
        self.kept = files, list(self.log.frames), self.log.read_to

    def set_back(self):
        self.end_streams()
        self.keeper.close()
        files, frames, read_to = self.kept
        for name, data in files.items():
            pathlib.Path(name).write_bytes(data)
        pathlib.Path(f"{self.path}-shm").unlink(missing_ok=True)
        self.log.frames, self.log.read_to = list(frames), read_to
        self.log.session = uuid.uuid4()
        self.keeper = self.log.open()
        self.keeper.execute("SELECT count(*) FROM sqlite_schema").fetchall()

    def new_log(self):
        for stream in self.streams.values():
            stream.db.close()
        self.streams.clear()
        self.keeper.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.log = Log(self.path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--token")
    arguments = parser.parse_args()
    host, port = arguments.listen.rsplit(":", 1)
    server = Server((host, int(port)), arguments.data, arguments.token)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"listening on http://{host}:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
