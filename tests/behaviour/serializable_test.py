"""P1: all write transactions of all replicas form one history, and every read fits into it."""

import sqlite3
import time

from appender import final_lists, history_of, make_lists, run_appender
from harness import (
    BUSY,
    BUSY_SNAPSHOT,
    CONTROL,
    RETRY_CODES,
    BehaviourTest,
    RemoteSqlError,
    error_code,
    is_io_error,
    main,
    only_of_primary,
    seconds,
    seeded_random,
    wait_until,
)
from list_append import anomalies

COMMITS_LEAST = 20  # Of each process: so that there is something to look at, on a slow machine too.
CHAOS_COMMITS_LEAST = 50


class WriteSkew(BehaviourTest):
    """Two doctors are on call; each may leave if the other one stays."""

    def setUp(self):
        super().setUp()
        self.hospital = self.primary()
        replicas = [self.replica(self.hospital, name) for name in ("alice", "bob")]
        db = self.open(replicas[0])
        db.execute("CREATE TABLE doctors(name TEXT PRIMARY KEY, on_call INTEGER NOT NULL)")
        db.execute("INSERT INTO doctors VALUES('alice', 1), ('bob', 1)")
        self.alice, self.bob = (
            self.client(replica, name) for replica, name in zip(replicas, ("alice", "bob"))
        )
        self.catch_up(self.bob)

    def catch_up(self, client):
        if not CONTROL:
            client.sql("SELECT turso_sync()")

    def on_call(self, client):
        return client.sql("SELECT count(*) FROM doctors WHERE on_call")[0][0]

    def leave(self, client, name):
        client.sql("UPDATE doctors SET on_call = 0 WHERE name = ?", (name,))

    def assert_one_is_left(self):
        for client in (self.alice, self.bob):
            if client.sql(
                "SELECT count(*) FROM pragma_database_list"
            ):  # Answers, whatever went on before.
                self.catch_up(client)
                self.assertEqual(1, self.on_call(client))

    def test_the_second_to_write_is_refused_after_the_first_has_committed(self):
        for client in (self.alice, self.bob):
            client.sql("BEGIN")
            self.assertEqual(2, self.on_call(client))
        self.leave(self.alice, "alice")
        self.alice.sql("COMMIT")
        error = self.fails(self.leave, self.bob, "bob")
        self.assert_code(error, BUSY, BUSY_SNAPSHOT)
        self.assertEqual(2, self.on_call(self.bob), "its snapshot is gone")
        error = self.fails(self.leave, self.bob, "bob")
        self.assert_code(error, BUSY_SNAPSHOT)
        self.bob.sql("ROLLBACK")
        self.assert_one_is_left()

    @only_of_primary("a libSQL server lets the second wait, for a slot that the first gives up soon")
    def test_the_second_to_write_is_refused_while_the_first_has_not_committed(self):
        for client in (self.alice, self.bob):
            client.sql("BEGIN")
            self.assertEqual(2, self.on_call(client))
        self.leave(self.alice, "alice")
        began = time.monotonic()
        error = self.fails(self.leave, self.bob, "bob")
        self.assert_code(error, BUSY)
        self.assertLess(
            time.monotonic() - began, 1.5, "BUSY comes at once in a transaction that has read"
        )
        self.alice.sql("COMMIT")
        self.assert_code(self.fails(self.leave, self.bob, "bob"), BUSY_SNAPSHOT)
        self.bob.sql("ROLLBACK")
        self.assert_one_is_left()

    def test_an_autocommit_statement_that_meets_a_newer_primary_succeeds_after_catching_up(self):
        self.leave(self.alice, "alice")
        self.bob.sql(
            "UPDATE doctors SET on_call = 0 WHERE name = 'bob'"
            " AND (SELECT count(*) FROM doctors WHERE on_call) > 1"
        )
        self.assert_one_is_left()

    def test_immediate_transactions_wait_for_each_other(self):
        self.alice.sql("BEGIN IMMEDIATE")
        self.assertEqual(2, self.on_call(self.alice))
        self.bob.ask_later("BEGIN IMMEDIATE")
        time.sleep(0.3)  # It waits in its busy handler meanwhile.
        self.leave(self.alice, "alice")
        self.alice.sql("COMMIT")
        self.bob.answer()
        self.assertEqual(1, self.on_call(self.bob), "it began before the other's commit was here")
        self.bob.sql("ROLLBACK")
        self.assert_one_is_left()

    def test_an_immediate_transaction_that_wrote_nothing_lets_the_next_one_in(self):
        for _ in range(5):
            self.alice.sql("BEGIN IMMEDIATE")
            self.alice.sql("COMMIT")
            self.bob.sql("BEGIN IMMEDIATE")
            self.bob.sql("ROLLBACK")

    def test_many_rounds_with_both_at_once(self):
        generator = seeded_random("write skew")
        for _ in range(40):
            self.alice.sql("UPDATE doctors SET on_call = 1")
            self.catch_up(self.bob)
            left = [self.try_to_leave_together(generator)]
            self.assertLessEqual(sum(left[0]), 1, "both left")
            self.catch_up(self.alice)
            self.assertEqual(2 - sum(left[0]), self.on_call(self.alice))

    def try_to_leave_together(self, generator):
        """Both run read, write, commit with the steps interleaved by chance. Which of them committed."""
        doctors = [(self.alice, "alice"), (self.bob, "bob")]
        order = [0] * 4 + [1] * 4
        generator.shuffle(order)
        steps, gave_up = [0, 0], [False, False]
        for turn in order:
            client, name = doctors[turn]
            step, steps[turn] = steps[turn], steps[turn] + 1
            if gave_up[turn]:
                continue
            try:
                if step == 0:
                    client.sql("BEGIN")
                elif step == 1:
                    gave_up[turn] = self.on_call(client) < 2
                elif step == 2:
                    self.leave(client, name)
                else:
                    client.sql("COMMIT")
            except RemoteSqlError as error:
                self.assert_code(error, *RETRY_CODES)
                gave_up[turn] = True
            if gave_up[turn]:
                self.roll_back(client)
        return [not gave_up[turn] for turn in (0, 1)]

    def roll_back(self, client):
        try:
            client.sql("ROLLBACK")
        except RemoteSqlError as error:
            self.assertIn("no transaction", str(error))


class ListAppends(BehaviourTest):
    def test_the_history_of_three_replicas_with_two_processes_each_is_serializable(self):
        generator = seeded_random("list appends")
        primary = self.primary()
        replicas = [self.replica(primary, f"replica{number}") for number in range(3)]
        make_lists(self.open(replicas[0]))
        for replica in replicas[1:]:
            self.catch_up(self.open(replica))

        reports = [self.report(f"history{n}") for n in range(6)]
        children = [
            self.spawn(
                f"p{n}",
                run_appender,
                replicas[n % 3],
                f"p{n}",
                generator.random(),
                reports[n],
                seconds(12),
                COMMITS_LEAST,
            )
            for n in range(6)
        ]
        for child in children:
            child.finish(timeout=seconds(12) + 180)
        primary.stop()
        self.check(reports, final_lists(self.keep(primary.open_file())))

    def catch_up(self, db):
        if not CONTROL:
            db.execute("SELECT turso_sync()")

    def check(self, reports, final):
        history, outcomes = history_of(reports)
        print(f"transactions: {outcomes}, appended: {sum(map(len, final.values()))}")
        # A healthy primary gives no cause for any other.
        self.assertLessEqual(set(outcomes), {"ok", "failed"})
        self.assertEqual([], anomalies(history, final)[:5])


class Chaos(BehaviourTest):
    def test_the_history_is_serializable_while_replicas_and_their_primary_are_killed(self):
        if CONTROL:
            self.skipTest("there is no primary to kill")
        generator = seeded_random("chaos")
        primary = self.primary()
        replicas = [self.replica(primary, f"replica{n}", timeout="3s") for n in range(2)]
        make_lists(self.open(replicas[0]))
        self.open(replicas[1]).execute("SELECT turso_sync()")
        self.reports, self.running = [], {}
        for slot in range(4):
            self.start(slot, replicas, generator)

        deadline = time.monotonic() + seconds(15)
        while time.monotonic() < deadline or self.committed() < CHAOS_COMMITS_LEAST:
            if generator.random() < 0.5:
                self.wait_for_a_commit()
            time.sleep(generator.random() * 1.5)
            if generator.random() < 0.4:
                primary.kill()
                time.sleep(generator.choice([0, generator.random()]))
                primary.start()
            else:
                slot = generator.randrange(4)
                self.running[slot].kill()
                self.start(slot, replicas, generator)
        time.sleep(1)  # The last ones get something done.
        for child in self.running.values():
            child.kill()
        self.check(primary, replicas)

    def committed(self):
        return history_of(self.reports)[1].get("ok", 0)

    def wait_for_a_commit(self):
        before = self.committed()
        wait_until(lambda: self.committed() > before, timeout=120, what="a commit by anybody")

    def start(self, slot, replicas, generator):
        name = f"p{len(self.reports)}"
        self.reports.append(self.report(name))
        self.running[slot] = self.spawn(
            name, run_appender, replicas[slot % 2], name, generator.random(), self.reports[-1], 3600
        )

    def has_caught_up(self, db):
        try:
            db.execute("SELECT turso_sync()")
            return True
        except sqlite3.OperationalError as error:
            # A libSQL server keeps the slot of who was killed for five seconds, and a commit is to be settled first.
            self.assertTrue(is_io_error(error_code(error)), error)
            return False

    def check(self, primary, replicas):
        answers = []
        for replica in replicas:
            db = self.open(replica, with_url=False)
            wait_until(lambda db=db: self.has_caught_up(db), what="the primary's answer")
            answers.append(final_lists(db))
            self.assertEqual([("ok",)], db.execute("PRAGMA integrity_check").fetchall())
        primary.stop()
        final = final_lists(self.keep(primary.open_file()))
        history, outcomes = history_of(self.reports)
        print(
            f"{len(self.reports)} processes, {outcomes}, appended: {sum(map(len, final.values()))}"
        )
        self.assertLessEqual(set(outcomes), {"ok", "failed", "unknown"})
        self.assertEqual([], anomalies(history, final)[:5])
        for answer in answers:
            self.assertEqual(final, answer)


if __name__ == "__main__":
    main()
