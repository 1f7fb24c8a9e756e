"""Priors p(z) over the latent code, all uniform mixtures; N(0, I) is one of a single component."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.latent.distributions import Conditional, Gaussian, Mixture
from trainers.latent.posteriors import MIN_SCALE
from trainers.options import ModelOptions

Encode = Callable[[Tensor, Tensor], Conditional]
"""Function that returns the posterior of sequences of word embeddings [K, T, d_e] with their lengths [K]."""
LENGTH_SEED = 0


class Prior(nn.Module):
    """A prior, made from the model's options and the training sentences' lengths (mean and sd of their tokens)."""

    def forward(self, encode: Encode) -> Mixture:
        raise NotImplementedError


class StandardNormal(Prior):
    """N(0, I)."""

    zero: Tensor

    def __init__(self, options: ModelOptions, _lengths: tuple[float, float]) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(1, options.d_z), persistent=False)

    def forward(self, encode: Encode) -> Mixture:
        del encode
        return Mixture(Gaussian(self.zero, torch.ones_like(self.zero)))


class MixtureOfGaussians(Prior):
    """1/K Σ_k N(μ_k, diag σ_k²), μ and σ = softplus(σ̂) learned (PA eq. 9). Starts with μ_k ~ N(0, I) and σ_k = 1."""

    def __init__(self, options: ModelOptions, _lengths: tuple[float, float]) -> None:
        super().__init__()
        self.location = nn.Parameter(torch.randn(options.components, options.d_z))
        one = torch.tensor(1.0).expm1().log()  # softplus⁻¹(1)
        self.scale = nn.Parameter(torch.full((options.components, options.d_z), one.item()))

    def forward(self, encode: Encode) -> Mixture:
        del encode
        return Mixture(Gaussian(self.location, F.softplus(self.scale) + MIN_SCALE))


class VampPrior(Prior):
    """1/K Σ_k q(z|v_k): v_k a learned sequence of word embeddings, its length drawn once (PA eq. 10, appendix A.1).

    Lengths are N(mean, sd) of the training sentences, rounded, at least 1; the draw is the same for every run, so that a
    saved model can be rebuilt. Under a flow posterior each log p(z) inverts the flow for all K components.
    """

    def __init__(self, options: ModelOptions, lengths: tuple[float, float]) -> None:
        super().__init__()
        drawn = np.random.default_rng(LENGTH_SEED).normal(*lengths, options.components)
        whole = np.clip(np.rint(drawn), 1, None).astype(np.int64)
        self.pseudo = nn.Parameter(torch.randn(options.components, int(whole.max()), options.d_e) * options.d_e**-0.5)
        self.lengths_cpu = torch.from_numpy(whole)  # packing sequences wants them there, on any device

    def forward(self, encode: Encode) -> Mixture:
        return Mixture(encode(self.pseudo, self.lengths_cpu))


MakePrior = Callable[[ModelOptions, tuple[float, float]], Prior]
"""Function that makes a prior for training sentences of this mean and standard deviation of tokens."""
PRIORS: dict[str, MakePrior] = {
    "normal": StandardNormal,
    "mog": MixtureOfGaussians,
    "vamp": VampPrior,
}
