"""The paper's sampler in BoTorch: GPyTorch's Matérn 5/2 with ARD at the HMC draws of `gp_mcmc`, and BoTorch's improvements.

Needs the extra `botorch`. The only module of `tuner` that loads torch.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from botorch.acquisition.analytic import LogExpectedImprovement
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.acquisition.multi_objective.objective import WeightedMCMultiOutputObjective
from botorch.acquisition.objective import LinearMCObjective
from botorch.models.gp_regression import SingleTaskGP
from botorch.models.model_list_gp_regression import ModelListGP
from botorch.posteriors.fully_bayesian import MCMC_DIM, GaussianMixturePosterior
from botorch.sampling.normal import SobolQMCNormalSampler
from botorch.utils.sampling import manual_seed
from gpytorch.kernels import MaternKernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.means import ConstantMean
from numpy.typing import NDArray
from torch import Tensor

from tuner.samplers.acquisition import MARGIN
from tuner.samplers.gp import JITTER
from tuner.samplers.gp_mcmc import GPMCMCSampler, Known, Outcome, reference

Array = NDArray[np.float64]

AT_ONCE = 64
"""Number of points that a sampled acquisition is asked for at a time, which bounds its memory."""
COARSER = 4
"""Factor by which there are fewer draws for two objectives, as each draw cuts its front's surroundings into boxes of
its own.
"""


class Ensemble(SingleTaskGP):
    """A process for each of S draws, over which BoTorch's acquisition functions average as over its own fully Bayesian models."""

    _is_ensemble = True

    def posterior(self, X: Tensor, *arguments: Any, **options: Any) -> GaussianMixturePosterior:  # noqa: N803 - BoTorch's name
        """The posterior at points X [..., q, d], with means [..., S, q, 1]."""
        found: Any = super().posterior(X.unsqueeze(MCMC_DIM), *arguments, **options)
        return GaussianMixturePosterior(distribution=found.distribution)


def batched(thetas: Array, x: Array, y: Array) -> Ensemble:
    """A GPyTorch process for each θ of `thetas` [S, d + 3], as one BoTorch model of x [n, d] and y [n], to be minimised."""
    count, (n, d) = len(thetas), x.shape
    batch = torch.Size([count])
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # BoTorch's about values that are not standardised: another study's are beside ours
        model = Ensemble(
            torch.as_tensor(x).expand(count, n, d),
            torch.as_tensor(y)[:, None].expand(count, n, 1),
            likelihood=GaussianLikelihood(batch_shape=batch),
            covar_module=ScaleKernel(MaternKernel(nu=2.5, ard_num_dims=d, batch_shape=batch), batch_shape=batch),
            mean_module=ConstantMean(batch_shape=batch),
            outcome_transform=None,
        )
    values = torch.as_tensor(thetas)
    amplitude, noise = values[:, 0].exp(), values[:, 1].exp()
    model.covar_module.outputscale = amplitude
    model.covar_module.base_kernel.lengthscale = values[:, 3:].exp()[:, None]
    # GPyTorch's floor of 1e-4 is no part of the model.
    model.likelihood.noise_covar.raw_noise_constraint.lower_bound.fill_(0.0)
    model.likelihood.noise = (noise + JITTER * amplitude)[:, None]
    model.mean_module.constant = values[:, 2]
    model.eval()
    return model


def _limited(place: int, limit: Outcome) -> Callable[[Tensor], Tensor]:
    """A function of drawn outcomes [..., outcomes] that is 0 at most where nine in ten evaluations keep a constraint."""
    margin = MARGIN * float(np.exp(limit.thetas[:, 1] / 2).mean())
    return lambda drawn: drawn[..., place] - (limit.most - margin)


class Improvement:
    """An acquisition function of BoTorch's, of one point at a time, as the search for its highest point calls it."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, z: Array) -> Array:
        """The values at points z [m, d]: [m]."""
        with torch.no_grad():
            parts = [self.function(part[:, None]) for part in torch.as_tensor(z).split(AT_ONCE)]
        found: Array = torch.cat(parts).numpy()
        return found

    def with_gradient(self, z: Array) -> tuple[float, Array]:
        """The value at one point z [d], with its gradient [d]."""
        point = torch.tensor(z).requires_grad_()
        value = self.function(point[None, None]).sum()
        (gradient,) = torch.autograd.grad(value, point)
        return value.item(), gradient.numpy()


class BoTorchMCMCSampler(GPMCMCSampler):
    """`gp-mcmc` with BoTorch's model and acquisition functions.

    One objective has the analytic LogEI. Trials under way, constraints (`Trial.set_constraint` of Optuna), `noisy`, or a second
    objective make it the noisy expected improvement (of the hypervolume), whose baseline is integrated over too.

    Args:
        noisy: the noisy expected improvement always.
        draws: of it, joint ones of the points seen and proposed.
        options: of `gp-mcmc`.
    """

    def __init__(self, *, noisy: bool = False, draws: int = 64, **options: Any) -> None:
        if draws < 1:
            raise ValueError(f"draws = {draws} is not allowed: it must be at least 1.")
        super().__init__(**options)
        self.noisy, self.draws = noisy, draws

    def _improvement(self, known: Known, number: int) -> Improvement:
        models = [batched(each.thetas, known.x, each.y) for each in known.objectives]
        own = torch.as_tensor(known.x[: known.own] if known.own else known.x)
        simple = not (self.noisy or len(known.pending) or known.constraints)
        if len(models) == 1 and simple:
            with torch.no_grad():
                means = models[0].posterior(own).mean[..., 0]  # [S, n]
            lowest = means.mean(0).min() if known.own else torch.tensor(0.0)
            return Improvement(LogExpectedImprovement(models[0], lowest, maximize=False))
        limits = [batched(each.thetas, known.x, each.y) for each in known.constraints]
        count, seed = len(models), int(self._generator(number, "draws").integers(2**31))
        draws = self.draws if count == 1 else -(-self.draws // COARSER)
        shared: dict[str, Any] = {
            "model": ModelListGP(*models, *limits) if count + len(limits) > 1 else models[0],
            "X_baseline": own,
            "X_pending": torch.as_tensor(known.pending) if len(known.pending) else None,
            "sampler": SobolQMCNormalSampler(torch.Size([draws]), seed=seed),
            "constraints": [_limited(count + i, each) for i, each in enumerate(known.constraints)] or None,
        }
        with warnings.catch_warnings(), manual_seed(seed):  # it thins its baseline by draws of PyTorch's own
            warnings.simplefilter("ignore")  # BoTorch's about its numerics
            if count == 1:
                objective = LinearMCObjective(-torch.eye(1 + len(limits), dtype=torch.double)[0])
                return Improvement(qLogNoisyExpectedImprovement(objective=objective, **shared))
            objectives = WeightedMCMultiOutputObjective(-torch.ones(2, dtype=torch.double), outcomes=[0, 1])
            return Improvement(
                qLogNoisyExpectedHypervolumeImprovement(
                    ref_point=torch.as_tensor(-reference(known)), objective=objectives, **shared
                )
            )
