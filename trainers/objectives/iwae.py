"""Importance-weighted autoencoder: −log (1/k) Σ w_i, w_i = P(x|z_i) p(z_i)/q(z_i|x) for k posterior samples (Burda et al. 2016,
eq. 8; LI table 10). One sample's expectation is the negative ELBO. Validation picks the best epoch by that ELBO, like elsewhere.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from trainers.models import Batch, Output, SentenceModel
from trainers.objectives.objective import Objective
from trainers.options import option


@dataclass(frozen=True)
class Hyperparameters:
    k: int = option(10, "k, the number of posterior samples of a sentence in each step", low=1)


class Technique(Objective):
    hyperparameters: Hyperparameters

    def measure(self, model: SentenceModel, batch: Batch) -> Output:
        output: Output = model(batch, samples=self.hyperparameters.k)
        return output

    def loss(self, output: Output) -> Tensor:
        log_weights = output.log_p - output.log_q - output.distortions  # [k, B]
        return (math.log(len(log_weights)) - log_weights.logsumexp(0)).mean()
