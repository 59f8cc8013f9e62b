"""The Pythons of this machine that were built without load_extension, as pyenv builds them.

Debian has none, and no registry of packages has an interpreter: CI's machines come with pyenv's.
"""

import glob
import os
import subprocess
import unittest

_SCRIPT = "import sqlite3, sys, {module}; sys.exit(hasattr(sqlite3.Connection, 'enable_load_extension'))"
_found = {}


def without_load_extension(module="json"):
    """The newest one that has that module. Where there is none, nothing is to be tested; but CI must have one."""
    if module not in _found:
        places = {os.environ.get("PYENV_ROOT", ""), os.path.expanduser("~/.pyenv")}
        paths = [path for place in places for path in glob.glob(f"{place}/versions/3.*/bin/python3")]
        _found[module] = [path for path in paths if _is_one(path, module)]
    if not _found[module]:
        text = f"no Python of pyenv here is built without load_extension, with {module}"
        if os.environ.get("CI") == "true":
            raise AssertionError(text)
        raise unittest.SkipTest(text)
    return max(_found[module], key=lambda path: [int(part) for part in path.split("/")[-3].split(".")])


def _is_one(python, module):
    command = [python, "-c", _SCRIPT.format(module=module)]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
