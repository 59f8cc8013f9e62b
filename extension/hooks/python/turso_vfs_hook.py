"""Loads libturso_vfs, as the default VFS, into the SQLite of Python's module sqlite3 when a program imports that module.

Named by turso_vfs.pth beside Python's packages, or by the sitecustomize.py of this directory in PYTHONPATH. A program that
does not import sqlite3 is left alone. A Python that was built without load_extension is served as well.

The library is the one in TURSO_VFS_EXTENSION, else the one installed beside this file's directory, else the one in
/usr/local/lib.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_INSTALLED = [
    os.path.normpath(os.path.join(_HERE, "../../../../lib/libturso_vfs.so")),
    "/usr/local/lib/libturso_vfs.so",
]
_ENTRY_POINT = "sqlite3_tursovfs_default_init"
_ENABLE_LOAD_EXTENSION = 1005  # SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION
_READWRITE_CREATE = 2 | 4


def _library():
    named = os.environ.get("TURSO_VFS_EXTENSION")
    if named:
        return named
    return next((path for path in _INSTALLED if os.path.exists(path)), _INSTALLED[-1])


def _load_by_sql(module, library):
    connection = module.connect(":memory:")
    try:
        connection.enable_load_extension(True)
        connection.execute("SELECT load_extension(?, ?)", (library, _ENTRY_POINT))
    except module.Error as error:
        return str(error)
    finally:
        connection.close()
    return None


def _load_by_ctypes(module, library):
    """Through the functions of the very SQLite that the module uses: they are found from its own file."""
    import ctypes

    try:
        sqlite = ctypes.CDLL(getattr(module, "__file__", None))
        for function in ("sqlite3_open_v2", "sqlite3_db_config", "sqlite3_load_extension", "sqlite3_close"):
            getattr(sqlite, function)
    except (OSError, AttributeError) as error:
        return f"this Python can load no extension, and its SQLite is hidden ({error})"
    handle, message = ctypes.c_void_p(), ctypes.c_char_p()
    sqlite.sqlite3_open_v2(b":memory:", ctypes.byref(handle), _READWRITE_CREATE, None)
    sqlite.sqlite3_db_config(handle, _ENABLE_LOAD_EXTENSION, ctypes.c_int(1), ctypes.c_void_p())
    code = sqlite.sqlite3_load_extension(
        handle, os.fsencode(library), _ENTRY_POINT.encode(), ctypes.byref(message)
    )
    text = (message.value or b"").decode("utf-8", "replace")
    sqlite.sqlite3_close(handle)
    return None if code == 0 else text or f"code {code}"


def load(module):
    library = _library()
    can_load = hasattr(module.Connection, "enable_load_extension")
    reason = (_load_by_sql if can_load else _load_by_ctypes)(module, library)
    if reason is not None:
        # No ImportError: programs take that for a Python without sqlite3, and the sentence is lost.
        raise RuntimeError(
            f"turso_vfs_hook cannot load {library}: {reason}. Install libturso_vfs there, set TURSO_VFS_EXTENSION to "
            f"where it is, or take {_HERE} out of PYTHONPATH (or turso_vfs.pth away from Python's packages)."
        )


class _Loader:
    """The module's own loader, and the extension after it."""

    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        load(module)


class _Finder:
    """Finds nothing but the module under sqlite3, where the others find it."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "_sqlite3":
            return None
        for finder in sys.meta_path:
            spec = None if finder is cls else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Loader(spec.loader)
                return spec
        return None


if "_sqlite3" in sys.modules:
    load(sys.modules["_sqlite3"])
elif _Finder not in sys.meta_path:
    sys.meta_path.insert(0, _Finder)
