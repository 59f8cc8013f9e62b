"""What the tests of Python's packages share."""

import os

import packages
from host import EXTENSION, HERE, HOOKS, PYTHON, HostTest

import work

HOOK = HOOKS / "python"
REQUIREMENTS = HERE / "python" / "requirements.txt"


class PythonHost(HostTest):
    """A package of requirements.txt, led to the replica by the hook."""

    way_in = "PYTHONPATH"
    package = None

    @classmethod
    def prepare(cls):
        super().prepare()
        cls.packages = packages.pip("python", REQUIREMENTS)

    @classmethod
    def version(cls):
        script = f"import importlib.metadata; print(importlib.metadata.version('{cls.package}'))"
        return cls.output([PYTHON, "-c", script], PYTHONPATH=cls.packages)

    def environment(self, library=EXTENSION):
        return {"PYTHONPATH": f"{HOOK}:{self.packages}", "TURSO_VFS_EXTENSION": library}


class PythonPackages(PythonHost, work.LanguageTest):
    def program(self, command, app, **environment):
        return self.run_program(
            command, cwd=app.directory, environment={**self.environment(), **environment}
        ).stdout

    def run_recipe(self, page, app):
        environment = {
            "PYTHONPATH": self.packages,
            "TURSO_VFS_EXTENSION": EXTENSION,
            "PATH": f"/usr/bin:{os.environ['PATH']}",
        }
        return super().run_recipe(page, app, environment=environment)
