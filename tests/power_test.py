"""tests/behaviour/power.py knows what a disk may look like after a power cut: what was synced, always; what was not, in
every way that a test tries."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "behaviour"))

import faults  # noqa: E402
import power  # noqa: E402

PROGRAM = """
import os, sys
os.chdir(sys.argv[1])
directory = os.open(".", os.O_RDONLY)
a = os.open("a", os.O_RDWR | os.O_CREAT, 0o600)
b = os.open("b", os.O_RDWR | os.O_CREAT, 0o600)
"""


class PowerCut(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="turso-power-")
        self.addCleanup(temporary.cleanup)
        self.directory = pathlib.Path(temporary.name).resolve()
        self.data = self.directory / "data"
        self.data.mkdir()

    def outcomes(self, deeds, every=False):
        """Of a cut after these deeds: the contents of the files, by the outcome's name."""
        control = faults.Control(self.directory / "control")
        record = self.directory / "record"
        control.arm(self.data, f"record {record}")
        disk = power.Disk(self.data)
        subprocess.run(
            [sys.executable, "-c", PROGRAM + deeds, self.data],
            env=faults.preloaded(control),
            check=True,
        )
        for event in power.events(record.read_bytes()):
            disk.take(event)
        return {
            name: {os.path.basename(path): image.data for path, image in files.items()}
            for name, files in disk.outcomes(every)
        }

    def test_without_a_sync_all_may_be_gone_or_there(self):
        found = self.outcomes("os.pwrite(a, b'one', 0)")
        self.assertEqual({}, found["nothing unsynced kept"])
        self.assertEqual({"a": b"one", "b": b""}, found["all kept"])
        self.assertEqual({"a": b"", "b": b""}, found["names kept"])

    def test_a_synced_file_has_its_bytes_and_its_name_only_if_the_directory_was_synced(self):
        found = self.outcomes("os.pwrite(a, b'one', 0); os.fsync(a)")
        self.assertEqual({}, found["nothing unsynced kept"])
        self.assertEqual({"a": b"one", "b": b""}, found["names kept"])
        found = self.outcomes("os.fsync(directory); os.fsync(a); os.pwrite(a, b'two', 3)")
        self.assertEqual({"a": b"one", "b": b""}, found["nothing unsynced kept"])
        self.assertNotIn("names kept", found)

    def test_one_of_two_files_may_be_written_before_the_other(self):
        found = self.outcomes("os.fsync(directory); os.pwrite(a, b'A', 0); os.pwrite(b, b'B', 0)")
        self.assertEqual({"a": b"A", "b": b""}, found["a kept"])
        self.assertEqual({"a": b"", "b": b"B"}, found["a lost"])

    def test_a_rename_is_there_whole_or_not_at_all(self):
        found = self.outcomes("os.pwrite(a, b'A', 0); os.fsync(a); os.fsync(directory); os.rename('a', 'b')")
        self.assertEqual({"a": b"A", "b": b""}, found["nothing unsynced kept"])
        self.assertEqual({"b": b"A"}, found["names kept"])

    def test_a_write_may_be_torn_or_come_before_an_earlier_one(self):
        deeds = "os.fsync(directory); os.pwrite(a, b'1' * 1024, 0); os.pwrite(a, b'2' * 1024, 1024)"
        found = self.outcomes(deeds, every=True)
        self.assertEqual(b"1" * 1024 + b"2" * 512, found["a torn, others kept"]["a"])
        self.assertEqual(bytes(1024) + b"2" * 1024, found["a out of order"]["a"])
        self.assertEqual(b"1" * 1024, found["a only 1 writes"]["a"])

    def test_the_time_of_the_last_change_is_kept_by_fsync_and_by_fdatasync_only_with_the_size(self):
        def times(deeds):
            control = faults.Control(self.directory / "control")
            record = self.directory / "record"
            record.unlink(missing_ok=True)
            control.arm(self.data, f"record {record}")
            disk = power.Disk(self.data)
            command = [sys.executable, "-c", PROGRAM + deeds, self.data]
            subprocess.run(command, env=faults.preloaded(control), check=True)
            for event in power.events(record.read_bytes()):
                disk.take(event)
            file = disk.names[str(self.data / "a")]
            return file.synced.time == file.time

        self.assertTrue(times("os.pwrite(a, b'x', 0); os.fdatasync(a)"))
        self.assertFalse(times("os.pwrite(a, b'y', 0); os.fdatasync(a)"))
        self.assertTrue(times("os.pwrite(a, b'z', 0); os.fsync(a)"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
