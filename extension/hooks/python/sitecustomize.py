"""For PYTHONPATH: what turso_vfs.pth does beside Python's packages, and then the sitecustomize that would have been."""

import importlib.machinery
import os
import sys

import turso_vfs_hook  # noqa: F401

_here = os.path.dirname(os.path.abspath(__file__))
_next = importlib.machinery.PathFinder.find_spec(
    "sitecustomize", [path for path in sys.path if os.path.abspath(path or ".") != _here]
)
if _next is not None and _next.loader is not None:
    _next.loader.exec_module(sys.modules[__name__])
