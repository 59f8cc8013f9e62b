"""P6: written on one connection, read on every other one of the same replica at once, in any process."""

import threading

from harness import CONTROL, BehaviourTest, main, seeded_random


class ReadYourWrites(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        self.app = self.replica(self.server, "app")
        self.db = self.open(self.app)
        self.db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER)")
        self.db.execute("INSERT INTO t VALUES(1, 0)")

    def test_every_connection_of_every_process_reads_at_once_what_any_of_them_wrote(self):
        generator = seeded_random("read your writes")
        here = self.open(self.app)
        there, elsewhere = self.client(self.app), self.client(self.app)

        def ask(connection, sql, parameters=()):
            if hasattr(connection, "sql"):
                return connection.sql(sql, parameters)
            return connection.execute(sql, parameters).fetchall()

        everyone = [self.db, here, there, elsewhere]
        for number in range(1, 201):
            writer = generator.choice(everyone)
            if generator.random() < 0.5:
                ask(writer, "UPDATE t SET n = ? WHERE id = 1", (number,))
            else:
                ask(writer, "BEGIN IMMEDIATE")
                ask(writer, "UPDATE t SET n = ? WHERE id = 1", (number,))
                self.assertEqual([(number,)], ask(writer, "SELECT n FROM t"))
                ask(writer, "COMMIT")
            generator.shuffle(everyone)
            for reader in everyone:
                self.assertEqual([(number,)], ask(reader, "SELECT n FROM t"))

    def test_a_new_table_is_there_for_every_process_at_once(self):
        there = self.client(self.app)
        there.sql("SELECT * FROM t")
        for number in range(20):
            self.db.execute(f"CREATE TABLE new{number}(a, b)")
            self.assertEqual([], there.sql(f"SELECT a, b FROM new{number}"))
            there.sql(f"ALTER TABLE new{number} ADD COLUMN c")
            self.assertEqual([], self.db.execute(f"SELECT c FROM new{number}").fetchall())

    def test_a_process_that_opens_the_replica_after_the_write_reads_it(self):
        for number in range(1, 4):
            self.db.execute("UPDATE t SET n = ?", (number,))
            late = self.client(self.app.with_options() if CONTROL else self.app)
            self.assertEqual([(number,)], late.sql("SELECT n FROM t"))
            late.close()

    def test_threads_of_one_process_read_what_the_others_wrote(self):
        wrong, barrier = [], threading.Barrier(4)

        def turns(me):
            db = self.app.connect()
            for number in range(40):
                if number % 4 == me:
                    db.execute("UPDATE t SET n = ?", (number,))
                barrier.wait(30)
                got = db.execute("SELECT n FROM t").fetchone()[0]
                if got != number:
                    wrong.append((me, number, got))
                barrier.wait(30)
            db.close()

        threads = [threading.Thread(target=turns, args=(me,)) for me in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertFalse(any(thread.is_alive() for thread in threads))
        self.assertEqual([], wrong)

    def test_nothing_is_seen_before_the_commit(self):
        there = self.client(self.app)
        self.db.execute("BEGIN IMMEDIATE")
        self.db.execute("UPDATE t SET n = 7")
        self.assertEqual([(0,)], there.sql("SELECT n FROM t"))
        self.db.execute("ROLLBACK")
        self.assertEqual([(0,)], there.sql("SELECT n FROM t"))
        self.assertEqual([(0,)], self.db.execute("SELECT n FROM t").fetchall())

    def test_another_replica_follows_within_a_second(self):
        if CONTROL:
            self.skipTest("there is only one file")
        follower = self.open(self.replica(self.server, "follower"))
        for number in range(1, 6):
            self.db.execute("UPDATE t SET n = ?", (number,))
            revision = self.db.execute("SELECT turso_revision()").fetchone()[0]
            self.assertEqual(
                [(1,)], follower.execute("SELECT turso_wait(?, 1000)", (revision,)).fetchall()
            )
            self.assertEqual([(number,)], follower.execute("SELECT n FROM t").fetchall())


if __name__ == "__main__":
    main()
