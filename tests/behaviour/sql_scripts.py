"""SQL that must mean the same on a replica as on a plain file. A script is a list of steps: a statement, a statement
with its parameters, or a function of the connection that returns something comparable."""

import os
import sqlite3


def numbers(count, columns="i", table="n"):
    return (
        f"WITH RECURSIVE {table}(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM {table} WHERE i < {count})"
        f" SELECT {columns} FROM {table}"
    )


def many(sql, rows):
    def step(db):
        return db.executemany(sql, rows).rowcount

    return step


def script_with(sql):
    def step(db):
        return db.executescript(sql).fetchall()

    return step


def user_functions(db):
    db.create_function("twice", 1, lambda value: value * 2, deterministic=True)
    db.create_collation("backwards", lambda a, b: (a < b) - (a > b))
    db.execute("CREATE TABLE words(word TEXT COLLATE backwards, n)")
    db.executemany("INSERT INTO words VALUES(?, ?)", [("b", 1), ("a", 2), ("c", 3)])
    db.execute("CREATE INDEX words_twice ON words(twice(n))")
    db.execute("UPDATE words SET n = twice(n)")
    return db.execute("SELECT word, n, twice(n) FROM words ORDER BY word").fetchall()


def failing_user_function(db):
    def fail(_value):
        raise ValueError("no")

    db.create_function("fails", 1, fail)
    db.execute("UPDATE words SET n = fails(n)")


def refused_by_authorizer(db):
    db.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_DELETE
        else sqlite3.SQLITE_OK
    )
    try:
        db.execute("DELETE FROM words")
    finally:
        db.set_authorizer(None)


def ended_by_progress_handler(db):
    db.set_progress_handler(lambda: 1, 1000)
    try:
        db.execute("INSERT INTO words " + numbers(100000, "i, i"))
    finally:
        db.set_progress_handler(None, 0)


def incremental_blob(db):
    db.execute("CREATE TABLE files(id INTEGER PRIMARY KEY, body BLOB)")
    db.execute("INSERT INTO files VALUES(1, zeroblob(100000))")
    with db.blobopen("files", "body", 1) as blob:
        for position in range(0, 100000, 10000):
            blob.seek(position)
            blob.write(bytes([position // 1000]) * 1000)
        blob.seek(0)
        return hash_of(blob.read())


def hash_of(data):
    import hashlib

    return hashlib.sha256(data).hexdigest()


def context_manager(db):
    db.isolation_level = ""
    try:
        with db:
            db.execute("INSERT INTO words VALUES('with', 1)")
        try:
            with db:
                db.execute("INSERT INTO words VALUES('without', 1)")
                raise KeyError
        except KeyError:
            pass
        return db.execute("SELECT count(*) FROM words WHERE word LIKE 'with%'").fetchall()
    finally:
        db.isolation_level = None


def cursor_open_over_a_write(db):
    cursor = db.execute("SELECT n FROM words ORDER BY n")
    first = cursor.fetchone()
    db.execute("INSERT INTO words VALUES('during', 1000)")
    return first, cursor.fetchall()


def attach_plain(path):
    def step(db):
        target = os.path.join(os.path.dirname(file_of(db)), path)
        db.execute("ATTACH ? AS plain", (target,))
        return db.execute("PRAGMA plain.journal_mode").fetchall()

    return step


def file_of(db):
    return db.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchone()[0]


def vacuum_into_and_read(db):
    target = os.path.join(os.path.dirname(file_of(db)), "copy.db")
    db.execute("VACUUM INTO ?", (target,))
    copy = sqlite3.connect(target)
    try:
        return (
            copy.execute("PRAGMA journal_mode").fetchall(),
            copy.execute("PRAGMA integrity_check").fetchall(),
            [
                copy.execute(f"SELECT * FROM {name}").fetchall()
                for (name,) in copy.execute(
                    "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
                ).fetchall()
            ],
        )
    finally:
        copy.close()
        os.unlink(target)


def backup_out(db):
    copy = sqlite3.connect(":memory:")
    db.backup(copy)
    result = list(copy.iterdump())
    copy.close()
    return result


def backup_in(pages=-1):
    def step(db):
        source = sqlite3.connect(":memory:")
        source.executescript(
            "CREATE TABLE restored(a, b); CREATE INDEX restored_a ON restored(a); PRAGMA user_version=5;"
            "INSERT INTO restored " + numbers(3000, "i, 'row ' || i")
        )
        source.backup(db, pages=pages)
        source.close()
        return (
            db.execute("SELECT count(*), sum(a) FROM restored").fetchall(),
            db.execute("PRAGMA journal_mode").fetchall(),
        )

    return step


def dump(db):
    return list(db.iterdump())


BASICS = """CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b REAL DEFAULT 1.5, c BLOB)"""

SCRIPTS = {
    "basics": [
        BASICS,
        ("INSERT INTO t(a) VALUES(?)", ("one",)),
        "INSERT INTO t(a) VALUES('two'), ('three')",
        ("INSERT INTO t VALUES(?, ?, ?, ?)", (100, "ünï\u2603\U0001F600", 0.1 + 0.2, b"\0\xff")),
        ("INSERT INTO t VALUES(?, ?, ?, ?)", (-9223372036854775808, "", float("inf"), b"")),
        (
            "INSERT INTO t VALUES(?, ?, ?, ?)",
            (9223372036854775807, "nul\0inside", float("-inf"), None),
        ),
        ("INSERT INTO t VALUES(?, ?, ?, ?)", (7, None, float("nan"), bytes(range(256)) * 40)),
        "INSERT INTO t VALUES(8, CAST(x'ff00fe' AS TEXT), 2.5, 5e-324)",
        "UPDATE t SET b = b * 3 WHERE id < 3",
        "UPDATE t SET a = 'same'",
        "UPDATE t SET a = 'none' WHERE 0",
        "DELETE FROM t WHERE id = 2",
        "DELETE FROM t WHERE id = 2",
        "REPLACE INTO t(id, a) VALUES(1, 'replaced')",
        "SELECT * FROM t ORDER BY id",
        "SELECT typeof(c), hex(c) FROM t",
        "DELETE FROM t",
        "SELECT count(*) FROM t",
        "INSERT INTO t(a) VALUES('after')",
        "SELECT last_insert_rowid()",
        "DROP TABLE t",
        "SELECT * FROM t",
    ],
    "errors": [
        "CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, n NOT NULL, c CHECK(c < 10))",
        "CREATE TABLE strict_one(a INT, b TEXT) STRICT",
        "INSERT INTO strict_one VALUES('x', 1)",
        "INSERT INTO t VALUES(1, 1, 1, 1)",
        "INSERT INTO t VALUES(1, 2, 1, 1)",
        "INSERT INTO t VALUES(2, 1, 1, 1)",
        "INSERT INTO t VALUES(2, 2, NULL, 1)",
        "INSERT INTO t VALUES(2, 2, 2, 10)",
        "INSERT INTO t VALUES('x', 3, 3, 3)",
        "INSERT INTO t VALUES(1)",
        "INSERT INTO nowhere VALUES(1)",
        "SELEC 1",
        "SELECT nowhere FROM t",
        "CREATE TABLE t(a)",
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
        "BEGIN",
        "INSERT INTO t VALUES(5, 5, 5, 5)",
        "INSERT INTO t VALUES(5, 6, 5, 5)",
        "COMMIT",
        "INSERT OR IGNORE INTO t VALUES(1, 9, 9, 9), (9, 9, 9, 9)",
        "INSERT OR FAIL INTO t VALUES(20, 20, 20, 1), (1, 21, 21, 1), (22, 22, 22, 1)",
        "INSERT OR ABORT INTO t VALUES(30, 30, 30, 1), (1, 31, 31, 1)",
        "BEGIN",
        "INSERT INTO t VALUES(40, 40, 40, 1)",
        "INSERT OR ROLLBACK INTO t VALUES(1, 41, 41, 1)",
        "COMMIT",
        "INSERT OR REPLACE INTO t VALUES(1, 5, 'both', 1)",
        "SELECT * FROM t ORDER BY id",
        "RELEASE nowhere",
        "SAVEPOINT s",
        "ROLLBACK TO nowhere",
        "RELEASE s",
        "DROP INDEX nowhere",
        "ALTER TABLE no ADD c",
        "CREATE INDEX bad ON t(nowhere)",
        "SELECT abs(-9223372036854775808)",
        "SELECT json('{')",
        "CREATE TRIGGER r BEFORE INSERT ON t BEGIN SELECT RAISE(ROLLBACK, 'from the trigger'); END",
        "BEGIN",
        "DELETE FROM t WHERE id = 1",
        "INSERT INTO t VALUES(50, 50, 50, 1)",
        "COMMIT",
        "SELECT count(*) FROM t",
    ],
    "triggers": [
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v)",
        "CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, what, old, new)",
        "CREATE TRIGGER ti AFTER INSERT ON t BEGIN INSERT INTO log(what, new) VALUES('insert', new.v); END",
        "CREATE TRIGGER tu BEFORE UPDATE OF v ON t WHEN old.v IS NOT new.v"
        " BEGIN INSERT INTO log(what, old, new) VALUES('update', old.v, new.v); END",
        "CREATE TRIGGER td AFTER DELETE ON t BEGIN INSERT INTO log(what, old) VALUES('delete', old.v); END",
        "INSERT INTO t(v) VALUES('a'), ('b'), ('c')",
        "UPDATE t SET v = v || '!'",
        "UPDATE t SET v = v",
        "DELETE FROM t WHERE id = 2",
        "REPLACE INTO t VALUES(1, 'z')",
        "PRAGMA recursive_triggers=1",
        "REPLACE INTO t VALUES(1, 'zz')",
        "SELECT * FROM log",
        "CREATE VIEW upper_t AS SELECT id, upper(v) AS u FROM t",
        "CREATE TRIGGER vi INSTEAD OF INSERT ON upper_t BEGIN INSERT INTO t VALUES(new.id, lower(new.u)); END",
        "INSERT INTO upper_t VALUES(77, 'SHOUT')",
        "SELECT * FROM upper_t",
        "DELETE FROM upper_t",
        "CREATE TRIGGER no AFTER INSERT ON t WHEN new.v = 'bad' BEGIN SELECT RAISE(ABORT, 'bad value'); END",
        "INSERT INTO t(v) VALUES('good'), ('bad'), ('good')",
        "INSERT INTO t(v) VALUES('good')",
        "DROP TRIGGER ti",
        "INSERT INTO t(v) VALUES('silent')",
        "SELECT * FROM log",
        "SELECT * FROM t",
        "SELECT * FROM sqlite_sequence",
    ],
    "returning": [
        BASICS,
        "INSERT INTO t(a) VALUES('x'), ('y') RETURNING id, a, b",
        "UPDATE t SET a = a || a RETURNING *",
        "INSERT INTO t(id, a) VALUES(1, 'new') ON CONFLICT DO UPDATE SET a = excluded.a RETURNING id, a",
        "DELETE FROM t WHERE id = 1 RETURNING a, b",
        "DELETE FROM t WHERE 0 RETURNING a",
        "INSERT INTO t SELECT i, i, i, i FROM (" + numbers(50) + ") WHERE i > 10 RETURNING id",
        "SELECT count(*) FROM t",
        "BEGIN",
        "INSERT INTO t(a) VALUES('in transaction') RETURNING id",
        "ROLLBACK",
        "SELECT max(id) FROM t",
    ],
    "upsert": [
        "CREATE TABLE words(word TEXT PRIMARY KEY, n INT DEFAULT 1, seen TEXT UNIQUE) WITHOUT ROWID",
        "INSERT INTO words(word) VALUES('a') ON CONFLICT(word) DO UPDATE SET n = n + 1",
        "INSERT INTO words(word) VALUES('a') ON CONFLICT(word) DO UPDATE SET n = n + 1",
        "INSERT INTO words(word) VALUES('a'), ('b'), ('a') ON CONFLICT(word) DO UPDATE SET n = n + 1 WHERE n < 100",
        "INSERT INTO words VALUES('c', 1, 's') ON CONFLICT(seen) DO NOTHING",
        "INSERT INTO words VALUES('d', 1, 's') ON CONFLICT(word) DO NOTHING ON CONFLICT(seen) DO UPDATE SET n = 50",
        "INSERT INTO words VALUES('e', 1, 's') ON CONFLICT(word) DO NOTHING",
        "INSERT INTO words VALUES('a', 1, 'q') ON CONFLICT DO NOTHING",
        "INSERT INTO words VALUES('a', 1, 1) ON CONFLICT(n) DO NOTHING",
        "SELECT * FROM words",
    ],
    "fts5": [
        "CREATE VIRTUAL TABLE docs USING fts5(title, body, tokenize='porter')",
        many(
            "INSERT INTO docs VALUES(?, ?)",
            [
                (f"title {i}", "running quickly over the hills " * (i % 7) + f"word{i}")
                for i in range(300)
            ],
        ),
        "SELECT count(*) FROM docs WHERE docs MATCH 'run'",
        "SELECT rowid, title FROM docs WHERE docs MATCH 'word17'",
        "UPDATE docs SET body = 'swimming' WHERE rowid = 18",
        "DELETE FROM docs WHERE rowid % 3 = 0",
        "SELECT rowid, snippet(docs, 1, '[', ']', '...', 3) FROM docs WHERE docs MATCH 'swim OR hill' ORDER BY rank, rowid LIMIT 5",
        "INSERT INTO docs(docs) VALUES('optimize')",
        "INSERT INTO docs(docs) VALUES('integrity-check')",
        "CREATE TABLE source(id INTEGER PRIMARY KEY, text)",
        "CREATE VIRTUAL TABLE outside USING fts5(text, content='source', content_rowid='id')",
        "CREATE TRIGGER si AFTER INSERT ON source BEGIN INSERT INTO outside(rowid, text) VALUES(new.id, new.text); END",
        "INSERT INTO source(text) VALUES('alpha beta'), ('beta gamma')",
        "SELECT rowid FROM outside WHERE outside MATCH 'beta'",
        "BEGIN",
        "INSERT INTO docs VALUES('gone', 'vanishing')",
        "SELECT count(*) FROM docs WHERE docs MATCH 'vanishing'",
        "ROLLBACK",
        "SELECT count(*) FROM docs WHERE docs MATCH 'vanishing'",
        "SELECT * FROM docs WHERE docs MATCH 'AND'",
        "CREATE VIRTUAL TABLE r USING rtree(id, x0, x1, y0, y1)",
        "INSERT INTO r " + numbers(200, "i, i, i + 1, i % 10, i % 10 + 2"),
        "SELECT id FROM r WHERE x0 > 20 AND x1 < 60 AND y0 > 7",
        "DROP TABLE docs",
        "DROP TABLE r",
    ],
    "without rowid": [
        "CREATE TABLE w(a TEXT, b INT, c, PRIMARY KEY(b DESC, a)) WITHOUT ROWID",
        many(
            "INSERT INTO w VALUES(?, ?, ?)",
            [(f"k{i}", i % 13, "x" * (i % 200)) for i in range(1000)],
        ),
        "SELECT last_insert_rowid()",
        "UPDATE w SET c = 'changed' WHERE b = 5",
        "UPDATE w SET b = b + 100 WHERE a LIKE 'k1%'",
        "DELETE FROM w WHERE b = 7",
        "INSERT INTO w VALUES('k0', 100, 1)",
        "SELECT rowid FROM w",
        "CREATE INDEX wc ON w(c)",
        "SELECT a, b FROM w WHERE c = 'changed' ORDER BY a",
        "SELECT count(*), sum(b), sum(length(c)) FROM w",
    ],
    "generated columns": [
        "CREATE TABLE g(a INT, b INT GENERATED ALWAYS AS (a * 2) STORED, c TEXT AS ('v' || a) VIRTUAL, d AS (b + 1) UNIQUE)",
        "INSERT INTO g(a) VALUES(1), (2)",
        "INSERT INTO g(a, b) VALUES(1, 1)",
        "INSERT INTO g(a) VALUES(1)",
        "UPDATE g SET a = a + 10",
        "CREATE INDEX gc ON g(c)",
        "SELECT * FROM g WHERE c = 'v11'",
        "ALTER TABLE g ADD COLUMN e AS (a + b)",
        "ALTER TABLE g ADD COLUMN f AS (a + b) STORED",
        "SELECT * FROM g",
        "UPDATE g SET c = 1",
        "DELETE FROM g WHERE d = 23",
        "SELECT * FROM g",
    ],
    "savepoints": [
        BASICS,
        "SAVEPOINT outer_one",
        "INSERT INTO t(a) VALUES('outer')",
        "SAVEPOINT inner_one",
        "INSERT INTO t(a) VALUES('inner')",
        "ROLLBACK TO inner_one",
        "INSERT INTO t(a) VALUES('second')",
        "RELEASE inner_one",
        "SELECT a FROM t",
        "RELEASE outer_one",
        "BEGIN",
        "INSERT INTO t(a) VALUES('kept')",
        "SAVEPOINT s",
        "DELETE FROM t",
        "CREATE TABLE gone(x)",
        "ROLLBACK TO s",
        "SELECT * FROM gone",
        "SAVEPOINT S",
        "UPDATE t SET b = 0",
        "RELEASE s",
        "COMMIT",
        "SELECT * FROM t",
        "SAVEPOINT a",
        "INSERT INTO t(a) VALUES('x')",
        "ROLLBACK",
        "SELECT count(*) FROM t",
        "SAVEPOINT empty",
        "RELEASE empty",
        "PRAGMA cache_size=5",
        "BEGIN",
        "INSERT INTO t(a, c) " + numbers(400, "i, zeroblob(1000)"),
        "SAVEPOINT big",
        "UPDATE t SET c = zeroblob(1500)",
        "DELETE FROM t WHERE id % 2",
        "ROLLBACK TO big",
        "UPDATE t SET b = -1 WHERE id % 3 = 0",
        "COMMIT",
        "SELECT count(*), sum(b), sum(length(c)) FROM t",
        "PRAGMA integrity_check",
    ],
    "alter table": [
        "CREATE TABLE p(id INTEGER PRIMARY KEY, a, b TEXT NOT NULL DEFAULT 'b', old)",
        "INSERT INTO p(a, old) VALUES(1, 2), (3, 4)",
        "CREATE INDEX p_a ON p(a)",
        "CREATE VIEW pv AS SELECT a, b FROM p",
        "CREATE TABLE child(pid REFERENCES p(id))",
        "CREATE TRIGGER pt AFTER INSERT ON p BEGIN INSERT INTO child VALUES(new.id); END",
        "ALTER TABLE p RENAME TO parent",
        "SELECT sql FROM sqlite_schema ORDER BY rowid",
        "ALTER TABLE parent RENAME COLUMN a TO alpha",
        "INSERT INTO parent(alpha) VALUES(5)",
        "SELECT * FROM pv",
        "ALTER TABLE parent ADD COLUMN added INTEGER DEFAULT 7",
        "ALTER TABLE parent ADD COLUMN checked CHECK(checked > 0) DEFAULT 1",
        "ALTER TABLE parent ADD COLUMN bad NOT NULL",
        "ALTER TABLE parent ADD COLUMN added",
        "ALTER TABLE parent DROP COLUMN old",
        "ALTER TABLE parent DROP COLUMN alpha",
        "ALTER TABLE parent DROP COLUMN id",
        "SELECT * FROM parent",
        "ALTER TABLE pv RENAME TO x",
        "DROP VIEW pv",
        "DROP INDEX p_a",
        "ALTER TABLE parent DROP COLUMN alpha",
        "SELECT * FROM parent",
        "SELECT type, name, sql FROM sqlite_schema ORDER BY rowid",
        "DROP TABLE parent",
        "SELECT * FROM child",
    ],
    "vacuum": [
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a)",
        "INSERT INTO t " + numbers(5000, "i, hex(zeroblob(100))"),
        "DELETE FROM t WHERE id % 10",
        "PRAGMA freelist_count",
        "VACUUM",
        "PRAGMA freelist_count",
        "PRAGMA page_count",
        "SELECT count(*), sum(id) FROM t",
        "BEGIN",
        "VACUUM",
        "ROLLBACK",
        "PRAGMA page_size=8192",
        "VACUUM",
        "PRAGMA page_size",
        "PRAGMA auto_vacuum",
        "PRAGMA auto_vacuum=INCREMENTAL",
        "VACUUM",
        "PRAGMA auto_vacuum",
        "DELETE FROM t WHERE id < 4000",
        "PRAGMA freelist_count",
        "PRAGMA incremental_vacuum(3)",
        "PRAGMA freelist_count",
        "PRAGMA incremental_vacuum",
        "PRAGMA page_count",
        "PRAGMA auto_vacuum=FULL",
        "DELETE FROM t WHERE id < 4500",
        "PRAGMA page_count",
        "PRAGMA freelist_count",
        "PRAGMA integrity_check",
        vacuum_into_and_read,
    ],
    "pragmas": [
        "PRAGMA user_version",
        "PRAGMA user_version=12345",
        "PRAGMA user_version",
        "PRAGMA application_id=-7",
        "PRAGMA application_id",
        "PRAGMA encoding",
        "PRAGMA encoding='UTF-16'",
        "CREATE TABLE t(a)",
        "PRAGMA encoding",
        "PRAGMA journal_mode",
        "PRAGMA locking_mode",
        "PRAGMA synchronous",
        "PRAGMA synchronous=NORMAL",
        "INSERT INTO t VALUES(1)",
        "PRAGMA synchronous=OFF",
        "INSERT INTO t VALUES(2)",
        "PRAGMA synchronous=EXTRA",
        "INSERT INTO t VALUES(3)",
        "PRAGMA secure_delete=ON",
        "DELETE FROM t WHERE a = 2",
        "PRAGMA page_size",
        "PRAGMA max_page_count=8",
        "INSERT INTO t VALUES(zeroblob(100000))",
        "SELECT count(*) FROM t",
        "PRAGMA max_page_count=1000000",
        "PRAGMA wal_autocheckpoint",
        "PRAGMA journal_size_limit",
        "PRAGMA foreign_keys",
        "PRAGMA query_only=1",
        "INSERT INTO t VALUES(4)",
        "PRAGMA query_only=0",
        "PRAGMA table_info(t)",
        "PRAGMA compile_options",
        "PRAGMA database_list(1)",
        "PRAGMA quick_check",
        "PRAGMA mmap_size=1000000",
        "SELECT * FROM t",
        "PRAGMA mmap_size=0",
        "PRAGMA cache_spill=0",
        "PRAGMA nothing_known=5",
        "PRAGMA case_sensitive_like=1",
        "SELECT 'a' LIKE 'A'",
        "PRAGMA writable_schema=1",
        "UPDATE sqlite_schema SET sql = 'CREATE TABLE t(a, b)' WHERE name = 't'",
        "PRAGMA writable_schema=RESET",
        "SELECT * FROM t",
        "BEGIN",
        "PRAGMA user_version=99",
        "ROLLBACK",
        "PRAGMA user_version",
        "PRAGMA journal_mode=WAL",
        "PRAGMA optimize",
        "PRAGMA locking_mode=NORMAL",
        "PRAGMA busy_timeout",
        "PRAGMA temp_store=MEMORY",
        "PRAGMA cell_size_check=1",
        "INSERT INTO t VALUES(9, 9)",
    ],
    "attached plain files": [
        "CREATE TABLE t(a)",
        "INSERT INTO t VALUES('main')",
        attach_plain("other.db"),
        "CREATE TABLE plain.u(a, b)",
        "INSERT INTO plain.u SELECT a, 1 FROM t",
        "INSERT INTO t SELECT a || b FROM plain.u",
        "SELECT * FROM t, u",
        "BEGIN",
        "INSERT INTO plain.u VALUES('both', 2)",
        "INSERT INTO t VALUES('both')",
        "COMMIT",
        "BEGIN",
        "INSERT INTO t VALUES('none')",
        "INSERT INTO plain.u VALUES('none', 3)",
        "ROLLBACK",
        "SELECT * FROM t",
        "SELECT * FROM u",
        "CREATE TABLE main.copy AS SELECT * FROM plain.u",
        "PRAGMA plain.journal_mode=wal",
        "INSERT INTO plain.u VALUES('in wal', 4)",
        "PRAGMA plain.journal_mode=delete",
        "PRAGMA plain.user_version=3",
        "VACUUM plain",
        "PRAGMA plain.locking_mode=exclusive",
        "INSERT INTO plain.u VALUES('exclusive', 5)",
        "DETACH plain",
        "ATTACH ':memory:' AS scratch",
        "CREATE TABLE scratch.s AS SELECT * FROM copy",
        "SELECT * FROM s",
        "INSERT INTO t SELECT a FROM s",
        "DETACH scratch",
        "ATTACH '' AS temporary_file",
        "CREATE TABLE temporary_file.x(a)",
        "DETACH temporary_file",
        attach_plain("other.db"),
        "SELECT * FROM plain.u",
        "SELECT * FROM t",
        "ATTACH '/nowhere/at/all.db' AS bad",
        "DETACH bad",
    ],
    "temporary things": [
        "CREATE TABLE t(a)",
        "CREATE TEMP TABLE scratch(a, b)",
        "INSERT INTO scratch " + numbers(500, "i, i * i"),
        "CREATE TEMP TRIGGER watch AFTER INSERT ON main.t BEGIN INSERT INTO scratch VALUES('seen', new.a); END",
        "INSERT INTO t VALUES(1), (2)",
        "SELECT * FROM scratch WHERE a = 'seen'",
        "CREATE TEMP VIEW v AS SELECT count(*) FROM t",
        "SELECT * FROM v",
        "INSERT INTO t SELECT b FROM scratch WHERE a < 10",
        "BEGIN",
        "DELETE FROM scratch",
        "INSERT INTO t VALUES(3)",
        "ROLLBACK",
        "SELECT count(*) FROM scratch",
        "SELECT count(*) FROM t",
        "PRAGMA temp_store=FILE",
        "CREATE TEMP TABLE on_file AS SELECT * FROM t ORDER BY a",
        "SELECT group_concat(a) FROM (SELECT DISTINCT a FROM t ORDER BY a DESC)",
        "DROP TABLE scratch",
    ],
    "foreign keys": [
        "PRAGMA foreign_keys=ON",
        "CREATE TABLE parent(id INTEGER PRIMARY KEY)",
        "CREATE TABLE child(id INTEGER PRIMARY KEY, p REFERENCES parent(id) ON DELETE CASCADE ON UPDATE CASCADE)",
        "CREATE TABLE later(p REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TABLE nulls(p REFERENCES parent ON DELETE SET NULL)",
        "INSERT INTO parent VALUES(1), (2), (3)",
        "INSERT INTO child(p) VALUES(1), (1), (2)",
        "INSERT INTO child(p) VALUES(9)",
        "INSERT INTO nulls VALUES(1)",
        "UPDATE parent SET id = 10 WHERE id = 1",
        "UPDATE parent SET id = 20 WHERE id = 2",
        "DELETE FROM parent WHERE id = 1",
        "SELECT * FROM child",
        "SELECT * FROM nulls",
        "BEGIN",
        "INSERT INTO later VALUES(50)",
        "COMMIT",
        "INSERT INTO parent VALUES(50)",
        "COMMIT",
        "BEGIN",
        "INSERT INTO later VALUES(60)",
        "COMMIT",
        "ROLLBACK",
        "INSERT INTO later VALUES(70)",
        "SELECT * FROM later",
        "DELETE FROM parent WHERE id = 50",
        "DROP TABLE parent",
        "PRAGMA defer_foreign_keys=1",
        "PRAGMA foreign_key_check",
        "PRAGMA foreign_keys=OFF",
        "INSERT INTO child(p) VALUES(99)",
        "PRAGMA foreign_key_check",
    ],
    "big values": [
        "CREATE TABLE b(id INTEGER PRIMARY KEY, body)",
        ("INSERT INTO b VALUES(1, ?)", (bytes(range(251)) * 20000,)),
        "INSERT INTO b VALUES(2, zeroblob(3000000))",
        "SELECT id, length(body) FROM b",
        "UPDATE b SET body = body || x'00' WHERE id = 1",
        ("INSERT INTO b VALUES(3, ?)", ("text " * 500000,)),
        "SELECT substr(body, 4000000, 20) FROM b WHERE id = 1",
        "DELETE FROM b WHERE id = 2",
        "SELECT hex(substr(body, -10)) FROM b",
        incremental_blob,
        "SELECT sum(length(body)) FROM files",
    ],
    "indexes and plans": [
        "CREATE TABLE t(a, b COLLATE NOCASE, c)",
        "INSERT INTO t " + numbers(2000, "i % 97, 'Name' || (i % 31), i"),
        "CREATE INDEX t_partial ON t(a) WHERE c > 1000",
        "CREATE INDEX t_expression ON t(a + c)",
        "CREATE UNIQUE INDEX t_c ON t(c DESC)",
        "CREATE INDEX t_b ON t(b, a)",
        "ANALYZE",
        "SELECT * FROM sqlite_stat1 ORDER BY 1, 2",
        "EXPLAIN QUERY PLAN SELECT * FROM t WHERE b = 'name5' AND a = 3",
        "SELECT count(*) FROM t WHERE b = 'NAME5'",
        "SELECT * FROM t WHERE a + c = 100",
        "REINDEX",
        "INSERT INTO t VALUES(1, 1, 2000)",
        "CREATE UNIQUE INDEX t_not ON t(a)",
        "DROP INDEX t_c",
        "SELECT a, sum(c) OVER (ORDER BY c ROWS 2 PRECEDING) FROM t WHERE a = 5 ORDER BY c",
        "SELECT json_group_array(a) FROM (SELECT DISTINCT a FROM t ORDER BY a LIMIT 5)",
        "PRAGMA integrity_check",
        "DROP TABLE t",
    ],
    "autoincrement": [
        "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a)",
        "INSERT INTO t(a) VALUES(1), (2), (3)",
        "DELETE FROM t",
        "INSERT INTO t(a) VALUES(4)",
        "SELECT * FROM sqlite_sequence",
        "INSERT INTO t VALUES(9223372036854775807, 5)",
        "INSERT INTO t(a) VALUES(6)",
        "UPDATE sqlite_sequence SET seq = 10",
        "DELETE FROM t WHERE id > 100",
        "INSERT INTO t(a) VALUES(7)",
        "SELECT * FROM t",
        "DROP TABLE t",
        "SELECT * FROM sqlite_sequence",
    ],
    "large transactions": [
        "PRAGMA cache_size=10",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)",
        "BEGIN",
        "INSERT INTO t " + numbers(20000, "i, i * 7 % 1000, hex(zeroblob(50))"),
        "CREATE INDEX t_a ON t(a)",
        "UPDATE t SET b = 'short' WHERE a < 500",
        "SELECT count(*), sum(a) FROM t",
        "COMMIT",
        "BEGIN",
        "DELETE FROM t WHERE a > 100",
        "UPDATE t SET a = -a",
        "ROLLBACK",
        "SELECT count(*), sum(a) FROM t",
        "DELETE FROM t WHERE id > 1000",
        "PRAGMA freelist_count",
        "BEGIN EXCLUSIVE",
        "INSERT INTO t " + numbers(5000, "i + 30000, i, zeroblob(300)"),
        "COMMIT",
        "PRAGMA integrity_check",
        "BEGIN IMMEDIATE",
        "COMMIT",
        "BEGIN IMMEDIATE",
        "ROLLBACK",
        "PRAGMA wal_checkpoint(FULL)",
        "SELECT count(*) FROM t",
    ],
    "host features": [
        user_functions,
        failing_user_function,
        refused_by_authorizer,
        ended_by_progress_handler,
        incremental_blob,
        context_manager,
        cursor_open_over_a_write,
        "SELECT count(*) FROM words",
        dump,
        backup_out,
        script_with(
            "CREATE TABLE s1(a); INSERT INTO s1 VALUES(1); BEGIN; INSERT INTO s1 VALUES(2); COMMIT;"
        ),
        "SELECT * FROM s1",
        "DROP INDEX words_twice",
    ],
    "backup into it": [
        "CREATE TABLE before(a)",
        "INSERT INTO before VALUES(1)",
        backup_in(),
        "SELECT * FROM before",
        "PRAGMA user_version",
        "INSERT INTO restored VALUES('after', 1)",
        backup_in(pages=7),
        "SELECT count(*) FROM restored",
        "PRAGMA integrity_check",
    ],
}
