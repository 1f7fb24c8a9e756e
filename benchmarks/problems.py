"""Test functions of Bayesian optimisation, each with its known minimum (formulas: Surjanovic & Bingham's virtual library), and
surrogates of this project's own trials."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.interpolate import RBFInterpolator
from scipy.stats import qmc

from benchmarks.data import TRIALS
from tuner import space as search_spaces
from tuner.samplers.cube import Cube

SMOOTHING = 1e-3

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """A function to minimise over a space, not a number where it diverges.

    `noise` is the standard deviation added to what a sampler sees.
    """

    space: dict[str, BaseDistribution]
    value: Callable[[Params], float]
    minimum: float
    noise: float = 0.0


def _box(d: int, low: float, high: float) -> dict[str, BaseDistribution]:
    return {f"x{i}": FloatDistribution(low, high) for i in range(d)}


def _vector(params: Params) -> np.ndarray:
    return np.array([params[f"x{i}"] for i in range(len(params))])


def branin(params: Params) -> float:
    x, y = params["x"], params["y"]
    bowl = (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2
    return float(bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


BRANIN_SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(-5, 10), "y": FloatDistribution(0, 15)}
BRANIN_MINIMUM = 0.397887357729739
STYBLINSKI_MINIMUM = -39.16616570377142
"""Minimum of each of the function's dimensions."""

WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
A_3 = np.array([[3.0, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
P_3 = 1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]])
A_6 = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
P_6 = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(a: np.ndarray, p: np.ndarray) -> Callable[[Params], float]:
    return lambda params: -float(WEIGHTS @ np.exp(-(a * (_vector(params) - p) ** 2).sum(1)))


def levy(params: Params) -> float:
    w = 1 + (_vector(params) - 1) / 4
    middle = ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2)).sum()
    return float(math.sin(math.pi * w[0]) ** 2 + middle + (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2))


def ackley(params: Params) -> float:
    x = _vector(params)
    radius, waves = math.sqrt((x * x).mean()), float(np.cos(2 * math.pi * x).mean())
    return -20 * math.exp(-0.2 * radius) - math.exp(waves) + 20 + math.e


def rosenbrock(params: Params) -> float:
    x = _vector(params)
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def diverging(params: Params) -> float:
    """Branin, which diverges beyond a wall beside one of its minima."""
    return branin(params) if params["x"] < 3.5 else math.nan


def styblinski_tang(params: Params) -> float:
    x = _vector(params)
    return float((x**4 - 16 * x**2 + 5 * x).sum() / 2)


SHEKEL_A = np.array([[4, 4], [1, 1], [8, 8], [6, 6], [3, 7], [2, 9], [5, 3], [8, 1], [6, 2], [7, 3.6]])[:, [0, 1, 0, 1]]
SHEKEL_C = np.array([1, 2, 2, 4, 4, 6, 3, 7, 5, 5]) / 10


def shekel(params: Params) -> float:
    """Ten wells in four dimensions, the lowest far below the others."""
    squares = ((_vector(params) - SHEKEL_A) ** 2).sum(1)
    return -float((1 / (squares + SHEKEL_C)).sum())


def griewank(params: Params) -> float:
    x = _vector(params)
    waves = float(np.prod(np.cos(x / np.sqrt(np.arange(1, len(x) + 1)))))
    return 1 + float((x * x).sum()) / 4000 - waves


def whole(params: Params) -> float:
    """Branin at whole numbers."""
    return branin({"x": params["x"], "y": params["y"]})


WHOLE_SPACE: dict[str, BaseDistribution] = {"x": IntDistribution(-5, 10), "y": IntDistribution(0, 15, step=3)}


def categories(params: Params) -> float:
    """Branin lifted by 20 for each place of a category behind the best, which is one of six."""
    return branin(params) + 20 * "dafbec".index(params["kind"])


CATEGORIES_SPACE: dict[str, BaseDistribution] = {**BRANIN_SPACE, "kind": CategoricalDistribution(tuple("abcdef"))}


def mixed(params: Params) -> float:
    """Branin over a grid in one direction, shifted by a category; the minimum is in category `b`."""
    shift = {"a": 5.0, "b": 0.0, "c": 2.0}[params["kind"]]
    return branin({"x": params["x"], "y": params["y"]}) + shift


MIXED_SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(-5, 10),
    "y": IntDistribution(0, 15),
    "kind": CategoricalDistribution(("a", "b", "c")),
}


def _mixed_minimum() -> float:
    """Over each whole y, a fine line in x, then a finer one around its best."""
    best = math.inf
    for y in range(16):
        around, width = 2.5, 7.5
        for _ in range(4):
            line = np.linspace(max(-5, around - width), min(10, around + width), 4001)
            values = [branin({"x": float(x), "y": y}) for x in line]
            around, width = float(line[int(np.argmin(values))]), width / 500
        best = min(best, *values)
    return best


def surrogate(technique: str) -> Problem:
    """The NLL of `benchmarks.trials`' runs as a function: a thin-plate spline through them, its misfit as the noise."""
    rows = json.loads(TRIALS.read_text(encoding="utf-8"))["trials"][technique]
    distributions = {p.name: p.distribution() for p in search_spaces.load(technique).searched({})}
    cube = Cube(distributions)
    x, y = np.array([cube.encode(row["params"]) for row in rows]), np.array([row["nll"] for row in rows])
    spline = RBFInterpolator(x, y, kernel="thin_plate_spline", smoothing=SMOOTHING)
    floor = float(y.min())  # a spline may undershoot between its points: there it is flat

    def value(params: Params) -> float:
        return max(float(spline(cube.encode(params)[None])[0]), floor)

    dense = qmc.Sobol(cube.d, rng=np.random.default_rng(0)).random(2**14)
    minimum = max(float(spline(np.concatenate([dense, x])).min()), floor)
    return Problem(distributions, value, minimum, noise=float((spline(x) - y).std()))


PROBLEMS: dict[str, Problem] = {
    "branin": Problem(BRANIN_SPACE, branin, BRANIN_MINIMUM),
    "branin-noisy": Problem(BRANIN_SPACE, branin, BRANIN_MINIMUM, noise=5.0),
    "branin-noisy-20": Problem(BRANIN_SPACE, branin, BRANIN_MINIMUM, noise=20.0),
    "branin-nan": Problem(BRANIN_SPACE, diverging, BRANIN_MINIMUM),
    "whole": Problem(WHOLE_SPACE, whole, min(whole({"x": x, "y": y}) for x in range(-5, 11) for y in range(0, 16, 3))),
    "categories": Problem(CATEGORIES_SPACE, categories, BRANIN_MINIMUM),
    "griewank-2": Problem(_box(2, -5, 5), griewank, 0.0),
    "griewank-2-noisy": Problem(_box(2, -5, 5), griewank, 0.0, noise=0.15),
    "styblinski-3": Problem(_box(3, -5, 5), styblinski_tang, 3 * STYBLINSKI_MINIMUM),
    "styblinski-3-noisy": Problem(_box(3, -5, 5), styblinski_tang, 3 * STYBLINSKI_MINIMUM, noise=15.0),
    "hartmann-3": Problem(_box(3, 0, 1), hartmann(A_3, P_3), -3.86278214782076),
    "hartmann-3-noisy": Problem(_box(3, 0, 1), hartmann(A_3, P_3), -3.86278214782076, noise=0.3),
    "hartmann-3-noisier": Problem(_box(3, 0, 1), hartmann(A_3, P_3), -3.86278214782076, noise=0.6),
    "hartmann-6": Problem(_box(6, 0, 1), hartmann(A_6, P_6), -3.32236801141551),
    "hartmann-6-noisy": Problem(_box(6, 0, 1), hartmann(A_6, P_6), -3.32236801141551, noise=0.15),
    "levy-4": Problem(_box(4, -10, 10), levy, 0.0),
    "levy-4-noisy": Problem(_box(4, -10, 10), levy, 0.0, noise=10.0),
    "shekel-4": Problem(_box(4, 0, 10), shekel, -10.536443153483528),
    "ackley-5": Problem(_box(5, -32.768, 32.768), ackley, 0.0),
    "rosenbrock-4": Problem(_box(4, -5, 10), rosenbrock, 0.0),
    "mixed": Problem(MIXED_SPACE, mixed, _mixed_minimum()),
    **{f"{technique}-trials": surrogate(technique) for technique in ("sfb", "infovae", "mdr")},
}
