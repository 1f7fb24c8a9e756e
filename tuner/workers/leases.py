"""Attempts: who trains which trial. A trial is handed out to one worker at a time, under a lease, and counted once.

A claim holds a token. Renewing, recording, publishing and ending all name it in the same transaction as what they change, so a
worker that has lost its lease and wakes up later is refused. A trial whose attempt ended without a result goes to the next
worker that asks, with its newest files.
"""

import math
import random
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, func, or_, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from tuner import samplers
from tuner.errors import Busy, Fault, Interrupted
from tuner.metrics import Metrics
from tuner.process import HOST, is_dead
from tuner.storage.artifacts import Store
from tuner.storage.tables import LOCK, TOLD, AttemptRow, EpochRow, StudyRow, TrialRow, WorkerRow, revise
from tuner.studies import endings, faults, objectives
from tuner.studies.optuna_bridge import History, record
from tuner.studies.trials import OVER
from tuner.workers import ends
from tuner.workers.claims import RETRIES, Claim, LeaseLost, Stop
from tuner.workers.curves import Curves
from tuner.workers.gpu import Load
from tuner.workers.thinking import Thinking

if TYPE_CHECKING:
    from tuner.studies.study import Study

LEASE_SECONDS = 60.0
THINK_SECONDS = 90.0
"""Seconds after which a sampler is given up, as a fault of its study. Fewer than a server gives to a request's work."""
ASK_SECONDS = THINK_SECONDS + 10.0
"""Seconds for which one worker may hold the right to propose a trial: until its sampler is given up, and the proposal entered."""
RECORD_SECONDS = 5.0
"""Shortest time in seconds between two updates of Optuna's tables while trials are asked for."""
RENEWAL_SECONDS = 15.0
"""Seconds after the database was away in which workers that live have renewed their leases again."""


class Found(Enum):
    """Findings of a worker that looks for a trial and gets none to go on with."""

    RIGHT = auto()
    """Right to create a trial."""
    BUSY = auto()
    """Another worker is creating a trial."""
    AGAIN = auto()
    """A trial had to be given up; the worker looks again."""
    NOTHING = auto()


class Attempts:
    """The attempts of one study, as the worker of that name sees them."""

    def __init__(self, study: "Study", worker: str) -> None:
        self.study, self.worker, self.database = study, worker, study.database
        self._history: History | None = None
        self._looked_at = time.monotonic()
        self._thinking, self._curves = Thinking(), Curves(study)

    @property
    def created_at(self) -> float:
        return self.study.created_at

    @property
    def pruner(self) -> str:
        return self.study.spec.pruner

    def files(self, claim: Claim) -> Store:
        del claim  # one store holds those of all trials
        return self.study.files.store

    def outcome(self, metrics: Metrics) -> dict[str, Any]:
        return objectives.outcome(self.study.spec.objective, metrics)

    def rest(self) -> None:
        self.database.rest()

    def is_poor(self, claim: Claim) -> bool:
        return self._curves.is_poor(claim.number)

    def claim(
        self, over: threading.Event | None = None, own: str | None = None, patience: float = math.inf
    ) -> Claim | None:
        """The next trial to train: one that was left unfinished, else a new one; none if the study's budget is spent, it is
        stopped, or `over` is set.

        Args:
            own: a token that nobody else knows; who claims with it twice gets the same trial.
            patience: seconds for which another worker is waited for that asks first.

        Raises:
            Busy: if another worker has asked for longer than that.
            Fault: if the sampler fails, or thinks for too long.
        """
        over, wait, began = over or threading.Event(), 0.01, time.monotonic()
        while not over.is_set() and time.monotonic() - began < patience:
            token, gone = own or secrets.token_hex(16), self._gone()
            found = self.database.run(lambda session: self._take(session, token, gone))  # noqa: B023 - done before the next
            if found is Found.RIGHT:
                found = self._ask(token, over)
            if isinstance(found, Claim):
                return found
            if found is Found.NOTHING:
                record(self.study)  # nobody may come after this one
                return None
            busy = found is Found.BUSY
            while busy and not over.wait(wait * random.uniform(0.5, 1.5)):
                # The longer the queue, the longer each has waited, so that a thousand who look do not slow down who asks.
                wait = min(1.5 * wait, max(0.5, 0.25 * (time.monotonic() - began)))
                busy = self._is_asking() and time.monotonic() - began < patience
        if not over.is_set():
            raise Busy(f"study {self.study.name!r} has another worker that asks for a trial: ask again.")
        return None

    def _is_asking(self) -> bool:
        """True if another worker still has the right to create a trial; looking is cheaper than trying for it."""

        def look(session: Session) -> bool:
            right = select(StudyRow.asker, StudyRow.asker_until).where(StudyRow.name == self.study.name)
            row = session.execute(right).first()
            return row is not None and row.asker is not None and bool(row.asker_until >= self.database.clock(session))

        return self.database.read(look)

    def _take(self, session: Session, token: str, gone: Sequence[str]) -> "Claim | Found":
        """A trial that nobody works on any more, this worker's own first; else the right to create one.

        One worker at a time has that right, under a lease of its own rather than a lock: a sampler may think for a second, and a
        database should not be held meanwhile.
        """
        mine = TrialRow.study == self.study.name
        if (row := session.scalars(select(TrialRow).where(mine, TrialRow.token == token)).first()) is not None:
            return self._claimed(session, row)
        now = self.database.clock(session)
        if self._end_of(session, now) is not None:
            return Found.NOTHING
        abandoned = or_(TrialRow.lease_until < self._lapsed(now), TrialRow.worker.in_(gone))
        ready = and_(TrialRow.state == "waiting", TrialRow.wait_until <= now)
        free = or_(ready, and_(TrialRow.state == "running", abandoned))
        own_first = case((TrialRow.worker == self.worker, 0), else_=1)
        query = select(TrialRow).where(mine, TrialRow.state.in_(("waiting", "running")), free)
        query = query.order_by(own_first, TrialRow.number).limit(1).with_for_update(skip_locked=True)
        row = session.scalars(query).first()
        if row is not None:
            if row.state == "running":
                ends.abandon(session, row, now)
            is_ready = row.state == "waiting" and row.wait_until <= now
            return self._begin(session, row, token, now) if is_ready else Found.AGAIN
        # Not waited for: many who queued for the row would keep whoever asks, and every epoch's report, from it.
        locked = (
            select(StudyRow).where(StudyRow.name == self.study.name).with_for_update(skip_locked=True, key_share=True)
        )
        study = session.scalars(locked).first()
        if study is None:
            return Found.BUSY
        if session.execute(select(func.count()).where(mine)).scalar_one() >= study.budget:
            return Found.NOTHING
        if study.asker not in (None, token) and study.asker_until >= now:
            return Found.BUSY
        study.asker, study.asker_until = token, now + ASK_SECONDS
        return Found.RIGHT

    def _gone(self) -> list[str]:
        """Workers whose process is known to have ended: their leases need not be waited for."""
        query = select(WorkerRow.name, WorkerRow.process).where(WorkerRow.state == "training")
        return [name for name, process in self.database.read(lambda s: s.execute(query).all()) if is_dead(process)]

    def _lapsed(self, now: float) -> float:
        """A lease that ended before is over; none is just after the database was away, when nobody could renew his."""
        return now if time.monotonic() > self.database.back_at + RENEWAL_SECONDS else 1.0

    def _end_of(self, session: Session, now: float) -> str | None:
        """Why the study is over; None while it is active. Reads no more of it than this takes: each beat of each worker asks."""
        mine = StudyRow.name == self.study.name
        columns = select(StudyRow.state, StudyRow.why, StudyRow.rules, StudyRow.revision)
        row = session.execute(columns.where(mine)).first()
        if row is None:
            return "the study was deleted"
        state, why, rules, revision = row
        if state != "active":
            return why or "the study was stopped"
        deadline = rules.get("deadline")
        if deadline is None or now <= deadline:
            return None
        over = select(func.count()).where(TrialRow.study == self.study.name, TrialRow.state.in_(OVER))
        unfinished = StudyRow.budget > over.scalar_subquery()
        ended = update(StudyRow).where(mine, StudyRow.revision == revision, unfinished)
        ended = ended.values(state="stopped", why="its deadline has passed")
        if not session.execute(ended).rowcount:  # type: ignore[attr-defined]
            return None
        revise(session, self.study.name)
        return "its deadline has passed"

    def _begin(self, session: Session, row: TrialRow, token: str, now: float) -> Claim:
        row.state, row.token, row.worker, row.lease_until = "running", token, self.worker, now + LEASE_SECONDS
        row.started_at = now
        worker = session.get(WorkerRow, self.worker)
        session.add(
            AttemptRow(
                study=self.study.name,
                trial=row.number,
                token=token,
                seed=samplers.derive(self.study.spec.seed, row.number, "train"),
                state="running",
                worker=self.worker,
                host=worker.host if worker else HOST,
                pid=int(worker.process.split(":")[0]) if worker else 0,
                started_at=now,
            )
        )
        if worker is not None:
            worker.state, worker.study, worker.trial, worker.seen_at = "training", self.study.name, row.number, now
        row.revision = revise(session, self.study.name)
        session.flush()
        return self._claimed(session, row)

    def _claimed(self, session: Session, row: TrialRow) -> Claim:
        count = select(func.count()).where(AttemptRow.study == self.study.name, AttemptRow.trial == row.number)
        assert row.token is not None
        return Claim(
            study=self.study.name,
            number=row.number,
            params=dict(row.params),
            token=row.token,
            attempt=session.execute(count).scalar_one() - 1,
            artifacts=row.artifacts,
            seconds=row.seconds,
            timeout=session.get_one(StudyRow, self.study.name).rules.get("timeout") or 0.0,
            spec=self.study.definition.run_spec(row.number, row.params),
            given=self.study.definition.given(row.params),
        )

    def _ask(self, token: str, over: threading.Event) -> Claim | Found:
        """A new trial, if the study needs one and no other worker has the right to ask now. Gives the right back."""
        try:
            asked = self._thinking.do(self._proposal, THINK_SECONDS, over)
        except Interrupted:
            self._history = None
            self.give_back(token)
            return Found.NOTHING
        except BaseException as error:
            self._history = None
            self.give_back(token)
            if isinstance(error, DBAPIError) or not isinstance(error, (Exception, SystemExit)):
                raise
            sampler = self.study.spec.sampler
            raise Fault(f"sampler {sampler!r} failed ({faults.sentence(error).rstrip('.')}).") from error
        if isinstance(asked, str) or asked is None:
            if asked is not None:
                self.study.end("satisfied", asked)
            self.give_back(token)
            return Found.NOTHING
        number, params, notes, study_notes = asked

        def insert(session: Session) -> Claim | None:
            there = session.get(TrialRow, (self.study.name, number))
            if there is not None:
                return self._claimed(session, there) if there.token == token else None
            study = session.get_one(StudyRow, self.study.name, with_for_update=LOCK)
            if study.asker != token or study.state != "active":
                return None
            study.asker, study.asker_until, study.attrs = None, 0.0, study_notes
            if number >= study.budget:
                return None
            now = self.database.clock(session)
            row = TrialRow(
                study=self.study.name, number=number, state="running", params=params, attrs=notes, created_at=now
            )
            session.add(row)
            return self._begin(session, row, token, now)

        try:
            claim = self.database.run(insert)
        except IntegrityError:  # another worker was faster
            claim = None
        if claim is None:
            self._history = None  # it holds a trial that does not exist
            self.give_back(token)  # the number may have gone to a trial that was enqueued
        elif time.monotonic() - self._looked_at > RECORD_SECONDS:
            self._looked_at = time.monotonic()
            if self._record_is_due():
                record(self.study)
        return claim or Found.AGAIN

    def _proposal(self) -> tuple[int, dict[str, Any], dict[str, Any], dict[str, Any]] | str | None:
        """The number of the next trial, its parameters, and the sampler's notes about it and about the study; or why the study is
        over; None if whoever trains its last trial will look again."""
        history = self._history = self._history or History(self.study)
        number = history.update()
        if (why := endings.of(self.study, history)) is not None:
            return None if history.has_open else why
        return number, *history.ask(number)

    def give_back(self, token: str) -> None:
        """Lets others ask for a trial, if this token has the right to."""
        mine = update(StudyRow).where(StudyRow.name == self.study.name, StudyRow.asker == token)
        self.database.run(lambda session: session.execute(mine.values(asker=None, asker_until=0.0)))

    def _record_is_due(self) -> bool:
        """True if it falls to this worker to bring up Optuna's record."""

        def due(session: Session) -> bool:
            study, now = session.get_one(StudyRow, self.study.name), self.database.clock(session)
            late = now - study.recorded_at > RECORD_SECONDS
            if late:
                study.recorded_at = now
            return late

        return self.database.run(due)

    def renew(self, claim: Claim, gpu: Load | None = None) -> Stop | None:
        """Prolongs the lease; returns why the training must end now, if it must: its study or its time is over.

        Args:
            gpu: the load of the worker's card.

        Raises:
            LeaseLost: if the trial belongs to another worker, or is gone with its study.
        """

        def beat(session: Session) -> Stop | None:
            now = self.database.clock(session)
            self._change(session, claim, lease_until=now + LEASE_SECONDS)
            seen = update(WorkerRow).where(WorkerRow.name == self.worker)
            session.execute(seen.values(seen_at=now, **({} if gpu is None else {"gpu": gpu})))
            if (late := self._late(session, claim, now)) is not None:
                return late
            why = self._end_of(session, now)
            return None if why is None else Stop("user", why)

        return self.database.run(beat, patience=0.0)

    def _late(self, session: Session, claim: Claim, now: float) -> Stop | None:
        """The order to end a trial that has taken longer than its study allows by now."""
        own = (TrialRow.study == claim.study, TrialRow.number == claim.number)
        both = select(StudyRow.rules, TrialRow.seconds, TrialRow.started_at).join(
            TrialRow, TrialRow.study == StudyRow.name
        )
        rules, seconds, started = session.execute(both.where(*own)).one()
        timeout = rules.get("timeout") or 0.0
        return Stop.late(timeout) if timeout and seconds + now - (started or now) > timeout else None

    def _change(self, session: Session, claim: Claim, **values: Any) -> None:
        own = (TrialRow.study == claim.study, TrialRow.number == claim.number, TrialRow.token == claim.token)
        if not session.execute(update(TrialRow).where(*own).values(**values)).rowcount:  # type: ignore[attr-defined]
            raise LeaseLost(f"trial {claim.number} of study {claim.study!r} has gone to another worker.")

    def record(self, claim: Claim, epochs: Sequence[Mapping[str, Any]], patience: float | None = None) -> None:
        """Keeps epochs' figures and prolongs the lease; an epoch trained twice, after a crash, replaces itself.

        Raises:
            LeaseLost: as above; nothing is kept then.
        """

        def keep(session: Session) -> None:
            mine = (EpochRow.study == claim.study, EpochRow.trial == claim.number)
            before = session.execute(select(func.max(EpochRow.epoch)).where(*mine)).scalar() or 0
            renewed: dict[str, Any] = {"lease_until": self.database.clock(session) + LEASE_SECONDS}
            if any(figures["epoch"] > before for figures in epochs):
                renewed |= {"losses": 0, "abandoned": 0}
            self._change(session, claim, **renewed)
            revision = revise(session, claim.study)
            for figures in epochs:
                objective = {k.removeprefix("objective_"): v for k, v in figures.items() if k.startswith("objective_")}
                row = {key: figures.get(key) for key in TOLD}
                session.merge(
                    EpochRow(study=claim.study, trial=claim.number, objective=objective, revision=revision, **row)
                )

        self.database.run(keep, patience)

    def publish(self, claim: Claim, generation: str, patience: float | None = None) -> None:
        """Makes a generation of files the trial's newest, and removes the others.

        Raises:
            LeaseLost: as above; this one is removed then.
        """
        with self._replacing(claim, generation):
            self.database.run(lambda session: self._change(session, claim, artifacts=generation), patience)

    @contextmanager
    def _replacing(self, claim: Claim, generation: str | None) -> Iterator[set[str]]:
        """Removes a trial's other files once this generation is its newest, or this one if the trial has gone to another worker.

        The others are those that are there before, while nobody else may have the trial: whoever takes it over puts his beside
        them. What cannot be removed now goes with the next ones. Yields them, so that some can be left.
        """
        others = set[str]()
        if generation is None:
            yield others
            return
        store = self.study.files.store
        with suppress(OSError):
            others = store.generations(claim.folder) - {generation}
        try:
            yield others
        except LeaseLost:
            store.drop([generation])
            raise
        store.drop(others)

    def finish(self, claim: Claim, state: str, **found: Any) -> None:
        """Ends the trial: it is complete or pruned, with what it found.

        Raises:
            LeaseLost: as above.
        """

        def end(session: Session) -> None:
            if (row := self._held(session, claim, "finished", found.get("message"))) is not None:
                now = self.database.clock(session)
                ends.end(session, row, "finished", found.get("reason"), found.get("message"), now)
                row.state, row.ended_at = state, now
                for key, value in found.items():
                    setattr(row, key, value)
                faults.clear(session, claim.study)
                row.revision = revise(session, claim.study, results=state == "complete")

        with self._replacing(claim, found.get("artifacts")):
            self.database.run(end)

    def fail(
        self, claim: Claim, reason: str, message: str, artifacts: str | None = None, patience: float | None = None
    ) -> bool:
        """Ends the attempt for one of `RETRIES`' reasons, with the files it leaves; returns whether the trial has failed with it,
        or waits for another attempt.

        Raises:
            LeaseLost: as above.
        """
        ended = "lost" if reason in ("lost", "oom") else "interrupted" if RETRIES[reason] is None else "failed"

        def end(session: Session) -> bool:
            row = self._held(session, claim, ended, message)
            if row is None:
                others.clear()  # of whoever has the trial by now
            else:
                ends.close(session, row, ended, reason, message, self.database.clock(session))
                row.artifacts = artifacts or row.artifacts
                return row.state == "failed"
            return session.get_one(TrialRow, (claim.study, claim.number)).state == "failed"

        with self._replacing(claim, artifacts) as others:
            return self.database.run(end, patience)

    def _held(self, session: Session, claim: Claim, ended: str, message: str | None) -> TrialRow | None:
        """The claim's trial, locked; None if its attempt has ended so already, with this message, and the word of it was lost."""
        own = (TrialRow.study == claim.study, TrialRow.number == claim.number, TrialRow.token == claim.token)
        row = session.scalars(select(TrialRow).where(*own).with_for_update()).first()
        if row is not None:
            return row
        attempt = session.scalars(select(AttemptRow).where(AttemptRow.token == claim.token)).first()
        if attempt is None or (attempt.state, attempt.message) != (ended, message):
            raise LeaseLost(f"trial {claim.number} of study {claim.study!r} has gone to another worker.")
        return None
