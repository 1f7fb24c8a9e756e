"""Minimum desired rate: min over the model, max over u ≥ 0, of D + R + u(r − R) (PA eq. 5–7).

u is the absolute value of a parameter that starts at 1.01 and climbs by RMSprop with step size ρ, an optimiser of its own:
the model's optimiser, its clipping norm and its weight decay never see u.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, RMSprop

from trainers.models import Output
from trainers.objectives.objective import Objective
from trainers.options import option


@dataclass(frozen=True)
class Hyperparameters:
    r: float = option(5.0, "r, the least rate wanted, in nats per sentence", above=0)
    u_0: float = option(1.01, "u, the multiplier, before the first step", above=0)
    rho: float = option(1e-3, "ρ, RMSprop's step size on u", above=0)


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

    def optimizers(self) -> list[Optimizer]:
        return [RMSprop([self.u], lr=self.hyperparameters.rho, maximize=True)]

    def warning(self, steps: int) -> str | None:
        reach = self.hyperparameters.rho * steps
        if reach >= 1:
            return None
        return (
            f"mdr's multiplier moves by at most about {reach:.2g} in the {steps} steps of max_epochs, so the rate may not "
            f"settle at {self.hyperparameters.r:g}; a rho of {1 / steps:.2g} or more moves it by 1."
        )

    def state(self) -> dict[str, float]:
        return {"u": self.u.abs().item()}
