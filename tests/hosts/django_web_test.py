"""Django's own server in two processes, each on a replica of its own."""

import re
import shutil

from host import PYTHON, harness, main

import python_work
import web_application
from work import PROGRAMS

LINES = 20  # Of what the server says before it takes requests.


class DjangoServers(python_work.PythonHost, web_application.WebApplication):
    host = "Django, two servers and a browser"
    package = "Django"
    table = "notes_note"

    def manage(self, app, *arguments):
        return [PYTHON, "-u", self.path("project/manage.py"), *arguments], {**self.environment(), "DATABASE": app.path}

    def migrate(self, app):
        shutil.copytree(PROGRAMS / "django", self.path("project"), ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(PROGRAMS / "notes.html", self.path("project"))
        for step in (["makemigrations", "notes", "library"], ["migrate"]):
            command, environment = self.manage(app, *step)
            self.run_program(command, environment=environment)
        self.assertEqual(app.rows("SELECT name FROM django_migrations WHERE app = 'notes'"), [["0001_initial"]])
        app.assert_replica(commits=20)

    def serve(self, app):
        command, environment = self.manage(app, "runserver", "--noreload", "127.0.0.1:0")
        process = self.start(command, app.directory, **environment)
        said = ""
        for _ in range(LINES):
            said += harness.read_line(process.stdout, harness.START_SECONDS)
            found = re.search(r"http://127\.0\.0\.1:\d+/", said)
            if found:
                return found.group()
        self.fail(f"the server does not say where it is:\n{said}")


if __name__ == "__main__":
    main()
