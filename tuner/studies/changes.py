"""Changes in a study since a revision that a reader knows."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from tuner.storage.database import Database
from tuner.storage.tables import EpochRow, StudyRow, TrialRow
from tuner.studies.study import Study, open_study
from tuner.studies.trials import Trial, epoch_of


def current(database: Database) -> dict[str, int]:
    """Every study's revision."""
    query = select(StudyRow.name, StudyRow.revision)
    found = database.read(lambda session: session.execute(query).all())
    return {name: revision for name, revision in found if isinstance(revision, int)}


def of(database: Database, name: str) -> int:
    """One study's revision.

    Raises:
        Missing: if there is no such study.
    """
    query = select(StudyRow.revision).where(StudyRow.name == name)
    found = database.read(lambda session: session.execute(query).scalar())
    return open_study(database, name).revision if found is None else found


@dataclass(frozen=True)
class Changes:
    """Changes in a study after one revision and up to another; each item has its own revision."""

    study: Study
    until: int
    trials: list[tuple[int, Trial]]
    epochs: list[tuple[int, int, dict[str, Any]]]
    """Revision, trial number and figures of each epoch."""


def changes(database: Database, name: str, after: int, limit: int = 1000) -> Changes | None:
    """The trials as they are now that changed after a revision, and the epochs reported since; None if the study is gone.

    About `limit` of each at most: the rest comes after `until`.
    """

    def look(session: Any) -> Changes | None:
        row = session.get(StudyRow, name)
        if row is None:
            return None
        until: int = row.revision
        for table in (TrialRow, EpochRow):
            newer = (table.study == name, table.revision > after)
            query = select(table.revision).where(*newer).order_by(table.revision).offset(limit - 1).limit(1)
            until = min(session.execute(query).scalar() or until, until)
        study, now = Study(database, row), database.clock(session)

        def found(table: Any) -> Any:
            between = (table.study == name, table.revision > after, table.revision <= until)
            return session.scalars(select(table).where(*between).order_by(table.revision))

        trials = [(t.revision, Trial.of(t, now, study.definition)) for t in found(TrialRow)]
        return Changes(study, until, trials, [(e.revision, e.trial, epoch_of(e)) for e in found(EpochRow)])

    return database.read(look)
