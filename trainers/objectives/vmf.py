"""The vMF-VAE: D + R with codes on the unit sphere, q(z|x) = vMF(μ(x), κ), κ one fixed number, and p(z) uniform (Xu &
Durrett 2018).

The rate is one constant of κ and d_z, in closed form: no sentence pays less, and the optimiser cannot lower it. It is no promise
that the code tells anything: all μ(x) may still be one, so look at `mi`. q^λ p^(1−λ) is vMF(μ, λκ), so the tempered estimator's
proposals are exact. Homotopies follow the sphere.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.latent.distributions import Conditional, Mixture
from trainers.latent.posteriors import MakePosterior, Posterior
from trainers.latent.priors import Encode, MakePrior, Prior
from trainers.latent.sphere import VonMisesFisher
from trainers.objectives.objective import Objective, refusal_of_components
from trainers.options import ModelOptions, option


class OnSphere(Posterior):
    """A posterior vMF(μ, κ), with μ the affine map of the features divided by its length."""

    def __init__(self, features: int, options: ModelOptions, kappa: float) -> None:
        super().__init__()
        self.kappa = kappa
        self.direction = nn.Linear(features, options.d_z)

    def forward(self, features: Tensor) -> Conditional:
        return VonMisesFisher(F.normalize(self.direction(features), dim=-1), self.kappa)


class Uniform(Prior):
    """The uniform distribution on the unit sphere."""

    axis: Tensor

    def __init__(self, options: ModelOptions, _lengths: tuple[float, float]) -> None:
        super().__init__()
        self.register_buffer("axis", torch.eye(1, options.d_z), persistent=False)

    def forward(self, encode: Encode) -> Mixture:
        del encode
        return Mixture(VonMisesFisher(self.axis, 0.0))


@dataclass(frozen=True)
class Hyperparameters:
    kappa: float = option(25.0, "κ, the posteriors' concentration; it and d_z set the rate", above=0, high=5000)


class Technique(Objective):
    hyperparameters: Hyperparameters

    def refusal(self, options: ModelOptions) -> str | None:
        if options.d_z < 2:
            return "d_z = 1 is not allowed for vmf, whose codes lie on a sphere: take 2 dimensions or more."
        return refusal_of_components("vmf", options, "which brings its own")

    @property
    def posterior(self) -> MakePosterior:
        return partial(OnSphere, kappa=self.hyperparameters.kappa)

    @property
    def prior(self) -> MakePrior:
        return Uniform
