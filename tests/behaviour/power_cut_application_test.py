"""P2 and P8: the power goes at any moment of what the application does (power_cut.py)."""

import crash_scenarios
import faults
import harness
import power_cut


class PowerCut(harness.BehaviourTest):
    def test_nothing_is_lost_doubled_or_torn_whenever_the_power_goes(self):
        power_cut.cut_power(self, crash_scenarios.OF_THE_APPLICATION)


if __name__ == "__main__":
    faults.run_preloaded()
    harness.main()
