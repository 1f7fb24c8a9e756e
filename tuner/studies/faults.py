"""Faults of one study: what a worker meets in its sampler, its store or its record makes that study wait, and no other.

The worker looks at the study again after a while, longer each time. After so many faults in a row, of all workers together, while
nobody trains the study, it is `broken` and says why; `tuner resume` clears that.
"""

import random
import time
import traceback
from collections.abc import Collection
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from tuner.errors import Fault, Usage
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow, TrialRow, revise

LIMIT = 8
"""Number of faults in a row after which a study is broken: two minutes at the least."""
FIRST_SECONDS, LONGEST_SECONDS = 1.0, 60.0
"""Seconds of the first wait, and of the longest; each wait is twice the last one."""
DOUBLINGS = 60
"""Largest number of times that a wait is doubled, long after it is the longest: powers of two end in an overflow."""
LONGEST_MESSAGE = 500
"""Largest number of characters of a message."""


def pause(count: int) -> float:
    """Seconds to wait after so many faults in a row."""
    return min(FIRST_SECONDS * 2.0 ** min(count - 1, DOUBLINGS), LONGEST_SECONDS) if count else 0.0


def sentence(error: BaseException) -> str:
    """A line that tells of an error: our own errors' text; of any other, its kind, its text and the place where it was
    raised.
    """
    if isinstance(error, (Fault, Usage)):
        said = str(error)
    else:
        frames = traceback.extract_tb(error.__traceback__)
        where = f" at {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
        said = f"{type(error).__name__}: {error}{where}."
    return " ".join(said.split())[:LONGEST_MESSAGE]


class Waits:
    """The studies that one worker leaves alone for a while."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._until: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def is_over(self, name: str) -> bool:
        """True if the worker may look at the study again."""
        return time.monotonic() >= self._until.get(name, 0.0)

    def extend(self, name: str) -> float:
        """Counts one more fault of the study; returns the seconds to wait."""
        self._counts[name] = self._counts.get(name, 0) + 1
        seconds = pause(self._counts[name]) * random.uniform(1.0, 1.2)  # not all workers at once
        self._until[name] = time.monotonic() + seconds
        return seconds

    def end(self, name: str) -> None:
        """Forgets the faults of a study that is well."""
        self._counts.pop(name, None)
        self._until.pop(name, None)

    def keep(self, names: Collection[str]) -> None:
        """Forgets all others: studies that are stopped, or gone."""
        for name in self._counts.keys() - names:
            self.end(name)


def tell(database: Database, name: str, message: str) -> bool:
    """Counts a fault of an active study, which is broken after `LIMIT` in a row; returns whether there is such a study.

    Of workers that meet a fault at the same time, one counts. While a trial is under way somewhere the study is not broken: the
    fault may be one machine's.
    """
    mine = StudyRow.name == name

    def count(session: Session) -> bool:
        now = database.clock(session)
        known = select(StudyRow.state, StudyRow.faults, StudyRow.faulted_at).where(mine).with_for_update(key_share=True)
        row = session.execute(known).first()
        if row is None or row.state != "active":
            return False
        new = now >= row.faulted_at + pause(row.faults)
        faults = row.faults + new
        live = (TrialRow.study == name, TrialRow.state == "running", TrialRow.lease_until > now)
        changed: dict[str, Any] = {"faults": faults, "faulted_at": now if new else row.faulted_at}
        if faults >= LIMIT and not session.execute(select(func.count()).where(*live)).scalar_one():
            changed |= {"state": "broken", "why": f"{faults} faults in a row, the last: {message}", "faults": 0}
        else:
            changed["why"] = f"waiting after a fault ({faults} in a row, {LIMIT} break it): {message}"
        session.execute(update(StudyRow).where(mine).values(**changed))
        revise(session, name)
        return True

    return database.run(count)


def clear(session: Session, name: str) -> None:
    """Forgets a study's faults, as one of its trials has come to an end of its own. The caller calls `revise`."""
    well = update(StudyRow).where(StudyRow.name == name, StudyRow.faults > 0, StudyRow.state == "active")
    session.execute(well.values(faults=0, why=None))
