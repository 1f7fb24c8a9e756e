"""A study's trials as Optuna sees them: in memory for the sampler that proposes the next one, and in Optuna's own tables, so
that every tool that reads those can open a study of ours.

Both follow `tuner_trials`, whose numbers are theirs too: whoever asks holds the study's right to (`Attempts`), and whoever
records locks the study's row in Optuna's tables.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import distribution_to_json
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import delete, func, select, tuple_, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tuner import samplers
from tuner.errors import Usage
from tuner.samplers.cube import Array, Cube
from tuner.storage.optuna_tables import PARTS, locked, models
from tuner.storage.tables import EpochRow, StudyRow, TrialRow
from tuner.studies.objectives import OBJECTIVES, limits
from tuner.studies.trials import OVER, SOURCE, STRUCK, Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from tuner.studies.study import Study

STATES = {
    "waiting": TrialState.RUNNING,
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
    "pruned": TrialState.PRUNED,
}
"""Optuna's state for each of ours; to a sampler, a trial that waits for its next worker is under way."""

FACTS = ("metrics", "cost", "reason", "message")
CONSTRAINT = "constraints"
"""Optuna's attribute of a trial that must be 0 at most; a name is added to it."""
SETTINGS = ("technique", "model", "sampler", "objective", "min_rate", "pruner", "seed", "fixed")
"""Settings of a study that Optuna's tools show beside its name."""
METRIC_NAMES = "study:metric_names"
"""Attribute in which Optuna keeps the objectives' names for its plots."""
PARENTS = ":parent:"
"""Part of the names under which Optuna's genetic samplers note a study's parents, by their trials' identities."""
CHUNK = 200
"""Number of trials in one transaction, which keeps other writers waiting."""


@dataclass(frozen=True)
class Told:
    """Result of a trial as a sampler is told of it."""

    values: list[float]
    """Value of each objective."""
    limits: dict[str, float]
    """Optuna's constraints by name, each 0 at most if it is kept."""


def _found(row: TrialRow, least: float) -> Told | None:
    """The result of a complete trial in a study with this least rate; None of any other trial."""
    if row.state != "complete" or not row.values:
        return None
    return Told(row.values, limits(least, row.metrics or {"rate": 0.0}))


def _attributes(told: Told | None) -> dict[str, float]:
    """Optuna's attributes of a trial that hold its constraints."""
    return {f"{CONSTRAINT}:{name}": value for name, value in (told.limits if told else {}).items()}


class History:
    """The trials of one study in memory, kept up to date between asks.

    A diverged trial is told to every sampler as a complete one of the worst value seen, so that none looks there again: Optuna's
    learn nothing from failed ones. While no trial has a value it is told as failed. A least rate is told as Optuna's constraint.
    """

    def __init__(self, study: "Study") -> None:
        self.study, self.database = study, study.database
        self.distributions = _distributions(study)
        self.directions = [StudyDirection[d.upper()] for d in OBJECTIVES[study.spec.objective]]
        self.cube, self._least = Cube(self.distributions), study.spec.min_rate
        self._begin()

    def _begin(self, told: Told | None = None) -> None:
        """Begins without a trial, as Optuna's storage forgets none. Diverged trials will be told with the result
        `told`.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # a worker's log has lines of one form
        self.storage = InMemoryStorage()
        self.id = self.storage.create_new_study(self.directions, self.study.name)
        self._open: set[int] = set()
        """Numbers of trials that were not over at the last look."""
        self._struck = 0
        """Number of trials that were struck out for good."""
        self._told, self._worst, self._has_diverged = told, told, False

    def update(self) -> int:
        """Takes over what has changed, and the sampler's notes about the study; returns how many trials there are."""
        notes, rows = self._changed()
        self._worst = self._worst_of(rows)
        self._has_diverged |= any(has_diverged(row) for row in rows)
        if self._has_diverged and self._told != self._worst:
            self._begin(self._worst)
            notes, rows = self._changed()
            self._has_diverged = True
        known = self.storage.get_n_trials(self.id)
        for row in rows:
            state, found = self._end_of(row)
            if row.number >= known:
                self.storage.create_new_trial(self.id, _frozen(row, self.distributions, state, found))
                if not state.is_finished():
                    self._open.add(row.number)
            elif state.is_finished():
                for key, value in _attributes(found).items():
                    self.storage.set_trial_system_attr(row.number, key, value)
                self.storage.set_trial_state_values(row.number, state, found.values if found else None)
                self._open.discard(row.number)
        for key, value in notes.items():
            self.storage.set_study_system_attr(self.id, key, self._complete(value) if PARENTS in key else value)
        return self.storage.get_n_trials(self.id)

    def _changed(self) -> tuple[dict[str, Any], Sequence[TrialRow]]:
        """The sampler's notes about the study, and the trials that are new here or were not over: all, if one was struck out."""
        known = self.storage.get_n_trials(self.id)
        changed = (TrialRow.number >= known) | TrialRow.number.in_(self._open)
        query = select(TrialRow).where(TrialRow.study == self.study.name, changed).order_by(TrialRow.number)
        notes = select(StudyRow.attrs).where(StudyRow.name == self.study.name)
        struck = select(func.count()).where(TrialRow.study == self.study.name, TrialRow.reason == STRUCK)

        def look(session: Session) -> tuple[dict[str, Any], Sequence[TrialRow], int]:
            return (
                session.execute(notes).scalar_one(),
                session.scalars(query).all(),
                session.execute(struck).scalar_one(),
            )

        attrs, rows, count = self.database.read(look)
        if known and count != self._struck:
            self._begin()
            return self._changed()
        self._struck = count
        return attrs, rows

    def _worst_of(self, rows: Sequence[TrialRow]) -> Told | None:
        """The worst values of each objective, and of each constraint, among all trials so far and these."""
        found = [told for row in rows if (told := _found(row, self._least)) is not None]
        found += [self._worst] if self._worst else []
        if not found:
            return None
        worst = {StudyDirection.MINIMIZE: max, StudyDirection.MAXIMIZE: min}
        columns = zip(*(each.values for each in found), strict=True)
        return Told(
            [worst[d](values) for d, values in zip(self.directions, columns, strict=True)],
            {name: max(each.limits[name] for each in found) for name in found[0].limits},
        )

    def _end_of(self, row: TrialRow) -> tuple[TrialState, Told | None]:
        """A trial's state and what it found, as a sampler is told of them."""
        if has_diverged(row) and self._told is not None:
            return TrialState.COMPLETE, self._told
        return STATES[row.state], _found(row, self._least)

    def _complete(self, numbers: Sequence[int]) -> list[int]:
        """The complete ones of these trials: a parent that was struck out since has no descendants any more."""
        return [n for n in numbers if self.storage.get_trial(n).state == TrialState.COMPLETE]

    @property
    def has_open(self) -> bool:
        """True if a trial was under way at the last look."""
        return bool(self._open)

    @property
    def is_exhausted(self) -> bool:
        """True if every combination of the searched hyperparameters, or of the sampler's, has been tried or is under
        way.
        """
        number = self.storage.get_n_trials(self.id)
        if not self.cube.parts or not number:
            return False
        if self.cube.size <= number and self.cube.distinct(self._points()) >= self.cube.size:
            return True
        study = self._asked(number)
        return hasattr(study.sampler, "is_exhausted") and study.sampler.is_exhausted(study)

    def _points(self, but: int = -1) -> Array:
        """The points of the trials but one: [n, d]."""
        trials = self.storage.get_all_trials(self.id, deepcopy=False)
        points = [self.cube.encode(t.params) for t in trials if t.number != but and self.cube.holds(t.params)]
        return np.array(points).reshape(-1, self.cube.d)

    def ask(
        self, number: int, given: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Parameters of trial `number`, and the sampler's notes about the trial and about the study.

        Args:
            given: what the parameters shall be; the sampler then only takes note.
        """
        study = self._asked(number)
        if given is not None:
            study.enqueue_trial(dict(given))
        trial = study.ask(self.distributions)
        if given is not None:
            # Optuna does not ask for what is given, but here nsga2 marks the trials that later ones may descend from.
            study.sampler.sample_relative(study, self.storage.get_trial(trial._trial_id), {})
        elif self.cube.parts and math.isfinite(self.cube.size):
            self._replace_used(trial._trial_id)
        frozen = self.storage.get_trial(trial._trial_id)
        self._open.add(number)
        params = {name: frozen.params[name] for name in self.distributions}
        return params, dict(frozen.system_attrs), dict(self.storage.get_study_system_attrs(self.id))

    def _asked(self, number: int) -> optuna.Study:
        """The study as the sampler of trial `number` sees it."""
        if self.study.facts.untrusted:
            raise Usage(
                f"study {self.study.name!r} has the sampler {self.study.spec.sampler}, code that came with a bundle: "
                f"`tuner resume {self.study.name} --load-sampler` has it imported."
            )
        earlier = self.study.facts.observations or ()
        options = self.study.spec.sampler_options
        sampler = samplers.create(
            self.study.spec.sampler,
            options,
            self.study.spec.seed,
            number,
            self.distributions,
            earlier,
            self._given(),
            self.study.spec.trials,
        )
        return optuna.load_study(study_name=self.study.name, storage=self.storage, sampler=sampler)

    def _replace_used(self, number: int) -> None:
        """Has a trial whose combination was tried before take the nearest one that was not, whatever proposed it."""
        point = self.cube.encode(self.storage.get_trial(number).params)
        for name, value in self.cube.decode(self.cube.unused(point, self._points(but=number))).items():
            distribution = self.distributions[name]
            self.storage.set_trial_param(number, name, distribution.to_internal_repr(value), distribution)

    def _given(self) -> int:
        """Number of trials that were given to the sampler, not proposed by it, and may count as its own: all but failed
        ones.
        """
        trials = self.storage.get_all_trials(self.id, deepcopy=False)
        return sum(samplers.GIVEN in t.system_attrs and t.state != TrialState.FAIL for t in trials)


def _distributions(study: "Study") -> "dict[str, BaseDistribution]":
    return {p.name: p.distribution() for p in study.searched}


def has_diverged(row: TrialRow | Trial) -> bool:
    """True if a trial ended in a number that is not finite: a result, and no fault."""
    return row.state == "failed" and row.reason == "nan"


def _frozen(
    row: TrialRow, distributions: "Mapping[str, BaseDistribution]", state: TrialState, told: Told | None
) -> FrozenTrial:
    """A trial of ours as Optuna's."""
    return FrozenTrial(
        number=row.number,
        state=state,
        value=None,
        values=list(told.values) if told is not None else None,
        datetime_start=_local(row.created_at),
        datetime_complete=_local(row.ended_at) if state.is_finished() and row.ended_at is not None else None,
        params=row.params,
        distributions={name: distributions[name] for name in row.params},
        user_attrs=_facts(row),
        system_attrs={**_standing(row), **row.attrs, **_attributes(told)},
        intermediate_values={},
        trial_id=row.number,
    )


def _standing(row: TrialRow) -> dict[str, Any]:
    """Attributes that tell samplers that a trial's values were given, or that its figures do not count."""
    given = {samplers.GIVEN: row.params} if row.attrs.get(SOURCE) == "enqueued" else {}
    return given | ({samplers.VOID: True} if row.reason == STRUCK else {})


def _facts(row: TrialRow) -> dict[str, Any]:
    facts = {key: getattr(row, key) for key in FACTS}
    return {key: value for key, value in facts.items() if value is not None}


def _local(seconds: float) -> datetime:
    """Optuna's times carry no zone and are the machine's own."""
    return datetime.fromtimestamp(seconds)


def as_optuna(study: "Study") -> optuna.Study:
    """A study of ours as Optuna's own tools see it."""
    record(study)
    return optuna.load_study(study_name=study.name, storage=study.database.storage)


def record(study: "Study") -> None:
    """Brings Optuna's tables up to our trials: new trials in the order of their numbers, and how those that are over ended.

    In transactions of ours over Optuna's own mapping, so that a trial is never entered twice: its storage writes each value in a
    transaction of its own. A database that has gone is no error: the next caller brings up the rest.
    """
    try:
        while study.database.run(lambda session: _follow(session, study)) == CHUNK:
            pass
    except DBAPIError:
        return


def _follow(session: Session, study: "Study") -> int:
    """Enters or ends up to `CHUNK` trials, and returns how many."""
    untold = (TrialRow.study == study.name, ~TrialRow.told)
    if session.execute(select(TrialRow.number).where(*untold).limit(1)).first() is None:
        return 0
    found = session.scalar(locked(study.name))
    if found is None:
        return 0  # deleted, perhaps with one of Optuna's own tools
    theirs = found.study_id
    there = session.execute(select(func.count()).where(models.TrialModel.study_id == theirs)).scalar_one()
    changed = (TrialRow.number >= there) | TrialRow.state.in_(OVER)
    rows = session.scalars(select(TrialRow).where(*untold, changed).order_by(TrialRow.number).limit(CHUNK)).all()
    entered = [row.number for row in rows if row.number < there]
    query = select(models.TrialModel).where(models.TrialModel.study_id == theirs, models.TrialModel.number.in_(entered))
    trials: dict[Any, Any] = {trial.number: trial for trial in session.scalars(query)}
    _describe(session, theirs, study)
    new = [row for row in rows if row.number >= there]
    trials |= {row.number: models.TrialModel(study_id=theirs, number=row.number) for row in new}
    for row in rows:
        trial = trials[row.number]
        trial.state, trial.datetime_start = STATES[row.state], _local(row.created_at)
        trial.datetime_complete = _local(row.ended_at) if row.ended_at is not None else None
    session.add_all(trials[row.number] for row in new)
    session.flush()  # in the order of their numbers, which is that of Optuna's own identities too
    written = [trials[row.number].trial_id for row in rows]
    for part in PARTS:  # of a trial that was under way, or that another program put there
        session.execute(delete(part).where(part.trial_id.in_(written)))
    distributions, least = _distributions(study), study.spec.min_rate
    curves = _curves(session, study.name, [row.number for row in rows if row.state in OVER])
    session.add_all(
        part
        for row, identity in zip(rows, written, strict=True)
        for part in _parts(row, identity, distributions, curves.get(row.number, []), least)
    )
    read = [(row.number, row.revision) for row in rows if row.state in OVER]
    same = tuple_(TrialRow.number, TrialRow.revision).in_(read)  # someone may have struck one out meanwhile
    told = update(TrialRow).where(TrialRow.study == study.name, same).values(told=True)
    session.execute(told, execution_options={"synchronize_session": False})
    return len(rows)


def _describe(session: Session, identity: int, study: "Study") -> None:
    """Enters what Optuna's tools show of a study, if nothing is there yet."""
    theirs = models.StudyUserAttributeModel
    if session.execute(select(theirs.key).where(theirs.study_id == identity).limit(1)).first() is not None:
        return
    stored = study.definition.stored()
    facts = {key: stored[key] for key in SETTINGS}
    facts |= {"corpus": stored["corpus"]["name"], "corpus_fingerprint": stored["corpus"]["fingerprint"]}
    session.add_all(theirs(study_id=identity, key=key, value_json=json.dumps(fact)) for key, fact in facts.items())
    names = json.dumps(study.spec.objective.split(","))
    session.add(models.StudySystemAttributeModel(study_id=identity, key=METRIC_NAMES, value_json=names))


def _curves(session: Session, study: str, numbers: Sequence[int]) -> dict[int, list[tuple[int, float]]]:
    """Each of these trials' epochs with their validation −ELBO, where it was a number."""
    found: dict[int, list[tuple[int, float]]] = {}
    own = (EpochRow.study == study, EpochRow.trial.in_(numbers), EpochRow.neg_elbo.is_not(None))
    for epoch in session.scalars(select(EpochRow).where(*own).order_by(EpochRow.epoch)):
        assert epoch.neg_elbo is not None
        found.setdefault(epoch.trial, []).append((epoch.epoch, epoch.neg_elbo))
    return found


def _parts(
    row: TrialRow,
    identity: int,
    distributions: "Mapping[str, BaseDistribution]",
    curve: Sequence[tuple[int, float]],
    least: float,
) -> Iterator[models.BaseModel]:
    """Rows of Optuna's tables for a trial, beside its number, state and times."""
    for name, value in row.params.items():
        distribution = distributions[name]
        yield models.TrialParamModel(
            trial_id=identity,
            param_name=name,
            param_value=distribution.to_internal_repr(value),
            distribution_json=distribution_to_json(distribution),
        )
    found = _found(row, least)
    for key, note in {**row.attrs, **_attributes(found)}.items():
        yield models.TrialSystemAttributeModel(trial_id=identity, key=key, value_json=json.dumps(note))
    for key, fact in _facts(row).items():
        yield models.TrialUserAttributeModel(trial_id=identity, key=key, value_json=json.dumps(fact))
    for objective, value in enumerate(found.values if found else ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        yield models.TrialValueModel(trial_id=identity, objective=objective, value=stored, value_type=kind)
    for step, value in curve:
        at, sort = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        yield models.TrialIntermediateValueModel(
            trial_id=identity, step=step, intermediate_value=at, intermediate_value_type=sort
        )
