"""RNNLM: −log P(x). The baseline without a latent (PA eq. 13)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from trainers.models import Output
from trainers.objectives.objective import Objective, refusal_of_components
from trainers.options import ModelOptions


@dataclass(frozen=True)
class Hyperparameters:
    """No hyperparameter: only the model's own options can be tuned."""


class Technique(Objective):
    latent: ClassVar[bool] = False

    def refusal(self, options: ModelOptions) -> str | None:
        if options.cell == "double-lstm":
            return "cell = 'double-lstm' is not allowed for rnnlm, which has no latent code for its first LSTM: set cell=lstm."
        return refusal_of_components("rnnlm", options, "which has no latent code")

    def loss(self, output: Output) -> Tensor:
        return output.distortion.mean()
