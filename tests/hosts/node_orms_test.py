"""Query builders and ORMs of Node, with the migrations that they have; Prisma has a file of its own."""

import os
import pathlib

from host import main

import node_programs
import recipes


def assert_history(test, app, table, column, names):
    """The migrations that were applied, as the primary knows them."""
    rows = app.rows(f'SELECT "{column}" FROM "{table}" ORDER BY id')
    test.assertEqual([row[0] for row in rows], names)


class Knex(node_programs.NodeTest):
    host = "Knex"
    way_in = "NODE_OPTIONS, better-sqlite3"
    package = "knex"
    program = "knex.cjs"
    settings = {"TEST_CLIENT": "better-sqlite3"}

    def assert_worked(self, app, said):
        assert_history(self, app, "knex_migrations", "name", ["items", "series", "note"])
        super().assert_worked(app, said)

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.assert_recipe_works(app, self.run_recipe("knex", app), "from Node")


class KnexOnSqlite3(node_programs.PreloadedNodeTest):
    host = "Knex"
    way_in = "LD_PRELOAD, sqlite3"
    package = "knex"
    program = "knex.cjs"
    settings = {"TEST_CLIENT": "sqlite3"}


class Kysely(node_programs.NodeTest):
    host = "Kysely"
    package = "kysely"
    program = "kysely.mjs"

    def assert_worked(self, app, said):
        names = app.rows("SELECT name FROM kysely_migration ORDER BY timestamp")
        self.assertEqual(names, [["1-item"], ["2-note-and-series"]])
        super().assert_worked(app, said)

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.assert_recipe_works(app, self.run_recipe("kysely", app), "from Node")


class TypeOrm(node_programs.NodeTest):
    host = "TypeORM"
    package = "typeorm"
    program = "typeorm.cjs"

    def assert_worked(self, app, said):
        assert_history(
            self, app, "migrations", "name", ["MakeTables1700000000000", "AddNote1700000000001"]
        )
        super().assert_worked(app, said)

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.assert_recipe_works(app, self.run_recipe("typeorm", app), "from Node")


class Sequelize(node_programs.PreloadedNodeTest):
    host = "Sequelize"
    package = "sequelize"
    program = "sequelize.cjs"

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.assert_recipe_works(app, self.run_recipe("sequelize", app), "from Node")


class Drizzle(node_programs.NodeTest):
    host = "Drizzle, drizzle-kit"
    package = "drizzle-orm"
    program = "drizzle.mjs"
    files = ("schema.mjs",)

    @classmethod
    def version(cls):
        kit = cls.output([cls.node, "-p", f"require('{cls.modules}/drizzle-kit/package.json').version"])
        return f"{super().version()}, {kit}"

    def kit(self, *arguments, url="", **more):
        """drizzle-kit, in the directory of the test, on a database."""
        (block,) = [block for block in recipes.blocks("drizzle") if block.file == "drizzle.config.mjs"]
        pathlib.Path(self.directory, block.file).write_text(block.text.replace("'app.db'", f"'{url}'"), "utf-8")
        command = self.bin("drizzle-kit", "bin.cjs") + [*arguments, "--config=drizzle.config.mjs"]
        return self.run_program(command, environment=self.environment(), cwd=self.directory, **more)

    def command(self, database):
        command = super().command(database)
        if not os.path.exists(self.path("drizzle")):
            # The schema as migrations, made without a database.
            self.kit("generate")
        return command

    def test_drizzle_kit_pushes_and_migrates_through_a_replica(self):
        app = self.app()
        self.furnish(self.directory, *self.files)
        self.kit("generate", url=app.path)
        self.kit("migrate", url=app.path)
        self.assertEqual(app.value("SELECT count(*) FROM __drizzle_migrations"), 1)
        schema = pathlib.Path(self.directory, "schema.mjs")
        schema.write_text(schema.read_text("utf-8").replace("note: text()", "note: text(), extra: integer()"), "utf-8")
        self.kit("push", url=app.path)
        self.assertIn("No changes detected", self.kit("push", url=app.path).stdout)
        columns = app.rows("SELECT name FROM pragma_table_info('item')")
        self.assertEqual(columns, [["id"], ["name"], ["price"], ["picture"], ["note"], ["extra"]])
        self.settings = {"TEST_TABLES": "there"}
        schema.write_text(schema.read_text("utf-8").replace(", extra: integer()", ""), "utf-8")
        self.assert_worked(app, self.work(app.path).stdout)

    def test_the_recipe_works_as_it_stands(self):
        app = self.app(made=False)
        self.assert_recipe_works(app, self.run_recipe("drizzle", app), "from Node")


if __name__ == "__main__":
    main()
