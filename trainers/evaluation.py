"""What a trained model is worth. Never sees the objective: no annealing weight, no dropout, no multiplier.

All figures of one evaluation are of the same sentences, so that −ELBO ≥ NLL holds sample by sample (Jensen).
B: sentences of a batch; S: samples; N: sentences in all.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from trainers.corpus import Sentence, batches
from trainers.latent.posteriors import draw
from trainers.models import Batch, SentenceModel
from trainers.options import EvaluationOptions

ACTIVE_VARIANCE = 0.01
"""a unit is active if Var_x(E_q[z_d|x]) exceeds this (Burda et al. 2016)"""
COLLAPSED_RATE = 0.2
"""nats per sentence; I(x; z) ≤ R, so below it the code says nearly nothing, whatever the count of active units"""
BATCH = 64
SUBSET_SEED = 0
"""chooses the evaluated sentences blindly and alike for every run"""


@dataclass(frozen=True)
class Metrics:
    """Figures per sentence in nats, METHODS' conventions: sums over sentences, tokens with the end token."""

    nll: float
    """importance-sampled −log P(x) (PA eq. 12); exact without a latent"""
    nll_se: float
    """its standard error over sentences"""
    ppl: float
    """exp(Σ NLL / Σ tokens)"""
    rate: float
    """R = KL(q(z|x) ‖ p(z))"""
    distortion: float
    """D = −E_q log P(x|z)"""
    neg_elbo: float
    """D + R"""
    active_units: int
    mi: float
    """I(x; z) under q by Hoffman & Johnson 2016: R − KL(q(z) ‖ p(z)), on the same samples E[log q(z|x) − log q(z)];
    at most ln of the number of evaluated sentences"""
    acc_gap: float
    """points of next-word accuracy, posterior sample minus prior sample (PA §6)"""
    collapsed: bool
    """the posterior hardly depends on x: R < 0.2, or no active unit (a rate that every sentence pays alike)"""
    estimator: dict[str, int | str]
    """what made the NLL: proposal, samples S, sentences, seed, split"""

    def plain(self) -> dict[str, object]:
        return asdict(self)


def subset(sentences: Sequence[Sentence], count: int) -> list[Sentence]:
    """`count` sentences in a fixed random choice (0: all)."""
    if not count or count >= len(sentences):
        return list(sentences)
    chosen = random.Random(SUBSET_SEED).sample(range(len(sentences)), count)
    return [sentences[i] for i in chosen]


@torch.no_grad()
def importance_weights(
    model: SentenceModel, batch: Batch, posterior: Normal, z: Tensor, rows: int
) -> tuple[Tensor, Tensor]:
    """log w = log P(x|z) + log p(z) − log q(z|x) and −log P(x|z), both [S, B], for z [S, B, d_z].

    At most `rows` sentence samples are decoded at once.
    """
    prior = model.prior_distribution()
    assert prior is not None
    sentences = z.shape[1]
    log_ratio = (prior.log_prob(z) - posterior.log_prob(z)).sum(-1)
    step = max(rows // sentences, 1)
    nll = [
        model.decoder(batch.repeat(len(part)), model.initial_state(part.flatten(0, 1))).view(-1, sentences)
        for part in z.split(step)
    ]
    distortion = torch.cat(nll)
    return log_ratio - distortion, distortion


def aggregate_log_density(z: Tensor, location: Tensor, scale: Tensor, chunk: int = 256) -> Tensor:
    """log q(z) = log 1/N Σ_n q(z|x_n) of each z [M, d], all N posteriors given [N, d]: [M]."""
    parts = []
    for part in z.split(chunk):
        log_q = Normal(location, scale, validate_args=False).log_prob(part[:, None]).sum(-1)
        parts.append(log_q.logsumexp(1) - math.log(len(location)))
    return torch.cat(parts)


@torch.no_grad()
def evaluate(
    model: SentenceModel,
    sentences: Sequence[Sentence],
    options: EvaluationOptions,
    seed: int,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Metrics:
    """All metrics on (a fixed choice of) the validation `sentences`; the same seed gives the same figures."""
    model.eval()
    device = next(model.parameters()).device
    chosen = subset(sentences, options.nll_sentences)
    generator = torch.Generator(device).manual_seed(seed)
    nll, distortion, rate = [], [], []
    locations, scales, codes, log_own = [], [], [], []
    right, right_prior, words, done = 0, 0, 0, 0
    samples = options.nll_samples
    for indices in batches(chosen, BATCH, None):
        batch = Batch.of([chosen[i] for i in indices], device)
        posterior, prior = model.posterior(batch), model.prior_distribution()
        if posterior is None or prior is None:
            exact = model(batch).distortion
            nll.append(exact)
            distortion.append(exact)
            rate.append(torch.zeros_like(exact))
        else:
            z = draw(posterior, samples, generator)
            log_w, sampled = importance_weights(model, batch, posterior, z, options.rows)
            nll.append(math.log(samples) - log_w.logsumexp(0))
            distortion.append(sampled.mean(0))
            rate.append(kl_divergence(posterior, prior).sum(-1))
            locations.append(posterior.loc)
            scales.append(posterior.scale)
            codes.append(z[0])
            log_own.append(posterior.log_prob(z[0]).sum(-1))
            noise = torch.randn(z[0].shape, generator=generator, device=device)
            hits, count = model.decoder.correct(batch, model.initial_state(z[0]))
            right += hits
            words += count
            right_prior += model.decoder.correct(batch, model.initial_state(prior.loc + prior.scale * noise))[0]
        done += len(indices)
        progress(done, len(chosen))
    each = torch.cat(nll).double()
    mean_rate = torch.cat(rate).double().mean().item()
    active, mi, acc_gap = 0, 0.0, 0.0
    if codes:
        location, scale = torch.cat(locations), torch.cat(scales)
        active = int((location.var(0, correction=0) > ACTIVE_VARIANCE).sum())
        log_q = aggregate_log_density(torch.cat(codes), location, scale)
        mi = (torch.cat(log_own) - log_q).double().mean().item()
        acc_gap = 100 * (right - right_prior) / words
    mean_nll, mean_distortion = each.mean().item(), torch.cat(distortion).double().mean().item()
    tokens = sum(len(s) for s in chosen)
    return Metrics(
        nll=mean_nll,
        nll_se=(each.std() / math.sqrt(len(each))).item() if len(each) > 1 else math.nan,
        ppl=_exp(each.sum().item() / tokens),
        rate=mean_rate,
        distortion=mean_distortion,
        neg_elbo=mean_distortion + mean_rate,
        active_units=active,
        mi=mi,
        acc_gap=acc_gap,
        collapsed=bool(codes) and (mean_rate < COLLAPSED_RATE or (active == 0 and len(each) > 1)),
        estimator={
            "proposal": "q" if codes else "exact",
            "samples": samples if codes else 1,
            "sentences": len(chosen),
            "of": len(sentences),
            "seed": seed,
            "split": "valid",
        },
    )


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf


@dataclass(frozen=True)
class EpochFigures:
    """What each epoch reports of the validation set, one posterior sample a sentence."""

    distortion: float
    rate: float
    active_units: int


@torch.no_grad()
def validate(model: SentenceModel, sentences: Sequence[Sentence], seed: int) -> EpochFigures:
    """D, R and AU over all `sentences`; leaves the random state of training as it was."""
    model.eval()
    device = next(model.parameters()).device
    distortion, rate, locations = 0.0, 0.0, []
    generator = torch.Generator(device).manual_seed(seed)
    for indices in batches(sentences, BATCH, None):
        batch = Batch.of([sentences[i] for i in indices], device)
        posterior, prior = model.posterior(batch), model.prior_distribution()
        if posterior is None or prior is None:
            distortion += model(batch).distortion.double().sum().item()
            continue
        z = draw(posterior, 1, generator)[0]
        distortion += model.decoder(batch, model.initial_state(z)).double().sum().item()
        rate += kl_divergence(posterior, prior).double().sum().item()
        locations.append(posterior.loc)
    active = int((torch.cat(locations).var(0, correction=0) > ACTIVE_VARIANCE).sum()) if locations else 0
    return EpochFigures(distortion / len(sentences), rate / len(sentences), active)
