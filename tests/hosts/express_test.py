"""Express in two processes, each on a replica of its own."""

import shutil

from host import harness, main

import web_application
from work import PROGRAMS


class Express(web_application.WebApplication):
    host = "Express"
    way_in = "NODE_OPTIONS"
    package = "express"

    def serve(self, app):
        self.furnish(app.directory, "express.cjs")
        shutil.copy(PROGRAMS / "notes.html", app.directory)
        command = [self.node, "express.cjs", app.path]
        process = self.start(command, app.directory, **self.node_environment())
        return harness.read_line(process.stdout, harness.START_SECONDS).strip()


if __name__ == "__main__":
    main()
