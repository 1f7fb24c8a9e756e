"""RNNLM: −log P(x). The baseline without a latent (PA eq. 13)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from trainers.models import Output
from trainers.objectives.objective import Objective


@dataclass(frozen=True)
class Hyperparameters:
    """None: only the model's own options can be tuned."""


class Technique(Objective):
    latent: ClassVar[bool] = False

    def loss(self, output: Output) -> Tensor:
        return output.distortion.mean()
