"""GECO: R + λ(D − κ), the least rate with which D stays at κ (Rezende & Viola 2018, algorithm 1). The mirror of `mdr`.

λ is positive by its form: after each step log λ grows by ν times a moving average of the constraint D − κ. So it climbs while
sentences are rebuilt worse than κ and falls where there is room. The paper gives the constraint's value that moving average and
its gradient the batch's; a value moves nothing but λ here, so the loss has the batch's own. In what proportion λ moves the paper
leaves open: here by ν a step from one nat of constraint on, as an untrained decoder's tens of nats would wind λ up beyond what a
plan can unwind (on the grammar to R = 47 where 6 suffice). κ must be feasible: above the D that `ae` reaches, and below that of
`vanilla`, or the rate goes to 0. The constraint is of training's D, which dropout raises; the best epoch is chosen by the
evaluated one. `lagvae` bounds D + R instead and maximises information.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.figures import EpochFigures
from trainers.models import Output
from trainers.objectives.lagvae import INFEASIBLE
from trainers.objectives.mdr import planned_step
from trainers.objectives.objective import Objective
from trainers.options import Value, option

LARGEST_LOG = math.log(1e4)
"""Largest |log λ|: a constraint that cannot be met would take it to infinity."""


@dataclass(frozen=True)
class Hyperparameters:
    kappa: float = option(100.0, "κ, the largest D wanted, in nats per sentence", above=0)
    alpha: float = option(0.99, "α, the past's share in the moving average of D − κ", low=0, high=0.99999)
    nu: float = option(
        1e-3,
        "ν, the growth of log λ in a step for each nat of D − κ; unless set, so large that λ can settle within "
        "max_epochs",
        above=0,
    )


class Technique(Objective):
    hyperparameters: Hyperparameters
    log_lambda: Tensor
    constraint: Tensor
    begun: Tensor

    def __init__(self, hyperparameters: Hyperparameters) -> None:
        super().__init__(hyperparameters)
        self.register_buffer("log_lambda", torch.tensor(0.0, dtype=torch.float64))
        self.register_buffer("constraint", torch.tensor(0.0, dtype=torch.float64))
        self.register_buffer("begun", torch.tensor(False))

    def loss(self, output: Output) -> Tensor:
        short = output.distortion.mean() - self.hyperparameters.kappa
        return output.rate.mean() + self.log_lambda.exp().item() * short

    def after_step(self, output: Output) -> None:
        h = self.hyperparameters
        short = output.distortion.detach().mean().double() - h.kappa
        self.constraint.copy_(h.alpha * self.constraint + (1 - h.alpha) * short if self.begun else short)
        self.begun.fill_(True)
        self.log_lambda.add_(h.nu * self.constraint.clamp(-1, 1)).clamp_(-LARGEST_LOG, LARGEST_LOG)

    def planned(self) -> dict[str, Value]:
        return {"nu": planned_step(self.steps)}

    def criterion(self, figures: EpochFigures) -> float:
        """Least R among the epochs with D ≤ κ; while there is none, the least D."""
        kept = figures.distortion <= self.hyperparameters.kappa
        return figures.rate if kept else INFEASIBLE + figures.distortion

    def state(self) -> dict[str, float]:
        return {"lambda": self.log_lambda.exp().item(), "constraint": self.constraint.item()}
