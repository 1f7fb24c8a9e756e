"""Autoencoder: D alone (LI §2.2: "the VAE trained without the KL term"). The reference for reconstruction, and LI's pretraining.

z is a posterior sample, as in LI: nothing holds the posterior's scale up, so it shrinks until the noise hurts no more, and D is
evaluated as it was trained. `code = centre` trains on z = u (LV's AE): the scale then learns nothing, and the figures of
evaluation, which samples, are worse than the training's. The rate, the NLL and all that depend on it mean little for either.
"""

from dataclasses import dataclass

from torch import Tensor

from trainers.figures import EpochFigures
from trainers.models import Batch, Output, SentenceModel
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

    def measure(self, model: SentenceModel, batch: Batch) -> Output:
        output: Output = model(batch, spread=float(self.hyperparameters.code == "sample"))
        return output

    def loss(self, output: Output) -> Tensor:
        return output.distortion.mean()

    def criterion(self, figures: EpochFigures) -> float:
        """D: the rate costs nothing."""
        return figures.distortion
