"""Priors over the latent code."""

import torch
from torch import Tensor, nn
from torch.distributions import Normal


class StandardNormal(nn.Module):
    """p(z) = N(0, I)."""

    zero: Tensor

    def __init__(self, d_z: int) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(d_z), persistent=False)

    def forward(self) -> Normal:
        """The distribution over [d_z]."""
        return Normal(self.zero, torch.ones_like(self.zero), validate_args=False)
