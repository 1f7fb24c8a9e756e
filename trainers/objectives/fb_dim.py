"""Free bits of each dimension: D + β Σ_d max(r/d_z, R_d), R_d one sentence's KL in dimension d (LI eq. 1, "FB").

LI's λ is given for the whole code, as r is here; their equation's constant is r/d_z. As in it and in their code the
threshold is each sentence's own, not the batch mean's. `fb` has the threshold on the whole rate (LI's "FBP"). β is 1 unless
`anneal_epochs` is set: it then grows from 0 to 1, as LI have it after pretraining.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from trainers.models import Output
from trainers.objectives.annealing import Annealed
from trainers.objectives.objective import refusal_of_components
from trainers.options import ModelOptions, option


def refusal_without_dimensions(technique: str, options: ModelOptions) -> str | None:
    """The reason why a threshold on each dimension makes no sense with these options, if it makes none."""
    reason = "whose threshold is on the KL of each dimension, which has no closed form then"
    return refusal_of_components(technique, options, reason, ", or take fb")


@dataclass(frozen=True)
class Hyperparameters:
    r: float = option(
        3.0, "r, the rate that costs nothing, shared equally by all dimensions, in nats per sentence", low=0
    )
    anneal_epochs: int = option(0, "number of epochs over which β grows from 0 to 1; 0: β is 1 at once", low=0)


class Technique(Annealed):
    newer = ("beta",)
    hyperparameters: Hyperparameters

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Reads older programs' checkpoints too, which have a stage where there were two."""
        return super().load_state_dict({k: v for k, v in state_dict.items() if k != "stage"}, strict, assign)

    def refusal(self, options: ModelOptions) -> str | None:
        return refusal_without_dimensions("fb-dim", options)

    @property
    def target_rate(self) -> float:
        return float(self.hyperparameters.r)

    def loss(self, output: Output) -> Tensor:
        each = output.rate_per_dimension
        assert each is not None
        thresholded = each.clamp(min=self.hyperparameters.r / each.shape[1]).sum(-1)
        return (output.distortion + self.weight * thresholded).mean()
