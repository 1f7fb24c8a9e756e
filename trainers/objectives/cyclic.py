"""Cyclical annealing: D + βR; training is cut into equal cycles, in each of which β grows from 0 to 1 and stays (Fu et al. 2019).

β grows by equal steps over the first `fraction` of a cycle. A cycle is 1/`cycles` of the steps of max_epochs. One cycle is
`annealing`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.models import Output
from trainers.objectives.annealing import Annealed
from trainers.options import option


@dataclass(frozen=True)
class Hyperparameters:
    cycles: int = option(4, "M, the number of cycles in training", low=1)
    fraction: float = option(0.5, "the share of a cycle in which β grows", above=0, high=1)


class Technique(Annealed):
    hyperparameters: Hyperparameters
    step: Tensor

    def __init__(self, hyperparameters: Hyperparameters) -> None:
        super().__init__(hyperparameters)
        self.register_buffer("step", torch.tensor(0))

    @property
    def growth(self) -> float:
        return self.hyperparameters.cycles / (self.hyperparameters.fraction * self.steps)

    def cycle(self, step: int) -> int:
        """The cycle, from 0 on, that holds the step of that number, from 0 on."""
        return min(step * self.hyperparameters.cycles // self.steps, self.hyperparameters.cycles - 1)

    @property
    def settled(self) -> bool:
        return self.cycle(int(self.step)) == self.hyperparameters.cycles - 1 and super().settled

    def after_step(self, output: Output) -> None:
        before = int(self.step)
        self.step.add_(1)
        if self.cycle(before + 1) > self.cycle(before):
            self.beta.zero_()
        else:
            super().after_step(output)

    def warning(self) -> str | None:
        if self.steps >= self.hyperparameters.cycles:
            return None
        return (
            f"cyclic has {self.hyperparameters.cycles} cycles in {self.steps} steps of max_epochs: some have no step."
        )
