"""Striking out a trial: a person says that its figures do not count, and why. They stay in the record."""

from typing import Any

from sqlalchemy import update

from tuner.errors import Clash, Missing, Usage
from tuner.storage.tables import AttemptRow, TrialRow, WorkerRow, revise
from tuner.studies.study import Study
from tuner.studies.trials import STRUCK, Trial

LONGEST = 500


def strike(study: Study, number: int, because: str) -> Trial:
    """Makes a trial failed, whatever it was: it is no result any more, no sampler learns from it, and nobody trains it again.

    Raises:
        Missing: if there is no such trial.
        Clash: if it has failed already.
        Usage: if the reason is none, too long, or no plain text.
    """
    if not because.strip() or len(because) > LONGEST or not because.isprintable():
        raise Usage(
            f"because = {because[:60]!r} is no reason that can be kept: give up to {LONGEST} printable characters.",
            "because",
        )

    def change(session: Any) -> Trial:
        row = session.get(TrialRow, (study.name, number), with_for_update=True)
        if row is None:
            raise Missing(f"study {study.name!r} has no trial {number}: list its trials first.")
        message = f"struck out, it was {row.state}: {because}"
        now = study.database.clock(session)
        if row.state == "failed":
            if row.reason == STRUCK and (row.message or "").endswith(f": {because}"):  # the word of it was lost
                return Trial.of(row, now, study.definition)
            raise Clash(
                f"trial {number} of study {study.name!r} has failed already ({row.message}): leave it as it is."
            )
        if row.token is not None:
            ending = {"state": "interrupted", "reason": STRUCK, "message": message, "ended_at": now}
            session.execute(update(AttemptRow).where(AttemptRow.token == row.token).values(**ending))
            own = (WorkerRow.study == study.name, WorkerRow.trial == number)
            idle = {"state": "idle", "study": None, "trial": None, "trials": WorkerRow.trials + 1}
            session.execute(update(WorkerRow).where(*own).values(**idle))
            row.seconds += max(min(now, row.lease_until) - (row.started_at or now), 0.0)
            row.token, row.lease_until = None, 0.0
        row.state, row.reason, row.message, row.told = "failed", STRUCK, message, False
        row.ended_at = row.ended_at or now
        row.revision = revise(session, study.name, results=True)
        return Trial.of(row, now, study.definition)

    return study.database.run(change)
