"""Seconds a suggestion takes against the number of observations and of hyperparameters.

    python -m benchmarks.suggestions --sizes 30x4 100x8 --samplers gp-mcmc gp-map gp tpe

Every sampler is given the same observations (a Sobol design of a smooth function); the median of so many suggestions, all in this
one process and on one thread. Nothing else should run.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import time
import warnings

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import create_trial
from scipy.stats import qmc

from benchmarks.samplers import STARTUP
from tuner import samplers


def seconds(sampler: str, n: int, d: int, repeats: int) -> float:
    """The median time of a suggestion after n observations of d hyperparameters."""
    space: dict[str, BaseDistribution] = {f"x{i}": FloatDistribution(0, 1) for i in range(d)}
    points = qmc.Sobol(d, rng=np.random.default_rng(0)).random(n)
    options = {STARTUP[sampler]: 1} if sampler in STARTUP else {}
    taken = []
    for repeat in range(repeats + 1):
        study = optuna.create_study()
        for point in points:
            params = {f"x{i}": float(v) for i, v in enumerate(point)}
            value = float(np.sin(3 * point.sum()) + ((point - 0.3) ** 2).sum())
            study.add_trial(create_trial(params=params, distributions=space, value=value))
        study.sampler = samplers.create(sampler, options, repeat, n, space)
        started = time.perf_counter()
        study.ask(space)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken[1:]))  # the first one also imports


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samplers", nargs="+", default=["gp-mcmc", "gp-map", "gp", "tpe"])
    parser.add_argument(
        "--sizes", nargs="+", default=["30x4", "100x8", "200x8", "500x8"], help="observations x hyperparameters"
    )
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for size in arguments.sizes:
        n, d = map(int, size.split("x"))
        found = {name: seconds(name, n, d, arguments.repeats) for name in arguments.samplers}
        print(f"n = {n}, d = {d}: " + ", ".join(f"{name} {value:.3f} s" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
