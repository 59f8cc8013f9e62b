"""What is attacked: each scenario says what is made ready, and what happens then, at every step of which somebody dies.

    prepare(run), act(run)   in the application's process (crash_world.Run); act is what is attacked
    act_at_primary(world)    in its place, where the primary stops; true if it lived through it
"""

import os
import sqlite3
import subprocess

import harness

FRAME = 24 + 4096
LONG_LOG = 1000  # Frames; kLongLog in src/replica/pull.cc.


class Scenario:
    name = ""
    victims = ("application", "primary")
    database = None  # The replica's name, where it is not the usual one.
    new_replica = False  # It is to be made: nothing is there before, and a URL is given when it is opened.
    environment = ()

    def prepare(self, run):
        pass

    def act(self, run):
        pass

    act_at_primary = None
    restarted_after = None  # "kill" or "stop": the primary ends so behind prepare(), and is started under attack.


class Commit(Scenario):
    """Behind frames that are there, so that the log grows."""

    def __init__(self, kind):
        self.name = f"commit, {kind}"
        self.kind = kind

    def prepare(self, run):
        run.connect()
        run.commit("small")

    def act(self, run):
        run.commit(self.kind)


class CommitRestartsLog(Scenario):
    name = "commit that restarts the log"

    def prepare(self, run):
        run.connect()
        run.commit("pages")
        run.db.execute("PRAGMA wal_checkpoint").fetchall()

    def act(self, run):
        run.commit("small")
        run.commit("small")


class Pull(Scenario):
    name = "pull"

    def prepare(self, run):
        run.connect()
        run.commit("small")
        run.commit_at_primary()

    def act(self, run):
        sync_if_possible(run.db)


class PullRestartsLog(Scenario):
    name = "pull that restarts the log"

    def prepare(self, run):
        run.connect()
        run.commit("small")
        run.db.execute("PRAGMA wal_checkpoint").fetchall()
        run.commit_at_primary()

    def act(self, run):
        sync_if_possible(run.db)


class PullThenCheckpoint(Scenario):
    """The log is long enough after it."""

    name = "pull with a checkpoint after it"

    def prepare(self, run):
        run.connect()
        wal = run.world.app / "app.db-wal"
        while wal.stat().st_size < (LONG_LOG - 1) * FRAME:
            # Many frames of few pages.
            run.commit("spill" if wal.stat().st_size < (LONG_LOG - 40) * FRAME else "small")
        run.commit_at_primary()

    def act(self, run):
        sync_if_possible(run.db)


class CommitAfterOthers(Scenario):
    """The pull is under the WRITE lock that the commit waits for."""

    name = "commit that catches up first"

    def prepare(self, run):
        run.connect()
        run.commit_at_primary()

    def act(self, run):
        run.commit("small")


class Checkpoint(Scenario):
    victims = ("application",)

    def __init__(self, synchronous):
        self.name = f"checkpoint, synchronous={synchronous}"
        self.synchronous = synchronous

    def prepare(self, run):
        run.connect()
        run.db.execute(f"PRAGMA synchronous={self.synchronous}")
        run.commit("pages")

    def act(self, run):
        for mode in ("PASSIVE", "RESTART", "TRUNCATE") if self.synchronous == "FULL" else ("PASSIVE",):
            run.db.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
            run.commit("small")


class Bootstrap(Scenario):
    name = "bootstrap"
    database = "new"
    new_replica = True

    def act(self, run):
        try:
            run.connect(run.world.url(), "new")
        except sqlite3.Error:
            return
        run.commit("small")


class OpenAndClose(Scenario):
    name = "opening and closing"

    def act(self, run):
        run.connect()
        run.commit("small")
        run.db.close()
        run.db = None


class Move(Scenario):
    name = "move to another URL"

    def prepare(self, run):
        run.connect()
        run.commit("small")
        self.url = run.db.execute("SELECT url FROM turso_status").fetchone()[0]
        run.db.close()
        run.db = None

    def act(self, run):
        here, there = "//127.0.0.1:", "//localhost:"
        other = (
            self.url.replace(here, there) if here in self.url else self.url.replace(there, here)
        )
        try:
            run.connect(other)
        except sqlite3.Error:
            return
        run.commit("small")


class Sql(Scenario):
    name = "SQL at the primary"
    victims = ("primary",)

    def prepare(self, run):
        run.connect()
        run.commit_at_primary("small")

    def act(self, run):
        run.commit_at_primary("pages")
        run.commit_at_primary("small")


class PrimaryRestartsLog(Scenario):
    """SQLite checkpoints the primary's log, and the next commit begins it anew."""

    victims = ("primary",)

    def __init__(self, by):
        self.name = f"primary's log restarted by {by}"
        self.by = by

    def prepare(self, run):
        run.connect()
        run.commit("small")
        run.commit_at_primary("pages")
        # Its calls count as the primary's.
        subprocess.run(
            ["sqlite3", run.world.database_file(), "SELECT count(*) FROM log; PRAGMA wal_checkpoint"],
            env=run.world.primary.environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def act(self, run):
        if self.by == "SQL":
            run.commit_at_primary("small")
        else:
            # In it the replica catches up.
            run.commit("small")
        run.commit("small")


class Creation(Scenario):
    """The primary makes the database when it is asked for it."""

    name = "creation at the primary"
    victims = ("primary",)
    number = 0

    def act(self, run):
        try:
            run.connect(run.world.url(f"made{run.world.next_name()}"), "made")
            run.db.execute("CREATE TABLE t(x)")
        except sqlite3.Error:
            pass
        if run.db is not None:
            run.db.close()
            run.db = None
        for path in run.world.app.glob("made*"):
            path.unlink()


class Compaction(Scenario):
    name = "compaction of the primary's log"
    victims = ("primary",)
    environment = (("TURSO_PRIMARY_TEST_LOG_BYTES_MAX", "1"),)

    def prepare(self, run):
        run.connect()
        log = run.world.primary.data / "main.db-log"
        commit_until_replaced(run, log)
        # It comes again at twice the size that it has now.
        compacted = os.stat(log).st_size
        run.commit("small")
        growth = os.stat(log).st_size - compacted
        while growth > 0 and os.stat(log).st_size + 2 * growth < 2 * compacted:
            run.commit("small")

    def act(self, run):
        commit_until_replaced(run, run.world.primary.data / "main.db-log", commits=8)
        run.commit("small")


def commit_until_replaced(run, file, commits=1000):
    before = os.stat(file).st_ino
    for _ in range(commits):
        run.commit("small")
        try:
            if os.stat(file).st_ino != before:
                return
        except FileNotFoundError:
            return  # After a power cut it is being laid out anew.


class CleanStop(Scenario):
    name = "clean stop of the primary"
    victims = ("primary",)

    def prepare(self, run):
        run.connect()
        run.commit("pages")

    @staticmethod
    def act_at_primary(world):
        world.primary.process.terminate()
        return world.primary_has_ended()


class Start(Scenario):
    """And the first question: before it, the database is not opened."""

    victims = ("primary",)

    def __init__(self, after):
        self.name = f"start of the primary after a {after}"
        self.restarted_after = after

    def prepare(self, run):
        run.connect()
        run.commit("pages")

    def act(self, run):
        sync_if_possible(run.db)
        run.commit("small")


def sync_if_possible(db):
    try:
        db.execute("SELECT turso_sync()").fetchone()
    except sqlite3.Error as error:
        if harness.error_code(error) is None:
            raise


OF_THE_APPLICATION = [
    Commit("small"),
    Commit("pages"),
    Commit("spill"),
    Commit("schema"),
    CommitRestartsLog(),
    CommitAfterOthers(),
    Pull(),
    PullRestartsLog(),
    PullThenCheckpoint(),
    Checkpoint("FULL"),
    Checkpoint("OFF"),
    Bootstrap(),
    OpenAndClose(),
    Move(),
]
OF_THE_PRIMARY = [
    Sql(),
    PrimaryRestartsLog("SQL"),
    PrimaryRestartsLog("a replica"),
    Creation(),
    Compaction(),
    CleanStop(),
    Start("kill"),
    Start("stop"),
]
EVERY = OF_THE_APPLICATION + OF_THE_PRIMARY
