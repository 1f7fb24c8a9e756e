"""Figures against the rate that was asked for: the paper's figures 2 and 3, for techniques that hold one.

The panels: the perplexity, the accuracy gap, and what the reached rate falls short of the target. Figure 2 compares techniques,
figure 3 posteriors and priors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from tuner.confirmation import confirmations, tuned
from tuner.database import Database
from tuner.errors import Usage
from tuner.paper import estimator_of
from tuner.studies import Study

PANELS = {
    "ppl": "PPL",
    "acc_gap": "accuracy gap [points]",
    "shortfall": "target − reached rate [nats per sentence]",
}
COMPONENTS = {"posterior": "gaussian", "prior": "normal"}
"""options that figure 3 compares, and what a model has unless told otherwise"""


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

    def plain(self) -> dict[str, Any]:
        """As JSON values, a list for each column."""
        columns: dict[str, Any] = {"target": [p.target for p in self.points], "runs": [p.runs for p in self.points]}
        for key in PANELS:
            found = [p.figures[key] or (None, None) for p in self.points]
            columns[key], columns[f"{key}_sd"] = [mean for mean, _ in found], [sd for _, sd in found]
        return {"label": self.label, "studies": self.studies, "estimators": self.estimators, **columns}


def series(database: Database, names: list[str], split: str) -> list[Series]:
    """A series for each of these studies (or all) that has trials with a target rate; its confirmations' runs where the split is
    theirs alone.

    Raises:
        Usage: if a study is unknown, or none has such trials.
    """
    known, found = confirmations(database), []
    for study in tuned(database, names):
        is_own = split == "valid" or study.specification["confirms"]
        each = [study] if is_own else known.get(study.name, [])
        runs = [metrics for one in each for metrics in _metrics(one, split)]
        if runs:
            points = [_point(target, group) for target, group in sorted(_by_target(runs).items())]
            estimators = list(dict.fromkeys(estimator_of(metrics) for metrics in runs))
            found.append((study, Series(_label(study), [one.name for one in each], points, estimators)))
    if not found:
        remedy = (
            "`tuner sweep --technique mdr --over r=1,2,5,10,20` makes some"
            if split == "valid"
            else "`tuner confirm STUDY --trial N` makes them"
        )
        raise Usage(
            f"no complete trial of {', '.join(names) or 'any study'} has {split} figures and a target rate: {remedy}."
        )
    labels = [one.label for _, one in found]
    return [
        one if labels.count(one.label) == 1 else Series(study.name, one.studies, one.points, one.estimators)
        for study, one in found
    ]


def _metrics(study: Study, split: str) -> list[Mapping[str, Any]]:
    done = [trial.metrics for trial in study.trials() if trial.state == "complete" and trial.metrics]
    every = done if split == "valid" else [metrics["test"] for metrics in done if metrics.get("test")]
    return [metrics for metrics in every if metrics.get("rate_error") is not None]


def _by_target(runs: Sequence[Mapping[str, Any]]) -> dict[float, list[Mapping[str, Any]]]:
    """The runs by what their technique held: R − (R − r), whose last digits are rounding."""
    found: dict[float, list[Mapping[str, Any]]] = {}
    for metrics in runs:
        found.setdefault(round(metrics["rate"] - metrics["rate_error"], 9), []).append(metrics)
    return found


def _point(target: float, runs: Sequence[Mapping[str, Any]]) -> Point:
    figures: dict[str, tuple[float, float | None] | None] = {}
    for key in PANELS:
        values = [-metrics["rate_error"] if key == "shortfall" else metrics[key] for metrics in runs]
        known = [float(value) for value in values if value is not None]
        figures[key] = (fmean(known), stdev(known) if len(known) > 1 else None) if known else None
    return Point(target, len(runs), figures)


def _label(study: Study) -> str:
    """The technique, and what of the posterior and the prior is not the paper's default."""
    facts = study.specification
    given = [str(facts["fixed"][key]) for key, usual in COMPONENTS.items() if facts["fixed"].get(key, usual) != usual]
    return f"{facts['technique']} ({', '.join(given)})" if given else str(facts["technique"])
