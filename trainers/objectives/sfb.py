"""Soft free bits: D + βR, β steered towards the rate r after each optimiser step (Chen et al. 2017; PA eq. 26).

    β ← β(1 + α)  if R > γr,      β ← β/(1 + α)  if R < εr,      kept in (0, 1]

R is the batch's mean rate before the step. PA's eq. 26 adds ±α where its table gives α as a percentage and the authors'
code multiplies: multiplying is the default, `step = additive` follows the equation.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.models import Output
from trainers.objectives.objective import Objective
from trainers.options import option

MIN_BETA = 1e-6
"""Smallest β, which stays above 0 so that multiplying can bring it back."""


@dataclass(frozen=True)
class Hyperparameters:
    r: float = option(6.467, "r, the target rate, in nats per sentence", above=0)
    alpha: float = option(0.01, "α, the share (or the amount) by which β changes in one optimiser step", above=0)
    gamma: float = option(1.05, "γ, the factor on r above which β grows: R > γr", low=1)
    epsilon: float = option(1.0, "ε, the factor on r below which β falls: R < εr", above=0, high=1)
    beta_0: float = option(0.1, "β before the first step", above=0, high=1)
    step: str = option(
        "multiplicative", "kind of β's change: by a factor or by an amount", choices=("multiplicative", "additive")
    )


class Technique(Objective):
    hyperparameters: Hyperparameters
    beta: Tensor

    def __init__(self, hyperparameters: Hyperparameters) -> None:
        super().__init__(hyperparameters)
        self.register_buffer("beta", torch.tensor(hyperparameters.beta_0, dtype=torch.float64))

    @property
    def target_rate(self) -> float:
        return float(self.hyperparameters.r)

    def loss(self, output: Output) -> Tensor:
        return (output.distortion + self.beta.item() * output.rate).mean()

    def after_step(self, output: Output) -> None:
        h, rate = self.hyperparameters, output.rate.detach().mean().item()
        direction = (rate > h.gamma * h.r) - (rate < h.epsilon * h.r)
        if h.step == "multiplicative":
            self.beta.mul_((1 + h.alpha) ** direction)
        else:
            self.beta.add_(direction * h.alpha)
        self.beta.clamp_(MIN_BETA, 1.0)

    def state(self) -> dict[str, float]:
        return {"beta": self.beta.item()}
