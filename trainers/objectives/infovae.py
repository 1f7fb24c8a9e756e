"""InfoVAE: D + βR + (λ − β)·MMD²(q(z), p(z)) (Zhao et al. 2018b; PA §3).

Zhao et al. write the weights as 1 − α on the rate and α + λ − 1 on the divergence; with β = 1 − α these are β and λ − β. MMD²
is the unbiased estimate under the kernel exp(−‖a − b‖²/d_z) between the batch's posterior samples and as many of the prior.
PA's authors' code multiplies it by 10⁴, which `mmd_scale` can do too. Then the estimate's noise drowns D and R, and the decoder
does not use its code; the paper's does (docs/results.md#infovaes-divergence).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.errors import BadInput
from trainers.models import Output
from trainers.objectives.objective import Objective, refusal_of_single_sentences
from trainers.options import TrainingOptions, option


def refusal_of_batches(technique: str, options: TrainingOptions) -> str | None:
    """The reason against batches whose codes are no sample of q(z), if `options` ask for them; None if they do not."""
    if options.batching == "length":
        return (
            f"batching = 'length' is not allowed for {technique}, whose divergence takes a batch for a sample of all sentences: "
            "set batching=random."
        )
    return refusal_of_single_sentences(technique, options, "whose divergence compares the codes of a batch in pairs")


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """Kernel exp(−‖a − b‖²/d) of every pair: a [N, d], b [M, d] → [N, M]."""
    return torch.exp(-(a[:, None] - b).square().sum(-1) / a.shape[1])


def mmd_squared(a: Tensor, b: Tensor) -> Tensor:
    """Unbiased MMD² of the samples a [N, d] and b [M, d], N, M ≥ 2 (Gretton et al. 2012, eq. 3): pairs of a sample with itself
    are left out, so its mean is 0 for equal distributions and it may be negative. A sample of one has no pair: 0."""
    n, m = len(a), len(b)
    if min(n, m) < 2:
        return (a.sum() + b.sum()) * 0
    within_a = (kernel(a, a).sum() - n) / (n * (n - 1))
    within_b = (kernel(b, b).sum() - m) / (m * (m - 1))
    return within_a + within_b - 2 * kernel(a, b).mean()


@dataclass(frozen=True)
class Hyperparameters:
    beta: float = option(0.7, "β = 1 − α, the rate's weight", low=0)
    lam: float = option(31.623, "λ; the divergence's weight is λ − β", low=0)
    mmd_scale: float = option(1.0, "factor on MMD², 10⁴ in the paper's authors' code", above=0)

    def __post_init__(self) -> None:
        if self.lam < self.beta:
            raise BadInput(
                f"lam = {self.lam:g} is not allowed with beta = {self.beta:g}: lam must be at least beta, or the divergence "
                "would be maximised."
            )


class Technique(Objective):
    hyperparameters: Hyperparameters

    def refusal_of_training(self, options: TrainingOptions) -> str | None:
        return refusal_of_batches("infovae", options)

    def loss(self, output: Output) -> Tensor:
        h = self.hyperparameters
        assert output.prior is not None
        mmd = mmd_squared(output.z, output.prior.sample(len(output.z)))
        return (output.distortion + h.beta * output.rate).mean() + (h.lam - h.beta) * h.mmd_scale * mmd
