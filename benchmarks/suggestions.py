"""Seconds a suggestion takes against the number of observations n and of hyperparameters d.

    python -m benchmarks.suggestions
    python -m benchmarks.suggestions --repeats 3 --plot docs/suggestions.svg

Every sampler is given the same observations (a Sobol design of a smooth function, the last one its own proposal); the median of
so many repeats by the wall's clock, one thread, so nothing else should run.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import math
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import create_trial
from scipy.stats import qmc

from benchmarks.samplers import STARTUP
from tuner import samplers

WARM = "gp-mcmc:warm"
BY_N = [(n, 4) for n in (10, 30, 100, 200, 500)]
BY_D = [(100, d) for d in (2, 4, 8, 16)]
COLOURS = ("#1f77b4", "#9ecae1", "#d62728", "#2ca02c", "#7f7f7f", "#9467bd", "#8c564b")

Size = tuple[int, int]
"""Numbers of observations and of hyperparameters."""


def objective(point: np.ndarray) -> float:
    return float(np.sin(3 * point.sum()) + ((point - 0.3) ** 2).sum())


def seconds(sampler: str, n: int, d: int, repeats: int) -> float:
    """The median time of a suggestion after n observations of d hyperparameters, the last of which is its own proposal."""
    space: dict[str, BaseDistribution] = {f"x{i}": FloatDistribution(0, 1) for i in range(d)}
    points = qmc.Sobol(d, rng=np.random.default_rng(0)).random(n - 1)
    name, options = ("gp-mcmc", {"warm": True}) if sampler == WARM else (sampler, {})
    given: dict[str, Any] = {**options, **({STARTUP[name]: 1} if name in STARTUP else {})}
    taken = []
    for repeat in range(repeats + 1):
        study = optuna.create_study()
        for point in points:
            params = {f"x{i}": float(v) for i, v in enumerate(point)}
            study.add_trial(create_trial(params=params, distributions=space, value=objective(point)))
        for number in (n - 1, n):
            study.sampler = samplers.create(name, given, repeat, number, space)
            started = time.perf_counter()
            trial = study.ask(space)
            last = time.perf_counter() - started
            study.tell(trial, objective(np.array(list(trial.params.values()))))
        taken.append(last)
    return float(np.median(taken[1:]))  # the first one also imports


def table(found: Mapping[Size, Mapping[str, float]]) -> str:
    names = list(next(iter(found.values())))
    lines = ["| n | d | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    lines += [f"| {n} | {d} | " + " | ".join(f"{v:.3f}" for v in row.values()) + " |" for (n, d), row in found.items()]
    return "\n".join(lines)


def plot(found: Mapping[Size, Mapping[str, float]]) -> str:
    """Two panels with logarithmic axes as SVG: against n at the d, and against d at the n, of which there are most sizes."""
    names = list(next(iter(found.values())))
    common_d, common_n = ([size[i] for size in found] for i in (1, 0))
    d, n = max(set(common_d), key=common_d.count), max(set(common_n), key=common_n.count)
    every = [value for row in found.values() for value in row.values()]
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 330" font-family="sans-serif" font-size="12">',
        '<rect width="860" height="330" fill="white"/>',
    ]
    for left, axis, label in ((60, 0, f"observations (d = {d})"), (400, 1, f"hyperparameters (n = {n})")):
        sizes = sorted(size for size in found if size[1 - axis] == (d, n)[axis])
        first, last = (math.log10(end[axis]) for end in (sizes[0], sizes[-1]))
        x = {size: left + 280 * (math.log10(size[axis]) - first) / ((last - first) or 1.0) for size in sizes}

        def y(value: float) -> float:
            return 280 - 260 * (math.log10(value) - low) / (high - low)

        parts.append(f'<path d="M{left} 20V280H{left + 280}" fill="none" stroke="black"/>')
        parts.append(f'<text x="{left + 140}" y="318" text-anchor="middle">{label}</text>')
        parts += [f'<text x="{x[s]:.0f}" y="297" text-anchor="middle">{s[axis]}</text>' for s in sizes]
        for power in range(low, high + 1):
            at = y(10.0**power)
            parts.append(f'<path d="M{left} {at:.0f}H{left + 280}" stroke="#dddddd"/>')
            parts.append(f'<text x="{left - 6}" y="{at + 4:.0f}" text-anchor="end">{10.0**power:g} s</text>')
        for name, colour in zip(names, COLOURS, strict=False):
            line = " ".join(f"{x[s]:.1f},{y(found[s][name]):.1f}" for s in sizes)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for i, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        parts.append(f'<path d="M700 {40 + 20 * i}H725" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="732" y="{44 + 20 * i}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samplers", nargs="+", default=["gp-mcmc", WARM, "gp-map", "gp", "tpe"])
    parser.add_argument(
        "--sizes",
        nargs="+",
        default=[f"{n}x{d}" for n, d in dict.fromkeys([*BY_N, *BY_D])],
        help="Observations x hyperparameters.",
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="File of a drawing on logarithmic axes.")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found: dict[Size, dict[str, float]] = {}
    for size in arguments.sizes:
        n, d = map(int, size.split("x"))
        found[n, d] = {name: seconds(name, n, d, arguments.repeats) for name in arguments.samplers}
        print(f"n = {n}, d = {d}: " + ", ".join(f"{k} {v:.3f} s" for k, v in found[n, d].items()), flush=True)
    print("\n" + table(found))
    if arguments.plot:
        arguments.plot.write_text(plot(found), encoding="utf-8")


if __name__ == "__main__":
    main()
