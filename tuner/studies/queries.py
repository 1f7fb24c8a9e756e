"""What a database holds: its studies, by pages or in short, its workers, and their numbers."""

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
"""what a study in a list can be: its state as shown, or that its row is none of ours"""
SILENT_SECONDS = 60.0
"""as long as a lease: a worker without a word for longer is lost"""


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
) -> list[Study | Unreadable]:
    """Up to `limit` studies, the newest first, after one of a creation time and name.

    Args:
        state: one of `LISTED_STATES`; None: any.
    """
    query = select(StudyRow).order_by(StudyRow.created_at.desc(), StudyRow.name.desc())
    if technique is not None:
        query = query.where(_technique(database) == technique)
    if state is not None and state != UNREADABLE:
        query = query.where(shown_study_state() == state)
    if after is not None:
        query = query.where(tuple_(StudyRow.created_at, StudyRow.name) < tuple_(*after))
    rows = limit
    while True:
        found = _each(database, query.limit(rows))
        kept = [each for each in found if state is None or isinstance(each, Study) == (state != UNREADABLE)]
        if len(kept) >= limit or len(found) < rows:
            return kept[:limit]
        rows *= 2


def _technique(database: Database) -> Any:
    """A study's technique, in SQL; none where the specification is no JSON, which SQLite keeps and will not look into."""
    named = StudyRow.specification["technique"].as_string()
    return case((func.json_valid(StudyRow.specification) == 1, named)) if database.sqlite else named


def overview(database: Database) -> list[dict[str, Any]]:
    """Every study in short: what it is, its trials by state, its best one and by what it is that."""
    found = []
    for study in _each(database, _OLDEST):
        try:
            found.append(_short(study))
        except ODD as error:
            found.append({**UNKNOWN, "study": study.name, "why": str(error)})
    return found


UNKNOWN: dict[str, Any] = {
    "state": UNREADABLE, "technique": "", "corpus": "", "model": "", "sampler": "", "objective": "", "seed": 0, "budget": 0,
    "created_at": 0.0, "trials": {}, "best": None,
}  # fmt: skip
"""what is said of a study that cannot be read"""


def _short(study: Study | Unreadable) -> dict[str, Any]:
    if isinstance(study, Unreadable):
        raise study
    best, counts = study.winner(), study.counts()
    if best is not None and not isinstance(best.trial.metrics, dict):
        raise Unreadable(f"trial {best.trial.number} is complete and has no figures")
    short = {
        "study": study.name,
        "state": study.shown_state(counts),
        "why": study.why,
        "technique": study.spec.technique,
        "corpus": study.facts.corpus.name,
        "model": study.spec.model,
        "sampler": study.spec.sampler,
        "objective": study.spec.objective,
        "seed": study.spec.seed,
        "budget": study.spec.trials,
        "created_at": study.created_at,
        "trials": counts,
        "best": best.plain() if best else None,
    }
    json.dumps(short, allow_nan=False)
    return short


def workers(database: Database) -> list[dict[str, Any]]:
    """Who is at work, the newest word first; a worker without a word for long is `lost`."""

    def look(session: Any) -> list[dict[str, Any]]:
        now = database.clock(session)
        found = []
        for row in session.scalars(select(WorkerRow).order_by(WorkerRow.seen_at.desc(), WorkerRow.name)):
            plain = {key: value for key, value in vars(row).items() if not key.startswith("_")}
            silent = now - row.seen_at
            lost = row.state != "gone" and (silent > SILENT_SECONDS or is_dead(row.process))
            found.append({**plain, "state": "lost" if lost else row.state, "silent": round(silent, 3)})
        return found

    return database.read(look)


def is_staffed(database: Database) -> bool:
    """Whether any worker is there."""

    def look(session: Any) -> bool:
        heard = (WorkerRow.state != "gone", WorkerRow.seen_at > database.clock(session) - SILENT_SECONDS)
        return not all(is_dead(process) for process in session.scalars(select(WorkerRow.process).where(*heard)))

    return database.read(look)


@dataclass(frozen=True)
class Totals:
    """What a database holds."""

    trials: dict[str, int]
    """by state"""
    studies: dict[str, int]
    """by state"""
    queue: int
    """trials that active studies have yet to begin or to go on with"""
    lost: int
    """attempts whose process or lease was lost"""
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
