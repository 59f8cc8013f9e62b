"""The checker of list-append histories finds each planted anomaly, and nothing in serial histories."""

import random
import unittest

from harness import main, seeded_random
from list_append import Transaction, anomalies


def append(key, value):
    return ("append", key, value)


def read(key, *values):
    return ("read", key, list(values))


def transaction(*operations, process=None, outcome="ok"):
    transaction.count += 1
    return Transaction(process or f"p{transaction.count}", list(operations), outcome)


transaction.count = 0


class SerialHistories(unittest.TestCase):
    def test_a_history_in_order_is_serializable(self):
        history = [
            transaction(append("x", 1)),
            transaction(read("x", 1), append("x", 2), append("y", 1)),
            transaction(read("x", 1, 2), read("y", 1)),
        ]
        self.assertEqual([], anomalies(history, {"x": [1, 2], "y": [1]}))

    def test_a_stale_read_only_transaction_is_serializable(self):
        history = [
            transaction(append("x", 1)),
            transaction(append("y", 1)),
            transaction(read("x"), read("y")),
        ]
        self.assertEqual([], anomalies(history, {"x": [1], "y": [1]}))

    def test_an_unknown_outcome_may_have_happened_or_not(self):
        for final in ({"x": [1, 2]}, {"x": [1]}):
            history = [
                transaction(append("x", 1)),
                transaction(read("x", 1), append("x", 2), outcome="unknown"),
            ]
            self.assertEqual([], anomalies(history, final))

    def test_a_transaction_that_failed_and_left_nothing_is_fine(self):
        history = [transaction(append("x", 1)), transaction(append("x", 2), outcome="failed")]
        self.assertEqual([], anomalies(history, {"x": [1]}))

    def test_own_appends_are_part_of_later_reads(self):
        history = [
            transaction(append("x", 1)),
            transaction(
                read("x", 1), append("x", 2), read("x", 1, 2), append("x", 3), read("x", 1, 2, 3)
            ),
        ]
        self.assertEqual([], anomalies(history, {"x": [1, 2, 3]}))

    def test_random_serial_histories_are_serializable(self):
        generator = seeded_random("random serial histories")
        for _ in range(50):
            history, final = random_serial_history(generator)
            self.assertEqual([], anomalies(history, final))


class PlantedAnomalies(unittest.TestCase):
    def assert_found(self, fragment, history, final):
        found = anomalies(history, final)
        self.assertTrue(any(fragment in text for text in found), f"{fragment} is not in {found}")

    def test_lost_update_where_both_are_kept(self):
        history = [
            transaction(append("x", 1)),
            transaction(read("x", 1), append("x", 2)),
            transaction(read("x", 1), append("x", 3)),
        ]
        self.assert_found("G-single", history, {"x": [1, 2, 3]})

    def test_lost_update_where_one_is_gone(self):
        history = [
            transaction(append("x", 1)),
            transaction(read("x", 1), append("x", 2)),
            transaction(read("x", 1), append("x", 3)),
        ]
        self.assert_found("lost", history, {"x": [1, 3]})

    def test_write_skew(self):
        history = [
            transaction(append("x", 1), append("y", 1)),
            transaction(read("x", 1), read("y", 1), append("x", 2)),
            transaction(read("x", 1), read("y", 1), append("y", 2)),
        ]
        self.assert_found("G2", history, {"x": [1, 2], "y": [1, 2]})

    def test_dirty_read(self):
        history = [transaction(append("x", 1), outcome="failed"), transaction(read("x", 1))]
        self.assert_found("G1a", history, {})

    def test_failed_transaction_that_happened(self):
        history = [transaction(append("x", 1), outcome="failed")]
        self.assert_found("was told that it failed", history, {"x": [1]})

    def test_intermediate_read(self):
        history = [transaction(append("x", 1), append("x", 2)), transaction(read("x", 1))]
        self.assert_found("G1b", history, {"x": [1, 2]})

    def test_read_skew(self):
        history = [
            transaction(append("x", 1), append("y", 1)),
            transaction(read("x", 1), read("y")),
        ]
        self.assert_found("G-single", history, {"x": [1], "y": [1]})

    def test_write_cycle(self):
        history = [
            transaction(append("x", 1), append("y", 1)),
            transaction(append("x", 2), append("y", 2)),
        ]
        self.assert_found("G0", history, {"x": [1, 2], "y": [2, 1]})

    def test_circular_information_flow(self):
        history = [
            transaction(append("x", 1), read("y", 1)),
            transaction(append("y", 1), read("x", 1)),
        ]
        self.assert_found("G1c", history, {"x": [1], "y": [1]})

    def test_long_fork(self):
        history = [
            transaction(append("x", 1)),
            transaction(append("y", 1)),
            transaction(read("x", 1), read("y")),
            transaction(read("x"), read("y", 1)),
        ]
        self.assert_found("G2", history, {"x": [1], "y": [1]})

    def test_a_process_that_goes_back_in_time(self):
        history = [
            transaction(append("x", 1)),
            transaction(read("x", 1), process="p"),
            transaction(read("x"), process="p"),
        ]
        self.assert_found("-so->", history, {"x": [1]})

    def test_own_append_not_seen(self):
        history = [transaction(append("x", 1), read("x"))]
        self.assert_found("does not see its own", history, {"x": [1]})

    def test_unrepeatable_read(self):
        history = [transaction(append("x", 1)), transaction(read("x"), read("x", 1))]
        self.assert_found("twice and differently", history, {"x": [1]})

    def test_a_value_applied_twice(self):
        self.assert_found("twice", [transaction(append("x", 1))], {"x": [1, 1]})

    def test_a_value_from_nowhere(self):
        self.assert_found("nobody", [transaction(append("x", 1))], {"x": [1, 9]})

    def test_half_a_transaction_of_unknown_outcome(self):
        history = [transaction(append("x", 1), append("y", 1), outcome="unknown")]
        self.assert_found("torn", history, {"x": [1]})

    def test_orders_that_disagree(self):
        history = [
            transaction(append("x", 1)),
            transaction(append("x", 2)),
            transaction(read("x", 2)),
        ]
        self.assert_found("no beginning", history, {"x": [1, 2]})

    def test_one_lost_update_in_a_long_random_history(self):
        generator = seeded_random("one lost update")
        planted = 0
        for _ in range(50):
            history, final = random_serial_history(generator)
            if plant_lost_update(history):
                planted += 1
                self.assertNotEqual([], anomalies(history, final))
        self.assertGreater(planted, 25)


def plant_lost_update(history):
    """One transaction that reads a list and then appends to it gets to miss the last version before it."""
    for reader in reversed(history):
        for index, (kind, key, value) in enumerate(reader.operations):
            before = [
                k for kind_before, k, _ in reader.operations[:index] if kind_before == "append"
            ]
            after = [k for kind_after, k, _ in reader.operations[index:] if kind_after == "append"]
            if kind == "read" and value and key in after and key not in before:
                reader.operations[index] = (kind, key, value[:-1])
                return True
    return False


def random_serial_history(generator: random.Random):
    lists, history, value = {}, [], 0
    for _ in range(200):
        operations = []
        for _ in range(generator.randint(1, 4)):
            key = generator.randrange(4)
            if generator.random() < 0.5:
                value += 1
                lists.setdefault(key, []).append(value)
                operations.append(append(key, value))
            else:
                operations.append(read(key, *lists.get(key, [])))
        history.append(Transaction(f"p{generator.randrange(3)}", operations))
    return history, lists


if __name__ == "__main__":
    main()
