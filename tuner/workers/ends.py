"""Ends of trials' attempts in the rows of the database, and what follows for the trial, its worker and its study."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tuner.storage.tables import AttemptRow, StudyRow, TrialRow, WorkerRow, revise
from tuner.studies import faults
from tuner.studies.spec import SETTINGS
from tuner.studies.trials import STRUCK
from tuner.workers.claims import RETRIES

ABANDONED = "its worker ended without a word, or stood still."


def close(session: Session, row: TrialRow, ended: str, reason: str, message: str, now: float) -> None:
    """Ends a trial's attempt without a result, and the trial itself when it may not be tried again."""
    end(session, row, ended, reason, message, now)
    retries = RETRIES[reason]
    row.losses += retries is not None
    row.state = "waiting" if retries is None or row.losses <= retries else "failed"
    _left(session, row, reason, message, now)


def abandon(session: Session, row: TrialRow, now: float) -> None:
    """Ends an attempt whose worker is lost: not the trial's fault, which waits, longer each time, and fails after many."""
    end(session, row, "lost", "lost", ABANDONED, now)
    row.abandoned += 1
    row.wait_until = now + faults.pause(row.abandoned - 1)
    limit = session.get_one(StudyRow, row.study).rules.get("max_losses", SETTINGS["max_losses"].older)
    row.state = "failed" if limit and row.abandoned >= limit else "waiting"
    many = f"{row.abandoned} workers in a row were lost with it before a new epoch (max_losses = {limit})."
    _left(session, row, "lost", many if row.state == "failed" else ABANDONED, now)


def _left(session: Session, row: TrialRow, reason: str, message: str, now: float) -> None:
    """Notes why a trial was left without a result; if it has failed, its study may be broken by it."""
    row.reason, row.message = reason, message
    if row.state == "failed":
        row.ended_at = now
        faults.clear(session, row.study)
        _stop_if_broken(session, row)
    row.revision = revise(session, row.study)


def end(session: Session, row: TrialRow, state: str, reason: str | None, message: str | None, now: float) -> None:
    """Ends the attempt under way, and frees its worker."""
    if state != "finished":  # a worker that stood still is not known to have worked longer than its lease
        now = min(now, row.lease_until)
    ending = {"state": state, "reason": reason, "message": message, "ended_at": now}
    session.execute(update(AttemptRow).where(AttemptRow.token == row.token).values(**ending))
    idle = {"state": "idle", "study": None, "trial": None, "trials": WorkerRow.trials + 1, "seen_at": now}
    at_it = (WorkerRow.name == row.worker, WorkerRow.study == row.study, WorkerRow.trial == row.number)
    session.execute(update(WorkerRow).where(*at_it, WorkerRow.state == "training").values(**idle))
    row.seconds += max(now - (row.started_at or now), 0.0)
    row.token, row.lease_until = None, 0.0


def _stop_if_broken(session: Session, row: TrialRow) -> None:
    """Stops a study of which so many trials in a row have failed since it was last resumed; a diverged trial is a result
    and no fault."""
    study = session.get_one(StudyRow, row.study)
    if study.state != "active":
        return
    limit = study.rules.get("max_failures", 0)
    session.flush()
    over = select(TrialRow).where(TrialRow.study == study.name, TrialRow.ended_at > study.resumed_at)
    last = session.scalars(over.order_by(TrialRow.ended_at.desc(), TrialRow.number.desc()).limit(limit)).all()
    if limit and len(last) == limit and all(t.state == "failed" and t.reason not in ("nan", STRUCK) for t in last):
        study.state = "broken"
        study.why = f"{limit} trials in a row failed, the last (trial {row.number}) because {row.message}"
