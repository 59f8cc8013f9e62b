"""A replica, npm's @libsql/client and an embedded replica by npm's libsql agree on what one sqld has, value for value,
whoever of them writes. Where there is no sqld, the test is left out."""

import json
import os
import pathlib
import shutil
import sqlite3
import struct
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "hosts"))
sys.path.insert(0, str(HERE.parent / "behaviour"))

from harness import NOT_HERE, BehaviourTest, main, read_line, wait_until  # noqa: E402

import libsql_server  # noqa: E402
import packages  # noqa: E402


def real(bits):
    return struct.unpack(">d", struct.pack(">Q", bits))[0]


# One ulp from a short decimal, the smallest and the greatest, -0.0, an odd one over 2**53.
REALS = [
    real(bits)
    for bits in (0x3FB999999999999A, 0x3FB999999999999B, 0x3FF3C0CA428C59FB, 1, 0x000FFFFFFFFFFFFF,
                 0x7FEFFFFFFFFFFFFF, 0xFFEFFFFFFFFFFFFF, 0x8000000000000000, 0x4340000000000001)
]  # fmt: skip
INFINITIES = [real(0x7FF0000000000000), real(0xFFF0000000000000)]
OTHERS = [None, 0, -1, 2**53 + 1, 2**63 - 1, -(2**63), "", "\u00e4\U0001f600\u0000after", b"\0\xff"]
VALUES = [*OTHERS, *REALS, *INFINITIES]


def encoded(value):
    if value is None:
        return ["null", ""]
    if isinstance(value, int):
        return ["integer", str(value)]
    if isinstance(value, float):
        return ["real", struct.pack(">d", value).hex()]
    return ["text", value] if isinstance(value, str) else ["blob", value.hex()]


class Client:
    """values.mjs in a process of its own."""

    def __init__(self, test, *arguments):
        self.process = subprocess.Popen(
            ["node", "values.mjs", *map(str, arguments)],
            cwd=test.place,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        test.addCleanup(self.end)

    def sql(self, sql, *parameters):
        question = json.dumps([sql, [encoded(value) for value in parameters]])
        self.process.stdin.write(question.encode() + b"\n")
        self.process.stdin.flush()
        answer = json.loads(read_line(self.process.stdout, 120))
        if "error" in answer:
            raise AssertionError(f"{sql}: {answer['error']}")
        return answer["rows"]

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Agreement(BehaviourTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        source = HERE / "libsql_client"
        cls.place = packages.npm("libsql-client", source)
        shutil.copyfile(source / "values.mjs", cls.place / "values.mjs")

    def setUp(self):
        super().setUp()
        self.server = libsql_server.RealServer(self.path("server"))
        self._primaries.append(self.server)
        self.server.start()
        self.app = self.replica(self.server, "app", database="")
        self.db = self.open(self.app)
        self.db.execute("CREATE TABLE v(id INTEGER PRIMARY KEY, x, who)")
        self.http = Client(self, "http", self.server.url())
        self.embedded = Client(self, "embedded", self.path("embedded.db"), self.server.url())

    def ours(self, sql):
        self.db.execute("SELECT turso_sync()").fetchall()
        return [[encoded(value) for value in row] for row in self.db.execute(sql)]

    def theirs(self, sql):
        self.embedded.sql(None)
        return self.embedded.sql(sql)

    def assert_all_agree(self, expected):
        # As bytes, since libsql's text ends at a NUL.
        everything = (
            "SELECT CASE typeof(x) WHEN 'text' THEN CAST(x AS BLOB) ELSE x END, typeof(x)"
            " FROM v ORDER BY id"
        )
        self.assertEqual(self.ours(everything), expected)
        self.assertEqual(self.theirs(everything), expected)
        # JSON has no number for them: the client cannot read what it is answered.
        infinite = [encoded(value) for value in INFINITIES]
        finite = [row for row in expected if row[0] not in infinite]
        where = "WHERE x IS NULL OR x NOT IN (9e999, -9e999) ORDER"
        self.assertEqual(self.http.sql(everything.replace("ORDER", where)), finite)
        self.assertEqual(
            self.http.sql("SELECT count(*) FROM v WHERE x IN (9e999, -9e999)"),
            [[["integer", str(len(expected) - len(finite))]]],
        )

    def expected(self, values):
        kinds = {type(None): "null", int: "integer", float: "real", str: "text", bytes: "blob"}
        shown = [value.encode() if isinstance(value, str) else value for value in values]
        return [[encoded(x), ["text", kinds[type(value)]]] for x, value in zip(shown, values)]

    def test_what_we_write_is_read_by_all_bit_for_bit(self):
        self.db.execute("BEGIN")
        self.db.executemany("INSERT INTO v(x) VALUES(?)", [(value,) for value in VALUES])
        self.db.execute("COMMIT")
        self.assert_all_agree(self.expected(VALUES))

    def test_what_the_client_over_http_writes_is_read_by_all_bit_for_bit(self):
        # Nor has its JSON a -0.0.
        sent = [value for value in VALUES if value not in INFINITIES and str(value) != "-0.0"]
        for value in sent:
            self.http.sql("INSERT INTO v(x) VALUES(?)", value)
        self.http.sql("INSERT INTO v(x) VALUES(9e999), (-9e999)")
        self.assert_all_agree(self.expected([*sent, *INFINITIES]))

    def test_what_the_embedded_replica_writes_is_read_by_all_bit_for_bit(self):
        for value in VALUES:
            self.embedded.sql("INSERT INTO v(x) VALUES(?)", value)
        self.assert_all_agree(self.expected(VALUES))

    def test_text_that_is_no_utf_8_stays_as_it_is(self):
        hexes = "SELECT hex(x), typeof(x) FROM v ORDER BY id"
        self.db.execute("INSERT INTO v(x) VALUES(CAST(x'ff00fe' AS TEXT))")
        self.http.sql("INSERT INTO v(x) VALUES(CAST(x'80' AS TEXT))")
        self.embedded.sql("INSERT INTO v(x) VALUES(CAST(x'c328' AS TEXT))")
        expected = [[["text", text], ["text", "text"]] for text in ("FF00FE", "80", "C328")]
        self.assertEqual(self.ours(hexes), expected)
        self.assertEqual(self.theirs(hexes), expected)
        self.assertEqual(self.http.sql(hexes), expected)

    def test_all_three_write_in_turn_and_follow_each_other(self):
        follower = self.open(self.replica(self.server, "follower", database=""))
        for n in range(15):
            self.db.execute("INSERT INTO v(x, who) VALUES(?, 'us')", (n,))
            self.http.sql("INSERT INTO v(x, who) SELECT max(x) + 100, 'http' FROM v WHERE who = 'us'")
            self.embedded.sql(None)
            self.embedded.sql("INSERT INTO v(x, who) SELECT count(*), 'embedded' FROM v")
            self.embedded.sql("UPDATE v SET x = -x WHERE who = 'embedded' AND x > ?", 3 * n)
        self.http.sql("CREATE TABLE last(a)")
        wait_until(lambda: self.has_table(follower, "last"), what="the follower to follow")
        everything = "SELECT id, x, who FROM v ORDER BY id"
        ours = self.ours(everything)
        self.assertEqual(len(ours), 45)
        self.assertEqual(self.theirs(everything), ours)
        self.assertEqual(self.http.sql(everything), ours)
        self.assertEqual(
            [[encoded(value) for value in row] for row in follower.execute(everything)], ours
        )
        self.db.close()
        follower.close()
        self.assert_same_database()

    def has_table(self, db, name):
        return db.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)).fetchall()

    def assert_same_database(self):
        """By .sha3sum: every row and the schema, of our file, of theirs, and of the server's."""
        self.embedded.sql(None)
        self.embedded.end()
        self.server.stop()
        hashes = set()
        for path in (self.app.path, self.path("embedded.db"), self.server.database_file()):
            copy = self.path("copy.db")
            for suffix in ("", "-wal"):
                if os.path.exists(f"{path}{suffix}"):
                    shutil.copyfile(f"{path}{suffix}", copy + suffix)
            sqlite3.connect(copy).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
            command = ["sqlite3", copy, ".sha3sum --schema"]
            hashes.add(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            os.unlink(copy)
        self.assertEqual(len(hashes), 1)


if __name__ == "__main__":
    if not libsql_server.SQLD:
        print("sqld is not here")
        sys.exit(NOT_HERE)
    main()
