"""Annealed word dropout: word dropout whose rate starts at 1 and falls by γ each optimiser step to 0 (PA §3, table 2).

The decoder grows from one that reads nothing to one that reads everything. Not Miladinović et al.'s adversarial word dropout,
which shares the abbreviation AWD.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.models import Batch, Output, SentenceModel
from trainers.objectives.annealing import ROUNDING, planned_growth
from trainers.objectives.objective import Objective
from trainers.objectives.word_dropout import drop_words, refusal_of_no_words
from trainers.options import ModelOptions, Value, option


@dataclass(frozen=True)
class Hyperparameters:
    gamma: float = option(
        2e-5,
        "γ, the fall of the dropout rate in one optimiser step; unless set, so large that it ends within max_epochs",
        above=0,
        high=1,
    )


class Technique(Objective):
    hyperparameters: Hyperparameters
    rate: Tensor

    def __init__(self, hyperparameters: Hyperparameters) -> None:
        super().__init__(hyperparameters)
        self.register_buffer("rate", torch.tensor(1.0, dtype=torch.float64))

    def refusal(self, options: ModelOptions) -> str | None:
        return refusal_of_no_words("annealed-word-dropout", options)

    def planned(self) -> dict[str, Value]:
        return {"gamma": planned_growth(self.hyperparameters.gamma, self.steps)}

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"gamma": (1 / self.steps, 1.0)}

    @property
    def settled(self) -> bool:
        return self.rate.item() <= ROUNDING

    def measure(self, model: SentenceModel, batch: Batch) -> Output:
        output: Output = model(batch, drop_words(batch.inputs, self.rate.item()))
        return output

    def after_step(self, output: Output) -> None:
        del output
        self.rate.sub_(self.hyperparameters.gamma).clamp_(min=0.0)

    def state(self) -> dict[str, float]:
        return {"word_dropout": self.rate.item()}

    def warning(self) -> str | None:
        left = 1 - self.hyperparameters.gamma * self.steps
        if left <= ROUNDING:
            return None
        return (
            f"annealed-word-dropout cannot end: with gamma = {self.hyperparameters.gamma:g} a step, {left:.2g} of the words are "
            f"still dropped after the {self.steps} steps of max_epochs; a gamma of at least {1 / self.steps:.2g} ends it."
        )
