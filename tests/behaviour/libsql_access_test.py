"""Who may reach which database of a real sqld, and by which URL: tokens that are JWTs, namespaces, https and libsql://.
sqld has no TLS of its own: what stands before it does that, here as anywhere. Without sqld the test is left out."""

import base64
import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import time
import urllib.request

import libsql_server
from harness import NOT_HERE, BehaviourTest, main, wait_until
from network_faults import Certificates
from proxy import Proxy

LEEWAY = 60  # Seconds that sqld takes a token for after its end.


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Authority:
    """Makes JWTs, signed by an Ed25519 key of its own, as `turso db tokens create` does."""

    def __init__(self, directory):
        self.key = os.path.join(directory, "jwt.key")
        self.public = os.path.join(directory, "jwt.pem")
        self.openssl("genpkey", "-algorithm", "ed25519", "-out", self.key)
        self.openssl("pkey", "-in", self.key, "-pubout", "-out", self.public)

    def openssl(self, *arguments, data=None):
        done = subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True)
        return done.stdout

    def token(self, **claims):
        header = base64url(json.dumps({"alg": "EdDSA", "typ": "JWT"}).encode())
        signed = f"{header}.{base64url(json.dumps(claims).encode())}"
        message = self.key + ".message"
        pathlib.Path(message).write_text(signed, "ascii")
        # pkeyutl takes a raw message from a file only.
        signature = self.openssl("pkeyutl", "-sign", "-inkey", self.key, "-rawin", "-in", message)
        return f"{signed}.{base64url(signature)}"


class Access(BehaviourTest):
    def sqld(self, *arguments, token=None, name="server"):
        server = libsql_server.RealServer(self.path(name), *arguments, token=token)
        self._primaries.append(server)
        return server.start()

    def app(self, server, name="app", **options):
        return self.replica(server, name, database="", **options)

    # --- Tokens.

    def test_a_jwt_opens_and_writes_and_another_authoritys_or_an_expired_one_does_not(self):
        os.mkdir(self.path("other"))
        ours, other = Authority(self.directory), Authority(self.path("other"))
        good = ours.token(a="rw")
        server = self.sqld("--auth-jwt-key-file", ours.public, token=good)
        server.sql("CREATE TABLE t(a)")
        bad = {
            "none": None,
            "no JWT": "s3cret",
            "another authority's": other.token(a="rw"),
            "expired": ours.token(a="rw", exp=int(time.time()) - 10 * LEEWAY),
        }
        for what, token in bad.items():
            with self.subTest(what):
                replica = self.app(server, "refused", **({"token": token} if token else {}))
                self.assert_code(self.fails(replica.connect), sqlite3.SQLITE_AUTH)
                self.assertEqual(replica.files(), [])
        app = self.app(server, token=good)
        db = self.open(app)
        db.execute("INSERT INTO t VALUES('ours')")
        self.assertEqual(server.sql("SELECT a FROM t"), [("ours",)])
        db.close()
        for suffix in ("", "-wal", "-turso"):
            if os.path.exists(app.path + suffix):
                with open(app.path + suffix, "rb") as file:
                    self.assertNotIn(good.encode(), file.read(), "the token was stored")

    def test_a_token_that_may_only_read_follows_and_is_refused_a_write(self):
        authority = Authority(self.directory)
        server = self.sqld(
            "--auth-jwt-key-file", authority.public, token=authority.token(a="rw")
        )
        server.sql("CREATE TABLE t(a)", "INSERT INTO t VALUES(1)")
        db = self.open(self.app(server, token=authority.token(a="ro"), sync_interval="off"))
        self.assertEqual(db.execute("SELECT a FROM t").fetchall(), [(1,)])
        error = self.fails(db.execute, "INSERT INTO t VALUES(2)")
        self.assert_code(error, sqlite3.SQLITE_READONLY)
        server.sql("INSERT INTO t VALUES(3)")
        db.execute("SELECT turso_sync()").fetchall()
        self.assertEqual(db.execute("SELECT a FROM t ORDER BY a").fetchall(), [(1,), (3,)])

    def test_a_token_that_is_renewed_in_its_file_is_taken_from_there(self):
        authority = Authority(self.directory)
        server = self.sqld(
            "--auth-jwt-key-file", authority.public, token=authority.token(a="rw")
        )
        server.sql("CREATE TABLE t(a)")
        file = pathlib.Path(self.path("token"))
        ends = int(time.time()) + 5 - LEEWAY
        file.write_text(authority.token(a="rw", exp=ends), "ascii")
        db = self.open(self.app(server, token_file=file, sync_interval="off"))
        db.execute("INSERT INTO t VALUES(1)")

        def is_refused():
            try:
                db.execute("SELECT turso_sync()").fetchall()
            except sqlite3.Error as error:
                self.assert_code(error, sqlite3.SQLITE_AUTH)
                return True
            return False

        wait_until(is_refused, timeout=120, what="the token to expire")
        self.assertGreaterEqual(time.time(), ends + LEEWAY)
        self.assert_code(self.fails(db.execute, "INSERT INTO t VALUES(2)"), sqlite3.SQLITE_AUTH)
        file.write_text(authority.token(a="rw"), "ascii")
        db.execute("INSERT INTO t VALUES(3)")
        self.assertEqual(server.sql("SELECT a FROM t"), [(1,), (3,)])

    # --- Namespaces.

    def namespaces(self, *names):
        with_admin = libsql_server.free_port()
        server = self.sqld(
            "--enable-namespaces", "--admin-listen-addr", f"127.0.0.1:{with_admin}"
        )
        for name in names:
            request = urllib.request.Request(
                f"http://127.0.0.1:{with_admin}/v1/namespaces/{name}/create",
                data=b"{}",
                headers={"Content-Type": "application/json"},
            )
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            opener.open(request, timeout=60).close()
        return server

    def test_each_namespace_is_a_database_of_its_own(self):
        server = self.namespaces("books", "films")
        replicas = {
            name: self.replica(server, name, database=name) for name in ("books", "films")
        }
        connections = {name: self.open(replica) for name, replica in replicas.items()}
        for name, db in connections.items():
            db.execute(f"CREATE TABLE {name}(title)")
            db.execute(f"INSERT INTO {name} VALUES('of {name}')")
        for name in connections:
            again = self.open(self.replica(server, f"again-{name}", database=name))
            self.assertEqual(again.execute(f"SELECT * FROM {name}").fetchall(), [(f"of {name}",)])
            tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\'"
            self.assertEqual(again.execute(tables).fetchall(), [(name,)])
        missing = self.replica(server, "missing", database="missing")
        self.assert_code(self.fails(missing.connect), sqlite3.SQLITE_CANTOPEN)
        self.assertEqual(missing.files(), [])

    # --- https and libsql://, in a process that trusts the certificate.

    def test_https_and_libsql_reach_it_through_what_ends_tls(self):
        server = self.sqld()
        server.sql("CREATE TABLE t(a)")
        certificates = Certificates(self.path("certificates")).make()
        proxy = Proxy(server.port, certificates.context("good"))
        self.addCleanup(proxy.close)
        os.environ["SSL_CERT_FILE"] = certificates.trusted
        self.addCleanup(os.environ.pop, "SSL_CERT_FILE")
        for number, scheme in enumerate(("https", "libsql")):
            with self.subTest(scheme):
                replica = self.app(server, scheme)
                replica.url = f"{scheme}://127.0.0.1:{proxy.port}"
                client = self.client(replica, name=scheme)
                client.sql("INSERT INTO t VALUES(?)", (scheme,))
                self.assertEqual(client.sql("SELECT count(*) FROM t"), [(number + 1,)])
                self.assertEqual(client.sql("SELECT protocol FROM turso_status"), [("libsql",)])
                client.close()
        self.assertEqual(server.sql("SELECT a FROM t"), [("https",), ("libsql",)])
        proxy.tls = certificates.context("other")
        proxy.drop_connections()
        refused = self.app(server, "refused")
        refused.url = f"libsql://127.0.0.1:{proxy.port}"
        with self.assertRaises(Exception) as raised:
            self.client(refused, name="refused")
        self.assert_code(raised.exception, sqlite3.SQLITE_CANTOPEN)


if __name__ == "__main__":
    if not libsql_server.SQLD:
        print("sqld is not here")
        sys.exit(NOT_HERE)
    main()
