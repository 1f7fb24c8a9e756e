"""Trials as people and programs see them, made from their rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import and_, case, func, select

from tuner.errors import Clash, Missing, Usage
from tuner.estimators import notes_of
from tuner.metrics import Cost, Metrics
from tuner.space import Value
from tuner.storage.database import Database
from tuner.storage.tables import LOCK, TOLD, AttemptRow, EpochRow, StudyRow, TrialRow, revise, study_row
from tuner.studies.spec import Definition

OVER = ("complete", "failed", "pruned")
"""States that a trial does not leave."""
STATES = (*OVER, "running", "waiting")
SOURCES = ("sampler", "published", "default", "enqueued")
"""Sources of a trial's hyperparameters. Trial 0 has published values, or defaults where none is published; a person, a
request or a sweep enqueues.
"""
FIRST = ("published", "default")
"""Sources of a trial 0 that no sampler proposed."""
STRUCK = "struck"
"""Reason of a trial that a person has struck out (`strikes`)."""
SOURCE = "tuner:source"
"""Attribute of a trial that holds its source, if that is not the sampler."""


@dataclass(frozen=True)
class Trial:
    """A trial as shown."""

    number: int
    state: str
    """One of `STATES`; a waiting trial goes on when its study does."""
    params: dict[str, Value]
    """Hyperparameters that were chosen for this trial."""
    source: str
    """Origin of its hyperparameters: one of `SOURCES`."""
    value: float | None
    metrics: Metrics | None
    seconds: float | None
    """Seconds that all its attempts took."""
    cost: Cost | None
    """Epochs, training tokens a second, and the last attempt's seconds of set-up, training and evaluation."""
    reason: str | None
    """Reason of its last attempt's end, one of `claims.RETRIES`, or pruned; null for a complete trial."""
    message: str | None
    worker: str | None
    run: str
    fixed: dict[str, Value] = field(default_factory=dict)
    """Hyperparameters that were set by hand for all trials of its study."""
    hyperparameters: dict[str, Value] = field(default_factory=dict)
    """All hyperparameters, those left at their defaults too."""
    notes: list[str] = field(default_factory=list)
    """Words that qualify its figures: collapsed, off its rate, not resolved."""

    @property
    def given(self) -> dict[str, Value]:
        """The hyperparameters that were chosen or set by hand, in their order."""
        found = {**self.params, **self.fixed}
        return {key: found[key] for key in [*self.hyperparameters, *found] if key in found}

    @property
    def remark(self) -> str:
        """Remark on the trial's origin, its end and its figures; empty if there is nothing to say."""
        said = [f"{self.source} values"] if self.source in FIRST else []
        said += (
            [f"{self.reason}: {self.message or ''}".removesuffix(": ")]
            if self.reason and (not self.notes or self.reason == STRUCK)
            else []
        )
        return "; ".join([*said, *self.notes])

    @classmethod
    def of(cls, row: Any, now: float, definition: Definition) -> "Trial":
        """A trial of a study of that definition, as it is at that time of the database's clock.

        Args:
            row: a `TrialRow`, or its columns.
        """
        is_running = row.state == "running" and row.lease_until > now
        seconds = row.seconds + (now - (row.started_at or now) if is_running else 0.0)
        done = row.state == "complete"
        return cls(
            number=row.number,
            state="waiting" if row.state == "running" and not is_running else row.state,
            params=dict(row.params),
            source=row.attrs.get(SOURCE, "sampler"),
            value=row.value if done else None,
            metrics=row.metrics,
            seconds=round(seconds, 3) if row.started_at is not None else None,
            cost=row.cost,
            reason=None if done or is_running else row.reason,
            message=None if done or is_running else row.message,
            worker=row.worker,
            run=f"{row.study}/{row.number}",
            fixed=dict(definition.fixed),
            hyperparameters=definition.hyperparameters(row.params),
            notes=notes_of(row.metrics or Metrics()),
        )

    def plain(self) -> dict[str, Any]:
        return dict(vars(self))


def shown_state(now: float) -> Any:
    """A trial's state as shown, in SQL."""
    lost = and_(TrialRow.state == "running", TrialRow.lease_until <= now)
    return case((lost, "waiting"), else_=TrialRow.state)


def epoch_of(row: EpochRow) -> dict[str, Any]:
    """A trial's figures at one epoch, as JSON values."""
    return {name: getattr(row, name) for name in (*TOLD, "objective")}


def count_over(counts: Mapping[str, int]) -> int:
    """Number of trials that are over, by the number in each state."""
    return sum(counts.get(state, 0) for state in OVER)


def revive(row: StudyRow, now: float) -> None:
    """Has a study hand out trials again. If it had stopped, its failures until now count no more."""
    if row.state != "active":
        row.resumed_at = now
    row.state, row.why, row.faults = "active", None, 0


class Trials:
    """The trials of one study in its database."""

    def __init__(self, database: Database, study: str, definition: Definition) -> None:
        self.database, self.study, self.definition = database, study, definition

    def all(self) -> list[Trial]:
        """All trials, in the order of their numbers."""
        query = select(TrialRow).where(TrialRow.study == self.study).order_by(TrialRow.number)

        def look(session: Any) -> list[Trial]:
            now = self.database.clock(session)
            return [Trial.of(row, now, self.definition) for row in session.scalars(query)]

        return self.database.read(look)

    def get(self, number: int) -> Trial:
        """One trial.

        Raises:
            Missing: if there is none of that number.
        """

        def look(session: Any) -> Trial | None:
            row = session.get(TrialRow, (self.study, number))
            return None if row is None else Trial.of(row, self.database.clock(session), self.definition)

        found = self.database.read(look)
        if found is None:
            raise Missing(f"study {self.study!r} has no trial {number}: list its trials first.")
        return found

    def get_many(self, numbers: Sequence[int]) -> list[Trial]:
        """The trials of these numbers, in this order; one that is not there is left out."""
        query = select(TrialRow).where(TrialRow.study == self.study, TrialRow.number.in_(numbers))

        def look(session: Any) -> list[Trial]:
            now = self.database.clock(session)
            found = {row.number: Trial.of(row, now, self.definition) for row in session.scalars(query)}
            return [found[number] for number in numbers if number in found]

        return self.database.read(look)

    def page(
        self, limit: int, after: int | None = None, state: str | None = None, newest_first: bool = False
    ) -> list[Trial]:
        """Up to `limit` trials, in the order of their numbers or against it, after one of a number."""
        query = select(TrialRow).where(TrialRow.study == self.study).limit(limit)
        query = query.order_by(TrialRow.number.desc() if newest_first else TrialRow.number)
        if after is not None:
            query = query.where(TrialRow.number < after if newest_first else TrialRow.number > after)

        def look(session: Any) -> list[Trial]:
            now = self.database.clock(session)
            chosen = query if state is None else query.where(shown_state(now) == state)
            return [Trial.of(row, now, self.definition) for row in session.scalars(chosen)]

        return self.database.read(look)

    def epochs(self, number: int, limit: int, after: int = 0) -> list[dict[str, Any]]:
        """Up to `limit` epochs of a trial after one; a part of a finished search costs a round trip, not a scan."""
        mine = (EpochRow.study == self.study, EpochRow.trial == number, EpochRow.epoch > after)
        query = select(EpochRow).where(*mine).order_by(EpochRow.epoch).limit(limit)
        return [epoch_of(row) for row in self.database.read(lambda session: session.scalars(query).all())]

    def attempts(self, number: int) -> list[dict[str, Any]]:
        """A trial's attempts, the first one first."""
        columns = (
            AttemptRow.worker, AttemptRow.host, AttemptRow.seed, AttemptRow.state, AttemptRow.reason, AttemptRow.message,
            AttemptRow.started_at, AttemptRow.ended_at,
        )  # fmt: skip
        mine = (AttemptRow.study == self.study, AttemptRow.trial == number)
        query = select(*columns).where(*mine).order_by(AttemptRow.id)
        rows = self.database.read(lambda session: session.execute(query).mappings().all())
        return [{"attempt": count, **row} for count, row in enumerate(rows)]

    def enqueue(self, params: Mapping[str, Value]) -> Trial:
        """A trial with these hyperparameters, others at their defaults, for the next worker; a spent budget grows by it.

        Raises:
            Usage: if one of them is not searched by this study or out of its domain.
            Clash: if the study is being deleted.
        """
        (trial,) = self._enqueue([params], again=True)
        return trial

    def enqueue_missing(self, points: Sequence[Mapping[str, Value]]) -> list[Trial]:
        """Trials with those of these hyperparameters that no trial has yet, in one piece: others who do the same add none twice.

        Raises:
            Usage, Clash: as `enqueue`.
        """
        return self._enqueue(points, again=False)

    def _enqueue(self, points: Sequence[Mapping[str, Value]], again: bool) -> list[Trial]:
        wanted = [self._chosen(params) for params in points]

        def insert(session: Any) -> list[Trial]:
            study = study_row(session, self.study, with_for_update=LOCK)
            if study.state == "deleting":
                raise Clash(f"study {self.study!r} is being deleted: make another one.")
            now = self.database.clock(session)
            if study.state == "satisfied":  # with the trials that it chose; this one is somebody's
                revive(study, now)
            mine = TrialRow.study == self.study
            first = session.execute(select(func.count()).where(mine)).scalar_one()
            there = [] if again else list(session.scalars(select(TrialRow.params).where(mine)))
            new = [chosen for chosen in wanted if chosen not in there]
            study.budget = max(study.budget, first + len(new))
            added = [
                self.wait(session, number, chosen, {SOURCE: "enqueued"}, now)
                for number, chosen in enumerate(new, first)
            ]
            return [Trial.of(row, now, self.definition) for row in added]

        return self.database.run(insert)

    def _chosen(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """These hyperparameters, checked, with the other searched ones at their defaults."""
        searched = self.definition.searched
        names = [p.name for p in searched]
        for key in params:
            if key not in names:
                raise Usage(
                    f"{key!r} is not searched by study {self.study!r}: give values of {', '.join(names) or 'nothing'}.",
                    f"params.{key}",
                )
        return self.definition.facts.space.checked({**{p.name: p.default for p in searched}, **params}, "params")

    def wait(self, session: Any, number: int, params: dict[str, Value], attrs: dict[str, Any], now: float) -> TrialRow:
        """A trial for the next worker."""
        row = TrialRow(study=self.study, number=number, state="waiting", params=params, attrs=attrs, created_at=now)
        session.add(row)
        row.revision = revise(session, self.study)
        session.flush()
        return row

    def counts(self) -> dict[str, int]:
        """Number of trials in each state."""
        query = select(TrialRow.state, func.count()).where(TrialRow.study == self.study).group_by(TrialRow.state)
        return {row[0]: row[1] for row in self.database.read(lambda session: session.execute(query).all())}

    def shown_counts(self) -> dict[str, int]:
        """Number of trials in every state as shown: a trial whose lease has run out counts as waiting."""

        def look(session: Any) -> dict[str, int]:
            state = shown_state(self.database.clock(session))
            query = select(state, func.count()).where(TrialRow.study == self.study).group_by(state)
            return {row[0]: row[1] for row in session.execute(query)}

        return {**dict.fromkeys(STATES, 0), **self.database.read(look)}
