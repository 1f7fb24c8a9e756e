"""The course of a search: each trial's value, and the best one so far."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tuner.errors import Usage
from tuner.ngram import Line
from tuner.samplers.cube import Cube
from tuner.storage.database import Database
from tuner.studies import winner
from tuner.studies.objectives import shortfall
from tuner.studies.study import Study, open_study
from tuner.studies.table import Table
from tuner.studies.trials import Trial

COLUMNS = ("number", "state", "value", "note")
SAID = {"melbo": "MELBO", "nll": "NLL"}


def of(study: Study, table: Table) -> dict[str, Any]:
    """Every trial by its number, what it was judged by, and the lowest value so far of those that reach the least rate; the lines
    that it is to be held against.

    Args:
        table: the study's, as it is now.
    """
    spec, facts = study.spec, study.facts
    columns = table.values(COLUMNS, table.select())
    rates = table.values(("rate",), table.select())["rate"]
    reached = [
        v if shortfall(spec.min_rate, rate) == 0 else None for v, rate in zip(columns["value"], rates, strict=True)
    ]
    judged = SAID.get(spec.objective, "NLL")
    line = None if judged == "MELBO" else Line.of_study(facts.ngram, "valid", facts.corpus.token)
    return {
        **columns,
        "best": _least(reached),
        "judged": judged,
        "entropy": None if judged == "MELBO" else facts.corpus.entropy,
        "ngram": None if line is None else line.nll,
    }


def smoothed(url: str, name: str) -> dict[str, Any]:
    """The mean of a process through all complete trials at each of them, the lowest so far of those that reach the
    least rate, and the noise's standard deviation; `noise` is None where no noise is inferred.

    Raises:
        Usage: if the values are of two objectives, of which no process is the mean.
    """
    nothing: dict[str, Any] = {"number": [], "mean": [], "best": [], "noise": None}
    with observed(url, name) as (study, cube, trials):
        if len(trials) < winner.LEAST or not cube.parts:
            return nothing
        found = winner.means(np.array([cube.encode(t.params) for t in trials]), np.array([t.value for t in trials]))
    if found is None:
        return nothing
    means = [float(mean) for mean in found[0]]
    falls = [shortfall(study.spec.min_rate, (t.metrics or {}).get("rate")) for t in trials]
    best = _least([mean if fall == 0 else None for mean, fall in zip(means, falls, strict=True)])
    return {"number": [t.number for t in trials], "mean": means, "best": best, "noise": found[1]}


@contextmanager
def observed(url: str, name: str) -> Iterator[tuple[Study, Cube, list[Trial]]]:
    """A study with its space and the complete trials in it.

    Raises:
        Usage: if their values are of two objectives, through which no process goes.
    """
    with Database(url, patience=10.0) as database:
        study = open_study(database, name)
        if study.front():
            raise Usage(f"study {name!r} has two objectives: no process goes through its values.")
        cube = Cube({p.name: p.distribution() for p in study.searched})
        yield study, cube, [t for t in study.trials.all() if t.value is not None and cube.holds(t.params)]


def _least(values: Sequence[float | None]) -> list[float | None]:
    """The least one up to each place; none before the first."""
    least, found = math.inf, []
    for value in values:
        least = least if value is None else min(least, value)
        found.append(least if math.isfinite(least) else None)
    return found
