"""The hooks of a technique. The training loop calls them and knows no technique by name."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainers.figures import EpochFigures
from trainers.latent.posteriors import MakePosterior
from trainers.latent.priors import MakePrior
from trainers.models import Batch, Output, SentenceModel
from trainers.options import NO_PRETRAINING, ModelOptions, TrainingOptions, Value


def refusal_of_components(technique: str, options: ModelOptions, reason: str, remedy: str = "") -> str | None:
    """Why a technique takes neither another posterior nor another prior than the defaults, where `options` name one."""
    for name in ("posterior", "prior"):
        value, default = getattr(options, name), getattr(ModelOptions, name)
        if value != default:
            return f"{name} = {value!r} is not allowed for {technique}, {reason}: leave it at {default!r}{remedy}."
    return None


def refusal_of_single_sentences(technique: str, options: TrainingOptions, reason: str) -> str | None:
    """The reason against batches of one sentence, if `options` ask for them; None if they do not."""
    if options.batch_size > 1:
        return None
    return f"batch_size = 1 is not allowed for {technique}, {reason}: take 2 sentences or more."


EncoderStep = Callable[[], tuple[float, int]]
"""Function that takes one optimiser step of the encoder alone; returns the batch's loss, summed over its sentences, and
its tokens.
"""


class Objective(nn.Module):
    """A technique. Whatever changes while it trains is a buffer or a parameter, so that a checkpoint saves it."""

    latent: ClassVar[bool] = True
    """False: the technique trains the RNNLM, which has no latent."""

    pretrain: ClassVar[str] = NO_PRETRAINING
    """The technique that the encoder is trained by first, where that is part of this one; the option adds it to any other."""

    newer: ClassVar[Collection[str]] = ()
    """Buffers that older programs' checkpoints lack; they are as at the start then."""

    hyperparameters: Any
    """Hyperparameters of the technique, in its own dataclass; its module names the type."""

    given: Collection[str] = ()
    """Hyperparameters that were set; a plan may change the others."""

    def __init__(self, hyperparameters: Any) -> None:
        super().__init__()
        self.hyperparameters = hyperparameters
        self.steps_per_epoch, self.epochs = 1, 1

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Reads older programs' checkpoints too."""
        return super().load_state_dict(
            {**{name: self.get_buffer(name) for name in self.newer}, **state_dict}, strict, assign
        )

    def refusal(self, options: ModelOptions) -> str | None:
        """The reason why the technique makes no sense with a model of these options, if there is one."""
        del options
        return None

    def refusal_of_training(self, options: TrainingOptions) -> str | None:
        """The reason why the technique makes no sense when it is trained with these options, if there is one."""
        del options
        return None

    @property
    def target_rate(self) -> float | None:
        """The rate r that the technique holds, in nats per sentence, if it holds one."""
        return None

    @property
    def codes(self) -> int:
        """A, the codes of one sentence that together are its latent."""
        return 1

    @property
    def posterior(self) -> MakePosterior | None:
        """Makes the technique's own q(z|x), where it has one; a model keeps it, so it holds plain values alone."""
        return None

    @property
    def prior(self) -> MakePrior | None:
        """Makes the technique's own p(z), where it has one."""
        return None

    def grow(self, model: SentenceModel) -> None:
        """Makes the networks of its own that need the model's sizes, once it is built, or changes the model."""

    def plan(self, steps_per_epoch: int, epochs: int) -> None:
        """Tells the technique before the first step how long training will be at most, of one stage."""
        self.steps_per_epoch, self.epochs = steps_per_epoch, epochs
        changed = {name: value for name, value in self.planned().items() if name not in self.given}
        self.hyperparameters = replace(self.hyperparameters, **changed)

    @property
    def steps(self) -> int:
        """Optimiser steps at most, of one stage."""
        return self.steps_per_epoch * self.epochs

    def planned(self) -> dict[str, Value]:
        """Defaults that depend on the plan, so that a schedule published for more steps does its work in these."""
        return {}

    def limits(self) -> dict[str, tuple[float, float]]:
        """The least and the greatest values with which the schedule ends within the plan, by hyperparameter."""
        return {}

    def idle(self) -> dict[str, str]:
        """Hyperparameters that another one's value leaves without effect, each with the name of that other one."""
        return {}

    def measure(self, model: SentenceModel, batch: Batch) -> Output:
        """Figures of the model on a training batch; a technique may show the decoder other words."""
        output: Output = model(batch)
        return output

    def loss(self, output: Output) -> Tensor:
        """The scalar to minimise on this batch: −ELBO = D + R, where a technique has no other."""
        return (output.distortion + output.rate).mean()

    def drop_probabilities(self, batch: Batch, draws: int, generator: torch.Generator) -> Tensor | None:
        """Shares of so many draws in which each token [B, T] is hidden from the decoder, where the technique learns
        which to hide.
        """
        del batch, draws, generator
        return None

    def optimizers(self) -> list[Optimizer]:
        """The optimisers of the objective's own parameters; the model's optimiser never sees those."""
        return []

    def before_step(self, encoder_step: EncoderStep) -> bool:
        """May train the encoder alone, on the step's own batch first and then on random ones, before the optimiser step.

        Returns whether that step moves the encoder too.
        """
        del encoder_step
        return True

    def after_step(self, output: Output) -> None:
        """Moves the schedule on, once after every optimiser step."""

    def after_epoch(self, mutual_information: Callable[[], float]) -> None:
        """Moves what changes by the epoch; calling `mutual_information` measures I(x; z) on validation data, in nats."""

    @property
    def settled(self) -> bool:
        """True once a schedule, if there is one, has ended; until then no epoch counts as one without improvement."""
        return True

    def criterion(self, figures: EpochFigures) -> float:
        """Validation figure of which the best epoch has the least: D + R, or D + max(r, R) where a rate r is held.

        Below its target a lower rate is no merit: judged by the −ELBO, a high target's best epoch would be an early one, whose
        rate is not there yet.
        """
        rate = figures.rate if self.target_rate is None else max(self.target_rate, figures.rate)
        return figures.distortion + rate

    def state(self) -> dict[str, float]:
        """Changing values of the objective, e.g. its KL weight, for the record of each epoch."""
        return {}

    def warning(self) -> str | None:
        """A sentence if the schedule cannot do its work within the plan."""
        return None
