"""Servers that are none, answers that are wrong: a clear error that names the URL, nothing lost, nothing overwritten."""

import os
import sqlite3
import time

from harness import (
    OUTCOME_UNKNOWN,
    BehaviourTest,
    Replica,
    error_code,
    error_name,
    is_io_error,
    main,
    seeded_random,
    sqlite_log,
)
from proxy import Proxy

NEVER = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)  # Some hosts delete the file on these.
AT_OPEN = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)  # IOERR: an answer that does not parse.
CLEAN_FAILURES = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY_SNAPSHOT)  # Nothing is at the primary.


class BadAnswers(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        self.proxy = Proxy(self.server.port)
        self.addCleanup(self.proxy.close)
        direct = self.open(self.replica(self.server, "direct"))
        direct.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a, padding)")
        direct.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
            " INSERT INTO t SELECT i, 'first', hex(randomblob(500)) FROM n"
        )
        self.direct = direct

    def through_proxy(self, name, **options):
        os.makedirs(self.path(name), exist_ok=True)
        return Replica(
            self.path(f"{name}/{name}.db"), self.proxy.url(), **{"timeout": "2s", **options}
        )

    def truth(self):
        return self.direct.execute("SELECT id, a, padding FROM t ORDER BY id").fetchall()

    def assert_intact(self, db, rows):
        self.assertEqual(rows, db.execute("SELECT id, a, padding FROM t ORDER BY id").fetchall())
        self.assertEqual([("ok",)], db.execute("PRAGMA integrity_check").fetchall())

    def assert_network_error(self, error):
        code = error_code(error)
        self.assertNotIn(code & 0xFF, NEVER, error_name(error))
        self.assertTrue(is_io_error(code), f"{error_name(error)}: {error}")

    def try_to_insert(self, db, key):
        """The code it ended with: None if it is committed; of a failure, one of the contract's."""
        try:
            db.execute("INSERT INTO t VALUES(?, 'row', '')", (key,))
        except sqlite3.Error as error:
            # A commit that was settled as refused is told to try again.
            self.assert_code(error, *CLEAN_FAILURES, OUTCOME_UNKNOWN)
            return error_code(error)
        return None

    def assert_told_the_truth(self, db, key, code):
        db.execute("INSERT INTO t VALUES(?, 'after', '')", (key + 10000,))  # Settles what is open.
        self.direct.execute("SELECT turso_sync()")
        sql = "SELECT count(*) FROM t WHERE id = ?"
        there = self.direct.execute(sql, (key,)).fetchone()[0]
        if code is None:
            self.assertEqual(1, there, "said OK")
        elif code in CLEAN_FAILURES:
            self.assertEqual(0, there, "a clean failure, and yet it happened")
        self.assert_intact(db, self.truth())
        return there

    def assert_names_the_url(self, db, start):
        texts = [self.logged_since(start)]
        if db is not None:
            texts.append(db.execute("SELECT turso_last_error()").fetchone()[0])
        self.assert_explained(texts, f"127.0.0.1:{self.proxy.port}")

    def creation_fails(self, name):
        """The error of creating a replica, which leaves no file; then the same with a healthy network."""
        app, start = self.through_proxy(name), len(sqlite_log)
        error = self.fails(app.connect)
        self.assertNotIn(error_code(error) & 0xFF, NEVER)
        self.assert_names_the_url(None, start)
        self.assertEqual([], os.listdir(os.path.dirname(app.path)))
        self.proxy.tamper = None
        db = self.open(app)
        self.assert_intact(db, self.truth())
        db.close()
        return error

    def test_a_server_that_answers_html(self):
        for status in (200, 404, 500):
            with self.subTest(status):
                self.proxy.tamper = lambda _call, answer, status=status: answer.become_html(status)
                self.assert_code(self.creation_fails(f"html{status}"), *AT_OPEN)
        db = self.open(self.through_proxy("html"))
        rows = self.truth()
        for status in (200, 404, 500, 302):
            with self.subTest("existing", status=status):
                time.sleep(0.3)
                self.proxy.tamper = lambda _call, answer, status=status: answer.become_html(status)
                start = len(sqlite_log)
                self.assert_network_error(
                    self.fails(db.execute, "UPDATE t SET a = 'never' WHERE id = 1")
                )
                self.assert_names_the_url(db, start)
                self.fails(db.execute, "SELECT turso_sync()")
                self.assert_intact(db, rows)
                self.proxy.tamper = None
                db.execute("UPDATE t SET a = ? WHERE id = 2", (f"now {status}",))
                self.direct.execute("SELECT turso_sync()")
                rows = self.truth()
                self.assert_intact(db, rows)

    def test_a_whole_server_that_knows_only_html(self):
        portal = Proxy(None)
        self.addCleanup(portal.close)
        start = len(sqlite_log)
        os.mkdir(self.path("portal"))
        error = self.fails(Replica(self.path("portal/app.db"), portal.url()).connect)
        self.assert_code(error, *AT_OPEN)
        self.assert_explained([self.logged_since(start)], f"127.0.0.1:{portal.port}")
        self.assertEqual([], os.listdir(self.path("portal")))

    def test_an_answer_cut_short_while_a_replica_is_made(self):
        for number, part in enumerate((0.0, 0.01, 0.3, 0.7, 0.999)):
            for call in ("identify", "pull"):
                with self.subTest(part=part, call=call):

                    def cut(called, answer, part=part, call=call):
                        if called == call:
                            answer.cut_at = int(len(answer.body) * part)

                    self.proxy.tamper = cut
                    self.creation_fails(f"cut{number}-{call}")

    def test_a_flipped_bit_while_a_replica_is_made(self):
        generator = seeded_random("flipped bits at creation")
        for number in range(12):
            call = ("identify", "pull", "pull")[number % 3]

            def flip(called, answer, call=call):
                if called == call:
                    answer.flip_bit(generator.randrange(len(answer.body)), generator.randrange(8))

            with self.subTest(number=number, call=call):
                self.proxy.tamper = flip
                self.creation_fails(f"flip{number}")

    def test_a_flipped_bit_or_a_cut_in_what_follows_is_never_believed(self):
        generator = seeded_random("flipped bits afterwards")
        db = self.open(self.through_proxy("app", sync_interval="off"))
        for number in range(40):
            before = db.execute("SELECT id, a, padding FROM t ORDER BY id").fetchall()
            self.direct.execute(
                "UPDATE t SET a = ?, padding = hex(randomblob(400)) WHERE id % 7 = ?",
                (f"round {number}", number % 7),
            )

            def harm(_called, answer):
                if number % 2:
                    answer.flip_bit(generator.randrange(len(answer.body)), generator.randrange(8))
                else:
                    answer.cut_at = generator.randrange(len(answer.body))

            self.proxy.tamper = harm
            with self.subTest(number=number):
                start = len(sqlite_log)
                error = self.fails(db.execute, "SELECT turso_sync()")
                self.assertNotIn(error_code(error) & 0xFF, NEVER)
                self.assert_names_the_url(db, start)
                self.assert_intact(db, before)
                self.proxy.tamper = None
                db.execute("SELECT turso_sync()")
                self.assert_intact(db, self.truth())

    def test_a_harmed_answer_to_a_write_is_an_io_error_and_never_a_wrong_claim(self):
        generator = seeded_random("harmed writes")
        db = self.open(self.through_proxy("app", sync_interval="off"))
        outcomes = {}
        for number in range(30):
            call = ("lease", "commit")[number % 2]
            kind = generator.choice(["flip", "cut", "html", "502"])
            harmed = []

            def harm(called, answer, call=call, kind=kind, harmed=harmed):
                if called != call or harmed:
                    return
                harmed.append(True)
                if kind == "flip":
                    answer.flip_bit(generator.randrange(len(answer.body)), generator.randrange(8))
                elif kind == "cut":
                    answer.cut_at = generator.randrange(len(answer.body))
                else:
                    answer.become_html(200 if kind == "html" else 502)

            time.sleep(0.15)  # No lease is kept from the last round.
            self.proxy.tamper = harm
            with self.subTest(number=number, call=call, kind=kind):
                code = self.try_to_insert(db, 1000 + number)
                self.proxy.tamper = None
                self.assertEqual([True], harmed)
                there = self.assert_told_the_truth(db, 1000 + number, code)
                outcomes[call, code, there] = outcomes.get((call, code, there), 0) + 1
        print(outcomes)

    def test_a_request_that_never_arrives_is_settled(self):
        db = self.open(self.through_proxy("app"))
        for number, call in enumerate(("lease", "commit")):
            with self.subTest(call):
                time.sleep(0.3)
                lost = []

                def lose(called, call=call, lost=lost):
                    if called != call or lost:
                        return None
                    lost.append(called)
                    return "lose"

                self.proxy.disturb = lose
                code = self.try_to_insert(db, 5000 + number)
                self.proxy.disturb = None
                self.assertEqual([call], lost)
                self.assert_told_the_truth(db, 5000 + number, code)

    def test_a_write_costs_one_exchange_under_the_lease_and_two_without(self):
        db = self.open(self.through_proxy("app", sync_interval="off"))
        for statements in (1, 300):
            for pause, expected in ((0.5, ["lease", "commit"]), (0, ["commit"])):
                with self.subTest(statements=statements, pause=pause):
                    time.sleep(pause)
                    if not pause:
                        db.execute("UPDATE t SET a = 'warm' WHERE id = 1")
                    self.proxy.calls.clear()
                    db.execute("BEGIN IMMEDIATE")
                    for number in range(statements):
                        db.execute("UPDATE t SET a = ? WHERE id = ?", (number, 1 + number % 200))
                    db.execute("COMMIT")
                    self.assertEqual(
                        expected, [call for call in self.proxy.calls if call != "release"]
                    )

    def test_reading_and_opening_cost_no_exchange(self):
        app = self.through_proxy("app", sync_interval="off")
        self.open(app).close()
        self.proxy.calls.clear()
        for _ in range(20):
            db = app.connect(with_url=False)
            db.execute("SELECT count(*) FROM t").fetchall()
            db.close()
        self.assertEqual([], self.proxy.calls)


class NoServer(BehaviourTest):
    def test_a_url_that_leads_nowhere_is_an_error_that_names_it(self):
        server = self.primary(create=False)
        for name, url, fragment in (
            ("refused", "http://127.0.0.1:9/app", "127.0.0.1:9"),
            ("unresolved", "http://no-such-host.invalid/app", "no-such-host.invalid"),
            ("absent", server.url("absent"), "/absent"),
            ("scheme", "gopher://127.0.0.1/app", "gopher"),
            ("empty", "", "url"),
            ("noise", "ht!tp:/x", "ht!tp:/x"),
            ("port", "http://127.0.0.1:notaport/app", "notaport"),
        ):
            with self.subTest(name):
                os.mkdir(self.path(name))
                start = len(sqlite_log)
                error = self.fails(Replica(self.path(f"{name}/app.db"), url, timeout="2s").connect)
                self.assert_code(error, sqlite3.SQLITE_CANTOPEN)
                self.assert_explained([self.logged_since(start)], fragment)
                self.assertEqual([], os.listdir(self.path(name)))

    def test_no_url_at_all_is_an_error_that_says_so(self):
        start = len(sqlite_log)
        os.mkdir(self.path("none"))
        error = self.fails(Replica(self.path("none/app.db"), None).connect)
        self.assert_code(error, sqlite3.SQLITE_CANTOPEN)
        self.assert_explained([self.logged_since(start)], "app.db", "url")
        self.assertEqual([], os.listdir(self.path("none")))


class Tokens(BehaviourTest):
    def setUp(self):
        super().setUp()
        for name, text in (("write.token", "w-secret-1"), ("read.token", "r-secret-2")):
            with open(self.path(name), "w", encoding="utf-8") as file:
                file.write(text + "\n")
        self.server = self.primary(
            "--token-file", self.path("write.token"), "--read-token-file", self.path("read.token")
        )
        self.app = self.replica(self.server, "app", token="w-secret-1")
        self.db = self.open(self.app)
        self.db.execute("CREATE TABLE t(a)")

    def with_token(self, token, name="app"):
        return Replica(
            self.replica(self.server, name).path,
            self.server.url(),
            **({"token": token} if token else {}),
        )

    def test_a_wrong_or_missing_token_makes_no_replica(self):
        for token in ("wrong", None):
            with self.subTest(token):
                start = len(sqlite_log)
                app = self.with_token(token, "new")
                error = self.fails(app.connect)
                self.assert_code(error, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_CANTOPEN)
                self.assert_explained([self.logged_since(start)], self.server.address)
                self.assertEqual([], app.files())

    def test_a_wrong_or_missing_token_refuses_writes_with_auth_and_reads_go_on(self):
        self.db.execute("INSERT INTO t VALUES(1)")
        self.db.close()
        for token in ("wrong", None):
            with self.subTest(token):
                db = self.with_token(token).connect(with_url=False)
                self.assertEqual([(1,)], db.execute("SELECT * FROM t").fetchall())
                self.assert_code(
                    self.fails(db.execute, "INSERT INTO t VALUES(2)"), sqlite3.SQLITE_AUTH
                )
                self.assert_explained(
                    [db.execute("SELECT turso_last_error()").fetchone()[0]], self.server.address
                )
                self.assertEqual([(1,)], db.execute("SELECT * FROM t").fetchall())
                db.close()
        self.db = self.open(self.app)
        self.db.execute("INSERT INTO t VALUES(3)")

    def test_a_token_is_never_stored_and_never_logged(self):
        with_url = Replica(
            self.replica(self.server, "url").path, self.server.url() + "?authToken=w-secret-1"
        )
        db = self.open(with_url)
        db.execute("INSERT INTO t VALUES(1)")
        self.assertNotIn("secret", str(db.execute("SELECT * FROM turso_status").fetchall()))
        self.fails(self.with_token("x-secret-3", "new").connect)
        for directory, _, names in os.walk(self.directory):
            for name in names:
                if not name.endswith(".token"):
                    with open(os.path.join(directory, name), "rb") as file:
                        self.assertNotIn(b"secret", file.read(), name)
        self.assertFalse([text for _code, text in sqlite_log if "secret" in text])

    def test_a_token_comes_from_a_file_that_is_read_again_after_a_refusal(self):
        with open(self.path("mine.token"), "w", encoding="utf-8") as file:
            file.write("w-secret-1")
        app = Replica(
            self.replica(self.server, "file").path,
            self.server.url(),
            token_file=self.path("mine.token"),
        )
        db = self.open(app)
        db.execute("INSERT INTO t VALUES(1)")
        self.db.close()
        self.server.stop()
        for name in ("write.token", "mine.token"):
            with open(self.path(name), "w", encoding="utf-8") as file:
                file.write("w-secret-9")
        self.server.start()
        db.execute("INSERT INTO t VALUES(2)")

    def test_a_token_that_may_only_read_is_told_so_and_nothing_is_sent(self):
        proxy = Proxy(self.server.port)
        self.addCleanup(proxy.close)
        reader = self.open(
            Replica(self.replica(self.server, "reader").path, proxy.url(), token="r-secret-2")
        )
        self.db.execute("INSERT INTO t VALUES(1)")
        reader.execute("SELECT turso_sync()")
        self.assertEqual([(1,)], reader.execute("SELECT * FROM t").fetchall())
        for sql in ("INSERT INTO t VALUES(2)", "BEGIN IMMEDIATE", "CREATE TABLE u(a)"):
            self.assert_code(self.fails(reader.execute, sql), sqlite3.SQLITE_READONLY)
            text = reader.execute("SELECT turso_last_error()").fetchone()[0]
            self.assert_explained([text], "read")
        self.assertEqual(0, proxy.count("commit"))
        self.assertEqual([(1,)], reader.execute("SELECT * FROM t").fetchall())
        self.assertFalse(reader.in_transaction)

    def test_the_environment_gives_a_token_too(self):
        report = self.report("token")
        os.environ["TURSO_AUTH_TOKEN"] = "w-secret-1"
        self.addCleanup(os.environ.pop, "TURSO_AUTH_TOKEN", None)
        self.spawn("token", write_one, self.with_token(None, "environment"), report).finish()
        self.assertEqual([{"rows": 1}], report.read())


def write_one(replica, report):
    db = replica.connect()
    db.execute("INSERT INTO t VALUES(1)")
    report.append({"rows": db.execute("SELECT count(*) FROM t").fetchone()[0]})
    db.close()


if __name__ == "__main__":
    main()
