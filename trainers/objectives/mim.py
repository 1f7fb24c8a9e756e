"""SentenceMIM: D − ½(log q(z|x) + log p(z)) at one posterior sample (LV algorithm 1, line 3; eq. 14 without its
constant ½H(x)).

p(z) is the latent anchor, N(0, I) in LV; any of the priors may be. The loss rewards narrow posteriors, so the rate and the
importance-sampled NLL under p(z) are poor by design: LV's bound is `melbo`, under which codes come from the posteriors of
the evaluated sentences. The best epoch has the least of this loss.
"""

from dataclasses import dataclass

from torch import Tensor

from trainers.figures import EpochFigures
from trainers.models import Output
from trainers.objectives.objective import Objective


@dataclass(frozen=True)
class Hyperparameters:
    """No hyperparameter: the code's size and the dropout, which LV vary, are the model's own options."""


class Technique(Objective):
    def loss(self, output: Output) -> Tensor:
        return (output.distortions - 0.5 * (output.log_q + output.log_p)).mean()

    def criterion(self, figures: EpochFigures) -> float:
        return figures.distortion - 0.5 * (figures.log_q + figures.log_p)
