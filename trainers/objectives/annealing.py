"""KL annealing: D + βR; β starts at 0 and grows by γ each optimiser step up to 1 (Bowman et al. 2016; PA §3)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainers.models import Output
from trainers.objectives.objective import Objective
from trainers.options import Value, option

ROUNDING = 1e-9
"""Distance from its end within which a schedule has ended: n times 1/n adds up to a little less than 1 for every second n."""


def planned_growth(published: float, steps: int) -> float:
    """A schedule's step that the plan of so many steps has time for: the published one, or half of the plan."""
    return published if published * steps >= 1 else 2 / steps


@dataclass(frozen=True)
class Hyperparameters:
    gamma: float = option(
        2e-5,
        "γ, the growth of β in one optimiser step; unless set, so large that it ends within max_epochs",
        above=0,
        high=1,
    )
    anneal_epochs: int = option(
        0, "number of epochs over which β grows from 0 to 1 in equal steps, in place of γ (0: by γ)", low=0
    )


class Annealed(Objective):
    """A technique whose weight β grows from 0 to 1, by equal steps over the first `anneal_epochs` epochs (0: β is 1 at once)."""

    beta: Tensor

    def __init__(self, hyperparameters: Any) -> None:
        super().__init__(hyperparameters)
        self.register_buffer("beta", torch.tensor(0.0, dtype=torch.float64))

    def planned(self) -> dict[str, Value]:
        if "anneal_epochs" in self.limits() and self.hyperparameters.anneal_epochs > self.epochs:
            return {"anneal_epochs": max(self.epochs // 2, 1)}
        return {}

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"anneal_epochs": (0, self.epochs)} if hasattr(self.hyperparameters, "anneal_epochs") else {}

    @property
    def growth(self) -> float:
        """Growth of β in one optimiser step; inf: β is 1 from the start."""
        steps = self.hyperparameters.anneal_epochs * self.steps_per_epoch
        return 1 / steps if steps else torch.inf

    @property
    def weight(self) -> float:
        """The weight β."""
        return 1.0 if self.growth == torch.inf else self.beta.item()

    @property
    def settled(self) -> bool:
        return self.weight >= 1 - ROUNDING

    def loss(self, output: Output) -> Tensor:
        """D + βR, where a technique has no other."""
        return (output.distortion + self.weight * output.rate).mean()

    def after_step(self, output: Output) -> None:
        del output
        self.beta.add_(self.growth).clamp_(max=1.0)

    def state(self) -> dict[str, float]:
        return {"beta": self.weight}

    def warning(self) -> str | None:
        reached = self.growth * self.steps
        if reached >= 1 - ROUNDING:
            return None
        return f"β reaches {reached:.2g} of 1 in the {self.steps} steps of max_epochs; anneal_epochs = {self.epochs} ends it."


class Technique(Annealed):
    hyperparameters: Hyperparameters

    def planned(self) -> dict[str, Value]:
        return {**super().planned(), "gamma": planned_growth(self.hyperparameters.gamma, self.steps)}

    def limits(self) -> dict[str, tuple[float, float]]:
        return {**super().limits(), "gamma": (1 / self.steps, 1.0)}

    def idle(self) -> dict[str, str]:
        return {"gamma": "anneal_epochs"} if self.hyperparameters.anneal_epochs else {}

    @property
    def growth(self) -> float:
        return super().growth if self.hyperparameters.anneal_epochs else self.hyperparameters.gamma

    def warning(self) -> str | None:
        reached = self.growth * self.steps
        if self.hyperparameters.anneal_epochs or reached >= 1 - ROUNDING:
            return super().warning()
        return (
            f"annealing cannot end: with gamma = {self.growth:g} a step, β reaches {reached:.2g} of 1 in the "
            f"{self.steps} steps of max_epochs; a gamma of at least {1 / self.steps:.2g} ends it."
        )
