"""Qt, DB Browser for SQLite in a real window, GDAL and Lua on a replica: programs without a word in them that could load
an extension, behind libturso_preload.so."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess

from host import PRELOAD, PYTHON, HostTest, main, plain_environment

import packages
import work
from harness import dies_with_us, read_line, wait_until
from work import PROGRAMS


class Qt(work.Preloaded, work.LanguageTest):
    host = "Qt SQL"

    @classmethod
    def version(cls):
        return cls.output([PYTHON, "-c", "from PyQt5.QtCore import QT_VERSION_STR; print(QT_VERSION_STR)"])

    def command(self, database):
        return [PYTHON, PROGRAMS / "work_qt.py", database]

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.assert_recipe_works(app, self.run_recipe("qt", app)[-1:], "from Qt")


class DbBrowser(HostTest):
    host = "DB Browser for SQLite"
    way_in = "LD_PRELOAD"
    programs = ("sqlitebrowser", "Xvfb", "xdotool")
    # The first row's text, and the second's, in a window that nobody has moved. The columns are as wide as what they had when they
    # were shown: this is in all that were seen, from 53 to 182, 95 to 167 and 127 to 230.
    CELL = (150, 202)
    BELOW = (150, 229)
    # Where it says "No" if it asks, on a slow machine, whether to abort its own reading of the rows, and whether to load them all
    # before they are selected. Else nothing is there.
    NO = ("mousemove", 707, 390, "click", 1, "mousemove", 707, 410, "click", 1)
    # The button, and not Ctrl+S: where no window manager says which window is the active one, Qt now and then takes none for it,
    # though the keyboard is the window's. Then keys reach the cell that has the focus, and no shortcut does anything any more.
    WRITE_CHANGES = (370, 42)

    @classmethod
    def version(cls):
        return work.debian_version("sqlitebrowser")

    def start(self, command, directory=None, **environment):
        process = subprocess.Popen(
            dies_with_us(command),
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        process.stdout.close()

    def show(self, app):
        """A screen of its own, and the program on it, as the recipe has it; the window."""
        home = os.path.join(app.directory, "home")
        os.makedirs(home, mode=0o700)
        screen = self.start(["Xvfb", "-displayfd", "1", "-screen", "0", "1200x800x24", "-nolisten", "tcp"], **os.environ)
        self.desktop = plain_environment(
            DISPLAY=":" + read_line(screen.stdout, 60).strip(), HOME=home, XDG_RUNTIME_DIR=home, LC_ALL="C.UTF-8"
        )
        self.start(["bash", "browse.sh"], app.directory, **self.desktop)
        return wait_until(lambda: self.xdotool("search", "--onlyvisible", "--name", "DB Browser.*app.db"), 60, "a window")

    def xdotool(self, *arguments):
        ran = subprocess.run(
            ["xdotool", *map(str, arguments)], env=self.desktop, stdout=subprocess.PIPE, text=True, check=False
        )
        return ran.stdout.strip()

    def clipboard(self, picture):
        command = [PYTHON, PROGRAMS / "screen.py", packages.HOSTS / picture]
        return packages.run(["sh", "-c", 'exec "$@" 2>/dev/null', "sh", *command], env=self.desktop)

    def all_rows_are(self, expected, picture):
        """Selects and copies what the table shows."""
        self.click_cell("key", "ctrl+a", "ctrl+shift+c")
        return self.clipboard(picture) == expected

    def click_cell(self, *then):
        """With no question before it, and no editor in it: a click on a cell that is the current one already opens one, and
        from there no click at anything else, but only Escape, leads back."""
        self.xdotool(*self.NO, "key", "Escape", "mousemove", *self.BELOW, "click", 1, "mousemove", *self.CELL, "click", 1, *then)

    def test_it_shows_a_replica_and_what_it_writes_is_at_the_primary(self):
        app = self.app(made=False)
        app.execute("CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT)")
        app.execute("INSERT INTO note(text) VALUES ('seen in a window'), ('Grüße, 世界')")
        self.run_recipe("sqlitebrowser", app)
        self.xdotool("windowfocus", self.show(app).split()[0])
        shown = "id\ttext\n1\tseen in a window\n2\tGrüße, 世界"
        wait_until(lambda: self.all_rows_are(shown, "sqlitebrowser.png"), 60, "the replica's rows")

        def edit():
            self.click_cell("key", "F2")
            self.xdotool("key", "ctrl+a", "type", "--delay", "30", "written in a window")
            self.xdotool("key", "Return")
            return self.all_rows_are(shown.replace("seen", "written"), "sqlitebrowser-edited.png")

        wait_until(edit, 60, "the edited row")
        self.assertEqual(app.value("SELECT text FROM note WHERE id = 1"), "seen in a window")

        def write_changes():
            self.xdotool(*self.NO, "mousemove", *self.WRITE_CHANGES, "click", 1)
            return app.value("SELECT text FROM note WHERE id = 1") == "written in a window"

        wait_until(write_changes, 60, "the row at the primary")
        app.assert_replica(commits=1)


class Gdal(HostTest):
    """GDAL's library for coordinates has a VFS of its own, which computes with the sizes of the default VFS."""

    host = "GDAL"
    way_in = "LD_PRELOAD"
    programs = ("ogr2ogr", "ogrinfo")
    PLACES = [("Zürich", 434000, [8.54, 47.37]), ("東京", 13960000, [139.69, 35.69]), ("nowhere", None, None)]

    @classmethod
    def version(cls):
        return cls.output(["ogrinfo", "--version"]).split()[1].strip(",")

    def collection(self, name, places):
        features = [
            {
                "type": "Feature",
                "properties": {"name": name, "people": people},
                "geometry": at and {"type": "Point", "coordinates": at},
            }
            for name, people, at in places
        ]
        pathlib.Path(self.path(name)).write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
        return self.path(name)

    def gdal(self, app, *command, **environment):
        environment = {"LD_PRELOAD": PRELOAD, "TURSO_VFS_FILES": "*.gpkg:*.sqlite", "TURSO_DATABASE_URL": app.url, **environment}
        return self.run_program(command, cwd=app.directory, environment=environment)

    def write_and_change(self, file, driver, database):
        app = self.app(database, made=False)
        self.gdal(app, "ogr2ogr", "-f", driver, file, self.collection("a.geojson", self.PLACES), "-nln", "place")
        self.gdal(app, "ogr2ogr", "-append", file, self.collection("b.geojson", [("Lima", 1, [-77.03, -12.04])]), "-nln", "place")
        self.gdal(app, "ogrinfo", "-q", "-sql", "UPDATE place SET people = 7 WHERE name = 'Lima'", file)
        self.assertEqual(
            app.rows("SELECT name, people FROM place ORDER BY 1"),
            [["Lima", 7], ["Zürich", 434000], ["nowhere", None], ["東京", 13960000]],
        )
        said = self.gdal(app, "ogrinfo", "-ro", "-al", "-q", file, TURSO_DATABASE_URL="").stdout
        self.assertIn("POINT (139.69 35.69)", said)
        self.assertTrue(os.path.exists(os.path.join(app.directory, f"{file}-turso")), "no sidecar")
        self.assertGreaterEqual(app.commits(), 3)
        return app

    def test_a_geopackage_is_written_and_changed_on_a_replica(self):
        app = self.write_and_change("map.gpkg", "GPKG", "map")
        self.assertEqual(app.value("SELECT count(*) FROM gpkg_contents WHERE table_name = 'place'"), 1)

    def test_so_is_a_database_of_its_driver_for_sqlite(self):
        app = self.write_and_change("other.sqlite", "SQLite", "other")
        self.assertEqual(app.value("SELECT count(*) FROM geometry_columns WHERE f_table_name = 'place'"), 1)

    def test_it_ends_well_where_nothing_is_a_replica(self):
        self.run_program(
            ["ogr2ogr", "-f", "GPKG", "plain.gpkg", self.collection("a.geojson", self.PLACES)],
            environment={"LD_PRELOAD": PRELOAD},
        )

    def test_a_primary_that_is_down_is_no_empty_database(self):
        ran = self.run_program(
            ["ogr2ogr", "-f", "GPKG", "map.gpkg", self.collection("a.geojson", self.PLACES)],
            environment={"LD_PRELOAD": PRELOAD, "TURSO_VFS_FILES": "*.gpkg", "TURSO_DATABASE_URL": work.NOBODY,
                         "TURSO_VFS_TIMEOUT": work.TIMEOUT_SECONDS},
            status=None,
        )
        self.assert_explained([ran.stderr], "map.gpkg", "is the primary running there?")
        self.assertFalse(os.path.exists(self.path("map.gpkg")))

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.run_recipe("gdal", app)
        self.assertEqual(app.rows("SELECT name FROM place"), [["Zürich"]])


class Lua(HostTest):
    host = "Lua LuaSQL"
    way_in = "LD_PRELOAD"
    programs = ("lua5.4",)
    interpreters = {"lua": ["lua5.4"]}

    @classmethod
    def version(cls):
        return work.debian_version("lua-sql-sqlite3")

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.assertEqual(self.run_recipe("lua", app), ["from Lua\n"])
        self.assertEqual(app.rows("SELECT text FROM note"), [["from Lua"]])
        app.assert_replica()


if __name__ == "__main__":
    main()
