"""A worker that reaches a server's REST API and not the database: `tuner worker --api URL`.

It is `worker.Worker` with the API in the place of the database: what it claims, renews, records and ends goes over `tuner.client`
under the same leases. Its files stay on its machine, so a trial that it loses begins anew, and there are no samples of it.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError

from tuner import client as api
from tuner.client import Client, Work
from tuner.errors import Clash, Fault, Interrupted, Missing, Usage
from tuner.forkserver import ForkServer
from tuner.metrics import METRICS
from tuner.space import Value
from tuner.storage.artifacts import Store
from tuner.storage.database import PATIENCE, Database
from tuner.studies.spec import StudySpec
from tuner.studies.study import Study
from tuner.studies.trials import OVER
from tuner.trainer import Slot
from tuner.workers.leases import Attempts, Claim, LeaseLost
from tuner.workers.places import Owner
from tuner.workers.worker import IDLE_SECONDS, Listen, Worker

R = TypeVar("R")
EPOCHS = 1000
"""that one request may report"""
FIGURES = ("epoch", "distortion", "rate", "neg_elbo", "active_units", "seconds")
ESTIMATED = "estimator"
QUICK_SECONDS = 15.0
"""that a lease's renewal may take: a hung server is none"""


class Away(DBAPIError):
    """The server has gone, or is too busy: to a worker what it is that a database has gone, and caught where that is."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(None, None, fault)
        self.fault = fault


class _Nowhere(Store):
    """No store: what would be published stays in the worker's folder, and goes with it."""

    def __init__(self) -> None:
        super().__init__("")

    def publish(self, folder: Path, generation: str, names: Sequence[str] = ()) -> None:
        """Nothing."""

    def keep(self, trial: str, generation: str) -> None:
        """Nothing."""

    def delete(self, path: str = "") -> None:
        """Nothing."""

    def write(self, key: str, content: bytes) -> None:
        """Nothing."""

    def is_there(self) -> bool:
        return True


class _Server(Database):
    """In the place of a database: no connection is held."""

    def __init__(self, client: Client) -> None:
        self.url = client.url

    def rest(self) -> None:
        """Nothing."""


class DistantStudy(Study):
    """A study as far as its worker needs it."""

    def __init__(self, server: _Server, found: api.Study) -> None:
        self.database, self.name, self.store = server, found["name"], _Nowhere()
        self.created_at = _seconds(found["created_at"])
        self.asked = StudySpec.of(found["spec"])
        self.run: dict[str, Any] = {}
        """what the trainer is given for the trial under way"""

    @property
    def spec(self) -> StudySpec:
        return self.asked

    def run_spec(self, number: int, params: Mapping[str, Value]) -> dict[str, Any]:
        del number, params
        return self.run

    def given(self, params: Mapping[str, Value]) -> dict[str, Value]:
        return dict(params)


class DistantAttempts(Attempts):
    """The attempts of one study over the API, as one worker makes them."""

    def __init__(self, study: DistantStudy, worker: str, device: str, client: Client) -> None:
        self.study, self.worker, self.database = study, worker, study.database
        self.device, self.client = device, client
        self.quick = client.within(QUICK_SECONDS)
        self.held = study
        self.poor: set[int] = set()
        """trials that the study's pruner ends"""
        self._works: dict[str, Work] = {}

    def claim(self, over: threading.Event | None = None, own: str | None = None) -> Claim | None:
        del over, own  # an ask has a token of its own, and the server says when it has waited for long
        work = _said(lambda: self.client.ask(self.held.name, self.worker, self.device))
        if work is None:
            return None
        self.held.run = work["specification"]
        self._works = {work["token"]: work}
        return Claim(
            self.held.name, work["number"], work["params"], work["token"], work["attempt"], None, work["seconds"],
            work["timeout"] or 0.0,
        )  # fmt: skip

    def renew(self, claim: Claim) -> str | None:
        return self._heard(claim, lambda work: self.quick.renew(claim.study, work), 0.0)

    def record(self, claim: Claim, epochs: Sequence[Mapping[str, Any]], patience: float | None = None) -> None:
        plain = [_epoch(figures) for figures in epochs]
        for first in range(0, len(plain), EPOCHS):
            part = plain[first : first + EPOCHS]
            try:
                self._report(claim, part, patience)
            except Usage:  # a training that goes astray has figures that cannot be; that it goes on is told
                self._report(claim, [{"epoch": epoch["epoch"]} for epoch in part], patience)

    def _report(self, claim: Claim, epochs: Sequence[Mapping[str, Any]], patience: float | None) -> None:
        self._heard(claim, lambda work: self.quick.report(claim.study, work, epochs), patience)

    def publish(self, claim: Claim, generation: str) -> None:
        """Nothing: the files stay here."""

    def finish(self, claim: Claim, state: str, **found: Any) -> None:
        if state == "pruned":
            self._told(claim, "pruned", message=found["message"])
            return
        metrics, cost = found["metrics"], found["cost"]
        facts: dict[str, Any] = {"metrics": _plain(metrics), "collapsed": metrics["collapsed"], **cost}
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
        del artifacts  # they stay here
        return self._told(claim, "failed", patience, reason=reason, message=message[:2000]) == "failed"

    def _told(self, claim: Claim, state: Any, patience: float | None = None, **facts: Any) -> str:
        work = self._works[claim.token]
        return _patiently(lambda: self.client.tell(claim.study, work, state, **facts), patience)

    def _heard(self, claim: Claim, tell: Callable[[Work], api.Stop], patience: float | None) -> str | None:
        told = _patiently(lambda: tell(self._works[claim.token]), patience)
        if told["reason"] == "pruned":
            self.poor.add(claim.number)
            return None
        return told["stop"]


class DistantWorker(Worker):
    """Trains trials of a server's studies, one at a time.

    Args:
        name: unique among all workers of the server; work, listen, slot, server: as of `Worker`.
    """

    def __init__(
        self, client: Client, name: str, work: Path, listen: Listen, slot: Slot | None = None,
        server: ForkServer | None = None, warn: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.client, self.there = client, _Server(client)
        super().__init__(self.there, name, work, listen, slot, server, warn)

    def __enter__(self) -> "DistantWorker":
        self.places.sweep(self._is_awaited)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Fault, Usage):  # it is lost within a minute then
            self.client.within(QUICK_SECONDS).leave(self.name)
        if self._own_server is not None:
            self._own_server.close()

    def _active(self, names: Sequence[str]) -> list[str]:
        found = sorted(self._listed(names), key=lambda study: study["counts"]["running"])
        self._waits.keep([study["name"] for study in found])
        return [study["name"] for study in found if self._waits.is_over(study["name"])]

    def _count(self, names: Sequence[str], states: Sequence[str]) -> int:
        return sum(study["counts"][state] for study in self._listed(names) for state in states)

    def _listed(self, names: Sequence[str]) -> list[api.Summary]:
        """Studies that hand out trials; a server that has gone is waited for, as long as a database would be."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                found = list(self.client.studies(state="active"))
            except Fault:
                if time.monotonic() > until:
                    raise
            else:
                return [study for study in found if not names or study["name"] in names]
            if self._over.wait(IDLE_SECONDS):
                raise Interrupted(*self._why)

    def _open(self, name: str) -> Study:
        return DistantStudy(self.there, self.client.study(name))

    def _is_awaited(self, owner: Owner) -> bool:
        try:
            study, (trial, _) = self.client.study(owner.study), self.client.trial(owner.study, owner.trial)
        except Missing:
            return False
        except Fault:  # nobody knows now
            return True
        return _seconds(study["created_at"]) == owner.created_at and trial.state not in OVER

    def _check(self) -> None:
        self._listed(())
        self.places.check()

    def _put_off(self, name: str, message: str) -> None:
        self._say(f"study {name}: {message} It is tried again in {self._waits.extend(name):.0f} s.")

    def _train_next(self, study: Study) -> bool:
        assert isinstance(study, DistantStudy)
        attempts = self._attempts[study.name] = DistantAttempts(study, self.name, self.slot.name, self.client)
        claim = attempts.claim(self._over)
        if claim is None:
            return False
        self.run_trial(study, attempts, claim)
        return True

    def _is_poor(self, study: Study, number: int) -> bool:
        attempts = self._attempts[study.name]
        assert isinstance(attempts, DistantAttempts)
        return number in attempts.poor


def _said(ask: Callable[[], R]) -> R:
    """An answer.

    Raises:
        Away: if the server has gone or cannot answer now.
    """
    try:
        return ask()
    except Fault as fault:
        raise Away(fault) from fault


def _patiently(tell: Callable[[], R], patience: float | None) -> R:
    """An answer to what only the holder of a trial may say, which is said again while the server is away: a result is not lost.

    Args:
        patience: seconds; None: a worker's.

    Raises:
        Away: if the server is away for longer.
        LeaseLost: if the trial is another worker's now, or gone with its study.
    """
    until = time.monotonic() + (PATIENCE if patience is None else patience)
    while True:
        try:
            return _said(tell)
        except (Clash, Missing) as error:
            raise LeaseLost(str(error)) from error
        except Away:
            if time.monotonic() >= until:
                raise
        time.sleep(IDLE_SECONDS)


def _seconds(moment: str) -> float:
    """Unix seconds of a time as the API writes it."""
    return datetime.fromisoformat(moment).timestamp()


def _epoch(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What a trainer reports of an epoch as the API takes it."""
    own = {key.removeprefix("objective_"): value for key, value in figures.items() if key.startswith("objective_")}
    told = {key: figures.get(key) for key in FIGURES}
    return {**told, "objective": {key: value for key, value in own.items() if value is None or _is_number(value)}}


def _plain(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {key: metrics[key] for key in METRICS if metrics.get(key) is not None}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
