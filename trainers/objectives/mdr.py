"""Minimum desired rate: min over the model, max over u ≥ 0, of D + R + u(r − R) (PA eq. 5–6).

u is the absolute value of a parameter that starts at 1.01 and climbs by RMSprop with step size ρ, an optimiser of its own:
the model's optimiser, its clipping norm and its weight decay never see u.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, RMSprop

from trainers.models import Output
from trainers.objectives.objective import Objective
from trainers.options import Value, option

PUBLISHED_STEP = 1e-3
REACH = 3.0
"""Distance that a multiplier may move in all of a plan's steps: RMSprop moves it by about ρ a step."""


def planned_step(steps: int) -> float:
    """Step size ρ of a multiplier that must settle within so many steps; never below the paper's."""
    return max(PUBLISHED_STEP, REACH / steps)


@dataclass(frozen=True)
class Hyperparameters:
    r: float = option(5.0, "r, the least rate wanted, in nats per sentence", above=0)
    u_0: float = option(1.01, "u, the multiplier, before the first step", above=0)
    rho: float = option(
        PUBLISHED_STEP, "ρ, RMSprop's step size on u; unless set, so large that u can settle within max_epochs", above=0
    )


class Technique(Objective):
    hyperparameters: Hyperparameters

    def __init__(self, hyperparameters: Hyperparameters) -> None:
        super().__init__(hyperparameters)
        self.u = nn.Parameter(torch.tensor(hyperparameters.u_0))

    @property
    def target_rate(self) -> float:
        return float(self.hyperparameters.r)

    def loss(self, output: Output) -> Tensor:
        rate = output.rate.mean()
        return output.distortion.mean() + rate + self.u.abs() * (self.hyperparameters.r - rate)

    def planned(self) -> dict[str, Value]:
        return {"rho": planned_step(self.steps)}

    def optimizers(self) -> list[Optimizer]:
        return [RMSprop([self.u], lr=self.hyperparameters.rho, maximize=True)]

    def warning(self) -> str | None:
        reach = self.hyperparameters.rho * self.steps
        if reach >= 1:
            return None
        return (
            f"mdr's multiplier moves by at most about {reach:.2g} in the {self.steps} steps of max_epochs, so the rate may not "
            f"settle at {self.hyperparameters.r:g}; a rho of {1 / self.steps:.2g} or more moves it by 1."
        )

    def state(self) -> dict[str, float]:
        return {"u": self.u.abs().item()}
