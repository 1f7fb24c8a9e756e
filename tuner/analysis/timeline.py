"""Every attempt of a study in time, each with its worker and trial; lost and repeated ones are told too."""

from typing import Any

from sqlalchemy import select

from tuner.storage.tables import AttemptRow, TrialRow
from tuner.studies.study import Study

MOST = 20_000
"""Largest number of attempts that are told, the newest."""


def of(study: Study) -> dict[str, Any]:
    """By columns, in the order of their beginnings: `trial`; `attempt`, from 0 on, of that trial; `worker`; `state` (running,
    finished, failed, lost, interrupted); `note`, why it ended; `started` and `ended`, Unix seconds, the end null while it runs.
    One whose lease has run out is lost, though nobody has said so yet.

    `now` is the database's time, and `of` how many attempts there are.
    """
    row = AttemptRow
    columns = (
        row.id,
        row.trial,
        row.worker,
        row.state,
        row.reason,
        row.message,
        row.started_at,
        row.ended_at,
        row.token,
    )
    query = select(*columns, TrialRow.token, TrialRow.lease_until).where(row.study == study.name).order_by(row.id)
    query = query.join(TrialRow, (TrialRow.study == row.study) & (TrialRow.number == row.trial))

    def look(session: Any) -> tuple[float, list[Any]]:
        return study.database.clock(session), list(session.execute(query))

    now, rows = study.database.read(look)
    found: dict[str, list[Any]] = {
        key: [] for key in ("trial", "attempt", "worker", "state", "note", "started", "ended")
    }
    made: dict[int, int] = {}
    for _, trial, worker, state, reason, message, started, ended, token, held, until in rows:
        made[trial] = made.get(trial, -1) + 1
        gone = state == "running" and (token != held or until < now)
        note = ": ".join(filter(None, (reason, message)))
        if gone and ended is None:
            ended = max(started, min(until, now))
        values = (trial, made[trial], worker, "lost" if gone else state, note, started, ended)
        for column, value in zip(found.values(), values, strict=True):
            column.append(value)
    order = sorted(range(len(rows)), key=lambda place: (found["started"][place], place))[-MOST:]
    return {"now": now, "of": len(rows), **{key: [column[at] for at in order] for key, column in found.items()}}
