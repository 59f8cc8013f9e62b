"""The session in README.md runs as it stands, but for the port, which the machine has to have free."""

import os
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.abspath(os.environ.get("TURSO_BUILD_DIR", os.path.join(ROOT, "build")))


def session():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        return re.search(r"^```console\n(.*?)^```", file.read(), re.M | re.S).group(1)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def steps(text):
    """(shell command, what is typed into it, what it prints), in order."""
    for block in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, *lines = block.splitlines()
        typed = [line.removeprefix("sqlite> ") for line in lines if line.startswith("sqlite> ")]
        printed = [line for line in lines if not line.startswith("sqlite> ")]
        yield command, "".join(line + "\n" for line in typed), "".join(line + "\n" for line in printed)


@unittest.skipUnless(os.path.exists(os.path.join(BUILD, "turso-primary")), "turso-primary is not built")
class Readme(unittest.TestCase):
    def start(self, command, directory):
        log = os.path.join(directory, "server.out")
        with open(log, "w", encoding="utf-8") as out:
            server = subprocess.Popen(shlex.split(command), cwd=directory, stdout=out, stderr=out)
        self.addCleanup(server.wait)
        self.addCleanup(server.send_signal, signal.SIGTERM)
        deadline = time.monotonic() + 20
        while True:
            with open(log, encoding="utf-8") as out:
                said = out.read()
            if "listening on" in said:
                return
            self.assertIsNone(server.poll(), said)
            self.assertLess(time.monotonic(), deadline, said)
            time.sleep(0.02)

    def test_the_session_prints_what_it_says(self):
        text = session().replace("8080", free_port())
        with tempfile.TemporaryDirectory(prefix="turso-readme-") as directory:
            os.symlink(BUILD, os.path.join(directory, "build"))
            environment = {k: v for k, v in os.environ.items() if not k.startswith("TURSO_")}
            for command, typed, printed in steps(text):
                with self.subTest(command=command, typed=typed):
                    if command.endswith(" &"):
                        self.start(command.removesuffix(" &"), directory)
                        continue
                    if command == "sqlite3":
                        command = "sqlite3 -batch"
                    done = subprocess.run(
                        command, shell=True, cwd=directory, env=environment, input=typed,
                        capture_output=True, text=True, timeout=60, check=False)
                    self.assertEqual(done.stderr, "")
                    self.assertEqual(done.stdout, printed)
                    self.assertEqual(done.returncode, 0)
            self.doCleanups()


if __name__ == "__main__":
    unittest.main(verbosity=2)
