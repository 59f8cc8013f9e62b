"""Ruby, Perl, PHP and R on a replica, by what each runs at its start; Tcl by one line."""

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
        return {"RUBYOPT": f"-r{HOOKS}/turso_vfs.rb", "TURSO_VFS_LIBRARY": library}


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
        return {"PERL5OPT": "-MTursoVfs", "PERL5LIB": HOOKS, "TURSO_VFS_LIBRARY": library}


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
        settings = (HOOKS / "php" / "turso_vfs.ini").read_text("utf-8")
        settings = settings.replace("/usr/local/share/turso_vfs/hooks", str(HOOKS))
        with open(self.path("turso_vfs.ini"), "w", encoding="utf-8") as file:
            file.write(settings.replace("/usr/local/lib", str(library).rsplit("/", 1)[0]))
        return {"PHP_INI_SCAN_DIR": f":{self.directory}"}


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
        return {"R_PROFILE_USER": HOOKS / "turso_vfs.R", "TURSO_VFS_LIBRARY": library, "LC_ALL": "C.UTF-8"}


if __name__ == "__main__":
    main()
