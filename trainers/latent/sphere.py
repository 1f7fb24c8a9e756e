"""The von Mises–Fisher distribution on the unit sphere of d dimensions, with densities by its surface.

v(z) = C_d(κ) exp(κ μᵀz): μ the direction, κ the concentration; κ = 0 is the uniform distribution. C_d(κ) = κ^(d/2−1) /
((2π)^(d/2) I_{d/2−1}(κ)), I the modified Bessel function of the first kind. B: sentences; d: dimensions; … : any leading shape.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gammainccinv, gammaincinv, gammaln, logsumexp
from torch import Tensor
from torch.nn import functional as F

from trainers.latent.distributions import Conditional

POINTS = 1 << 15
"""Number of angles from 0 to π at which the distribution of the angle is known."""
LEAST_MASS = 1e-280
"""Probability below which the rest of the distribution, in either direction, counts as nothing."""


def log_bessel(order: float, x: float) -> float:
    """Logarithm of I_order(x) for x > 0 by its power series, whose terms are all positive: Σ_k (x/2)^(2k+order) / (k!
    Γ(k+order+1)).
    """
    k = np.arange(int(x) + 300)
    return float(logsumexp((2 * k + order) * math.log(x / 2) - gammaln(k + 1) - gammaln(k + order + 1)))


@cache
def log_normaliser(d: int, kappa: float) -> float:
    """Logarithm of C_d(κ); for κ = 0, minus the log of the sphere's surface."""
    if kappa == 0:
        return float(gammaln(d / 2)) - math.log(2) - 0.5 * d * math.log(math.pi)
    order = d / 2 - 1
    return order * math.log(kappa) - 0.5 * d * math.log(2 * math.pi) - log_bessel(order, kappa)


@cache
def mean_cosine(d: int, kappa: float) -> float:
    """E[μᵀz] = I_{d/2}(κ) / I_{d/2−1}(κ)."""
    return math.exp(log_bessel(d / 2, kappa) - log_bessel(d / 2 - 1, kappa)) if kappa else 0.0


def rate(d: int, kappa: float) -> float:
    """KL to the uniform distribution, in nats: κ E[μᵀz] + log C_d(κ) − log C_d(0)."""
    return kappa * mean_cosine(d, kappa) + log_normaliser(d, kappa) - log_normaliser(d, 0.0)


@cache
def _quantiles(d: int, kappa: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lengths of a standard normal vector of d − 1 numbers, and the angles to μ whose distribution function is theirs.

    The angle's density is sin^(d−2) θ exp(κ cos θ); it and the length's are matched from both ends, so that no tail is lost.
    """
    theta = np.linspace(0, math.pi, POINTS)
    with np.errstate(divide="ignore"):
        log_density = kappa * (np.cos(theta) - 1) + ((d - 2) * np.log(np.sin(theta)) if d > 2 else 0)
    density = np.exp(log_density - log_density.max())
    pieces = 0.5 * (density[1:] + density[:-1])
    below = np.concatenate([[0.0], pieces.cumsum()]) / pieces.sum()
    above = np.concatenate([pieces[::-1].cumsum()[::-1], [0.0]]) / pieces.sum()
    known = (below > LEAST_MASS) & (above > LEAST_MASS)
    theta, below, above, shape = theta[known], below[known], np.minimum(above[known], 1), (d - 1) / 2
    length = np.sqrt(2 * np.where(below < 0.5, gammaincinv(shape, below), gammainccinv(shape, above)))
    rising = np.diff(length, prepend=0.0) > 0
    return np.concatenate([[0.0], length[rising]]), np.concatenate([[0.0], theta[rising]])


@dataclass(frozen=True)
class VonMisesFisher(Conditional):
    """The distribution vMF(μ, κ) with μ [B, d] of length 1 and one κ for all."""

    direction: Tensor
    kappa: float

    @property
    def shape(self) -> torch.Size:
        return self.direction.shape

    @property
    def like(self) -> Tensor:
        return self.direction

    @property
    def log_c(self) -> float:
        return log_normaliser(self.shape[1], self.kappa)

    def transform(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Noise […, B, d] → z and log q(z). The last d − 1 numbers are a vector in the tangent plane at μ: its direction is kept,
        and its length becomes the angle of the same quantile. No noise is μ itself, and more noise is a larger angle."""
        d = self.shape[1]
        lengths, angles = (torch.from_numpy(part).to(noise) for part in _quantiles(d, self.kappa))
        tangent = noise[..., 1:]
        length = tangent.norm(dim=-1)
        place = torch.searchsorted(lengths, length.contiguous()).clamp(1, len(lengths) - 1)
        low, high = lengths[place - 1], lengths[place]
        share = ((length - low) / (high - low)).clamp(max=1)
        theta = torch.lerp(angles[place - 1], angles[place], share)
        side = tangent * (theta.sin() / length.clamp(min=torch.finfo(noise.dtype).tiny))[..., None]
        local = torch.cat([theta.cos()[..., None], side], dim=-1)
        return self._turned(local), self.log_c + self.kappa * theta.cos()

    def codes(self, noise: Tensor, spread: float) -> Tensor:
        """Codes of vMF(μ, κ/spread²), which tends to the uniform distribution: wider angles would tend to −μ."""
        if not spread:
            return self.transform(noise * 0)[0]
        return VonMisesFisher(self.direction, self.kappa / spread**2).transform(noise)[0]

    @property
    def dimensions(self) -> int:
        return self.shape[1] - 1

    def _turned(self, local: Tensor) -> Tensor:
        """The reflection that takes the first axis to μ."""
        first = torch.zeros_like(self.direction)
        first[:, 0] = 1
        apart = first - self.direction
        squared = apart.square().sum(-1, keepdim=True).clamp(min=1e-12)
        return local - 2 * (local * apart).sum(-1, keepdim=True) * apart / squared

    def log_prob(self, z: Tensor) -> Tensor:
        return self.log_c + self.kappa * (z * self.direction).sum(-1)

    def __getitem__(self, index: Tensor) -> "VonMisesFisher":
        return VonMisesFisher(self.direction[index], self.kappa)

    def nearest(self, z: Tensor) -> Tensor:
        return F.normalize(z, dim=-1)

    @property
    def mean(self) -> Tensor:
        return mean_cosine(self.shape[1], self.kappa) * self.direction

    @property
    def entropy(self) -> Tensor:
        each = -self.log_c - self.kappa * mean_cosine(self.shape[1], self.kappa)
        return self.direction.new_full((len(self.direction),), each)

    def divergence(self, prior: Conditional) -> tuple[Tensor, None] | None:
        if not (isinstance(prior, VonMisesFisher) and prior.kappa == 0):
            return None
        return self.direction.new_full((len(self.direction),), rate(self.shape[1], self.kappa)), None

    def tempered(self, prior: Conditional, temper: float) -> "VonMisesFisher | None":
        uniform = isinstance(prior, VonMisesFisher) and prior.kappa == 0
        return VonMisesFisher(self.direction, temper * self.kappa) if uniform else None
