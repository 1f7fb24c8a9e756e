"""Pretraining and free bits: LI's method (§2.4), in two stages, each to convergence.

1. The autoencoder's loss, D.
2. From the best encoder of that and a new decoder: D + β Σ_d max(r/d_z, R_d), β from 0 to 1 over the first `anneal_epochs`.

LI's encoder has word embeddings of its own; where it reads the decoder's (`own_embeddings = false`), they stay and the rest of
the generator is new. The figures and the best epoch are the second stage's.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trainers.evaluation import EpochFigures
from trainers.models import Output, SentenceModel, SenVAE
from trainers.objectives.annealing import Annealed
from trainers.objectives.fb_dim import refusal_without_dimensions, thresholded
from trainers.options import ModelOptions, option


@dataclass(frozen=True)
class Hyperparameters:
    r: float = option(
        4.0, "r, the rate that costs nothing, shared equally by all dimensions, in nats per sentence", low=0
    )
    anneal_epochs: int = option(10, "epochs of the second stage over which β grows from 0 to 1", low=0)


class Technique(Annealed):
    stages: ClassVar[int] = 2
    hyperparameters: Hyperparameters
    stage: Tensor

    def __init__(self, hyperparameters: Hyperparameters) -> None:
        super().__init__(hyperparameters)
        self.register_buffer("stage", torch.tensor(0))

    def refusal(self, options: ModelOptions) -> str | None:
        return refusal_without_dimensions("pretrained-fb", options)

    @property
    def target_rate(self) -> float:
        return float(self.hyperparameters.r)

    def begin_stage(self, stage: int, model: SentenceModel) -> None:
        assert isinstance(model, SenVAE)
        model.renew_generator()
        self.stage.fill_(stage)

    def loss(self, output: Output) -> Tensor:
        if not self.stage:
            return output.distortion.mean()
        return (output.distortion + self.weight * thresholded(output, self.hyperparameters.r)).mean()

    def after_step(self, output: Output) -> None:
        if self.stage:
            super().after_step(output)

    @property
    def settled(self) -> bool:
        return not self.stage or super().settled

    def criterion(self, figures: EpochFigures) -> float:
        """D while pretraining; then D + max(r, R)."""
        return super().criterion(figures) if self.stage else figures.distortion

    def state(self) -> dict[str, float]:
        return {"stage": float(self.stage), "beta": self.weight if self.stage else 0.0}
