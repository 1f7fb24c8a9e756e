"""Observations of a study so far, as a Gaussian process is told of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuner.samplers import VOID
from tuner.samplers.cube import Cube

Array = NDArray[np.float64]

HIGH = 5.0
"""Factor of the best value's distance to the median; values further above the median are cut there."""
LOW = 10.0
"""Number of interquartile ranges below the median at which lower values are cut."""
QUARTILES = 5
"""Smallest number of values from which quartiles are taken, so that one value cannot move a quartile."""


@dataclass(frozen=True)
class Observations:
    """Points of a cube and what was found at them, to be minimised."""

    x: Array  # [n, d]
    y: Array  # [n, objectives]
    limited: tuple[str, ...]
    """Names of the constraints."""
    constraints: Array  # [n, c] Optuna's: at most 0 where they hold
    pending: Array  # [p, d] points under way

    @classmethod
    def of(cls, study: Study, cube: Cube, asked: int) -> "Observations":
        """Observations of a study's trials but for the one that is asked for.

        Trials that failed, were pruned or found no finite value count as the worst value found, so that they are not repeated.
        While nothing finite was found they count as under way. A constraint that is not known counts as the worst one.
        Trials that are void count as none.
        """
        signs = np.array([-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in study.directions])
        others = [t for t in study.get_trials(deepcopy=False) if t.number != asked and VOID not in t.system_attrs]
        trials = [t for t in others if cube.holds(t.params)]
        over = [t for t in trials if t.state.is_finished()]
        names = tuple(sorted({name for t in over for name in t.constraints}))
        x, y = cls._points(cube, over), np.array([signs * _values(t, len(signs)) for t in over])
        c = np.array([[t.constraints.get(name, np.nan) for name in names] for t in over])
        y, c = y.reshape(len(over), len(signs)), c.reshape(len(over), len(names))
        pending = cls._points(cube, [t for t in trials if not t.state.is_finished()])
        finite = np.isfinite(y).all(1)
        if not finite.any():
            return cls(x[:0], y[:0], names, c[:0], np.concatenate([pending, x]))
        for column in y.T:
            column[finite] = winsorised(column[finite])
            column[~finite] = column[finite].max()
        for column in c.T:
            known = np.isfinite(column)
            column[~known] = column[known].max(initial=0.0)
        return cls(x, y, names, c, pending)

    @staticmethod
    def _points(cube: Cube, trials: list[FrozenTrial]) -> Array:
        return np.array([cube.encode(t.params) for t in trials]).reshape(-1, cube.d)

    @property
    def taken(self) -> Array:
        """Every point that was tried or is under way: [n + p, d]."""
        return np.concatenate([self.x, self.pending])


def _values(trial: FrozenTrial, objectives: int) -> Array:
    done = trial.state == TrialState.COMPLETE
    return np.array(trial.values) if done else np.full(objectives, np.nan)


def winsorised(values: Array) -> Array:
    """Values [n] with the outliers cut: one diverged trial, or one impossibly good one, must not flatten the surrogate.

    The upper limit is the median plus 5 times the median's distance from the best; where that is 0, from the next value up. The
    lower one is the median less 10 interquartile ranges.
    """
    median = float(np.median(values))
    if len(values) >= QUARTILES:
        low, high = np.quantile(values, (0.25, 0.75))
        values = np.maximum(values, median - LOW * (high - low)) if high > low else values
    scale = median - float(values.min())
    if scale == 0:
        above = values[values > median]
        scale = float(above.min()) - median if len(above) else 0.0
    return np.minimum(values, median + HIGH * scale)


def squashed(values: Array) -> Array:
    """Values [n] of a constraint, those far from 0 drawn towards it, signs kept: what decides is where they cross 0."""
    scale = float(np.median(np.abs(values))) or 1.0
    found: Array = np.arcsinh(values / scale)
    return found


def standardised(values: Array) -> tuple[Array, float]:
    """Values [n] of mean 0 and standard deviation 1, and what a unit of them is worth; constants become 0."""
    spread = float(values.std()) or 1.0
    return (values - values.mean()) / spread, spread


def thinned(y: Array, limit: int) -> NDArray[np.int64]:
    """Indices of those of n observations of value y [n] that a model sees, in order: the better half of the limit, the
    rest evenly.
    """
    limit = max(limit, 1)
    if len(y) <= limit:
        return np.arange(len(y))
    order = np.argsort(y, kind="stable")
    better, rest = order[: limit // 2], np.sort(order[limit // 2 :])
    places = np.linspace(0, len(rest) - 1, limit - len(better)).round().astype(int)
    return np.sort(np.concatenate([better, rest[places]]))
