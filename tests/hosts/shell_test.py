"""The sqlite3 shell, and the tools that come with it, on a replica."""

import os
import pathlib
import subprocess
import sys
import time

import packages
from host import EXTENSION, HERE, PRELOAD, HostTest, main, plain_environment

sys.path.insert(0, str(HERE.parent / "sqlite_suite"))

import source  # noqa: E402

MIGRATION = """
BEGIN;
CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE pet(id INTEGER PRIMARY KEY, owner INTEGER REFERENCES person(id) ON DELETE CASCADE, name TEXT);
INSERT INTO person(name) VALUES ('Ada'), ('Grace');
INSERT INTO pet(owner, name) VALUES (1, 'Byron'), (2, 'Bug');
COMMIT;
PRAGMA foreign_keys=OFF;
BEGIN;
CREATE TABLE new_person(id INTEGER PRIMARY KEY, name TEXT NOT NULL CHECK (name <> ''), born TEXT DEFAULT 'unknown');
INSERT INTO new_person(id, name) SELECT id, name FROM person;
DROP TABLE person;
ALTER TABLE new_person RENAME TO person;
CREATE UNIQUE INDEX person_name ON person(name);
CREATE TRIGGER named AFTER INSERT ON person BEGIN INSERT INTO pet(owner, name) VALUES (new.id, 'of ' || new.name); END;
PRAGMA foreign_key_check;
COMMIT;
PRAGMA foreign_keys=ON;
ALTER TABLE pet ADD COLUMN kind TEXT NOT NULL DEFAULT 'cat';
INSERT INTO person(name) VALUES ('Barbara');
PRAGMA user_version=7;
"""


def plain_shell(*arguments):
    """Stock sqlite3, with nothing of ours."""
    ran = subprocess.run(
        ["sqlite3", *map(str, arguments)], env=plain_environment(), capture_output=True, text=True, check=False
    )
    return ran.stdout + ran.stderr


class ShellByPreload(HostTest):
    host = "sqlite3 shell"
    way_in = "LD_PRELOAD"
    programs = ("sqlite3",)

    @classmethod
    def version(cls):
        return cls.output(["sqlite3", "--version"]).split()[0]

    def shell(self, app, *statements, stdin="", status=0, library=EXTENSION, **environment):
        return self.run_program(
            ["sqlite3", "app.db", *statements],
            cwd=app.directory,
            stdin=stdin,
            status=status,
            environment={"LD_PRELOAD": PRELOAD, "TURSO_VFS_EXTENSION": library, **environment},
        )

    def migrated(self):
        app = self.app()
        self.shell(app, stdin=MIGRATION)
        return app

    def test_a_migration_from_stdin_is_at_the_primary(self):
        app = self.migrated()
        self.assertEqual(
            app.rows("SELECT name, born FROM person ORDER BY id"),
            [["Ada", "unknown"], ["Grace", "unknown"], ["Barbara", "unknown"]],
        )
        self.assertEqual(
            app.rows("SELECT owner, name, kind FROM pet ORDER BY id"),
            [[1, "Byron", "cat"], [2, "Bug", "cat"], [3, "of Barbara", "cat"]],
        )
        self.assertEqual(app.value("PRAGMA user_version"), 7)
        app.assert_replica(commits=5)
        self.assertEqual(app.content(), app.content_at_primary())

    def test_import_of_a_file_is_at_the_primary(self):
        app = self.app()
        rows = [f'{number},"name, {number}",{number * 0.5}' for number in range(1000)]
        pathlib.Path(app.directory, "rows.csv").write_text("id,name,half\n" + "\n".join(rows) + "\n", "utf-8")
        self.shell(app, ".import --csv rows.csv t")
        self.assertEqual(app.rows("SELECT count(*), max(name), sum(half) FROM t"), [[1000, "name, 999", 249750]])
        app.assert_replica()

    def test_a_script_that_is_read_is_at_the_primary(self):
        app = self.app()
        pathlib.Path(app.directory, "script.sql").write_text(MIGRATION, "utf-8")
        self.shell(app, ".read script.sql", "INSERT INTO person(name) VALUES ('Hedy')")
        self.assertEqual(app.value("SELECT group_concat(name) FROM (SELECT name FROM person ORDER BY id)"), "Ada,Grace,Barbara,Hedy")
        app.assert_replica(commits=6)

    def test_a_dump_of_the_replica_is_that_of_the_primary(self):
        app = self.migrated()
        dump = self.shell(app, ".dump").stdout
        app.primary.stop()
        self.assertEqual(dump, plain_shell(app.primary.file("app"), ".dump"))
        self.assertIn("Barbara", dump)

    def test_a_dump_can_be_played_into_a_replica(self):
        app = self.app()
        self.shell(app, stdin=plain_shell(self.plain_database(), ".dump"))
        self.assertEqual(app.value("SELECT group_concat(name) FROM (SELECT name FROM person ORDER BY id)"), "Ada,Grace,Barbara")
        app.assert_replica()

    def plain_database(self):
        path = self.path("plain.db")
        if not os.path.exists(path):
            self.assertEqual(plain_shell(path, MIGRATION), "")
        return path

    def test_a_backup_is_an_ordinary_database(self):
        app = self.migrated()
        for command, name in ((".backup", "backup.db"), (".save", "saved.db"), ("VACUUM INTO", "vacuumed.db")):
            self.shell(app, f"{command} '{name}'")
            copy = os.path.join(app.directory, name)
            self.assertFalse(os.path.exists(copy + "-turso"))
            said = plain_shell(copy, "INSERT INTO person(name) VALUES ('x'); SELECT count(*) FROM person; PRAGMA integrity_check")
            self.assertEqual(said, "4\nok\n", command)
        self.assertEqual(app.value("SELECT count(*) FROM person"), 3)

    def test_a_backup_is_restored_at_the_primary(self):
        app = self.app()
        self.shell(app, "CREATE TABLE other(a)")
        self.shell(app, f".restore '{self.plain_database()}'")
        self.assertEqual(app.value("SELECT group_concat(name) FROM (SELECT name FROM person ORDER BY id)"), "Ada,Grace,Barbara")
        self.assertEqual(app.rows("SELECT name FROM sqlite_schema WHERE name = 'other'"), [])
        app.assert_replica(commits=2)

    def test_a_library_that_is_missing_is_named_and_nothing_is_written(self):
        app = self.migrated()
        before = app.commits()
        said = self.shell(app, "INSERT INTO pet DEFAULT VALUES", status=None, library="/nowhere/libturso_vfs.so").stderr
        self.assertIn("/nowhere/libturso_vfs.so", said)
        self.assertEqual(app.commits(), before)

    def test_a_replica_that_is_not_there_and_has_no_url_is_not_made(self):
        app = self.app(made=False)
        said = self.shell(app, "SELECT 1 FROM sqlite_schema", status=None, TURSO_VFS_FILES="app.db").stderr
        self.assertIn("unable to open database", said)
        self.assertEqual(os.listdir(app.directory), [])

    def test_a_primary_that_is_down_is_told_within_the_timeout(self):
        app = self.migrated()
        app.primary.kill()
        began = time.monotonic()
        said = self.shell(app, "SELECT count(*) FROM person", "INSERT INTO pet DEFAULT VALUES", status=None, TURSO_VFS_TIMEOUT="2s")
        self.assertLess(time.monotonic() - began, 60)
        self.assertEqual(said.stdout, "3\n")
        self.assertIn("disk I/O error", said.stderr)
        script = "INSERT INTO pet DEFAULT VALUES;\nSELECT turso_last_error();\n"
        why = self.shell(app, stdin=script, status=None, TURSO_VFS_TIMEOUT="2s")
        self.assertIn(app.primary.address, why.stdout)

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        said = self.run_recipe("sqlite3-shell", app)
        self.assertEqual(said[-1], "made ahead\nby a URI\nin front\n")
        self.assertEqual(app.rows("SELECT text FROM note"), [["made ahead"], ["by a URI"], ["in front"]])
        app.assert_replica(commits=3)


class ShellByCommand(HostTest):
    host = "sqlite3 shell"
    way_in = "-cmd .load"
    programs = ("sqlite3",)

    @classmethod
    def version(cls):
        return ShellByPreload.version()

    def shell(self, app, script, *, status=0, library=EXTENSION, name="app.db"):
        load = ["-cmd", f".load {library} sqlite3_tursovfs_default_init", "-cmd", f".open {name}"]
        return self.run_program(["sqlite3", *load], cwd=app.directory, stdin=script, status=status)

    def test_a_migration_from_stdin_is_at_the_primary(self):
        app = self.app()
        self.shell(app, MIGRATION)
        self.assertEqual(app.value("SELECT group_concat(name) FROM pet"), "Byron,Bug,of Barbara")
        app.assert_replica(commits=5)

    def test_a_library_that_is_missing_is_named_and_the_replica_is_not_written(self):
        app = self.app()
        said = self.shell(app, "CREATE TABLE t(a);", status=None, library="/nowhere/libturso_vfs").stderr
        self.assertIn("/nowhere/libturso_vfs", said)
        self.assertIn("readonly", said)
        self.assertEqual(app.commits(), 0)

    def test_no_empty_database_is_made_where_the_name_says_the_vfs(self):
        app = self.app(made=False)
        uri = "file:app.db?vfs=turso"
        said = self.shell(app, "CREATE TABLE t(a);", status="any", library="/nowhere/libturso_vfs", name=uri).stderr
        self.assertIn("no such vfs: turso", said)
        said = self.shell(app, "CREATE TABLE t(a);", status="any", name=uri).stderr
        self.assertIn("unable to open", said)
        self.assertEqual(os.listdir(app.directory), [])


class Tools(HostTest):
    """sqldiff and dbhash have a SQLite of their own each, and read a replica as the file that it is."""

    host = "sqldiff and dbhash"
    way_in = "the file as it is"
    programs = ("sqldiff", "cc")

    @classmethod
    def prepare(cls):
        """Debian has dbhash as source only."""
        source.fetch()
        file = source.directory() / "source" / "tool" / "dbhash.c"

        def make(place):
            packages.run(["cc", "-O1", "-o", place / "dbhash", file, "-lsqlite3"])

        cls.dbhash = packages.once("dbhash", source.installed_version(), make) / "dbhash"

    @classmethod
    def version(cls):
        return packages.run(["dpkg-query", "-W", "-f=${Version}", "sqlite3-tools"]).split("-")[0]

    def pair(self):
        """Two replicas of one database."""
        first = self.app()
        shell = ["sqlite3", "-cmd", f".load {EXTENSION} sqlite3_tursovfs_default_init", "-cmd", ".open app.db"]
        self.run_program(shell, cwd=first.directory, stdin=MIGRATION)
        second = self.app(primary=first.primary)
        return first, second, shell

    def hashes(self, *paths):
        said = self.run_program([self.dbhash, *paths]).stdout
        return {line.split()[0] for line in said.splitlines()}

    def test_replicas_and_primary_have_one_hash(self):
        first, second, _ = self.pair()
        first.primary.stop()
        self.assertEqual(len(self.hashes(first.path, second.path, first.primary.file("app"))), 1)

    def test_a_difference_is_found_and_its_sql_makes_the_other_equal(self):
        first, second, shell = self.pair()
        self.assertEqual(self.run_program(["sqldiff", first.path, second.path]).stdout, "")
        changed = self.path("changed.db")
        self.run_program(shell, cwd=first.directory, stdin=f".save {changed}")
        sql = "UPDATE pet SET kind = 'dog' WHERE name = 'Bug'; DELETE FROM pet WHERE id = 1; INSERT INTO pet VALUES(9, 1, 'New', 'cat')"
        self.assertEqual(plain_shell(changed, sql), "")
        difference = self.run_program(["sqldiff", "--transaction", first.path, changed]).stdout
        self.assertEqual(difference.count(";"), 5, difference)
        self.run_program(shell, cwd=first.directory, stdin=difference)
        self.assertEqual(len(self.hashes(first.path, changed)), 1)
        self.assertEqual(first.value("SELECT group_concat(name || ' ' || kind) FROM pet"), "Bug dog,of Barbara cat,New cat")

    def test_reading_harms_no_replica(self):
        first, second, shell = self.pair()
        self.hashes(first.path, second.path)
        self.run_program(["sqldiff", first.path, second.path])
        self.run_program(shell, cwd=first.directory, stdin="INSERT INTO person(name) VALUES ('Hedy');")
        self.assertEqual(first.value("SELECT count(*) FROM person"), 4)
        self.assertEqual(first.content(), first.content_at_primary())


if __name__ == "__main__":
    main()
