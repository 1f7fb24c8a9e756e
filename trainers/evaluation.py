"""Evaluation of a trained model. It never sees the objective: no annealing weight, no dropout, no multiplier.

All figures of one evaluation are of the same sentences and samples. −ELBO ≥ NLL then holds exactly where the rate is sampled
(Jensen), and up to the samples' noise where it has a closed form.
B: sentences of a batch; S: samples; N: sentences in all.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor

from trainers.certificate import LONGEST, certify
from trainers.corpus import Sentence, batches
from trainers.latent.distributions import Conditional, Mixture, divergence
from trainers.models import Batch, SentenceModel, SenVAE
from trainers.options import EvaluationOptions
from trainers.tempered import Estimate, estimate

ACTIVE_VARIANCE = 0.01
"""Variance Var_x(E_q[z_d|x]) that an active unit exceeds (Burda et al. 2016)."""
COLLAPSED = 0.2
"""Nats per sentence of rate or mutual information, below which the code says nearly nothing, whatever units are active."""
BATCH = 64
"""Largest number of sentences at once; fewer where their samples fill the rows, which leaves less padding."""
SUBSET_SEED = 0
"""Seed that chooses the evaluated sentences blindly and alike for every run."""
MEAN_SAMPLES = 64
"""Number of draws that estimate the mean of a posterior whose mean has no closed form."""
FLOW_CODES = 128
"""Number of codes for the mutual information under a flow; each is inverted under every sentence's posterior."""
TEMPERED_DRAWS = 4
"""Number of posterior draws of a sentence for all figures but the NLL, where that has draws of its own."""
HE_BATCH = 32
"""Number of sentences of a batch in He et al.'s estimator of the mutual information."""


LATENT_FIGURES = (
    "ppl_elbo", "melbo", "ppl_melbo", "rate", "distortion", "neg_elbo", "active_units", "mi", "mi_he", "acc_gap",
)  # fmt: skip


Facts = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Metrics:
    """Figures per sentence in nats, METHODS' conventions: sums over sentences, tokens with the end token."""

    nll: float
    """Importance-sampled −log P(x) (PA eq. 12); exact without a latent."""
    nll_se: float | None
    """Standard error of the NLL over sentences; None of a single one."""
    ppl: float
    """Perplexity exp(Σ NLL / Σ tokens)."""
    ppl_no_end: float
    """Perplexity exp(Σ NLL / Σ words): the likelihood is that of `ppl`, but end tokens are not counted (PA table 1,
    Dyer et al. 2016).
    """
    ppl_elbo: float
    """Bound exp(Σ −ELBO / Σ tokens), above the perplexity but for the samples' noise."""
    melbo: float
    """Bound D + ln N, N the evaluated sentences, of the NLL of this decoder when codes come from the mixture of these
    sentences' posteriors, not from p(z) (LV eq. 16). Such a prior has seen the sentences: the floor is ln N, not the
    source's entropy. The bound grows with N: compare figures of equal sentences.
    """
    ppl_melbo: float
    """Bound exp(Σ MELBO / Σ tokens)."""
    rate: float
    """Rate R = KL(q(z|x) ‖ p(z)); the mean over the samples of log q(z|x) − log p(z) where it has no closed form."""
    distortion: float
    """Distortion D = −E_q log P(x|z)."""
    neg_elbo: float
    """Negative ELBO, D + R."""
    active_units: int
    """Number of dimensions with Var_x(E_q[z_d|x]) > 0.01; a flow's means are estimated, their noise subtracted."""
    mi: float
    """Mutual information I(x; z) under q by Hoffman & Johnson 2016: R − KL(q(z) ‖ p(z)), on one set of samples
    E[log q(z|x) − log q(z)]; at most ln of the number of evaluated sentences.
    """
    mi_he: float
    """Mutual information by He et al. 2019: q(z) from batches of 32, so about ln 32 = 3.47 at most; the posterior's
    entropy in closed form, which leaves a noise of about √(d_z/2N).
    """
    acc_gap: float
    """Points of next-word accuracy, posterior sample minus prior sample (PA §6)."""
    collapsed: bool
    """True if z tells hardly anything of x: R < 0.2; or MI < 0.2, where sentences pay a rate for nothing. Active units
    do not decide: means that vary by less than 0.1 tell much where the posteriors are narrower still, as with mim.
    """
    estimator: Facts
    """Facts of the NLL's estimator: proposal, samples S, sentences, seed, split; inputs = none where the decoder reads
    no words; of a tempered one λ (`temper`), draws and sentences by level (`levels`), the estimate's own standard error
    (`error`), the bound of its bias (`bias`) and whether that is small (`resolved`); with certify > 0 its `certificate`
    on the model's own sentences.
    """
    target_rate: float | None = None
    """Target rate r, where the technique holds a rate."""
    rate_error: float | None = None
    """Difference R − r."""
    mi_lower: float | None = None
    """Lower bound H − D ≤ I(x; z) (Alemi et al. 2018), where the source's entropy H is known; R is the upper bound."""
    nll_tempered: float | None = None
    """Tempered estimate of the NLL beside the one from q, with nll=both; its estimator is `estimator["tempered"]`."""
    ppl_tempered: float | None = None
    """Perplexity exp(Σ NLL / Σ tokens) by the tempered estimate."""
    bits_per_char: float | None = None
    """Bits per character, Σ NLL / Σ characters, each sentence's end counted as one: compares texts whatever their
    tokens are.
    """
    bits_per_byte: float | None = None
    """Bits per byte (UTF-8), Σ NLL / Σ bytes, each sentence's end counted as one."""
    paper_elbo: float | None = None
    """Sum D + R/L where a sentence has L codes: KR's own −ELBO, which counts one code's rate and so bounds nothing."""
    ppl_paper_elbo: float | None = None
    """Perplexity exp(Σ (D + R/L) / Σ tokens)."""
    rate_once: float | None = None
    """Rate R/L of one code, which is KR's KL."""
    nll_once: float | None = None
    """Estimate −log of the posterior samples' mean weight when log p(z) − log q(z|x) is the mean over the L codes, not
    their sum: importance sampling's counterpart of `paper_elbo`. It estimates no likelihood; only samples from q (nll =
    q or both) have it.
    """
    parameters: int = 0
    """Number of parameters that training fits."""
    bleu: float | None = None
    """BLEU of greedy reconstructions, orders 1 to 4, 0–100; this and the rest with the option `codes`
    (`latent_space.figures`).
    """
    bleu_1: float | None = None
    """BLEU of single words."""
    smoothness: float | None = None
    """Smoothness: Pearson correlation of code distance and word edit distance."""
    noisy_1: float | None = None
    """Distortion D of a sentence from its code after one swap of two words (LI table 6); `noisy_2` and on after more
    swaps.
    """
    noisy_2: float | None = None
    noisy_3: float | None = None
    noisy_4: float | None = None
    probe_0: float | None = None
    """Accuracy of a Gaussian mixture's clusters on the labels; `probe_100` and on: of a linear classifier on so many
    labelled examples.
    """
    probe_100: float | None = None
    probe_500: float | None = None
    probe_1000: float | None = None
    probe_2000: float | None = None
    probe_10000: float | None = None
    each: tuple[float, ...] = ()
    """Every sentence's −log P(x), in the order of the sentences evaluated, whatever batches they were in."""
    tempered: Estimate | None = None
    """Tempered estimate by sentence, where it was made."""

    @property
    def latent(self) -> bool:
        return bool(self.estimator["proposal"] != "exact")

    def plain(self) -> dict[str, object]:
        """The figures as JSON values; what has no meaning without a latent is None there. Without those by sentence."""
        figures = asdict(replace(self, each=(), tempered=None))
        del figures["each"], figures["tempered"]
        return figures | ({} if self.latent else dict.fromkeys(LATENT_FIGURES))


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
    return (log_q[chosen] - Mixture(posterior).log_prob(z[chosen])).double().mean().item()


@torch.no_grad()
def batch_mutual_information(posterior: Conditional, z: Tensor, log_q: Tensor, seed: int) -> float:
    """He et al. 2019, appendix: −E[H(q(z|x))] − E[log q(z)] with q(z) of random batches of 32, averaged by sentences.

    The entropy is in closed form where it has one, the samples' mean −log q(z|x) otherwise.
    """
    if posterior.entropy is not None:
        log_q = -posterior.entropy
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(seed)).to(z.device)
    total = 0.0
    for part in order.split(HE_BATCH):
        total += (log_q[part] - Mixture(posterior[part]).log_prob(z[part])).double().sum().item()
    return total / len(z)


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
    nll, done, device = [], 0, next(model.parameters()).device
    for indices in batches(chosen, BATCH, None):
        nll.append(model(Batch.of([chosen[i] for i in indices], device)).distortion)
        done += len(indices)
        progress(done, len(chosen))
    each = torch.cat(nll).double()
    found = _metrics(each, each, 0.0, chosen, _Codes(), {"proposal": "exact", "samples": 1, **facts})
    return replace(found, each=_in_order(each, chosen, BATCH), parameters=size)


def batch_size(samples: int, rows: int) -> int:
    """Sentences at once, when each has so many samples and at most `rows` are decoded together."""
    return min(max(rows // samples, 1), BATCH)


def _in_order(each: Tensor, chosen: Sequence[Sentence], size: int) -> tuple[float, ...]:
    """Figures as the batches of that size came, in the sentences' own order."""
    found = dict(zip(chain.from_iterable(batches(chosen, size, None)), each.tolist(), strict=True))
    return tuple(found[place] for place in range(len(chosen)))


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


def _evaluate_latent(
    model: SenVAE,
    chosen: Sequence[Sentence],
    facts: Facts,
    options: EvaluationOptions,
    seed: int,
    progress: Callable[[int, int], None],
) -> Metrics:
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    from_q = options.nll != "tempered"
    samples, prior = options.nll_samples if from_q else TEMPERED_DRAWS, model.prior_distribution()
    nll, once, distortion, rate, features, codes, log_own, means, noises = [], [], [], [], [], [], [], [], []
    right, right_prior, words, done, size = 0, 0, 0, 0, batch_size(samples * model.codes, options.rows)
    for indices in batches(chosen, size, None):
        batch = Batch.of([chosen[i] for i in indices], device)
        features.append(model.features(batch))
        posterior = model.posterior_of(features[-1])
        drawn = importance_samples(model, batch, posterior, prior, posterior.noise(samples, generator), options.rows)
        nll.append(math.log(samples) - drawn.log_weights.logsumexp(0))
        once.append(math.log(samples) - drawn.weights_once(model.codes).logsumexp(0))
        distortion.append(drawn.distortion.mean(0))
        rate.append(divergence(posterior, prior, drawn.z, drawn.log_q, drawn.log_p)[0])
        codes.append(drawn.z[0])
        log_own.append(drawn.log_q[0])
        mean, noise = posterior_means(posterior, generator)
        means.append(mean)
        noises.append(noise)
        hits, count = model.decoder.correct(batch, model.initial_state(drawn.z[0]))
        right += hits
        words += count
        blind = prior.sample(len(indices), generator)
        right_prior += model.decoder.correct(batch, model.initial_state(blind))[0]
        done += len(indices)
        if from_q:
            progress(done, len(chosen))
    everyone = model.posterior_of(torch.cat(features))
    z, log_q = torch.cat(codes), torch.cat(log_own)
    found = _Codes(
        active_units=count_active_units(*(torch.cat(part)[:, : model.options.d_z] for part in (means, noises))),
        mi=mutual_information(everyone, z, log_q),
        mi_he=batch_mutual_information(everyone, z, log_q, seed),
        acc_gap=100 * (right - right_prior) / words,
        number=model.codes,
        nll_once=torch.cat(once).double().mean().item() if from_q else None,
    )
    mean_rate = torch.cat(rate).double().mean().item()
    each, estimator = torch.cat(nll).double(), {"proposal": "q", "samples": samples, **facts}
    own = _in_order(each, chosen, size)
    more: dict[str, Any] = {}
    if from_q:
        estimator |= _certificate(model, chosen, options, seed, 1.0, samples, mean_rate, progress)
    if options.nll != "q":
        made = estimate(model, chosen, seed, options.rows, mean_rate, progress=progress)
        more["tempered"] = made
        facts_of = _tempered(made)
        facts_of |= _certificate(model, chosen, options, seed, made.temper, max(made.levels), mean_rate, progress)
        if from_q:
            tokens = sum(len(s) for s in chosen)
            more |= {"nll_tempered": made.nll, "ppl_tempered": _exp(made.nll * len(chosen) / tokens)}
            estimator = {**estimator, "tempered": facts_of}
        else:
            each = torch.from_numpy(made.each + (made.nll - made.each.mean()))
            own, estimator = tuple(each.tolist()), {**estimator, **facts_of}
    found_all = _metrics(each, torch.cat(distortion).double(), mean_rate, chosen, found, estimator)
    return replace(found_all, each=own, **more)


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
    temper: float,
    samples: int,
    rate: float,
    progress: Callable[[int, int], None],
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


@dataclass(frozen=True)
class EpochFigures:
    """Figures that each epoch reports of the validation set, one posterior sample a sentence."""

    distortion: float
    rate: float
    active_units: int
    log_q: float = 0.0
    """Mean of log q(z|x) over the sentences."""
    log_p: float = 0.0
    """Mean of log p(z) over the samples of `log_q`."""


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
        z, log_q = posterior.transform(posterior.noise(1, generator))
        distortion += model.decoder.of_samples(batch, model.initial_state(z[0])).double().sum().item()
        log_p = prior.log_prob(z)
        rate += divergence(posterior, prior, z, log_q, log_p)[0].double().sum().item()
        log_qs, log_ps = log_qs + log_q.double().sum().item(), log_ps + log_p.double().sum().item()
        mean, noise = posterior_means(posterior, generator)
        means.append(mean)
        noises.append(noise)
    # of the first code, where a sentence has several: they all have one mean
    active = count_active_units(*(torch.cat(p)[:, : model.options.d_z] for p in (means, noises))) if means else 0
    count = len(sentences)
    return EpochFigures(distortion / count, rate / count, active, log_qs / count, log_ps / count)
