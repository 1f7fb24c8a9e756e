"""What a study's values tell of two hyperparameters: the mean and the uncertainty of a process through all of them."""

from typing import Any

import numpy as np

from tuner.analysis.history import observed
from tuner.errors import Usage
from tuner.samplers.cube import Choice, Cube
from tuner.studies import winner

SIDE = 24
"""values of a number that the surface is told at"""


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
    if len(trials) < winner.LEAST:
        raise Usage(f"study {name!r} has {len(trials)} complete trials: a surface takes {winner.LEAST}.")
    points = np.array([cube.encode(trial.params) for trial in trials])
    assert best is not None
    process = winner.through(points, np.array([trial.value for trial in trials], dtype=float))
    xs, ys = (_values(cube, key) for key in (x, y))
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


def _values(cube: Cube, name: str) -> list[Any]:
    """Of a choice all, of a number so many, evenly in its own scale."""
    part = cube.parts[name]
    if isinstance(part, Choice):
        return list(part.distribution.choices)
    return list(dict.fromkeys(part.decode(np.array([share])) for share in np.linspace(0.0, 1.0, SIDE)))
