"""The winner of a study: where its values are noisy, the trial of the lowest mean and not of the luckiest value.

A process is fitted through the values of all complete trials, whatever sampler proposed them. Without noise its means are the
values, and the winner is the best trial.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuner.studies.trials import Trial, best_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from tuner.samplers.cube import Array
    from tuner.studies.study import Study

LEAST = 10
"""complete trials below which noise cannot be told from shape"""
MOST = 200
"""trials that the process sees, the better half and the rest thinned evenly"""
NOISY = 1e-3
"""a noise's variance, as a share of the values', from which on they are called noisy"""


@dataclass(frozen=True)
class Winner:
    """The trial that a study would have trained again."""

    trial: Trial
    noise: float | None = None
    """the standard deviation, in nats, of what another seed would have given; None where none is inferred"""
    mean: float | None = None
    """the process's mean at the trial's hyperparameters, nats"""

    @property
    def said(self) -> str | None:
        """In a sentence; none without noise."""
        if self.noise is None:
            return None
        return (
            f"the values are noisy, with a standard deviation inferred as {self.noise:.2g} nats: by the mean of a process "
            f"through all of them, {self.mean:.2f} there, the winner is trial {self.trial.number}"
        )


def of(study: "Study") -> Winner | None:
    """The winner of a study's complete trials; none if there is none yet."""
    trials = study.trials()
    best = best_of(trials)
    if best is None or study.front():
        return None if best is None else Winner(best)
    space = {p.name: p.distribution() for p in study.searched}
    return among([trial for trial in trials if trial.value is not None], best, space)


def among(trials: Sequence[Trial], best: Trial, space: "dict[str, BaseDistribution]") -> Winner:
    """The winner of complete trials over a space, of which `best` has the lowest value."""
    from tuner.samplers.cube import Cube

    cube = Cube(space)
    trials = [trial for trial in trials if cube.holds(trial.params)]
    if not cube.parts:
        return Winner(best)
    points = np.array([cube.encode(trial.params) for trial in trials])
    found = lowest_mean(points, np.array([trial.value for trial in trials]))
    return Winner(best) if found is None else Winner(trials[found[0]], *found[1:])


def lowest_mean(x: "Array", values: "Array") -> tuple[int, float, float] | None:
    """Which of observations at points x [n, d] has the lowest mean, the noise's standard deviation and that mean; None if there
    are too few or no noise is inferred."""
    from tuner.samplers.observations import thinned, winsorised

    found = means(x, values)
    if found is None:
        return None
    kept = thinned(winsorised(values), MOST)
    lowest = kept[np.argmin(found[0][kept])]
    return int(lowest), found[1], float(found[0][lowest])


def means(x: "Array", values: "Array") -> tuple["Array", float] | None:
    """The mean at each of observations at points x [n, d] of a process through them, and the noise's standard deviation; None if
    there are too few or no noise is inferred."""
    from tuner.samplers.gp import Posterior, Processes, mode, prior_mode
    from tuner.samplers.observations import standardised, thinned, winsorised

    if len(values) < LEAST:
        return None
    values = winsorised(values)
    kept = thinned(values, MOST)
    y, unit = standardised(values[kept])
    theta = mode(Posterior(x[kept], y), prior_mode(x.shape[1]))
    noise = math.exp(theta[1])
    if noise < NOISY:
        return None
    found = Processes.fit(theta[None], x[kept], y).predict(x)[0][0, :, 0]
    return found * unit + values[kept].mean(), math.sqrt(noise) * unit
