"""P4: a read transaction sees one revision of the primary, whole, however much is applied meanwhile."""

import hashlib
import random
import time

from harness import CONTROL, BehaviourTest, main, seconds, seeded_random

TRANSACTIONS = 1000
ROWS = 1500
READERS = 2
VERSIONS_LEAST = 5


def digest(db):
    """Of every row, by the table, by its index, and by full scan in reverse."""
    hashed = hashlib.sha256()
    for sql in (
        "SELECT * FROM items ORDER BY id",
        "SELECT tag, id FROM items INDEXED BY items_tag ORDER BY tag, id",
        "SELECT count(*), sum(n), max(id) FROM items",
        # At a libSQL server a replica has a table of ours, which comes back later than what it committed.
        "SELECT sql FROM sqlite_schema WHERE tbl_name <> '_turso_vfs' ORDER BY name",
    ):
        for row in db.execute(sql):
            hashed.update(repr(row).encode())
    return hashed.hexdigest()


def write_many_transactions(replica, seed, report):
    generator = random.Random(seed)
    db = replica.connect()
    for number in range(TRANSACTIONS):
        kind = generator.randrange(10)
        if kind < 5:
            db.execute(
                "UPDATE items SET n = n + 1, tag = ? WHERE id % 100 = ?",
                (generator.random(), generator.randrange(100)),
            )
        elif kind < 8:
            db.execute(
                "INSERT INTO items(tag, n, padding) VALUES(?, 0, randomblob(?))",
                (generator.random(), generator.randrange(3000)),
            )
        elif kind < 9:
            db.execute("DELETE FROM items WHERE id = (SELECT max(id) FROM items)")
        else:
            db.execute(f"CREATE TABLE extra{number}(a)")
    report.append(
        {
            "revision": None if CONTROL else db.execute("SELECT turso_revision()").fetchone()[0],
            "digest": digest(db),
        }
    )
    db.close()


def write_big_transactions(replica, readers, report):
    """Until all readers have reported."""
    db = replica.connect()
    version = 0
    while len(readers.read()) < READERS:
        version += 1
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE big SET version = ?, padding = randomblob(500)", (version,))
        if version % 3 == 0:
            db.execute("DELETE FROM big WHERE id > ?", (ROWS - 300,))
        elif version % 3 == 1:
            db.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)"
                " INSERT INTO big SELECT ? + i, ?, randomblob(700) FROM n WHERE true"
                " ON CONFLICT(id) DO NOTHING",
                (ROWS, version),
            )
        db.execute("UPDATE meta SET version = ?, rows = (SELECT count(*) FROM big)", (version,))
        db.execute("COMMIT")
        time.sleep(0.01)
    report.append({"versions": version})
    db.close()


def check_versions(replica, duration, report):
    """Reads until the time is over and several versions came by; every snapshot must be one version."""
    db = replica.connect()
    deadline = time.monotonic() + duration
    seen, snapshots, newest = set(), 0, 0
    while time.monotonic() < deadline or len(seen) <= VERSIONS_LEAST:
        db.execute("BEGIN")
        version, rows = db.execute("SELECT version, rows FROM meta").fetchone()
        by_table = db.execute("SELECT min(version), max(version), count(*) FROM big").fetchone()
        by_index = db.execute(
            "SELECT min(version), max(version), count(*) FROM big INDEXED BY big_version"
            " WHERE version >= 0"
        ).fetchone()
        db.execute("COMMIT")
        assert by_table == (
            version,
            version,
            rows,
        ), f"meta says {(version, rows)}, the table {by_table}"
        assert by_index == (
            version,
            version,
            rows,
        ), f"meta says {(version, rows)}, the index {by_index}"
        assert version >= newest, f"went back from {newest} to {version}"
        newest = version
        seen.add(version)
        snapshots += 1
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    report.append({"seen": len(seen), "snapshots": snapshots})
    db.close()


class Snapshots(BehaviourTest):
    def test_a_read_transaction_answers_the_same_while_a_thousand_transactions_are_applied(self):
        generator = seeded_random("held snapshot")
        primary = self.primary()
        writing, reading = (self.replica(primary, name) for name in ("writing", "reading"))
        db = self.open(writing)
        db.execute("CREATE TABLE items(id INTEGER PRIMARY KEY, tag REAL, n INTEGER, padding BLOB)")
        db.execute("CREATE INDEX items_tag ON items(tag)")
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
            " INSERT INTO items SELECT i, i / 7.0, 0, randomblob(200) FROM n"
        )
        held, other = self.open(reading), self.open(reading)
        held.execute("BEGIN")
        at_start = digest(held)
        self.assertEqual(digest(db), at_start)

        report = self.report("writer")
        writer = self.spawn("writer", write_many_transactions, writing, generator.random(), report)
        checks = 0
        while writer.process.is_alive():
            self.assertEqual(at_start, digest(held))
            checks += 1
            time.sleep(0.01)
        writer.finish()
        end = report.read()[0]
        if not CONTROL:
            self.assertEqual(
                [(1,)], other.execute("SELECT turso_wait(?, 30000)", (end["revision"],)).fetchall()
            )
        self.assertEqual(
            end["digest"],
            digest(other),
            "the other connection does not see the applied transactions",
        )
        self.assertEqual(at_start, digest(held))
        held.execute("COMMIT")
        self.assertEqual(end["digest"], digest(held))
        self.assertGreater(checks, 3)

    def test_a_whole_pull_is_seen_or_none_of_it(self):
        primary = self.primary()
        writing, reading = (self.replica(primary, name) for name in ("writing", "reading"))
        db = self.open(writing)
        db.execute("BEGIN IMMEDIATE")
        db.execute("CREATE TABLE big(id INTEGER PRIMARY KEY, version INTEGER, padding BLOB)")
        db.execute("CREATE INDEX big_version ON big(version)")
        db.execute("CREATE TABLE meta(version INTEGER, rows INTEGER)")
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO big SELECT i, 0, randomblob(500) FROM n",
            (ROWS,),
        )
        db.execute("INSERT INTO meta VALUES(0, ?)", (ROWS,))
        db.execute("COMMIT")
        self.open(reading)  # Made before its readers look.

        duration = seconds(10)
        report = self.report("readers")
        readers = [
            self.spawn(f"reader{n}", check_versions, reading, duration, report)
            for n in range(READERS)
        ]
        writer = self.spawn(
            "writer", write_big_transactions, writing, report, self.report("writer")
        )
        for child in [*readers, writer]:
            child.finish(timeout=duration + 180)
        print(*report.read(), *self.report("writer").read())


if __name__ == "__main__":
    main()
