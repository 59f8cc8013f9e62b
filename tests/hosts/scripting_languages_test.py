"""Ruby, Perl, PHP and R on a replica, by what each reads at its start; Tcl by one line."""

import os

from host import EXTENSION, HOOKS, main

import work
from work import PROGRAMS


class Ruby(work.LanguageTest):
    host = "Ruby sqlite3"
    way_in = "RUBYOPT"
    programs = ("ruby",)

    @classmethod
    def version(cls):
        return cls.output(["ruby", "-e", "require 'sqlite3'; print SQLite3::VERSION"])

    def command(self, database):
        return ["ruby", PROGRAMS / "work.rb", database]

    def environment(self, library=EXTENSION):
        return {"RUBYOPT": f"-r{HOOKS}/turso_vfs.rb", "TURSO_VFS_EXTENSION": library}

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        said = self.run_recipe("ruby", app, environment={"TURSO_VFS_EXTENSION": EXTENSION})
        self.assert_recipe_works(app, said, "from Ruby", table="notes")


class ActiveRecord(Ruby):
    host = "ActiveRecord"

    @classmethod
    def version(cls):
        return cls.output(["ruby", "-e", "require 'active_record'; print ActiveRecord.version"])

    def command(self, database):
        return ["ruby", PROGRAMS / "active_record.rb", database]

    def assert_worked(self, app, said):
        self.assertEqual(
            said.splitlines(),
            [
                "refused: UNIQUE constraint failed: authors.name",
                f"{work.NAME}: one, second",
                "00ff",
                "1 2 3",
            ],
        )
        self.assertEqual(app.rows("SELECT version FROM schema_migrations ORDER BY 1"), [["1"], ["2"], ["3"]])
        self.assertEqual(app.value("SELECT value FROM ar_internal_metadata"), "default_env")
        self.assertEqual(app.rows("SELECT name FROM authors"), [[work.NAME]])
        self.assertEqual(
            app.rows("SELECT title, hex(picture) FROM books ORDER BY id"), [["one", "00FF"], ["second", ""]]
        )
        schema = app.value("SELECT sql FROM sqlite_schema WHERE name = 'books'")
        self.assertIn("\"title\" varchar(200) DEFAULT 'untitled' NOT NULL", schema)
        app.assert_replica(commits=6)
        self.assertEqual(app.content(), app.content_at_primary())


class Perl(work.LanguageTest):
    host = "Perl DBD::SQLite"
    way_in = "PERL5OPT"
    programs = ("perl",)

    @classmethod
    def version(cls):
        return cls.output(["perl", "-MDBD::SQLite", "-e", "print $DBD::SQLite::VERSION"])

    def command(self, database):
        return ["perl", PROGRAMS / "work.pl", database]

    def environment(self, library=EXTENSION):
        return {"PERL5OPT": "-MTursoVfs", "PERL5LIB": HOOKS, "TURSO_VFS_EXTENSION": library}

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        said = self.run_recipe("perl", app, environment={"TURSO_VFS_EXTENSION": EXTENSION})
        self.assert_recipe_works(app, said, "from Perl")


class Php(work.LanguageTest):
    host = "PHP PDO"
    way_in = "auto_prepend_file"
    programs = ("php",)

    @classmethod
    def version(cls):
        return cls.output(["php", "-r", "echo PHP_VERSION;"])

    def command(self, database):
        return ["php", PROGRAMS / "work.php", database]

    def environment(self, library=EXTENSION):
        with open(self.path("turso_vfs.ini"), "w", encoding="utf-8") as file:
            file.write(f"auto_prepend_file = {HOOKS}/turso_vfs.php\n")
            file.write(f"sqlite3.extension_dir = {os.path.dirname(library)}\n")
        return {"PHP_INI_SCAN_DIR": f":{self.directory}"}

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        said = self.run_recipe("php", app, environment={"TURSO_VFS_EXTENSION": EXTENSION})
        self.assert_recipe_works(app, said, "from PHP")


class R(work.LanguageTest):
    host = "R RSQLite"
    way_in = "R_PROFILE_USER"
    programs = ("Rscript",)

    @classmethod
    def version(cls):
        return work.debian_version("r-cran-rsqlite")

    def command(self, database):
        return ["Rscript", PROGRAMS / "work.R", database]

    def environment(self, library=EXTENSION):
        return {"R_PROFILE_USER": HOOKS / "turso_vfs.R", "TURSO_VFS_EXTENSION": library, "LC_ALL": "C.UTF-8"}

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        said = self.run_recipe("r", app, environment={"TURSO_VFS_EXTENSION": EXTENSION})
        self.assert_recipe_works(app, said, "from R")


class Tcl(work.UriTest):
    host = "Tcl sqlite3"
    way_in = "default VFS"
    programs = ("tclsh",)
    interpreters = {"tcl": ["tclsh"]}
    name = "Grüße, 世界"

    @classmethod
    def version(cls):
        return work.debian_version("libsqlite3-tcl")

    def command(self, database):
        return ["tclsh", PROGRAMS / "work.tcl", database]

    def environment(self, library=EXTENSION):
        return {"TEST_LIBRARY": library}

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.assert_recipe_works(app, self.run_recipe("tcl", app), "from Tcl")


class RubyBehindThePreloadedLibrary(work.Preloaded, Ruby):
    pass


class PerlBehindThePreloadedLibrary(work.Preloaded, Perl):
    pass


class PhpBehindThePreloadedLibrary(work.Preloaded, Php):
    pass


class TclBehindThePreloadedLibrary(work.Preloaded, Tcl):
    pass


if __name__ == "__main__":
    main()
