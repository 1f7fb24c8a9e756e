"""Vanilla VAE: D + R, the negative ELBO (PA eq. 3)."""

from dataclasses import dataclass

from torch import Tensor

from trainers.models import Output
from trainers.objectives.objective import Objective


@dataclass(frozen=True)
class Hyperparameters:
    """No hyperparameter."""


class Technique(Objective):
    def loss(self, output: Output) -> Tensor:
        return (output.distortion + output.rate).mean()
