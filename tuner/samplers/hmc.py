"""Hamiltonian Monte Carlo with adapted step size and mass (Neal 2011; step size by dual averaging, Hoffman & Gelman 2014)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Density = Callable[[Array], tuple[float, Array]]
"""Function that returns a log density and its gradient."""

TARGET_ACCEPTANCE = 0.8
DIVERGENT = 1000.0
"""Error in energy, in nats, that is no discretisation error: the trajectory left the region that it can follow."""
GAMMA, T_0, KAPPA = 0.2, 10.0, 0.75
"""Constants of Hoffman & Gelman but for γ: with their 0.05 one rejection after 50 iterations still divides the step by
6, and the average of such a walk is a step whose acceptance is .96 instead of .8.
"""


@dataclass(frozen=True)
class End:
    """End of a chain and what it had learnt: enough to go on from."""

    place: Array  # [D]
    step: float
    mass: Array  # [D] inverse of the variances


@dataclass(frozen=True)
class Chain:
    """One chain after its burn-in."""

    samples: Array  # [S, D]
    acceptance: float
    divergences: int
    end: End


class _StepSize:
    """Dual averaging towards the target acceptance, from a first step, and drawn to `towards`."""

    def __init__(self, first: float, towards: float) -> None:
        self.log, self.shrink = math.log(first), math.log(towards)
        self.error, self.log_average, self.count = 0.0, self.log, 0

    def update(self, acceptance: float) -> None:
        self.count += 1
        share = 1 / (self.count + T_0)
        self.error += share * (TARGET_ACCEPTANCE - acceptance - self.error)
        self.log = self.shrink - math.sqrt(self.count) / GAMMA * self.error
        weight = self.count**-KAPPA
        self.log_average += weight * (self.log - self.log_average)


def _trajectory(
    density: Density, place: Array, value: float, slope: Array, momentum: Array, mass: Array, step: float, steps: int
) -> tuple[Array, float, Array, Array]:
    drift = step / mass
    momentum = momentum + 0.5 * step * slope
    for _ in range(steps):
        place = place + drift * momentum
        value, slope = density(place)
        if not math.isfinite(value):
            break
        momentum = momentum + step * slope
    return place, value, slope, momentum - 0.5 * step * slope


def _adapting(density: Density, place: Array, value: float, slope: Array, mass: Array, draw: Array) -> _StepSize:
    """A step size to be adapted. It starts where one leapfrog step is accepted about half of the time, and is drawn to
    larger ones.
    """
    step, momentum = 0.1, draw * np.sqrt(mass)
    start = value - 0.5 * float(momentum @ (momentum / mass))

    def ratio(size: float) -> float:
        _, new, _, after = _trajectory(density, place, value, slope, momentum, mass, size, 1)
        return new - 0.5 * float(after @ (after / mass)) - start if math.isfinite(new) else -math.inf

    direction = 1.0 if ratio(step) > math.log(0.5) else -1.0
    for _ in range(30):
        if direction * ratio(step) <= -direction * math.log(2):
            break
        step *= 2.0**direction
    return _StepSize(step, 10 * step)


def sample(
    density: Density,
    start: Array | End,
    samples: int,
    leapfrog: int,
    burn_in: int,
    generator: np.random.Generator,
    thin: int = 1,
) -> Chain:
    """`samples` draws [S, D] after `burn_in` iterations, each of `leapfrog` steps, every `thin`-th kept.

    From a place, the burn-in's first half adapts the step size, and the spread of its second quarter the mass, under which the
    rest adapts the step size anew. From an earlier chain's end, its mass stays and its step is adapted further. The start must
    have a finite density.
    """
    warm = start if isinstance(start, End) else None
    place = np.array(start.place if isinstance(start, End) else start, dtype=np.float64)
    value, slope = density(place)
    if not math.isfinite(value):
        raise ValueError("the chain's start has no density")
    if warm:
        mass, size = warm.mass, _StepSize(warm.step, warm.step)
    else:
        mass = np.ones_like(place)
        size = _adapting(density, place, value, slope, mass, generator.standard_normal(len(place)))
    seen: list[Array] = []
    kept: list[Array] = []
    divergences, accepted = 0, 0.0
    for iteration in range(burn_in + samples * thin):
        burning = iteration < burn_in
        step = math.exp(size.log if burning else size.log_average)
        if not burning:
            step *= generator.uniform(0.8, 1.2)  # no trajectory length in step with the posterior's own period
        momentum = generator.standard_normal(len(place)) * np.sqrt(mass)
        energy = value - 0.5 * float(momentum @ (momentum / mass))
        new, new_value, new_slope, after = _trajectory(density, place, value, slope, momentum, mass, step, leapfrog)
        change = new_value - 0.5 * float(after @ (after / mass)) - energy if math.isfinite(new_value) else -math.inf
        acceptance = math.exp(min(change, 0.0))
        if not burning:
            divergences += change < -DIVERGENT
            accepted += acceptance
        if generator.uniform() < acceptance:
            place, value, slope = new, new_value, new_slope
        if burning:
            size.update(acceptance)
            seen.append(place)
            if not warm and iteration + 1 == burn_in // 2 and iteration >= 8:
                recent = np.array(seen[len(seen) // 2 :])
                # Shrunk towards 1 as Stan does: a dozen draws do not settle a variance.
                variance = (len(recent) * recent.var(0) + 5e-3) / (len(recent) + 5)
                mass = 1 / np.maximum(variance, 1e-6)
                size = _adapting(density, place, value, slope, mass, generator.standard_normal(len(place)))
        elif (iteration - burn_in + 1) % thin == 0:
            kept.append(place)
    iterations = max(samples * thin, 1)
    return Chain(np.array(kept), accepted / iterations, divergences, End(place, math.exp(size.log_average), mass))


def r_hat(chains: Array) -> Array:
    """Split R̂ of chains [C, S, D]: [D]; 1 where they agree (Gelman et al. 2013, §11.4). NaN for fewer than 4 draws a chain."""
    count = chains.shape[1] // 2
    if count < 2:
        return np.full(chains.shape[2], np.nan)
    halves = np.concatenate([chains[:, :count], chains[:, count : 2 * count]])  # [2C, S/2, D]
    within = halves.var(1, ddof=1).mean(0)
    between = count * halves.mean(1).var(0, ddof=1)
    pooled = (count - 1) / count * within + between / count
    result: Array = np.sqrt(pooled / np.maximum(within, 1e-300))
    return result
