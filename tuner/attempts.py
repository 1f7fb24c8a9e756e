"""Attempts: who trains which trial. A trial is handed out to one worker at a time, under a lease, and counted once.

A worker's attempt holds a token. Renewing, recording and finishing all name it, so a worker that has lost its lease and wakes
up later is refused. A trial whose attempt is over but not finished goes to the next worker that asks, with its checkpoint.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update
from sqlalchemy.exc import DatabaseError

from tuner import samplers
from tuner.database import AttemptRow, EpochRow, StudyRow
from tuner.errors import Fault

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tuner.studies import Study

LEASE_SECONDS = 60.0
ASK_SECONDS = 30.0
PROPOSALS_WITHOUT_GAIN = 3
"""in a row, before a study with `stop_when` ends: one may be an accident of the sampler's draw"""
MAX_LOST = 3
"""trainers that may die on a trial before it fails; a worker's own death is not the trial's fault and is not counted"""


class LeaseLost(Exception):
    """The attempt belongs to another worker now."""


class Attempts:
    """The attempts of one study, as a worker sees them."""

    def __init__(self, study: "Study") -> None:
        self.study, self.database = study, study.database

    @staticmethod
    def is_live(attempt: AttemptRow) -> bool:
        """Whether a worker still works on it: its lease holds, and, on this machine, its process exists."""
        if attempt.state != "running" or attempt.lease_until < time.time():
            return False
        if attempt.host != socket.gethostname():
            return True
        try:
            os.kill(attempt.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Only one worker at a time looks for its next trial: a lease of its own, as Optuna writes in transactions of its own."""
        token, deadline = secrets.token_hex(8), time.monotonic() + 2 * ASK_SECONDS
        while True:
            now = time.time()
            free = update(StudyRow).where(
                StudyRow.name == self.study.name, (StudyRow.asker.is_(None)) | (StudyRow.asker_until < now)
            )
            with self.database.session() as session:
                if session.execute(free.values(asker=token, asker_until=now + ASK_SECONDS)).rowcount:  # type: ignore[attr-defined]
                    break
            if time.monotonic() > deadline:
                raise Fault(f"study {self.study.name!r} is held by another worker that asks for a trial: try again.")
            time.sleep(0.05)
        try:
            yield
        finally:
            with self.database.session() as session:
                session.execute(
                    update(StudyRow)
                    .where(StudyRow.name == self.study.name, StudyRow.asker == token)
                    .values(asker=None, asker_until=0.0)
                )

    def claim(self) -> "tuple[FrozenTrial, AttemptRow] | None":
        """The next trial to train: one that was left unfinished, else a new one, else (the budget is spent) none."""
        from optuna.trial import TrialState

        with self._asking():
            with self.database.session() as session:
                mine = select(AttemptRow).where(AttemptRow.study == self.study.name)
                attempts = list(session.scalars(mine.where(AttemptRow.state != "finished")))
                budget = session.scalars(select(StudyRow.budget).where(StudyRow.name == self.study.name)).one()
            live = {a.trial for a in attempts if self.is_live(a)}
            trials = self.study.optuna().get_trials(deepcopy=False)
            for trial in trials:
                if trial.state is not TrialState.RUNNING or trial.number in live:
                    continue
                self._bury([a for a in attempts if a.trial == trial.number and a.state == "running"])
                lost = sum(a.state == "lost" for a in attempts if a.trial == trial.number)
                if lost < MAX_LOST:
                    return self._ask(trial.number), self._begin(trial.number)
                self.study.optuna().tell(trial.number, state=TrialState.FAIL)
            if len(trials) < budget and not self._exhausted(trials):
                return self._ask(len(trials)), self._begin(len(trials))
            return None

    def _exhausted(self, trials: "Sequence[FrozenTrial]") -> bool:
        """Whether the sampler expected less than `stop_when` of each of its last proposals, and they are over."""
        tolerance, last = self.study.specification["stop_when"], trials[-PROPOSALS_WITHOUT_GAIN:]
        if not tolerance:
            return False
        from tuner.samplers.gp_mcmc import DIAGNOSTICS

        gains = [t.system_attrs.get(DIAGNOSTICS, {}).get("expected_gain") for t in last]
        spent = [
            g for t, g in zip(last, gains, strict=True) if t.state.is_finished() and g is not None and g < tolerance
        ]
        if len(spent) < PROPOSALS_WITHOUT_GAIN:
            return False
        self.study.stop(
            f"the sampler expected to gain less than {tolerance:g} nats from each of its last {PROPOSALS_WITHOUT_GAIN} proposals"
        )
        return True

    def _bury(self, dead: list[AttemptRow]) -> None:
        with self.database.session() as session:
            session.execute(
                update(AttemptRow)
                .where(AttemptRow.id.in_([a.id for a in dead]))
                .values(
                    state="interrupted",
                    reason="lost",
                    message="its worker ended without a word.",
                    ended_at=AttemptRow.lease_until,
                )
            )

    def _ask(self, number: int) -> "FrozenTrial":
        """Trial `number` with all of its parameters: a new one, or one whose asking was cut short."""
        import optuna

        searched = self.study.space.searched(self.study.specification["fixed"])
        study = self.study.optuna()
        existing = [t for t in study.get_trials(deepcopy=False) if t.number == number]
        if existing and all(p.name in existing[0].params for p in searched):
            return existing[0]
        facts, distributions = self.study.specification, {p.name: p.distribution() for p in searched}
        options = facts.get("sampler_options", {})
        warm = facts["warm_start"]
        earlier = warm["observations"] if warm else ()
        study.sampler = samplers.create(facts["sampler"], options, facts["seed"], number, distributions, earlier)
        trial = optuna.trial.Trial(study, existing[0]._trial_id) if existing else study.ask()
        for parameter in searched:
            trial._suggest(parameter.name, parameter.distribution())
        return study.get_trials(deepcopy=False)[number]

    def _begin(self, number: int) -> AttemptRow:
        now = time.time()
        attempt = AttemptRow(
            study=self.study.name,
            trial=number,
            token=secrets.token_hex(16),
            seed=samplers.derive(self.study.specification["seed"], number, "train"),
            state="running",
            host=socket.gethostname(),
            pid=os.getpid(),
            lease_until=now + LEASE_SECONDS,
            started_at=now,
        )
        with self.database.session() as session:
            session.add(attempt)
        return attempt

    def renew(self, attempt: AttemptRow) -> None:
        """Prolongs the lease.

        Raises:
            LeaseLost: if the attempt is over.
        """
        self._change(attempt, lease_until=time.time() + LEASE_SECONDS)

    @contextmanager
    def kept(self, attempt: AttemptRow) -> Iterator[None]:
        """Renews the lease by the clock meanwhile: a report may be minutes away, as in an evaluation with S = 1000 on a CPU."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(LEASE_SECONDS / 3):
                with suppress(LeaseLost, DatabaseError):  # the worker itself hears of it at its next report
                    self.renew(attempt)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def end(self, attempt: AttemptRow, state: str, reason: str | None = None, message: str | None = None) -> None:
        """Ends the attempt; it can end once.

        Raises:
            LeaseLost: if it is over already.
        """
        self._change(attempt, state=state, reason=reason, message=message, ended_at=time.time())

    def _change(self, attempt: AttemptRow, **values: Any) -> None:
        own = (AttemptRow.token == attempt.token, AttemptRow.state == "running")
        with self.database.session() as session:
            if not session.execute(update(AttemptRow).where(*own).values(**values)).rowcount:  # type: ignore[attr-defined]
                raise LeaseLost(f"trial {attempt.trial} of study {attempt.study!r} has gone to another worker.")

    def record(self, attempt: AttemptRow, figures: Mapping[str, Any]) -> None:
        """Keeps an epoch's figures; an epoch trained twice, after a crash, replaces itself."""
        columns = ("epoch", "distortion", "rate", "neg_elbo", "active_units", "seconds")
        objective = {k.removeprefix("objective_"): v for k, v in figures.items() if k.startswith("objective_")}
        row = EpochRow(
            study=attempt.study, trial=attempt.trial, objective=objective, **{key: figures[key] for key in columns}
        )
        with self.database.session() as session:
            session.merge(row)
