"""libSQL servers in the place of a turso-primary, so that tests of the promises run against them as they stand.

TURSO_TEST_REMOTE says which: fake_sqld (tests/support/fake_sqld.py), or sqld itself. What only a turso-primary can do a
test marks with harness.only_of_primary.
"""

import pathlib
import shutil
import signal
import sqlite3

import libsql_server
from harness import process_state, wait_until
from proxy import Proxy

KINDS = {"fake_sqld": libsql_server.FakeServer, "sqld": libsql_server.RealServer}


def name_call(exchange):
    """What a turso-primary's call of the same purpose is called, as far as it has one."""
    call = exchange.handler.path.rsplit("/", 1)[1]
    if call != "pipeline":
        return {"Hello": "identify", "BatchLogEntries": "pull"}.get(call, call)
    sql = exchange.body
    if b"BEGIN IMMEDIATE" in sql:
        return "lease"
    if b"COMMIT" in sql:
        # Only a commit asks afterwards whether another one has come in between.
        return "commit" if b"PRAGMA data_version" in sql else "refuse"
    if b"SELECT number, refused" in sql:
        return "settle"
    return "release" if b"ROLLBACK" in sql else "other"


def proxy_before(server):
    proxy = Proxy(server.port, name_call=name_call)
    # Else sqld gives its slot to each that went, for five seconds, one after the other.
    proxy.tells_who_goes = True
    return proxy


class LibsqlPrimary:
    """What harness.Primary is to a test. Each database has a server of its own, made when its URL is asked for."""

    def __init__(self, kind, directory):
        self.kind = KINDS[kind]
        self.directory = pathlib.Path(directory)
        self.servers = {}
        self.runs = False

    def start(self):
        self.runs = True
        self.server()
        for server in self.servers.values():
            if server.process is None:
                server.start()
        return self

    def server(self, name="main"):
        if name not in self.servers:
            self.servers[name] = self.kind(self.directory / name)
            if self.runs:
                self.servers[name].start()
        return self.servers[name]

    def url(self, name="main"):
        return self.server(name).url()

    def proxy(self):
        return proxy_before(self.server())

    @property
    def base_url(self):
        return self.url()

    @property
    def port(self):
        return self.server().port

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def process(self):
        return self.server().process

    def stop(self):
        self.runs = False
        for server in self.servers.values():
            server.stop()

    def kill(self):
        self.runs = False
        for server in self.servers.values():
            server.kill()

    def restart(self):
        self.stop()
        self.start()

    def begin_anew(self):
        """With another database at the same URL: no log and no content."""
        self.stop()
        for server in self.servers.values():
            shutil.rmtree(server.directory)
            server.directory.mkdir()
        self.start()

    def pause(self):
        for server in self.servers.values():
            server.process.send_signal(signal.SIGSTOP)
            wait_until(lambda s=server: process_state(s.process.pid) == "T", what="SIGSTOP to act")

    def resume(self):
        for server in self.servers.values():
            server.process.send_signal(signal.SIGCONT)

    def file(self, name="main"):
        return self.server(name).database_file()

    def open_file(self, name="main"):
        assert self.process is None, "the file is the server's while it runs"
        return sqlite3.connect(self.file(name), isolation_level=None)

    @property
    def log_path(self):
        return self.server().log_path

    def log_text(self):
        return "\n".join(server.log_text() for server in self.servers.values())
