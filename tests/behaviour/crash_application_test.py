"""P8: the application is killed at every step of everything it does (crash_attack.py)."""

import crash_attack
import faults
import harness


class ApplicationKilled(harness.BehaviourTest):
    def test_nothing_is_lost_doubled_or_torn_wherever_the_application_is_killed(self):
        crash_attack.attack(self, "application")


if __name__ == "__main__":
    faults.run_preloaded()
    harness.main()
