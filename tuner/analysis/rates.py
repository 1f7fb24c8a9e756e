"""Figures against the rate that was asked for: the paper's figures 2 and 3, for techniques that hold one.

The panels: the perplexity, the accuracy gap, and the reached minus the wanted rate. Figure 2 compares techniques, figure 3
posteriors and priors. The points of a sweep are a line; a search varies more than one hyperparameter, and its trials are points.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from tuner.analysis.pareto import Columns
from tuner.estimators import mixed
from tuner.metrics import AXES
from tuner.studies.study import Study

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
    """A series for each study of which the trials in these columns held a target rate."""
    made = [(study, _series(study, columns, split)) for study, columns in found]
    held = [(study, one) for study, one in made if one.points]
    labels = [one.label for _, one in held]
    return [one if labels.count(one.label) == 1 else replace(one, label=study.name) for study, one in held]


def plain(found: Sequence[Series], split: str) -> dict[str, Any]:
    """All series as JSON values, with a note where perplexities cannot be ranked together."""
    return {
        "split": split,
        "panels": PANELS,
        "series": [one.plain() for one in found],
        "note": mixed({one.label: one.estimators for one in found}),
    }


def _series(study: Study, every: Sequence[Columns], split: str) -> Series:
    by_target: dict[float, list[dict[str, float]]] = {}
    estimators: list[str] = []
    for columns in every:
        figures = columns.figures[split]
        rows = [row for row, error in enumerate(figures["rate_error"]) if math.isfinite(error)]
        estimators += columns.made(rows, split)
        for row in rows:
            run = {key: figures[key][row] for key in ("rate", "target_rate", "rate_error", "ppl", "acc_gap")}
            target = run["target_rate"]
            if math.isnan(target):  # of an older program: R − (R − r), whose last digits are rounding
                target = round(run["rate"] - run["rate_error"], 9)
            by_target.setdefault(target, []).append(run)
    points = [_point(target, runs) for target, runs in sorted(by_target.items())]
    names = [columns.study.name for columns in every]
    return Series(_label(study), names, points, list(dict.fromkeys(estimators)), len(_varied(every)) <= 1)


def _varied(every: Sequence[Columns]) -> list[str]:
    """The hyperparameters in which the complete trials of these columns differ."""
    values: dict[str, set[Any]] = {}
    for columns in every:
        confirmed = (columns.study.spec.confirms or {}).get("params", {})
        for name, column in {**{key: [value] for key, value in confirmed.items()}, **columns.params}.items():
            values.setdefault(name, set()).update(column)
    return [name for name, found in values.items() if len(found) > 1]


def _point(target: float, runs: Sequence[dict[str, float]]) -> Point:
    figures: dict[str, tuple[float, float | None] | None] = {}
    for key in PANELS:
        known = [run[key] for run in runs if math.isfinite(run[key])]
        figures[key] = (fmean(known), stdev(known) if len(known) > 1 else None) if known else None
    return Point(target, len(runs), figures)


def _label(study: Study) -> str:
    """The technique, and what of the posterior and the prior is not the paper's default."""
    given = [
        str(study.spec.fixed[key]) for key, usual in COMPONENTS.items() if study.spec.fixed.get(key, usual) != usual
    ]
    return f"{study.spec.technique} ({', '.join(given)})" if given else str(study.spec.technique)
