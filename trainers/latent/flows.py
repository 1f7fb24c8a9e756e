"""The steps of normalising flows: inverse autoregressive (PA eq. 16–17) and planar (PA eq. 18, 37–39).

B: sentences; d: latent dimensions; c: context units; … : any leading shape.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.latent.distributions import Step

OPEN_GATE = 2.0
"""Initial bias of the gates, sigmoid(2) = .88: a flow starts near the identity (Kingma et al. 2016, §4)."""
TOLERANCE = 1e-5
"""Relative change at which an iteration without gradients ends."""
MIN_NORM = 1e-12


class MaskedLinear(nn.Linear):
    """An affine map whose weight [out, in] is 0 outside of `mask`."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return F.linear(inputs, self.weight * self.mask, self.bias)


class MADE(nn.Module):
    """A masked network for u and s of z_{<k} and the context: outputs k see inputs before k alone (Germain et al. 2015;
    PA eq. 17).

    Each hidden unit has a degree from 0 to d − 1, the number of leading inputs it may see. The paper's triangular matrices
    leave out degree 0, which keeps the context from the first dimension; here it reaches all.
    """

    def __init__(self, d_z: int, context: int) -> None:
        super().__init__()
        inputs, outputs = torch.arange(1, d_z + 1), torch.arange(1, d_z + 1)
        hidden = torch.arange(context) % d_z
        self.first = MaskedLinear((hidden[:, None] >= inputs).float())
        self.second = MaskedLinear((hidden[:, None] >= hidden).float())
        self.location = MaskedLinear((outputs[:, None] > hidden).float())
        self.gate = MaskedLinear((outputs[:, None] > hidden).float())
        self.open_gate()

    def open_gate(self) -> None:
        """Starts near the identity."""
        nn.init.constant_(self.gate.bias, OPEN_GATE)

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Maps z […, B, d] and context [B, c] to u and the gate's logits, s = sigmoid(logits), both […, B, d]."""
        hidden = torch.tanh(self.first(z)) + context
        hidden = torch.tanh(self.second(hidden))
        return self.location(hidden), self.gate(hidden)


@dataclass(frozen=True)
class AutoregressiveStep(Step):
    """A step z' = (1 − s) ⊙ u + s ⊙ z with u, s = MADE(z, c): log |det| = Σ_d log s_d (PA eq. 16h–16k)."""

    made: MADE
    context: Tensor  # [B, c]

    @property
    def width(self) -> int:
        return self.context.shape[1]

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        location, logits = self.made(z, self.context)
        gate = torch.sigmoid(logits)
        return (1 - gate) * location + gate * z, F.logsigmoid(logits).sum(-1)

    def inverse(self, y: Tensor) -> Tensor:
        """Fixed-point iteration: after k rounds the first k dimensions are exact, so d rounds always suffice.

        Without gradients it ends as soon as nothing moves; with them it takes all d rounds, which makes them exact too.
        """
        y = y.expand(*y.shape[:-2], len(self.context), y.shape[-1])
        z = y
        for _ in range(y.shape[-1]):
            location, logits = self.made(z, self.context)
            gate = torch.sigmoid(logits)
            z, before = (y - (1 - gate) * location) / gate, z
            if not torch.is_grad_enabled() and ((z - before).abs() < TOLERANCE * (1 + z.abs())).all():
                break
        return z

    def __getitem__(self, index: Tensor) -> "AutoregressiveStep":
        return AutoregressiveStep(self.made, self.context[index])


@dataclass(frozen=True)
class PlanarStep(Step):
    """A step z' = z + û tanh(wᵀz + b): log |det| = log(1 + ûᵀw (1 − tanh²)) (PA eq. 18j–18k; Rezende & Mohamed 2015).

    û = u + (m(wᵀu) − wᵀu) w/‖w‖², m(a) = softplus(a) − 1, so that ûᵀw > −1 and the step is invertible.
    """

    u: Tensor  # [B, d]
    w: Tensor  # [B, d]
    b: Tensor  # [B]

    @property
    def width(self) -> int:
        return self.u.shape[1]

    @property
    def slope(self) -> Tensor:
        """The slope ûᵀw [B], above −1."""
        return F.softplus((self.w * self.u).sum(-1)) - 1

    @property
    def u_hat(self) -> Tensor:
        """The vector û [B, d]."""
        inner = (self.w * self.u).sum(-1, keepdim=True)
        norm = self.w.square().sum(-1, keepdim=True).clamp(min=MIN_NORM)
        return self.u + (self.slope[:, None] - inner) * self.w / norm

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        bent = torch.tanh((z * self.w).sum(-1) + self.b)
        return z + self.u_hat * bent[..., None], torch.log1p(self.slope * (1 - bent.square()))

    def inverse(self, y: Tensor) -> Tensor:
        """Solves a + ûᵀw tanh(a + b) = wᵀy for a = wᵀz, a monotone equation in one unknown.

        Bisection finds a; one Newton step from there carries the gradient (implicit function theorem) and polishes it.
        """
        target, slope = (y * self.w).sum(-1), self.slope
        with torch.no_grad():
            low, high = target - slope.abs(), target + slope.abs()
            for _ in range(60):
                middle = (low + high) / 2
                above = middle + slope * torch.tanh(middle + self.b) > target
                low, high = torch.where(above, low, middle), torch.where(above, middle, high)
            a = (low + high) / 2
        bent = torch.tanh(a + self.b)
        a = a - (a + slope * bent - target) / (1 + slope * (1 - bent.square()))
        return y - self.u_hat * torch.tanh(a + self.b)[..., None]

    def __getitem__(self, index: Tensor) -> "PlanarStep":
        return PlanarStep(self.u[index], self.w[index], self.b[index])
