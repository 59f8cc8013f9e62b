"""What must be in the database at the end of a round, by what its writers noted, and what is."""

import pathlib
import sys
from dataclasses import dataclass, field

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "behaviour"))
from list_append import Transaction, anomalies  # noqa: E402

import soak_board as boards  # noqa: E402
import soak_schema as schema  # noqa: E402


@dataclass
class Tally:
    """Of a round, or of all."""

    transactions: int = 0
    acknowledged: int = 0
    failed_at_commit: int = 0
    refused: dict = field(default_factory=dict)  # By code, before or at the commit.
    outslept: int = 0  # Its process was stopped in it for longer than a lease lasts.
    unknown_committed: int = 0
    unknown_not: int = 0
    lost: int = 0
    doubled: int = 0
    torn: int = 0
    violations: int = 0

    def add(self, other):
        for name, value in vars(other).items():
            if name == "refused":
                for code, count in value.items():
                    self.refused[code] = self.refused.get(code, 0) + count
            else:
                setattr(self, name, getattr(self, name) + value)

    def found(self):
        return self.lost + self.doubled + self.torn + self.violations


class Round:
    """The notes of a round, and their comparison with the primary's database."""

    def __init__(self):
        self.outcomes = {}  # (name, number): "ok", "failed", "unknown"
        self.history = []
        self.sentences = []
        self.tally = Tally()

    def read(self, note_paths):
        """Oldest first."""
        pending = {}
        for path in note_paths:
            for kind, *rest in boards.read_notes(path):
                if kind == "try":
                    self._tried(pending, *rest)
                elif kind == "end":
                    self._ended(pending, *rest)
                elif kind == "stopped":
                    self.tally.outslept += 1
                elif kind == "refused":
                    self.tally.refused[rest[0]] = self.tally.refused.get(rest[0], 0) + 1
                else:
                    self.tally.violations += 1
                    self.sentences.append(f"{rest[0]}/{rest[1]}: {rest[2]}")

    def _tried(self, pending, name, number, _kind, operations):
        self.tally.transactions += 1
        self.outcomes[name, number] = "unknown"
        if operations:
            transaction = Transaction(name, [tuple(each) for each in operations], "unknown")
            pending[name, number] = transaction
            self.history.append(transaction)

    def _ended(self, pending, name, number, outcome):
        self.outcomes[name, number] = outcome
        if outcome == "ok":
            self.tally.acknowledged += 1
        elif outcome == "failed":
            self.tally.failed_at_commit += 1
        if (name, number) in pending:
            pending[name, number].outcome = outcome

    def judge(self, db):
        """`db`: a copy of the primary's database."""
        marks = {}
        for name, number in db.execute("SELECT slot, number FROM marks"):
            marks[name, number] = marks.get((name, number), 0) + 1
        self._judge_outcomes(marks)
        for sentence in schema.violations(db, whole=True):
            self.say("torn" if sentence.startswith("torn") else "violations", sentence)
        self._judge_counters(db, marks)
        final = {key: items.split() for key, items in db.execute("SELECT key, items FROM lists")}
        for sentence in anomalies(self.history, final):
            self.say("violations", sentence)
        for (check,) in db.execute("PRAGMA integrity_check"):
            if check != "ok":
                self.say("violations", f"integrity_check at the primary: {check}")

    def say(self, kind, sentence):
        setattr(self.tally, kind, getattr(self.tally, kind) + 1)
        self.sentences.append(sentence)

    def _judge_outcomes(self, marks):
        for (name, number), outcome in self.outcomes.items():
            there = marks.get((name, number), 0)
            if outcome == "ok" and there == 0:
                self.say("lost", f"lost: {name}/{number} was acknowledged")
            elif outcome == "failed" and there != 0:
                self.say("doubled", f"{name}/{number} was refused, and is there {there} times")
            elif outcome == "unknown" and there != 0:
                self.tally.unknown_committed += 1
            elif outcome == "unknown":
                self.tally.unknown_not += 1
            if there > 1:
                self.say("doubled", f"doubled: {name}/{number} is there {there} times")
        for name, number in marks:
            if (name, number) not in self.outcomes:
                self.say("violations", f"{name}/{number} is there and was never committed")

    def _judge_counters(self, db, marks):
        counted = {}
        for name, _number in marks:
            counted[name] = counted.get(name, 0) + marks[name, _number]
        for name, count in db.execute("SELECT slot, count FROM counters"):
            if count != counted.get(name, 0):
                self.say(
                    "violations",
                    f"{name} is counted {count} times and has {counted.get(name, 0)} marks",
                )
