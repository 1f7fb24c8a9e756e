"""Trials as people and programs see them, made from their rows."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import and_, case

from tuner.estimators import notes_of
from tuner.space import Value
from tuner.storage.tables import EpochRow, TrialRow
from tuner.studies.spec import Definition

OVER = ("complete", "failed", "pruned")
"""states that a trial does not leave"""
STATES = (*OVER, "running", "waiting")
SOURCES = ("sampler", "published", "default", "enqueued")
"""where a trial's hyperparameters come from: published values, or defaults where none is published, are trial 0's; a person, a
request or a sweep enqueues"""
FIRST = ("published", "default")
"""of these, what a trial 0 has that no sampler proposed"""
STRUCK = "struck"
"""reason of a trial that a person has struck out (`strikes`)"""
SOURCE = "tuner:source"
"""the attribute of a trial that holds it, but for a sampler's"""


@dataclass(frozen=True)
class Trial:
    """A trial as shown."""

    number: int
    state: str
    """complete, failed, pruned, running, or waiting (goes on when the study does)"""
    params: dict[str, Value]
    """hyperparameters that were chosen for this trial"""
    source: str
    """one of `SOURCES`"""
    value: float | None
    metrics: dict[str, Any] | None
    seconds: float | None
    """spent by all its attempts"""
    cost: dict[str, Any] | None
    """epochs, training tokens per second, and the last attempt's seconds of set-up, training and evaluation"""
    reason: str | None
    """of the last attempt's end: one of `attempts.RETRIES`, or pruned; none for a complete trial"""
    message: str | None
    worker: str | None
    run: str
    fixed: dict[str, Value] = field(default_factory=dict)
    """hyperparameters that were set by hand for all trials of its study"""
    hyperparameters: dict[str, Value] = field(default_factory=dict)
    """all of them, those left at their defaults too"""
    notes: list[str] = field(default_factory=list)
    """what qualifies its figures: `estimators.notes_of`"""

    @property
    def given(self) -> dict[str, Value]:
        """The hyperparameters that were chosen or set by hand, in their order."""
        found = {**self.params, **self.fixed}
        return {key: found[key] for key in [*self.hyperparameters, *found] if key in found}

    @property
    def remark(self) -> str:
        """What its origin, its end and its figures deserve to be said; empty if nothing."""
        said = [f"{self.source} values"] if self.source in FIRST else []
        said += [f"{self.reason}: {self.message or ''}".removesuffix(": ")] if self.reason and not self.notes else []
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
            notes=notes_of(row.metrics or {}),
        )

    def plain(self) -> dict[str, Any]:
        return dict(vars(self))


def shown_state(now: float) -> Any:
    """A trial's state as shown, in SQL."""
    lost = and_(TrialRow.state == "running", TrialRow.lease_until <= now)
    return case((lost, "waiting"), else_=TrialRow.state)


def epoch_of(row: EpochRow) -> dict[str, Any]:
    """A trial's figures at one epoch, as JSON values."""
    names = ("epoch", "distortion", "rate", "neg_elbo", "active_units", "seconds", "objective")
    return {name: getattr(row, name) for name in names}
