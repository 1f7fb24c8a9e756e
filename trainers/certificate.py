"""A certificate of an estimate of −log P(x): bounds from both sides, on sentences that the model itself writes.

A code z* ~ p(z) and a sentence x ~ P(x|z*) are as well x ~ P(x) and z* ~ p(z|x): an exact draw of the posterior, which nobody has
of a corpus's sentence. With S draws z_s of any proposal r and w(z) = P(x|z) p(z) / r(z),

    E log 1/S Σ_s w(z_s)  ≤  log P(x)  ≤  E log 1/S (w(z*) + Σ_{s<S} w(z_s))

(Grosse, Ghahramani & Adams 2015, arXiv 1511.02543, for one step). So the difference bounds in expectation what the estimator with
this r and S is biased by, on such sentences. The bound from the other side may come from any other proposal: where the
estimator's own leaves it loose, from the q_λ that other sentences of the model show to be the tightest.

Annealed importance sampling in place of one step was tried (random-walk Metropolis, 128 to 512 temperatures) and left out: at the
same cost a wider q_λ bounds ten times closer (docs/metrics.md).

B: sentences; S: draws; A: codes of a sentence; d: latent dimensions.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainers.corpus import Sentence, batches
from trainers.latent.distributions import divergence
from trainers.models import BOS_INDEX, EOS_INDEX, SenVAE
from trainers.tempered import Figures, Weights

STREAM = 15
"""Key that keeps the random numbers of the sentences apart from those of the estimates with this seed."""
RATE_DRAWS = 4
"""Number of draws of a posterior whose rate has no closed form."""
OWN, OTHER, PILOT, RATE = 2, 3, 4, 5
"""Levels of noise, apart from those of `tempered`: of the estimator's proposal, of another one, of the choice of that,
of the rate.
"""
GAP = 0.1
"""Gap in nats above which another proposal is asked for the bound from below."""
WIDER = (0.4, 0.25, 0.15, 0.08, 0.04, 0.02, 0.0)
"""Values of λ from which another proposal is chosen; 0 is p(z) itself."""
PILOT_SENTENCES, PILOT_DRAWS = 24, 256
"""Number of sentences and draws for the choice of another proposal. These sentences of the model are not judged
themselves, so that the choice flatters nothing.
"""
LONGEST = 2
"""Factor of the tokens of the corpus's longest sentence, beyond which a sentence of the model is cut."""


@dataclass(frozen=True)
class Composed:
    """Sentences that a model wrote, each with the code that it was written from."""

    sentences: list[Sentence]
    z: Tensor  # [B, A·d]
    cut: int
    """Number of sentences without an end token, which are the first words of longer ones."""


@torch.no_grad()
def compose(model: SenVAE, count: int, longest: int, seed: int) -> Composed:
    """Draws codes from p(z), and each sentence word by word from the whole softmax, to its end token.

    Nothing is left out of the softmax, not even <pad> and <bos>, since P(x|z) gives them mass; inside a sentence they are words
    like others. Of a sentence without an end token among its first `longest` tokens these are kept. Their probability is that of
    all sentences that so begin, which is what the decoder makes of them; and z* is an exact draw given any function of x.
    """
    model.eval()
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(int(np.random.SeedSequence([seed, STREAM]).generate_state(1)[0]))
    z = model.prior_distribution().sample(count, generator)
    state, word = model.initial_state(z), torch.full((count,), BOS_INDEX, device=device)
    words: list[Tensor] = []
    ended = torch.zeros(count, dtype=torch.bool, device=device)
    while len(words) < longest and not bool(ended.all()):
        logits, state = model.decoder.step(word, state)
        word = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
        words.append(word)
        ended |= word == EOS_INDEX
    sentences = []
    for row in torch.stack(words, dim=1).cpu().numpy().astype(np.int32):
        ends = np.flatnonzero(row == EOS_INDEX)
        sentences.append(row[: ends[0] + 1] if len(ends) else row)
    return Composed(sentences, z, int((~ended).sum()))


@dataclass(frozen=True)
class Certificate:
    """Bounds in expectation of the mean −log P(x) of sentences that the model wrote, in nats."""

    gap: float
    """Difference upper − lower, which bounds the estimator's bias on these sentences; noise may leave it just below 0."""
    gap_se: float | None
    """Standard error of the gap over sentences; None of a single one."""
    sentences: int
    samples: int
    """Number S of draws."""
    lower: float
    upper: float
    """Expectation of the estimate."""
    lower_temper: float
    """Value of λ of the proposal that the bound from below is from; 1 is q itself."""
    cut: int
    """Number of sentences of which only the first words are judged, as they did not end."""
    mean_length: float
    """Mean number of tokens of the model's sentences."""
    mean_rate: float
    """Mean of KL(q(z|x) ‖ p(z)) over the model's sentences."""


@torch.no_grad()
def certify(
    model: SenVAE,
    count: int,
    temper: float,
    samples: int,
    longest: int,
    seed: int,
    rows: int,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Certificate:
    """The certificate of the estimator that takes `samples` draws of each sentence from q_λ.

    Args:
        count: sentences of the model.
        temper: λ, that of `tempered.Proposal`; 1 is q itself, also a flow.
        longest: tokens of a sentence at most.
        rows: codes decoded at once.
        progress: hears the draws decoded, and of how many: of the estimator's own proposal, then of the choice of another one
            and with that one's, where its bound is loose.
    """
    composed = compose(model, count, longest, seed)
    planned = count * samples
    weights = Weights(model, composed.sentences, seed, rows, lambda drawn: progress(drawn, planned))
    lower, upper = _bounds(weights, composed.z, OWN, samples, temper)
    lower_temper = temper
    if (upper - lower).mean() > GAP:
        planned *= 2
        lower_temper = _tightest(model, longest, seed, rows, progress)
        lower, _ = _bounds(weights, composed.z, OTHER, samples, lower_temper)
    gap = upper - lower
    return Certificate(
        gap=float(gap.mean()),
        gap_se=float(gap.std(ddof=1)) / math.sqrt(count) if count > 1 else None,
        sentences=count,
        samples=samples,
        lower=float(lower.mean()),
        upper=float(upper.mean()),
        lower_temper=lower_temper,
        cut=composed.cut,
        mean_length=float(np.mean([len(sentence) for sentence in composed.sentences])),
        mean_rate=_rate(weights),
    )


def _tightest(model: SenVAE, longest: int, seed: int, rows: int, progress: Callable[[int, int], None]) -> float:
    """The λ of the least gap on sentences of their own."""
    composed = compose(model, PILOT_SENTENCES, longest, int(np.random.SeedSequence([seed, PILOT]).generate_state(1)[0]))
    planned = len(WIDER) * PILOT_SENTENCES * PILOT_DRAWS
    weights = Weights(model, composed.sentences, seed, rows, lambda drawn: progress(drawn, planned))
    gaps = {}
    for temper in WIDER:
        lower, upper = _bounds(weights, composed.z, PILOT, PILOT_DRAWS, temper)
        gaps[temper] = float((upper - lower).mean())
    return min(gaps, key=lambda temper: math.inf if math.isnan(gaps[temper]) else gaps[temper])


def _bounds(weights: Weights, z: Tensor, level: int, samples: int, temper: float) -> tuple[Figures, Figures]:
    """Bounds of each sentence's −log P(x), from below and from above, [B] each; z: [B, A·d], the codes that they were
    written from.
    """
    drawn = weights.of(range(len(z)), level, samples, temper)
    return sandwich(drawn, _exact(weights, z, temper))


def sandwich(log_weights: Figures, exact: Figures) -> tuple[Figures, Figures]:
    """−log P(x) in expectation from below and from above, [B] each.

    Args:
        log_weights: [B, S] log w of draws of the proposal.
        exact: [B] log w of the draw of the posterior, which takes the last one's place in the bound from below.
    """
    count = math.log(log_weights.shape[1])
    lower: Figures = count - np.logaddexp.reduce(np.column_stack([log_weights[:, :-1], exact]), axis=1)
    upper: Figures = count - np.logaddexp.reduce(log_weights, axis=1)
    return lower, upper


def _groups(weights: Weights, each: int) -> list[list[int]]:
    """Places of sentences of like length, each of which has so many codes decoded at once."""
    return [part.tolist() for part in batches(weights.sentences, max(weights.rows // each, 1), None)]


def _exact(weights: Weights, z: Tensor, temper: float) -> Figures:
    """[B] log w(z*) of z* [B, A·d]."""
    found = np.empty(len(z))
    for group in _groups(weights, 1):
        codes = z[group][None]
        log_w = weights.log_joint(group, codes) - weights.log_proposal(group, codes, temper)
        # a flow whose density cannot be told so far from its own mass: the bound from below says nothing then
        found[group] = log_w[0].double().nan_to_num(math.inf, math.inf).cpu().numpy()
    return found


def _rate(weights: Weights) -> float:
    """Mean rate of the sentences, in closed form where it has one."""
    total = 0.0
    for group in _groups(weights, RATE_DRAWS):
        posterior = weights.model.posterior_of(weights.features[group])
        z, log_q = posterior.transform(weights.noise(group, RATE, RATE_DRAWS)[0])
        total += divergence(posterior, weights.prior, z, log_q)[0].double().sum().item()
    return total / len(weights.sentences)
