"""Semi-amortised VAE: D + βR at posteriors that are refined for each sentence (Kim et al. 2018, algorithm 1).

Stochastic variational inference begins at the encoder's u and s: λ_{k+1} = λ_k − η ∇_λ (D + βR)(λ_k), K steps for λ = (u, the
scale's logits), in training and, with β = 1, in evaluation. β grows over the first epochs. Training differentiates through the
steps. Their second derivatives are products with a vector, taken as the paper's by differences of gradients, here central ones.

Each step takes one posterior sample, whose noise is fixed for its number and the same for all sentences, and a decoder without
dropout, in 32 bits, so that a sentence's posterior is a function of the sentence and hangs on no batch. Unlike the
authors' code: no momentum, no clipping of a step's gradient, η a tenth of theirs, and β from 0 where theirs starts at 0.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.latent.distributions import Conditional, Gaussian
from trainers.latent.posteriors import MIN_SCALE, Cost, DiagonalGaussian, MakePosterior
from trainers.models import Batch, Output, SentenceModel, SenVAE
from trainers.objectives.annealing import Annealed
from trainers.objectives.objective import refusal_of_components
from trainers.options import ModelOptions, option
from trainers.precision import multiplying


class Refined(torch.autograd.Function):
    """K steps of gradient descent of each sentence's own cost."""

    @staticmethod
    def forward(ctx: Any, start: Tensor, descent: "Descent", *weights: Tensor) -> Tensor:
        """The last λ [B, 2d], from `start` [B, 2d]; weights: of the generator, on which the cost depends."""
        kept, now = [], start
        for number in range(descent.steps):
            kept.append(now)
            now = now - descent.rate * descent.gradients(now, number, [])[0]
        ctx.kept, ctx.descent, ctx.weights = kept, descent, weights
        return now

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients, from the gradient [B, 2d] of the loss by the last λ; (∇f(λ + εv) − ∇f(λ − εv))/2ε is the
        second derivatives' product with v.
        """
        total: list[Tensor] = [torch.zeros_like(weight) for weight in ctx.weights]
        for number, at in reversed(list(enumerate(ctx.kept))):
            width = torch.finfo(gradient.dtype).eps ** (1 / 3) / gradient.square().mean().sqrt().clamp(min=1e-12)
            ahead, behind = (ctx.descent.gradients(at + by * gradient, number, ctx.weights) for by in (width, -width))
            by_start, *by_weights = (
                (a - b) * (-ctx.descent.rate / (2 * width)) for a, b in zip(ahead, behind, strict=True)
            )
            total = [known + more for known, more in zip(total, by_weights, strict=True)]
            gradient = gradient + by_start
        return gradient, None, *total


@dataclass(frozen=True)
class Descent:
    """Descent of the posteriors' parameters: its cost, its steps and their size."""

    posterior: "SemiAmortised"
    cost: Cost
    steps: int
    rate: float
    beta: float

    def gradients(self, at: Tensor, number: int, weights: Sequence[Tensor]) -> list[Tensor]:
        """Gradients of Σ (D + βR) at λ, by λ and by the generator's weights; number: the step, which chooses the noise."""
        with torch.enable_grad(), multiplying("float32"):
            at = at.detach().requires_grad_()
            posterior = self.posterior(at)
            generator = torch.Generator().manual_seed(number)
            noise = torch.randn(1, 1, posterior.shape[1], generator=generator, dtype=torch.float64).to(at)
            distortion, divergence = self.cost(posterior, noise.expand(1, len(at), -1))
            total = (distortion + self.beta * divergence).sum()
            found = torch.autograd.grad(total, [at, *weights], allow_unused=True)
            return [torch.zeros_like(x) if g is None else g for g, x in zip(found, [at, *weights], strict=True)]


class SemiAmortised(DiagonalGaussian):
    """N(u, diag s²) of λ = (u, the scale's logits), which begins at the encoder's."""

    def __init__(self, features: int, options: ModelOptions, steps: int, rate: float) -> None:
        super().__init__(features, options)
        self.steps, self.rate = steps, rate
        self.beta = 1.0
        """The rate's weight β in the steps' cost; another than 1 while the technique trains."""

    def settled(self, features: Tensor, cost: Cost) -> Tensor:
        start = torch.cat([self.location(features), self.scale(features)], dim=-1)
        if not self.steps:
            return start
        descent = Descent(self, cost, self.steps, self.rate, self.beta)
        refined: Tensor = Refined.apply(start, descent, *cost.weights)  # type: ignore[no-untyped-call]
        return refined

    def forward(self, features: Tensor) -> Conditional:
        location, logits = (part.contiguous() for part in features.chunk(2, dim=-1))
        return Gaussian(location, F.softplus(logits) + MIN_SCALE)


@dataclass(frozen=True)
class Hyperparameters:
    svi_steps: int = option(5, "K, the steps of inference for each sentence after the encoder's", low=0, high=100)
    svi_rate: float = option(0.1, "η, the size of such a step", above=0)
    anneal_epochs: int = option(10, "epochs over which β grows from 0 to 1", low=0)


class Technique(Annealed):
    hyperparameters: Hyperparameters

    def refusal(self, options: ModelOptions) -> str | None:
        if options.encoder_unk and self.hyperparameters.svi_steps:
            return (
                f"encoder_unk = {options.encoder_unk:g} is not allowed for semi-amortised, whose steps see the words that are "
                "hidden from the encoder: set encoder_unk=0, or svi_steps=0."
            )
        return refusal_of_components("semi-amortised", options, "whose steps move the mean and scale of a Gaussian")

    @property
    def posterior(self) -> MakePosterior:
        h = self.hyperparameters
        return partial(SemiAmortised, steps=h.svi_steps, rate=h.svi_rate)

    def measure(self, model: SentenceModel, batch: Batch) -> Output:
        assert isinstance(model, SenVAE)
        assert isinstance(model.to_posterior, SemiAmortised)
        model.to_posterior.beta = self.weight
        try:
            output: Output = model(batch)
        finally:
            model.to_posterior.beta = 1.0
        return output
