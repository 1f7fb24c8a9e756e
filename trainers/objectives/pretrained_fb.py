"""Pretraining and free bits: LI's method (§2.4). It is `fb-dim` with their settings and an encoder that `ae` has trained first.

The second stage's loss is D + β Σ_d max(r/d_z, R_d), β from 0 to 1 over its first `anneal_epochs`; the figures and the best epoch
are that stage's.
"""

from dataclasses import dataclass
from typing import ClassVar

from trainers.objectives import fb_dim
from trainers.options import ModelOptions, option


@dataclass(frozen=True)
class Hyperparameters:
    r: float = option(
        4.0, "r, the rate that costs nothing, shared equally by all dimensions, in nats per sentence", low=0
    )
    anneal_epochs: int = option(10, "number of epochs of the second stage over which β grows from 0 to 1", low=0)


class Technique(fb_dim.Technique):
    pretrain: ClassVar[str] = "ae"

    def refusal(self, options: ModelOptions) -> str | None:
        return fb_dim.refusal_without_dimensions("pretrained-fb", options)
