"""P2 and P8: the primary is killed at every step of everything it does (crash_attack.py)."""

import crash_attack
import faults
import harness


class PrimaryKilled(harness.BehaviourTest):
    def test_nothing_is_lost_doubled_or_torn_wherever_the_primary_is_killed(self):
        crash_attack.attack(self, "primary")


if __name__ == "__main__":
    faults.run_preloaded()
    harness.main()
