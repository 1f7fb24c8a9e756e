"""Aggressive training of the inference network: D + βR, the encoder trained to its limit before each step of the decoder
(He et al. 2019, algorithm 1; LI §2.2).

While aggressive, each step is preceded by up to `inner` encoder-only steps: on the step's own batch, then on random ones. Every
`window` of them their loss per token is compared with that of the window before; when it has not fallen they end, and the step
itself moves the generator alone. After each epoch I(x; z) is measured on validation data (He et al.'s estimator); once it has not
grown, training is ordinary for good. Until then no epoch counts as one without improvement.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.objectives.annealing import Annealed
from trainers.objectives.objective import EncoderStep
from trainers.options import option


@dataclass(frozen=True)
class Hyperparameters:
    inner: int = option(100, "largest number of encoder-only steps before each step of the decoder", low=1)
    window: int = option(15, "number of encoder-only steps between two looks at their loss", low=1)
    anneal_epochs: int = option(0, "number of epochs over which β grows from 0 to 1", low=0)


class Technique(Annealed):
    hyperparameters: Hyperparameters
    aggressive: Tensor
    information: Tensor

    def __init__(self, hyperparameters: Hyperparameters) -> None:
        super().__init__(hyperparameters)
        self.register_buffer("aggressive", torch.tensor(True))
        self.register_buffer("information", torch.tensor(-math.inf, dtype=torch.float64))

    def before_step(self, encoder_step: EncoderStep) -> bool:
        if not self.aggressive:
            return True
        before, total, tokens = math.inf, 0.0, 0
        for number in range(1, self.hyperparameters.inner + 1):
            loss, count = encoder_step()
            total, tokens = total + loss, tokens + count
            if number % self.hyperparameters.window == 0:
                if total / tokens >= before:
                    break
                before, total, tokens = total / tokens, 0.0, 0
        return False

    def after_epoch(self, mutual_information: Callable[[], float]) -> None:
        if self.aggressive:
            found = mutual_information()
            self.aggressive.fill_(found > self.information.item())
            self.information.fill_(found)

    @property
    def settled(self) -> bool:
        return not self.aggressive and super().settled

    def state(self) -> dict[str, float]:
        return {**super().state(), "aggressive": float(self.aggressive)}
