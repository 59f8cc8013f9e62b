"""The libSQL server that tests run against without sqld says what sqld said: tests/fixtures/libsql."""

import http.client
import struct
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import libsql_server
from fake_sqld import checksum, field, fields, numbers
from harness import BehaviourTest, main

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "libsql"


def recorded(name):
    """The header lines and the body."""
    head, body = (FIXTURES / name).read_bytes().split(b"\n\n", 1)
    return dict(line.split(": ", 1) for line in head.decode().split("\n")), body


def records(body):
    """(flag, bytes) of each of a body of gRPC-web."""
    found = []
    while body:
        flag, size = struct.unpack(">BI", body[:5])
        found.append((flag, body[5 : 5 + size]))
        body = body[5 + size :]
    return found


def frame(message):
    """Which fields a frame has, how long its bytes are; its number, checksum, page number, size after and page."""
    data = numbers(message)[1]
    return [n for n, _ in fields(message)], (*struct.unpack("<QQII", data[:24]), data[24:])


def shape(frames):
    """What kinds of frames there are: those that end a transaction and those that do not."""
    return {(tuple(names), bool(f[3]), len(f[4])) for names, f in frames}


def rows_of(result):
    """The rows of the result of a statement, and whether it says where the log ends."""
    found = fields(result)
    return [[fields(v) for _, v in fields(row)] for n, row in found if n == 2], 5 in dict(found)


def results_of(body):
    """Of each request: what kind it is of, and its rows, of a batch by step."""
    found = []
    for number, result in fields(body):
        if number != 3:
            continue
        ((outcome, response),) = fields(result)
        ((kind, what),) = fields(response)
        if kind == 2:
            what = rows_of(numbers(what)[1])
        elif kind == 3:
            steps = [(n, numbers(entry)) for n, entry in fields(numbers(what)[1])]
            what = [(n, entry.get(1, 0), rows_of(entry[2])) for n, entry in steps]
        found.append((outcome, kind, what))
    return found


class FakeIsAsReal(BehaviourTest):
    def server(self, **options):
        server = libsql_server.FakeServer(self.path("server"), **options)
        self._primaries.append(server)
        return server.start()

    def post(self, server, body):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("POST", "/v3-protobuf/pipeline", body)
        answer = connection.getresponse().read()
        connection.close()
        return answer

    def ask(self, server, name, session=None, body=None):
        """The answers to a recorded request: the recorded and the fake's."""
        headers, sent = recorded(f"{name}.request")
        path = headers.pop("path")
        if session:
            headers["x-session-token"] = session
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("POST", path, sent if body is None else body, headers)
        answer = connection.getresponse()
        found = {n.lower(): v for n, v in answer.getheaders()}
        given = ({"status": str(answer.status), **found}, answer.read())
        connection.close()
        real = recorded(f"{name}.answer")
        for header in ("status", "content-type", "grpc-status", "grpc-message"):
            self.assertEqual(given[0].get(header), real[0].get(header), (name, header))
        return real[1], given[1]

    def hello(self, server):
        real, given = (records(body) for body in self.ask(server, "hello"))
        self.assertEqual([flag for flag, _ in real], [flag for flag, _ in given])
        self.assertEqual(real[-1], given[-1])
        self.assertEqual([n for n, _ in fields(real[0][1])], [n for n, _ in fields(given[0][1])])
        for number in (1, 3, 4):
            self.assertEqual(len(numbers(real[0][1])[number]), len(numbers(given[0][1])[number]))
        return numbers(given[0][1])[4].decode()

    def frames_of_a_batch(self, body):
        (flag, message), trailers = records(body)
        self.assertEqual((flag, trailers), (0, (0x80, b"grpc-status:0\r\n")))
        return [frame(value) for _, value in fields(message)]

    def test_a_hello_and_batches_have_the_same_shape(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)", "BEGIN", "CREATE TABLE u(a)", "CREATE TABLE v(a)", "COMMIT")
        session = self.hello(server)
        real, given = map(self.frames_of_a_batch, self.ask(server, "batch", session))
        self.assertEqual(shape(real), shape(given))
        for frames in (real, given):
            previous = 0
            for at, (_, (number, check, _page, _size, page)) in enumerate(frames):
                self.assertEqual(number, at)
                self.assertEqual(check, checksum(previous, page))
                previous = check
        real, given = self.ask(server, "empty_batch", session)
        self.assertEqual(real, given)

    def test_a_snapshot_has_the_same_shape(self):
        server = self.server()
        server.sql("CREATE TABLE t(a)", "CREATE TABLE u(a)", "INSERT INTO t VALUES(1)")
        session = self.hello(server)
        server.compact()
        self.ask(server, "need_snapshot", session)
        both = [records(body) for body in self.ask(server, "snapshot", session)]
        for found in both:
            self.assertEqual(found.pop(), (0x80, b"grpc-status:0\r\n"))
            self.assertEqual({flag for flag, _ in found}, {0})
            frames = [frame(message)[1] for _, message in found]
            order = [number for number, *_ in frames]
            self.assertEqual(order, sorted(order, reverse=True))
            self.assertEqual([bool(f[3]) for f in frames], [False] * (len(frames) - 1) + [True])
        real, given = ([frame(message) for _, message in found] for found in both)
        self.assertEqual({len(f[4]) for _, f in real}, {len(f[4]) for _, f in given})

    def test_refusals_are_the_same(self):
        server = self.server(token="secret")
        self.assertEqual(*self.ask(server, "unauthenticated"))
        server.token = None
        server.stop()
        server = self.server()
        self.assertEqual(*self.ask(server, "no_hello"))

    def test_a_commit_and_a_stream_that_expired_are_answered_alike(self):
        server = self.server()
        server.sql(
            "CREATE TABLE t(a INTEGER PRIMARY KEY, b)",
            "CREATE TABLE _turso_vfs(replica BLOB PRIMARY KEY, number BLOB NOT NULL, "
            "refused INTEGER NOT NULL) WITHOUT ROWID",
        )
        begin = field(2, field(2, field(1, field(1, "BEGIN IMMEDIATE"))))

        def on_a_stream(name):
            """The recorded request, with the baton of a stream of the fake's."""
            baton = dict(fields(self.post(server, begin)))[1]
            sent = b"".join(field(2, v) for n, v in fields(recorded(f"{name}.request")[1]) if n == 2)
            return field(1, baton) + sent

        real, given = self.ask(server, "hrana_commit", body=on_a_stream("hrana_commit"))
        self.assertEqual(results_of(real), results_of(given))
        self.assertEqual([n for n, _ in fields(real)], [n for n, _ in fields(given)])
        self.assertEqual(server.sql("SELECT count(*) FROM t"), [(6,)])
        expired = on_a_stream("hrana_expired")
        server.expire()
        self.assertEqual(*self.ask(server, "hrana_expired", body=expired))

    def test_an_error_of_sql_is_the_same(self):
        server = self.server()
        server.sql("CREATE TABLE t(a INTEGER PRIMARY KEY, b)", "INSERT INTO t VALUES(1, 2)")
        real, given = map(fields, self.ask(server, "hrana_error"))
        self.assertEqual(real[1:], given[1:])
        (real, given) = (numbers(numbers(value[0][1])[2]) for value in (real, given))
        self.assertEqual(real[1], given[1])
        self.assertTrue(given[2].startswith(real[2]), (real, given))


if __name__ == "__main__":
    assert unittest
    main()
