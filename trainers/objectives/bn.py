"""BN-VAE: D + R, the posteriors' means normalised over the batch to the standard deviation γ (Zhu et al. 2020).

With N(0, I) as prior R ≥ ½ Σ_d E[u_d²] = ½ d_z γ² + ½ ‖b‖² whatever the encoder does, b the means' learned shift. As in the
authors' code γ is fixed and b learned from 0. In evaluation means are normalised by running statistics of the training batches,
so there the bound holds as far as those are the evaluated text's own. They are averages of batches alone: PyTorch's would begin
with a variance of 1, which outweighs an encoder's that has collapsed to 0.01 for many steps, and the bound would not hold.
A batch of a single sentence, whose deviation is 0, is normalised by the running statistics too, as an epoch's last one may be.
Statistics of other weights (`polyak`) or of sentences with words missing (`encoder_unk`) are not those of what is evaluated: on
the grammar R was a tenth of the bound, or three times as high.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from trainers.latent.distributions import Gaussian
from trainers.latent.posteriors import DiagonalGaussian, MakePosterior
from trainers.models import Output
from trainers.objectives.objective import Objective, refusal_of_components, refusal_of_single_sentences
from trainers.options import ModelOptions, TrainingOptions, option

MOMENTUM = 0.1
"""Share of a batch in the running statistics."""
LEAST_VARIANCE = 1e-8


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
        self.register_buffer("weight", torch.zeros(()))

    def base(self, features: Tensor) -> Gaussian:
        plain = super().base(features)
        if self.training and len(features) > 1:
            mean, variance = plain.location.mean(0), plain.location.var(0, correction=0)
            unbiased = variance.detach() * len(features) / (len(features) - 1)
            for running, own in ((self.mean, mean.detach()), (self.variance, unbiased), (self.weight, torch.ones(()))):
                running.lerp_(own.to(running), MOMENTUM)
        elif self.weight:
            mean, variance = self.mean / self.weight, self.variance / self.weight
        else:  # nothing is known yet
            mean, variance = torch.zeros_like(self.mean), torch.ones_like(self.variance)
        white = (plain.location - mean) * (variance + LEAST_VARIANCE).rsqrt()
        return Gaussian(self.gamma * white + self.shift, plain.scale)


@dataclass(frozen=True)
class Hyperparameters:
    gamma: float = option(0.6, "γ, the standard deviation over sentences of each dimension's posterior mean", above=0)


class Technique(Objective):
    hyperparameters: Hyperparameters

    def refusal(self, options: ModelOptions) -> str | None:
        if options.encoder_unk:
            return (
                f"encoder_unk = {options.encoder_unk:g} is not allowed for bn, whose running statistics would be of sentences "
                "with words missing: set encoder_unk=0."
            )
        return refusal_of_components("bn", options, "whose bound is on the KL from a Gaussian to N(0, I)")

    def refusal_of_training(self, options: TrainingOptions) -> str | None:
        if options.polyak:
            return (
                f"polyak = {options.polyak:g} is not allowed for bn, whose running statistics are of the weights that are "
                "trained, not of their average: set polyak=0."
            )
        return refusal_of_single_sentences("bn", options, "whose means are normalised over a batch")

    @property
    def posterior(self) -> MakePosterior:
        return partial(BatchNormalised, gamma=self.hyperparameters.gamma)

    def loss(self, output: Output) -> Tensor:
        return (output.distortion + output.rate).mean()
