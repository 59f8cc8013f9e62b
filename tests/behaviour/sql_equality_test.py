"""The same SQL on a replica and on a plain WAL file: the same answers and error codes, and the same content at the end,
also in the primary's own file."""

import os
import shutil
import sqlite3
import subprocess

from harness import CONTROL, EXTENSION, BehaviourTest, content, error_code, error_name, main, typed
from sql_scripts import SCRIPTS

# Answers that name the file itself or the compiler, or that count the pages of two logs.
NOT_COMPARED = {"PRAGMA compile_options", "PRAGMA database_list(1)", "PRAGMA wal_checkpoint(FULL)"}


def run_step(db, step):
    """What came of it, with all that a program can ask about it."""
    try:
        if callable(step):
            answer = ("value", repr(step(db)))
        else:
            sql, parameters = (step, ()) if isinstance(step, str) else step
            cursor = db.execute(sql, parameters)
            rows = [typed(row) for row in cursor.fetchall()]
            if sql in NOT_COMPARED:
                rows = len(rows)
            answer = (
                "rows",
                rows,
                cursor.rowcount,
                cursor.lastrowid,
                [column[0] for column in cursor.description or []],
            )
    except (sqlite3.Error, sqlite3.Warning) as error:
        answer = ("error", error_code(error), error_name(error), str(error))
    counts = db.execute("SELECT changes(), total_changes(), last_insert_rowid()").fetchall()
    return answer, counts, db.in_transaction


def show(step):
    return step if isinstance(step, str) else getattr(step, "__qualname__", None) or step[0]


class SameSql(BehaviourTest):
    def setUp(self):
        super().setUp()
        self.server = self.primary()

    def plain(self, name):
        directory = self.path(f"plain-{name}")
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(directory, f"{name}.db")
        db = self.keep(sqlite3.connect(path, isolation_level=None, timeout=5))
        db.text_factory = bytes_of_text
        db.execute("PRAGMA journal_mode=wal")
        return path, db

    def replicated(self, name):
        app = self.replica(self.server, name, database=name)
        db = self.open(app)
        db.text_factory = bytes_of_text
        if not CONTROL:
            shown = db.execute("SELECT count(*) FROM turso_status WHERE path = ?", (app.path,))
            self.assertEqual([(1,)], shown.fetchall(), "not a replica: the test compares nothing")
        return app.path, db

    def test_every_script_answers_the_same_and_leaves_the_same_at_the_primary(self):
        plain_paths = {}
        for title, steps in SCRIPTS.items():
            name = title.replace(" ", "-")
            with self.subTest(title):
                plain_paths[name], plain = self.plain(name)
                _, replica = self.replicated(name)
                for number, step in enumerate(steps):
                    expected, got = run_step(plain, step), run_step(replica, step)
                    self.assertEqual(expected, got, f"{title}, step {number}: {show(step)}")
                self.assertEqual(content(plain), content(replica), title)
                plain.close()
                replica.close()
        self.server.stop()
        for name, path in plain_paths.items():
            with self.subTest(name, where="at the primary"):
                self.assert_same_content(path, str(self.server.file(name)))

    def assert_same_content(self, plain, at_primary):
        databases = [sqlite3.connect(path, isolation_level=None) for path in (plain, at_primary)]
        for db in databases:
            db.text_factory = bytes_of_text
            db.create_function("twice", 1, lambda value: value * 2, deterministic=True)
            db.create_collation("backwards", lambda a, b: (a < b) - (a > b))
        contents = [content(db) for db in databases]
        checks = [db.execute("PRAGMA integrity_check").fetchall() for db in databases]
        for db in databases:
            db.close()
        self.assertEqual(contents[0], contents[1])
        self.assertEqual(checks[0], checks[1])
        if shutil.which("dbhash"):
            hashes = [
                subprocess.run(["dbhash", path], capture_output=True, text=True).stdout.split()[:1]
                for path in (plain, at_primary)
            ]
            self.assertEqual(hashes[0], hashes[1])
        if shutil.which("sqldiff") and "backwards" not in str(contents[0]["schema"]):
            done = subprocess.run(["sqldiff", plain, at_primary], capture_output=True, text=True)
            self.assertEqual("", done.stdout)

    def test_page_sizes_that_are_not_the_default_take_the_same_scripts(self):
        for page_size in (512, 1024, 65536):
            for title in ("basics", "savepoints", "vacuum", "without rowid"):
                with self.subTest(page_size=page_size, script=title):
                    name = f"{title.replace(' ', '-')}-{page_size}"
                    path, plain = self.plain(name)
                    plain.close()
                    os.unlink(path)
                    plain = self.keep(sqlite3.connect(path, isolation_level=None))
                    plain.text_factory = bytes_of_text
                    plain.execute(f"PRAGMA page_size={page_size}")
                    plain.execute("PRAGMA journal_mode=wal")
                    plain.execute("PRAGMA user_version=1")
                    seed = self.path(f"seed-{name}.db")
                    plain.execute("VACUUM INTO ?", (seed,))
                    if CONTROL:
                        shutil.copy(seed, self.server.file(name))
                    self.server.make_database(name, "--from", seed)
                    _, replica = self.replicated(name)
                    self.assertEqual([(page_size,)], replica.execute("PRAGMA page_size").fetchall())
                    for number, step in enumerate(SCRIPTS[title]):
                        expected, got = run_step(plain, step), run_step(replica, step)
                        self.assertEqual(expected, got, f"{title}, step {number}: {show(step)}")
                    self.assertEqual(content(plain), content(replica))
                    again = self.open(self.replica(self.server, f"again-{name}", database=name))
                    again.text_factory = bytes_of_text
                    self.assertEqual(content(plain), content(again))


def bytes_of_text(data):
    """Text as it is stored: it need not be UTF-8."""
    return data.decode("utf-8", "surrogateescape")


class SameInTheShell(BehaviourTest):
    """Debian's sqlite3, with .load and .open."""

    def setUp(self):
        super().setUp()
        if CONTROL:
            self.skipTest("the shell opens no replica in a control run")
        self.server = self.primary()
        self.app = self.replica(self.server, "app")
        self.plain = self.path("plain.db")
        sqlite3.connect(self.plain).execute("PRAGMA journal_mode=wal").connection.close()

    def shell(self, name, script):
        done = subprocess.run(
            [
                "sqlite3",
                "-batch",
                "-cmd",
                f".load {str(EXTENSION).removesuffix('.so')}",
                "-cmd",
                f".open '{name}'",
                ":memory:",
            ],
            input=script,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.directory,
        )
        return done.stdout, done.stderr, done.returncode

    def both(self, script):
        plain, replica = self.shell(self.plain, script), self.shell(self.app.uri(), script)
        self.assertEqual(plain, replica, script)
        return plain

    def test_scripts_dumps_and_reads_are_the_same(self):
        with open(self.path("script.sql"), "w", encoding="utf-8") as script:
            script.write(
                "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b REAL);\n"
                "INSERT INTO t(a, b) VALUES('it''s', 1.5), ('two\nlines', 0.1), (NULL, 1e300);\n"
                "CREATE INDEX ta ON t(a);\nCREATE VIEW v AS SELECT a FROM t;\n"
                "CREATE VIRTUAL TABLE f USING fts5(x);\nINSERT INTO f VALUES('hello world');\n"
                "CREATE TRIGGER tr AFTER DELETE ON t BEGIN INSERT INTO f VALUES(old.a); END;\n"
            )
        self.both(".read script.sql\nSELECT * FROM t;\n.changes on\nDELETE FROM t WHERE id = 1;\n")
        dump, errors, code = self.both(".dump\n")
        self.assertEqual(("", 0), (errors, code))
        self.assertIn("CREATE TRIGGER tr", dump)
        self.both(".tables\n.schema\n.indexes\nPRAGMA integrity_check;\n.sha3sum --schema\n")
        self.both(
            "INSERT INTO t VALUES(2, 2, 2);\nSELECT * FROM nowhere;\n.mode json\nSELECT * FROM t;\n"
        )
        self.both(
            ".mode csv\n.headers on\nSELECT * FROM t;\nPRAGMA user_version=8;\nVACUUM;\n.sha3sum\n"
        )
        with open(self.path("rows.csv"), "w", encoding="utf-8") as rows:
            rows.write("".join(f"{n},name {n}\n" for n in range(2000)))
        self.both(
            "CREATE TABLE imported(n, name);\n.mode csv\n.import rows.csv imported\nSELECT count(*), sum(n) FROM imported;\n"
        )
        self.assert_primary_equals_plain()

    def test_a_dump_of_a_replica_read_into_another_one_makes_the_same_database(self):
        self.both(
            "CREATE TABLE t(a, b);\nWITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
            " INSERT INTO t SELECT i, 'row ' || i FROM n;\n"
        )
        dump, _, _ = self.shell(self.app.uri(), ".dump\n")
        with open(self.path("dump.sql"), "w", encoding="utf-8") as file:
            file.write(dump)
        second = self.replica(self.server, "second", database="second")
        self.assertEqual(("", "", 0), self.shell(second.uri(), ".read dump.sql\n"))
        self.assertEqual(dump, self.shell(second.uri(), ".dump\n")[0])

    def test_backup_restore_clone_and_vacuum_into_are_the_same(self):
        self.both("CREATE TABLE t(a);\nINSERT INTO t VALUES(1), (2);\n")
        for name, database in (("p", self.plain), ("r", self.app.uri())):
            self.assertEqual(
                ("", "", 0),
                self.shell(database, f".backup {name}-backup.db\nVACUUM INTO '{name}-into.db';\n"),
            )
            self.shell(database, f".clone {name}-clone.db\n")
            for kind in ("backup", "into", "clone"):
                copy = sqlite3.connect(self.path(f"{name}-{kind}.db"))
                self.assertEqual([(1,), (2,)], copy.execute("SELECT a FROM t").fetchall())
                copy.execute("INSERT INTO t VALUES(3)")  # An ordinary database.
                copy.commit()
                copy.close()
        self.both(
            ".restore p-backup.db\nSELECT * FROM t;\nINSERT INTO t VALUES(4);\nPRAGMA journal_mode;\n"
        )
        self.assert_primary_equals_plain()

    def assert_primary_equals_plain(self):
        self.server.stop()
        plain, at_primary = self.keep(sqlite3.connect(self.plain)), self.keep(
            self.server.open_file()
        )
        self.assertEqual(content(plain), content(at_primary))
        done = subprocess.run(
            ["sqldiff", self.plain, self.server.file()], capture_output=True, text=True
        )
        self.assertEqual("", done.stdout)


if __name__ == "__main__":
    main()
