"""P4 and P8 where a transaction leaves a schema that SQLite calls malformed: whoever may write can do that, on purpose
or with a typing error in PRAGMA writable_schema. Pages are served and followed whatever they say."""

import sqlite3

from harness import BehaviourTest, main, wait_until

SPOIL = """
    PRAGMA writable_schema = ON;
    UPDATE sqlite_schema SET sql = 'CREATE TABLE kept(' WHERE name = 'kept';
    PRAGMA writable_schema = OFF;
"""
MEND = """
    PRAGMA writable_schema = ON;
    UPDATE sqlite_schema SET sql = 'CREATE TABLE kept(a)' WHERE name = 'kept';
    PRAGMA writable_schema = OFF;
"""


class MalformedSchema(BehaviourTest):
    def test_the_primary_stops_cleanly_starts_again_and_serves_it_until_it_is_mended(self):
        server = self.primary()
        app = self.replica(server, "app")
        db = self.open(app)
        db.execute("CREATE TABLE kept(a)")
        db.execute("INSERT INTO kept VALUES (1)")
        db.executescript(SPOIL)
        db.close()
        server.restart()  # Stops it by SIGTERM, and demands that it ends with 0.

        other = self.open(self.replica(server, "other"))
        with self.assertRaisesRegex(sqlite3.DatabaseError, "malformed database schema"):
            other.execute("SELECT a FROM kept")
        other.executescript(MEND)

        def is_mended():
            try:
                return self.open(app).execute("SELECT a FROM kept").fetchall() == [(1,)]
            except sqlite3.DatabaseError:
                return False

        wait_until(is_mended, what="the first replica to follow")
        server.stop()
        plain = self.keep(server.open_file())
        self.assertEqual(plain.execute("PRAGMA integrity_check").fetchall(), [("ok",)])


if __name__ == "__main__":
    main()
