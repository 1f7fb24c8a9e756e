"""Samplers by name. Each is made anew for every trial from (study seed, trial number).

So a study that was interrupted, or has several workers, never repeats its random start, and one worker's study is the same
every time.
"""

import hashlib
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from tuner.errors import Usage

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

START = 4
"""trials drawn at random before a model of the objective is used (PA's tool starts from 4 points)"""


def _random(seed: int) -> "BaseSampler":
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _tpe(seed: int) -> "BaseSampler":
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=START, multivariate=True, constant_liar=True)


def _gp(seed: int) -> "BaseSampler":
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, n_startup_trials=START)


SAMPLERS: dict[str, tuple[str, Callable[[int], "BaseSampler"]]] = {
    "gp": ("Optuna's GPSampler: Gaussian process, Matérn 5/2, log-EI, kernel at its mode", _gp),
    "tpe": ("Optuna's TPESampler: tree-structured Parzen estimators, all hyperparameters together", _tpe),
    "random": ("uniform draws from the search space", _random),
}


def derive(seed: int, number: int, purpose: str) -> int:
    """A 31-bit seed for one trial's one purpose."""
    digest = hashlib.sha256(f"{purpose}/{seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4]) >> 1


def check(name: str) -> None:
    """Refuses an unknown sampler."""
    if name not in SAMPLERS:
        raise Usage(f"sampler {name!r} is unknown: choose one of {', '.join(SAMPLERS)}.")


def create(name: str, seed: int, number: int) -> "BaseSampler":
    """The sampler that proposes trial `number` of a study with this seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna marks some options as experimental
        return SAMPLERS[name][1](derive(seed, number, "ask"))
