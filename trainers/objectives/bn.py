"""BN-VAE: D + R, the posteriors' means normalised over the batch to the standard deviation γ (Zhu et al. 2020).

With N(0, I) as prior R ≥ ½ Σ_d E[u_d²] = ½ d_z γ² + ½ ‖b‖² whatever the encoder does, b the means' learned shift. As in the
authors' code γ is fixed and b learned from 0. In evaluation means are normalised by the statistics of the whole training text
under the weights that are evaluated, taken before each evaluation. So the bound holds there exactly, and on other text as far as
its statistics are the same. The authors' code takes running averages of the batches, which lag behind the weights: with SGD an
epoch's rate was up to thousands of times the bound. A batch of a single sentence, as an epoch's last one may be, has a
deviation of 0 and is normalised by the statistics of the batch before it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from trainers.latent.distributions import Gaussian
from trainers.latent.posteriors import DiagonalGaussian, MakePosterior
from trainers.objectives.objective import Objective, refusal_of_components, refusal_of_single_sentences
from trainers.options import ModelOptions, TrainingOptions, option

LEAST_VARIANCE = 1e-24
"""Amount added to a variance of means, which begins near 1e-8 where all weights begin small."""


class BatchNormalised(DiagonalGaussian):
    """N(γ (u − mean)/sd + b, diag s²), mean and sd of each dimension over the batch."""

    mean: Tensor
    variance: Tensor
    weight: Tensor

    def __init__(self, features: int, options: ModelOptions, gamma: float) -> None:
        super().__init__(features, options)
        self.gamma = gamma
        self.shift = nn.Parameter(torch.zeros(options.d_z))
        self.register_buffer("mean", torch.zeros(options.d_z))
        self.register_buffer("variance", torch.zeros(options.d_z))
        self.register_buffer("weight", torch.zeros(()))  # 0: nothing is known yet; older runs have an average's below 1

    def learn(self, features: Iterable[Tensor]) -> None:
        count, mean, squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for part in features:
            means, n = self.location(part).double(), len(part)
            apart = means.mean(0) - mean
            squares = squares + means.var(0, correction=0) * n + apart.square() * (count * n / (count + n))
            mean, count = mean + apart * (n / (count + n)), count + n
        self._keep(mean, squares / count)

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        self.mean.copy_(mean)
        self.variance.copy_(variance)
        self.weight.fill_(1)

    def base(self, features: Tensor) -> Gaussian:
        plain = super().base(features)
        if self.training and len(features) > 1:
            mean, variance = plain.location.mean(0), plain.location.var(0, correction=0)
            self._keep(mean, variance)
        elif self.weight:
            mean, variance = self.mean / self.weight, self.variance / self.weight
        else:
            mean, variance = torch.zeros_like(self.mean), torch.ones_like(self.variance)
        white = (plain.location - mean) * (variance + LEAST_VARIANCE).rsqrt()
        return Gaussian(self.gamma * white + self.shift, plain.scale)


@dataclass(frozen=True)
class Hyperparameters:
    gamma: float = option(0.6, "γ, the standard deviation over sentences of each dimension's posterior mean", above=0)


class Technique(Objective):
    hyperparameters: Hyperparameters

    def refusal(self, options: ModelOptions) -> str | None:
        return refusal_of_components("bn", options, "whose bound is on the KL from a Gaussian to N(0, I)")

    def refusal_of_training(self, options: TrainingOptions) -> str | None:
        return refusal_of_single_sentences("bn", options, "whose means are normalised over a batch")

    @property
    def posterior(self) -> MakePosterior:
        return partial(BatchNormalised, gamma=self.hyperparameters.gamma)
