"""A web application in two processes, each on a replica of its own, and a browser that looks at both.

The applications are programs/node/express.cjs and programs/django/notes, with one page, programs/notes.html.
"""

import json
import os
import shutil
import signal
import subprocess

from host import harness, packages, plain_environment

import node_programs

NOTES = 8
PROMISED_MS = 1000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class WebApplication(node_programs.NodeHost):
    """A class for a framework says `serve(app)`, and is a HostTest of the framework; the browser is driven by Node."""

    table = "note"  # Where the application keeps its notes.

    @classmethod
    def prepare(cls):
        super().prepare()
        cls.browser_program = next(filter(None, map(shutil.which, BROWSERS)), None)
        if cls.browser_program is None:
            packages.require(BROWSERS[0])

    def serve(self, app):
        """Starts the application on this replica; where it answers."""
        raise NotImplementedError

    def migrate(self, app):
        """Makes the tables, through this replica, where the application does not make them itself."""

    def start(self, command, directory, **environment):
        with open(os.path.join(directory, "said.log"), "ab") as log:
            process = subprocess.Popen(
                harness.dies_with_us(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=directory,
                env=plain_environment(TURSO_VFS_TIMEOUT="2s", HOME=directory, **environment),
            )
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        process.stdin.close()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(harness.START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def open_browser(self, **urls):
        self.furnish(self.directory, "browser.mjs")
        command = [self.node, "browser.mjs", self.browser_program]
        self.browser = self.start(command, self.directory)
        for page, url in urls.items():
            self.ask(page, url=url)

    def ask(self, page, **what):
        self.browser.stdin.write(json.dumps({"page": page, **what}).encode() + b"\n")
        self.browser.stdin.flush()
        line = harness.read_line(self.browser.stdout, 2 * harness.START_SECONDS)
        self.assertTrue(line, "the browser has ended")
        answer = json.loads(line)
        self.assertNotIn("failed", answer)
        return answer

    def add(self, page, text, other):
        """Adds a note on one page; how long after it was there the other showed it, in ms."""
        there = self.ask(page, add=text, note=text)
        shown = self.ask(other, note=text)
        return shown["at"] - there["at"]

    def test_what_one_process_writes_the_other_shows_while_the_primary_comes_and_goes(self):
        one = self.app()
        self.migrate(one)
        two = self.app(primary=one.primary)
        self.open_browser(one=self.serve(one), two=self.serve(two))
        took = []
        for number in range(NOTES):
            page, other = ("one", "two") if number % 2 == 0 else ("two", "one")
            took.append(self.add(page, f"note {number} of {page}", other))

        one.primary.kill()
        refused = self.ask("one", add="lost", problem="SQLITE_")
        self.assertIn("is the primary running there?", refused["error"])
        self.assertEqual(len(refused["notes"]), NOTES)
        self.assertEqual(self.ask("two", note=f"note {NOTES - 1}")["notes"], refused["notes"])

        one.primary.start()
        for number in range(NOTES, 2 * NOTES):
            page, other = ("two", "one") if number % 2 == 0 else ("one", "two")
            took.append(self.add(page, f"note {number} of {page}", other))

        print(f"a note is shown by the other process after ms: {took}", flush=True)
        # Where the machine is too busy to let everything run at once, most notes still come in time.
        self.assertLessEqual(sorted(took)[len(took) // 2], PROMISED_MS)
        notes = [row[0] for row in one.rows(f"SELECT text FROM {self.table} ORDER BY id")]
        self.assertEqual(len(notes), 2 * NOTES)
        self.assertEqual(self.ask("one", note=notes[-1])["notes"], notes)
        self.assertEqual(self.ask("two", note=notes[-1])["notes"], notes)
        for app in (one, two):
            app.assert_replica(commits=NOTES)  # Since its start: so many came after it.
