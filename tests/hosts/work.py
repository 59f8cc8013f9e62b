"""Work that a program in any language does through its usual interface to SQLite, and mistakes that its user can make.

programs/work.* are one program in several languages: a schema, 3 rows by a prepared statement with bytes, NULLs, empty values
and characters from everywhere, 500 rows in a transaction, a rollback, a constraint that refuses, an update and a deletion in
a transaction, and what is there then, printed. Its argument is the name of the database. It knows nothing of replicas.
"""

import os
import time

import harness
import packages
from host import EXTENSION, HERE, PRELOAD, HostTest

PROGRAMS = HERE / "programs"
NAME = "Grüße, 世界 🎈"
NOBODY = "http://127.0.0.1:1/app"  # Nothing listens on port 1.
TIMEOUT_SECONDS = 2


class LanguageTest(HostTest):
    """A class for a language says `command(database)` and how it comes to the replica."""

    name = NAME  # Of the first row.

    def command(self, database):
        raise NotImplementedError

    def environment(self, library=EXTENSION):
        """What leads the program to the library."""
        return {}

    def opened_as(self, path):
        """The database's name as the program is given it: a plain one, unless the way in is a URI."""
        return path

    def new_as(self, path, url):
        """A name for a replica that is not there yet, and the environment that says the rest."""
        more = {"TURSO_VFS_FILES": os.path.basename(path)}
        if url is not None:
            more["TURSO_DATABASE_URL"] = url
        return path, more

    def work(self, database, *, status=0, **environment):
        library = environment.pop("library", EXTENSION)
        return self.run_program(
            self.command(database),
            environment={**self.environment(library), "TURSO_VFS_TIMEOUT": TIMEOUT_SECONDS, **environment},
            cwd=self.directory,
            status=status,
        )

    def assert_worked(self, app, said):
        self.assertEqual(
            said.splitlines(),
            [
                "rolled back",
                "refused: UNIQUE constraint failed: item.name",
                f"1|{self.name}|2.5|00ff80|null",
                "2|plain|0.5|null|",
                "125250",
            ],
        )
        self.assertEqual(
            app.rows("SELECT id, name, price, hex(picture), picture IS NULL, note FROM item"),
            [[1, self.name, 2.5, "00FF80", 0, None], [2, "plain", 0.5, "", 1, ""]],
        )
        self.assertEqual(app.value("SELECT sum(n) FROM series"), 125250)
        app.assert_replica(commits=3)
        self.assertEqual(app.content(), app.content_at_primary())

    def assert_refused(self, path, ran, *fragments):
        """The program's user was told, and nothing was made that looks like a database."""
        self.assert_explained([ran.stdout + ran.stderr], *fragments)
        left = [entry.name for entry in os.scandir(self.directory) if entry.is_file() and "db" in entry.name]
        left = [name for name in left if "lock" not in name and not name.endswith(".jsonl")]
        self.assertEqual(left, [], f"{path} must not be there")

    def assert_recipe_works(self, app, said, text, table="note"):
        self.assertEqual(said, [f"{text}\n"])
        self.assertEqual(app.rows(f"SELECT text FROM {table}"), [[text]])
        app.assert_replica()

    def test_its_work_on_a_replica_is_at_the_primary(self):
        app = self.app()
        self.assert_worked(app, self.work(self.opened_as(app.path)).stdout)

    def test_it_makes_the_replica_itself(self):
        app = self.app(made=False)
        name, more = self.new_as(app.path, app.url)
        self.assert_worked(app, self.work(name, **more).stdout)

    def test_a_library_that_is_not_there_is_named(self):
        path = self.path("new.db")
        name, more = self.new_as(path, NOBODY)
        missing = self.path("libturso_vfs.so")
        ran = self.work(name, status=None, library=missing, **more)
        self.assert_refused(path, ran, "libturso_vfs.so")

    def test_a_library_for_another_machine_is_named(self):
        path = self.path("new.db")
        name, more = self.new_as(path, NOBODY)
        foreign = self.path("libturso_vfs.so")
        binary = bytearray(EXTENSION.read_bytes())
        binary[18:20] = b"\xb7\x00"  # e_machine: AArch64
        with open(foreign, "wb") as file:
            file.write(binary)
        ran = self.work(name, status=None, library=foreign, **more)
        self.assert_refused(path, ran, "libturso_vfs.so")

    def test_a_replica_without_a_url_is_refused(self):
        path = self.path("new.db")
        name, more = self.new_as(path, None)
        self.assert_refused(path, self.work(name, status=None, **more), "new.db", "no primary is named")

    @harness.only_of_primary("libsql_access_test has the tokens of libSQL servers")
    def test_a_wrong_token_is_refused(self):
        token = self.path("token")
        with open(token, "w", encoding="utf-8") as file:
            file.write("right\n")
        primary = self.primary("--token-file", token)
        path = self.path("new.db")
        name, more = self.new_as(path, primary.url("app"))
        ran = self.work(name, status=None, TURSO_AUTH_TOKEN="wrong", **more)
        self.assert_refused(path, ran, "new.db", "token")

    def test_a_primary_that_is_down_is_no_empty_database(self):
        path = self.path("new.db")
        name, more = self.new_as(path, NOBODY)
        began = time.monotonic()
        ran = self.work(name, status=None, **more)
        took = time.monotonic() - began
        self.assertLess(took, TIMEOUT_SECONDS + harness.START_SECONDS)
        self.assert_refused(path, ran, "new.db", NOBODY, "is the primary running there?")


class UriTest(LanguageTest):
    """A language of which the program names the replica by a URI."""

    def opened_as(self, path):
        return harness.Replica(path, None).uri()

    def new_as(self, path, url):
        return harness.Replica(path, url).uri(), {}


class Preloaded:
    """Before the class of a language: the same program with nothing but LD_PRELOAD and plain names."""

    way_in = "LD_PRELOAD"

    def environment(self, library=EXTENSION):
        return {"LD_PRELOAD": PRELOAD, "TURSO_VFS_EXTENSION": library}

    opened_as = LanguageTest.opened_as
    new_as = LanguageTest.new_as
    test_the_recipe_works_as_it_stands = None  # It is about another way.


def debian_version(package):
    return packages.run(["dpkg-query", "-W", "-f=${Version}", package]).split("-")[0].split("+")[0]
