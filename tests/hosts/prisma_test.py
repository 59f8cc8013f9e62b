"""Prisma on a replica: the client of version 7, and the migrations of 6.19, which go through the same adapter."""

import os
import pathlib
import shutil

from host import main

import node_programs
import recipes

# Nothing here needs what Prisma would download besides its packages; so it is not tried.
NO_DOWNLOADS = {
    "PRISMA_SCHEMA_ENGINE_BINARY": "/bin/true",
    "PRISMA_QUERY_ENGINE_LIBRARY": "/bin/true",
    "PRISMA_HIDE_UPDATE_MESSAGE": "1",
    "CHECKPOINT_DISABLE": "1",
}
MODEL_WITH_OWNER = """
model owner {
  id    Int    @id @default(autoincrement())
  name  String @default("nobody")
  items item[]
}
"""


class Prisma(node_programs.NodeTest):
    host = "Prisma"
    program = "prisma.mjs"
    settings = NO_DOWNLOADS

    @classmethod
    def version(cls):
        of = "', '".join(f"{cls.modules}/{name}/package.json" for name in ("@prisma/client", "prisma-6"))
        return cls.output([cls.node, "-p", f"['{of}'].map((file) => require(file).version).join(', migrations ')"])

    def lay_out(self, directory):
        """Prisma's files: the schema of the test, the two configurations of the recipe."""
        self.furnish(directory)
        os.makedirs(os.path.join(directory, "prisma"), exist_ok=True)
        shutil.copyfile(node_programs.PROGRAMS / "schema.prisma", os.path.join(directory, "prisma", "schema.prisma"))
        for block in recipes.blocks("prisma"):
            if block.file.endswith(".config.ts"):
                pathlib.Path(directory, block.file).write_text(block.text, "utf-8")

    def migrations(self, app, *arguments, status=0):
        command = self.bin("prisma-6", "build/index.js") + [*arguments, "--config", "migrate.config.ts"]
        return self.run_program(command, environment=self.environment(), cwd=app.directory, status=status)

    def make_migration(self, app, name, before=("--from-empty",)):
        os.makedirs(os.path.join(app.directory, "prisma", "migrations", name))
        sql = f"prisma/migrations/{name}/migration.sql"
        after = ["--to-schema-datamodel", "prisma/6/schema.prisma", "--script", "-o", sql]
        self.migrations(app, "migrate", "diff", *before, *after)
        return pathlib.Path(app.directory, sql)

    def app(self, name="app", *, primary=None, made=True):
        """With the tables of the schema: they came to the primary through another replica."""
        other = super().app(name, primary=primary)
        self.lay_out(other.directory)
        self.make_migration(other, "1_first")
        self.migrations(other, "migrate", "deploy")
        return super().app(name, primary=other.primary, made=made)

    def command(self, database):
        command = super().command(database)
        if not os.path.exists(self.path("generated")):
            self.lay_out(self.directory)
            generate = self.bin("prisma", "build/index.js") + ["generate"]
            self.run_program(generate, environment=self.node_environment(**NO_DOWNLOADS), cwd=self.directory)
        return command

    def test_migrations_are_deployed_once_and_their_history_is_at_the_primary(self):
        app = super().app()
        self.lay_out(app.directory)
        self.make_migration(app, "1_first")
        self.migrations(app, "migrate", "deploy")
        app.execute("INSERT INTO item(name, price) VALUES ('kept', 1.5)")

        # What db pull finds is where the next migration starts from. The table is made anew, for its new foreign key.
        prisma = pathlib.Path(app.directory, "prisma")
        self.migrations(app, "db", "pull")
        shutil.copyfile(prisma / "6" / "schema.prisma", prisma / "before.prisma")
        schema = (prisma / "schema.prisma").read_text("utf-8")
        owned = "note    String?\n  ownerId Int?\n  owner   owner?  @relation(fields: [ownerId], references: [id])"
        (prisma / "schema.prisma").write_text(schema.replace("note    String?", owned) + MODEL_WITH_OWNER, "utf-8")
        sql = self.make_migration(app, "2_owner", ["--from-schema-datamodel", "prisma/before.prisma"])
        self.assertIn("RedefineTables", sql.read_text("utf-8"))
        self.assertIn("2_owner", self.migrations(app, "migrate", "status", status=1).stdout)
        self.migrations(app, "migrate", "deploy")
        self.assertIn("up to date", self.migrations(app, "migrate", "status").stdout)

        # Another replica knows of it, and has nothing to do.
        other = super().app(primary=app.primary)
        shutil.copytree(prisma, os.path.join(other.directory, "prisma"))
        self.furnish(other.directory)
        shutil.copyfile(f"{app.directory}/migrate.config.ts", f"{other.directory}/migrate.config.ts")
        self.assertIn("No pending migrations", self.migrations(other, "migrate", "deploy").stdout)

        history = app.rows("SELECT migration_name, applied_steps_count, finished_at IS NULL FROM _prisma_migrations")
        self.assertEqual(sorted(history), [["1_first", 1, 0], ["2_owner", 1, 0]])
        self.assertEqual(app.rows("SELECT name, price, ownerId FROM item"), [["kept", 1.5, None]])
        self.assertIn("REFERENCES", app.value("SELECT sql FROM sqlite_schema WHERE name = 'item'"))
        app.assert_replica(commits=4)
        self.assertEqual(app.content(), app.content_at_primary())

    def test_db_push_and_db_pull_go_through_a_replica(self):
        app = super().app()
        self.lay_out(app.directory)
        self.migrations(app, "db", "push", "--skip-generate")
        tables = (
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name <> '_turso_vfs'"
        )
        self.assertEqual(sorted(app.rows(tables)), [["item"], ["series"]])
        schema = pathlib.Path(app.directory, "prisma", "schema.prisma")
        schema.write_text(schema.read_text("utf-8").replace("note    String?", "note    String?\n  extra   Int?"), "utf-8")
        self.migrations(app, "db", "push", "--skip-generate")
        self.assertEqual(app.value("SELECT count(*) FROM pragma_table_info('item') WHERE name = 'extra'"), 1)
        self.assertEqual(sorted(app.rows(tables)), [["item"], ["series"]])
        app.execute("CREATE TABLE made_elsewhere(id INTEGER PRIMARY KEY, at TEXT NOT NULL)")
        app.content()  # Syncs: else the pull may look before the replica has followed.
        self.migrations(app, "db", "pull")
        pulled = pathlib.Path(app.directory, "prisma", "6", "schema.prisma").read_text("utf-8")
        self.assertIn("model made_elsewhere", pulled)
        app.assert_replica(commits=1)

    def test_a_migration_that_fails_is_in_the_history_as_failed(self):
        app = super().app()
        self.lay_out(app.directory)
        sql = self.make_migration(app, "1_first")
        sql.write_text("CREATE TABLE half(a); INSERT INTO nowhere VALUES (1);", "utf-8")
        ran = self.migrations(app, "migrate", "deploy", status=1)
        self.assertIn("nowhere", ran.stderr)
        self.assertEqual(app.rows("SELECT migration_name, finished_at FROM _prisma_migrations"), [["1_first", None]])
        self.migrations(app, "migrate", "resolve", "--rolled-back", "1_first")
        self.assertEqual(app.value("SELECT count(*) FROM _prisma_migrations WHERE rolled_back_at IS NOT NULL"), 1)

    def test_the_recipe_works_as_it_stands(self):
        app = super().app(made=False)
        self.assert_recipe_works(app, self.run_recipe("prisma", app), "from Node", table="Note")
        self.assertEqual(app.rows("SELECT migration_name FROM _prisma_migrations"), [["1_note"]])


if __name__ == "__main__":
    main()
