"""Figures against the rate that was asked for: the paper's figures 2 and 3, for techniques that hold one.

The panels: the perplexity, the accuracy gap, and the reached minus the wanted rate. Figure 2 compares techniques, figure 3
posteriors and priors, which one grid may have. The points of a sweep are a line; a search varies more than one hyperparameter,
and its trials are points. Runs are one point, with a mean and a deviation, if they differ in their seeds alone.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from tuner.analysis.pareto import Columns
from tuner.estimators import mixed
from tuner.metrics import AXES
from tuner.studies.study import Study
from tuner.studies.trials import OVER

PANELS = {key: AXES[key].titled for key in ("ppl", "acc_gap", "rate_error")}
COMPONENTS = {"posterior": "gaussian", "prior": "normal"}
"""Options that figure 3 compares, and the values that a model has unless told otherwise."""


@dataclass(frozen=True)
class Point:
    """The runs of one target rate: of each panel's figure mean, and standard deviation where there are several."""

    target: float
    runs: int
    figures: dict[str, tuple[float, float | None] | None]


@dataclass(frozen=True)
class Series:
    """One line of the figure."""

    label: str
    studies: list[str]
    points: list[Point]
    estimators: list[str]
    joined: bool = True
    """True if the runs differ in one hyperparameter at most, so that a line between them means something."""
    lost: tuple[str, ...] = ()
    """Notes on the runs of its studies that are in no mean: without those that diverged, a mean is too good."""

    def plain(self) -> dict[str, Any]:
        """The series as JSON values, a list for each column."""
        columns: dict[str, Any] = {"target": [p.target for p in self.points], "runs": [p.runs for p in self.points]}
        for key in PANELS:
            found = [p.figures[key] or (None, None) for p in self.points]
            columns[key], columns[f"{key}_sd"] = [mean for mean, _ in found], [sd for _, sd in found]
        return {
            "label": self.label,
            "studies": self.studies,
            "estimators": self.estimators,
            "joined": self.joined,
            **columns,
        }


def series(found: Iterable[tuple[Study, Sequence[Columns]]], split: str) -> list[Series]:
    """The series of each study of which the trials in these columns held a target rate: one for each posterior and prior."""
    held = [(study, one) for study, columns in found for one in _of(study, columns, split)]
    if len({study.spec.model for study, _ in held}) > 1:
        held = [(study, replace(one, label=f"{one.label}, {study.spec.model}")) for study, one in held]
    labels = [one.label for _, one in held]
    return [
        one
        if labels.count(one.label) == 1
        else replace(one, label=one.label.replace(study.spec.technique, study.name, 1))
        for study, one in held
    ]


def plain(found: Sequence[Series], split: str) -> dict[str, Any]:
    """All series as JSON values, with a note where perplexities cannot be ranked together, or runs are in no mean."""
    mixture = mixed({one.label: one.estimators for one in found})
    notes = dict.fromkeys([*([mixture] if mixture else []), *(lost for one in found for lost in one.lost)])
    return {
        "split": split,
        "panels": PANELS,
        "series": [one.plain() for one in found],
        "note": "; ".join(notes) or None,
    }


@dataclass(frozen=True)
class _Run:
    """A complete trial that held a target rate."""

    target: float
    settings: dict[str, Any]
    """Hyperparameters, and the components of the model, by name."""
    figures: dict[str, float]
    estimators: list[str]

    @property
    def components(self) -> tuple[str, ...]:
        return tuple(str(self.settings[key]) for key in COMPONENTS)

    @property
    def point(self) -> tuple[float, str]:
        """Equal for runs by one estimator that differ in nothing but their seed."""
        rounded = {key: round(value, 9) if isinstance(value, float) else value for key, value in self.settings.items()}
        return round(self.target, 9), repr((sorted(rounded.items()), self.estimators))


def _of(study: Study, every: Sequence[Columns], split: str) -> list[Series]:
    by_components: dict[tuple[str, ...], list[_Run]] = {}
    for run in (run for columns in every for run in _runs(columns, split)):
        by_components.setdefault(run.components, []).append(run)
    names = [columns.study.name for columns in every]
    lost = tuple(note for columns in every for note in _lost(columns.study))
    return [replace(_series(study, names, *found), lost=lost) for found in by_components.items()]


def _lost(study: Study) -> list[str]:
    counts = study.trials.counts()
    over = sum(counts.get(state, 0) for state in OVER)
    ends = [(state, counts.get(state, 0)) for state in OVER if state != "complete"]
    return [f"{count} of {over} runs of {study.name} {state}" for state, count in ends if count]


def _runs(columns: Columns, split: str) -> Iterator[_Run]:
    spec, figures = columns.study.spec, columns.figures[split]
    shared = {key: spec.fixed.get(key, usual) for key, usual in COMPONENTS.items()}
    shared |= (spec.confirms or {}).get("params", {})
    made = columns.made(range(len(columns.numbers)), split, "nll")
    for row, error in enumerate(figures["rate_error"]):
        if math.isfinite(error):
            target = figures["target_rate"][row]
            if math.isnan(target):  # of an older program: R − (R − r), whose last digits are rounding
                target = round(figures["rate"][row] - error, 9)
            settings = {**shared, **{name: column[row] for name, column in columns.params.items()}}
            found = {key: figures[key][row] for key in PANELS}
            yield _Run(target, settings, found, [made[row]])


def _series(study: Study, names: list[str], components: tuple[str, ...], runs: Sequence[_Run]) -> Series:
    points: dict[tuple[float, str], list[_Run]] = {}
    for run in runs:
        points.setdefault(run.point, []).append(run)
    varied = [key for key in runs[0].settings if len({repr(run.settings.get(key)) for run in runs}) > 1]
    estimators = list(dict.fromkeys(made for run in runs for made in run.estimators))
    given = [each for each, usual in zip(components, COMPONENTS.values(), strict=True) if each != usual]
    label = f"{study.spec.technique} ({', '.join(given)})" if given else str(study.spec.technique)
    return Series(label, names, [_point(points[key]) for key in sorted(points)], estimators, len(varied) <= 1)


def _point(runs: Sequence[_Run]) -> Point:
    figures: dict[str, tuple[float, float | None] | None] = {}
    for key in PANELS:
        known = [run.figures[key] for run in runs if math.isfinite(run.figures[key])]
        figures[key] = (fmean(known), stdev(known) if len(known) > 1 else None) if known else None
    return Point(runs[0].target, len(runs), figures)
