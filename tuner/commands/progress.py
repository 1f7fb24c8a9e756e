"""Progress on standard error: one line that changes in a terminal, a line now and then in a pipe."""

import math
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from tuner.commands.options import overwrite
from tuner.commands.render import duration, number
from tuner.estimators import notes_of, perplexity
from tuner.metrics import FIGURES
from tuner.numbers import counted
from tuner.studies.objectives import rank as ranked
from tuner.studies.trials import OVER

if TYPE_CHECKING:
    from tuner.studies.study import Study

PIPE_SECONDS = 15.0
MIN_SHARE = 0.03
"""Share of a phase of the first trial, before which its pace says too little about the time left."""
LATE = 1.05
"""Factor of the time left that was told; where more is expected, the line says so."""
SHOWN = 3
"""Largest number of trials under way that the line has room for."""


@dataclass
class _Trial:
    """A trial under way."""

    started: float = field(default_factory=lambda: time.monotonic())
    """Time by `time.monotonic` at which it was claimed, less what its earlier attempts took."""
    phase: str = "starting"
    share: float = 0.0
    """Share done of the trial's epochs; while it is evaluated, of the current part of the evaluation."""
    base: float = 0.0
    """The share when the current phase was first heard of: a trial that is resumed has some behind it."""
    since: float | None = None
    """Time by `time.monotonic` at which that was, of a trial that begins when it was claimed; None before."""
    parts: int = 0
    """Number of parts of the evaluation that have begun: an estimator each, and a split each."""


class Progress:
    """Listens to workers and says how far they are: trials done, the best one's figure, each trial's epoch, the time left.

    rank: what orders trials of these metrics, the lowest first.
    judged: the figure by which it does, and its name.
    ppl: the perplexity's name (`estimators.perplexity`).
    """

    def __init__(
        self,
        trials: int,
        done: int = 0,
        best: Mapping[str, Any] | None = None,
        workers: int = 1,
        rank: Callable[[Mapping[str, Any]], Any] = itemgetter("nll"),
        ppl: str = "PPL",
        judged: tuple[str, str] = ("nll", "lowest NLL"),
    ) -> None:
        self.ppl, self.judged = ppl, judged
        self.trials, self.done, self.best, self.workers, self.rank = trials, done, best, workers, rank
        self.terminal = sys.stderr.isatty()
        self.spent: list[float] = []
        self.said_at = time.monotonic()
        self.running: dict[int, _Trial] = {}
        self.ends = math.inf
        """Earliest end that was told."""
        self._lock = threading.Lock()

    @classmethod
    def of(cls, study: "Study", workers: int) -> "Progress":
        """The progress of a study, which goes on from the trials that it has."""
        trials, rank = study.trials.all(), partial(ranked, study.spec.objective, study.spec.min_rate)
        found = [trial.metrics for trial in trials if trial.state == "complete" and trial.metrics]
        done, ppl = sum(trial.state in OVER for trial in trials), perplexity(study.facts.corpus.token)
        key = study.spec.objective.partition(",")[0]
        judged = key, f"{'best' if study.spec.min_rate else 'lowest'} {FIGURES[key].label}"
        return cls(study.spec.trials, done, min(found, key=rank, default=None), workers, rank, ppl, judged)

    def __call__(self, event: str, trial: int, facts: Mapping[str, Any]) -> None:
        """One event of a trial, from any thread."""
        with self._lock:
            self._hear(event, trial, facts)

    def _hear(self, event: str, trial: int, facts: Mapping[str, Any]) -> None:
        if event == "claimed":
            now, earlier = time.monotonic(), facts["seconds"]
            self.running[trial] = _Trial(now - earlier, since=None if earlier else now)
            params = " ".join(f"{key}={number(value)}" for key, value in facts["params"].items())
            self._line(f"trial {trial}: {params or 'the defaults'}")
        elif event == "complete":
            metrics, took = facts["metrics"], self._end(trial)
            self.best = min(self.best or metrics, metrics, key=self.rank)
            word = "".join(f", {note}" for note in notes_of(metrics))
            self._line(
                f"trial {trial}: NLL {number(metrics['nll'])} {self.ppl} {number(metrics['ppl'])} R {number(metrics['rate'])} "
                f"AU {number(metrics['active_units'])}{word} ({duration(took)}, {counted(facts['epochs'], 'epoch')}); "
                f"{self.done} of {self.trials} done{self._best()}{self._left()}"
            )
        elif event in ("failed", "pruned"):
            self._end(trial)
            self._line(f"trial {trial}: " + (f"{facts['reason']}: " if "reason" in facts else "") + facts["message"])
        elif event in ("handed back", "lost"):
            self.running.pop(trial, None)
            self._line(f"trial {trial}: {facts['message']}")
        elif event == "warning":
            self._line(f"trial {trial}: {facts['message']}")
        elif event in ("epoch", "progress"):
            self._step(event, self.running.setdefault(trial, _Trial()), facts)

    def _end(self, trial: int) -> float:
        self.done += 1
        self.spent.append(time.monotonic() - self.running.pop(trial, _Trial()).started)
        return self.spent[-1]

    def _step(self, event: str, trial: _Trial, facts: Mapping[str, Any]) -> None:
        if event == "epoch":
            figures = f"D {number(facts['distortion'])} R {number(facts['rate'])}"
            trial.phase = f"epoch {facts['epoch']}/{facts['epochs']} {figures}"
        elif facts.get("phase") == "evaluation":
            self._evaluated(trial, facts["done"] / max(facts["of"], 1))
        elif not trial.phase.startswith("epoch"):
            done, epoch = math.modf(facts.get("epoch", 0))
            trial.phase = f"{100 * done:.0f} % of epoch {epoch + 1:.0f}/{facts.get('epochs', 1)}"
        if not trial.parts:
            self._done(trial, facts.get("epoch", 0) / facts.get("epochs", 1), begins=trial.since is None)
        phases = [f"trial {n}: {t.phase}" for n, t in sorted(self.running.items())]
        more = f" | {len(phases) - SHOWN} more" if len(phases) > SHOWN else ""
        text = f"{self.done}/{self.trials} trials{self._best()} | {' | '.join(phases[:SHOWN])}{more}{self._left()}"
        if self.terminal:
            overwrite(text, end="")
        elif time.monotonic() - self.said_at > PIPE_SECONDS:
            self._line(text)

    @staticmethod
    def _done(trial: _Trial, share: float, begins: bool) -> None:
        """A share of a phase is done; the first that is told of it is where its pace is measured from."""
        if begins:
            trial.base, trial.since = share, time.monotonic()
        trial.share = share

    def _evaluated(self, trial: _Trial, share: float) -> None:
        begins = not trial.parts or share < trial.share
        trial.parts += begins
        self._done(trial, share, begins)
        part = f", part {trial.parts}" if trial.parts > 1 else ""
        trial.phase = f"evaluation{part} {100 * share:.0f} %"

    def _best(self) -> str:
        key, said = self.judged
        return f", {said} {number(self.best[key])}" if self.best is not None else ""

    def _left(self) -> str:
        """The time left in words. It never grows: where more is expected than was told, it is more than that."""
        now, expected = time.monotonic(), self._expected()
        if expected is None or expected <= 0:
            return ""
        told = self.ends - now
        self.ends = min(self.ends, now + expected)
        left = self.ends - now
        if left < min(1.0, expected):
            return ", longer than it seemed"
        return f", {'more than' if expected > LATE * told else 'about'} {duration(left)} left"

    def _expected(self) -> float | None:
        """Seconds left: by the trials so far, or before the first is done by the share of its phase that is."""
        now = time.monotonic()
        if self.spent:
            mean = sum(self.spent) / len(self.spent)
            begun = sum(min(now - trial.started, mean) for trial in self.running.values())
            return (mean * (self.trials - self.done) - begun) / self.workers
        first = max(self.running.values(), key=lambda trial: (trial.parts, trial.share), default=None)
        if first is None or first.since is None or first.share - first.base <= MIN_SHARE:
            return None
        running, phase = now - first.started, (now - first.since) * (1 - first.share) / (first.share - first.base)
        return (running + phase) * self.trials / self.workers - running

    def _line(self, text: str) -> None:
        self.said_at = time.monotonic()
        overwrite(text)
