"""Files that a study's trials have published in its store."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update

from trainers.contract import LOG, SAMPLES
from tuner.errors import Fault, Missing, Usage
from tuner.storage import locations
from tuner.storage.artifacts import MANIFEST, Store
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow, TrialRow, revise

LOG_BYTES = 65_536
"""Bytes of a log that are shown, from its end."""


class Published:
    """The newest files of a study's trials.

    Args:
        place: address of their store, as `locations` wrote it.
    """

    def __init__(self, database: Database, study: str, place: str) -> None:
        self.database, self.study = database, study
        self._place = locations.found(database, place)

    @cached_property
    def store(self) -> Store:
        """
        Raises:
            Usage: if this machine lacks what reaches it.
        """
        return Store(self._place)

    def folder(self, number: int, cache: Path) -> Path:
        """A folder with a trial's files, which are checked.

        Raises:
            Usage: if there is no such trial, or it has none yet.
        """
        run = f"{self.study}/{number}"
        row = self._row(number)
        if row is None:
            raise Usage(f"run {run!r} does not exist: study {self.study!r} has {self._count()} trials, from 0 on.")
        if row.artifacts is None:
            raise Usage(f"run {run!r} has saved nothing yet: its trial is {row.state}.")
        self.check()
        return self.store.folder(row.artifacts, cache)

    def check(self) -> None:
        """
        Raises:
            Fault: if files have been published, and are gone with their folder.
        """
        if self.store.local and not Path(self.store.address).is_dir() and self._generations():
            raise Fault(
                f"the files of study {self.study!r} were in {self.store.address}, which is gone: put it back, or say where it "
                f"is with `tuner relocate {self.study} FOLDER`."
            )

    def _generations(self) -> list[str]:
        """Places in the store, one a trial that has published."""
        query = select(TrialRow.artifacts).where(TrialRow.study == self.study, TrialRow.artifacts.is_not(None))
        return [place for place in self.database.read(lambda s: s.scalars(query).all()) if place is not None]

    def _count(self) -> int:
        mine = select(func.count()).where(TrialRow.study == self.study)
        return self.database.read(lambda session: session.execute(mine).scalar_one())

    def remove(self) -> None:
        """Removes the trials' files from the store.

        Raises:
            OSError: if they cannot be removed.
        """
        self.store.clear(self._count())

    def relocate(self, address: str) -> None:
        """Has the files looked for elsewhere from now on.

        Raises:
            Usage: if they are not there.
        """
        generations = self._generations()
        if not generations:
            raise Usage(
                f"study {self.study!r} has no files yet, so there are none in {address!r}: let a trial begin first."
            )
        place = locations.named(self.database, address)
        there = Store(locations.found(self.database, place))
        missing = next((p for p in generations if there.read(f"{p}/{MANIFEST}") is None), None)
        if missing is not None or (there.local and not Path(there.address).is_dir()):
            lacks = f": it has no {missing}" if missing else ""
            raise Usage(f"{address} does not hold the files of study {self.study!r}{lacks}.")

        def change(session: Any) -> None:
            session.execute(update(StudyRow).where(StudyRow.name == self.study).values(folder=place))
            revise(session, self.study)

        self.database.run(change)
        self.store = there

    def read(self, number: int, file: str, last: int | None = None) -> bytes | None:
        """One file of a trial; none if it has not been published.

        Args:
            last: so many bytes of it at most, from its end.

        Raises:
            Missing: if there is no such trial.
        """
        row = self._row(number)
        if row is None:
            raise Missing(f"study {self.study!r} has no trial {number}: list its trials first.")
        return None if row.artifacts is None else self.store.read(f"{row.artifacts}/{file}", last)

    def _row(self, number: int) -> TrialRow | None:
        return self.database.read(lambda session: session.get(TrialRow, (self.study, number)))

    def samples(self, number: int) -> dict[str, Any] | None:
        """Texts that a complete trial's model wrote (`trainers.gallery`); none if it has written nothing.

        Raises:
            Fault: if the file holds something else.
        """
        content = self.read(number, SAMPLES)
        try:
            return None if content is None else dict(json.loads(content))
        except (ValueError, TypeError, RecursionError):
            raise Fault(
                f"{SAMPLES} of trial {number} of study {self.study!r} is not what its model wrote: `tuner reproduce "
                f"{self.study}/{number}` trains it anew."
            ) from None

    def log(self, number: int, size: int = LOG_BYTES) -> str:
        """The last so many bytes of the last attempt's log, whole lines.

        Raises:
            Missing: if there is no such trial, no attempt of it has ended, or a bundle has left its log out.
        """
        content = self.read(number, LOG, size + 1)  # one more tells whether there is more
        if content is None:
            row = self._row(number)
            is_left_out = row is not None and row.artifacts is not None and row.ended_at is not None
            why = "the bundle that it came in left it out" if is_left_out else "it comes with an attempt's end"
            raise Missing(f"trial {number} of study {self.study!r} has no log: {why}.")
        end = content[-size:]
        return end[end.find(b"\n") + 1 if len(content) > size else 0 :].decode(errors="replace")
