"""The δ-VAE: D + R under posteriors whose every dimension has a KL of at least δ/d_z to N(0, 1) (Razavi et al. 2019,
eq. 4).

    σ = σ_l + (σ_u − σ_l) sigmoid(affine(f)),   u = √(2δ_d + 1 + log σ² − σ² + max(0, affine(f)))

with δ_d = δ/d_z and σ_l < 1 < σ_u the two roots of ½(σ² − log σ² − 1) = δ_d. Along max(0, ·) = 0 the KL is δ_d exactly, whatever
σ: that curve costs nothing more, so the code is free to move on it, and no sentence's rate is ever below δ.

For text the paper puts the committed rate into a sequence of codes, one a word, under an AR(1) prior whose posteriors are
independent. A sentence has one code here, so this is the paper's other form, for independent codes. A committed rate is no
information by itself: posteriors that are all one still have R = δ, so look at `mi`. Means are never negative.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from scipy.optimize import brentq
from torch import Tensor

from trainers.latent.distributions import Gaussian
from trainers.latent.posteriors import DiagonalGaussian, MakePosterior
from trainers.objectives.objective import Objective, refusal_of_components
from trainers.options import ModelOptions, option

LEAST_SQUARE = 1e-6
"""Amount added to u², so that its root has a gradient where u² is 0; it adds half of itself to the rate."""

LEAST_SCALE = 1e-16
"""Smallest σ_l: its square is a number in 32 bits, and a narrower posterior is of no use."""


def bounds(rate: float) -> tuple[float, float]:
    """The two roots σ_l < 1 < σ_u of ½(σ² − log σ² − 1) = `rate`, in nats."""

    def excess(log_sigma: float) -> float:
        return 0.5 * (math.exp(2 * log_sigma) - 2 * log_sigma - 1) - rate

    return max(math.exp(brentq(excess, -rate - 1, 0.0)), LEAST_SCALE), math.exp(
        brentq(excess, 0.0, 0.5 * math.log(4 * rate + 4))
    )


class Committed(DiagonalGaussian):
    """N(u, diag σ²) on or beyond the curve of KL δ_d in each dimension."""

    def __init__(self, features: int, options: ModelOptions, delta: float) -> None:
        super().__init__(features, options)
        self.rate = delta / options.d_z
        self.low, self.high = bounds(self.rate)

    def base(self, features: Tensor) -> Gaussian:
        sigma = self.low + (self.high - self.low) * torch.sigmoid(self.scale(features))
        square = sigma.square()
        on_curve = (2 * self.rate + 1 + square.log() - square).clamp(min=0)  # rounding may take it below 0 at both ends
        location = (on_curve + self.location(features).clamp(min=0) + LEAST_SQUARE).sqrt()
        return Gaussian(location, sigma)


@dataclass(frozen=True)
class Hyperparameters:
    delta: float = option(
        5.0, "δ, the least rate of each sentence, shared equally by all dimensions, in nats", above=0, high=1e4
    )


class Technique(Objective):
    hyperparameters: Hyperparameters

    def refusal(self, options: ModelOptions) -> str | None:
        return refusal_of_components("delta", options, "whose least rate is of a Gaussian under N(0, I)")

    @property
    def posterior(self) -> MakePosterior:
        return partial(Committed, delta=self.hyperparameters.delta)
