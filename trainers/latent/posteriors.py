"""Posteriors: from a sentence's features to the distribution q(z|x) of its latent code."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.latent.distributions import Conditional, Flow, Gaussian
from trainers.latent.flows import MADE, AutoregressiveStep, PlanarStep
from trainers.options import ModelOptions

MIN_SCALE = 1e-6
"""Smallest scale: softplus reaches 0 in 32 bits, and a scale of 0 has no density."""


class Cost(Protocol):
    """The cost of codes of one batch's sentences, by a decoder without dropout."""

    @property
    def weights(self) -> list[nn.Parameter]:
        """The generator's, which it depends on."""

    def __call__(self, posterior: Conditional, noise: Tensor) -> tuple[Tensor, Tensor]:
        """D and R of each sentence, both [B], at the codes that noise [S, B, d] makes of a posterior."""


class Posterior(nn.Module, ABC):
    """The network that makes q(z|x) of a sentence's features."""

    @abstractmethod
    def forward(self, features: Tensor) -> Conditional:
        """The posterior q(z|x) over [B, d_z] of features [B, F]."""

    def settled(self, features: Tensor, cost: Cost) -> Tensor:
        """Input of `forward` for a batch's sentences, from the encoder's features [B, F] and the cost of codes."""
        del cost
        return features

    def learn(self, features: Iterable[Tensor]) -> None:
        """Takes what evaluation needs to know of the training text from its sentences' features, parts [B, F] of them."""
        del features


class DiagonalGaussian(Posterior):
    """A posterior q(z|x) = N(u, diag s²) with u = affine(f), s = softplus(affine(f)) (PA eq. 15)."""

    def __init__(self, features: int, options: ModelOptions) -> None:
        super().__init__()
        self.location = nn.Linear(features, options.d_z)
        self.scale = nn.Linear(features, options.d_z)

    def base(self, features: Tensor) -> Gaussian:
        return Gaussian(self.location(features), F.softplus(self.scale(features)) + MIN_SCALE)

    def forward(self, features: Tensor) -> Conditional:
        return self.base(features)


class InverseAutoregressive(DiagonalGaussian):
    """IAF: T gated steps, each a MADE of its own that sees the context c = affine(f) (PA eq. 16)."""

    def __init__(self, features: int, options: ModelOptions) -> None:
        super().__init__(features, options)
        self.context = nn.Linear(features, options.d_c)
        self.made = nn.ModuleList(MADE(options.d_z, options.d_c) for _ in range(options.flow_steps))

    def forward(self, features: Tensor) -> Conditional:
        context = self.context(features)
        steps = [AutoregressiveStep(made, context) for made in self.made]  # type: ignore[arg-type]
        return Flow(self.base(features), steps)


class Planar(DiagonalGaussian):
    """Planar flow of T steps, all of u, w and b amortised: affine maps of the features (PA eq. 18)."""

    def __init__(self, features: int, options: ModelOptions) -> None:
        super().__init__(features, options)
        self.sizes = [options.d_z, options.d_z, 1] * options.flow_steps
        self.steps = nn.Linear(features, sum(self.sizes))

    def forward(self, features: Tensor) -> Conditional:
        parts = torch.split(self.steps(features), self.sizes, dim=-1)
        triples = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
        return Flow(self.base(features), [PlanarStep(u, w, b[..., 0]) for u, w, b in triples])


MakePosterior = Callable[[int, ModelOptions], Posterior]
"""Function that makes the network for features of so many units."""
POSTERIORS: dict[str, MakePosterior] = {
    "gaussian": DiagonalGaussian,
    "iaf": InverseAutoregressive,
    "planar": Planar,
}
