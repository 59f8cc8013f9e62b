"""P2 and P8: the primary's machine loses its power at every step, and the application lives on (crash_attack.py)."""

import crash_attack
import faults
import harness


class PrimaryWithoutPower(harness.BehaviourTest):
    def test_nothing_is_lost_doubled_or_torn_when_the_application_outlives_a_power_cut_of_the_primary(self):
        crash_attack.attack(self, "primary", crash_attack.AttackWithPowerCut)


if __name__ == "__main__":
    faults.run_preloaded()
    harness.main()
