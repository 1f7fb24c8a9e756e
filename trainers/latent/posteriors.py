"""Posteriors: from a sentence's features to a distribution over its latent code."""

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

MIN_SCALE = 1e-6
"""softplus reaches 0 in 32 bits; a scale of 0 has no density."""


class DiagonalGaussian(nn.Module):
    """q(z|x) = N(u, diag s²) with u = affine(f), s = softplus(affine(f)) (PA eq. 15)."""

    def __init__(self, features: int, d_z: int) -> None:
        super().__init__()
        self.location = nn.Linear(features, d_z)
        self.scale = nn.Linear(features, d_z)

    def forward(self, features: Tensor) -> Normal:
        """features [B, F] → a Normal over [B, d_z]."""
        scale = F.softplus(self.scale(features)) + MIN_SCALE
        return Normal(self.location(features), scale, validate_args=False)


def draw(posterior: Normal, samples: int, generator: torch.Generator | None = None) -> Tensor:
    """`samples` reparameterised draws z = u + s⊙ε: [S, B, d_z]."""
    shape = (samples, *posterior.loc.shape)
    noise = torch.randn(shape, generator=generator, device=posterior.loc.device, dtype=posterior.loc.dtype)
    return posterior.loc + posterior.scale * noise
