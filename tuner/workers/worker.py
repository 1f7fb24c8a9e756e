"""A worker: takes trials of studies and trains each in a process of its own. A trial's whole life is `Worker.run_trial`.

What concerns one study alone, be it its sampler, its store or its record, makes that study wait (`tuner.studies.faults`), and the
worker goes on with others. It ends only when the database or its own folder cannot be used, or no trainer can be started.
"""

import json
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import DBAPIError

from trainers.contract import LOG
from tuner.errors import Fault, Interrupted, Unfit, Usage
from tuner.forkserver import ForkServer
from tuner.process import process_mark
from tuner.storage.artifacts import Damaged
from tuner.storage.database import PATIENCE
from tuner.studies import faults
from tuner.trainer import ALL, ENDS, Slot, Trainer, fork_server
from tuner.workers.claims import RETRIES, SETUP_FAULTS, Away, Broker, Claim, LeaseLost, Leases
from tuner.workers.gpu import Gauge
from tuner.workers.places import Owner, Place, Places
from tuner.workers.publishing import Publishing
from tuner.workers.watch import Watch

if TYPE_CHECKING:
    from tuner.studies.study import Study

R = TypeVar("R")
Listen = Callable[[str, Claim, Mapping[str, Any]], None]
"""Function that hears (event, claim, facts): claimed, the trainer's reports, and how the attempt ended."""

IDLE_SECONDS = 2.0


class Worker:
    """Trains trials, one at a time.

    Args:
        broker: tells what there is to do.
        work: a folder of this machine for the files of the trial under way.
        listen: hears what happens.
        slot: what its trainers may use.
        server: starts its trainers, those of other workers too; one of its own if none is given.
        warn: hears sentences about what is no trial's: why a study waits.
    """

    def __init__(
        self,
        broker: Broker,
        work: Path,
        listen: Listen,
        slot: Slot = ALL,
        server: ForkServer | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.broker, self.name = broker, broker.name
        self.places = Places(work)
        self._listen, self._warn = listen, warn
        self.slot = slot
        self._gauge = Gauge(self.slot)
        self._own_server = fork_server() if server is None else None
        self._server = server or self._own_server
        self._waits = faults.Waits()
        self._over = threading.Event()
        self._why = ("user", "stopped by the user.")
        self._watch: Watch | None = None

    def __enter__(self) -> "Worker":
        """Says that the worker is there, and gives back at once what an earlier worker of this name still held.

        Raises:
            Usage: if a worker of that name is at work.
        """
        self._reached(lambda: self.broker.enter(self.slot.name, self._pause, self._say))
        self.places.sweep(self.broker.address, self.broker.is_awaited)
        return self

    def __exit__(self, *_: object) -> None:
        self.broker.leave()
        if self._own_server is not None:
            self._own_server.close()

    def _pause(self, seconds: float) -> None:
        """
        Raises:
            Interrupted: if the worker is told to stop meanwhile.
        """
        if self._over.wait(seconds):
            raise Interrupted(*self._why)

    def stop(self, reason: str = "user", message: str = "stopped by the user.") -> None:
        """Saves and hands back the trial under way, and takes no other; called from another thread."""
        self._why = (reason, message)
        self._over.set()
        watch = self._watch
        if watch is not None:
            watch.end_if_due()

    def run(self, study: "Study") -> None:
        """Works on one study until none of its trials is left to be taken.

        Raises:
            Fault: if this machine cannot go on (a full disk); the trial under way is handed back.
        """
        self._work([study.name], ("waiting",))

    def serve(self, names: Sequence[str] = (), wait: bool = True) -> None:
        """Works on all active studies, or those named; the one with the fewest trials under way first.

        Returns when it is stopped, or unless `wait`, when all their trials are over: one under way may yet be handed back.

        Raises:
            Fault: as above.
        """
        self._work(names, None if wait else ("waiting", "running"))

    def _work(self, names: Sequence[str], awaited: Sequence[str] | None) -> None:
        """Works on these studies, or all, until no study waits and no trial is in an awaited state; None: until it is stopped."""
        while not self._over.is_set():
            if any(self._run_next(name) for name in self._active(names)):
                continue
            if awaited is not None and not self._waits and not self._reached(lambda: self.broker.count(names, awaited)):
                return
            self.broker.rest()
            self._over.wait(IDLE_SECONDS)

    def _active(self, names: Sequence[str]) -> list[str]:
        """Studies that hand out trials, but those that wait."""
        found = self._reached(lambda: self.broker.active(names))
        self._waits.keep(found)
        return [name for name in found if self._waits.is_over(name)]

    def _reached(self, ask: Callable[[], R]) -> R:
        """An answer of the broker; a server that has gone is waited for as long as a database would be."""
        until, told = time.monotonic() + PATIENCE, False
        while True:
            try:
                return ask()
            except Away as away:
                if time.monotonic() > until:
                    raise
                if not told:
                    self._say(f"{away} It is waited for, {PATIENCE / 60:.0f} minutes at most.")
                told = True
            self._pause(IDLE_SECONDS)

    def _run_next(self, name: str) -> bool:
        """Trains the study's next trial, if it has one. Whatever goes wrong with this study alone makes it wait."""
        try:
            leases = self.broker.open(name)
            claim = leases.claim(self._over)
            if claim is not None:
                self.run_trial(leases, claim)
        except Unfit:
            raise
        except Exception as error:
            self._check()
            self._put_off(name, faults.sentence(error))
            return False
        self._waits.end(name)
        return claim is not None

    def _check(self) -> None:
        """Tells a fault of the worker's own from a study's.

        Raises:
            Fault: if the database or this worker's folder cannot be used.
        """
        self._reached(self.broker.check)
        self.places.check()

    def _put_off(self, name: str, message: str) -> None:
        if self._reached(lambda: self.broker.blame(name, message)):
            self._say(f"study {name}: {message} It is tried again in {self._waits.extend(name):.0f} s.")
        else:  # it was deleted or stopped meanwhile
            self._waits.end(name)

    def _say(self, sentence: str) -> None:
        with suppress(OSError, ValueError):  # nobody listens any more
            self._warn(sentence)

    def _tell(self, event: str, claim: Claim, facts: Mapping[str, Any]) -> None:
        with suppress(OSError, ValueError):
            self._listen(event, claim, facts)

    def run_trial(self, leases: Leases, claim: Claim) -> None:
        """Fetch, train, report, publish, end. Whatever ends the worker, the trial stays with its newest checkpoint.

        A result that cannot be told is kept in the worker's folder, and told by the next attempt instead of training again.

        Raises:
            Fault: if something other than the trial is at fault; it is handed back.
        """
        self._tell("claimed", claim, {"params": claim.given, "seconds": claim.seconds})
        place, told, fault = self._take_place(leases, claim), False, None
        publishing = Publishing(leases, claim, place.folder, self._over.wait)
        try:
            with Watch(leases, claim, self._over.is_set, place.sign, self._gauge.read) as watch:
                self._watch = watch
                try:
                    self._prepare(claim, place, publishing)
                    spec, log = json.dumps(claim.spec), place.folder / LOG
                    with Trainer("train", spec, place.folder, log=log, slot=self.slot, server=self._server) as trainer:
                        watch.over(trainer)
                        end = self._follow(leases, claim, trainer, watch, publishing)
                    watch.over(None)
                    fault = self._conclude(leases, claim, end, watch, publishing)
                    told = True
                except Interrupted as interrupted:
                    files = None
                    with suppress(Fault, Usage):
                        files = publishing.all(checkpoint=True)
                    leases.fail(claim, *interrupted.why, files)
                    raise
                except LeaseLost:
                    raise
                except Exception as error:
                    self._hand_back(leases, claim, error)
                    raise
        except LeaseLost as lost:
            self._tell("lost", claim, {"message": str(lost)})
            told = not self.broker.is_awaited(place.owner)
        finally:
            self._watch = None
            place.leave(keep=not told)
        if fault is not None:
            raise fault

    def _take_place(self, leases: Leases, claim: Claim) -> Place:
        try:
            mark, broker = process_mark(os.getpid()), self.broker.address
            owner = Owner(mark, claim.study, leases.created_at, claim.number, broker)
            return self.places.take(owner, claim.token)
        except OSError as error:
            self._hand_back(leases, claim, error)
            raise

    def _hand_back(self, leases: Leases, claim: Claim, error: Exception) -> None:
        """Ends an attempt that something other than its trial ended; as far as that is possible."""
        reason, message = "disk" if isinstance(error, (Fault, OSError)) else "input", faults.sentence(error)
        with suppress(DBAPIError, LeaseLost, Fault, Usage):
            leases.fail(claim, reason, message, patience=0.0)
        self._tell("handed back", claim, {"reason": reason, "message": message})

    def _prepare(self, claim: Claim, place: Place, publishing: Publishing) -> None:
        """The trial's newest files, if it has any, in its folder; the store is tried first."""
        publishing.check()
        if claim.artifacts is not None and not place.is_finished:
            try:
                publishing.files.fetch(claim.artifacts, place.folder)
            except Damaged as damaged:
                self._tell("warning", claim, {"message": f"{damaged}: it is trained from its beginning"})

    def _follow(
        self,
        leases: Leases,
        claim: Claim,
        trainer: Trainer,
        watch: Watch,
        publishing: Publishing,
    ) -> Mapping[str, Any]:
        """Hears the trainer to its end; returns its last event."""
        untold: list[Mapping[str, Any]] = []
        end: Mapping[str, Any] = {}
        for end in trainer.events():
            watch.heard_at = time.monotonic()
            if end["event"] == "epoch":
                untold.append(end)
                with suppress(DBAPIError, Away):  # the training need not wait for a server that restarts
                    leases.record(claim, untold, patience=0.0)
                    untold.clear()
            if end["event"] in ("epoch", "progress"):
                publishing.now_and_then()
            if end["event"] not in ENDS:  # how the attempt ends is not the trainer's word alone
                self._tell(end["event"], claim, end)
            if end["event"] == "epoch" and end.get("settled", True) and leases.is_poor(claim):
                trainer.stop()
                break
        if untold:
            leases.record(claim, untold)
        return end

    def _conclude(
        self,
        leases: Leases,
        claim: Claim,
        end: Mapping[str, Any],
        watch: Watch,
        publishing: Publishing,
    ) -> Fault | None:
        """Ends the attempt as its trainer's last event, or what told the trainer to end, says; returns a fault of its set-up."""
        if end["event"] == "epoch":
            message = f"by {leases.pruner}, after epoch {end['epoch']} of {end['epochs']}."
            files = publishing.all(checkpoint=False)
            leases.finish(claim, "pruned", reason="pruned", message=message, artifacts=files)
            self._tell("pruned", claim, {"message": f"pruned {message}"})
            return None
        if end["event"] == "done":
            try:
                found = leases.outcome(end["metrics"])
                found["cost"] = {key: end[key] for key in ("epochs", "tokens_per_second", "seconds")}
            except (KeyError, TypeError) as error:
                reason, message = "error", f"the trainer's result is not whole ({error!r})."
            else:
                if all(value is not None and math.isfinite(value) for value in found["values"]):
                    files = publishing.all(checkpoint=False)
                    leases.finish(claim, "complete", **found, artifacts=files)
                    self._tell("complete", claim, end)
                    return None
                reason, message = "nan", "what the study judges its trials by is not a finite number."
        else:
            told = self._why if self._over.is_set() else None
            own = (end.get("reason", "error"), end.get("message", "the trainer failed without a word."))
            reason, message = watch.why or told or own
            reason = reason if reason in RETRIES else "error"
        files = publishing.all(checkpoint=RETRIES[reason] != 0)
        failed = leases.fail(claim, reason, message, files)
        self._tell("failed" if failed else "handed back", claim, {"reason": reason, "message": message})
        return Fault(f"trial {claim.number} stopped: {message}") if reason in SETUP_FAULTS else None
