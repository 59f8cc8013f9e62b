"""The same SQL on a replica of a libSQL server and on a plain WAL file: the same answers and error codes, and the same
content at the end, also in the server's own pages."""

import sqlite3
import unittest

import libsql_server
import sql_equality_test as equality
from harness import BehaviourTest, content, main
from sql_scripts import SCRIPTS

# What a libSQL server has no statement for is refused: README.md says what that is.
REFUSED = {
    "vacuum": "VACUUM",
    "pragmas": "application_id, encoding",
    "big values": "rows of more than 5 MB",
    "indexes and plans": "ANALYZE of what was never analyzed",
    "host features": "collations of the application's own in the schema",
    "backup into it": "all of the database is replaced, the server's own table included",
}
OWN_TABLE = "_turso_vfs"
OF_THE_PAGES = ("PRAGMA freelist_count", "PRAGMA page_count")


def own(value):
    return OWN_TABLE in str(value)


def without_own(found):
    return {
        key: [row for row in rows if not own(row)] if isinstance(rows, list) else rows
        for key, rows in found.items()
        if not own(key)
    }


class SameSqlAtLibsql:
    """What is so of every server; `make_server` says which."""

    def answer(self, db, step):
        answer, counts, in_transaction = equality.run_step(db, step)
        if answer[0] == "rows" and isinstance(answer[1], list):
            rows = [row for row in answer[1] if not own(row)]
            if step in OF_THE_PAGES:
                rows = len(rows)
            elif "sqlite_schema ORDER BY rowid" in str(step):
                rows = sorted(rows)  # The server made them in another order.
            answer = ("rows", rows, *answer[2:])
        return answer, counts, in_transaction

    def plain_copy(self, replica):
        """The server's pages without its own table, as a file of stock SQLite's."""
        path = replica.path + ".plain"
        with open(replica.path, "rb") as file:
            pages = bytearray(file.read())
        pages[18] = 2
        with open(path, "wb") as file:
            file.write(pages)
        db = sqlite3.connect(path, isolation_level=None)
        db.execute(f"DROP TABLE IF EXISTS {OWN_TABLE}")
        db.close()
        return path

    def test_every_script_answers_the_same_and_leaves_the_same_at_the_server(self):
        for title, steps in SCRIPTS.items():
            if title not in REFUSED:
                with self.subTest(title):
                    self.run_script(title, steps)

    def run_script(self, title, steps):
        name = title.replace(" ", "-")
        server = self.make_server(self.path(f"server-{name}"))
        self._primaries.append(server)
        server.start()
        plain_path = self.path(f"plain-{name}.db")
        plain = self.keep(sqlite3.connect(plain_path, isolation_level=None, timeout=5))
        app = self.replica(server, name, database="")
        replica = self.open(app)
        plain.execute("PRAGMA journal_mode=wal")
        for db in (plain, replica):
            db.text_factory = equality.bytes_of_text
        for number, step in enumerate(steps):
            expected, got = self.answer(plain, step), self.answer(replica, step)
            self.assertEqual(expected, got, f"{title}, step {number}: {equality.show(step)}")
        self.assertEqual(content(plain), without_own(content(replica)), title)
        plain.close()
        replica.close()
        fresh = self.replica(server, f"fresh-{name}", database="")
        db = fresh.connect()
        db.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        db.close()
        server.stop()
        equality.SameSql.assert_same_content(self, plain_path, self.plain_copy(fresh))


class SameSqlAtTheFake(SameSqlAtLibsql, BehaviourTest):
    def make_server(self, directory):
        return libsql_server.FakeServer(directory)


if libsql_server.SQLD:

    class SameSqlAtSqld(SameSqlAtLibsql, BehaviourTest):
        def make_server(self, directory):
            return libsql_server.RealServer(directory)


if __name__ == "__main__":
    assert unittest
    main()
