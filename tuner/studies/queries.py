"""Queries of a whole database: its studies, by pages or in short, its workers, and their numbers."""

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, select, tuple_

from tuner.errors import Unreadable
from tuner.process import is_dead
from tuner.storage.database import Database
from tuner.storage.tables import AttemptRow, StudyRow, TrialRow, WorkerRow
from tuner.studies.study import ODD, SHOWN_STATES, Study, open_study, shown_study_state
from tuner.studies.trials import STATES, shown_state

UNREADABLE = "unreadable"
LISTED_STATES = (*SHOWN_STATES, UNREADABLE)
"""States of a study in a list: as shown, or `unreadable` if its row is none of ours."""
SILENT_SECONDS = 60.0
"""Seconds without a word after which a worker is lost; as long as a lease."""


def all_studies(database: Database) -> list[Study]:
    """Every study whose row can be read, the oldest first."""
    return [found for found in _each(database, _OLDEST) if isinstance(found, Study)]


_OLDEST = select(StudyRow).order_by(StudyRow.created_at, StudyRow.name)


def _each(database: Database, query: Any) -> list[Study | Unreadable]:
    """The query's studies; where a row is none of ours, what is wrong with it."""
    try:
        rows = database.read(lambda session: session.scalars(query).all())
    except ODD:  # a column of one row is no JSON: each by itself
        found = query.with_only_columns(StudyRow.name, StudyRow.created_at)
        names = database.read(lambda session: session.execute(found).all())
        return [_caught(open_study, database, name, at) for name, at in names]
    return [_caught(Study, database, row, row.created_at) for row in rows]


def _caught(
    make: Callable[[Database, Any], Study], database: Database, of: Any, created_at: object
) -> Study | Unreadable:
    try:
        return make(database, of)
    except Unreadable as error:
        error.created_at = created_at if isinstance(created_at, float) else math.inf  # as texts come after numbers
        return error


def page(
    database: Database,
    limit: int,
    after: tuple[float, str] | None = None,
    technique: str | None = None,
    state: str | None = None,
    tag: str | None = None,
) -> list[Study | Unreadable]:
    """Up to `limit` studies, the newest first, after one of a creation time and name.

    Args:
        state: one of `LISTED_STATES`; None: any.
    """
    query = select(StudyRow).order_by(StudyRow.created_at.desc(), StudyRow.name.desc())
    if technique is not None:
        query = query.where(_text(database, "technique") == technique)
    if state is not None and state != UNREADABLE:
        query = query.where(shown_study_state() == state)
    if tag is not None:  # whatever has it, and what looks like it in a database that does not tell a from A
        query = query.where(_text(database, "tags").contains(json.dumps(tag), autoescape=True))
    if after is not None:
        query = query.where(tuple_(StudyRow.created_at, StudyRow.name) < tuple_(*after))
    rows = limit
    while True:
        found = _each(database, query.limit(rows))
        kept = [each for each in found if state is None or isinstance(each, Study) == (state != UNREADABLE)]
        kept = [each for each in kept if tag is None or (isinstance(each, Study) and tag in each.spec.tags)]
        if len(kept) >= limit or len(found) < rows:
            return kept[:limit]
        rows *= 2


def _text(database: Database, key: str) -> Any:
    """A setting of a study, in SQL; none where the specification is no JSON, which SQLite keeps and will not look into."""
    named = StudyRow.specification[key].as_string()
    return case((func.json_valid(StudyRow.specification) == 1, named)) if database.sqlite else named


def workers(database: Database) -> list[dict[str, Any]]:
    """Workers that have reported, the newest word first; a worker without a word for long is `lost`.

    `tokens_per_second` is that of the last trial that it has trained to its end; of one that is gone None.
    """
    its = (TrialRow.worker == WorkerRow.name, WorkerRow.state != "gone", TrialRow.cost.is_not(None))
    spent = select(TrialRow.cost).where(*its).order_by(TrialRow.ended_at.desc()).limit(1).correlate(WorkerRow)

    def look(session: Any) -> list[dict[str, Any]]:
        now = database.clock(session)
        found = []
        every = select(WorkerRow, spent.scalar_subquery()).order_by(WorkerRow.seen_at.desc(), WorkerRow.name)
        for row, cost in session.execute(every):
            plain = {key: value for key, value in vars(row).items() if not key.startswith("_")}
            silent = now - row.seen_at
            lost = row.state != "gone" and (silent > SILENT_SECONDS or is_dead(row.process))
            speed = cost.get("tokens_per_second") if isinstance(cost, dict) else None
            state = "lost" if lost else row.state
            gpu = row.gpu if state == "training" else None
            found.append({**plain, "state": state, "gpu": gpu, "tokens_per_second": speed, "silent": round(silent, 3)})
        return found

    return database.read(look)


@dataclass(frozen=True)
class Takers:
    """The workers that are there, by what they take."""

    takes_any: bool = False
    """True if one of the workers takes trials of any study."""
    studies: frozenset[str] = frozenset()
    """The studies that one of them takes trials of."""

    def __bool__(self) -> bool:
        return self.takes_any or bool(self.studies)

    def takes(self, study: str) -> bool:
        """True if one of the workers takes trials of that study."""
        return self.takes_any or study in self.studies


def takers(database: Database) -> Takers:
    """The workers that live and were heard of within a minute."""

    def look(session: Any) -> list[Any]:
        heard = (WorkerRow.state != "gone", WorkerRow.seen_at > database.clock(session) - SILENT_SECONDS)
        return list(session.execute(select(WorkerRow.process, WorkerRow.takes).where(*heard)))

    found = [takes for process, takes in database.read(look) if not is_dead(process)]
    return Takers(None in found, frozenset(name for takes in found for name in takes or ()))


@dataclass(frozen=True)
class Totals:
    """Totals of a database."""

    trials: dict[str, int]
    """Number of trials by state."""
    studies: dict[str, int]
    """Number of studies by state."""
    queue: int
    """Number of trials that active studies have yet to begin or to go on with."""
    lost: int
    """Number of attempts whose process or lease was lost."""
    workers: int


def totals(database: Database) -> Totals:
    def look(session: Any) -> Totals:
        now = database.clock(session)
        state = shown_state(now)
        trials = {row[0]: row[1] for row in session.execute(select(state, func.count()).group_by(state))}
        studies = Counter(session.scalars(select(shown_study_state()).select_from(StudyRow)))
        begun = select(func.count()).where(TrialRow.study == StudyRow.name, state != "waiting").scalar_subquery()
        left = select(StudyRow.budget - begun).where(StudyRow.state == "active")
        lost = select(func.count()).where(AttemptRow.state == "lost")
        there = select(func.count()).where(WorkerRow.state != "gone", WorkerRow.seen_at > now - SILENT_SECONDS)
        return Totals(
            {**dict.fromkeys(STATES, 0), **trials},
            {**dict.fromkeys(SHOWN_STATES, 0), **studies},
            sum(max(count, 0) for count in session.scalars(left)),
            session.execute(lost).scalar_one(),
            session.execute(there).scalar_one(),
        )

    return database.read(look)
