"""Lagrangian VAE in its MI-maximising mode (Zhao et al. 2018a; PA §7).

    max I(x; z)   s.t.   −ELBO ≤ e,   MMD²(q(z), p(z)) ≤ m

I(x; z) ≥ H − D, so α·D is minimised in its place, and the constraints enter with multipliers that climb:

    min over the model, max over u, v ≥ 0, of   αD + u(D + R − e) + v(MMD² − m)

u and v are absolute values of parameters with an RMSprop of their own, as in `mdr`. The bound e must be feasible: a little
above what `vanilla` reaches on the same corpus. It is of training's D, which dropout raises; the best epoch is chosen by the
evaluated −ELBO. MMD² as in `infovae`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, RMSprop

from trainers.figures import EpochFigures
from trainers.models import Output
from trainers.objectives.infovae import mmd_squared, refusal_of_batches
from trainers.objectives.mdr import PUBLISHED_STEP, planned_step
from trainers.objectives.objective import Objective
from trainers.options import TrainingOptions, Value, option

INFEASIBLE = 1e9
"""Penalty in nats that ranks every epoch that breaks the constraint behind all that keep it."""


@dataclass(frozen=True)
class Hyperparameters:
    e: float = option(110.0, "e, the largest −ELBO allowed, in nats per sentence", above=0)
    m: float = option(0.005, "m, the largest MMD² allowed", low=0)
    alpha: float = option(1.0, "α, the weight of the mutual information's bound", above=0)
    u_0: float = option(1.0, "u and v, the multipliers, before the first step", above=0)
    rho: float = option(
        PUBLISHED_STEP,
        "ρ, RMSprop's step size on u and v; unless set, so large that they can settle within max_epochs",
        above=0,
    )


class Technique(Objective):
    hyperparameters: Hyperparameters

    def __init__(self, hyperparameters: Hyperparameters) -> None:
        super().__init__(hyperparameters)
        self.multipliers = nn.Parameter(torch.full((2,), hyperparameters.u_0))

    def refusal_of_training(self, options: TrainingOptions) -> str | None:
        return refusal_of_batches("lagvae", options)

    def loss(self, output: Output) -> Tensor:
        h = self.hyperparameters
        assert output.prior is not None
        distortion, rate = output.distortion.mean(), output.rate.mean()
        mmd = mmd_squared(output.z, output.prior.sample(len(output.z)))
        u, v = self.multipliers.abs()
        loss: Tensor = h.alpha * distortion + u * (distortion + rate - h.e) + v * (mmd - h.m)
        return loss

    def planned(self) -> dict[str, Value]:
        return {"rho": planned_step(self.steps)}

    def optimizers(self) -> list[Optimizer]:
        return [RMSprop([self.multipliers], lr=self.hyperparameters.rho, maximize=True)]

    def criterion(self, figures: EpochFigures) -> float:
        """Least D among the epochs that keep −ELBO ≤ e; while none does, the least −ELBO."""
        neg_elbo = figures.distortion + figures.rate
        return INFEASIBLE + neg_elbo if neg_elbo > self.hyperparameters.e else figures.distortion

    def warning(self) -> str | None:
        reach = self.hyperparameters.rho * self.steps
        if reach >= 1:
            return None
        return (
            f"lagvae's multipliers move by at most about {reach:.2g} in the {self.steps} steps of max_epochs, so its constraints "
            f"may not be met; a rho of {1 / self.steps:.2g} or more moves them by 1."
        )

    def state(self) -> dict[str, float]:
        u, v = self.multipliers.abs().tolist()
        return {"u": u, "v": v}
