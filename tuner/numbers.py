"""Numbers and texts that come from outside: of a kind that all that reads them can hold.

Options of commands, files and requests have the same bounds, which stand here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Numbers:
    """The whole numbers between two, or any numbers where the least is a float; both ends count."""

    low: float
    high: float

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int)

    def __contains__(self, value: object) -> bool:
        kinds = int if self.whole else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"a {'whole ' if self.whole else ''}number from {self.low:,} to {self.high:,}"


WHOLE = Numbers(-(2**53), 2**53)
"""Whole numbers that every reader of JSON keeps exactly."""
ANY = Numbers(-1e300, 1e300)
"""Numbers whose differences are finite too."""
INDEX = Numbers(0, 2**31 - 1)
"""Numbers of a trial, an epoch or a seed, as a column of the database holds them."""
TRIALS = Numbers(1, 100_000)
"""Trials of a study."""
FAILURES = Numbers(0, 1000)
NATS = Numbers(0.0, 1e6)
SECONDS = Numbers(0.0, 1e9)
TIMES = Numbers(0.0, 253402300799.0)
"""Unix seconds up to the year 9999, the last one that a date can have."""
COUNT = Numbers(1, 1_000_000)
"""Sentences, words or draws that a command writes."""
RUNS = Numbers(1, 1000)
"""Runs of a confirmation."""
PROCESSES = Numbers(0, 1024)
"""Workers, or a trainer's threads, on one machine."""
SOME = Numbers(1, 1024)
"""Workers, or a trainer's threads, where there must be at least one."""
PORTS = Numbers(1, 65535)
RATE = Numbers(0.0, 1e6)
"""Requests a second."""
STREAMS = Numbers(0, 1_000_000)
POINTS = Numbers(2, 10_000)
"""Points on a line between two codes."""
GIBIBYTES = Numbers(0.0, 1e6)
GIB = 2**30
"""Bytes of a GiB."""
WORK_SECONDS = Numbers(1.0, 1e6)
WORK_MEMORY = Numbers(0.5, 1e6)
"""GiB of memory for the server's work; less starts no process."""
FACTOR = Numbers(0.0, 1e6)
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def is_storable(value: object) -> bool:
    """True if databases and terminals can keep all texts of a JSON value: none has a NUL or half of a surrogate pair."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str) and UNSTORABLE.search(one):
            return False
        if isinstance(one, Mapping):
            left += [*one, *one.values()]
        elif isinstance(one, (list, tuple)):
            left += one
    return True


def storable(text: str) -> str:
    """The text.

    Raises:
        ValueError: if it is not `is_storable`.
    """
    if not is_storable(text):
        raise ValueError("a text without NUL and halves of surrogate pairs")
    return text


def is_plain(value: object) -> bool:
    """True if the value is a text, a truth value, or a number that can be used: only such may be a setting or a choice."""
    return isinstance(value, (str, bool)) or value in WHOLE or (isinstance(value, float) and value in ANY)


def counted(count: int, noun: str) -> str:
    """`1 trial` or `2 trials`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
