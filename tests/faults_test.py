"""libturso_faults.so does what tests/support/faults/plan.h says, to SQLite's shell: else the tests that stand on it
would prove nothing."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "behaviour"))

import faults  # noqa: E402

TABLE = "PRAGMA journal_mode=wal; CREATE TABLE t(x);"
INSERT = "INSERT INTO t VALUES (randomblob(9000)); SELECT 'done';"


class Faults(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="turso-faults-")
        self.addCleanup(temporary.cleanup)
        self.directory = pathlib.Path(temporary.name).resolve()
        self.data = self.directory / "data"
        self.data.mkdir()
        self.log = self.directory / "log"
        self.control = faults.Control(self.directory / "control")
        self.assertEqual(0, self.sqlite3(TABLE).returncode)

    def sqlite3(self, sql):
        return subprocess.run(
            ["sqlite3", self.data / "a.db", sql],
            env=faults.preloaded(self.control),
            capture_output=True,
            text=True,
            check=False,
        )

    def attack(self, *lines, sql=INSERT):
        self.log.unlink(missing_ok=True)
        self.control.arm(self.data, f"log {self.log}", *lines)
        ended = self.sqlite3(sql)
        self.control.disarm()
        return ended

    def rows(self):
        return int(self.sqlite3("SELECT count(*) FROM t").stdout)

    def test_every_call_of_sqlite_on_the_directory_has_a_name_and_no_other_call_has(self):
        (self.directory / "elsewhere").write_text("")
        ended = self.attack(sql=f"SELECT length(readfile('{self.directory}/elsewhere')); {INSERT}")
        self.assertIn("done", ended.stdout)
        names = faults.points(self.log)
        expected = ["open a.db", "lock a.db-shm", "mmap a.db-shm", "pwrite a.db-wal", "fdatasync a.db-wal"]
        for name in [*expected, "pread a.db", "unlock a.db-shm", "fdatasync .", "unlink a.db-wal"]:
            self.assertIn(name, names)
        self.assertFalse([name for name in names if "elsewhere" in name])

    def test_nothing_is_counted_without_a_plan(self):
        self.attack()
        before = self.log.read_text()
        self.sqlite3(INSERT)
        self.assertEqual(before, self.log.read_text())

    def test_a_process_dies_before_or_after_the_call_that_is_named(self):
        for when, size in (("before", 0), ("after", 24)):
            ended = self.attack(f"kill {when} 2 pwrite a.db-wal")
            self.assertEqual(-signal.SIGKILL, ended.returncode)
            # The first one writes the header of the log, which is 32 bytes long.
            self.assertEqual(32 + size, (self.data / "a.db-wal").stat().st_size)
            self.assertEqual(0, self.rows())

    def test_every_point_can_be_died_at_and_a_number_behind_the_last_changes_nothing(self):
        self.attack()
        last = len(faults.points(self.log))
        self.assertEqual(1, self.rows())
        for number in range(1, last + 20):
            ended = self.attack(f"kill before {number}", sql="UPDATE t SET x = x")
            count = len(faults.points(self.log))
            if ended.returncode == 0:
                self.assertLess(count, number)
                break
            self.assertEqual((-signal.SIGKILL, number), (ended.returncode, count))
        else:
            self.fail("it never came to its end")

    def test_a_call_fails_once_or_from_then_on(self):
        ended = self.attack("fail EIO 1 fdatasync a.db-wal")
        self.assertIn("disk I/O error", ended.stderr)
        self.assertEqual(0, self.rows())
        ended = self.attack("fail EIO 1+ fdatasync*", sql=f"{INSERT} {INSERT}")
        self.assertNotIn("done", ended.stdout)
        self.assertIn("done", self.attack("fail EIO 1000 *").stdout)
        self.assertEqual(1, self.rows())

    def test_a_full_disk_takes_half_a_write(self):
        ended = self.attack("partial ENOSPC 3 pwrite a.db-wal")
        self.assertIn("full", ended.stderr)
        self.assertIn("done", self.sqlite3(INSERT).stdout)
        self.assertEqual(1, self.rows())

    def test_memory_runs_out_only_if_asked_for(self):
        self.assertNotIn("malloc", self.attack() and faults.points(self.log))
        ended = self.attack("count memory", "fail ENOMEM 1+ *alloc")
        self.assertNotIn("done", ended.stdout)

    def test_a_record_holds_all_that_was_done_to_the_files(self):
        record = self.directory / "record"
        self.attack(f"record {record}", sql=f"{INSERT} {INSERT}")
        replayed, names = replay(record.read_bytes())
        database = str(self.data / "a.db")
        self.assertEqual((self.data / "a.db").read_bytes(), bytes(replayed[names[database]]))
        self.assertEqual([database], sorted(name for name in names if os.path.exists(name)))
        self.assertFalse((self.data / "a.db-wal").exists())
        self.assertNotIn(str(self.data / "a.db-wal"), names)

    def test_the_boot_id_is_what_the_plan_says(self):
        command = [sys.executable, "-c", "import os; print(os.read(os.open('/proc/sys/kernel/random/boot_id', 0), 99))"]
        environment = faults.preloaded(self.control)
        self.control.arm(self.data, "boot another")
        told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        self.assertEqual("b'another'", told.stdout.strip())


def replay(record):
    """The contents of the files that a record names, by inode, and the inode of each name."""
    contents, names, at = {}, {}, 0
    while at < len(record):
        end = record.index(b"\n", at)
        kind, *words = record[at:end].decode().split(" ")
        at = end + 1
        if kind == "create":
            names[words[1]] = words[0]
            contents[words[0]] = bytearray()
        elif kind == "write":
            inode, offset, length = words[0], int(words[1]), int(words[2])
            names[words[3]] = inode
            content = contents.setdefault(inode, bytearray())
            content.extend(bytes(max(0, offset + length - len(content))))
            content[offset : offset + length] = record[at : at + length]
            at += length + 1
        elif kind == "size":
            content = contents.setdefault(words[0], bytearray())
            content.extend(bytes(max(0, int(words[1]) - len(content))))
            del content[int(words[1]) :]
        elif kind == "unlink":
            names.pop(words[0], None)
    return contents, names


if __name__ == "__main__":
    unittest.main(verbosity=2)
