"""A worker: takes trials of a study and trains each in a process of its own. A trial's whole life is `run_trial`."""

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tuner.attempts import Attempts, LeaseLost
from tuner.database import AttemptRow
from tuner.errors import Fault, Interrupted
from tuner.pruners import PRUNERS, none
from tuner.studies import Study
from tuner.trainer import Trainer

Listen = Callable[[str, int, Mapping[str, Any]], None]
"""hears (event, trial number, facts): claimed, what the trainer reports, finished or failed"""

OWN_FAULT = ("nan", "oom", "error")
"""reasons that are the trial's own: it fails, and the study goes on with others"""
MAX_FAILURES = 3
"""trials in a row that may end with `error` before the worker gives up: then it is the set-up that is broken"""


class Worker:
    """Works on one study until its budget is spent."""

    def __init__(self, study: Study, listen: Listen) -> None:
        self.study, self.listen, self.attempts = study, listen, Attempts(study)
        self.errors_in_a_row = 0

    def run(self) -> None:
        """Takes trials until none is left.

        Raises:
            Fault: if the set-up is broken (a full disk, a vanished corpus); the trial under way is handed back.
        """
        while (claimed := self.attempts.claim()) is not None:
            self.run_trial(*claimed)

    def run_trial(self, trial: FrozenTrial, attempt: AttemptRow) -> None:
        """Train, report, tell. Whatever ends the worker, the trial stays with its checkpoint for the next one."""
        folder = self.study.run_folder(trial.number)
        spec = self.study.run_spec(trial.number, trial.params)
        self.listen("claimed", trial.number, {"params": trial.params})
        end: dict[str, Any] = {}
        try:
            log = folder / "trainer.log"
            with self.attempts.kept(attempt), Trainer("train", json.dumps(spec), folder, log=log) as trainer:
                for event in trainer.events():
                    self.attempts.renew(attempt)
                    if event["event"] == "epoch":
                        self.attempts.record(attempt, event)
                    self.listen(event["event"], trial.number, event)
                    end = event
                    if event["event"] == "epoch" and self._is_poor(trial.number):
                        trainer.stop()
                        break
            if end["event"] == "epoch":
                self._prune(trial, attempt, end)
            elif end["event"] == "done":
                self._finish(trial, attempt, end)
            else:
                self._fail(trial, attempt, end["reason"], end["message"])
        except LeaseLost as lost:
            self.listen("lost", trial.number, {"message": str(lost)})
        except Fault as fault:
            with suppress(LeaseLost):
                self.attempts.end(attempt, "interrupted", "error", str(fault))
            raise
        except Interrupted:
            with suppress(LeaseLost):  # it may have ended just before
                self.attempts.end(attempt, "interrupted", "user", "stopped by the user.")
            raise

    def _is_poor(self, number: int) -> bool:
        prune = PRUNERS[self.study.specification["pruner"]]
        if prune is none:
            return False
        curves = {curve.number: curve for curve in self.study.curves()}
        mine = curves.pop(number, None)
        return mine is not None and prune(mine, list(curves.values()))

    def _prune(self, trial: FrozenTrial, attempt: AttemptRow, last: Mapping[str, Any]) -> None:
        message = f"by {self.study.specification['pruner']}, after epoch {last['epoch']} of {last['epochs']}."
        self._tell(trial, attempt, TrialState.PRUNED, None, {})
        self.attempts.end(attempt, "finished", "pruned", message)
        self.listen("pruned", trial.number, {"message": f"pruned {message}"})
        self.errors_in_a_row = 0

    def _finish(self, trial: FrozenTrial, attempt: AttemptRow, result: Mapping[str, Any]) -> None:
        metrics = result["metrics"]
        if metrics["nll"] is None or not math.isfinite(metrics["nll"]):
            self._fail(trial, attempt, "nan", "the evaluation's NLL is not a finite number.")
            return
        cost = {
            "epochs": result["epochs"],
            "tokens_per_second": result["tokens_per_second"],
            "seconds": result["seconds"],
        }
        shortfall = max(self.study.specification["min_rate"] - (metrics["rate"] or 0.0), 0.0)
        values = [metrics["nll"] + shortfall]
        if self.study.specification["objective"] == "nll,rate":
            values.append(metrics["rate"])
        self._tell(trial, attempt, TrialState.COMPLETE, values, {"metrics": metrics, "cost": cost})
        self.attempts.end(attempt, "finished")
        self.errors_in_a_row = 0

    def _fail(self, trial: FrozenTrial, attempt: AttemptRow, reason: str, message: str) -> None:
        if reason in OWN_FAULT:
            self._tell(trial, attempt, TrialState.FAIL, None, {"reason": reason, "message": message})
            self.attempts.end(attempt, "failed", reason, message)
            self.errors_in_a_row = self.errors_in_a_row + 1 if reason == "error" else 0
            if self.errors_in_a_row >= MAX_FAILURES:
                raise Fault(f"{MAX_FAILURES} trials in a row failed, the last because {message}")
            return
        self.attempts.end(attempt, "lost" if reason == "lost" else "interrupted", reason, message)
        if reason in ("disk", "input"):
            raise Fault(f"trial {trial.number} stopped: {message} The same command goes on with it.")

    def _tell(
        self,
        trial: FrozenTrial,
        attempt: AttemptRow,
        state: TrialState,
        values: list[float] | None,
        facts: Mapping[str, Any],
    ) -> None:
        """Told while the lease holds and before the attempt ends, so that nobody sees a trial that is neither held nor over."""
        self.attempts.renew(attempt)
        study = self.study.optuna()
        for key, content in facts.items():
            study._storage.set_trial_user_attr(trial._trial_id, key, content)
        study.tell(trial.number, values, state, skip_if_finished=True)
