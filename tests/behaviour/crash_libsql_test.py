"""P3 and P8 on a replica of a libSQL server: the application is killed on either side of all that it does there."""

import crash_attack
import crash_scenarios
import faults
import harness
import libsql_primary
import libsql_server
from crash_scenarios import Scenario, sync_if_possible
from crash_world import World


class CommitRestartsLog(Scenario):
    """Nothing is checkpointed before the server's own pages are here."""

    name = "commit that restarts the log"

    def prepare(self, run):
        run.connect()
        run.commit("pages")
        sync_if_possible(run.db)
        busy, frames, moved = run.db.execute("PRAGMA wal_checkpoint").fetchone()
        assert not busy and frames == moved

    def act(self, run):
        run.commit("small")


class CommitUponCommit(Scenario):
    """The second stands on pages that are not the server's."""

    name = "commit upon a commit"

    def prepare(self, run):
        run.connect()

    def act(self, run):
        run.commit("small")
        run.commit("small")


class PagesOfSeveralCommits(Scenario):
    """The server's take the place of ours, whose schema has other root pages."""

    name = "pages of several commits"

    def prepare(self, run):
        run.connect()
        run.commit("schema")
        run.commit("pages")
        run.commit("small")
        assert run.db.execute("PRAGMA wal_checkpoint").fetchone()[0] == 1, "they have come"

    def act(self, run):
        sync_if_possible(run.db)


class CommitWithoutAnswer(Scenario):
    """What became of it has to be asked."""

    name = "commit without an answer"

    def prepare(self, run):
        run.connect()
        run.world.primary.server().fault("lost-answer")

    def act(self, run):
        run.commit("small")


BESIDE_SQLD = [crash_scenarios.Commit("small"), crash_scenarios.Pull()]
BESIDE_FAKE = [
    *BESIDE_SQLD,
    crash_scenarios.Commit("schema"),
    crash_scenarios.CommitAfterOthers(),
    CommitUponCommit(),
    PagesOfSeveralCommits(),
    CommitRestartsLog(),
    CommitWithoutAnswer(),
]
if crash_attack.LONG:
    BESIDE_FAKE += [
        crash_scenarios.Commit("spill"),
        crash_scenarios.Bootstrap(),
        crash_scenarios.OpenAndClose(),
    ]


class LibsqlWorld(World):
    pipeline = "/v2/pipeline"
    kind = None

    def make_primary(self, _environment):
        return libsql_primary.LibsqlPrimary(self.kind, self.directory / "primary")


class FakeWorld(LibsqlWorld):
    kind = "fake_sqld"

    def verify(self, *arguments, **keywords):
        # The slot that died with the application: the server takes it back in time, and now is the time.
        self.primary.server().calm()
        self.primary.server().steal()
        return super().verify(*arguments, **keywords)


class SqldWorld(LibsqlWorld):
    kind = "sqld"


class AttackBesideFake(crash_attack.Attack):
    world_kind = FakeWorld
    everywhere = False


class AttackBesideSqld(crash_attack.Attack):
    world_kind = SqldWorld
    everywhere = False


class ApplicationKilled(harness.BehaviourTest):
    def test_nothing_is_lost_doubled_or_torn_wherever_the_application_is_killed(self):
        crash_attack.attack(self, "application", AttackBesideFake, BESIDE_FAKE)

    if libsql_server.SQLD:

        def test_nor_is_it_where_the_server_is_sqld(self):
            crash_attack.attack(self, "application", AttackBesideSqld, BESIDE_SQLD)


if __name__ == "__main__":
    faults.run_preloaded()
    harness.main()
