"""The training loop. It calls an objective's hooks and never names a technique (a test holds it to that)."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from trainers import checkpoint, pretraining
from trainers.contract import BEST, LATEST
from trainers.corpus import Corpus, Sentence, batches
from trainers.decoder import Decoder
from trainers.errors import BadInput, Failure
from trainers.evaluation import learn, validate, validation_information
from trainers.models import RNNLM, Batch, Output, SentenceModel, SenVAE
from trainers.objectives.objective import Objective
from trainers.options import ModelOptions, TrainingOptions
from trainers.precision import multiplying, require

REPORT_SECONDS = 2.0

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adam": partial(Adam, fused=True), "sgd": SGD}

Report = Callable[[str, dict[str, Any]], None]
"""Function that takes an event's name and its facts."""


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
    model: SentenceModel
    if objective.latent:
        model = SenVAE(vocabulary, options, lengths, objective.codes, objective.posterior, objective.prior)
    else:
        model = RNNLM(vocabulary, options)
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


def batches_per_epoch(corpus: Corpus, options: TrainingOptions) -> int:
    """Optimiser steps of an epoch."""
    return math.ceil(len(corpus.splits["train"]) / options.batch_size)


@dataclass
class Progress:
    """Progress of a training; a checkpoint's header."""

    epoch: int = 0
    """Number of epochs finished."""
    batch: int = 0
    """Number of batches done of the epoch under way."""
    step: int = 0
    best: float = math.inf
    """Lowest validation criterion so far (`Objective.criterion`): the −ELBO, unless a rate is held."""
    best_epoch: int = 0
    unsettled_epoch: int = 0
    """Last epoch that ended before the technique's schedule did."""
    train_loss: float = 0.0
    """Sum Σ (D + R) over the sentences of the epoch under way."""
    tokens: int = 0
    """Number of tokens trained on in all."""
    seconds: float = 0.0
    """Seconds spent in optimiser steps in all."""
    stage: int = 0
    first_epoch: int = 0
    """Number of epochs finished before the stage."""
    decays: int = 0
    """Number of plateaus of the stage so far."""
    decayed_epoch: int = 0
    """Epoch that ended in the last plateau."""
    finished: bool = False


class Training:
    """One run of one model, from its first step or its last checkpoint to convergence.

    Ends when the validation criterion has not improved for `patience` epochs in a row, at the last plateau or after `max_epochs`;
    the best epoch's weights are in `BEST`. Where there is a stage before (`trainers.pretraining`), the technique's own begins
    with its best encoder, fresh optimisers and step sizes; `BEST` is the last stage's in the end.

    Raises:
        BadInput: if the technique makes no sense with these options.
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
        reason = objective.refusal_of_training(options)
        if reason is not None:
            raise BadInput(reason)
        self.device = choose_device(options.device)
        require(model.options.precision, self.device)
        self.batches_per_epoch = batches_per_epoch(corpus, options)
        self.stages = pretraining.stages(objective, options.pretrain)
        for stage in self.stages:
            stage.plan(self.batches_per_epoch, options.max_epochs)
        self.model = model.to(self.device)
        self.objective = objective.to(self.device)
        for module in (*model.modules(), *objective.modules()):
            if isinstance(module, Decoder):
                module.batch_tokens = options.batch_tokens
        self.corpus, self.options, self.seed, self.folder = corpus, options, seed, folder
        self.report, self.stop = report, stop
        self.progress = Progress()
        self.own_optimizers = objective.optimizers()
        self._fresh_optimizers()
        if (folder / LATEST).exists():
            self.progress = Progress(**checkpoint.load_state(folder / LATEST, self._modules, self.optimizers))
        self._set_learning_rate()
        self.saved_at = self.reported_at = time.monotonic()

    def _fresh_optimizers(self) -> None:
        """Optimisers of the model that remember nothing; the encoder has one of its own, so that it can be trained alone."""
        encoder = self.model.encoder_parameters()
        known = {id(parameter) for parameter in encoder}
        generator = [parameter for parameter in self.model.parameters() if id(parameter) not in known]
        made = [OPTIMIZERS[self.options.optimizer](part, lr=1.0) for part in (generator, encoder) if part]
        self.model_optimizers, self.encoder_optimizer = made, made[-1]
        self.optimizers: list[Optimizer] = [*made, *self.own_optimizers]
        self.average: AveragedModel | None = None
        if self.options.polyak:
            average = get_ema_multi_avg_fn(self.options.polyak)
            self.average = AveragedModel(self.model, multi_avg_fn=average)

    @property
    def current(self) -> Objective:
        """The objective of the stage under way."""
        return self.stages[self.progress.stage]

    @property
    def epochs(self) -> int:
        """Epochs at most, of all stages."""
        return self.options.max_epochs * len(self.stages)

    @property
    def _state(self) -> dict[str, float]:
        """Changing values of the objective; all 0 before its own stage."""
        state, stage = self.objective.state(), self.progress.stage
        if len(self.stages) == 1:
            return state
        return {"stage": float(stage), **(state if self.current is self.objective else dict.fromkeys(state, 0.0))}

    @property
    def _modules(self) -> dict[str, nn.Module]:
        """Modules that a checkpoint keeps."""
        modules: dict[str, nn.Module] = {"model": self.model, "objective": self.objective}
        return modules if self.average is None else {**modules, "average": self.average}

    @property
    def evaluated(self) -> SentenceModel:
        """The model that is validated and kept: the moving average of the weights, where there is one."""
        if self.average is None:
            return self.model
        averaged: SentenceModel = self.average.module  # type: ignore[assignment]
        return averaged

    def _set_learning_rate(self) -> None:
        now, options = self.progress, self.options
        epochs = now.epoch - now.first_epoch
        rate = options.learning_rate * options.plateau_factor**now.decays * options.decay**epochs
        for group in (group for optimizer in self.model_optimizers for group in optimizer.param_groups):
            group["lr"] = rate

    def run(self) -> Progress:
        """Trains to the end; the model and the objective then hold the best epoch's weights.

        Raises:
            Failure: nan, disk or preempted; a preempted run has saved a checkpoint and goes on from it.
        """
        steps = self.options.max_epochs * self.batches_per_epoch
        for warning in (self.objective.warning(), self._average_warning(steps)):
            if warning:
                self.report("warning", {"message": warning})
        while not self.progress.finished:
            self._epoch()
        checkpoint.load_weights(self.folder / BEST, self.model, self.objective)
        return self.progress

    def _average_warning(self, steps: int) -> str | None:
        lag = 1 / (1 - self.options.polyak)
        if not self.options.polyak or lag < steps / 2:
            return None
        return (
            f"polyak = {self.options.polyak:g} averages the weights of the last {lag:.0f} steps, of the {steps} of max_epochs: "
            "what is evaluated lags behind what is trained; a smaller polyak follows faster."
        )

    def _epoch(self) -> None:
        now, train = self.progress, self.corpus.splits["train"]
        self.model.train()
        epoch_seed = self.seed * 100_003 + now.epoch
        order = list(batches(train, self.options.batch_size, epoch_seed, self.options.batching == "length"))
        for number, indices in enumerate(order):
            if number < now.batch:
                continue  # done before the checkpoint
            self._step([train[i] for i in indices], order)
            now.batch = number + 1
            self._between_steps()
        valid = self.corpus.splits["valid"]
        learn(self.evaluated, train)
        figures = validate(self.evaluated, valid, self.seed)
        neg_elbo = figures.distortion + figures.rate
        if not math.isfinite(neg_elbo):
            raise Failure("nan", f"the validation −ELBO is {neg_elbo} after epoch {now.epoch + 1}.")
        train_loss = now.train_loss / len(train)
        now.epoch, now.batch, now.train_loss = now.epoch + 1, 0, 0.0
        self.current.after_epoch(lambda: validation_information(self.model, valid, self.seed))
        criterion = self.current.criterion(figures)
        if criterion < now.best:
            now.best, now.best_epoch = criterion, now.epoch
            checkpoint.save_weights(self.folder / BEST, self.evaluated, self.objective, {"epoch": now.epoch})
        settled = self.current.settled
        if not settled:
            now.unsettled_epoch = now.epoch
        state = self._state  # as this epoch left it: the next stage has another
        self._end_epoch()
        self._save()
        self.report(
            "epoch",
            {
                "epoch": now.epoch,
                "epochs": self.epochs,
                "train_neg_elbo": train_loss,
                "distortion": figures.distortion,
                "rate": figures.rate,
                "neg_elbo": neg_elbo,
                "active_units": figures.active_units,
                "best_epoch": now.best_epoch,
                "settled": settled,
                "seconds": now.seconds,
                "tokens_per_second": now.tokens / now.seconds,
                **{f"objective_{key}": value for key, value in state.items()},
            },
        )

    def _end_epoch(self) -> None:
        """Ends the stage, or lowers the step size, where nothing has improved for long enough."""
        now, options = self.progress, self.options
        last = max(now.best_epoch, now.unsettled_epoch)
        if options.plateau and now.epoch - max(last, now.decayed_epoch) >= options.plateau:
            now.decays, now.decayed_epoch = now.decays + 1, now.epoch
            if options.plateau_reload:
                checkpoint.load_weights(self.folder / BEST, self.model)
                self._fresh_optimizers()
        if (
            now.epoch - now.first_epoch >= options.max_epochs
            or now.epoch - last >= options.patience
            or now.decays == options.plateau_decays
        ):
            now.finished = now.stage + 1 == len(self.stages)
            if not now.finished:
                self._begin_stage()
        self._set_learning_rate()

    def _begin_stage(self) -> None:
        now = self.progress
        now.stage, now.first_epoch, now.decays = now.stage + 1, now.epoch, 0
        now.best, now.unsettled_epoch = math.inf, now.epoch
        checkpoint.load_weights(self.folder / BEST, self.model)
        pretraining.begin(self.model)
        self._fresh_optimizers()

    def _backward(self, sentences: Sequence[Sentence]) -> tuple[Output, Tensor]:
        """Gradients, clipped, of the batch's loss."""
        now = self.progress
        with multiplying(self.model.options.precision):
            output = self.current.measure(self.model, Batch.of(sentences, self.device))
            loss: Tensor = self.current.loss(output)
            decay = self.model.weight_decay(len(self.corpus.splits["train"])) if self.options.weight_decay else 0.0
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            (loss + decay).backward()
        norm = clip_grad_norm_(self.model.parameters(), self.options.clip)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise Failure(
                "nan",
                f"the loss is {loss.item()} and the gradient's norm {norm.item()} at step {now.step + 1} "
                f"(epoch {now.epoch + 1}); a smaller learning_rate or clip may train.",
            )
        now.tokens += sum(len(s) for s in sentences)
        return output, loss

    def _step(self, sentences: Sequence[Sentence], order: Sequence[NDArray[np.int64]]) -> None:
        """One optimiser step on `sentences`; `order`: the epoch's batches, for what the objective wants besides."""
        now, started, train = self.progress, time.perf_counter(), self.corpus.splits["train"]
        own = [sentences]

        def encoder_step() -> tuple[float, int]:
            batch = own.pop() if own else [train[i] for i in order[int(torch.randint(len(order), ()))]]
            _, loss = self._backward(batch)
            self.encoder_optimizer.step()
            self._tell_progress()  # a hundred of these may take minutes
            return loss.item() * len(batch), sum(len(s) for s in batch)

        encoder_too = self.current.before_step(encoder_step)
        output, _ = self._backward(sentences)
        for optimizer in self.optimizers:
            if encoder_too or optimizer is not self.encoder_optimizer:
                optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.current.after_step(output)
        now.train_loss += (output.distortion + output.rate).sum().item()
        now.seconds += time.perf_counter() - started
        now.step += 1

    def _between_steps(self) -> None:
        if self.stop():
            self._save()
            raise Failure("preempted", "the run was told to stop; it goes on from its checkpoint.")
        if time.monotonic() - self.saved_at > self.options.checkpoint_seconds:
            self._save()
        self._tell_progress()

    def _tell_progress(self) -> None:
        now = time.monotonic()
        if now - self.reported_at > REPORT_SECONDS:
            self.reported_at = now
            done = self.progress.epoch + self.progress.batch / self.batches_per_epoch
            epochs = self.epochs
            self.report("progress", {"phase": "training", "epoch": done, "epochs": epochs})

    def _save(self) -> None:
        checkpoint.save_state(self.folder / LATEST, self._modules, self.optimizers, vars(self.progress))
        self.saved_at = time.monotonic()
