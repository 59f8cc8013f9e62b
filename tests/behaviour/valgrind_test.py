"""The extension as it is shipped, in the stock sqlite3 shell, under valgrind: no error and no definite leak."""

import re
import subprocess

import harness

SUPPRESSIONS = harness.pathlib.Path(__file__).resolve().parents[1] / "valgrind.supp"

SESSION = """
.bail on
.load {extension}
.open '{uri}'
.timeout 60000
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c BLOB);
CREATE INDEX i ON t(b);
INSERT INTO t VALUES(1, 'one', zeroblob(10000)), (2, 'two', NULL);
BEGIN;
INSERT INTO t(b) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 2000) SELECT 'row '||i FROM n;
SAVEPOINT s;
DELETE FROM t WHERE a%3=0;
ROLLBACK TO s;
UPDATE t SET c=randomblob(20) WHERE a%5=0;
COMMIT;
BEGIN IMMEDIATE;
ROLLBACK;
SELECT turso_version() IS NOT NULL, turso_sync() IS NOT NULL, turso_wait(turso_revision(), 1000), turso_lag()>=0;
SELECT count(*), sum(length(b)) FROM t;
PRAGMA wal_checkpoint(TRUNCATE);
INSERT INTO t(b) VALUES('after a checkpoint');
PRAGMA integrity_check;
SELECT state, commits FROM turso_status;
.open ':memory:'
.timeout 60000
ATTACH '{uri}' AS again;
DELETE FROM again.t WHERE a>1000;
SELECT 'rows', count(*) FROM again.t;
SELECT turso_last_error('again') IS NULL;
DETACH again;
SELECT 'replicas open', count(*) FROM turso_status;
"""


class Valgrind(harness.BehaviourTest):
    def valgrind(self, session, ends_with=0):
        log = self.path("valgrind.log")
        command = [
            "valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full",
            "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite", "--num-callers=30",
            "--trace-children=no", "--fair-sched=try", f"--suppressions={SUPPRESSIONS}",
            f"--log-file={log}", "sqlite3", ":memory:",
        ]  # fmt: skip
        shell = subprocess.run(
            command, input=session, text=True, capture_output=True, timeout=500, check=False
        )
        said = harness.pathlib.Path(log).read_text("utf-8", "replace")
        self.assertEqual(shell.returncode, ends_with, f"{said}\n{shell.stdout}\n{shell.stderr}")
        self.assertEqual(said, "")
        return shell.stdout

    def test_a_session_in_the_stock_shell_has_no_error_and_no_leak(self):
        primary = self.primary()
        uri = self.replica(primary, "app", timeout="120s").uri()
        answers = self.valgrind(SESSION.format(extension=harness.EXTENSION, uri=uri))
        self.assertEqual(
            re.sub(r"^live\|\d+$", "live|N", answers, flags=re.M).split("\n")[:-1],
            ["1|1|1|1", "2002|14899", "0|0|0", "ok", "live|N", "rows|1000", "1",
             "replicas open|0"],
        )  # fmt: skip

    def test_a_session_without_a_primary_has_no_error_and_no_leak(self):
        primary = self.primary()
        app = self.replica(primary, "app", timeout="5s")
        db = app.connect()
        db.execute("CREATE TABLE t(a)")
        db.close()
        primary.stop()
        session = f"""
.load {harness.EXTENSION}
.open '{app.uri()}'
SELECT count(*) FROM t;
INSERT INTO t VALUES(1);
SELECT turso_sync();
SELECT turso_last_error() IS NOT NULL;
.open 'file:{self.path("absent.db")}?vfs=turso&url=http://127.0.0.1:9/x'
SELECT 1 FROM sqlite_schema;
"""
        answers = self.valgrind(session, ends_with=1)
        self.assertEqual(answers.split("\n")[:2], ["0", "1"], answers)


if __name__ == "__main__":
    harness.main()
