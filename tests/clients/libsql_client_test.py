"""The official npm client of libSQL, unchanged, works against turso-primary: execute, batch, transactions, scripts,
migrations, values, errors and tokens. The tests themselves are in libsql_client/client.mjs."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "hosts"))

import packages  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent / "libsql_client"
BUILD = pathlib.Path(os.environ.get("TURSO_BUILD_DIR", "build")).resolve()
PRIMARY = BUILD / "turso-primary"


class LibsqlClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = packages.npm("libsql-client", HERE)
        shutil.copyfile(HERE / "client.mjs", cls.place / "client.mjs")

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.data = os.path.join(self.directory.name, "data")

    def start_primary(self, *arguments):
        process = subprocess.Popen(
            [PRIMARY, "--listen", "127.0.0.1:0", "--data", self.data, *arguments],
            stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.stop, process)
        line = process.stdout.readline()
        match = re.fullmatch(r"listening on (http://127\.0\.0\.1:\d+)\n", line)
        self.assertTrue(match, line)
        return match.group(1)

    def stop(self, process):
        process.terminate()
        try:
            self.assertEqual(process.wait(30), 0)
        finally:
            process.kill()
            process.stdout.close()

    def run_client(self, **environment):
        ran = subprocess.run(["node", "--test", "client.mjs"], cwd=self.place, text=True,
                             env={**os.environ, **environment},
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        self.assertEqual(ran.returncode, 0, ran.stdout)
        self.assertRegex(ran.stdout, r"(?m)pass [1-9]")

    def test_against_an_open_primary_that_makes_the_database(self):
        self.run_client(PRIMARY_URL=self.start_primary("--create"))

    def test_against_a_primary_with_tokens(self):
        subprocess.run([PRIMARY, "create", "app", "--data", self.directory.name], check=True)
        os.mkdir(self.data)
        os.rename(os.path.join(self.directory.name, "app.db"), os.path.join(self.data, "app.db"))
        for name, text in [("tokens", "# ours\nsecret-1\nsecret-2\n"), ("readers", "look\n")]:
            pathlib.Path(self.directory.name, name).write_text(text, "utf-8")
        url = self.start_primary("--token-file", os.path.join(self.directory.name, "tokens"),
                                 "--read-token-file", os.path.join(self.directory.name, "readers"))
        self.run_client(PRIMARY_URL=url, PRIMARY_TOKEN="secret-2", PRIMARY_READ_TOKEN="look",
                        PRIMARY_HAS_NO_CREATE="1")


if __name__ == "__main__":
    unittest.main(verbosity=2)
