"""Tempered multilevel importance sampling of −log P(x): a twentieth of the cost of S = 1000 from q, and less bias.

−log of a mean of S importance weights is biased upward, the more the higher the rate: under a KL weight b < 1 the best posterior
is narrower than p(z|x) ∝ q(z|x)^b p(z)^(1−b). So codes are drawn from q_λ ∝ q^λ p^(1−λ). Its expectation is never below the
truth (Jensen), so of several λ the one of the lowest pilot estimate is the least biased. All sentences get few draws; a few
sentences, blindly chosen, get many, which estimates what the few draws are biased by. A flow has no closed q_λ: the Gaussian of
its mean and spread is tempered in its stead, as any proposal will do, and λ = 1 is the flow itself. A posterior whose own family
has q_λ makes it (`Conditional.tempered`): of a von Mises–Fisher under the uniform prior it is the one of concentration λκ.

B: sentences of a batch; N: sentences in all; S: draws; K: components of the prior; d: latent dimensions.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.corpus import Sentence, batches
from trainers.latent.distributions import Conditional, Gaussian
from trainers.models import Batch, SenVAE

Figures = NDArray[np.float64]

TEMPERS = (1.0, 0.8, 0.6, 0.4, 0.25, 0.15)
"""Values of λ that are tried."""
PILOT_SENTENCES, PILOT_DRAWS = 64, 32
MOMENT_DRAWS = 256
"""Number of draws of a flow from which its mean and spread are taken."""
PILOT, MOMENTS = 0, 1
"""Levels of noise beside those of the draws."""
DRAWS = 16
"""Number of draws of every sentence."""
LEVELS = {64: 192, 256: 96, 1024: 48}
"""Number of draws at each level, with the number of sentences to begin with."""
LAST, LAST_SENTENCES = 4096, 24
"""Draws and sentences of one more level, where the bias of 1024 draws is not small."""
BLOCKS = 4
"""Factor between the draws of a level and of the one before."""
TARGET = 0.05
"""Standard error in nats that is aimed at."""
RESOLVED = 0.1
"""Nats of bias, above which an estimate is called unresolved."""
HIGH_RATE, HIGH_RATE_FACTOR = 15.0, 1.5
"""Rate in nats from which the standard error was found too small by a third, and the factor by which it is enlarged
there.
"""
ORDER_SEED = 0
"""Seed of the order of the sentences, equal for all models, so that estimates can be compared in pairs."""
BATCH = 64


@dataclass(frozen=True)
class Proposal:
    """Σ_k π_k N(u_k, diag s_k²) for each of B sentences: q^λ p_k^(1−λ) of each of the prior's components, by its integral."""

    log_weights: Tensor  # [B, K]
    location: Tensor  # [B, K, d]
    scale: Tensor  # [B, K, d]

    @classmethod
    def of(cls, q: Gaussian, prior: Gaussian, temper: float) -> "Proposal":
        """The posterior q [B, d] tempered towards the components [K, d] of a uniform mixture; λ = 1 is q itself."""
        if temper == 1.0:
            return cls(torch.zeros_like(q.location[:, :1]), q.location[:, None], q.scale[:, None])
        own, others = q.scale.square()[:, None], prior.scale.square()
        precision = temper / own + (1 - temper) / others
        location = (temper * q.location[:, None] / own + (1 - temper) * prior.location / others) / precision
        apart = (q.location[:, None] - prior.location).square() / (temper * others + (1 - temper) * own)
        logs = temper * own.log() + (1 - temper) * others.log() + precision.log() + temper * (1 - temper) * apart
        return cls(torch.log_softmax(-0.5 * logs.sum(-1), dim=-1), location, precision.rsqrt())

    def draw(self, noise: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Normal [S, B, d] and uniform [S, B] noise → z [S, B, d] and log of its density [S, B]."""
        if self.location.shape[1] == 1:
            z = self.location[:, 0] + self.scale[:, 0] * noise
        else:
            edges = self.log_weights.exp().cumsum(-1)[:, :-1]
            chosen = (uniform[..., None] > edges).sum(-1)  # [S, B]
            row = torch.arange(len(edges), device=edges.device).expand_as(chosen)
            z = self.location[row, chosen] + self.scale[row, chosen] * noise
        return z, self.log_prob(z)

    def log_prob(self, z: Tensor) -> Tensor:
        """The log densities [S, B] of z [S, B, d]."""
        white = (z[:, :, None] - self.location) / self.scale
        logs = -(0.5 * white.square() + self.scale.log() + 0.5 * math.log(2 * math.pi)).sum(-1)
        return (logs + self.log_weights).logsumexp(-1)


@dataclass(frozen=True)
class Closed:
    """A proposal of the posteriors' own family."""

    own: Conditional

    def draw(self, noise: Tensor, _uniform: Tensor) -> tuple[Tensor, Tensor]:
        """As `Proposal.draw`."""
        return self.own.transform(noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """The log densities [S, B] of z [S, B, d]."""
        return self.own.log_prob(z)


def order(count: int) -> NDArray[np.int64]:
    """Order of the sentences, equal for all models of a corpus."""
    return np.random.default_rng(ORDER_SEED).permutation(count)


class Weights:
    """Log weights log w = log P(x|z) + log p(z) − log q_λ(z); each (level, sentence) has draws of its own, whatever the
    batches.
    """

    @torch.no_grad()
    def __init__(
        self,
        model: SenVAE,
        sentences: Sequence[Sentence],
        seed: int,
        rows: int,
        drawn: Callable[[int], None] = lambda _total: None,
    ) -> None:
        """Prepares the sentences' features; drawn: hears how many draws have been decoded in all."""
        self.model, self.sentences, self.seed = model, sentences, seed
        self.drawn, self.total = drawn, 0
        self.rows = max(rows // model.codes, 1)
        self.device = next(model.parameters()).device
        self.prior = model.prior_distribution()
        self.features = self._features()
        self.d = model.options.d_z

    def _features(self) -> Tensor:
        parts: dict[int, Tensor] = {}
        for indices in batches(self.sentences, BATCH, None):
            found = self.model.features(Batch.of([self.sentences[i] for i in indices], self.device))
            parts.update(zip(indices.tolist(), found, strict=True))
        return torch.stack([parts[i] for i in range(len(self.sentences))])

    @cached_property
    def components(self) -> Gaussian:
        """[K, d] the prior's; of flows their mean and spread."""
        found = self.prior.components
        if isinstance(found, Gaussian):
            return found
        noise = torch.randn((MOMENT_DRAWS, *found.shape), generator=torch.Generator().manual_seed(self.seed))
        return moments(found.transform(noise.to(self.features))[0])

    @cached_property
    def gaussians(self) -> Gaussian:
        """[N, d] of one code of each sentence: its posterior; of a flow its mean and spread."""
        found = [self._gaussian(part.tolist()) for part in torch.arange(len(self.sentences)).split(BATCH)]
        return Gaussian(torch.cat([one.location for one in found]), torch.cat([one.scale for one in found]))

    def _gaussian(self, indices: Sequence[int]) -> Gaussian:
        posterior = self.model.posterior_of(self.features[list(indices)])
        if isinstance(posterior, Gaussian):
            return Gaussian(posterior.location[:, : self.d], posterior.scale[:, : self.d])
        z, _ = posterior.transform(self.noise(indices, MOMENTS, MOMENT_DRAWS)[0])
        return moments(self._apart(z))

    def _apart(self, joined: Tensor) -> Tensor:
        """The codes of a sentence as draws of one: [S, n, A·d] → [A·S, n, d]."""
        apart: Tensor = joined.unflatten(-1, (self.model.codes, self.d)).movedim(-2, 0).flatten(0, 1)
        return apart

    @torch.no_grad()
    def of(self, chosen: Sequence[int], level: int, draws: int, temper: float) -> Figures:
        """[n, draws] for the sentences of these indices."""
        found = np.empty((len(chosen), draws))
        at_once = max(self.rows // draws, 1)
        for places in batches([self.sentences[i] for i in chosen], at_once, None):
            indices = [chosen[place] for place in places]
            found[places] = self._batch(indices, level, draws, temper).T.double().cpu().numpy()
            self.total += len(indices) * draws
            self.drawn(self.total)
        return found

    def _batch(self, indices: Sequence[int], level: int, draws: int, temper: float) -> Tensor:
        noise, uniform = self.noise(indices, level, draws)
        if temper == 1.0:
            z, log_q = self.model.posterior_of(self.features[list(indices)]).transform(noise)
        else:
            z, log_q = self.draw(indices, noise, uniform, temper)
        return self.log_joint(indices, z) - log_q

    @torch.no_grad()
    def log_joint(self, indices: Sequence[int], z: Tensor) -> Tensor:
        """Log densities log P(x|z) + log p(z) [S, n] of codes z [S, n, A·d] of the sentences of these indices."""
        batch = Batch.of([self.sentences[i] for i in indices], self.device)
        parts = z.split(max(self.rows // len(indices), 1))
        nll = [self.model.decoder.of_samples(batch, self.model.initial_state(part.flatten(0, 1))) for part in parts]
        return self.prior.log_prob(z) - torch.cat(nll)

    @torch.no_grad()
    def log_proposal(self, indices: Sequence[int], z: Tensor, temper: float) -> Tensor:
        """Log densities log q_λ(z) [S, n] of any codes z [S, n, A·d]; λ = 1 is the posterior itself, a flow by its
        inverse.
        """
        found: Tensor
        if temper == 1.0:
            found = self.model.posterior_of(self.features[list(indices)]).log_prob(z)
        else:
            apart = self.proposal(indices, temper).log_prob(self._apart(z))
            found = apart.unflatten(0, (self.model.codes, len(z))).sum(0)
        return found

    def proposal(self, indices: Sequence[int], temper: float) -> "Proposal | Closed":
        """The proposal q_λ for one code of each of these sentences, λ < 1."""
        prior = self.prior.single
        if prior is not None:
            closed = self.model.posterior_of(self.features[list(indices)]).tempered(prior, temper)
            if closed is not None:
                return Closed(closed)
        return Proposal.of(self.gaussians[torch.tensor(list(indices), device=self.device)], self.components, temper)

    def noise(self, indices: Sequence[int], level: int, draws: int) -> tuple[Tensor, Tensor]:
        """[S, n, A·d] and [S, n, A], from a generator for each (seed, level, sentence)."""
        codes = self.model.codes
        normal = np.empty((draws, len(indices), codes * self.d))
        uniform = np.empty((draws, len(indices), codes))
        for column, index in enumerate(indices):
            generator = np.random.default_rng([self.seed, level, index])
            normal[:, column] = generator.standard_normal((draws, codes * self.d))
            uniform[:, column] = generator.random((draws, codes))
        kind = self.features.dtype
        return torch.from_numpy(normal).to(self.device, kind), torch.from_numpy(uniform).to(self.device, kind)

    def draw(self, indices: Sequence[int], noise: Tensor, uniform: Tensor, temper: float) -> tuple[Tensor, Tensor]:
        """Normal [S, n, A·d] and uniform [S, n, A] noise → z [S, n, A·d] ~ q_λ, λ < 1, and its log density [S, n]."""
        draws, codes = len(noise), self.model.codes
        z, log_q = self.proposal(indices, temper).draw(self._apart(noise), uniform.movedim(-1, 0).flatten(0, 1))
        z = z.unflatten(0, (codes, draws)).movedim(0, -2).flatten(-2)
        return z, log_q.unflatten(0, (codes, draws)).sum(0)


LEAST_SPREAD = 1e-5
"""Least spread of a Gaussian that stands for a flow, as a share of 1 + |mean|: a hundred times what 32 bits tell apart."""


def moments(z: Tensor) -> Gaussian:
    """Draws [S, n, d] → the Gaussian of their mean and spread [n, d].

    It is never narrower than numbers of its size can tell apart, as a flow may be, whose draws are then all equal.
    """
    mean = z.mean(0)
    return Gaussian(mean, z.std(0).maximum(LEAST_SPREAD * (1 + mean.abs())))


def _nll(log_weights: Figures) -> Figures:
    """The estimates log S − log Σ w over the last axis."""
    highest = log_weights.max(-1, keepdims=True)
    total: Figures = np.log(np.exp(log_weights - highest).mean(-1)) + highest[..., 0]
    return -total


@dataclass(frozen=True)
class Estimate:
    """The mean −log P(x) of N sentences, in nats."""

    nll: float
    se: float
    """Standard error of the estimate for these sentences; NaN of a single one, whose corrections have no variance."""
    bias: float
    """Bound of the estimate's bias: a heuristic, which the proposal's weights of the last level support; infinite of a
    single one.
    """
    temper: float
    """Value of λ; 1 is q itself."""
    levels: dict[int, int]
    """Number of sentences by their number of draws."""
    each: Figures
    """Estimates [N] of each sentence from 16 draws: for differences in pairs, not to be read by themselves."""
    corrections: dict[int, Figures]
    """Biases of fewer draws of a sentence, by level; of the first sentences of `order`."""

    @property
    def resolved(self) -> bool:
        return self.bias <= RESOLVED

    @property
    def interval(self) -> tuple[float, float]:
        """Interval of the true value, with two standard errors and the bias's bound."""
        return self.nll - self.bias - 2 * self.se, self.nll + 2 * self.se

    @property
    def draws(self) -> int:
        """Number of draws without the pilot."""
        return DRAWS * len(self.each) + sum(draws * count for draws, count in self.levels.items() if draws != DRAWS)


def estimate(
    model: SenVAE,
    sentences: Sequence[Sentence],
    seed: int,
    rows: int,
    rate: float = 0.0,
    tempers: Sequence[float] = TEMPERS,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Estimate:
    """Tempered multilevel importance sampling.

    Args:
        rows: codes decoded at once.
        rate: the model's, in nats; the standard error of high rates is made larger, as it was found too small there.
        tempers: λ to choose from; (1.0,) estimates what q gives with the most draws of a sentence, 1,024 or 4,096.
        progress: hears the draws decoded, and of how many; more may follow, where these do not suffice.
    """
    model.eval()
    pieces = ((PILOT_DRAWS * len(tempers), PILOT_SENTENCES), (DRAWS, len(sentences)), *LEVELS.items())
    planned = sum(draws * min(count, len(sentences)) for draws, count in pieces)
    weights = Weights(model, sentences, seed, rows, lambda drawn: progress(min(drawn, planned), planned))
    blind = order(len(sentences)).tolist()
    pilot = {t: _nll(weights.of(blind[:PILOT_SENTENCES], PILOT, PILOT_DRAWS, t)).mean() for t in tempers}
    temper = min(pilot, key=lambda t: pilot[t])
    few = weights.of(range(len(sentences)), DRAWS, DRAWS, temper)
    each, halves = _nll(few), _nll(few.reshape(len(few), 2, -1))
    own = float(((halves[:, 0] - halves[:, 1]) ** 2).sum()) / 4 / len(few) ** 2
    corrections = {level: _correction(weights, blind[:count], level, temper) for level, count in LEVELS.items()}
    if len(few) > 1 and _error(own, corrections) > TARGET:
        for level, count in _counts(own, corrections, len(sentences)).items():
            more = blind[len(corrections[level]) : count]
            corrections[level] = np.concatenate([corrections[level], _correction(weights, more, level, temper)])
    if _bias(corrections) > RESOLVED:
        corrections[LAST] = _correction(weights, blind[:LAST_SENTENCES], LAST, temper)
    error = _error(own, corrections) * (HIGH_RATE_FACTOR if rate >= HIGH_RATE else 1.0)
    return Estimate(
        nll=float(each.mean() - sum(found.mean() for found in corrections.values())),
        se=error if len(few) > 1 else math.nan,
        bias=_bias(corrections),
        temper=temper,
        levels={DRAWS: len(each), **{level: len(found) for level, found in corrections.items()}},
        each=each,
        corrections=corrections,
    )


def _correction(weights: Weights, chosen: Sequence[int], level: int, temper: float) -> Figures:
    """[n] what a quarter of the level's draws are biased by, beyond all of them."""
    if not chosen:
        return np.empty(0)
    found = weights.of(chosen, level, level, temper)
    fewer: Figures = _nll(found.reshape(len(found), BLOCKS, -1)).mean(-1)
    return fewer - _nll(found)


def _error(own: float, corrections: dict[int, Figures]) -> float:
    """√(v_0 + Σ_ab Cov(G_a, G_b)/max(n_a, n_b)): the levels share sentences."""
    total = own
    for a in corrections.values():
        for b in corrections.values():
            common = min(len(a), len(b))
            if common > 1:
                total += float(np.cov(a[:common], b[:common])[0, 1]) / max(len(a), len(b))
    return math.sqrt(max(total, 0.0))


def _counts(own: float, corrections: dict[int, Figures], count: int) -> dict[int, int]:
    """Sentences of each level, at the least cost, for the target's error; half of it where 16 draws alone take more than half."""
    squared = max(TARGET**2, 2 * own)
    variances = {level: float(found.var(ddof=1)) for level, found in corrections.items()}
    scale = sum(math.sqrt(v * level) for level, v in variances.items()) / (0.75 * (squared - own))
    wanted = {level: math.ceil(scale * math.sqrt(v / level)) for level, v in variances.items()}
    return {level: min(max(wanted[level], len(corrections[level])), count) for level in corrections}


def _bias(corrections: dict[int, Figures]) -> float:
    """Mean + 1.64 standard errors of the last level's correction: the rest is no more if it falls no slower than by √S."""
    last = corrections[max(corrections)]
    return float(last.mean() + 1.64 * last.std(ddof=1) / math.sqrt(len(last))) if len(last) > 1 else math.inf
