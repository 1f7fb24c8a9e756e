"""Progress on standard error: one line that changes in a terminal, a line now and then in a pipe."""

import sys
import time
from collections.abc import Mapping
from typing import Any

from tuner.report import duration, number

PIPE_SECONDS = 15.0
MIN_SHARE = 0.03
"""of the first trial, before which its pace says too little about the time left"""


class Progress:
    """Listens to a worker and says how far it is: trials done, best so far, the current epoch, the time left."""

    def __init__(self, trials: int, done: int = 0, best: float | None = None) -> None:
        self.trials, self.done, self.best = trials, done, best
        self.terminal = sys.stderr.isatty()
        self.spent: list[float] = []
        self.trial_started = self.said_at = time.monotonic()
        self.epoch = ""

    def __call__(self, event: str, trial: int, facts: Mapping[str, Any]) -> None:
        """One event of a trial."""
        if event == "claimed":
            self.trial_started = time.monotonic()
            params = " ".join(f"{key}={number(value)}" for key, value in facts["params"].items())
            self._line(f"trial {trial}: {params or 'the defaults'}")
            self.epoch = "starting"
        elif event == "done":
            metrics = facts["metrics"]
            self._end()
            if metrics["nll"] is not None:
                self.best = min(self.best, metrics["nll"]) if self.best is not None else metrics["nll"]
            word = ", collapsed" if metrics["collapsed"] else ""
            self._line(
                f"trial {trial}: NLL {number(metrics['nll'])} PPL {number(metrics['ppl'])} R {number(metrics['rate'])} "
                f"AU {number(metrics['active_units'])}{word} ({duration(self.spent[-1])}, {facts['epochs']} epochs); "
                f"{self.done} of {self.trials} done, best NLL {number(self.best)}{self._left(0)}"
            )
        elif event == "failed":
            if facts["reason"] in ("nan", "oom", "error"):
                self._end()
            self._line(f"trial {trial}: {facts['reason']}: {facts['message']}")
        elif event == "pruned":
            self._end()
            self._line(f"trial {trial}: {facts['message']}")
        elif event in ("warning", "lost"):
            self._line(f"trial {trial}: {facts['message']}")
        elif event in ("epoch", "progress"):
            self._step(event, trial, facts)

    def _end(self) -> None:
        self.done += 1
        self.spent.append(time.monotonic() - self.trial_started)

    def _step(self, event: str, trial: int, facts: Mapping[str, Any]) -> None:
        if event == "epoch":
            self.epoch = (
                f"epoch {facts['epoch']}/{facts['epochs']} D {number(facts['distortion'])} R {number(facts['rate'])}"
            )
        elif not self.epoch.startswith("epoch"):
            self.epoch = f"{100 * facts.get('epoch', 0):.0f} % of the first epoch"
        evaluating = facts.get("phase") == "evaluation"
        phase = f"evaluating {facts['done']}/{facts['of']}" if evaluating else self.epoch
        share = facts.get("epoch", 0) / facts.get("epochs", 1)
        best = f", best NLL {number(self.best)}" if self.best is not None else ""
        text = f"{self.done}/{self.trials} trials{best} | trial {trial}: {phase}{self._left(share)}"
        if self.terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self.said_at > PIPE_SECONDS:
            self._line(text)

    def _left(self, share: float) -> str:
        """The time left: by the trials so far, or in the first one by the share of its epochs that is done."""
        running = time.monotonic() - self.trial_started
        if self.spent:
            mean = sum(self.spent) / len(self.spent)
            left = mean * (self.trials - self.done) - (min(running, mean) if share else 0)
        elif share > MIN_SHARE:
            left = running / share * self.trials - running
        else:
            return ""
        return f", about {duration(left)} left" if left > 0 else ""

    def _line(self, text: str) -> None:
        self.said_at = time.monotonic()
        print(("\r\x1b[K" if self.terminal else "") + text, file=sys.stderr, flush=True)
