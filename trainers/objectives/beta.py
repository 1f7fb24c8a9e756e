"""The β-VAE: D + βR with β fixed (Higgins et al. 2017; PA §3)."""

from dataclasses import dataclass

from torch import Tensor

from trainers.models import Output
from trainers.objectives.objective import Objective
from trainers.options import option


@dataclass(frozen=True)
class Hyperparameters:
    beta: float = option(0.66, "β, the rate's weight; below 1 it lets the rate rise", low=0)


class Technique(Objective):
    hyperparameters: Hyperparameters

    def loss(self, output: Output) -> Tensor:
        return (output.distortion + self.hyperparameters.beta * output.rate).mean()
