"""SQLAlchemy with Alembic, Django and peewee on a replica."""

import os
import pathlib
import shutil

import packages
import python_work
from host import EXTENSION, PRELOAD, PYTHON, main
from work import PROGRAMS


class Peewee(python_work.PythonPackages):
    host = "peewee"
    package = "peewee"

    def command(self, database):
        return [PYTHON, PROGRAMS / "peewee_work.py", database]

    def assert_worked(self, app, said):
        self.assertEqual(
            said.splitlines(),
            ["rolled back", "refused: UNIQUE constraint failed: author.name", "2 (101, 14950)"],
        )
        self.assertEqual(app.rows("SELECT name FROM author ORDER BY id"), [["Ada, 世界 🎈"], ["Grace"]])
        self.assertEqual(app.rows("SELECT count(*), sum(length), max(year) FROM book"), [[101, 14950, 1843]])
        app.assert_replica(commits=8)
        self.assertEqual(app.content(), app.content_at_primary())

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.assert_recipe_works(app, self.run_recipe("peewee", app), "from peewee")


class SqlAlchemy(python_work.PythonPackages):
    host = "SQLAlchemy"
    package = "SQLAlchemy"

    def command(self, database):
        return [PYTHON, PROGRAMS / "sqlalchemy_work.py", f"sqlite:///{database}"]

    def assert_worked(self, app, said):
        self.assertEqual(
            said.splitlines(),
            [
                "rolled back",
                "refused: UNIQUE constraint failed: author.name",
                "[(3, 'Hedy'), (4, 'Mary')]",
                "(201, 5.0)",
            ],
        )
        self.assertEqual(
            app.rows("SELECT name FROM author ORDER BY id"), [["Ada, 世界 🎈"], ["Grace Hopper"], ["Hedy"], ["Mary"]]
        )
        self.assertEqual(app.rows("SELECT count(*), sum(price) FROM book"), [[201, 5.0]])
        app.assert_replica(commits=4)
        self.assertEqual(app.content(), app.content_at_primary())

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.assert_recipe_works(app, self.run_recipe("sqlalchemy", app)[:1], "from SQLAlchemy")


class SqlAlchemyByUri(SqlAlchemy):
    way_in = "URI"

    def opened_as(self, path):
        # SQLAlchemy takes what it does not know in the query for parts of the file's URI.
        return f"file:{path}?vfs=turso&uri=true"

    def new_as(self, path, url):
        query = "" if url is None else f"&url={url}"
        return f"file:{path}?vfs=turso{query}&uri=true", {}


class Alembic(python_work.PythonPackages):
    host = "Alembic, batch mode"
    package = "alembic"

    def project(self, app):
        place = os.path.join(app.directory, "migrations")
        shutil.copytree(PROGRAMS / "alembic", place)
        pathlib.Path(app.directory, "alembic.ini").write_text(
            "[alembic]\nscript_location = migrations\nsqlalchemy.url = sqlite:///app.db\n", "utf-8"
        )

    def alembic(self, app, *arguments):
        return self.program([PYTHON, "-m", "alembic", *arguments], app)

    def command(self, database):
        place = self.path("project")
        if not os.path.exists(place):
            os.mkdir(place)
            shutil.copytree(PROGRAMS / "alembic", f"{place}/migrations")
        pathlib.Path(place, "alembic.ini").write_text(
            f"[alembic]\nscript_location = {place}/migrations\nsqlalchemy.url = sqlite:///{database}\n", "utf-8"
        )
        return [PYTHON, "-m", "alembic", "-c", f"{place}/alembic.ini", "upgrade", "head"]

    def assert_worked(self, app, _said):
        self.assertEqual(app.rows("SELECT version_num FROM alembic_version"), [["2"]])
        self.assertEqual(app.rows("SELECT full_name, born FROM author ORDER BY id"), [["Ada", 1815], ["Grace", 1815]])
        self.assertEqual(app.rows("SELECT title FROM book ORDER BY id"), [["Notes"], ["Manual"]])
        schema = app.value("SELECT sql FROM sqlite_schema WHERE name = 'book'")
        self.assertIn("title TEXT NOT NULL", schema)
        self.assertIn("has_title", schema)
        app.assert_replica(commits=1)
        self.assertEqual(app.content(), app.content_at_primary())

    def test_migrations_go_up_and_down_and_their_history_is_at_the_primary(self):
        app = self.app()
        self.project(app)
        for step, expected in (("+1", "1"), ("+1", "2"), ("-1", "1"), ("+1", "2")):
            direction = "downgrade" if step == "-1" else "upgrade"
            self.alembic(app, direction, step)
            self.assertEqual(app.value("SELECT version_num FROM alembic_version"), expected)
        # Another replica has the history too: there, nothing is left to be done.
        other = self.app(primary=app.primary)
        self.project(other)
        before = app.commits()
        self.assertIn("2 (head)", self.alembic(other, "current"))
        self.alembic(other, "upgrade", "head")
        self.assertEqual(app.commits(), before)
        self.alembic(app, "downgrade", "base")
        self.assertEqual(app.rows("SELECT name FROM sqlite_schema WHERE name IN ('author', 'book')"), [])
        self.assertEqual(app.content(), app.content_at_primary())


class Django(python_work.PythonPackages):
    host = "Django"
    package = "Django"

    def project(self, place):
        """A copy: migrations are written into it."""
        if not os.path.exists(place):
            shutil.copytree(PROGRAMS / "django", place, ignore=shutil.ignore_patterns("__pycache__"))
        return place

    def command(self, database):
        return [PYTHON, os.path.join(self.project(self.path("project")), "main.py"), database]

    def assert_worked(self, app, said):
        self.assertEqual(
            said.splitlines(),
            [
                "rolled back",
                "refused: UNIQUE constraint failed: library_author.name",
                "False True",
                "{'id__count': 300, 'price__sum': Decimal('55000')}",
                "3",
            ],
        )
        self.assertEqual(
            app.rows("SELECT name FROM library_author ORDER BY id"),
            [["Ada, 世界 🎈"], ["Grace"], ["Hedy"], ["by the admin"]],
        )
        self.assertEqual(app.value("SELECT count(*) FROM library_book"), 300)
        self.assertEqual(app.rows("SELECT object_repr FROM django_admin_log"), [["by the admin"]])
        self.assertEqual(app.value("SELECT count(*) FROM django_migrations WHERE app = 'library'"), 1)
        app.assert_replica(commits=30)
        self.assertEqual(app.content(), app.content_at_primary())

    def test_migrations_that_make_tables_anew_go_up_and_down(self):
        app = self.app()
        project = self.project(os.path.join(app.directory, "project"))
        self.program([PYTHON, f"{project}/main.py", app.path], app)
        changes = (PROGRAMS / "django" / "changes.sed").read_text("utf-8")
        packages.run(["sed", "-i", changes, f"{project}/library/models.py"])

        def manage(*arguments, **environment):
            return self.program([PYTHON, f"{project}/manage.py", *arguments], app, DATABASE=app.path, **environment)

        manage("makemigrations", "library", "--name", "second", "--noinput")
        manage("migrate")
        self.assertEqual(
            app.rows("SELECT name FROM django_migrations WHERE app = 'library' ORDER BY id"),
            [["0001_initial"], ["0002_second"]],
        )
        self.assertEqual(app.rows("SELECT count(*), sum(price), typeof(price) FROM library_book"), [[300, 55000, "real"]])
        self.assertEqual(app.value("SELECT count(*) FROM sqlite_schema WHERE name = 'library_book_readers'"), 1)
        self.assertIn("[X] 0002_second", manage("showmigrations", "library"))
        self.assertEqual(manage("makemigrations", "--check", "--dry-run").strip(), "No changes detected")
        manage("migrate", "library", "0001")
        self.assertEqual(app.rows("SELECT count(*), sum(price) FROM library_book"), [[300, 55000]])
        self.assertEqual(app.value("SELECT count(*) FROM django_migrations WHERE name = '0002_second'"), 0)
        manage("migrate")
        self.assertEqual(app.content(), app.content_at_primary())

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.assertEqual(self.run_recipe("django", app)[-1], "from Django\n")
        self.assertEqual(app.rows("SELECT text FROM notes_note"), [["from Django"]])
        app.assert_replica(commits=5)


class DjangoByPreload(python_work.PythonPackages):
    host = "Django"
    package = "Django"
    way_in = "LD_PRELOAD"
    command, project, assert_worked = Django.command, Django.project, Django.assert_worked

    def environment(self, library=EXTENSION):
        return {"PYTHONPATH": self.packages, "LD_PRELOAD": PRELOAD, "TURSO_VFS_EXTENSION": library}


if __name__ == "__main__":
    main()
