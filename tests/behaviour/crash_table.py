"""The table that the crash tests print in the end."""

import time

HEADINGS = ("points", "outcomes", "states", "acknowledged", "lost", "doubled", "torn", "slowest", "seconds")


WIDTH = 38


class Row:
    def __init__(self):
        self.points = self.outcomes = self.states = self.acknowledged = 0
        self.lost = self.doubled = self.torn = 0
        self.slowest = 0.0
        self.start = time.monotonic()
        self.seconds = 0.0

    def count(self, wrong):
        self.lost += wrong["lost"]
        self.doubled += wrong["doubled"]
        self.torn += wrong["torn"]
        self.seconds = time.monotonic() - self.start


class Table:
    """Rows by name. `points` is how often somebody died, `slowest` the longest that it took until all was well again."""

    def __init__(self, title):
        self.title = title
        self.rows = {}

    def row(self, name):
        return self.rows.setdefault(name, Row())

    def print_row(self, name, row):
        values = (getattr(row, heading) for heading in HEADINGS)
        shown = (f"{v:12.2f}" if isinstance(v, float) else f"{v:12}" for v in values)
        print(f"{name:{WIDTH}}", *shown, flush=True)

    def print(self):
        print(f"\n{self.title:{WIDTH}}", *(f"{heading:>12}" for heading in HEADINGS))
        total = Row()
        for name, row in self.rows.items():
            self.print_row(name, row)
            for heading in HEADINGS:
                join = max if heading == "slowest" else lambda a, b: a + b
                setattr(total, heading, join(getattr(total, heading), getattr(row, heading)))
        self.print_row("all", total)
