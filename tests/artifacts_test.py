"""What was built can be loaded into somebody's program: libturso_vfs.so as a file."""

import os
import re
import subprocess
import unittest

BUILD = os.environ.get("TURSO_BUILD_DIR", "build")
EXTENSION = os.path.join(BUILD, "libturso_vfs.so")
ENTRY_POINTS = {"sqlite3_extension_init", "sqlite3_tursovfs_init", "sqlite3_tursovfs_default_init"}
# Debian's names; either flavour of libcurl.
EXPECTED_LIBRARIES = r"lib(curl(-gnutls)?|lz4|stdc\+\+|gcc_s|m|c|pthread|dl)\.so\.\d+|ld-linux.*"


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@unittest.skipUnless(os.path.exists(EXTENSION), "libturso_vfs.so is not built")
class Extension(unittest.TestCase):
    def test_exports_its_entry_points_and_nothing_else(self):
        symbols = output("nm", "-D", "--defined-only", EXTENSION)
        self.assertEqual({line.split()[-1] for line in symbols.splitlines()}, ENTRY_POINTS)

    def test_asks_the_host_for_no_sqlite_symbol(self):
        symbols = output("nm", "-D", "--undefined-only", EXTENSION)
        self.assertEqual(re.findall(r"\bsqlite3_\w+", symbols), [])

    def test_links_only_what_a_server_has_anyway(self):
        dynamic = output("readelf", "-d", EXTENSION)
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
        strange = [name for name in needed if not re.fullmatch(EXPECTED_LIBRARIES, name)]
        self.assertEqual(strange, [])

    def test_is_smaller_than_three_megabytes_when_stripped(self):
        stripped = EXTENSION + f".stripped.{os.getpid()}"
        try:
            output("strip", "-o", stripped, EXTENSION)
            self.assertLess(os.path.getsize(stripped), 3 * 1000 * 1000)
        finally:
            if os.path.exists(stripped):
                os.remove(stripped)


if __name__ == "__main__":
    unittest.main(verbosity=2)
