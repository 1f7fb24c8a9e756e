"""KL annealing: D + βR; β starts at 0 and grows by γ each optimiser step up to 1 (Bowman et al. 2016; PA §3)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.models import Output
from trainers.objectives.objective import Objective
from trainers.options import option


@dataclass(frozen=True)
class Hyperparameters:
    gamma: float = option(2e-5, "γ, what β grows by in one optimiser step", above=0, high=1)


class Technique(Objective):
    hyperparameters: Hyperparameters
    beta: Tensor

    def __init__(self, hyperparameters: Hyperparameters) -> None:
        super().__init__(hyperparameters)
        self.register_buffer("beta", torch.tensor(0.0, dtype=torch.float64))

    @property
    def settled(self) -> bool:
        return self.beta.item() >= 1

    def loss(self, output: Output) -> Tensor:
        return (output.distortion + self.beta.item() * output.rate).mean()

    def after_step(self, output: Output) -> None:
        del output
        self.beta.add_(self.hyperparameters.gamma).clamp_(max=1.0)

    def state(self) -> dict[str, float]:
        return {"beta": self.beta.item()}

    def warning(self, steps: int) -> str | None:
        reached = self.hyperparameters.gamma * steps
        if reached >= 1:
            return None
        return (
            f"annealing cannot end: with gamma = {self.hyperparameters.gamma:g} a step, β reaches {reached:.2g} of 1 in the "
            f"{steps} steps of max_epochs; a gamma of at least {1 / steps:.2g} ends it."
        )
