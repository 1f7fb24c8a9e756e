"""Expected improvement, averaged over the processes of a posterior, the probability that a constraint holds, and the search for
the highest point.

EI of one process is σ h(u), u = (best − μ)/σ, h(u) = φ(u) + uΦ(u) (Jones et al. 1998); in logarithms it keeps its gradients where
EI underflows (Ament et al. 2023). The average is of EI itself, a log-mean-exp, over S processes and their F fantasies. With
constraints it is multiplied by their probabilities (Schonlau et al. 1998; Gardner et al. 2014).
"""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import erfcx, log_ndtr, ndtr

from tuner.samplers.cube import Cube
from tuner.samplers.gp import Processes

Array = NDArray[np.float64]

LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
ROOT_HALF_PI = math.sqrt(math.pi / 2)
FAR = -1e3
"""Value of u below which 1 + uΦ/φ loses its digits, while its asymptote keeps them all."""
MARGIN = 1.2815515655446004
"""Standard deviations above the mean of a normal distribution, beyond which a tenth of it lies."""
EVERY = 2048
"""Largest number of points of a space without continuous coordinates of which all are tried."""
LOCAL_SEARCHES = 5
ROUNDS = 10
"""Largest number of moves of one discrete parameter."""
SAME = 1e-9
"""Distance below which points count as equal, in every coordinate."""


def log_h(u: Array) -> tuple[Array, Array]:
    """The values log(φ(u) + uΦ(u)) and their derivatives Φ(u)/h(u), exact to rounding for all u."""
    value, slope = np.empty_like(u), np.empty_like(u)
    high, far = u > -1, u < FAR
    middle = ~high & ~far
    v = u[high]
    density = np.exp(-0.5 * v * v - LOG_ROOT_2PI)
    h = density + v * ndtr(v)
    value[high], slope[high] = np.log(h), ndtr(v) / h
    v = u[middle]
    mills = ROOT_HALF_PI * erfcx(-v / math.sqrt(2))  # Φ/φ
    value[middle] = -0.5 * v * v - LOG_ROOT_2PI + np.log1p(v * mills)
    slope[middle] = mills / (1 + v * mills)
    v = u[far]
    value[far] = -0.5 * v * v - LOG_ROOT_2PI - 2 * np.log(-v) + np.log1p(-3 / (v * v))
    slope[far] = np.exp(log_ndtr(v) - value[far])
    return value, slope


class Acquisition(Protocol):
    """The logarithm of a function that a proposal maximises."""

    def __call__(self, z: Array) -> Array:
        """The values at points z [m, d]: [m]."""

    def with_gradient(self, z: Array) -> tuple[float, Array]:
        """The value at one point z [d], with its gradient [d]."""


class LogEI:
    """Logarithm of the expected improvement below `best` [S, F], averaged over S processes with F fantasies each."""

    def __init__(self, processes: Processes, best: Array) -> None:
        self.processes, self.best = processes, best
        self.log_count = math.log(best.size)

    def __call__(self, z: Array) -> Array:
        """The values at points z [m, d]: [m]."""
        mean, variance = self.processes.predict(z)
        sd = np.sqrt(variance)[:, :, None]  # [S, m, 1]
        terms = np.log(sd) + log_h((self.best[:, None] - mean) / sd)[0]
        return _log_sum(terms.transpose(1, 0, 2).reshape(len(z), -1)) - self.log_count

    def with_gradient(self, z: Array) -> tuple[float, Array]:
        """The value at one point z [d], with its gradient [d]."""
        mean, variance, by_mean, by_variance = self.processes.predict_with_gradient(z)
        sd = np.sqrt(variance)[:, None]  # [S, 1]
        u = (self.best - mean) / sd
        value, slope = log_h(u)
        value += np.log(sd)
        total = float(_log_sum(value.reshape(1, -1))[0])
        weight = np.exp(value - total)
        # ∂(log σ + log h(u)) = −h'/h ∂μ/σ + (1 − u h'/h) ∂σ/σ, and ∂σ/σ = ∂σ²/2σ²
        by_log_sd = (weight * (1.0 - u * slope)).sum(1) / (2.0 * variance)
        gradient: Array = by_log_sd @ by_variance - np.tensordot(weight * slope / sd, by_mean, 2)
        return total - self.log_count, gradient


class LogHolds:
    """Logarithm of the probability that a function is at most `most` nearly everywhere that it is evaluated, averaged
    over S processes.

    Of evaluations at a point, whose noise is σ, nine in ten are at most `most` where the mean is MARGIN σ below it.
    """

    def __init__(self, processes: Processes, most: float) -> None:
        self.processes = processes
        self.limits = most - MARGIN * np.sqrt(processes.noise)[:, None]  # [S, 1]
        self.log_count = math.log(processes.alpha[:, 0].size)

    def holds(self, z: Array) -> NDArray[np.bool_]:
        """True where the function keeps its limit at points z [m, d] by each process's mean: [S, m, F]."""
        found: NDArray[np.bool_] = self.processes.predict(z)[0] <= self.limits[:, None]
        return found

    def __call__(self, z: Array) -> Array:
        """The values at points z [m, d]: [m]."""
        mean, variance = self.processes.predict(z)
        terms = log_ndtr((self.limits[:, None] - mean) / np.sqrt(variance)[:, :, None])
        return _log_sum(terms.transpose(1, 0, 2).reshape(len(z), -1)) - self.log_count

    def with_gradient(self, z: Array) -> tuple[float, Array]:
        """The value at one point z [d], with its gradient [d]."""
        mean, variance, by_mean, by_variance = self.processes.predict_with_gradient(z)
        sd = np.sqrt(variance)[:, None]  # [S, 1]
        u = (self.limits - mean) / sd
        value = log_ndtr(u)
        total = float(_log_sum(value.reshape(1, -1))[0])
        density = np.exp(-0.5 * u * u - LOG_ROOT_2PI - total)  # φ(u) by the sum of all Φ
        by_sd = (density * u).sum(1) / (2.0 * variance)
        gradient: Array = -by_sd @ by_variance - np.tensordot(density / sd, by_mean, 2)
        return total - self.log_count, gradient


class Product:
    """Product of acquisitions, each in logarithms."""

    def __init__(self, factors: Sequence[Acquisition]) -> None:
        self.factors = factors

    def __call__(self, z: Array) -> Array:
        """The values at points z [m, d]: [m]."""
        found: Array = np.sum([factor(z) for factor in self.factors], axis=0)
        return found

    def with_gradient(self, z: Array) -> tuple[float, Array]:
        """The value at one point z [d], with its gradient [d]."""
        values, gradients = zip(*(factor.with_gradient(z) for factor in self.factors), strict=True)
        return sum(values), np.sum(gradients, axis=0)


def _log_sum(terms: Array) -> Array:
    """Logarithm of Σ_k exp of terms [m, k]: [m]."""
    top = terms.max(1)
    found: Array = top + np.log(np.exp(terms - top[:, None]).sum(1))
    return found


class LogEHVI:
    """Logarithm of the expected hypervolume improvement of two objectives, both minimised, averaged over S pairs of
    processes.

    The improvement is the area that a new point adds to what a front dominates below a reference point. For independent
    objectives its expectation is ∫∫ P(y_1 ≤ a_1) P(y_2 ≤ a_2) da over the area not dominated yet. That area falls into strips
    between neighbours of the front, so it is Σ_i (G_1(f_1,i+1) − G_1(f_1,i)) G_2(f_2,i), where G(a) = ∫_{−∞}^a P(y ≤ t) dt is
    σ h((a − μ)/σ). The same value as Emmerich et al.'s (2011).
    """

    def __init__(self, one: Processes, other: Processes, fronts: Sequence[Array], reference: Array) -> None:
        """Prepares the fronts' edges.

        Args:
            fronts: for each pair of processes the points [k, 2] that nothing dominates.
            reference: the reference point [2].
        """
        self.one, self.other = one, other
        self.edges = []
        for front in fronts:
            inside = front[(front < reference).all(1)]
            first, second = inside[np.argsort(inside[:, 0])].T
            self.edges.append((np.append(first, reference[0]), np.insert(second, 0, reference[1])))

    def __call__(self, z: Array) -> Array:
        """The values at points z [m, d]: [m]."""
        (mean_1, variance_1), (mean_2, variance_2) = self.one.predict(z), self.other.predict(z)
        sd_1, sd_2 = np.sqrt(variance_1)[:, :, None], np.sqrt(variance_2)[:, :, None]
        terms = []
        for s, (right, top) in enumerate(self.edges):
            log_right = np.log(sd_1[s]) + log_h((right - mean_1[s]) / sd_1[s])[0]  # [m, strips]
            log_top = np.log(sd_2[s]) + log_h((top - mean_2[s]) / sd_2[s])[0]
            terms.append(_log_strips(log_right) + log_top)
        return _log_sum(np.concatenate(terms, 1)) - math.log(len(self.edges))

    def with_gradient(self, z: Array) -> tuple[float, Array]:
        """The value at one point z [d], with its gradient [d]."""
        first, second = self.one.predict_with_gradient(z), self.other.predict_with_gradient(z)
        values, gradients = [], []
        for s, (right, top) in enumerate(self.edges):
            log_right, by_right = _log_g(first, s, right)
            log_top, by_top = _log_g(second, s, top)
            strips = _log_strips(log_right[None])[0]
            upper = np.exp(log_right - strips)[:, None] * by_right
            lower = np.concatenate(
                [np.zeros((1, len(z))), np.exp(log_right[:-1] - strips[1:])[:, None] * by_right[:-1]]
            )
            values.append(strips + log_top)
            gradients.append(upper - lower + by_top)
        value, gradient = np.concatenate(values), np.concatenate(gradients)
        total = float(_log_sum(value[None])[0])
        weighted: Array = np.exp(value - total) @ gradient
        return total - math.log(len(self.edges)), weighted


def _log_strips(log_right: Array) -> Array:
    """Logarithms of G(b_i) − G(b_{i−1}) of neighbouring edges from log G [m, strips]; G before the first edge is 0."""
    gap = np.minimum(log_right[:, :-1] - log_right[:, 1:], -1e-15)
    rest: Array = log_right[:, 1:] + np.log(-np.expm1(gap))
    return np.concatenate([log_right[:, :1], rest], 1)


def _log_g(predicted: tuple[Array, Array, Array, Array], s: int, edges: Array) -> tuple[Array, Array]:
    """Logarithms of G(edge) = σ h((edge − μ)/σ) of process s at one point for each edge [k], with their gradients [k,
    d].
    """
    mean, variance, by_mean, by_variance = (part[s] for part in predicted)
    sd = math.sqrt(variance)
    by_sd = by_variance / (2 * sd)
    u = (edges - mean[0]) / sd
    value, slope = log_h(u)
    return math.log(sd) + value, by_sd / sd - slope[:, None] * (by_mean[0] + u[:, None] * by_sd) / sd


def front(points: Array) -> Array:
    """The points [k, o] of [n, o] that no other is at least as low in all as, of one objective or two."""
    kept: list[Array] = []
    for point in points[np.lexsort(points.T[::-1])]:
        if not kept or point[-1] < kept[-1][-1]:
            kept.append(point)
    return np.array(kept).reshape(-1, points.shape[1])


def _climb(acquisition: Acquisition, start: Array, free: NDArray[np.bool_]) -> Array:
    """The local maximum above `start` along the free coordinates."""
    if not free.any():
        return start

    def negated(part: Array) -> tuple[float, Array]:
        point = start.copy()
        point[free] = part
        value, gradient = acquisition.with_gradient(point)
        return -value, -gradient[free]

    end = minimize(negated, start[free], jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * int(free.sum()))
    point = start.copy()
    point[free] = np.clip(end.x, 0.0, 1.0)
    return point


def highest(acquisition: Acquisition, cube: Cube, candidates: Array, taken: Array) -> Array:
    """The point [d] of highest acquisition that is none of `taken` [n, d].

    Starts from the best of `candidates` [m, d], climbs along continuous coordinates and moves discrete ones, in turn; of a space
    of few points it tries all. While a category of the space was never taken, only points with such a one count: what the model
    thinks of it is its prior alone.
    """
    untried = cube.untried(taken)

    def is_new(points: Array) -> NDArray[np.bool_]:
        apart: Array = np.abs(points[:, None] - taken[None]).max(axis=2, initial=0.0)  # [m, n]
        nearest: NDArray[np.bool_] = apart.min(axis=1, initial=np.inf) >= SAME
        return nearest & (points[:, untried] > 0).any(1) if untried.any() else nearest

    is_small = cube.size <= EVERY
    new = cube.every() if is_small else candidates
    new = new[is_new(new)]
    if not len(new):
        return cube.unused(candidates[0], taken)
    values = acquisition(new)
    best: Array = new[np.argmax(values)]
    if is_small:
        return best
    best_value = float(values.max())
    for start in new[np.argsort(-values, kind="stable")[:LOCAL_SEARCHES]]:
        point = _climb(acquisition, start, cube.continuous)
        for _ in range(ROUNDS):
            near = cube.neighbours(point)
            near = near[is_new(near)] if len(near) else near
            if not len(near):
                break
            around = acquisition(near)
            if around.max() <= acquisition(point[None])[0] and is_new(point[None])[0]:
                break
            point = _climb(acquisition, near[np.argmax(around)], cube.continuous)
        value = float(acquisition(point[None])[0])
        if value > best_value and is_new(point[None])[0]:
            best, best_value = point, value
    return best
