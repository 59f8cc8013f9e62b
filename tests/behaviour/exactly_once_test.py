"""P3 across death: who holds a commit's request or its answer while a process, or the primary, is killed."""

import sqlite3
import threading
import time

from harness import (
    OUTCOME_UNKNOWN,
    REMOTE,
    START_SECONDS,
    BehaviourTest,
    Replica,
    error_code,
    is_io_error,
    main,
    only_of_primary,
    wait_until,
)


class Holder:
    """Holds commits in a proxy: on their way there ("request") or back ("answer"), until it is told to let go."""

    def __init__(self, proxy, what, *, and_nothing_else_passes=False):
        self.what = what
        self.held = threading.Event()
        self.let_go = threading.Event()
        self.done = threading.Event()  # The primary has answered what was held.
        self.thread = None
        self.answers = []  # HTTP statuses of the primary to commits.
        self.blocks = and_nothing_else_passes
        proxy.disturb, proxy.tamper = self.disturb, self.tamper

    def disturb(self, call):
        if call != "commit":
            return "lose" if self.blocks and self.held.is_set() else None
        if self.what == "request":
            self.hold_first()
        return None

    def tamper(self, call, answer):
        if call != "commit":
            return
        self.answers.append(answer.status)
        if self.what == "answer":
            self.hold_first()
        if threading.get_ident() == self.thread:
            self.done.set()

    def hold_first(self):
        if not self.held.is_set():
            self.thread = threading.get_ident()
            self.held.set()
            self.let_go.wait(START_SECONDS * 2)

    def release(self):
        self.blocks = False
        self.let_go.set()


class ExactlyOnce(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        self.direct = self.open(self.replica(self.server, "direct"))
        self.direct.execute("CREATE TABLE t(a)")
        self.proxy = self.proxy_before(self.server)

    def app(self, **options):
        options = {"timeout": "20s", "sync_interval": "off", **options}
        return Replica(self.path("app.db"), self.proxy.url(), **options)

    def hold(self, what, **options):
        holder = Holder(self.proxy, what, **options)
        self.addCleanup(holder.release)
        return holder

    def rows(self, db):
        db.execute("SELECT turso_sync()")
        return [value for (value,) in db.execute("SELECT a FROM t ORDER BY rowid")]

    def state_of(self, asking):
        return asking.sql("SELECT state FROM turso_status")[0][0]

    def insert_later(self, client, value):
        client.ask_later("INSERT INTO t VALUES(?)", (value,))

    def assert_answered(self, statuses, answers):
        """A libSQL server says within an answer of 200 that it refuses, or that it does not know the stream."""
        self.assertEqual(len(statuses), len(answers))
        if REMOTE == "turso-primary":
            self.assertEqual(statuses, sorted(answers))

    def check_everywhere(self, expected, *others):
        for db in (self.direct, *others):
            self.assertEqual(expected, self.rows(db))
            self.assertEqual([("ok",)], db.execute("PRAGMA integrity_check").fetchall())

    # --- The application dies. -------------------------------------------------------------------------------------

    def test_a_request_of_a_dead_process_that_arrives_after_it_was_settled_never_commits(self):
        holder = self.hold("request")
        writer = self.client(self.app(), name="writer")
        self.insert_later(writer, "late")
        self.assertTrue(holder.held.wait(START_SECONDS))
        writer.kill()
        heir = self.open(self.app())
        heir.execute("INSERT INTO t VALUES('next')")
        self.check_everywhere(["next"], heir)
        holder.release()
        self.assertTrue(holder.done.wait(START_SECONDS))
        # That of the next one, and no for the late one: its number is passed.
        self.assert_answered([200, 400], holder.answers)
        self.check_everywhere(["next"], heir)

    def test_a_process_that_only_takes_the_lock_settles_too(self):
        holder = self.hold("request")
        writer = self.client(self.app(), name="writer")
        self.insert_later(writer, "late")
        self.assertTrue(holder.held.wait(START_SECONDS))
        writer.kill()
        heir = self.open(self.app())
        heir.execute("BEGIN IMMEDIATE")
        holder.release()
        self.assertTrue(holder.done.wait(START_SECONDS))
        heir.execute("COMMIT")
        self.assert_answered([409], holder.answers)
        self.check_everywhere([], heir)

    def test_a_commit_whose_process_dies_before_its_answer_comes_is_there_once(self):
        holder = self.hold("answer")
        writer = self.client(self.app(), name="writer")
        self.insert_later(writer, "taken")
        self.assertTrue(holder.held.wait(START_SECONDS))
        writer.kill()
        heir = self.open(self.app())
        self.assertEqual([], heir.execute("SELECT a FROM t").fetchall(), "not before it is known")
        heir.execute("INSERT INTO t VALUES('next')")
        self.check_everywhere(["taken", "next"], heir)
        holder.release()

    def test_a_process_that_follows_settles_what_another_one_left_and_shows_it(self):
        for number, what in enumerate(("answer", "request"), 1):
            other = self.client(self.app(sync_interval="follow"), name=f"other{number}")
            writer = self.client(self.app(sync_interval="follow"), name=f"writer{number}")
            holder = self.hold(what)
            self.insert_later(writer, what)
            self.assertTrue(holder.held.wait(START_SECONDS))
            self.assertEqual("live", self.state_of(other), "under way is not unknown")
            writer.kill()
            wait_until(
                lambda: other.sql("SELECT count(*) FROM t WHERE a = 'answer'") == [(1,)],
                what="the row of the process that died",
            )
            settled = self.proxy.count("settle")
            wait_until(lambda: self.proxy.count("settle") >= number, what=f"{settled} settled")
            wait_until(lambda: self.state_of(other) == "live", what="the end of settling")
            holder.release()
            self.assertTrue(holder.done.wait(START_SECONDS))
            self.check_everywhere(["answer"], self.open(self.app()))
            other.close()

    def test_every_process_sees_that_an_outcome_is_unknown_and_that_it_is_known_again(self):
        other = self.client(self.app(timeout="1s"), name="other")
        third = self.client(self.app(timeout="1s"), name="third")
        holder = self.hold("answer", and_nothing_else_passes=True)
        writer = self.client(self.app(timeout="1s"), name="writer")
        self.insert_later(writer, "taken")
        self.assertTrue(holder.held.wait(START_SECONDS))
        self.assert_code(self.fails(writer.answer), OUTCOME_UNKNOWN)
        text = writer.sql("SELECT turso_last_error()")[0][0]
        self.assertIn("the outcome is unknown", text)
        writer.kill()
        for client in (other, third):
            self.assertEqual("settling", self.state_of(client))
            self.assertEqual([(0,)], client.sql("SELECT count(*) FROM t"), "reads go on")
        error = self.fails(lambda: other.sql("INSERT INTO t VALUES('too early')"))
        self.assertTrue(is_io_error(error_code(error)), error)
        self.assertIn("settling an earlier commit", other.sql("SELECT turso_last_error()")[0][0])
        self.fails(lambda: third.sql("SELECT turso_sync()"))
        self.assertEqual("settling", self.state_of(third))
        holder.release()
        # Both at once: one of them settles, the other finds it settled.
        self.insert_later(other, "next")
        third.sql("SELECT turso_sync()")
        other.answer()
        for client in (other, third):
            self.assertEqual("live", self.state_of(client))
        self.check_everywhere(["taken", "next"], self.open(self.app()))

    def test_the_death_of_a_writer_shows_as_settling_in_the_others(self):
        other = self.client(self.app(timeout="1s"), name="other")
        holder = self.hold("answer", and_nothing_else_passes=True)
        writer = self.client(self.app(), name="writer")
        self.insert_later(writer, "taken")
        self.assertTrue(holder.held.wait(START_SECONDS))
        writer.kill()
        wait_until(lambda: self.state_of(other) == "settling", what="the unknown outcome to show")
        holder.release()
        other.sql("BEGIN IMMEDIATE")
        other.sql("ROLLBACK")
        self.assertEqual("live", self.state_of(other))
        self.check_everywhere(["taken"], self.open(self.app()))

    def test_a_follower_is_not_current_while_its_own_commit_is_unknown(self):
        db = self.open(self.app(sync_interval="follow", timeout="1s"))
        wait_until(lambda: self.proxy.count("pull") > 1, what="a question that is kept open")
        pulled, sent = [], []
        lost = threading.Event()

        def disturb(call):
            if call == "commit":
                sent.append(time.monotonic())
                lost.set()
            return "lose" if lost.is_set() and call in ("settle", "lease", "release") else None

        def tamper(call, answer):
            if call == "commit":
                answer.cut_at = 0
            if call == "pull" and lost.is_set():
                pulled.append(time.monotonic())

        self.proxy.disturb, self.proxy.tamper = disturb, tamper
        error = self.fails(lambda: db.execute("INSERT INTO t VALUES('taken')"))
        self.assert_code(error, OUTCOME_UNKNOWN)
        # The question from before, which the primary has moved on to that very commit.
        wait_until(lambda: pulled, what="the answer to the open question")
        time.sleep(0.1)  # It has been taken.
        age = (time.monotonic() - sent[0]) * 1000
        self.assertGreaterEqual(db.execute("SELECT turso_lag()").fetchone()[0] + 1, age)
        self.proxy.disturb = self.proxy.tamper = None
        wait_until(
            lambda: db.execute("SELECT count(*) FROM t").fetchone() == (1,), what="the commit"
        )
        self.check_everywhere(["taken"], db)

    # --- The primary dies. -----------------------------------------------------------------------------------------

    def test_a_commit_whose_primary_dies_before_its_answer_arrives_is_acknowledged_and_there_once(
        self,
    ):
        writer = self.client(self.app(), name="writer")
        holder = self.hold("answer", and_nothing_else_passes=True)
        original = self.proxy.tamper

        def lose_the_answer(call, answer):
            original(call, answer)
            if call == "commit":
                answer.cut_at = 0

        self.proxy.tamper = lose_the_answer
        self.insert_later(writer, "taken")
        self.assertTrue(holder.held.wait(START_SECONDS))
        self.server.kill()
        self.server.start()
        self.proxy.tamper = None
        holder.release()
        self.assertEqual([], writer.answer(), "the primary that was started again knows it")
        self.assertGreaterEqual(self.proxy.count("settle"), 1)
        self.check_everywhere(["taken"], self.open(self.app()))

    def test_a_request_that_meets_a_restarted_primary_after_it_was_settled_never_commits(self):
        holder = self.hold("request")
        writer = self.client(self.app(), name="writer")
        self.insert_later(writer, "late")
        self.assertTrue(holder.held.wait(START_SECONDS))
        writer.kill()
        heir = self.open(self.app())
        heir.execute("BEGIN IMMEDIATE")  # Says to the primary that it is not to happen.
        heir.execute("ROLLBACK")
        self.server.kill()
        self.server.start()
        holder.release()
        self.assertTrue(holder.done.wait(START_SECONDS))
        self.assert_answered([409], holder.answers)
        self.check_everywhere([], heir)

    def test_all_die_while_the_answer_is_under_way(self):
        holder = self.hold("answer")
        writer = self.client(self.app(), name="writer")
        self.insert_later(writer, "taken")
        self.assertTrue(holder.held.wait(START_SECONDS))
        writer.kill()
        self.server.kill()
        heir = self.open(self.app(timeout="1s"))
        self.assertEqual([], heir.execute("SELECT a FROM t").fetchall())
        error = self.fails(lambda: heir.execute("INSERT INTO t VALUES('too early')"))
        self.assertTrue(is_io_error(error_code(error)), error)
        self.server.start()
        holder.release()
        heir.execute("INSERT INTO t VALUES('next')")
        self.check_everywhere(["taken", "next"], heir)

    # --- A proxy that asks again. ----------------------------------------------------------------------------------

    @only_of_primary("at a libSQL server a lease that is not renewed is taken anew at the commit")
    def test_a_request_that_was_refused_is_refused_again_when_the_proxy_repeats_it_later(self):
        # Refused because somebody else has the lease, so that its base stays the newest.
        db = self.open(self.app())
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO t VALUES('refused')")
        kept = []

        def pass_on(exchange):
            kept.append(exchange)
            exchange.send(exchange.deliver())

        self.proxy.disturb = lambda call: {"renew": "lose", "commit": pass_on}.get(call)
        other = self.client(self.replica(self.server, "other"), name="other")
        other.sql("SELECT turso_sync()")
        other.sql("BEGIN IMMEDIATE")  # When the lease that is not renewed has run out.
        error = self.fails(lambda: db.execute("COMMIT"))
        self.assert_code(error, sqlite3.SQLITE_BUSY_SNAPSHOT)
        other.sql("ROLLBACK")
        other.close()
        self.server.kill()
        self.server.start()
        self.assertEqual([409], [exchange.deliver().status for exchange in kept])
        self.check_everywhere([], db)


if __name__ == "__main__":
    main()
