"""The soak, for seconds: many processes and threads on one replica with kills, and everything at once. And its oracle
finds what it is there to find."""

import os
import pathlib
import sys

from harness import BehaviourTest, main, seconds, seeded_random, sqlite3

sys.path.append(str(pathlib.Path(__file__).parent.parent / "soak"))
import soak  # noqa: E402
import soak_oracle  # noqa: E402
import soak_schema  # noqa: E402
from soak_board import Notebook  # noqa: E402


class ShortSoak(BehaviourTest):
    def soak(self, phase):
        seed = seeded_random(f"soak, {phase}").randrange(2**32)
        length = seconds(14)
        arguments = ["--minutes", length / 60, "--round", length, "--seed", seed, "--only", phase]
        done, good = soak.run([*map(str, arguments), "--directory", self.directory])
        self.assertTrue(good)
        self.assertGreater(done.total.acknowledged, 10)
        return done

    def test_nothing_is_lost_among_8_processes_of_8_threads_that_are_killed(self):
        self.assertGreater(self.soak("8 processes of 8 threads").counts["processes killed"], 2)

    def test_nothing_is_lost_when_everything_happens_at_once(self):
        self.assertGreater(sum(self.soak("all at once").counts.values()), 1)


class Oracle(BehaviourTest):
    """Two threads note what they were told; then the database is made to say something else."""

    def setUp(self):
        super().setUp()
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.db.close)
        soak_schema.make(self.db, ["a", "b"])
        self.book = Notebook(self.path("1.notes"))
        self.addCleanup(self.book.close)
        for number, outcome in ((1, "ok"), (2, "failed"), (3, "unknown"), (4, "unknown"), (5, None)):
            self.book.note("try", "a", number, "some", [])
            if outcome is not None:
                self.book.note("end", "a", number, outcome)
        self.book.note("try", "b", 1, "append", [["read", "x", []], ["append", "x", "b/1"]])
        self.book.note("end", "b", 1, "ok")
        for name, number in (("a", 1), ("a", 3), ("a", 5), ("b", 1)):
            self.commit(name, number)
        self.db.execute("INSERT INTO lists VALUES('x', 'b/1 ')")

    def commit(self, name, number, parts=2):
        for part in range(parts):
            self.db.execute("INSERT INTO parts VALUES(?, ?, ?, x'00')", (name, number, part))
        self.db.execute("INSERT INTO marks VALUES(?, ?, 2)", (name, number))

    def judged(self):
        judged = soak_oracle.Round()
        judged.read([self.path("1.notes")])
        judged.judge(self.db)
        return judged

    def assert_found(self, kind, fragment):
        judged = self.judged()
        self.assertGreater(getattr(judged.tally, kind), 0, judged.sentences)
        self.assertTrue(any(fragment in text for text in judged.sentences), judged.sentences)

    def test_nothing_is_found_where_all_is_well(self):
        judged = self.judged()
        self.assertEqual([], judged.sentences)
        tally = judged.tally
        self.assertEqual((6, 2, 1), (tally.transactions, tally.acknowledged, tally.failed_at_commit))
        self.assertEqual((2, 1), (tally.unknown_committed, tally.unknown_not))

    def test_an_acknowledged_transaction_that_is_missing_is_found(self):
        self.db.execute("DELETE FROM marks WHERE slot = 'a' AND number = 1")
        self.db.execute("DELETE FROM parts WHERE slot = 'a' AND number = 1")
        self.assert_found("lost", "a/1")

    def test_a_transaction_that_is_there_twice_is_found(self):
        self.commit("a", 3, parts=0)
        self.assert_found("doubled", "a/3")

    def test_a_refused_transaction_that_is_there_is_found(self):
        self.commit("a", 2)
        self.assert_found("doubled", "a/2")

    def test_a_transaction_of_unknown_outcome_that_is_there_in_part_is_found(self):
        self.db.execute("DELETE FROM parts WHERE slot = 'a' AND number = 3 AND part = 1")
        self.assert_found("torn", "a/3")

    def test_parts_that_were_rolled_back_are_found(self):
        self.db.execute("INSERT INTO parts VALUES('a', -7, 0, x'00')")
        self.assert_found("torn", "a/-7")

    def test_a_transaction_that_nobody_committed_is_found(self):
        self.commit("b", 9)
        self.assert_found("violations", "b/9")

    def test_an_update_of_a_counter_that_is_lost_is_found(self):
        self.db.execute("UPDATE counters SET count = count - 1 WHERE slot = 'b'")
        self.assert_found("violations", "b is counted")

    def test_money_that_was_made_is_found(self):
        self.db.execute("UPDATE accounts SET balance = balance + 1 WHERE id = 3")
        self.assert_found("violations", "accounts")

    def test_an_appended_value_that_is_lost_is_found(self):
        self.db.execute("UPDATE lists SET items = ''")
        self.assert_found("violations", "lost: T0")

    def test_what_a_worker_saw_is_told(self):
        self.book.note("wrong", "a", 6, "a snapshot changed")
        self.assert_found("violations", "a/6: a snapshot changed")

    def test_a_replica_that_is_not_the_primary_is_found(self):
        options = soak.parse(["--replicas", "0"])
        judged = soak_oracle.Round()
        replica = self.replica_file("replica", b"\3")
        soak.Soak(options, self.directory).compare(judged, replica, self.primary_file(b"\2"))
        self.assertEqual([], judged.sentences)
        soak.Soak(options, self.directory).compare(judged, replica, self.primary_file(b"\2", 5000))
        self.assertIn("pages [2]", judged.sentences[0])
        pathlib.Path(replica.replica.path + ".aside-1").touch()
        judged = soak_oracle.Round()
        soak.Soak(options, self.directory).compare(judged, replica, self.primary_file(b"\2"))
        self.assertIn("aside", str(judged.sentences))

    def file(self, name, write_version, different=None):
        content = bytearray(8192)
        content[18:19] = write_version
        if different is not None:
            content[different] = 1
        path = pathlib.Path(self.path(name))
        path.write_bytes(content)
        return path

    def primary_file(self, *arguments):
        return self.file("primary.db", *arguments)

    def replica_file(self, name, *arguments):
        os.makedirs(self.path(name), exist_ok=True)
        path = self.file(f"{name}/app.db", *arguments)
        return soak.Group(soak.harness.Replica(path, "http://nowhere"), None)


if __name__ == "__main__":
    main()
