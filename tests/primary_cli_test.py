"""turso-primary as a program: its command line, its one line of output, tokens, TLS, paths, signals, metrics."""

import base64
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

BUILD = pathlib.Path(os.environ.get("TURSO_BUILD_DIR", "build")).resolve()
PRIMARY = BUILD / "turso-primary"
PATIENCE = 30


class PrimaryTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        self.data = self.directory / "data"
        self.context = None

    def file(self, name, text):
        path = self.directory / name
        path.write_text(text, "utf-8")
        return path

    def run_primary(self, *arguments):
        """For what ends by itself: (exit code, standard output, standard error)."""
        ran = subprocess.run([PRIMARY, *map(str, arguments)], capture_output=True, text=True,
                             timeout=PATIENCE, stdin=subprocess.DEVNULL)
        return ran.returncode, ran.stdout, ran.stderr

    def start(self, *arguments, listen="127.0.0.1:0"):
        self.log = self.directory / f"stderr.{time.monotonic_ns()}"
        with open(self.log, "wb") as log:
            process = subprocess.Popen(
                [PRIMARY, "--listen", listen, "--data", self.data, *map(str, arguments)],
                stdout=subprocess.PIPE, stderr=log, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.line = process.stdout.readline()
        match = re.fullmatch(r"listening on (https?)://(\S+):(\d+)\n", self.line)
        self.assertTrue(match, self.line + self.log.read_text())
        self.scheme, self.host, self.port = match.group(1), match.group(2), int(match.group(3))
        return process

    def stop(self, process, number=signal.SIGTERM):
        process.send_signal(number)
        self.assertEqual(process.wait(PATIENCE), 0, self.log.read_text())

    def ask(self, method, path, body=None, token=None, **more):
        """(status, headers, text)"""
        host = self.host.strip("[]")
        if self.scheme == "https":
            connection = http.client.HTTPSConnection(host, self.port, timeout=PATIENCE, context=self.context)
        else:
            connection = http.client.HTTPConnection(host, self.port, timeout=PATIENCE)
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def sql(self, sql, path="/app", token=None, close=True):
        requests = [{"type": "execute", "stmt": {"sql": sql}}] + [{"type": "close"}] * close
        status, _, text = self.ask("POST", path + "/v3/pipeline", json.dumps({"requests": requests}), token)
        self.assertEqual(status, 200, text)
        result = json.loads(text)["results"][0]
        if result["type"] == "error":
            return result["error"]
        return [[value.get("value") for value in row] for row in result["response"]["result"]["rows"]]


class CommandLine(PrimaryTest):
    def test_prints_one_line_when_it_is_ready_and_nothing_else(self):
        process = self.start()
        self.assertEqual(self.ask("GET", "/health")[0], 200)
        self.stop(process)
        self.assertEqual(process.stdout.read(), "")
        self.assertIn("loopback only", self.log.read_text())

    def test_ends_cleanly_on_either_signal(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            self.stop(self.start("--create"), number)

    def test_helps_and_tells_its_version(self):
        code, out, _ = self.run_primary("--help")
        self.assertEqual(code, 0)
        for option in ("--listen", "--data", "--create", "--token-file", "--read-token-file", "--tls-cert",
                       "--tls-key", "--log", "create"):
            self.assertIn(option, out)
        code, out, _ = self.run_primary("--version")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"^turso-primary \d+\.\d+\.\d+\n$")

    def test_refuses_a_wrong_command_line_with_a_sentence(self):
        for arguments, words in [
            ([], "--data"),
            (["--data", self.data, "--nonsense"], "--nonsense"),
            (["--data", self.data, "--listen", "8080"], "HOST:PORT"),
            (["--data", self.data, "--listen", "127.0.0.1:x"], "HOST:PORT"),
            (["--data", self.data, "--listen", "127.0.0.1:99999"], "HOST:PORT"),
            (["--data", self.data, "--listen", "0.0.0.0:0"], "--token-file"),
            (["--data", self.data, "--token-file", "/nowhere"], "/nowhere"),
            (["--data", self.data, "--token-file", self.file("empty", "# none\n\n")], "no token"),
            (["--data", self.data, "--tls-cert", "x"], "--tls-key"),
            (["--data", self.data, "--log", "/nowhere/log"], "/nowhere/log"),
            (["--data", self.file("a-file", "")], "a-file"),
        ]:
            code, out, err = self.run_primary(*arguments)
            self.assertNotEqual(code, 0, arguments)
            self.assertIn(words, err, arguments)
            self.assertEqual(out, "")

    def test_says_so_when_the_port_is_taken(self):
        self.start()
        code, _, err = self.run_primary("--data", self.directory / "other", "--listen", f"127.0.0.1:{self.port}")
        self.assertEqual(code, 1)
        self.assertIn(f"127.0.0.1:{self.port}", err)

    def test_refuses_a_second_server_on_one_directory(self):
        first = self.start()
        code, out, err = self.run_primary("--data", self.data, "--listen", "127.0.0.1:0")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("another turso-primary", err)
        first.kill()
        first.wait()
        self.start()

    def test_logs_to_a_file_if_it_is_told_to(self):
        log = self.directory / "log"
        self.stop(self.start("--log", log))
        self.assertRegex(log.read_text(), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info turso-primary .* serves ")
        self.assertNotIn(" info ", self.log.read_text())

    def test_listens_on_ipv6(self):
        if not socket.has_ipv6:
            self.skipTest("no IPv6 here")
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError:
            self.skipTest("no IPv6 loopback here")
        self.start(listen="[::1]:0")
        self.assertEqual(self.host, "[::1]")
        self.assertEqual(self.ask("GET", "/health")[0], 200)

    def test_keeps_what_was_committed_when_it_is_killed(self):
        process = self.start("--create")
        self.sql("CREATE TABLE t(a)")
        for i in range(20):
            self.sql(f"INSERT INTO t VALUES({i})")
        process.kill()
        process.wait()
        self.start()
        self.assertEqual(self.sql("SELECT count(*), sum(a) FROM t"), [["20", "190"]])


class Create(PrimaryTest):
    def setUp(self):
        super().setUp()
        self.data.mkdir()

    def test_makes_an_empty_database(self):
        self.assertEqual(self.run_primary("create", "app", "--data", self.data)[0], 0)
        self.assertEqual([path.name for path in self.data.iterdir()], ["app.db"])
        self.start()
        self.assertEqual(self.sql("SELECT count(*) FROM sqlite_schema"), [["0"]])

    def test_makes_databases_of_the_page_size_that_is_asked_for(self):
        self.assertEqual(self.run_primary("create", "app", "--data", self.data, "--page-size", "65536")[0], 0)
        self.start("--create", "--page-size", "1024")
        self.assertEqual(self.sql("SELECT page_size FROM pragma_page_size"), [["65536"]])
        self.assertEqual(self.sql("SELECT page_size FROM pragma_page_size", "/fresh"), [["1024"]])

    def test_copies_a_database_that_is_in_use(self):
        source = self.directory / "source.db"
        db = sqlite3.connect(source, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE t(a)")
        db.execute("INSERT INTO t VALUES(42)")
        db.execute("BEGIN")
        db.execute("INSERT INTO t VALUES(43)")
        code, _, err = self.run_primary("create", "app", "--data", self.data, "--from", source)
        self.assertEqual(code, 0, err)
        db.close()
        self.start()
        self.assertEqual(self.sql("SELECT a FROM t"), [["42"]])

    def test_refuses_what_it_cannot_make(self):
        self.run_primary("create", "app", "--data", self.data)
        for arguments, words in [
            (["app", "--data", self.data], "there already"),
            (["a/b", "--data", self.data], "name"),
            ([".app", "--data", self.data], "name"),
            (["", "--data", self.data], "name"),
            (["new", "--data", self.directory / "absent"], "absent"),
            (["new", "--data", self.data, "--from", "/nowhere.db"], "/nowhere.db"),
            (["new", "--data", self.data, "--page-size", "1000"], "power of two"),
            (["new", "--data", self.data, "--from", self.file("text", "no database" * 99)], "text"),
            (["new"], "--data"),
        ]:
            code, _, err = self.run_primary("create", *arguments)
            self.assertNotEqual(code, 0, arguments)
            self.assertIn(words, err, arguments)
        self.assertEqual([path.name for path in self.data.iterdir()], ["app.db"])

    def test_makes_one_for_a_server_that_runs(self):
        self.start()
        self.assertEqual(self.ask("POST", "/app/v3/pipeline", '{"requests":[]}')[0], 404)
        self.assertEqual(self.run_primary("create", "app", "--data", self.data)[0], 0)
        self.assertEqual(self.sql("SELECT 1"), [["1"]])


class Paths(PrimaryTest):
    def test_serves_several_databases_and_main_at_the_root(self):
        self.start("--create")
        self.sql("CREATE TABLE a(x)", "/a")
        self.sql("CREATE TABLE b(x)", "/b-b.b_2")
        self.sql("CREATE TABLE m(x)", "")
        self.assertEqual(self.sql("SELECT name FROM sqlite_schema", "/a"), [["a"]])
        self.assertEqual(self.sql("SELECT name FROM sqlite_schema", "/b%2Db.b_2"), [["b"]])
        self.assertEqual(self.sql("SELECT name FROM sqlite_schema", "/main"), [["m"]])
        for name in ("a.db", "b-b.b_2.db", "main.db"):
            self.assertTrue((self.data / name).exists(), name)

    def test_takes_no_name_that_could_leave_the_directory(self):
        self.start("--create")
        before = sorted(self.directory.rglob("*"))
        for name in ("..", ".", ".x", "a..b", "%2e%2e", "%2E%2E%2Fx", "..%2fx", "a%2fb", "a%00b", "a%20b", "%252e",
                     "a\\b", "é", "x" * 65, ""):
            path = "/" + name.encode("utf-8").decode("latin-1") + "/v3/pipeline"
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client:
                client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n"
                               "Connection: close\r\n\r\n{\"requests\":[]}".encode("latin-1"))
                status = client.makefile("rb").readline().decode().split()[1]
            self.assertIn(status, ("400", "404"), name)
        self.assertEqual(sorted(self.directory.rglob("*")), before)

    def test_answers_404_405_and_the_probes(self):
        self.start()
        for path in ("/nothing", "/a/b/v3/pipeline", "/v4/pipeline", "/a/_turso/v2/pull", "/a/_turso/v1"):
            self.assertEqual(self.ask("POST", path, "{}")[0], 404, path)
        status, headers, _ = self.ask("GET", "/a/v3/pipeline")
        self.assertEqual((status, headers["Allow"]), (405, "POST"))
        self.assertEqual(self.ask("POST", "/health", "")[0], 405)
        for path in ("/", "/health", "/version", "/v2", "/v3", "/a/v2", "/a/v3", "/v3/", "/health?x=1"):
            self.assertEqual(self.ask("GET", path)[0], 200, path)
        self.assertEqual(self.ask("GET", "/v3-protobuf")[0], 404)
        self.assertRegex(self.ask("GET", "/version")[2], r"^turso-primary \d")

    def test_fails_a_replicas_call_in_the_replicas_protocol(self):
        self.start("--token-file", self.file("tokens", "secret"))
        for token in (None, "secret"):
            status, headers, text = self.ask("POST", "/app/_turso/v1/identify", b"", token)
            self.assertGreaterEqual(status, 400)
            self.assertEqual(headers["Content-Type"], "application/x-turso-vfs")
            self.assertTrue(text.startswith("TVP1"), text)

    def test_tells_its_numbers(self):
        self.start("--create")
        self.sql("CREATE TABLE t(a)")
        self.sql("SELECT 1", close=False)
        status, headers, text = self.ask("GET", "/metrics")
        self.assertEqual(status, 200)
        self.assertTrue(headers["Content-Type"].startswith("text/plain; version=0.0.4"))
        families = set(re.findall(r"^# TYPE (\S+) (?:counter|gauge)$", text, re.M))
        samples = dict(re.findall(r"^(\w+(?:\{[^}]*\})?) (\d+)$", text, re.M))
        self.assertEqual({name.split("{")[0] for name in samples}, families)
        self.assertEqual(samples['turso_http_requests_total{endpoint="pipeline"}'], "2")
        self.assertEqual(samples['turso_sql_commits_total{database="app"}'], "1")
        self.assertEqual(samples["turso_sql_streams"], "1")
        for line in text.splitlines():
            self.assertRegex(line, r"^(# (HELP|TYPE) \w+ .+|\w+(\{\w+=\"[^\"]*\"\})? \d+)$")


class Browsers(PrimaryTest):
    def test_refuses_pages_from_elsewhere_where_everybody_may_write(self):
        self.start("--create")
        for origin in ("https://example.com", "http://localhost.example.com", "http://127.0.0.1.example.com:80",
                       "null", "http://10.0.0.1", ""):
            for method, path in (("POST", "/app/v2/pipeline"), ("OPTIONS", "/app/v2/pipeline"), ("GET", "/metrics")):
                status, headers, _ = self.ask(method, path, '{"requests":[]}', Origin=origin)
                self.assertEqual(status, 403, origin)
                self.assertNotIn("Access-Control-Allow-Origin", headers)
        self.assertFalse((self.data / "app.db").exists())
        for origin in ("http://localhost:5173", "http://127.0.0.1", "https://[::1]:99", "http://localhost"):
            status, headers, _ = self.ask("POST", "/app/v2/pipeline", '{"requests":[]}', Origin=origin)
            self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (200, "*"), origin)

    def test_lets_any_page_ask_that_has_a_token(self):
        self.start("--create", "--token-file", self.file("tokens", "secret"))
        page = {"Origin": "https://example.com"}
        status, headers, _ = self.ask("OPTIONS", "/app/v2/pipeline", **page, Access_Control_Request_Method="POST",
                                      Access_Control_Request_Headers="authorization,content-type")
        self.assertEqual(status, 204)
        self.assertEqual(headers["Access-Control-Allow-Origin"], "*")
        self.assertEqual(headers["Access-Control-Allow-Headers"], "authorization,content-type")
        self.assertIn("POST", headers["Access-Control-Allow-Methods"])
        for token, expected in (("secret", 200), ("wrong", 401)):
            status, headers, _ = self.ask("POST", "/app/v2/pipeline", '{"requests":[]}', token, **page)
            self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (expected, "*"))
        self.assertNotIn("Access-Control-Allow-Origin", self.ask("GET", "/health")[1])


class Tokens(PrimaryTest):
    def test_lets_in_who_has_a_token(self):
        self.start("--create", "--token-file", self.file("writers", "  first \n#not-a-token\n\nsecond\n"),
                   "--read-token-file", self.file("readers", "reader\n"))
        self.assertNotIn("loopback", self.log.read_text())
        self.sql("CREATE TABLE t(a)", token="first")
        self.sql("INSERT INTO t VALUES(1)", token="second")
        self.assertEqual(self.sql("SELECT a FROM t", token="reader"), [["1"]])
        self.assertEqual(self.sql("DELETE FROM t", token="reader")["code"], "SQLITE_READONLY")
        for token in (None, "", "third", "firs", "first2", "#not-a-token", "FIRST"):
            status, headers, text = self.ask("POST", "/app/v3/pipeline", '{"requests":[]}', token)
            self.assertEqual(status, 401, token)
            self.assertEqual(headers["WWW-Authenticate"], "Bearer")
            self.assertEqual(json.loads(text)["code"], "UNAUTHORIZED")
            self.assertEqual(self.ask("GET", "/metrics", token=token)[0], 401)
            for path in ("/health", "/version", "/app/v3"):
                self.assertEqual(self.ask("GET", path, token=token)[0], 200)
        self.assertEqual(self.ask("GET", "/metrics", token="reader")[0], 200)
        status, _, _ = self.ask("POST", "/app/v3/pipeline", "x" * 100000, "third")
        self.assertEqual(status, 401)

    def test_keeps_a_readers_baton_apart_from_a_writers(self):
        self.start("--create", "--token-file", self.file("writers", "writer"),
                   "--read-token-file", self.file("readers", "reader"))
        _, _, text = self.ask("POST", "/app/v3/pipeline", '{"requests":[]}', "writer")
        baton = json.loads(text)["baton"]
        body = json.dumps({"baton": baton, "requests": []})
        self.assertEqual(self.ask("POST", "/app/v3/pipeline", body, "reader")[0], 400)
        self.assertEqual(self.ask("POST", "/app/v3/pipeline", body, "writer")[0], 200)


class Tls(PrimaryTest):
    def make_certificate(self):
        key, certificate = self.directory / "key.pem", self.directory / "cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", key, "-out", certificate], check=True, capture_output=True)
        return certificate, key

    def test_serves_https(self):
        certificate, key = self.make_certificate()
        self.start("--create", "--tls-cert", certificate, "--tls-key", key)
        self.assertEqual(self.scheme, "https")
        self.context = ssl.create_default_context(cafile=certificate)
        self.sql("CREATE TABLE t(a)")
        large = base64.b64encode(os.urandom(300000)).decode()
        self.assertEqual(self.sql(f"SELECT '{large}'"), [[large]])
        # More than one record, and more than one read, in both directions.
        larger = "x" * 5000000
        self.assertEqual(self.sql(f"SELECT length('{larger}')"), [["5000000"]])
        self.assertEqual(self.sql("SELECT hex(zeroblob(2500000))"), [["0" * 5000000]])
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.context = ssl.create_default_context()
            self.ask("GET", "/health")

    def test_refuses_a_certificate_that_is_none(self):
        bad = self.file("bad.pem", "nonsense")
        code, out, err = self.run_primary("--data", self.data, "--listen", "127.0.0.1:0", "--tls-cert", bad,
                                          "--tls-key", bad)
        self.assertEqual((code, out), (2, ""))
        self.assertIn("certificate", err)


class Stopping(PrimaryTest):
    def test_interrupts_what_runs_and_rolls_back_what_is_open(self):
        process = self.start("--create")
        self.sql("CREATE TABLE t(a)")
        body = json.dumps({"requests": [{"type": "execute", "stmt": {"sql": sql}}
                                        for sql in ("BEGIN IMMEDIATE", "INSERT INTO t VALUES(1)")]})
        self.ask("POST", "/app/v3/pipeline", body)
        endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT count(*) FROM c"
        answers = []
        runner = threading.Thread(target=lambda: answers.append(self.sql(endless)))
        runner.start()
        deadline = time.monotonic() + PATIENCE
        while "turso_http_requests_open 2" not in self.ask("GET", "/metrics")[2]:
            self.assertLess(time.monotonic(), deadline)
        begin = time.monotonic()
        self.stop(process)
        self.assertLess(time.monotonic() - begin, 10)
        runner.join(PATIENCE)
        self.assertEqual(answers[0]["code"], "SQLITE_INTERRUPT")
        db = sqlite3.connect(self.data / "app.db")
        self.assertEqual(db.execute("SELECT count(*) FROM t").fetchone(), (0,))
        self.assertEqual(db.execute("PRAGMA integrity_check").fetchone(), ("ok",))
        db.close()
        self.assertFalse((self.data / "app.db-wal").exists() and (self.data / "app.db-wal").stat().st_size)


if __name__ == "__main__":
    unittest.main(verbosity=2)
