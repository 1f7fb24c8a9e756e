"""The sampler's Gaussian process as a BoTorch model: for looking at a surrogate, and the reference that tests hold our own to.

Needs the extra `botorch`; imported by nothing that must start fast.
"""

import numpy as np
import torch
from botorch.models import SingleTaskGP
from gpytorch.kernels import MaternKernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.means import ConstantMean
from numpy.typing import NDArray

from tuner.samplers.gp import JITTER

Array = NDArray[np.float64]


def batched(thetas: Array, x: Array, y: Array) -> SingleTaskGP:
    """A GPyTorch process for each θ of `thetas` [S, d + 3], as one batched model of x [n, d] and y [n].

    Maximisation is BoTorch's habit: give it −y to use its acquisition functions.
    """
    count, (n, d) = len(thetas), x.shape
    batch = torch.Size([count])
    model = SingleTaskGP(
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
    model.likelihood.noise_covar.raw_noise_constraint.lower_bound.fill_(
        0.0
    )  # GPyTorch's floor of 1e-4 is no part of the model
    model.likelihood.noise = (noise + JITTER * amplitude)[:, None]
    model.mean_module.constant = values[:, 2]
    model.eval()
    return model
