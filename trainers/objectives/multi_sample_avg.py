"""Hidden-state averaging: D + βR/L, the decoder's states averaged at each step over L codes of a sentence (KR eq. 7–8).

Each code has a recurrence of its own, h_t^(l) = dec(h_{t−1}^(l), w_t); the softmax reads their mean. The latent is then
(z¹ … z^L) with q = Π q(z^l|x) and p = Π p(z^l), whose divergence is L times one code's. KR count one code's, in training and in
what they report, which is no bound on −log P(x). So training and its best epoch follow them (`kl = all`: the valid bound), and
every figure reported is of the L codes together; KR's own is kept apart as `paper_elbo` = D + R/L.
"""

from dataclasses import dataclass

from torch import Tensor

from trainers.figures import EpochFigures
from trainers.models import Output
from trainers.objectives.annealing import Annealed
from trainers.options import option


@dataclass(frozen=True)
class Hyperparameters:
    samples: int = option(5, "L, the number of codes of a sentence whose decoder states are averaged", low=1)
    anneal_epochs: int = option(10, "number of epochs over which β grows from 0 to 1", low=0)
    kl: str = option(
        "once",
        "KL in the loss: one code's (KR), or that of all L, with which the loss is a bound",
        choices=("once", "all"),
    )


class Technique(Annealed):
    hyperparameters: Hyperparameters

    @property
    def codes(self) -> int:
        return self.hyperparameters.samples

    @property
    def share(self) -> float:
        """The share of the rate that counts."""
        return 1 / self.codes if self.hyperparameters.kl == "once" else 1.0

    def loss(self, output: Output) -> Tensor:
        return (output.distortion + self.weight * self.share * output.rate).mean()

    def criterion(self, figures: EpochFigures) -> float:
        """Criterion of the best epoch, which is the trained figure: KR's D + R/L, or D + R."""
        return figures.distortion + self.share * figures.rate
