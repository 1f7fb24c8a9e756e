"""A worker: takes trials of studies and trains each in a process of its own. A trial's whole life is `Worker.run_trial`."""

import json
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tuner import __version__
from tuner.artifacts import CHECKPOINT, FILES, LOG, Damaged
from tuner.attempts import LEASE_SECONDS, RETRIES, SETUP_FAULTS, Attempts, Claim, LeaseLost
from tuner.curves import Curves
from tuner.database import Database
from tuner.errors import Fault, Interrupted, Usage
from tuner.forkserver import ForkServer
from tuner.process import HOST, is_alive, process_mark
from tuner.pruners import PRUNERS, none
from tuner.studies import Study, open_study
from tuner.tables import StudyRow, TrialRow, WorkerRow
from tuner.trainer import STOP_SECONDS, Trainer, fork_server

Listen = Callable[[str, Claim, Mapping[str, Any]], None]
"""hears (event, claim, facts): claimed, what the trainer reports, and how the attempt ended"""

BEAT_SECONDS = 10.0
"""between renewals of a lease, which is also how soon a worker hears that its study was stopped"""
SILENCE_SECONDS = 1800.0
"""without a word, after which a trainer counts as hung; evaluations report as they go"""
PUBLISH_SECONDS = 30.0
"""at most so often a trial's checkpoint is published"""
IDLE_SECONDS = 2.0
FORGET_SECONDS = 86_400.0
"""after which workers that have gone are no longer listed"""
OWNER = "owner"


@dataclass(frozen=True)
class Slot:
    """What one worker's trainers may use of a machine."""

    name: str = "cpu"
    environment: Mapping[str, str] = field(default_factory=dict)
    memory: int = 0
    """bytes of data a trainer may have; 0: no limit"""
    threads: int | None = None
    """of a trainer; None: as the environment says, else 1"""


class Worker:
    """Trains trials, one at a time.

    Args:
        name: unique among all workers of the database; who comes back under a name gets its unfinished trial again.
        work: a folder of this machine for the files of the trial under way.
        listen: hears what happens.
        slot: what its trainers may use.
        server: starts its trainers, those of other workers too; one of its own if none is given.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        work: Path,
        listen: Listen,
        slot: Slot | None = None,
        server: ForkServer | None = None,
    ) -> None:
        self.database, self.name, self.work, self.listen = database, name, work, listen
        self.slot = slot or Slot()
        self._own_server = fork_server() if server is None else None
        self._server = server or self._own_server
        self._attempts: dict[str, Attempts] = {}
        self._curves: dict[str, Curves] = {}
        self._over = threading.Event()
        self._why = ("user", "stopped by the user.")
        self._trainer: Trainer | None = None

    def __enter__(self) -> "Worker":
        """Enters the table of workers, and gives back at once what an earlier worker of this name still held.

        Raises:
            Usage: if a worker of that name is at work.
        """
        mark = process_mark(os.getpid())

        def enter(session: Session) -> None:
            now = self.database.clock(session)
            session.execute(
                delete(WorkerRow).where(WorkerRow.state == "gone", WorkerRow.seen_at < now - FORGET_SECONDS)
            )
            row = session.get(WorkerRow, self.name, with_for_update=True)
            if row is not None and row.state != "gone" and (row.host, row.process) != (HOST, mark):
                alive = is_alive(row.process) if row.host == HOST else now - row.seen_at < LEASE_SECONDS
                if alive:
                    raise Usage(
                        f"worker {self.name!r} is at work on {row.host} (process {row.process.split(':')[0]}): "
                        "give this one another --name."
                    )
            held = update(TrialRow).where(TrialRow.worker == self.name, TrialRow.state == "running")
            session.execute(held.values(lease_until=0.0))
            facts = {"host": HOST, "process": mark, "device": self.slot.name, "state": "idle", "version": __version__}
            session.merge(
                WorkerRow(name=self.name, started_at=now, seen_at=now, trials=0, study=None, trial=None, **facts)
            )

        self.database.run(enter)
        _sweep(self.work)
        return self

    def __exit__(self, *_: object) -> None:
        def leave(session: Session) -> None:
            gone = {"state": "gone", "study": None, "trial": None, "seen_at": self.database.clock(session)}
            session.execute(update(WorkerRow).where(WorkerRow.name == self.name).values(**gone))

        with suppress(DBAPIError):
            self.database.run(leave)
        self.database.rest()
        if self._own_server is not None:
            self._own_server.close()

    def stop(self, reason: str = "user", message: str = "stopped by the user.") -> None:
        """From another thread: saves and hands back the trial under way, and takes no other."""
        self._why = (reason, message)
        self._over.set()
        trainer = self._trainer
        if trainer is not None:
            trainer.tell_to_stop()

    def run(self, study: Study) -> None:
        """Works on one study until none of its trials is left to be taken.

        Raises:
            Fault: if the set-up is broken (a full disk, a vanished corpus); the trial under way is handed back.
        """
        while not self._over.is_set() and self._run_next(study):
            pass

    def serve(self, names: Sequence[str] = (), wait: bool = True) -> None:
        """Works on all active studies, or those named; the one with the fewest trials under way first.

        Returns when it is stopped, or unless `wait`, when all their trials are over: one under way may yet be handed back.
        """
        while not self._over.is_set():
            if not any(self._run_next(open_study(self.database, name)) for name in self._active(names)):
                if not wait and not self._under_way(names):
                    return
                self.database.rest()
                self._over.wait(IDLE_SECONDS)

    def _active(self, names: Sequence[str]) -> list[str]:
        """Studies that hand out trials."""
        running = select(func.count()).where(TrialRow.study == StudyRow.name, TrialRow.state == "running")
        query = select(StudyRow.name).where(StudyRow.state == "active")
        query = query.order_by(running.scalar_subquery(), StudyRow.created_at)
        if names:
            query = query.where(StudyRow.name.in_(names))

        def look(session: Session) -> list[str]:
            now = self.database.clock(session)
            session.execute(update(WorkerRow).where(WorkerRow.name == self.name).values(seen_at=now))
            return list(session.scalars(query))

        return self.database.run(look)

    def _under_way(self, names: Sequence[str]) -> int:
        query = select(func.count()).select_from(TrialRow).join(StudyRow, StudyRow.name == TrialRow.study)
        query = query.where(StudyRow.state == "active", TrialRow.state.in_(("running", "waiting")))
        if names:
            query = query.where(StudyRow.name.in_(names))
        return self.database.read(lambda session: session.execute(query).scalar_one())

    def _run_next(self, study: Study) -> bool:
        """Trains the study's next trial, if it has one."""
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
        """Fetch, train, report, publish, end. Whatever ends the worker, the trial stays with its newest checkpoint."""
        work = self.work / f"{study.name}-{claim.folder}-{claim.token[:8]}"
        spec = study.run_spec(claim.number, claim.params)
        self.listen("claimed", claim, {"params": study.given(claim.params)})
        published = _Published(study, attempts, claim, work)
        try:
            try:
                self._prepare(study, claim, work)
                with (
                    Trainer(
                        "train", json.dumps(spec), work, log=work / LOG, slot=self.slot, server=self._server
                    ) as trainer,
                    self._watched(attempts, claim, trainer) as watch,
                ):
                    end = self._follow(study, attempts, claim, trainer, watch, published)
                self._conclude(study, attempts, claim, end, watch, published)
            except (Fault, OSError) as fault:
                attempts.fail(claim, "disk", str(fault))
                raise fault if isinstance(fault, Fault) else _disk(claim, fault) from fault
            except Interrupted:
                files = None
                with suppress(OSError):
                    files = published.all(checkpoint=True)
                attempts.fail(claim, "user", "stopped by the user.", files)
                raise
        except LeaseLost as lost:
            self.listen("lost", claim, {"message": str(lost)})
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _prepare(self, study: Study, claim: Claim, work: Path) -> None:
        """The work folder, with the trial's newest files if it has any."""
        work.mkdir(parents=True, exist_ok=True)
        (work / OWNER).write_text(f"{HOST} {process_mark(os.getpid())}", encoding="utf-8")
        if claim.artifacts is not None:
            try:
                study.store.fetch(claim.artifacts, work)
            except Damaged as damaged:
                self.listen("warning", claim, {"message": f"{damaged}: it is trained from its beginning"})

    def _follow(
        self,
        study: Study,
        attempts: Attempts,
        claim: Claim,
        trainer: Trainer,
        watch: "_Watch",
        published: "_Published",
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
                published.now_and_then()
            self.listen(end["event"], claim, end)
            if end["event"] == "epoch" and self._is_poor(study, claim.number):
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
        watch: "_Watch",
        published: "_Published",
    ) -> None:
        """Ends the attempt as its trainer's last event, or what told the trainer to end, says."""
        if end["event"] == "epoch":
            message = f"by {study.specification['pruner']}, after epoch {end['epoch']} of {end['epochs']}."
            files = published.all(checkpoint=False)
            attempts.finish(claim, "pruned", reason="pruned", message=message, artifacts=files)
            published.tidy(files)
            self.listen("pruned", claim, {"message": f"pruned {message}"})
            return
        if end["event"] == "done":
            try:
                found = study.outcome(end["metrics"])
                found["cost"] = {key: end[key] for key in ("epochs", "tokens_per_second", "seconds")}
            except (KeyError, TypeError) as error:
                reason, message = "error", f"the trainer's result is not whole ({error!r})."
            else:
                if math.isfinite(found["value"]):
                    files = published.all(checkpoint=False)
                    attempts.finish(claim, "complete", **found, artifacts=files)
                    published.tidy(files)
                    self.listen("complete", claim, end)
                    return
                reason, message = "nan", "what the study minimises is not a finite number."
        else:
            told = self._why if self._over.is_set() else None
            own = (end.get("reason", "error"), end.get("message", "the trainer failed without a word."))
            reason, message = watch.why or told or own
            reason = reason if reason in RETRIES else "error"
        files = published.all(checkpoint=RETRIES[reason] != 0)
        failed = attempts.fail(claim, reason, message, files)
        published.tidy(files)
        self.listen("failed" if failed else "handed back", claim, {"reason": reason, "message": message})
        if reason in SETUP_FAULTS:
            raise Fault(f"trial {claim.number} stopped: {message} The same command goes on with it.")

    def _is_poor(self, study: Study, number: int) -> bool:
        prune = PRUNERS[study.specification["pruner"]]
        if prune is none:
            return False
        curves = {curve.number: curve for curve in self._curves[study.name].follow()}
        mine = curves.pop(number, None)
        return mine is not None and prune(mine, list(curves.values()))

    @contextmanager
    def _watched(self, attempts: Attempts, claim: Claim, trainer: Trainer) -> "Iterator[_Watch]":
        """Renews the lease meanwhile, and ends the trainer when it must: reports may be minutes apart."""
        watch = _Watch(claim)
        self._trainer = trainer
        if self._over.is_set():  # stopped between the claim and the trainer's start
            trainer.tell_to_stop()
        over = threading.Event()

        def beat() -> None:
            told_at = math.inf
            while not over.wait(min(BEAT_SECONDS, LEASE_SECONDS / 3)):
                if watch.why is None:
                    watch.look(attempts, claim)
                    self.database.rest()
                if told_at == math.inf and (watch.why is not None or self._over.is_set()):
                    told_at = time.monotonic()
                    trainer.tell_to_stop()
                if time.monotonic() - told_at > STOP_SECONDS:
                    trainer.process.kill()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield watch
        finally:
            self._trainer = None
            over.set()
            thread.join()


class _Watch:
    """Why a training must end now, if it must."""

    def __init__(self, claim: Claim) -> None:
        self.timeout, self.spent = claim.timeout, claim.seconds
        self.started = self.heard_at = time.monotonic()
        self.why: tuple[str, str] | None = None

    @property
    def is_silent(self) -> bool:
        return time.monotonic() - self.heard_at > SILENCE_SECONDS

    def look(self, attempts: Attempts, claim: Claim) -> None:
        if self.timeout and self.spent + time.monotonic() - self.started > self.timeout:
            self.why = ("timeout", f"it took longer than its {self.timeout:g} s.")
        elif self.is_silent:
            self.why = ("lost", f"its trainer said nothing for {SILENCE_SECONDS:g} s.")
        else:
            try:
                told = attempts.renew(claim)
            except LeaseLost as lost:
                self.why = ("lost", str(lost))
            except DBAPIError:
                pass  # the server has gone: so has every other worker's way to take the trial
            else:
                self.why = None if told is None else ("user", f"{told}.")


class _Published:
    """What of a trial's files is in the study's store."""

    def __init__(self, study: Study, attempts: Attempts, claim: Claim, work: Path) -> None:
        self.store, self.attempts, self.claim, self.work = study.store, attempts, claim, work
        self.count, self.newest = 0, 0.0
        self.at = time.monotonic()

    def now_and_then(self) -> None:
        """A newer checkpoint, not too often; a store that cannot be written costs nothing but that."""
        if time.monotonic() - self.at > PUBLISH_SECONDS:
            self.at = time.monotonic()
            with suppress(OSError):
                self.again()

    def again(self) -> None:
        """A newer checkpoint, if there is one."""
        file = self.work / CHECKPOINT
        changed = file.stat().st_mtime if file.exists() else 0.0
        if changed > self.newest:
            generation = self._put([name for name in FILES if name != LOG])  # its trainer still writes it
            try:
                self.attempts.publish(self.claim, generation)
            except LeaseLost:
                self.store.delete(generation)
                raise
            self.tidy(generation)
            self.newest = changed

    def all(self, checkpoint: bool) -> str:
        """Publishes what its trainer has left, the checkpoint only if somebody may need it. The attempt's end must name it."""
        return self._put([name for name in FILES if checkpoint or name != CHECKPOINT])

    def tidy(self, generation: str) -> None:
        """Removes the trial's other files."""
        self.store.keep(self.claim.folder, generation)

    def _put(self, names: list[str]) -> str:
        self.count += 1
        generation = f"{self.claim.folder}/{self.claim.token[:8]}-{self.count}"
        self.store.publish(self.work, generation, names)
        return generation


def _disk(claim: Claim, error: OSError) -> Fault:
    return Fault(
        f"trial {claim.number} stopped: its files cannot be written ({error.strerror or error}). The same command goes on "
        "with it."
    )


def _sweep(work: Path) -> None:
    """Removes what workers of this machine left behind when they were killed; other machines may share the folder."""
    for owner in work.glob(f"*/{OWNER}"):
        host, _, mark = owner.read_text(encoding="utf-8").partition(" ")
        if host == HOST and not is_alive(mark):
            shutil.rmtree(owner.parent, ignore_errors=True)
