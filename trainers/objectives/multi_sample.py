"""Several samples a step: D̄ + βR, D̄ the mean of D over L posterior samples of z (KR eq. 3).

The KL is annealed: β grows from 0 to 1 by equal steps over the first epochs (KR §5.1: 10; 0 leaves β = 1). The bound that is
evaluated is the ordinary one; L tightens nothing, it takes noise out of the gradient.
"""

from dataclasses import dataclass

from trainers.models import Batch, Output, SentenceModel
from trainers.objectives.annealing import Annealed
from trainers.options import option


@dataclass(frozen=True)
class Hyperparameters:
    samples: int = option(5, "L, the number of posterior samples of a sentence in each step", low=1)
    anneal_epochs: int = option(10, "number of epochs over which β grows from 0 to 1", low=0)


class Technique(Annealed):
    hyperparameters: Hyperparameters

    def measure(self, model: SentenceModel, batch: Batch) -> Output:
        output: Output = model(batch, samples=self.hyperparameters.samples)
        return output
