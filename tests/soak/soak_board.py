"""What the processes of a soak tell each other, in files that survive a kill -9.

A Board is a mapped file of a replica: a word for the command, then four words for each slot. A slot is one writing
thread of one process of the replica; who is started in place of a killed one goes on with its slots.

    tried   number of its newest transaction, written before anything is done for it
    acked   number of its newest transaction whose COMMIT said OK
    idle    1 while it does nothing, as it was told to

A Notebook is a thread's log of what it tried and what it was told: a line of JSON each, one write each.
"""

import json
import mmap
import os

RUN, PAUSE, QUIT = 0, 1, 2
_WORDS_OF_SLOT = 4
_TRIED, _ACKED, _IDLE = 0, 1, 2


class Board:
    def __init__(self, path, slots):
        self.slots = slots
        size = 8 * (1 + _WORDS_OF_SLOT * slots)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if os.fstat(descriptor).st_size < size:
            os.ftruncate(descriptor, size)
        self.map = mmap.mmap(descriptor, size)
        os.close(descriptor)
        self.words = memoryview(self.map).cast("q")

    def _word(self, slot, which):
        return 1 + _WORDS_OF_SLOT * slot + which

    def command(self):
        return self.words[0]

    def tell(self, command):
        self.words[0] = command

    def tried(self, slot):
        return self.words[self._word(slot, _TRIED)]

    def acked(self, slot):
        return self.words[self._word(slot, _ACKED)]

    def next_number(self, slot):
        number = self.tried(slot) + 1
        self.words[self._word(slot, _TRIED)] = number
        return number

    def acknowledge(self, slot, number):
        self.words[self._word(slot, _ACKED)] = number

    def all_acked(self):
        return [self.acked(slot) for slot in range(self.slots)]

    def set_idle(self, slot, idle):
        self.words[self._word(slot, _IDLE)] = 1 if idle else 0

    def is_idle(self, slot):
        return self.words[self._word(slot, _IDLE)] == 1


class Notebook:
    """Closed and begun anew for each round, so that no file grows for ever."""

    def __init__(self, path):
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, *line):
        os.write(self.descriptor, (json.dumps(line) + "\n").encode())

    def close(self):
        os.close(self.descriptor)


def read_notes(path):
    """Whole lines only: the last one of a killed process may be cut."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)
