"""A grid over the search space, for Optuna's GridSampler, which wants the values themselves."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import GridSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from tuner.samplers import GIVEN

LARGEST = 100_000
"""Largest number of combinations of a grid; all of them are made."""


def values(distribution: BaseDistribution, points: int) -> list[Any]:
    """All values of a discrete distribution; `points` evenly spaced ones, ends included, of a continuous or logarithmic one."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    low, high = distribution.low, distribution.high
    if distribution.step is not None and not distribution.log:
        steps = [low + i * distribution.step for i in range(_count(distribution, points))]
        return [int(v) for v in steps] if isinstance(distribution, IntDistribution) else steps
    spaced = np.geomspace(low, high, points) if distribution.log else np.linspace(low, high, points)
    inside = np.clip(spaced, low, high).tolist()  # rounding must not leave the domain
    return sorted({round(v) for v in inside}) if isinstance(distribution, IntDistribution) else sorted(set(inside))


def _count(distribution: BaseDistribution, points: int) -> int:
    """Largest number of values of a distribution in a grid, without making them."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    if distribution.step is None or distribution.log:
        return points
    return int((distribution.high - distribution.low) / distribution.step + 1e-9) + 1


class Grid(GridSampler):
    """Every combination of `values`."""

    def __init__(self, search_space: Mapping[str, BaseDistribution], points: int = 5, seed: int | None = None) -> None:
        if points < 1:
            raise ValueError(f"points = {points} is not allowed: it must be at least 1.")
        count = math.prod(_count(d, points) for d in search_space.values())
        if count > LARGEST:
            raise ValueError(
                f"points = {points} makes a grid of {count:,} combinations, and {LARGEST:,} are allowed: give fewer, or fix "
                "hyperparameters."
            )
        super().__init__({name: values(d, points) for name, d in search_space.items()}, seed=seed)

    def is_exhausted(self, study: Study) -> bool:
        """True if every combination has been tried or is under way."""
        ids = {t.system_attrs.get("grid_id") for t in study.get_trials(deepcopy=False)}
        return ids >= set(range(len(self._all_grids)))

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Optuna gives trial n the combination n. If trial 0 was given one, that takes place 0, so that it is not tried again."""
        first = study.get_trials(deepcopy=False)[0].system_attrs.get(GIVEN, {})
        combination = tuple(first.get(name) for name in self._param_names)
        if first and combination in self._all_grids:
            place = self._all_grids.index(combination)
            self._all_grids[0], self._all_grids[place] = combination, self._all_grids[0]
            if trial.number == 0:
                for key, value in (("grid_id", 0), ("search_space", self._search_space)):
                    study._storage.set_trial_system_attr(trial._trial_id, key, value)
        super().before_trial(study, trial)
