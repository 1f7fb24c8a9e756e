"""The mean and the uncertainty of a process through all of a study's values: along each hyperparameter, and over any two."""

from typing import Any

import numpy as np

from tuner.analysis.history import observed
from tuner.errors import Usage
from tuner.samplers.cube import Choice, Cube
from tuner.studies import winner
from tuner.studies.study import Study
from tuner.studies.trials import Trial
from tuner.studies.winner import Smooth

SIDE = 24
"""Number of values of a numeric hyperparameter at which the surface is told."""
LENGTH = 60
"""Values of a number that a slice is told at."""


def of(url: str, name: str, x: str, y: str) -> dict[str, Any]:
    """Over values of the hyperparameters x and y, all others at the best trial's: the process's `mean` and `sd` in the values'
    unit, a row for each of `ys`; where the trials are, and what the others are held `at`.

    The process is the one by which the samplers of their own choose, its kernel's parameters at their likeliest.

    Raises:
        Usage: if one is not searched, there are too few trials, or they have two objectives.
    """
    with observed(url, name) as (study, cube, trials):
        best = study.best()
    for field, key in (("x", x), ("y", y)):
        if key not in cube.parts or x == y:
            known = ", ".join(cube.parts) or "none"
            raise Usage(
                f"{field} {key!r} is no hyperparameter for a surface of study {name!r}: choose two of {known}.", field
            )
    process = _through(study, cube, trials, "a surface takes")
    assert best is not None
    xs, ys = (_values(cube, key, SIDE) for key in (x, y))
    grid = np.array([cube.encode({**best.params, x: across, y: up}) for up in ys for across in xs])
    mean, deviation = process.predict(grid)
    return {
        "x": x,
        "y": y,
        "xs": xs,
        "ys": ys,
        "mean": mean.reshape(len(ys), len(xs)).tolist(),
        "sd": deviation.reshape(len(ys), len(xs)).tolist(),
        "noise": process.noise_sd,
        "number": [trial.number for trial in trials],
        "points_x": [trial.params[x] for trial in trials],
        "points_y": [trial.params[y] for trial in trials],
        "at": {key: value for key, value in best.params.items() if key not in (x, y)},
        "best": best.number,
    }


def slices(url: str, name: str) -> dict[str, Any]:
    """Along each searched hyperparameter, all others at the best trial's: the process's `mean` and `sd` at `values` of it.

    The process is that of `of`. `figures` names the figures that the values are.

    Raises:
        Usage: if there are too few trials, or they have two objectives.
    """
    with observed(url, name) as (study, cube, trials):
        best = study.best()
    process = _through(study, cube, trials, "slices take")
    assert best is not None
    items = []
    for key in cube.parts:
        values = _values(cube, key, LENGTH)
        mean, deviation = process.predict(np.array([cube.encode({**best.params, key: value}) for value in values]))
        items.append({"name": key, "values": values, "mean": mean.tolist(), "sd": deviation.tolist()})
    figures = ["value", study.spec.objective]
    return {"items": items, "figures": figures, "noise": process.noise_sd, "at": best.params, "best": best.number}


def _through(study: Study, cube: Cube, trials: list[Trial], wanted: str) -> Smooth:
    """
    Raises:
        Usage: if there are too few trials.
    """
    if len(trials) < winner.LEAST:
        raise Usage(f"study {study.name!r} has {len(trials)} complete trials: {wanted} {winner.LEAST}.")
    points = np.array([cube.encode(trial.params) for trial in trials])
    return winner.through(points, np.array([trial.value for trial in trials], dtype=float))


def _values(cube: Cube, name: str, count: int) -> list[Any]:
    """Values of a hyperparameter at which the surface is told: all choices, or `count` numbers evenly spaced in their
    own scale.
    """
    part = cube.parts[name]
    if isinstance(part, Choice):
        return list(part.distribution.choices)
    return list(dict.fromkeys(part.decode(np.array([share])) for share in np.linspace(0.0, 1.0, count)))
