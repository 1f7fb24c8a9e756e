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
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from trainers.contract import LOG
from tuner import __version__
from tuner.errors import Fault, Interrupted, Unfit, Usage
from tuner.forkserver import ForkServer
from tuner.process import HOST, is_dead, is_here, process_mark
from tuner.storage.artifacts import Damaged
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow, TrialRow, WorkerRow
from tuner.studies import faults
from tuner.studies.pruners import PRUNERS, none
from tuner.studies.study import Study, open_study
from tuner.trainer import Slot, Trainer, fork_server
from tuner.workers.curves import Curves
from tuner.workers.leases import LEASE_SECONDS, RETRIES, SETUP_FAULTS, Attempts, Claim, LeaseLost
from tuner.workers.places import Owner, Place, Places, is_awaited
from tuner.workers.publishing import Publishing
from tuner.workers.watch import Watch

Listen = Callable[[str, Claim, Mapping[str, Any]], None]
"""hears (event, claim, facts): claimed, what the trainer reports, and how the attempt ended"""

IDLE_SECONDS = 2.0
ENTER_SECONDS = 1.0
"""between looks at another worker of one's name that may have gone"""
FORGET_SECONDS = 86_400.0
"""after which workers that have gone are no longer listed"""


class Worker:
    """Trains trials, one at a time.

    Args:
        name: unique among all workers of the database; who comes back under a name gets its unfinished trial again.
        work: a folder of this machine for the files of the trial under way.
        listen: hears what happens.
        slot: what its trainers may use.
        server: starts its trainers, those of other workers too; one of its own if none is given.
        warn: hears sentences about what is no trial's: why a study waits.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        work: Path,
        listen: Listen,
        slot: Slot | None = None,
        server: ForkServer | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.database, self.name = database, name
        self.places = Places(work)
        self._listen, self._warn = listen, warn
        self.slot = slot or Slot()
        self._own_server = fork_server() if server is None else None
        self._server = server or self._own_server
        self._attempts: dict[str, Attempts] = {}
        self._curves: dict[str, Curves] = {}
        self._waits = faults.Waits()
        self._over = threading.Event()
        self._why = ("user", "stopped by the user.")
        self._watch: Watch | None = None

    def __enter__(self) -> "Worker":
        """Enters the table of workers, and gives back at once what an earlier worker of this name still held.

        Raises:
            Usage: if a worker of that name is at work.
        """
        seen: tuple[str, float] | None = None
        while (there := self.database.run(self._enter)) is not None:
            if seen is None and not is_here(there.process):
                self._say(
                    f"worker {self.name!r} was at work on {there.host} just now: waiting until it is known to be gone."
                )
            elif is_here(there.process) or seen != (there.process, there.seen_at):
                raise Usage(
                    f"worker {self.name!r} is at work on {there.host} (process {there.process.split(':')[0]}): "
                    "give this one another --name."
                )
            seen = (there.process, there.seen_at)
            if self._over.wait(ENTER_SECONDS):
                raise Interrupted(*self._why)
        self.places.sweep(self._is_awaited)
        return self

    def _enter(self, session: Session) -> WorkerRow | None:
        """Enters the worker, unless another one of its name seems to be at work, which is returned."""
        now, mark = self.database.clock(session), process_mark(os.getpid())
        session.execute(delete(WorkerRow).where(WorkerRow.state == "gone", WorkerRow.seen_at < now - FORGET_SECONDS))
        row = session.get(WorkerRow, self.name, with_for_update=True)
        another = row is not None and row.state != "gone" and row.process != mark and not is_dead(row.process)
        if row is not None and another and (is_here(row.process) or now - row.seen_at < LEASE_SECONDS):
            return row
        held = update(TrialRow).where(TrialRow.worker == self.name, TrialRow.state == "running")
        session.execute(held.values(lease_until=0.0))
        facts = {"host": HOST, "process": mark, "device": self.slot.name, "state": "idle", "version": __version__}
        session.merge(WorkerRow(name=self.name, started_at=now, seen_at=now, trials=0, study=None, trial=None, **facts))
        return None

    def __exit__(self, *_: object) -> None:
        def leave(session: Session) -> None:
            gone = {"state": "gone", "study": None, "trial": None, "seen_at": self.database.clock(session)}
            session.execute(update(WorkerRow).where(WorkerRow.name == self.name).values(**gone))

        with suppress(DBAPIError, Fault):
            self.database.run(leave, patience=0.0)
        self.database.rest()
        if self._own_server is not None:
            self._own_server.close()

    def stop(self, reason: str = "user", message: str = "stopped by the user.") -> None:
        """From another thread: saves and hands back the trial under way, and takes no other."""
        self._why = (reason, message)
        self._over.set()
        watch = self._watch
        if watch is not None:
            watch.end_if_due()

    def run(self, study: Study) -> None:
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
            if awaited is not None and not self._waits and not self._count(names, awaited):
                return
            self.database.rest()
            self._over.wait(IDLE_SECONDS)

    def _active(self, names: Sequence[str]) -> list[str]:
        """Studies that hand out trials, but those that wait."""
        running = select(func.count()).where(TrialRow.study == StudyRow.name, TrialRow.state == "running")
        query = select(StudyRow.name).where(StudyRow.state == "active")
        query = query.order_by(running.scalar_subquery(), StudyRow.created_at)
        if names:
            query = query.where(StudyRow.name.in_(names))

        def look(session: Session) -> list[str]:
            now = self.database.clock(session)
            session.execute(update(WorkerRow).where(WorkerRow.name == self.name).values(seen_at=now))
            return list(session.scalars(query))

        found = self.database.run(look)
        self._waits.keep(found)
        return [name for name in found if self._waits.is_over(name)]

    def _count(self, names: Sequence[str], states: Sequence[str]) -> int:
        """Trials of active studies in these states."""
        query = select(func.count()).select_from(TrialRow).join(StudyRow, StudyRow.name == TrialRow.study)
        query = query.where(StudyRow.state == "active", TrialRow.state.in_(states))
        if names:
            query = query.where(StudyRow.name.in_(names))
        return self.database.read(lambda session: session.execute(query).scalar_one())

    def _run_next(self, name: str) -> bool:
        """Trains the study's next trial, if it has one. Whatever goes wrong with this study alone makes it wait."""
        try:
            trained = self._train_next(self._open(name))
        except Unfit:
            raise
        except Exception as error:
            self._check()
            self._put_off(name, faults.sentence(error))
            return False
        self._waits.end(name)
        return trained

    def _open(self, name: str) -> Study:
        return open_study(self.database, name)

    def _is_awaited(self, owner: Owner) -> bool:
        """Whether the trial of a place is there and not over."""
        return is_awaited(self.database, owner)

    def _check(self) -> None:
        """Tells a fault of the worker's own from a study's.

        Raises:
            Fault: if the database or this worker's folder cannot be used.
        """
        seen = update(WorkerRow).where(WorkerRow.name == self.name)
        self.database.run(lambda s: s.execute(seen.values(seen_at=self.database.clock(s))), patience=0.0)
        self.places.check()

    def _put_off(self, name: str, message: str) -> None:
        if faults.tell(self.database, name, message):
            self._say(f"study {name}: {message} It is tried again in {self._waits.extend(name):.0f} s.")
        else:  # it was deleted or stopped meanwhile
            self._waits.end(name)

    def _say(self, sentence: str) -> None:
        with suppress(OSError, ValueError):  # nobody listens any more
            self._warn(sentence)

    def _tell(self, event: str, claim: Claim, facts: Mapping[str, Any]) -> None:
        with suppress(OSError, ValueError):
            self._listen(event, claim, facts)

    def _train_next(self, study: Study) -> bool:
        attempts = self._attempts.get(study.name)
        if attempts is None or attempts.study.created_at != study.created_at:  # another one of that name
            attempts = self._attempts[study.name] = Attempts(study, self.name)
            self._curves[study.name] = Curves(study)
        attempts.study = study  # its rules may have changed
        claim = attempts.claim(self._over)
        if claim is None:
            return False
        self.run_trial(study, attempts, claim)
        return True

    def run_trial(self, study: Study, attempts: Attempts, claim: Claim) -> None:
        """Fetch, train, report, publish, end. Whatever ends the worker, the trial stays with its newest checkpoint.

        A result that cannot be told is kept in the worker's folder, and told by the next attempt instead of training again.

        Raises:
            Fault: if something other than the trial is at fault; it is handed back.
        """
        self._tell("claimed", claim, {"params": study.given(claim.params)})
        place, told, fault = self._take_place(study, attempts, claim), False, None
        publishing = Publishing(study.store, attempts, claim, place.folder)
        try:
            with Watch(attempts, claim, self._over.is_set, place.sign) as watch:
                self._watch = watch
                try:
                    self._prepare(study, claim, place, publishing)
                    spec = json.dumps(study.run_spec(claim.number, claim.params))
                    log = place.folder / LOG
                    with Trainer("train", spec, place.folder, log=log, slot=self.slot, server=self._server) as trainer:
                        watch.over(trainer)
                        end = self._follow(study, attempts, claim, trainer, watch, publishing)
                    watch.over(None)
                    fault = self._conclude(study, attempts, claim, end, watch, publishing)
                    told = True
                except Interrupted:
                    files = None
                    with suppress(Fault):
                        files = publishing.all(checkpoint=True)
                    attempts.fail(claim, "user", "stopped by the user.", files)
                    raise
                except LeaseLost:
                    raise
                except Exception as error:
                    self._hand_back(attempts, claim, error)
                    raise
        except LeaseLost as lost:
            self._tell("lost", claim, {"message": str(lost)})
            told = not self._is_awaited(place.owner)
        finally:
            self._watch = None
            place.leave(keep=not told)
        if fault is not None:
            raise fault

    def _take_place(self, study: Study, attempts: Attempts, claim: Claim) -> Place:
        try:
            return self.places.take(study, claim, process_mark(os.getpid()))
        except OSError as error:
            self._hand_back(attempts, claim, error)
            raise

    def _hand_back(self, attempts: Attempts, claim: Claim, error: Exception) -> None:
        """Ends an attempt that something other than its trial ended; as far as that is possible."""
        reason, message = "disk" if isinstance(error, (Fault, OSError)) else "input", faults.sentence(error)
        with suppress(DBAPIError, LeaseLost, Fault):
            attempts.fail(claim, reason, message, patience=0.0)
        self._tell("handed back", claim, {"reason": reason, "message": message})

    def _prepare(self, study: Study, claim: Claim, place: Place, publishing: Publishing) -> None:
        """The trial's newest files, if it has any, in its folder; the store is tried first."""
        publishing.check()
        if claim.artifacts is not None and not place.is_finished:
            try:
                study.store.fetch(claim.artifacts, place.folder)
            except Damaged as damaged:
                self._tell("warning", claim, {"message": f"{damaged}: it is trained from its beginning"})

    def _follow(
        self,
        study: Study,
        attempts: Attempts,
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
                with suppress(DBAPIError):  # the training need not wait for a server that restarts
                    attempts.record(claim, untold, patience=0.0)
                    untold.clear()
            if end["event"] in ("epoch", "progress"):
                publishing.now_and_then()
            self._tell(end["event"], claim, end)
            if end["event"] == "epoch" and end.get("settled", True) and self._is_poor(study, claim.number):
                trainer.stop()
                break
        if untold:
            attempts.record(claim, untold)
        return end

    def _conclude(
        self,
        study: Study,
        attempts: Attempts,
        claim: Claim,
        end: Mapping[str, Any],
        watch: Watch,
        publishing: Publishing,
    ) -> Fault | None:
        """Ends the attempt as its trainer's last event, or what told the trainer to end, says; returns a fault of its set-up."""
        if end["event"] == "epoch":
            message = f"by {study.spec.pruner}, after epoch {end['epoch']} of {end['epochs']}."
            files = publishing.all(checkpoint=False)
            attempts.finish(claim, "pruned", reason="pruned", message=message, artifacts=files)
            publishing.tidy(files)
            self._tell("pruned", claim, {"message": f"pruned {message}"})
            return None
        if end["event"] == "done":
            try:
                found = study.outcome(end["metrics"])
                found["cost"] = {key: end[key] for key in ("epochs", "tokens_per_second", "seconds")}
            except (KeyError, TypeError) as error:
                reason, message = "error", f"the trainer's result is not whole ({error!r})."
            else:
                if all(value is not None and math.isfinite(value) for value in found["values"]):
                    files = publishing.all(checkpoint=False)
                    attempts.finish(claim, "complete", **found, artifacts=files)
                    publishing.tidy(files)
                    self._tell("complete", claim, end)
                    return None
                reason, message = "nan", "what the study judges its trials by is not a finite number."
        else:
            told = self._why if self._over.is_set() else None
            own = (end.get("reason", "error"), end.get("message", "the trainer failed without a word."))
            reason, message = watch.why or told or own
            reason = reason if reason in RETRIES else "error"
        files = publishing.all(checkpoint=RETRIES[reason] != 0)
        failed = attempts.fail(claim, reason, message, files)
        publishing.tidy(files)
        self._tell("failed" if failed else "handed back", claim, {"reason": reason, "message": message})
        return Fault(f"trial {claim.number} stopped: {message}") if reason in SETUP_FAULTS else None

    def _is_poor(self, study: Study, number: int) -> bool:
        prune = PRUNERS[study.spec.pruner]
        if prune is none:
            return False
        curves = {curve.number: curve for curve in self._curves[study.name].follow()}
        mine = curves.pop(number, None)
        return mine is not None and prune(mine, list(curves.values()))
