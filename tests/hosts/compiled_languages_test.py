"""Go, Java and Rust on a replica, by one line that loads the library and a URI, or by that line alone."""

import packages
from host import EXTENSION, HERE, PYTHON, main

import work
from work import PROGRAMS


class Go(work.UriTest):
    """With the SQLite that the module compiles in."""

    host = "Go mattn/go-sqlite3"
    way_in = "URI"
    tags = ""

    @classmethod
    def prepare(cls):
        cls.program = packages.go("go-" + (cls.tags or "bundled"), PROGRAMS / "go", tags=cls.tags)

    @classmethod
    def version(cls):
        pinned = (PROGRAMS / "go" / "go.mod").read_text("utf-8").split("go-sqlite3 v")[1].split()[0]
        return f"{pinned}, SQLite {cls.output([cls.program, 'version'])}"

    def command(self, database):
        return [self.program, "work", database]

    def environment(self, library=EXTENSION):
        return {"TEST_LIBRARY": library}


class GoWithTheSystemsSqlite(Go):
    way_in = "URI, tag libsqlite3"
    tags = "libsqlite3"
    interpreters = {"go": [PYTHON, HERE / "run_recipe_program.py", "go"]}

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.assert_recipe_works(app, self.run_recipe("go", app), "from Go")


class Gorm(Go):
    host = "GORM"

    @classmethod
    def version(cls):
        return (PROGRAMS / "go" / "go.mod").read_text("utf-8").split("gorm.io/gorm v")[1].split()[0]

    def command(self, database):
        return [self.program, "gorm", database]

    def assert_worked(self, app, said):
        self.assertEqual(
            said.splitlines(),
            [
                "refused: UNIQUE constraint failed: authors.name",
                "refused: CHECK constraint failed: chk_books_pages",
                f"{work.NAME} 2 [0 255]",
            ],
        )
        self.assertEqual(app.rows("SELECT id, name FROM authors"), [[1, work.NAME]])
        self.assertEqual(
            app.rows("SELECT author_id, title, hex(cover), pages FROM books ORDER BY id"),
            [[1, "one", "00FF", None], [1, "two", "", 7]],
        )
        # AutoMigrate made it, added a column and a constraint, and made the table anew for another column type.
        schema = app.value("SELECT sql FROM sqlite_schema WHERE name = 'books'")
        self.assertIn('`title` text NOT NULL DEFAULT "untitled"', schema)
        self.assertIn("CHECK (pages > 0)", schema)
        app.assert_replica(commits=5)
        self.assertEqual(app.content(), app.content_at_primary())


class Java(work.UriTest):
    host = "Java sqlite-jdbc"
    way_in = "URI"
    programs = ("java",)

    @classmethod
    def prepare(cls):
        cls.class_path = packages.maven("java", PROGRAMS / "java")

    @classmethod
    def version(cls):
        return (PROGRAMS / "java" / "pom.xml").read_text("utf-8").split("<version>")[2].split("<")[0]

    def command(self, database):
        settings = ["-Xshare:auto", "-XX:TieredStopAtLevel=1", f"-Dorg.sqlite.tmpdir={self.directory}"]
        return ["java", *settings, "-cp", self.class_path, PROGRAMS / "java" / "Work.java", f"jdbc:sqlite:{database}"]

    def environment(self, library=EXTENSION):
        return {"TEST_LIBRARY": library}

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.interpreters = {"java": ["java", "-cp", self.class_path]}
        self.assert_recipe_works(app, self.run_recipe("java", app), "from Java")


class Rust(work.UriTest):
    """With the SQLite that the crate compiles in."""

    host = "Rust rusqlite"
    way_in = "URI"
    features = "bundled"

    @classmethod
    def prepare(cls):
        cls.program = packages.cargo("rust-" + (cls.features or "system"), PROGRAMS / "rust", features=cls.features)

    @classmethod
    def version(cls):
        pinned = (PROGRAMS / "rust" / "Cargo.toml").read_text("utf-8").split('version = "=')[1].split('"')[0]
        return f"{pinned}, SQLite {cls.output([cls.program, 'version'])}"

    def command(self, database):
        return [self.program, database]

    def environment(self, library=EXTENSION):
        return {"TEST_LIBRARY": library}


class RustWithTheSystemsSqlite(Rust):
    way_in = "URI, not bundled"
    features = ""
    interpreters = {"rust": [PYTHON, HERE / "run_recipe_program.py", "rust"]}

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.assert_recipe_works(app, self.run_recipe("rust", app), "from Rust")


class GoBehindThePreloadedLibrary(work.Preloaded, GoWithTheSystemsSqlite):
    pass


class RustBehindThePreloadedLibrary(work.Preloaded, RustWithTheSystemsSqlite):
    pass


if __name__ == "__main__":
    main()
