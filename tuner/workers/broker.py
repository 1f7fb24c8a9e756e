"""The study database as a worker's broker: which studies hand out trials, and who else is at work."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tuner import __version__
from tuner.errors import Fault, Unfit, Usage
from tuner.process import HOST, is_dead, is_here, process_mark
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow, TrialRow, WorkerRow
from tuner.studies import faults
from tuner.studies.study import open_study, shown_study_state
from tuner.studies.trials import OVER
from tuner.workers import ends
from tuner.workers.claims import ENTER_SECONDS
from tuner.workers.leases import LEASE_SECONDS, Attempts
from tuner.workers.places import Owner

FORGET_SECONDS = 86_400.0
"""Seconds after which workers that are not heard of are no longer listed."""


def forget(session: Session, now: float) -> None:
    """Removes workers that were heard of for the last time long ago, whether they said that they go or were killed."""
    session.execute(delete(WorkerRow).where(WorkerRow.seen_at < now - FORGET_SECONDS))


class DatabaseBroker:
    """The broker of the worker of that name, over the database; a worker that comes back gets its unfinished trial
    again.

    Args:
        name: unique among all workers of the database.
    """

    def __init__(self, database: Database, name: str) -> None:
        self.database, self.name = database, name
        self._attempts: dict[str, Attempts] = {}
        self._opened: dict[str, int] = {}

    @property
    def address(self) -> str:
        file = self.database.address.file
        return self.database.url if file is None else str(Path(file).resolve())

    def enter(self, device: str, pause: Callable[[float], None], say: Callable[[str], None]) -> None:
        seen: tuple[str, float] | None = None
        while (there := self.database.run(lambda session: self._enter(session, device))) is not None:
            if seen is None and not is_here(there.process):
                say(f"worker {self.name!r} was at work on {there.host} just now: waiting until it is known to be gone.")
            elif is_here(there.process) or seen != (there.process, there.seen_at):
                raise Usage(
                    f"worker {self.name!r} is at work on {there.host} (process {there.process.split(':')[0]}): "
                    "give this one another --name."
                )
            seen = (there.process, there.seen_at)
            pause(ENTER_SECONDS)
        self.database.run(self._give_up)

    def _enter(self, session: Session, device: str) -> WorkerRow | None:
        """Enters the worker, unless another one of its name seems to be at work, which is returned."""
        now, mark = self.database.clock(session), process_mark(os.getpid())
        forget(session, now)
        row = session.get(WorkerRow, self.name, with_for_update=True)
        another = row is not None and row.state != "gone" and row.process != mark and not is_dead(row.process)
        if row is not None and another and (is_here(row.process) or now - row.seen_at < LEASE_SECONDS):
            return row
        facts = {"host": HOST, "process": mark, "device": device, "state": "idle", "version": __version__}
        session.merge(WorkerRow(name=self.name, started_at=now, seen_at=now, trials=0, study=None, trial=None, **facts))
        return None

    def _give_up(self, session: Session) -> None:
        """Ends what an earlier worker of this name still held."""
        now, held = self.database.clock(session), (TrialRow.worker == self.name, TrialRow.state == "running")
        for row in session.scalars(select(TrialRow).where(*held).with_for_update()):
            ends.abandon(session, row, now)

    def leave(self) -> None:
        def change(session: Session) -> None:
            gone = {"state": "gone", "study": None, "trial": None, "seen_at": self.database.clock(session)}
            session.execute(update(WorkerRow).where(WorkerRow.name == self.name).values(**gone))

        with suppress(DBAPIError, Fault):
            self.database.run(change, patience=0.0)
        self.database.rest()

    def active(self, names: Sequence[str]) -> list[str]:
        running = select(func.count()).where(TrialRow.study == StudyRow.name, TrialRow.state == "running")
        spent = shown_study_state() != "active"
        query = select(StudyRow.name, StudyRow.revision, spent).where(StudyRow.state == "active")
        query = query.order_by(spent, running.scalar_subquery(), StudyRow.created_at)
        if names:
            query = query.where(StudyRow.name.in_(names))

        def look(session: Session) -> list[str]:
            self._be_seen(session, takes=list(names) or None)
            found = session.execute(query).all()
            # A spent study is opened once more, which completes Optuna's record of it.
            return [name for name, revision, over in found if not over or self._opened.get(name) != revision]

        return self.database.run(look)

    def _be_seen(self, session: Session, **facts: Any) -> None:
        mine = update(WorkerRow).where(WorkerRow.name == self.name)
        session.execute(mine.values(seen_at=self.database.clock(session), **facts))

    def count(self, names: Sequence[str], states: Sequence[str]) -> int:
        query = select(func.count()).select_from(TrialRow).join(StudyRow, StudyRow.name == TrialRow.study)
        query = query.where(StudyRow.state == "active", TrialRow.state.in_(states))
        if names:
            query = query.where(StudyRow.name.in_(names))
        return self.database.read(lambda session: session.execute(query).scalar_one())

    def open(self, study: str) -> Attempts:
        """The leases of a study, which keep what samplers have learnt of it from one call to the next."""
        found, kept = open_study(self.database, study), self._attempts.get(study)
        self._opened[study] = found.revision
        try:
            found.files.store  # noqa: B018 - which this machine may be unable to reach
        except Usage as error:
            raise Unfit(f"study {study!r} cannot be trained here: {error}") from error
        if kept is None or kept.created_at != found.created_at:  # another one of that name
            kept = self._attempts[study] = Attempts(found, self.name)
        kept.study = found  # its rules may have changed
        return kept

    def is_awaited(self, owner: Owner) -> bool:
        mine = (StudyRow.name == owner.study, StudyRow.created_at == owner.created_at, TrialRow.number == owner.trial)
        query = select(TrialRow.state).join(StudyRow, StudyRow.name == TrialRow.study).where(*mine)
        state = self.database.read(lambda session: session.execute(query).scalar())
        return state is not None and state not in OVER

    def blame(self, study: str, message: str) -> bool:
        return faults.tell(self.database, study, message)

    def check(self) -> None:
        self.database.run(self._be_seen)

    def rest(self) -> None:
        self.database.rest()
