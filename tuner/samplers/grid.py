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
        steps = [min(low + i * distribution.step, high) for i in range(_count(distribution, points))]
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
        self._places = {combination: place for place, combination in enumerate(self._all_grids)}

    def is_exhausted(self, study: Study) -> bool:
        """True if every combination has been tried or is under way."""
        return not self._untried(study)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Gives a trial the first combination that no trial has, or if all are used up any; values that were given stay."""
        given = trial.system_attrs.get(GIVEN)
        untried = self._untried(study) if given is None else [self._places.get(self._combination(given))]
        place = untried[0] if untried else trial.number % len(self._all_grids)
        if place is not None:
            for key, value in (("search_space", self._search_space), ("grid_id", place)):
                study._storage.set_trial_system_attr(trial._trial_id, key, value)

    def after_trial(self, *_: Any) -> None:
        """Does nothing: Optuna's ends the study here, and a study of ours ends by `is_exhausted`."""

    def _untried(self, study: Study) -> list[int]:
        """Places of the combinations that no trial has, whoever chose its values."""
        tried = {self._combination(t.params) for t in study.get_trials(deepcopy=False)}
        return [place for combination, place in self._places.items() if combination not in tried]

    def _combination(self, params: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(params.get(name) for name in self._param_names)
