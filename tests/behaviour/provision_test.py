"""TURSO_VFS_PROVISION: suites that invent file names run with every write forwarded."""

import os
import pathlib
import sqlite3

from harness import BehaviourTest, load_extension, main, wait_until


def provision(url):
    os.environ["TURSO_VFS_PROVISION"] = url
    load_extension("sqlite3_tursovfs_default_init")


def connect(path):
    return sqlite3.connect(path, isolation_level=None)


def url_of(db):
    return db.execute("SELECT url FROM turso_status").fetchone()[0]


def make_delete_and_make_again(url, path):
    provision(url)
    seen = []
    for _ in range(2):
        db = connect(path)
        db.execute("CREATE TABLE t(a)")  # Fails where something of the deleted one is left.
        db.execute("INSERT INTO t VALUES (1)")
        seen.append(url_of(db))
        db.close()
        os.unlink(path)
    print(*seen, sep="\n")


def make_when_told(url, path, told):
    provision(url)
    wait_until(pathlib.Path(told).exists)
    db = connect(path)
    db.execute("CREATE TABLE IF NOT EXISTS t(a)")
    db.execute("INSERT INTO t VALUES (1)")
    print(url_of(db))


class Provision(BehaviourTest):
    def rows(self, server, url):
        db = self.keep(server.open_file(url.rsplit("/", 1)[1]))
        return db.execute("SELECT count(*) FROM t").fetchone()[0]

    def test_every_new_file_is_a_replica_of_a_fresh_database_also_where_one_was_deleted(self):
        server = self.primary()
        path = pathlib.Path(self.directory) / ("a long name with spaces " * 4 + ".db")
        child = self.spawn("child", make_delete_and_make_again, server.url("").rstrip("/"), str(path))
        child.finish()
        urls = child.output().split()
        self.assertEqual(len(set(urls)), 2, urls)
        server.stop()
        self.assertEqual([self.rows(server, url) for url in urls], [1, 1])

    def test_processes_that_make_the_same_file_at_once_share_one_database(self):
        server = self.primary()
        path, told = (pathlib.Path(self.directory) / name for name in ("shared.db", "told"))
        url = server.url("").rstrip("/")
        children = [self.spawn(f"child{n}", make_when_told, url, str(path), str(told)) for n in range(4)]
        told.touch()
        for child in children:
            child.finish()
        urls = {child.output().strip() for child in children}
        self.assertEqual(len(urls), 1, urls)
        server.stop()
        self.assertEqual(self.rows(server, urls.pop()), 4)


if __name__ == "__main__":
    main()
