"""The packages by which programs in Node have SQLite: better-sqlite3, node:sqlite, sqlite3."""

import time

from host import EXTENSION, harness, main

import node_programs
import work


class BetterSqlite3(node_programs.NodeTest):
    host = "better-sqlite3"
    package = "better-sqlite3"
    program = "better-sqlite3.cjs"

    def test_a_library_of_another_architecture_is_told_apart_from_a_missing_one(self):
        other = self.path("libturso_vfs.so")
        with open(EXTENSION, "rb") as library, open(other, "wb") as file:
            image = bytearray(library.read())
            image[18:20] = (183).to_bytes(2, "little")  # e_machine: AArch64
            file.write(image)
        app = self.app()
        ran = self.work(app.path, status=None, library=other)
        self.assertIn(other, ran.stderr)
        self.assertNotIn(other + ".so", ran.stderr.split("[cause]")[0])
        self.assertIn("TURSO_VFS_EXTENSION", ran.stderr)
        self.assertEqual(app.commits(), 0)

    def test_a_failed_open_says_why(self):
        name, more = self.new_as(self.path("new.db"), "http://127.0.0.1:1/app")
        ran = self.work(name, status=None, **more)
        self.assertIn("is the primary running there?", ran.stderr)

    def test_a_name_that_is_a_uri_makes_a_replica_and_no_file_of_that_name(self):
        app = self.app(made=False)
        self.assert_worked(app, self.work(f"file:{app.path}?vfs=turso&url={app.url}").stdout)

    def test_https_works_beside_nodes_own_openssl(self):
        certificate, key = self.certificate()
        primary = self.primary("--tls-cert", certificate, "--tls-key", key)
        app = self.app(primary=primary, made=False)
        self.furnish(app.directory)
        program = """
            const Database = require('better-sqlite3');
            const ask = async () => (await fetch(`https://localhost:${process.env.PORT}/health`)).status;
            (async () => {
              const before = await ask();
              const db = new Database('app.db');
              db.exec('CREATE TABLE t(a)');
              db.transaction(() => db.exec('INSERT INTO t VALUES (7)'))();
              console.log(before, await ask(), db.prepare('SELECT a FROM t').pluck().get(), await ask());
            })();
        """
        environment = self.node_environment(
            PORT=primary.port,
            TURSO_DATABASE_URL=f"https://localhost:{primary.port}/app",
            TURSO_VFS_FILES="app.db",
            SSL_CERT_FILE=certificate,
            NODE_EXTRA_CA_CERTS=certificate,
        )
        ran = self.run_program([self.node, "-e", program], environment=environment, cwd=app.directory)
        self.assertEqual(ran.stdout, "200 200 7 200\n")
        primary.stop()
        file = primary.open_file("app")
        self.assertEqual(file.execute("SELECT a FROM t").fetchall(), [(7,)])
        file.close()

    def test_a_primary_that_is_gone_lets_it_read_and_ends_its_writes_in_time(self):
        app = self.app()
        self.furnish(app.directory)
        create = "new (require('better-sqlite3'))('app.db').exec('CREATE TABLE t(a); INSERT INTO t VALUES (1)')"
        self.run_program([self.node, "-e", create], environment=self.environment(), cwd=app.directory)
        app.primary.kill()
        program = """
            const db = new (require('better-sqlite3'))('app.db');
            try { db.exec('INSERT INTO t VALUES (2)'); } catch (error) { console.log(error.code); }
            console.log(db.prepare('SELECT turso_last_error()').pluck().get());
            console.log(db.prepare('SELECT a FROM t').pluck().all());
        """
        began = time.monotonic()
        ran = self.run_program(
            [self.node, "-e", program],
            environment={**self.environment(), "TURSO_VFS_TIMEOUT": work.TIMEOUT_SECONDS},
            cwd=app.directory,
        )
        self.assertLess(time.monotonic() - began, work.TIMEOUT_SECONDS + harness.START_SECONDS)
        code, why, rows = ran.stdout.splitlines()
        self.assertEqual((code, rows), ("SQLITE_IOERR", "[ 1 ]"))
        self.assertIn("is the primary running there?", why)

    def test_a_program_that_opens_no_database_is_left_alone(self):
        ran = self.run_program([self.node, "-p", "1 + 1"], environment=self.environment("/nowhere.so"))
        self.assertEqual((ran.stdout, ran.stderr), ("2\n", ""))

    def test_a_second_copy_of_sqlite_has_its_own_files_and_no_replica(self):
        app = self.app()
        self.furnish(app.directory)
        program = """
            const Database = require('better-sqlite3');
            const { DatabaseSync } = require('node:sqlite');
            new Database('app.db').exec('CREATE TABLE t(a)');
            new DatabaseSync('cache.db').exec('CREATE TABLE mine(a)');
            try { new DatabaseSync('app.db'); } catch (error) { console.log(error.message); }
        """
        ran = self.run_program([self.node, "-e", program], environment=self.environment(), cwd=app.directory)
        self.assertIn("another copy of SQLite", ran.stdout)
        self.assertEqual(app.rows("SELECT name FROM sqlite_schema"), [["t"]])

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.assert_recipe_works(app, self.run_recipe("better-sqlite3", app), "from Node")


class NodeSqlite(node_programs.NodeTest):
    host = "node:sqlite"
    program = "node-sqlite.mjs"

    @classmethod
    def version(cls):
        return cls.output([cls.node, "-p", "process.versions.node"])

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.assert_recipe_works(app, self.run_recipe("node-sqlite", app), "from Node")


class Sqlite3(node_programs.PreloadedNodeTest):
    host = "sqlite3 (npm)"
    package = "sqlite3"
    program = "sqlite3.cjs"

    def test_without_the_preload_library_the_hook_refuses_replicas(self):
        app = self.app()
        ran = self.run_program(
            self.command(app.path),
            environment=self.node_environment(),
            cwd=self.directory,
            status=None,
        )
        self.assertIn("LD_PRELOAD", ran.stderr)
        self.assertEqual(app.commits(), 0)

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.assert_recipe_works(app, self.run_recipe("npm-sqlite3", app), "from Node")


if __name__ == "__main__":
    main()
