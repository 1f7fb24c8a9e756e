"""Evaluation of a trained model. It never sees the objective: no annealing weight, no dropout, no multiplier.

All figures of one evaluation are of the same sentences, and with `nll = q` of the same samples. −ELBO ≥ NLL then holds exactly
where the rate is sampled (Jensen), else up to the samples' noise.
B: sentences of a batch; S: samples; N: sentences in all.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor

from trainers.certificate import LONGEST, certify
from trainers.contract import COLLAPSED
from trainers.corpus import Sentence, batches
from trainers.figures import EpochFigures, Facts, Metrics
from trainers.information import batch_mutual_information, count_active_units, mutual_information, posterior_means
from trainers.latent.distributions import Conditional, Mixture, divergence
from trainers.models import Batch, SentenceModel, SenVAE
from trainers.options import EvaluationOptions
from trainers.tempered import Estimate, estimate

BATCH = 64
"""Largest number of sentences at once; fewer where their samples fill the rows, which leaves less padding."""
SUBSET_SEED = 0
"""Seed that chooses the evaluated sentences blindly and alike for every run."""
QUARTERS = 4
"""Parts of the draws from q, each of which makes an estimate of its own."""
LARGEST_FALL = 0.04
"""Nats by which the NLL from q may fall from a quarter of its draws to all. Every estimate of docs/metrics.md's table
whose bias is 0.1 nats or more fell by more than that.
"""
TEMPERED_DRAWS = 4
"""Number of posterior draws of a sentence for all figures but the NLL, where that has draws of its own."""


T = TypeVar("T")


def subset(sentences: Sequence[T], count: int) -> list[T]:
    """`count` sentences in a fixed random choice (0: all)."""
    if not count or count >= len(sentences):
        return list(sentences)
    chosen = random.Random(SUBSET_SEED).sample(range(len(sentences)), count)
    return [sentences[i] for i in chosen]


@dataclass(frozen=True)
class Samples:
    """S posterior samples of each of B sentences and what they are worth, in nats."""

    z: Tensor  # [S, B, d_z]
    log_q: Tensor  # [S, B] log q(z|x)
    log_p: Tensor  # [S, B] log p(z)
    distortion: Tensor  # [S, B] −log P(x|z)

    @property
    def log_weights(self) -> Tensor:
        """Log weights log w = log P(x|z) + log p(z) − log q(z|x): [S, B]."""
        return self.log_p - self.log_q - self.distortion

    @property
    def fall(self) -> Tensor:
        """Fall of the NLL [B] from the mean of its quarters to all draws, in nats; NaN where S < 4."""
        quarter = len(self.log_weights) // QUARTERS
        if not quarter:
            return torch.full_like(self.log_weights[0], math.nan)
        used: Tensor = self.log_weights[: QUARTERS * quarter].unflatten(0, (QUARTERS, quarter))
        return used.logsumexp((0, 1)) - math.log(QUARTERS) - used.logsumexp(1).mean(0)

    def weights_once(self, codes: int) -> Tensor:
        """Log weights where one of so many codes counts: the mean of their log p(z) − log q(z|x) in place of the sum."""
        return (self.log_p - self.log_q) / codes - self.distortion


@torch.no_grad()
def importance_samples(
    model: SenVAE, batch: Batch, posterior: Conditional, prior: Mixture, noise: Tensor, rows: int
) -> Samples:
    """Decodes the samples that `noise` [S, B, A·d_z] makes; at most `rows` codes at once."""
    sentences = noise.shape[1]
    parts = []
    for part in noise.split(max(rows // (sentences * model.codes), 1)):
        z, log_q = posterior.transform(part)
        nll = model.decoder.of_samples(batch, model.initial_state(z.flatten(0, 1)))
        parts.append((z, log_q, prior.log_prob(z), nll))
    return Samples(*(torch.cat(column) for column in zip(*parts, strict=True)))


@torch.no_grad()
def validation_information(model: SentenceModel, sentences: Sequence[Sentence], seed: int) -> float:
    """I(x; z) of all `sentences` by He et al.'s estimator, 0 without a latent; leaves the random state of training as it was."""
    if not isinstance(model, SenVAE):
        return 0.0
    model.eval()
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    found = [model.features(Batch.of([sentences[i] for i in part], device)) for part in batches(sentences, BATCH, None)]
    posterior = model.posterior_of(torch.cat(found))
    z, log_q = posterior.transform(posterior.noise(1, generator))
    return batch_mutual_information(posterior, z[0], log_q[0], seed)


@torch.no_grad()
def each_nll(model: SentenceModel, sentences: Sequence[Sentence], samples: int, rows: int, seed: int) -> Tensor:
    """NLL of each of the sentences [N]: that of `evaluate` with as many samples of q, for less than half its work.

    Args:
        rows: number of codes decoded at once.
    """
    model.eval()
    if not isinstance(model, SenVAE):
        return _exact(model, sentences)
    found, size = _measured(model, sentences, samples, rows, seed)
    return _in_order(found.nll.double(), sentences, size)


def _exact(
    model: SentenceModel,
    sentences: Sequence[Sentence],
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Tensor:
    """NLL of each sentence by a model without a latent code [N]."""
    nll, done, device = [], 0, next(model.parameters()).device
    for indices in batches(sentences, BATCH, None):
        nll.append(model(Batch.of([sentences[i] for i in indices], device)).distortion)
        done += len(indices)
        progress(done, len(sentences))
    return _in_order(torch.cat(nll).double(), sentences, BATCH)


@torch.no_grad()
def evaluate(
    model: SentenceModel,
    sentences: Sequence[Sentence],
    options: EvaluationOptions,
    seed: int,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
    split: str = "valid",
) -> Metrics:
    """Metrics on (a fixed choice of) the split's `sentences`; equal seeds give equal figures."""
    model.eval()
    chosen = subset(sentences, options.nll_sentences)
    facts: Facts = {"sentences": len(chosen), "of": len(sentences), "seed": seed, "split": split}
    if model.decoder.options.inputless:
        facts["inputs"] = "none"
    size = sum(p.numel() for p in model.parameters())
    if isinstance(model, SenVAE):
        return replace(_evaluate_latent(model, chosen, facts, options, seed, progress), parameters=size)
    each = _exact(model, chosen, progress)
    found = _metrics(each, each, 0.0, chosen, _Codes(), {"proposal": "exact", "samples": 1, **facts})
    return replace(found, parameters=size)


def batch_size(samples: int, rows: int) -> int:
    """Sentences at once, when each has so many samples and at most `rows` are decoded together."""
    return min(max(rows // samples, 1), BATCH)


def _in_order(each: Tensor, chosen: Sequence[Sentence], size: int) -> Tensor:
    """Figures as the batches of that size came, in the sentences' own order; both [N]."""
    found = torch.empty_like(each)
    found[list(chain.from_iterable(batches(chosen, size, None)))] = each
    return found


@dataclass(frozen=True)
class _Codes:
    """Figures of the latent codes; all 0 without a latent."""

    active_units: int = 0
    mi: float = 0.0
    mi_he: float = 0.0
    acc_gap: float = 0.0
    number: int = 1
    """Number A of a sentence's codes."""
    nll_once: float | None = None


def _metrics(
    nll: Tensor,
    distortion: Tensor,
    rate: float,
    chosen: Sequence[Sentence],
    codes: _Codes,
    estimator: Facts,
) -> Metrics:
    count, tokens = len(nll), sum(len(s) for s in chosen)
    mean_distortion = distortion.mean().item()
    melbo = mean_distortion + math.log(count)
    dead = rate < COLLAPSED or (count > 1 and codes.mi < COLLAPSED)
    return Metrics(
        nll=nll.mean().item(),
        nll_se=(nll.std() / math.sqrt(count)).item() if count > 1 else None,
        ppl=_exp(nll.sum().item() / tokens),
        ppl_no_end=_exp(nll.sum().item() / (tokens - count)),
        ppl_elbo=_exp((mean_distortion + rate) * count / tokens),
        melbo=melbo,
        ppl_melbo=_exp(melbo * count / tokens),
        rate=rate,
        distortion=mean_distortion,
        neg_elbo=mean_distortion + rate,
        active_units=codes.active_units,
        mi=codes.mi,
        mi_he=codes.mi_he,
        acc_gap=codes.acc_gap,
        **({} if codes.number == 1 else _counted_once(mean_distortion, rate / codes.number, codes, tokens / count)),
        collapsed=estimator["proposal"] != "exact" and dead,
        estimator=estimator,
        each=tuple(nll.tolist()),
    )


def _counted_once(distortion: float, rate: float, codes: _Codes, length: float) -> Facts:
    """KR's figures, which count one code's rate of several; length: tokens of a sentence, the mean."""
    total = distortion + rate
    return {
        "paper_elbo": total,
        "ppl_paper_elbo": _exp(total / length),
        "rate_once": rate,
        "nll_once": codes.nll_once,
    }


@dataclass(frozen=True)
class _Measured:
    """Figures by sentence, before any mean is taken, with one sample of each of the B sentences."""

    nll: Tensor  # [B] −log of the samples' mean weight
    fall: Tensor  # [B] as `Samples.fall`
    nll_once: Tensor  # [B] −log of their mean weight where one code counts
    distortion: Tensor  # [B]
    rate: Tensor  # [B]
    features: Tensor  # [B, …] what the posteriors are made of
    z: Tensor  # [B, A·d_z]
    log_q: Tensor  # [B]
    mean: Tensor  # [B, A·d_z] E_q[z|x]
    mean_variance: Tensor  # [B, A·d_z] of the estimate of that mean
    foretold: Tensor  # [1] next words that z foretells, less those that a code of the prior does
    words: Tensor  # [1] number of next words

    @classmethod
    def joined(cls, parts: Sequence["_Measured"]) -> "_Measured":
        """The figures of all parts' sentences."""
        return cls(*map(torch.cat, zip(*(vars(part).values() for part in parts), strict=True)))


def _measure(
    model: SenVAE, batch: Batch, prior: Mixture, samples: int, rows: int, generator: torch.Generator
) -> _Measured:
    features = model.features(batch)
    posterior = model.posterior_of(features)
    noise = posterior.noise(samples, generator)
    drawn = importance_samples(model, batch, posterior, prior, noise, rows)
    mean, variance = posterior_means(posterior, generator)
    first = model.initial_state(model.decoded(posterior, noise[:1], drawn.z[:1])[0])
    right, words = model.decoder.correct(batch, first)
    blind = prior.sample(len(features), generator)
    right_prior, _ = model.decoder.correct(batch, model.initial_state(blind))
    return _Measured(
        nll=math.log(samples) - drawn.log_weights.logsumexp(0),
        fall=drawn.fall,
        nll_once=math.log(samples) - drawn.weights_once(model.codes).logsumexp(0),
        distortion=drawn.distortion.mean(0) if model.spread else model.decoder.of_samples(batch, first)[0],
        rate=divergence(posterior, prior, drawn.z, drawn.log_q, drawn.log_p)[0],
        features=features,
        z=drawn.z[0],
        log_q=drawn.log_q[0],
        mean=mean,
        mean_variance=variance,
        foretold=torch.tensor([right - right_prior]),
        words=torch.tensor([words]),
    )


def _measured(
    model: SenVAE,
    chosen: Sequence[Sentence],
    samples: int,
    rows: int,
    seed: int,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> tuple[_Measured, int]:
    """Figures of each sentence, in the order of batches of a size, and that size."""
    device, prior = next(model.parameters()).device, model.prior_distribution()
    generator = torch.Generator(device).manual_seed(seed)
    size, parts, done = batch_size(samples * model.codes, rows), [], 0
    for indices in batches(chosen, size, None):
        batch = Batch.of([chosen[i] for i in indices], device)
        parts.append(_measure(model, batch, prior, samples, rows, generator))
        done += len(indices)
        progress(done, len(chosen))
    return _Measured.joined(parts), size


def _evaluate_latent(
    model: SenVAE,
    chosen: Sequence[Sentence],
    facts: Facts,
    options: EvaluationOptions,
    seed: int,
    progress: Callable[[int, int], None],
) -> Metrics:
    from_q = options.nll != "tempered"
    samples = options.nll_samples if from_q else TEMPERED_DRAWS
    found, size = _measured(model, chosen, samples, options.rows, seed, progress if from_q else lambda _done, _of: None)
    rate = found.rate.double().mean().item()
    codes = _codes(model, found, seed, from_q)
    certificate = partial(_certificate, model, chosen, options, seed, rate, progress)

    each, estimator = _in_order(found.nll.double(), chosen, size), {"proposal": "q", "samples": samples, **facts}
    more: Facts = {}
    if from_q:
        estimator |= _sure(found.fall.double().mean().item()) | certificate(1.0, samples)
    if options.nll != "q":
        made = estimate(model, chosen, seed, options.rows, rate, progress=progress)
        tempered = _tempered(made) | certificate(made.temper, max(made.levels))
        more["tempered"] = made
        if from_q:
            ppl = _exp(made.nll * len(chosen) / sum(map(len, chosen)))
            more |= {"nll_tempered": made.nll, "ppl_tempered": ppl}
            estimator["tempered"] = tempered
        else:
            each = torch.from_numpy(made.each + (made.nll - made.each.mean()))
            estimator |= tempered
    return replace(_metrics(each, found.distortion.double(), rate, chosen, codes, estimator), **more)


def _codes(model: SenVAE, found: _Measured, seed: int, from_q: bool) -> _Codes:
    everyone, d_z = model.posterior_of(found.features), model.options.d_z
    return _Codes(
        active_units=count_active_units(found.mean[:, :d_z], found.mean_variance[:, :d_z]),
        mi=mutual_information(everyone, found.z, found.log_q),
        mi_he=batch_mutual_information(everyone, found.z, found.log_q, seed),
        acc_gap=100 * int(found.foretold.sum()) / int(found.words.sum()),
        number=model.codes,
        nll_once=found.nll_once.double().mean().item() if from_q else None,
    )


def _sure(fall: float) -> Facts:
    """Facts about the sureness of samples from q; too few for four quarters are not sure."""
    return {"resolved": False} if math.isnan(fall) else {"fall": fall, "resolved": fall <= LARGEST_FALL}


def _tempered(made: Estimate) -> Facts:
    return {
        "proposal": "tempered q",
        "samples": min(made.levels),
        "temper": made.temper,
        "levels": {str(draws): count for draws, count in made.levels.items()},
        "error": _known(made.se),
        "bias": _known(made.bias),
        "resolved": made.resolved,
    }


def _certificate(
    model: SenVAE,
    chosen: Sequence[Sentence],
    options: EvaluationOptions,
    seed: int,
    rate: float,
    progress: Callable[[int, int], None],
    temper: float,
    samples: int,
) -> Facts:
    """`certificate`, where it is asked for: the bounds, and how like the evaluated sentences the model's own are."""
    if not options.certify:
        return {}
    longest = LONGEST * max(map(len, chosen))
    found = certify(model, options.certify, temper, samples, longest, seed, options.rows, progress)
    corpus = {"corpus_length": sum(map(len, chosen)) / len(chosen), "corpus_rate": rate}
    return {"certificate": {**asdict(found), **corpus}}


def _known(x: float) -> float | None:
    """The figure, or None if a single sentence leaves it NaN or infinite, which JSON lacks."""
    return x if math.isfinite(x) else None


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf


@torch.no_grad()
def learn(model: SentenceModel, sentences: Sequence[Sentence]) -> None:
    """Shows the posterior the training text, before an evaluation of these weights."""
    model.eval()
    if isinstance(model, SenVAE):
        device = next(model.parameters()).device
        parts = ([sentences[i] for i in indices] for indices in batches(sentences, BATCH, None))
        model.to_posterior.learn(model.features(Batch.of(part, device)) for part in parts)


@torch.no_grad()
def validate(model: SentenceModel, sentences: Sequence[Sentence], seed: int) -> EpochFigures:
    """D, R, AU and the codes' densities over all `sentences`; leaves the random state of training as it was."""
    model.eval()
    device = next(model.parameters()).device
    distortion, rate, log_qs, log_ps, means, noises = 0.0, 0.0, 0.0, 0.0, [], []
    generator = torch.Generator(device).manual_seed(seed)
    prior = model.prior_distribution() if isinstance(model, SenVAE) else None
    for indices in batches(sentences, BATCH, None):
        batch = Batch.of([sentences[i] for i in indices], device)
        if not isinstance(model, SenVAE) or prior is None:
            distortion += model(batch).distortion.double().sum().item()
            continue
        posterior = model.posterior(batch)
        noise = posterior.noise(1, generator)
        z, log_q = posterior.transform(noise)
        code = model.decoded(posterior, noise, z)[0]
        distortion += model.decoder.of_samples(batch, model.initial_state(code)).double().sum().item()
        log_p = prior.log_prob(z)
        rate += divergence(posterior, prior, z, log_q, log_p)[0].double().sum().item()
        log_qs, log_ps = log_qs + log_q.double().sum().item(), log_ps + log_p.double().sum().item()
        mean, variance = posterior_means(posterior, generator)
        means.append(mean)
        noises.append(variance)
    # of the first code, where a sentence has several: they all have one mean
    active = count_active_units(*(torch.cat(p)[:, : model.options.d_z] for p in (means, noises))) if means else 0
    count = len(sentences)
    return EpochFigures(distortion / count, rate / count, active, log_qs / count, log_ps / count)
