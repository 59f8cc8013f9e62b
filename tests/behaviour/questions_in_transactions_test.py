"""What is asked in the middle of a transaction leaves it as it is, also when the answer is an error."""

import sqlite3

from harness import BehaviourTest, error_code, main


class QuestionsInTransactions(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()
        self.app = self.replica(self.server, "app", timeout="2s")
        self.db = self.open(self.app)
        self.db.execute("CREATE TABLE t(a)")
        self.db.execute("INSERT INTO t VALUES(1)")

    def count(self):
        return self.db.execute("SELECT count(*) FROM t").fetchone()[0]

    def test_a_writing_transaction_may_ask_and_commits(self):
        self.db.execute("BEGIN IMMEDIATE")
        self.db.execute("INSERT INTO t VALUES(2)")
        for question in (
            "SELECT turso_sync()",
            "PRAGMA turso_sync",
            "SELECT turso_revision()",
            "SELECT turso_wait(turso_revision(), 100)",
            "SELECT turso_lag()",
            "SELECT * FROM turso_status",
            "INSERT INTO t SELECT length(turso_sync())",
        ):
            self.db.execute(question).fetchall()
            self.assertTrue(self.db.in_transaction, question)
        self.db.execute("COMMIT")
        self.assertEqual(3, self.count())
        other = self.open(self.replica(self.server, "other"))
        self.assertEqual([(3,)], other.execute("SELECT count(*) FROM t").fetchall())

    def test_a_question_that_fails_leaves_the_transaction_open(self):
        self.server.kill()
        self.db.execute("BEGIN")
        self.assertEqual(1, self.count())
        for question in ("SELECT turso_sync()", "SELECT turso_sync() FROM t"):
            error = self.fails(self.db.execute, question)
            self.assertEqual(sqlite3.SQLITE_CANTOPEN, error_code(error), question)
            self.assertIn(self.server.address, str(error))
            self.assertTrue(self.db.in_transaction, question)
        error = self.fails(self.db.execute, "PRAGMA turso_sync")
        self.assertIn(self.server.address, str(error))
        self.assertTrue(self.db.in_transaction)
        self.assertEqual(1, self.count())
        self.db.execute("ROLLBACK")
        error = self.fails(self.db.execute, "SELECT turso_sync()")
        self.assertEqual(sqlite3.SQLITE_IOERR, error_code(error))

    def test_nothing_failed_is_null_of_a_function_and_empty_of_a_pragma(self):
        self.assertEqual([(None,)], self.db.execute("SELECT turso_last_error()").fetchall())
        self.assertEqual([("",)], self.db.execute("PRAGMA turso_last_error").fetchall())

    def test_a_connection_to_nothing_tells_why_the_last_open_failed(self):
        with self.assertRaises(sqlite3.Error):
            self.app.with_options(timeout="soon").connect()
        memory = self.keep(sqlite3.connect(":memory:"))
        (text,) = memory.execute("SELECT turso_last_error()").fetchone()
        self.assertIn("timeout", text)
        self.assertIn("soon", text)


if __name__ == "__main__":
    main()
