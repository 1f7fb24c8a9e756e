"""The training loop. It calls an objective's hooks and never names a technique (a test holds it to that)."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Adam, Optimizer

from trainers import checkpoint
from trainers.corpus import Corpus, Sentence, batches
from trainers.errors import BadInput, Failure
from trainers.evaluation import validate
from trainers.models import RNNLM, Batch, SentenceModel, SenVAE
from trainers.objectives.objective import Objective
from trainers.options import ModelOptions, TrainingOptions

BEST, LATEST = "best.safetensors", "latest.safetensors"
REPORT_SECONDS = 2.0

Report = Callable[[str, dict[str, Any]], None]
"""takes an event's name and its facts"""


def build_model(
    objective: Objective, vocabulary: int, options: ModelOptions, lengths: tuple[float, float]
) -> SentenceModel:
    """The technique's model for so many words; `lengths` are mean and sd of the training sentences' tokens.

    Raises:
        BadInput: if the technique makes no sense with these options.
    """
    reason = objective.refusal(options)
    if reason is not None:
        raise BadInput(reason)
    latent = objective.latent
    model = SenVAE(vocabulary, options, lengths, objective.codes) if latent else RNNLM(vocabulary, options)
    objective.grow(model)
    return model


def choose_device(name: str) -> torch.device:
    """The device of that name; auto is a GPU where there is one.

    Raises:
        BadInput: if a GPU is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("device = 'cuda' but PyTorch sees no GPU: use device=auto, or install a CUDA build of PyTorch.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


@dataclass
class Progress:
    """Where training stands; a checkpoint's header."""

    epoch: int = 0
    """epochs finished"""
    batch: int = 0
    """batches done of the epoch under way"""
    step: int = 0
    best: float = math.inf
    """lowest validation criterion so far (`Objective.criterion`): the −ELBO, unless a rate is held"""
    best_epoch: int = 0
    unsettled_epoch: int = 0
    """the last epoch that ended before the technique's schedule did"""
    train_loss: float = 0.0
    """Σ (D + R) over the sentences of the epoch under way"""
    tokens: int = 0
    """tokens trained on in all"""
    seconds: float = 0.0
    """spent in optimiser steps in all"""
    finished: bool = False


class Training:
    """One run of one model, from its first step or its last checkpoint to convergence.

    Ends when the validation criterion has not improved for `patience` epochs in a row or after `max_epochs`; the best epoch's
    weights are in `BEST`.
    """

    def __init__(
        self,
        model: SentenceModel,
        objective: Objective,
        corpus: Corpus,
        options: TrainingOptions,
        seed: int,
        folder: Path,
        report: Report,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.device = choose_device(options.device)
        self.batches_per_epoch = math.ceil(len(corpus.splits["train"]) / options.batch_size)
        objective.plan(self.batches_per_epoch, options.max_epochs)
        self.model = model.to(self.device)
        self.objective = objective.to(self.device)
        self.corpus, self.options, self.seed, self.folder = corpus, options, seed, folder
        self.report, self.stop = report, stop
        self.optimizers: list[Optimizer] = [
            Adam(model.parameters(), lr=options.learning_rate, fused=True),
            *objective.optimizers(),
        ]
        self.progress = Progress()
        if (folder / LATEST).exists():
            self.progress = Progress(**checkpoint.load_state(folder / LATEST, model, objective, self.optimizers))
        self.saved_at = self.reported_at = time.monotonic()

    def run(self) -> Progress:
        """Trains to the end; the model then holds the best epoch's weights.

        Raises:
            Failure: nan, disk or preempted; a preempted run has saved a checkpoint and goes on from it.
        """
        warning = self.objective.warning(self.options.max_epochs * self.batches_per_epoch)
        if warning:
            self.report("warning", {"message": warning})
        while not self.progress.finished:
            self._epoch()
        self.model.load_state_dict(checkpoint.load_tensors(self.folder / BEST)[0])
        return self.progress

    def _epoch(self) -> None:
        now, train = self.progress, self.corpus.splits["train"]
        self.model.train()
        epoch_seed = self.seed * 100_003 + now.epoch
        by_length = not (self.options.random_batches or self.objective.random_batches)
        for number, indices in enumerate(batches(train, self.options.batch_size, epoch_seed, by_length)):
            if number < now.batch:
                continue  # done before the checkpoint
            self._step([train[i] for i in indices])
            now.batch = number + 1
            self._between_steps()
        figures = validate(self.model, self.corpus.splits["valid"], self.seed)
        neg_elbo = figures.distortion + figures.rate
        if not math.isfinite(neg_elbo):
            raise Failure("nan", f"the validation −ELBO is {neg_elbo} after epoch {now.epoch + 1}.")
        train_loss = now.train_loss / len(train)
        now.epoch, now.batch, now.train_loss = now.epoch + 1, 0, 0.0
        criterion = self.objective.criterion(figures)
        if criterion < now.best:
            now.best, now.best_epoch = criterion, now.epoch
            checkpoint.save_tensors(self.folder / BEST, self.model.state_dict(), {"epoch": now.epoch})
        if not self.objective.settled:
            now.unsettled_epoch = now.epoch
        idle = now.epoch - max(now.best_epoch, now.unsettled_epoch)
        now.finished = now.epoch >= self.options.max_epochs or idle >= self.options.patience
        self._save()
        self.report(
            "epoch",
            {
                "epoch": now.epoch,
                "epochs": self.options.max_epochs,
                "train_neg_elbo": train_loss,
                "distortion": figures.distortion,
                "rate": figures.rate,
                "neg_elbo": neg_elbo,
                "active_units": figures.active_units,
                "best_epoch": now.best_epoch,
                "seconds": now.seconds,
                "tokens_per_second": now.tokens / now.seconds,
                **{f"objective_{key}": value for key, value in self.objective.state().items()},
            },
        )

    def _step(self, sentences: Sequence[Sentence]) -> None:
        now, started = self.progress, time.perf_counter()
        output = self.objective.measure(self.model, Batch.of(sentences, self.device))
        loss: Tensor = self.objective.loss(output)
        if self.options.weight_decay:
            loss = loss + self.model.weight_decay(len(self.corpus.splits["train"]))
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = clip_grad_norm_(self.model.parameters(), self.options.clip)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise Failure(
                "nan",
                f"the loss is {loss.item()} and the gradient's norm {norm.item()} at step {now.step + 1} "
                f"(epoch {now.epoch + 1}); a smaller learning_rate or clip may train.",
            )
        for optimizer in self.optimizers:
            optimizer.step()
        self.objective.after_step(output)
        now.train_loss += (output.distortion + output.rate).sum().item()
        now.tokens += sum(len(s) for s in sentences)
        now.seconds += time.perf_counter() - started
        now.step += 1

    def _between_steps(self) -> None:
        now = time.monotonic()
        if self.stop():
            self._save()
            raise Failure("preempted", "the run was told to stop; it goes on from its checkpoint.")
        if now - self.saved_at > self.options.checkpoint_seconds:
            self._save()
        if now - self.reported_at > REPORT_SECONDS:
            self.reported_at = now
            done = self.progress.epoch + self.progress.batch / self.batches_per_epoch
            self.report("progress", {"phase": "training", "epoch": done, "epochs": self.options.max_epochs})

    def _save(self) -> None:
        checkpoint.save_state(self.folder / LATEST, self.model, self.objective, self.optimizers, vars(self.progress))
        self.saved_at = time.monotonic()
