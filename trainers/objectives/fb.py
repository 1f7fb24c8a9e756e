"""Free bits: D + max(r, R), R the batch's mean KL over all dimensions (Kingma et al. 2016; PA §3).

LI call it FBP, and FB the threshold on each dimension, `fb-dim`.
"""

from dataclasses import dataclass

from torch import Tensor

from trainers.models import Output
from trainers.objectives.objective import Objective
from trainers.options import option


@dataclass(frozen=True)
class Hyperparameters:
    r: float = option(5.0, "r, the rate that costs nothing, in nats per sentence", above=0)


class Technique(Objective):
    hyperparameters: Hyperparameters

    @property
    def target_rate(self) -> float:
        return float(self.hyperparameters.r)

    def loss(self, output: Output) -> Tensor:
        return output.distortion.mean() + output.rate.mean().clamp(min=self.hyperparameters.r)
