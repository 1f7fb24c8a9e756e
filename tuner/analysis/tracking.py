"""A study's epochs and figures as they come, told to a tracker: a run for each trial, and one for the study above them.

What a tracker has been told is asked of the tracker itself, so that the same command goes on after an end of any kind and tells
nothing twice.
"""

import hashlib
import importlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Protocol

from tuner.errors import Missing, Usage
from tuner.metrics import FIGURES
from tuner.storage.tables import CURVES
from tuner.studies import answers
from tuner.studies.access import Studies
from tuner.studies.setting import seconds_of
from tuner.studies.trials import OVER, Trial

TRACKERS = {"mlflow": "mlflow-skinny", "wandb": "wandb"}
"""Modules beside this one, each an extra too, with the package that each needs."""

Scalars = dict[str, float]


@dataclass(frozen=True)
class About:
    """A run as it begins."""

    key: str
    """Key of the run, which a study or a trial keeps at any time."""
    name: str
    kind: str
    """Kind of the run: study or trial."""
    study: str
    settings: Mapping[str, Any]
    """Hyperparameters of a trial, or the definition of a study."""
    started: float
    """Unix time at which the run began."""
    parent: str | None = None
    """Key of the study's run."""


class Run(Protocol):
    """A run in a tracker."""

    step: int
    """Last step that the run has been told, 0 for none."""
    state: str | None
    """State that the run has been told at its end; None while it is open."""

    def log(self, step: int, scalars: Scalars, time: float) -> None:
        """Adds a step above the last one."""

    def end(self, state: str, scalars: Scalars, time: float, message: str) -> None:
        """Closes the run with its final figures."""

    def reopen(self) -> None:
        """Goes on with a run that was over; what it has to be told again is above `step`."""

    def leave(self) -> None:
        """Lets go of a run, over or not."""


class Tracker(Protocol):
    """A program that keeps runs."""

    place: str
    """Place of the runs, in words."""

    def open(self, about: About) -> Run:
        """The run of that key, made if there is none.

        Raises:
            Fault: if the tracker cannot be reached.
        """


def tracker(name: str, project: str) -> Tracker:
    """A tracker by its name.

    Raises:
        Usage: if there is no such one, or its package is not installed.
    """
    if name not in TRACKERS:
        raise Usage(f"--to {name!r} is unknown: choose {' or '.join(TRACKERS)}.")
    try:
        found: Tracker = importlib.import_module(f"tuner.analysis.{name}").Tracker(project)
    except ModuleNotFoundError as error:
        raise Usage(f"--to {name} needs the package {TRACKERS[name]}: pip install 'text-vae-tuner[{name}]'.") from error
    return found


def of_epoch(epoch: Mapping[str, Any]) -> Scalars:
    """An epoch's figures and its technique's own state, by their names in a tracker."""
    found = {f"epoch/{key}": epoch[key] for key in CURVES}
    return finite(found | {f"objective/{key}": value for key, value in epoch["objective"].items()})


def of_trial(metrics: Mapping[str, Any] | None) -> Scalars:
    """A finished trial's figures, by their names in a tracker."""
    return finite({f"trial/{key}": (metrics or {}).get(key) for key in FIGURES})


def finite(values: Mapping[str, Any]) -> Scalars:
    """The values that are finite numbers."""
    return {key: float(v) for key, v in values.items() if isinstance(v, int | float) and math.isfinite(v)}


class Following:
    """A study as a tracker is told of it.

    Args:
        name: of the study.
    """

    def __init__(self, studies: Studies, name: str, tracker: Tracker) -> None:
        self._studies, self._name, self._tracker = studies, name, tracker
        self._created = studies.study(name)["created_at"]
        self._revision = -1
        self._open: dict[int, Run] = {}
        self._told: dict[int, str] = {}
        self._whole: Run | None = None
        self.told = 0
        """Number of trials whose end has been told."""

    def look(self) -> bool:
        """Tells what is new; returns whether more may come.

        Raises:
            Missing: if the study has been deleted, or another has its name.
            Fault: if the tracker or the studies cannot be reached.
        """
        found = self._studies.study(self._name)
        if found["created_at"] != self._created:
            raise Missing(f"study {self._name} has been deleted and made anew: start this command again.")
        counts = found["counts"]
        unfinished = found["state"] == "active" or counts["running"] > 0
        if found["revision"] != self._revision or counts["running"]:
            trials = list(self._studies.trials(self._name))
            self._tell_study(found, trials, over=not unfinished)
            for trial in trials:
                self._tell_trial(trial)
            self._revision = found["revision"]
        return unfinished

    def close(self) -> None:
        """Lets go of all runs."""
        for run in [*self._open.values(), *([self._whole] if self._whole else [])]:
            run.leave()

    def _key(self, part: object = "") -> str:
        """Key of the study's run, or of a trial's."""
        text = f"{self._name} {self._created} {part}".strip()
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _tell_study(self, found: answers.Study, trials: list[Trial], over: bool) -> None:
        """Values in the order of their trials, as far as all before are over; the best trial at the end."""
        last = seconds_of(found["created_at"]) or 0.0
        if self._whole is None:
            settings = flat({**found["spec"], "entropy": found["entropy"], "vocabulary": found["vocabulary"]})
            self._whole = self._tracker.open(About(self._key(), self._name, "study", self._name, settings, last))
        run, lowest = self._whole, math.inf
        ended = takewhile(lambda trial: trial.state in OVER, trials)
        done = [(trial.number, trial.value) for trial in ended if trial.value is not None]
        newest = done[-1][0] + 1 if done else 0
        if run.state is not None and (run.state != found["state"] or newest > run.step):
            run.reopen()
        for number, value in done:
            lowest = min(lowest, value)
            if number + 1 > run.step:
                last = self._times(number)[1] or last
                shown = {"study/trial": number, "study/value": value, "study/lowest": lowest}
                run.log(number + 1, finite(shown), last)
        if over and run.state is None:
            best = found["best"]
            figures = finite({"best/trial": best["number"], "best/value": best["value"]}) if best else {}
            ends = [self._times(trial.number)[1] for trial in trials[-1:]]
            run.end(found["state"], figures, max([last, *filter(None, ends)]), found["why"] or "")

    def _tell_trial(self, trial: Trial) -> None:
        number = trial.number
        if trial.seconds is None or self._told.get(number) == trial.state:  # never begun, or told
            return
        started, ended = self._times(number)
        if number not in self._open:
            name, settings = f"{self._name}/{number}", flat(trial.hyperparameters)
            about = About(self._key(number), name, "trial", self._name, settings, started, self._key())
            self._open[number] = self._tracker.open(about)
        run = self._open[number]
        if run.state not in (None, trial.state):
            run.reopen()
        if run.state is None:
            self._tell_epochs(number, run, started)
        if trial.state not in OVER:
            return
        if run.state is None:
            run.end(
                trial.state,
                of_trial(trial.metrics) | finite({"trial/value": trial.value}),
                ended or started,
                trial.remark,
            )
            self.told += 1
        run.leave()
        self._told[number] = trial.state
        del self._open[number]

    def _tell_epochs(self, number: int, run: Run, started: float) -> None:
        for epoch in self._studies.epochs(self._name, number):
            if epoch["epoch"] > run.step:
                run.log(epoch["epoch"], of_epoch(epoch), started + (epoch["seconds"] or 0.0))

    def _times(self, number: int) -> tuple[float, float | None]:
        """Unix times at which a trial's first attempt began and its last one ended."""
        _, attempts = self._studies.trial(self._name, number)
        began = [seconds_of(each["started_at"]) for each in attempts]
        born = seconds_of(self._created) or 0.0
        return (began[0] if began else None) or born, seconds_of(attempts[-1]["ended_at"]) if attempts else None


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as trackers take them: numbers and texts; lists and tables as JSON, and nothing that is not set."""
    plain = {key: value for key, value in settings.items() if value not in (None, "", [], {})}
    return {
        key: value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)
        for key, value in plain.items()
    }
