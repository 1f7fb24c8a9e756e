"""DVAE: ½(D_A + D_B) + β Σ_d m_d R_d, later D_A + βR (Song et al. 2025, Entropy 27(4), 423).

Path A decodes with the sentence's own words, path B the same code with a share of them <unk>, which must use the code. When
training nears convergence, path B ends. While β grows, each dimension's KL counts nothing in a step with probability `kl_dropout`
(m_d = 0).

The text at hand says no more, so this is decided here: the two paths' distortions are averaged, so that β weighs what it does
elsewhere; path B ends after an epoch in which path A's training distortion fell by less than the share `stop`, and at the latest
after half of the plan; a step's dropped dimensions follow from its number alone, so that a training that goes on drops the same.
No epoch counts as one without improvement before path B has ended and β is 1.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from trainers.models import Batch, Output, SentenceModel, SenVAE
from trainers.objectives.annealing import Annealed
from trainers.objectives.objective import refusal_of_components
from trainers.objectives.word_dropout import drop_words, refusal_of_no_words
from trainers.options import ModelOptions, option


@dataclass(frozen=True)
class Hyperparameters:
    rate_b: float = option(0.4, "share of the words that path B reads as <unk>", low=0, high=1)
    kl_dropout: float = option(
        0.2, "probability that a dimension's KL counts nothing in a step while β grows", low=0, high=1
    )
    stop: float = option(
        0.01, "relative fall of path A's distortion in an epoch, below which path B ends", low=0, high=1
    )
    anneal_epochs: int = option(10, "number of epochs over which β grows from 0 to 1", low=0)


def kept(step: int, d_z: int, dropout: float) -> np.ndarray:
    """1 for each dimension whose KL counts in this step, else 0: [d_z]."""
    found: np.ndarray = (np.random.default_rng(step).random(d_z) >= dropout).astype(float)
    return found


class Technique(Annealed):
    hyperparameters: Hyperparameters
    paths: Tensor
    step: Tensor
    epoch: Tensor
    total: Tensor
    before: Tensor

    def __init__(self, hyperparameters: Hyperparameters) -> None:
        super().__init__(hyperparameters)
        self.register_buffer("paths", torch.tensor(2 if hyperparameters.rate_b else 1))
        self.register_buffer("step", torch.tensor(0))
        self.register_buffer("epoch", torch.tensor(0))
        self.register_buffer("total", torch.zeros(2, dtype=torch.float64))  # path A's distortion, sentences
        self.register_buffer("before", torch.tensor(torch.inf, dtype=torch.float64))

    def refusal(self, options: ModelOptions) -> str | None:
        no_words = refusal_of_no_words("dvae", options) if self.hyperparameters.rate_b else None
        return no_words or refusal_of_components(
            "dvae", options, "which drops the KL of single dimensions, that has no closed form then"
        )

    def idle(self) -> dict[str, str]:
        return {} if self.hyperparameters.anneal_epochs else {"kl_dropout": "anneal_epochs"}

    def measure(self, model: SentenceModel, batch: Batch) -> Output:
        output: Output = model(batch)
        if self.paths == 1:
            return output
        assert isinstance(model, SenVAE)
        words = drop_words(batch.inputs, self.hyperparameters.rate_b)
        return replace(output, penalty=model.decoder(batch, model.initial_state(output.z), words))

    def loss(self, output: Output) -> Tensor:
        distortion, rate = output.distortion, output.rate
        if self.paths == 2:
            distortion = (distortion + output.penalty) / 2
        if self.hyperparameters.kl_dropout and not super().settled:
            each = output.rate_per_dimension
            assert each is not None
            mask = kept(int(self.step), each.shape[1], self.hyperparameters.kl_dropout)
            rate = (each * torch.from_numpy(mask).to(each)).sum(-1)
        return (distortion + self.weight * rate).mean()

    def after_step(self, output: Output) -> None:
        super().after_step(output)
        self.step.add_(1)
        own = output.distortion.detach().double()
        self.total.add_(torch.stack([own.sum(), own.new_tensor(len(own))]))

    def after_epoch(self, mutual_information: Callable[[], float]) -> None:
        del mutual_information
        mean = self.total[0] / self.total[1]
        self.epoch.add_(1)
        if mean > (1 - self.hyperparameters.stop) * self.before or 2 * self.epoch >= self.epochs:
            self.paths.fill_(1)
        self.before.copy_(mean)
        self.total.zero_()

    @property
    def settled(self) -> bool:
        return bool(self.paths == 1) and super().settled

    def state(self) -> dict[str, float]:
        return {**super().state(), "paths": float(self.paths), "step": float(self.step)}
