"""Adversarial word dropout: D + βR with the words masked that the decoder would miss most, and + λ Σ_i KL(N(μ_i, σ_i²) ‖ N(0, 1))
for the adversary that chooses them (MI eq. 6–8).

An LSTM over x gives each word a score s_i ~ N(μ_i, σ_i²); the K words of least score are <unk> in the decoder's input. K is
round(rate·n) of the n tokens with the end token, n − 1 at most: the start token is no word and stays. The adversary gets the
gradient of that hard choice as if it were relaxed, a_i = sigmoid((−s_i − ν)/τ) with ν such that Σ a_i = K, and reversed, so that
it raises D while the model lowers it. It has an optimiser of its own. For λ → ∞ all scores are N(0, 1): plain word dropout.

MI leave open: the relaxation (Paulus et al. 2020 have several; this is the entropy-regularised top-K), τ, and how long β grows.
Not PA's annealed word dropout, which shares the abbreviation AWD.

Each epoch's record has the means over its steps of what MI's figure 3 shows: Σ_i |s_i| of a sentence, the standard deviation of
its scores, and the norm of the adversary's gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from trainers.models import Batch, Output, SentenceModel
from trainers.objectives.annealing import Annealed
from trainers.objectives.word_dropout import refusal_of_no_words
from trainers.options import ModelOptions, option

MIN_SCALE = 1e-6
BISECTIONS = 50
MARGIN = 40.0
"""Distance, in units of τ, that ν may lie beyond the scores: sigmoid(−40) is 4e-18."""


class _Reversal(torch.autograd.Function):
    """The identity, whose gradient is negated (Ganin et al. 2016)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        del ctx
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        return -gradients[0]


def reversed_gradient(x: Tensor) -> Tensor:
    """Returns x itself, whose gradient is negated."""
    return _Reversal.apply(x)  # type: ignore[no-any-return, no-untyped-call]


def relaxed_least(scores: Tensor, candidates: Tensor, count: Tensor, temperature: float) -> Tensor:
    """Shares a [B, T] that add up to `count` [B], near 1 for the least scores [B, T]: a_i = sigmoid((−s_i − ν)/τ), 0 outside
    of `candidates` [B, T]. Differentiable, ν(s) by the implicit function theorem."""

    def shares(nu: Tensor) -> Tensor:
        return torch.sigmoid((-scores - nu[:, None]) / temperature) * candidates

    with torch.no_grad():
        far = MARGIN * temperature
        low, high = -scores.amax(1) - far, -scores.amin(1) + far
        for _ in range(BISECTIONS):
            nu = (low + high) / 2
            too_many = shares(nu).sum(1) > count
            low, high = torch.where(too_many, nu, low), torch.where(too_many, high, nu)
        slope = (shares(nu) * (1 - shares(nu))).sum(1) / temperature
    total = shares(nu).sum(1)
    return shares(nu + (total - total.detach()) / slope.clamp(min=1e-6))


def hard_least(scores: Tensor, candidates: Tensor, count: Tensor) -> Tensor:
    """1 at the `count` [B] candidates [B, T] of least score [B, T], 0 elsewhere [B, T]."""
    ranks = scores.masked_fill(~candidates, torch.inf).argsort(dim=1).argsort(dim=1)
    return ((ranks < count[:, None]) & candidates).to(scores.dtype)


def least(scores: Tensor, candidates: Tensor, count: Tensor, temperature: float) -> Tensor:
    """`hard_least` with the gradient of `relaxed_least`."""
    relaxed = relaxed_least(scores, candidates, count, temperature)
    return hard_least(scores, candidates, count) + (relaxed - relaxed.detach())


def _size_and_spread(scores: Tensor, candidates: Tensor) -> Tensor:
    """Σ_i |s_i| and the standard deviation of a sentence's scores [B, T], both means over the sentences that have two: [2]."""
    words = candidates.sum(1)
    kept = words > 1
    if not kept.any():
        return scores.new_zeros(2)
    size, mean = (scores.abs() * candidates).sum(1), (scores * candidates).sum(1) / words.clamp(min=1)
    variance = ((scores - mean[:, None]).square() * candidates).sum(1) / words.clamp(min=1)
    return torch.stack([size[kept].mean(), variance.sqrt()[kept].mean()])


class Adversary(nn.Module):
    """Score distributions from an LSTM over x, of the encoder's size (MI §4.2, figure 6)."""

    def __init__(self, vocabulary: int, options: ModelOptions) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, options.d_e)
        self.lstm = nn.LSTM(options.d_e, options.encoder_units, batch_first=True)
        self.scores = nn.Linear(options.encoder_units, 2)
        nn.init.constant_(self.scores.bias[1:], torch.tensor(1.0).expm1().log().item())  # σ starts near 1

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Maps tokens [B, T] to μ and σ of each token's score, both [B, T]."""
        out, _ = self.lstm(self.embedding(tokens))
        location, scale = self.scores(out).unbind(-1)
        return location, F.softplus(scale) + MIN_SCALE


@dataclass(frozen=True)
class Hyperparameters:
    rate: float = option(0.3, "R, the share of the tokens that the decoder does not see", low=0, high=1)
    lam: float = option(1.0, "λ, the price of scores that are not N(0, 1)", low=0)
    tau: float = option(1.0, "τ, the temperature of the relaxed choice in the backward pass", above=0)
    adversary_rate: float = option(1e-3, "step size of the adversary's Adam", above=0)
    anneal_epochs: int = option(10, "number of epochs over which β grows from 0 to 1", low=0)


class Technique(Annealed):
    newer = ("totals", "means")
    hyperparameters: Hyperparameters
    totals: Tensor
    means: Tensor

    def __init__(self, hyperparameters: Hyperparameters) -> None:
        super().__init__(hyperparameters)
        self.adversary: Adversary | None = None
        self.register_buffer("totals", torch.zeros(4, dtype=torch.float64))
        self.register_buffer("means", torch.zeros(3, dtype=torch.float64))
        self._scores = torch.zeros(2)

    def refusal(self, options: ModelOptions) -> str | None:
        return refusal_of_no_words("adversarial-word-dropout", options)

    def grow(self, model: SentenceModel) -> None:
        self.adversary = Adversary(model.decoder.embedding.num_embeddings, model.options)

    def optimizers(self) -> list[Optimizer]:
        if self.adversary is None:
            return []
        return [Adam(self.adversary.parameters(), lr=self.hyperparameters.adversary_rate)]

    def _choice(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """True for words that may be masked [B, T], and how many of each sentence are [B]."""
        lengths = batch.lengths.to(batch.tokens.device)
        candidates = torch.arange(batch.tokens.shape[1], device=lengths.device) < lengths[:, None] - 1
        count = torch.floor(self.hyperparameters.rate * lengths + 0.5).long()
        return candidates, torch.minimum(count, lengths - 1)

    def measure(self, model: SentenceModel, batch: Batch) -> Output:
        assert self.adversary is not None
        candidates, count = self._choice(batch)
        location, scale = self.adversary(batch.tokens)
        scores = location + scale * torch.randn_like(location)
        self._scores = _size_and_spread(scores.detach(), candidates)
        masked = reversed_gradient(least(scores, candidates, count, self.hyperparameters.tau))
        output: Output = model(batch, masked=F.pad(masked[:, :-1], (1, 0)))  # a word is the next token's input
        divergence = 0.5 * (location.square() + scale.square() - 1) - scale.log()
        return replace(output, penalty=(divergence * candidates).sum(1))

    def loss(self, output: Output) -> Tensor:
        return (output.distortion + self.weight * output.rate + self.hyperparameters.lam * output.penalty).mean()

    def after_step(self, output: Output) -> None:
        super().after_step(output)
        if self.adversary is not None:
            gradients = [p.grad for p in self.adversary.parameters() if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            self.totals += torch.cat([norm.new_ones(1), self._scores, norm[None]])

    def after_epoch(self, mutual_information: Callable[[], float]) -> None:
        super().after_epoch(mutual_information)
        if self.totals[0]:
            self.means.copy_(self.totals[1:] / self.totals[0])
            self.totals.zero_()

    def state(self) -> dict[str, float]:
        names = ("score_norm", "score_sd", "adversary_gradient")
        return {**super().state(), **dict(zip(names, self.means.tolist(), strict=True))}

    def drop_probabilities(self, batch: Batch, draws: int, generator: torch.Generator) -> Tensor:
        assert self.adversary is not None
        candidates, count = self._choice(batch)
        location, scale = self.adversary(batch.tokens)
        total = torch.zeros_like(location)
        for _ in range(draws):
            noise = torch.randn(location.shape, generator=generator, device=location.device)
            total += hard_least(location + scale * noise, candidates, count)
        return total / draws
