"""A worker that reaches a server's REST API and not the database, `tuner worker --api URL`: the server's twins of what a worker
needs (`claims.py`). Claims, renewals, figures, files and ends go over `tuner.client`, under the same leases as all others'.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from trainers.contract import FILES
from tuner import client as api
from tuner.client import Client, Work
from tuner.errors import Clash, Fault, Missing, StoreFault, Usage
from tuner.metrics import METRICS, Metrics, figure
from tuner.storage.artifacts import Damaged, emptied, snapshot
from tuner.storage.database import PATIENCE
from tuner.storage.tables import TOLD
from tuner.studies import answers, objectives
from tuner.studies.setting import seconds_of
from tuner.studies.spec import StudySpec
from tuner.studies.trials import OVER
from tuner.workers.claims import AGAIN_SECONDS, ENTER_SECONDS, Away, Claim, LeaseLost, Stop
from tuner.workers.gpu import Load
from tuner.workers.places import Owner

R = TypeVar("R")
EPOCHS = 1000
"""Largest number of epochs that one request may report."""
ESTIMATED = "estimator"
QUICK_SECONDS = 15.0
"""Seconds that a lease's renewal may take, as a server that hangs counts as none."""
TICK = 0.002
"""Seconds by which times of the API, which have milliseconds, may differ and still be equal."""


class ServerFiles:
    """A trial's files in its study's store, which the server reads and writes."""

    def __init__(self, client: Client, claim: Claim, work: Work) -> None:
        self.client, self.claim, self.work = client, claim, work

    @property
    def address(self) -> str:
        return f"{self.client.url} for study {self.claim.study!r}"

    def probe(self, generation: str, newest: str | None) -> None:
        del newest  # the server knows it
        self._sent(lambda: self.client.close_files(self.claim.study, self.work, _short(generation), {}))

    def publish(self, folder: Path, generation: str, names: Sequence[str]) -> None:
        study = self.claim.study
        send = partial(self.client.send_file, study, self.work, _short(generation))
        with snapshot(folder, names) as files:
            found = {file.name: self._sent(partial(send, file)) for file in files}
        self._sent(lambda: self.client.close_files(study, self.work, _short(generation), found))

    def _sent(self, send: Callable[[], R]) -> R:
        try:
            return _held(send)
        except StoreFault as fault:
            raise OSError(str(fault)) from fault

    def fetch(self, generation: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with emptied(folder):
            found = _held(lambda: self.client.files(self.claim.study, self.work))
            if found is None or found["generation"] != _short(generation):
                raise Damaged(f"the server does not have {generation} any more")
            for name in found["files"].keys() & set(FILES):
                self._fetch(name, found, folder / name)

    def _fetch(self, name: str, found: api.Files, target: Path) -> None:
        study, generation = self.claim.study, found["generation"]
        try:
            came = _said(lambda: self.client.fetch_file(study, self.work, generation, name, target))
        except Missing as missing:
            raise Damaged(str(missing)) from missing
        except Clash as clash:
            raise LeaseLost(str(clash)) from clash
        if came != found["files"][name]:
            raise Damaged(f"{self.claim.folder}/{generation}/{name} is not what was published")


class ServerLeases:
    """One study's trials over the API."""

    def __init__(
        self, client: Client, found: answers.Study, worker: str, device: str, takes: Sequence[str] = ()
    ) -> None:
        self.client, self.worker, self.device, self.takes = client, worker, device, list(takes) or None
        self.quick = client.within(QUICK_SECONDS)
        self.study_name, self.created_at = found["name"], seconds_of(found["created_at"]) or 0.0
        self.spec = StudySpec.of(found["spec"])
        self._fixed = {p["name"]: self.spec.fixed[p["name"]] for p in found["space"] if p["name"] in self.spec.fixed}
        self._poor: set[str] = set()
        """Tokens of trials that the study's pruner ends."""
        self._works: dict[str, Work] = {}

    def claim(self, over: threading.Event | None = None) -> Claim | None:
        del over  # the server says soon when it has waited for long
        work = _said(lambda: self.client.ask(self.study_name, self.worker, self.device, self.takes))
        if work is None:
            return None
        self._works = {work["token"]: work}
        number, files = work["number"], work["files"]
        return Claim(
            study=self.study_name,
            number=number,
            params=work["params"],
            token=work["token"],
            attempt=work["attempt"],
            artifacts=None if files is None else f"{number:04d}/{files}",
            seconds=work["seconds"],
            timeout=work["timeout"] or 0.0,
            spec=work["specification"],
            given={**self._fixed, **work["params"]},
        )

    @property
    def pruner(self) -> str:
        return self.spec.pruner

    def files(self, claim: Claim) -> ServerFiles:
        return ServerFiles(self.client, claim, self._works[claim.token])

    def outcome(self, metrics: Metrics) -> dict[str, Any]:
        return objectives.outcome(self.spec.objective, metrics)

    def renew(self, claim: Claim, gpu: Load | None = None) -> Stop | None:
        told = self._heard(claim, lambda work: self.quick.renew(claim.study, work, gpu), 0.0)
        return None if told["stop"] is None else Stop(told["reason"] or "user", told["stop"])

    def record(self, claim: Claim, epochs: Sequence[Mapping[str, Any]], patience: float | None = None) -> None:
        plain = [_epoch(figures) for figures in epochs]
        for first in range(0, len(plain), EPOCHS):
            part = plain[first : first + EPOCHS]
            try:
                self._report(claim, part, patience)
            except Usage:  # a training that goes astray has figures that cannot be; that it goes on is told
                self._report(claim, [{"epoch": epoch["epoch"]} for epoch in part], patience)

    def _report(self, claim: Claim, epochs: Sequence[Mapping[str, Any]], patience: float | None) -> None:
        told = self._heard(claim, lambda work: self.quick.report(claim.study, work, epochs), patience)
        self._poor = {claim.token} if told["reason"] == "pruned" else set()

    def is_poor(self, claim: Claim) -> bool:
        return claim.token in self._poor

    def publish(self, claim: Claim, generation: str, patience: float | None = None) -> None:
        work = self._works[claim.token]
        _patiently(lambda: self.client.publish(claim.study, work, _short(generation)), patience)

    def finish(self, claim: Claim, state: str, **found: Any) -> None:
        files: dict[str, Any] = {"files": _short(found["artifacts"])} if found.get("artifacts") else {}
        if state == "pruned":
            self._told(claim, "pruned", message=found["message"], **files)
            return
        metrics, cost = found["metrics"], found["cost"]
        facts: dict[str, Any] = {"metrics": _plain(metrics), "collapsed": metrics["collapsed"], **cost, **files}
        facts[ESTIMATED] = metrics[ESTIMATED]
        if (test := metrics.get("test")) is not None:
            facts |= {"test": _plain(test), f"test_{ESTIMATED}": test[ESTIMATED]}
        try:
            self._told(claim, "complete", **facts)
        except Usage as refused:
            self._told(claim, "failed", reason="error", message=f"its figures were refused: {refused}"[:2000])
            raise LeaseLost(f"trial {claim.number} of study {claim.study!r} has failed: {refused}") from refused

    def fail(
        self, claim: Claim, reason: str, message: str, artifacts: str | None = None, patience: float | None = None
    ) -> bool:
        files: dict[str, Any] = {"files": _short(artifacts)} if artifacts else {}
        return self._told(claim, "failed", patience, reason=reason, message=message[:2000], **files) == "failed"

    def rest(self) -> None:
        """Each request has a connection of its own."""

    def _told(self, claim: Claim, state: Any, patience: float | None = None, **facts: Any) -> str:
        work = self._works[claim.token]
        return _patiently(lambda: self.client.tell(claim.study, work, state, **facts), patience)

    def _heard(self, claim: Claim, tell: Callable[[Work], api.Stop], patience: float | None) -> api.Stop:
        return _patiently(lambda: tell(self._works[claim.token]), patience)


class ServerBroker:
    """The broker of the worker of that name, over a server.

    Args:
        name: unique among all workers of the server.
    """

    def __init__(self, client: Client, name: str) -> None:
        self.client, self.name, self._device = client, name, "cpu"
        self._takes: Sequence[str] = ()

    @property
    def address(self) -> str:
        return self.client.url

    def enter(self, device: str, pause: Callable[[float], None], say: Callable[[str], None]) -> None:
        self._device, seen = device, None
        while (there := self._namesake()) is not None:
            if seen is None:
                say(f"worker {self.name!r} was at work just now: waiting until it is known to be gone.")
            elif seen != there["seen_at"]:
                raise Usage(f"worker {self.name!r} is at work for {self.client.url}: give this one another --name.")
            seen = there["seen_at"]
            pause(ENTER_SECONDS)

    def _namesake(self) -> dict[str, Any] | None:
        """Another worker of this name that may be at work."""
        found = _said(lambda: list(self.client.workers()))
        return next((w for w in found if w["name"] == self.name and w["state"] not in ("gone", "lost")), None)

    def leave(self) -> None:
        with suppress(Fault, Usage):  # it is lost within a minute then
            self.client.within(QUICK_SECONDS).leave(self.name)

    def active(self, names: Sequence[str]) -> list[str]:
        self._takes = names
        found = sorted(self._listed(names), key=lambda study: study["counts"]["running"])
        return [study["name"] for study in found]

    def count(self, names: Sequence[str], states: Sequence[str]) -> int:
        return sum(study["counts"][state] for study in self._listed(names) for state in states)

    def _listed(self, names: Sequence[str]) -> list[answers.Summary]:
        found = _said(lambda: list(self.client.studies(state="active")))
        return [study for study in found if not names or study["name"] in names]

    def open(self, study: str) -> ServerLeases:
        return ServerLeases(self.client, _said(lambda: self.client.study(study)), self.name, self._device, self._takes)

    def is_awaited(self, owner: Owner) -> bool:
        try:
            study, (trial, _) = self.client.study(owner.study), self.client.trial(owner.study, owner.trial)
        except Missing:
            return False
        except (Fault, Usage):  # nobody knows now
            return True
        return abs((seconds_of(study["created_at"]) or 0.0) - owner.created_at) < TICK and trial.state not in OVER

    def blame(self, study: str, message: str) -> bool:
        """The server has counted it, with the ask that failed or the trial that was handed back."""
        del message
        try:
            return _said(lambda: self.client.study(study))["state"] == "active"
        except Missing:
            return False

    def check(self) -> None:
        self._listed(())

    def rest(self) -> None:
        """Each request has a connection of its own."""


def _said(ask: Callable[[], R]) -> R:
    """An answer.

    Raises:
        Away: if the server has gone or cannot answer now.
    """
    try:
        return ask()
    except StoreFault:
        raise
    except Fault as fault:
        raise Away(str(fault)) from fault


def _held(ask: Callable[[], R]) -> R:
    """An answer to what only the holder of a trial may say.

    Raises:
        Away: as above.
        LeaseLost: if the trial is another worker's now, or gone with its study.
    """
    try:
        return _said(ask)
    except (Clash, Missing) as error:
        raise LeaseLost(str(error)) from error


def _patiently(tell: Callable[[], R], patience: float | None) -> R:
    """Returns the answer of `tell`, which is asked again while the server is away, so that no result is lost.

    Args:
        patience: seconds; None: a worker's.
    """
    until = time.monotonic() + (PATIENCE if patience is None else patience)
    while True:
        try:
            return _held(tell)
        except Away:
            if time.monotonic() >= until:
                raise
        time.sleep(AGAIN_SECONDS)


def _short(generation: str) -> str:
    """A generation's name without its trial's folder."""
    return generation.rpartition("/")[2]


def _epoch(figures: Mapping[str, Any]) -> dict[str, Any]:
    """An epoch's report by a trainer, as the API takes it."""
    own = {key.removeprefix("objective_"): value for key, value in figures.items() if key.startswith("objective_")}
    told = {key: figures.get(key) for key in TOLD}
    return {**told, "objective": {key: value for key, value in own.items() if value is None or _is_number(value)}}


def _plain(metrics: Metrics) -> dict[str, Any]:
    return {key: value for key in METRICS if (value := figure(metrics, key)) is not None}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
