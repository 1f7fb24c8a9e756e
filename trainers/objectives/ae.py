"""Autoencoder: D alone (LI §2.2: "the VAE trained without the KL term"). The reference for reconstruction, and LI's pretraining.

z is a posterior sample, as in LI: nothing holds the posterior's scale up, so it shrinks until the noise hurts no more, and D is
evaluated as it was trained. With `code = centre` (LV's AE, §4.5) z = u is decoded, in training and wherever a sentence's code
is: D, BLEU, the entropy of codes, reconstructions. The scale then learns nothing. The rate, the NLL and all that depend on them
are of the samples of q, and mean little for either.
"""

from dataclasses import dataclass

from torch import Tensor

from trainers.figures import EpochFigures
from trainers.models import Output, SentenceModel
from trainers.objectives.objective import Objective
from trainers.options import option


@dataclass(frozen=True)
class Hyperparameters:
    code: str = option(
        "sample",
        "code z that is decoded: a posterior sample, or the posterior's centre u",
        choices=("sample", "centre"),
    )


class Technique(Objective):
    hyperparameters: Hyperparameters

    def grow(self, model: SentenceModel) -> None:
        """Has the model decode centres, if this technique does."""
        model.spread = float(self.hyperparameters.code == "sample")

    def loss(self, output: Output) -> Tensor:
        return output.distortion.mean()

    def criterion(self, figures: EpochFigures) -> float:
        """D: the rate costs nothing."""
        return figures.distortion
