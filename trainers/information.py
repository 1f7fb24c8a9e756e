"""Figures of the codes alone: active units and mutual information.

S: samples; N: sentences in all.
"""

import torch
from torch import Tensor

from trainers.latent.distributions import Conditional, Mixture

ACTIVE_VARIANCE = 0.01
"""Variance Var_x(E_q[z_d|x]) that an active unit exceeds (Burda et al. 2016)."""
MEAN_SAMPLES = 64
"""Number of draws that estimate the mean of a posterior whose mean has no closed form."""
FLOW_CODES = 128
"""Number of codes for the mutual information under a flow; each is inverted under every sentence's posterior."""
HE_BATCH = 32
"""Number of sentences of a batch in He et al.'s estimator of the mutual information."""


@torch.no_grad()
def posterior_means(posterior: Conditional, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """E_q[z|x] [B, d], and the variance of its estimate [B, d], 0 where it is exact; d counts all codes of a sentence."""
    if posterior.mean is not None:
        return posterior.mean, torch.zeros_like(posterior.mean)
    z, _ = posterior.transform(posterior.noise(MEAN_SAMPLES, generator))
    return z.mean(0), z.var(0) / MEAN_SAMPLES


def count_active_units(means: Tensor, noise: Tensor) -> int:
    """Dimensions whose mean varies over sentences (Burda et al. 2016), the estimates' own variance subtracted; both [N, d_z]."""
    return int((means.var(0, correction=0) - noise.mean(0) > ACTIVE_VARIANCE).sum())


@torch.no_grad()
def mutual_information(posterior: Conditional, z: Tensor, log_q: Tensor) -> float:
    """E[log q(z|x) − log q(z)], z [N, d_z] one sample of each of N posteriors, log_q [N] its density (Hoffman & Johnson 2016).

    Under a flow the mean is over at most 128 of the codes, q(z) still of all N posteriors: densities of others' codes are costly.
    """
    few = len(z) if posterior.entropy is not None else FLOW_CODES
    chosen = torch.linspace(0, len(z) - 1, min(few, len(z)), device=z.device).long()
    log_marginal = Mixture(posterior).log_prob_of_own(z[chosen], chosen, log_q[chosen])
    return (log_q[chosen] - log_marginal).double().mean().item()


@torch.no_grad()
def batch_mutual_information(posterior: Conditional, z: Tensor, log_q: Tensor, seed: int) -> float:
    """He et al. 2019, appendix: −E[H(q(z|x))] − E[log q(z)] with q(z) of random batches of 32, averaged by sentences.

    The entropy is in closed form where it has one, the samples' mean −log q(z|x) otherwise.
    """
    expected = log_q if posterior.entropy is None else -posterior.entropy
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(seed)).to(z.device)
    total = 0.0
    for part in order.split(HE_BATCH):
        own = torch.arange(len(part), device=z.device)
        log_marginal = Mixture(posterior[part]).log_prob_of_own(z[part], own, log_q[part])
        total += (expected[part] - log_marginal).double().sum().item()
    return total / len(z)
