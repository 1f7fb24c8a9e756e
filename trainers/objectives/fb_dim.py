"""Free bits of each dimension: D + Σ_d max(r/d_z, R_d), R_d one sentence's KL in dimension d (LI eq. 1, "FB").

LI's λ is given for the whole code, as r is here; their equation's constant is r/d_z. As in it and in their code the
threshold is each sentence's own, not the batch mean's. `fb` has the threshold on the whole rate (LI's "FBP").
"""

from dataclasses import dataclass

from torch import Tensor

from trainers.models import Output
from trainers.objectives.objective import Objective, refusal_of_components
from trainers.options import ModelOptions, option


def thresholded(output: Output, r: float) -> Tensor:
    """Σ_d max(r/d_z, R_d) of each sentence [B]."""
    each = output.rate_per_dimension
    assert each is not None
    return each.clamp(min=r / each.shape[1]).sum(-1)


def refusal_without_dimensions(technique: str, options: ModelOptions) -> str | None:
    """The reason why a threshold on each dimension makes no sense with these options, if it makes none."""
    reason = "whose threshold is on the KL of each dimension, which has no closed form then"
    return refusal_of_components(technique, options, reason, ", or take fb")


@dataclass(frozen=True)
class Hyperparameters:
    r: float = option(
        3.0, "r, the rate that costs nothing, shared equally by all dimensions, in nats per sentence", low=0
    )


class Technique(Objective):
    hyperparameters: Hyperparameters

    def refusal(self, options: ModelOptions) -> str | None:
        return refusal_without_dimensions("fb-dim", options)

    @property
    def target_rate(self) -> float:
        return float(self.hyperparameters.r)

    def loss(self, output: Output) -> Tensor:
        return (output.distortion + thresholded(output, self.hyperparameters.r)).mean()
