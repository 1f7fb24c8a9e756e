"""A study's trials as Optuna sees them: in memory for the sampler that proposes the next one, and in Optuna's own tables, so
that every tool that reads those can open a study of ours.

Both follow `tuner_trials`, whose numbers are theirs too: whoever asks holds the study's right to (`Attempts`), and whoever
records holds a lock (`Database.alone`).
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tuner import samplers
from tuner.database import StudyRow, TrialRow

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from tuner.studies import Study

STATES = {
    "waiting": TrialState.RUNNING,
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
    "pruned": TrialState.PRUNED,
}
"""ours as Optuna's: to a sampler, a trial that waits for its next worker is under way"""

CHUNK = 1000
"""trials in one statement"""


class History:
    """The trials of one study in memory, kept up to date between asks."""

    def __init__(self, study: "Study") -> None:
        self.study, self.database = study, study.database
        self.storage = InMemoryStorage()
        self.id = self.storage.create_new_study(_directions(study), study.name)
        self.distributions = _distributions(study)
        self._open: set[int] = set()
        """numbers of trials that were not over when last looked at"""

    def update(self) -> int:
        """Takes over what has changed, and the sampler's notes about the study; returns how many trials there are."""
        known = self.storage.get_n_trials(self.id)
        changed = (TrialRow.number >= known) | TrialRow.number.in_(self._open)
        query = select(TrialRow).where(TrialRow.study == self.study.name, changed).order_by(TrialRow.number)
        notes = select(StudyRow.attrs).where(StudyRow.name == self.study.name)

        def look(session: Session) -> tuple[dict[str, Any], Sequence[TrialRow]]:
            return session.execute(notes).scalar_one(), session.scalars(query).all()

        attrs, rows = self.database.read(look)
        for key, value in attrs.items():
            self.storage.set_study_system_attr(self.id, key, value)
        for row in rows:
            if row.number >= known:
                self.add(row)
            elif STATES[row.state].is_finished():
                self.storage.set_trial_state_values(row.number, STATES[row.state], row.values)
                self._open.discard(row.number)
        return self.storage.get_n_trials(self.id)

    def add(self, row: TrialRow) -> None:
        """A trial that is new here; its identity in memory is its number."""
        self.storage.create_new_trial(self.id, _frozen(row, self.distributions))
        if not STATES[row.state].is_finished():
            self._open.add(row.number)

    def ask(self, number: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Parameters of trial `number`, and the sampler's notes about the trial and about the study."""
        facts = self.study.specification
        warm = facts["warm_start"]
        earlier = warm["observations"] if warm else ()
        options = facts["sampler_options"]
        sampler = samplers.create(facts["sampler"], options, facts["seed"], number, self.distributions, earlier)
        study = optuna.load_study(study_name=self.study.name, storage=self.storage, sampler=sampler)
        trial = study.ask(self.distributions)
        frozen = self.storage.get_trial(trial._trial_id)
        self._open.add(number)
        params = {name: frozen.params[name] for name in self.distributions}
        return params, dict(frozen.system_attrs), dict(self.storage.get_study_system_attrs(self.id))


def _distributions(study: "Study") -> "dict[str, BaseDistribution]":
    return {p.name: p.distribution() for p in study.space.searched(study.specification["fixed"])}


def _directions(study: "Study") -> list[StudyDirection]:
    from tuner.studies import OBJECTIVES

    return [StudyDirection[d.upper()] for d in OBJECTIVES[study.specification["objective"]]]


def _frozen(row: TrialRow, distributions: "Mapping[str, BaseDistribution]") -> FrozenTrial:
    """A trial of ours as Optuna's."""
    state = STATES[row.state]
    facts = {key: getattr(row, key) for key in ("metrics", "cost", "reason", "message")}
    return FrozenTrial(
        number=row.number,
        state=state,
        value=None,
        values=row.values if state == TrialState.COMPLETE else None,
        datetime_start=_local(row.created_at),
        datetime_complete=_local(row.ended_at) if state.is_finished() and row.ended_at is not None else None,
        params=row.params,
        distributions={name: distributions[name] for name in row.params},
        user_attrs={key: value for key, value in facts.items() if value is not None},
        system_attrs=row.attrs,
        intermediate_values={},
        trial_id=row.number,
    )


def _local(seconds: float) -> datetime:
    """Optuna's times carry no zone and are the machine's own."""
    return datetime.fromtimestamp(seconds)


def record(study: "Study", patience: float = 0.0) -> None:
    """Brings Optuna's tables up to our trials: what is new is created in the order of the numbers, what is over is told.

    One process at a time, since Optuna numbers trials as they come; another waits for so many seconds and leaves it to the first
    then. A database that has gone is no error: the next caller brings up the rest.
    """
    database = study.database
    untold = select(TrialRow.number).where(TrialRow.study == study.name, ~TrialRow.told).limit(1)
    try:
        if database.read(lambda session: session.execute(untold).first()) is None:
            return
        with database.alone(f"record {study.name}", patience) as mine:
            if not mine or database.read(lambda session: session.execute(untold).first()) is None:
                return
            if not _follow(study):
                optuna.delete_study(study_name=study.name, storage=database.storage)
                optuna.create_study(study_name=study.name, storage=database.storage, directions=_directions(study))
                _follow(study)
    except (StorageInternalError, DBAPIError):
        return
    finally:
        if "storage" in vars(database):
            database.storage.remove_session()


def _follow(study: "Study") -> bool:
    """False if a trial is another one there, as after a connection that was lost between a commit and its word."""
    database, storage, distributions = study.database, study.database.storage, _distributions(study)
    identity = storage.get_study_id_from_name(study.name)
    there = storage.get_n_trials(identity)
    over = ~TrialRow.told & TrialRow.state.in_(("complete", "failed", "pruned"))
    query = select(TrialRow).where(TrialRow.study == study.name, (TrialRow.number >= there) | over)
    rows = database.read(lambda session: session.scalars(query.order_by(TrialRow.number)).all())
    for row in rows:
        frozen = _frozen(row, distributions)
        if row.number >= there:
            created = storage.create_new_trial(identity, frozen)
            if storage.get_trial_number_from_id(created) != row.number:
                return False
        else:
            trial = storage.get_trial_id_from_study_id_trial_number(identity, row.number)
            if storage.get_trial(trial).params != frozen.params:
                return False
            with suppress(UpdateFinishedTrialError):
                for key, value in frozen.user_attrs.items():
                    storage.set_trial_user_attr(trial, key, value)
                storage.set_trial_state_values(trial, frozen.state, frozen.values)
    told = [row.number for row in rows if STATES[row.state].is_finished()]
    for first in range(0, len(told), CHUNK):
        mine = (TrialRow.study == study.name, TrialRow.number.in_(told[first : first + CHUNK]))
        database.run(lambda session, mine=mine: session.execute(update(TrialRow).where(*mine).values(told=True)))  # type: ignore[misc]
    return True
