"""Python's own sqlite3 module on a replica: Debian's, and one that was built without load_extension."""

import os
import ssl
import subprocess
import time

import pythons
from host import EXTENSION, HOOKS, PRELOAD, PYTHON, HostTest, main

import work
from work import PROGRAMS

HOOK = HOOKS / "python"


class DebiansPython(work.LanguageTest):
    host = "Python sqlite3"
    way_in = "PYTHONPATH"

    @classmethod
    def python(cls):
        return PYTHON

    @classmethod
    def version(cls):
        return cls.output([cls.python(), "-c", "import platform; print(platform.python_version())"])

    def command(self, database):
        return [self.python(), PROGRAMS / "work.py", database]

    def environment(self, library=EXTENSION):
        return {"PYTHONPATH": HOOK, "TURSO_VFS_EXTENSION": library}


class ByUri(work.UriTest, DebiansPython):
    way_in = "URI"

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        said = self.run_recipe(
            "python-sqlite3",
            app,
            environment={"TURSO_VFS_EXTENSION": EXTENSION, "PYTHONUSERBASE": self.path("home"), "PATH": f"/usr/bin:{os.environ['PATH']}"},
        )
        expected = ["from Python\n", "from Python, and again\n", "from Python, and again, by .pth\n"]
        self.assertEqual([text for text in said if text], expected)
        self.assertEqual(app.value("SELECT group_concat(text, ', ') FROM note"), expected[-1].strip())
        app.assert_replica(commits=3)


class ByPreload(DebiansPython):
    way_in = "LD_PRELOAD"

    def environment(self, library=EXTENSION):
        return {"LD_PRELOAD": PRELOAD, "TURSO_VFS_EXTENSION": library}


class WithoutLoadExtension(DebiansPython):
    host = "Python sqlite3 without load_extension"

    @classmethod
    def python(cls):
        return pythons.without_load_extension()


class WithoutLoadExtensionByPreload(WithoutLoadExtension, ByPreload):
    way_in = "LD_PRELOAD"


class InAProgram(HostTest):
    """What a program sees when something is wrong while it runs."""

    host = "Python sqlite3"
    way_in = "default VFS"

    @classmethod
    def version(cls):
        return DebiansPython.version()

    def python(self, script, app, **environment):
        return self.run_program(
            [PYTHON, "-c", script],
            cwd=app.directory,
            environment={"PYTHONPATH": HOOK, "TURSO_VFS_EXTENSION": EXTENSION, **environment},
        ).stdout

    def test_https_works_beside_pythons_own_openssl(self):
        certificate, key = self.certificate()
        primary = self.primary("--tls-cert", certificate, "--tls-key", key)
        app = self.app(primary=primary, made=False)
        url = f"https://localhost:{primary.port}/app"
        said = self.python(
            """
import os, sqlite3, ssl, urllib.request
url = os.environ["URL"]
def ask():
    return urllib.request.urlopen(url.replace("/app", "/health"), timeout=30).status
before = ask()
db = sqlite3.connect(f"file:app.db?vfs=turso&url={url}", uri=True)
db.execute("CREATE TABLE t(a)")
with db:
    db.execute("INSERT INTO t VALUES (7)")
print(before, ask(), db.execute("SELECT a FROM t").fetchall(), db.execute("SELECT turso_sync() > ''").fetchall())
""",
            app,
            URL=url,
            SSL_CERT_FILE=certificate,
        )
        self.assertEqual(said, "200 200 [(7,)] [(1,)]\n")
        primary.stop()
        file = primary.open_file("app")
        self.assertEqual(file.execute("SELECT a FROM t").fetchall(), [(7,)])
        file.close()
        self.assertTrue(ssl.OPENSSL_VERSION)

    def test_a_primary_that_is_down_lets_it_read_and_tells_it_why_it_cannot_write(self):
        app = self.app()
        self.python(
            "import sqlite3; db = sqlite3.connect('app.db'); db.execute('CREATE TABLE t(a)'); db.close()", app
        )
        app.primary.kill()
        began = time.monotonic()
        said = self.python(
            """
import sqlite3
db = sqlite3.connect("app.db")
print(db.execute("SELECT count(*) FROM t").fetchone())
try:
    db.execute("INSERT INTO t VALUES (1)")
except sqlite3.OperationalError as error:
    print(error.sqlite_errorname, db.execute("SELECT turso_last_error()").fetchone()[0])
""",
            app,
            TURSO_VFS_TIMEOUT="2s",
        )
        self.assertLess(time.monotonic() - began, 60)
        self.assertIn("(0,)\nSQLITE_IOERR ", said)
        self.assertIn(app.primary.address, said)

    def test_a_program_that_does_not_import_sqlite_loads_nothing(self):
        app = self.app()
        said = self.python("import os; print('libturso' in open('/proc/self/maps').read())", app)
        self.assertEqual(said, "False\n")

    def test_another_sitecustomize_is_heeded_too(self):
        app = self.app()
        theirs = self.path("theirs")
        os.makedirs(theirs)
        with open(f"{theirs}/sitecustomize.py", "w", encoding="utf-8") as file:
            file.write("print('theirs', __name__)\n")
        said = self.python(
            "import sqlite3; print(sqlite3.connect(':memory:').execute('SELECT turso_version()').fetchone())",
            app,
            PYTHONPATH=f"{HOOK}:{theirs}",
        )
        self.assertRegex(said, r"^theirs sitecustomize\n\('[\d.]+',\)\n$")


if __name__ == "__main__":
    main()
